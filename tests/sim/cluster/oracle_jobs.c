/* Jobs count each success once, against what the agents know; never more pods than wanted; an index
 * that has succeeded is not run again. CronJobs: one Job for each time that was due, and none
 * beside another that is not to run beside it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/make.h"
#include "common/api/times.h"
#include "common/base/alloc.h"
#include "proto/k8s/batch_v1.pb-c.h"
#include "tests/sim/cluster/oracle.h"

enum { INDEXES_MAX = 64 };

struct job_book {
	struct recent parallelism, completions; /* completions -1: one success is enough. */
	bool indexed, replaces_late;
	int32_t succeeded, failed;      /* Pods that ended so, and what of indexes is left. */
	uint64_t index_ns[INDEXES_MAX]; /* Since when an index has succeeded; 0: it has not. */
	int32_t told;
	bool finished, gone;
	const char *cron; /* The uid of its CronJob, or NULL. */
};

struct cron_book {
	const char *spec;  /* Schedule and whether it is suspended. */
	uint64_t since_ns; /* Of these. */
	int64_t since_time_ns;
	bool suspended, forbids;
};

static struct job_book *job_book(struct chaos *c, const char *uid)
{
	struct job_book *j = map_get(&c->oracle->jobs, uid);

	if (j == NULL) {
		j = arena_new(&c->sim.arena, struct job_book);
		map_put(&c->oracle->jobs, uid, j);
	}
	return j;
}

/* --- Jobs -------------------------------------------------------------------------------- */

static bool has_condition(const BatchV1__JobStatus *s, const char *type)
{
	for (size_t i = 0; s != NULL && i < s->n_conditions; i++)
		if (text_is(s->conditions[i]->type, type) &&
		    text_is(s->conditions[i]->status, "True"))
			return true;
	return false;
}

/* What may have been counted by now, at most. */
static int32_t countable(const struct job_book *j)
{
	int32_t n = 0;

	if (!j->indexed)
		return j->succeeded;
	for (size_t i = 0; i < INDEXES_MAX; i++)
		n += j->index_ns[i] != 0;
	return n;
}

static void check_count(struct chaos *c, const struct object *o, struct job_book *j,
			const BatchV1__JobStatus *s)
{
	int32_t wanted = recent_least(&j->completions, c->sim.now_ns);

	if (s->succeeded > countable(j))
		chaos_fail(c, "job %s/%s counts %d successes, there were %d", o->namespace, o->name,
			   s->succeeded, countable(j));
	if (s->succeeded < j->told && !j->indexed)
		chaos_fail(c, "job %s/%s counted %d successes and now %d", o->namespace, o->name,
			   j->told, s->succeeded);
	if (s->failed > j->failed)
		chaos_fail(c, "job %s/%s counts %d failures, there were %d", o->namespace, o->name,
			   s->failed, j->failed);
	if (has_condition(s, "Complete") && has_condition(s, "Failed"))
		chaos_fail(c, "job %s/%s is complete and has failed", o->namespace, o->name);
	if (has_condition(s, "Complete") && s->succeeded < (wanted < 0 ? 1 : wanted))
		chaos_fail(c, "job %s/%s is complete with %d successes of %d", o->namespace,
			   o->name, s->succeeded, wanted);
	j->told = s->succeeded;
	j->finished = has_condition(s, "Complete") || has_condition(s, "Failed");
}

/* --- CronJobs ---------------------------------------------------------------------------- */

void jobs_look_at_cronjob(struct chaos *c, const struct change *change)
{
	const struct object *o = change_one(change);
	const BatchV1__CronJob *m = change_message(c, o);
	struct cron_book *b = map_get(&c->oracle->crons, o->facts.uid);
	const char *spec = chaos_text(c, "%s %d", m->spec->schedule, m->spec->suspend);

	if (b == NULL) {
		b = arena_new(&c->sim.arena, struct cron_book);
		map_put(&c->oracle->crons, o->facts.uid, b);
	}
	if (b->spec == NULL || strcmp(b->spec, spec) != 0) {
		b->since_ns = c->sim.now_ns;
		b->since_time_ns = store_time_ns(chaos_any_store(c));
	}
	b->spec = spec;
	b->suspended = m->spec->suspend;
	b->forbids = text_is(m->spec->concurrencypolicy, "Forbid");
}

static void check_timely(struct chaos *c, const struct object *o, const char *cron)
{
	const struct cron_book *b = map_get(&c->oracle->crons, cron);

	if (b == NULL || b->since_ns + GRACE_NS >= c->sim.now_ns)
		return;
	if (b->suspended)
		chaos_fail(c, "job %s/%s is made, its CronJob is suspended", o->namespace, o->name);
	map_for_each (slot, &c->oracle->jobs) {
		const struct job_book *j = slot->value;

		if (b->forbids && j->cron != NULL && strcmp(j->cron, cron) == 0 && !j->finished &&
		    !j->gone && strcmp(slot->key, o->facts.uid) != 0)
			chaos_fail(c, "job %s/%s is made beside another, which is forbidden",
				   o->namespace, o->name);
	}
}

/* --- Jobs as they are now ---------------------------------------------------------------- */

void jobs_look_at_job(struct chaos *c, const struct change *change)
{
	const struct object *o = change_one(change);
	const BatchV1__Job *m = change_message(c, o);
	struct job_book *j = job_book(c, o->facts.uid);
	const struct owner_ref *owner = object_controller(o);
	uint64_t now = c->sim.now_ns;

	recent_set(&j->parallelism, m->spec->suspend ? 0 : m->spec->parallelism, now);
	recent_set(&j->completions, m->spec->has_completions ? m->spec->completions : -1, now);
	j->indexed = text_is(m->spec->completionmode, "Indexed");
	j->gone = change->new == NULL;
	if (owner != NULL && change->old == NULL) {
		j->cron = chaos_text(c, "%s", owner->uid);
		check_timely(c, o, j->cron);
	}
	if (change->new != NULL && m->status != NULL)
		check_count(c, o, j, m->status);
}

/* --- Their pods -------------------------------------------------------------------------- */

static int32_t index_of(const struct object *pod)
{
	const char *text = object_label(pod, "batch.kubernetes.io/job-completion-index");
	int32_t index = text != NULL ? atoi(text) : -1;

	return index < INDEXES_MAX ? index : -1;
}

static bool is_active(const struct pod_book *p)
{
	return p->o != NULL && !p->finished && p->o->facts.deleted_ns == 0;
}

static void check_begin(struct chaos *c, const struct object *o, const struct pod_book *p,
			const struct job_book *j)
{
	int32_t active = 0, index = index_of(o), done = 0;
	int32_t parallelism = recent_most(&j->parallelism, c->sim.now_ns);
	int32_t completions = recent_most(&j->completions, c->sim.now_ns);

	if (j->finished)
		chaos_fail(c, "job %s has finished, and pod %s/%s is made", p->owner, o->namespace,
			   o->name);
	pods_for_each (slot, c) {
		const struct pod_book *other = slot->value;

		if (!is_active(other) || strcmp(other->owner, p->owner) != 0)
			continue;
		active++;
		if (other != p && index >= 0 && index_of(other->o) == index)
			chaos_fail(c, "pods %s/%s and %s are both for index %d", o->namespace,
				   o->name, other->o->name, index);
		done += other->finished;
	}
	if (active > parallelism)
		chaos_fail(c, "pod %s/%s is made: %d run, %d may", o->namespace, o->name, active,
			   parallelism);
	if (j->indexed && (index < 0 || index >= completions))
		chaos_fail(c, "pod %s/%s is for index %d of %d", o->namespace, o->name, index,
			   completions);
	if (index >= 0 && j->index_ns[index] != 0 && j->index_ns[index] + GRACE_NS < c->sim.now_ns)
		chaos_fail(c, "pod %s/%s is for index %d, which has succeeded", o->namespace,
			   o->name, index);
	if (!j->indexed && completions >= 0 && active + j->told > completions)
		chaos_fail(c, "pod %s/%s is made: %d run and %d have succeeded, %d are wanted",
			   o->namespace, o->name, active, j->told, completions);
}

/* A success that the masters know of is one that an agent saw. */
static void check_truth(struct chaos *c, const struct object *o)
{
	struct agent *a = agents_named(c, o->facts.pod->node_name);
	const struct agent_pod *life = a != NULL ? lives_find(a, o->facts.uid) : NULL;

	c->figures.successes++;
	if (life == NULL || lives_runs(life) || !life->succeeded)
		chaos_fail(c, "pod %s/%s is said to have succeeded, and %s knows better",
			   o->namespace, o->name, o->facts.pod->node_name);
}

void jobs_look_at_pod(struct chaos *c, const struct change *change)
{
	const struct object *o = change_one(change), *old = change->old;
	const struct pod_book *p = pod_book(c, o->facts.uid);
	enum pod_phase before = old != NULL ? old->facts.pod->phase : PHASE_PENDING;
	enum pod_phase now = o->facts.pod->phase;
	struct job_book *j;

	if (p == NULL || strcmp(p->owner_kind, "Job") != 0)
		return;
	j = job_book(c, p->owner);
	if (change->new == NULL) {
		/* Ended without a word: that is a failure, too. */
		j->failed += before != PHASE_SUCCEEDED && before != PHASE_FAILED;
		return;
	}
	if (old == NULL)
		check_begin(c, o, p, j);
	if (old != NULL && o->facts.deleted_ns != 0 && old->facts.deleted_ns == 0)
		j->failed++; /* Counted as soon as it is to go. */
	if (now == before)
		return;
	if (now == PHASE_SUCCEEDED) {
		check_truth(c, o);
		/* Who was to go before its end has been counted as a failure. */
		if (!object_has_finalizer(o, "batch.kubernetes.io/job-tracking"))
			return;
		j->succeeded++;
		if (index_of(o) >= 0 && j->index_ns[index_of(o)] == 0)
			j->index_ns[index_of(o)] = c->sim.now_ns;
	} else if (now == PHASE_FAILED) {
		j->failed++;
	}
}

/* All that succeeded has been counted, once the pods are through. */
const char *jobs_why_not(struct chaos *c, const struct object *o, const BatchV1__Job *m)
{
	const struct job_book *j = map_get(&c->oracle->jobs, o->facts.uid);
	bool complete = has_condition(m->status, "Complete");
	bool failed = has_condition(m->status, "Failed");

	if (m->status == NULL)
		return "has no status";
	if (m->status->uncountedterminatedpods != NULL &&
	    (m->status->uncountedterminatedpods->n_succeeded > 0 ||
	     m->status->uncountedterminatedpods->n_failed > 0))
		return "still counts";
	if (!failed && m->status->succeeded != countable(j))
		return "has not counted every success";
	if (complete || failed)
		return m->status->active == 0 ? NULL : "has finished and has active pods";
	if (m->spec->suspend)
		return has_condition(m->status, "Suspended") ? NULL : "is not suspended yet";
	return m->spec->parallelism == 0 ? NULL : "has not finished";
}

/* The latest time before now at which a schedule "M *\/H * * *" was due. */
static int64_t latest_due_s(const char *schedule, int64_t now_s)
{
	int minute, hours = 1;
	int64_t at = now_s - now_s % 60;

	if (sscanf(schedule, "%d */%d", &minute, &hours) != 2)
		return 0; /* Every minute, in the time of chaos. */
	while (at / 60 % 60 != minute || at / 3600 % 24 % hours != 0)
		at -= 60;
	return at;
}

const char *jobs_cron_why_not(struct chaos *c, const struct object *o, const BatchV1__CronJob *m)
{
	const struct cron_book *b = map_get(&c->oracle->crons, o->facts.uid);
	int64_t now_s = writes_now_ns(c->sim.masters[c->sim.leader].writes) / 1000000000;
	int64_t due_s = latest_due_s(m->spec->schedule, now_s);
	int64_t last_s =
		m->status != NULL ? time_ns_of(m->status->lastscheduletime) / 1000000000 : 0;

	if (m->spec->suspend || b->forbids || m->spec->has_startingdeadlineseconds ||
	    due_s * 1000000000 <= b->since_time_ns || due_s + 5 > now_s)
		return NULL;
	return last_s >= due_s ? NULL : "has missed a time that was due";
}

void jobs_fini(struct chaos *c)
{
	map_fini(&c->oracle->crons);
	map_fini(&c->oracle->jobs);
}
