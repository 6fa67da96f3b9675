/* Starts a Job whenever a CronJob's schedule is due.
 *
 * What was due last is looked for between the time it was last acted upon and
 * now; only the latest is started, however many were missed. The Job is named
 * after its minute, so that none is started twice. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/cron.h"
#include "common/api/times.h"
#include "controlplane/controllers/common.h"
#include "proto/k8s/batch_v1.pb-c.h"

static const char component[] = "cronjob-controller";
static const char resource[] = "cronjobs.batch";
static const char jobs[] = "jobs.batch";
static const char scheduled_key[] = "batch.kubernetes.io/cronjob-scheduled-timestamp";

enum { MISSES_TOLD = 100 };
/* A moment after the minute begins, so that no clock is ahead of it. */
#define LATE_NS (NS_PER_S / 10)

struct child {
	const struct object *object;
	const BatchV1__JobStatus *status; /* May be NULL. */
	const char *ended;                /* "Complete", "Failed"; NULL: it goes on. */
	int64_t start_ns;
	bool ours;    /* Started by the schedule, not by hand. */
	bool dropped; /* Deleted by this look. */
};

struct cron_job {
	struct view *view;
	struct intents *intents;
	const struct object *object;
	const BatchV1__CronJob *message;
	const BatchV1__CronJobSpec *spec;
	BatchV1__CronJobStatus *status; /* As this look leaves it. */
	struct child *children;
	size_t n;
	bool starts; /* False: the Job it wanted to start was refused. */
};

/* --- Its Jobs --------------------------------------------------------------------- */

static const char *ended_as(const BatchV1__JobStatus *s)
{
	for (size_t i = 0; s != NULL && i < s->n_conditions; i++)
		if ((text_is(s->conditions[i]->type, "Complete") ||
		     text_is(s->conditions[i]->type, "Failed")) &&
		    text_is(s->conditions[i]->status, "True"))
			return s->conditions[i]->type;
	return NULL;
}

static void gather(struct cron_job *c)
{
	size_t n;
	const struct object *const *list = view_owned(c->view, jobs, c->object->facts.uid, &n);

	c->children = arena_array(c->view->arena, struct child, n + 1);
	for (size_t i = 0; i < n; i++) {
		const BatchV1__Job *job = view_message(c->view, list[i]);

		if (strcmp(list[i]->namespace, c->object->namespace) != 0)
			continue;
		c->children[c->n++] = (struct child){
			.object = list[i],
			.status = job->status,
			.ended = ended_as(job->status),
			.ours = meta_annotation(job->metadata, scheduled_key) != NULL,
			.start_ns = job->status && job->status->starttime
					    ? time_ns_of(job->status->starttime)
					    : list[i]->facts.created_ns,
		};
	}
}

static CoreV1__ObjectReference *find_active(const BatchV1__CronJobStatus *s, const char *uid)
{
	for (size_t i = 0; s != NULL && i < s->n_active; i++)
		if (text_is(s->active[i]->uid, uid))
			return s->active[i];
	return NULL;
}

static void tell(struct cron_job *c, const char *type, const char *reason, const char *what,
		 const char *name)
{
	intend_event(c->intents, component, c->object, type, reason, "%s: %s", what, name);
}

static const struct child *child_of(const struct cron_job *c, const char *uid)
{
	for (size_t i = 0; i < c->n; i++)
		if (strcmp(c->children[i].object->facts.uid, uid) == 0)
			return &c->children[i];
	return NULL;
}

/* Which of those in the status still run; tells what became of the others. */
static void check_active(struct cron_job *c)
{
	size_t kept = 0;

	for (size_t i = 0; i < c->status->n_active; i++) {
		CoreV1__ObjectReference *ref = c->status->active[i];
		const struct child *child = child_of(c, text_of(ref->uid));

		if (child == NULL) {
			tell(c, "Normal", "MissingJob", "Active job went missing",
			     text_of(ref->name));
		} else if (child->ended != NULL) {
			intend_event(c->intents, component, c->object, "Normal", "SawCompletedJob",
				     "Saw completed job: %s, condition: %s", text_of(ref->name),
				     child->ended);
		} else {
			c->status->active[kept++] = ref;
		}
	}
	c->status->n_active = kept;
	for (size_t i = 0; i < c->n; i++)
		if (!c->children[i].ours && c->children[i].ended == NULL &&
		    (c->children[i].status == NULL || c->children[i].status->starttime == NULL))
			tell(c, "Warning", "UnexpectedJob",
			     "Saw a job that the controller did not create or forgot",
			     c->children[i].object->name);
}

static void note_success(struct cron_job *c)
{
	int64_t last_ns = time_ns_of(c->status->lastsuccessfultime);

	for (size_t i = 0; i < c->n; i++) {
		const struct child *child = &c->children[i];

		if (child->ended == NULL || strcmp(child->ended, "Complete") != 0 ||
		    time_ns_of(child->status->completiontime) <= last_ns)
			continue;
		last_ns = time_ns_of(child->status->completiontime);
		c->status->lastsuccessfultime = make_time(c->intents->arena, last_ns);
	}
}

static void drop(struct cron_job *c, struct child *child)
{
	child->dropped = true;
	if (child->object->facts.deleted_ns != 0)
		return;
	intend_delete(c->intents, child->object, -1, "Background");
	tell(c, "Normal", "SuccessfulDelete", "Deleted job", child->object->name);
}

static int compare_start(const void *x, const void *y)
{
	const struct child *a = *(struct child *const *)x, *b = *(struct child *const *)y;

	if (a->start_ns != b->start_ns)
		return a->start_ns < b->start_ns ? -1 : 1;
	return strcmp(a->object->name, b->object->name);
}

/* Of those that ended so, only the newest limit stay. */
static void trim(struct cron_job *c, const char *ended, int32_t limit)
{
	struct child **list = arena_array(c->view->arena, struct child *, c->n + 1);
	size_t n = 0, most = limit > 0 ? (size_t)limit : 0;

	for (size_t i = 0; i < c->n; i++)
		if (c->children[i].ended != NULL && strcmp(c->children[i].ended, ended) == 0)
			list[n++] = &c->children[i];
	if (n > 1)
		qsort(list, n, sizeof(*list), compare_start);
	for (size_t i = 0; i + most < n && i < BATCH_MAX; i++)
		drop(c, list[i]);
}

/* --- When it is due --------------------------------------------------------------- */

struct due {
	struct cron schedule;
	const struct zone *zone;
	int64_t at_s; /* 0: nothing is due. */
};

/* False when nobody can tell. */
static bool read_schedule(struct cron_job *c, struct due *due)
{
	const char *zone = text_of(c->spec->timezone);
	struct status why = { 0 };

	if (!zones_find(c->view->zones, zone, &due->zone)) {
		tell(c, "Warning", "UnknownTimeZone", "invalid timeZone", zone);
		return false;
	}
	if (cron_parse(text_of(c->spec->schedule), &due->schedule, &why) == 0)
		return true;
	intend_event(c->intents, component, c->object, "Warning", "UnparseableSchedule",
		     "unparseable schedule: \"%s\" : %s", text_of(c->spec->schedule), why.message);
	status_fini(&why);
	return false;
}

/* From when on what is due has not been acted upon. */
static int64_t acted_s(const struct cron_job *c)
{
	return c->status->lastscheduletime != NULL ? c->status->lastscheduletime->seconds
						   : c->object->facts.created_ns / NS_PER_S;
}

static void tell_missed(struct cron_job *c, const struct due *due)
{
	char text[TIME_TEXT_MAX];

	time_print(due->at_s, text);
	tell(c, "Warning", "MissSchedule", "Missed scheduled time to start a job", text);
}

static void find_due(struct cron_job *c, struct due *due)
{
	int64_t now_s = c->view->now_ns / NS_PER_S;
	int count;

	due->at_s = 0;
	if (cron_last(&due->schedule, due->zone, acted_s(c), now_s, MISSES_TOLD + 1, &due->at_s,
		      &count) < 0)
		return;
	if (c->spec->has_startingdeadlineseconds &&
	    due->at_s < now_s - c->spec->startingdeadlineseconds) {
		tell_missed(c, due);
		due->at_s = 0;
		return;
	}
	/* Those that came too late anyway are not counted. */
	if (count > MISSES_TOLD && c->spec->has_startingdeadlineseconds) {
		int64_t last_s;

		(void)cron_last(&due->schedule, due->zone, now_s - c->spec->startingdeadlineseconds,
				now_s, MISSES_TOLD + 1, &last_s, &count);
	}
	if (count > MISSES_TOLD)
		intend_event(c->intents, component, c->object, "Warning", "TooManyMissedTimes",
			     "too many missed start times. Set or decrease "
			     ".spec.startingDeadlineSeconds or check clock skew");
}

static void look_again(struct cron_job *c, const struct due *due)
{
	int64_t now_s = c->view->now_ns / NS_PER_S, base_s = now_s, next_s;

	/* What repeats is counted from the last time, not from now. */
	if (due->schedule.every_s > 0) {
		base_s = acted_s(c);
		base_s += (now_s - base_s) / due->schedule.every_s * due->schedule.every_s;
	}
	if (cron_next(&due->schedule, due->zone, base_s, &next_s) == 0)
		intend_again(c->intents, next_s * NS_PER_S + LATE_NS);
}

/* --- Starting --------------------------------------------------------------------- */

/* In the zone of the schedule: "2026-11-24T18:00:00+01:00". */
static char *local_time(struct arena *a, const struct due *due)
{
	char text[TIME_TEXT_MAX];
	int64_t until_s;
	int32_t offset_s = zone_offset(due->zone, due->at_s, &until_s);
	int32_t minutes = (offset_s < 0 ? -offset_s : offset_s) / 60;
	size_t n = time_print(due->at_s + offset_s, text);

	if (offset_s == 0)
		return arena_strdup(a, text);
	return arena_printf(a, "%.*s%c%02d:%02d", (int)n - 1, text, offset_s < 0 ? '-' : '+',
			    minutes / 60, minutes % 60);
}

static void start(struct cron_job *c, const struct due *due, const char *name)
{
	struct arena *a = c->intents->arena;
	const BatchV1__JobTemplateSpec *template = message_copy(c->spec->jobtemplate, a);
	BatchV1__Job *job = make(a, BatchV1__Job, batch_v1__job);
	MetaV1__ObjectMeta *meta = message_metadata_make(job, a);

	if (template->metadata != NULL) {
		meta->n_labels = template->metadata->n_labels;
		meta->labels = template->metadata->labels;
		meta->n_annotations = template->metadata->n_annotations;
		meta->annotations = template->metadata->annotations;
	}
	meta->name = arena_strdup(a, name);
	meta->namespace_ = arena_strdup(a, c->object->namespace);
	meta_set_annotation(a, meta, scheduled_key, local_time(a, due));
	make_append(a, meta, ownerreferences, make_owner(a, c->object));
	job->spec = template->spec;
	intend_create(c->intents, jobs, c->object->namespace, &job->base);
	tell(c, "Normal", "SuccessfulCreate", "Created job", name);
	c->status->lastscheduletime = make_time(a, due->at_s * NS_PER_S);
}

/* False when Jobs that run stand in the way. */
static bool make_room(struct cron_job *c)
{
	size_t running = 0;

	for (size_t i = 0; i < c->n; i++)
		running += c->children[i].ours && c->children[i].ended == NULL;
	if (running == 0 || text_is(c->spec->concurrencypolicy, "Allow"))
		return true;
	if (text_is(c->spec->concurrencypolicy, "Forbid")) {
		intend_event(c->intents, component, c->object, "Normal", "JobAlreadyActive",
			     "Not starting job because prior execution is running and concurrency "
			     "policy is Forbid");
		return false;
	}
	for (size_t i = 0; i < c->n; i++)
		if (c->children[i].ours && c->children[i].ended == NULL)
			drop(c, &c->children[i]);
	return true;
}

static void start_if_due(struct cron_job *c, const struct due *due)
{
	int64_t last_s =
		c->status->lastscheduletime ? c->status->lastscheduletime->seconds : INT64_MIN;
	const char *name;

	if (due->at_s == 0 || due->at_s == last_s)
		return;
	name = arena_printf(c->intents->arena, "%s-%" PRId64, c->object->name, due->at_s / 60);
	if (view_get(c->view, jobs, c->object->namespace, name) != NULL) {
		/* Started by somebody, or by us before the status was changed by another. */
		c->status->lastscheduletime = make_time(c->intents->arena, due->at_s * NS_PER_S);
		return;
	}
	if (c->starts && make_room(c))
		start(c, due, name);
}

/* --- One look --------------------------------------------------------------------- */

/* A Job has a uid only once it is there, so the next look adds it. */
static void list_running(struct cron_job *c)
{
	struct arena *a = c->intents->arena;

	for (size_t i = 0; i < c->n; i++) {
		const struct object *o = c->children[i].object;
		CoreV1__ObjectReference *ref;

		if (!c->children[i].ours || c->children[i].ended != NULL ||
		    c->children[i].dropped || find_active(c->status, o->facts.uid) != NULL)
			continue;
		ref = make(a, CoreV1__ObjectReference, core_v1__object_reference);
		ref->kind = arena_strdup(a, "Job");
		ref->namespace_ = arena_strdup(a, o->namespace);
		ref->name = arena_strdup(a, o->name);
		ref->uid = arena_strdup(a, o->facts.uid);
		ref->apiversion = arena_strdup(a, "batch/v1");
		ref->resourceversion = arena_printf(a, "%llu", (unsigned long long)o->revision);
		make_append(a, c->status, active, ref);
	}
}

static void write_status(struct cron_job *c)
{
	BatchV1__CronJob *message;
	BatchV1__CronJobStatus *none =
		make(c->intents->arena, BatchV1__CronJobStatus, batch_v1__cron_job_status);

	if (message_equal(c->status, c->message->status ? c->message->status : none))
		return;
	message = changed(c->object, c->intents->arena);
	message->status = c->status;
	intend_update_status(c->intents, c->object, &message->base);
}

static void look(struct view *v, struct key key, bool starts, struct intents *intents)
{
	const struct object *o = view_get(v, resource, key.namespace, key.name);
	struct due due = { 0 };

	if (o == NULL)
		return;

	const BatchV1__CronJob *message = view_message(v, o);
	struct cron_job c = {
		.view = v,
		.intents = intents,
		.object = o,
		.starts = starts,
		.message = message,
		.spec = message->spec,
		.status = message->status ? message_copy(message->status, intents->arena)
					  : make(intents->arena, BatchV1__CronJobStatus,
						 batch_v1__cron_job_status),
	};

	gather(&c);
	check_active(&c);
	note_success(&c);
	if (o->facts.deleted_ns == 0) {
		trim(&c, "Complete", c.spec->successfuljobshistorylimit);
		trim(&c, "Failed", c.spec->failedjobshistorylimit);
		if (!c.spec->suspend && read_schedule(&c, &due)) {
			find_due(&c, &due);
			start_if_due(&c, &due);
			look_again(&c, &due);
		}
	}
	list_running(&c);
	write_status(&c);
}

static void reconcile(struct view *v, struct key key, struct intents *intents)
{
	look(v, key, true, intents);
}

static void refused(struct view *v, struct key key, const struct refusal *refusal,
		    struct intents *intents)
{
	look(v, key, false, intents);
}

static void on_change(const struct view *v, const struct object *old, const struct object *new,
		      struct keys *keys)
{
	if (change_is_of(old, new, resource)) {
		keys_add_object(keys, old, new);
	} else if (change_is_of(old, new, jobs)) {
		if (old != NULL)
			keys_add_owner(keys, old, "CronJob");
		if (new != NULL)
			keys_add_owner(keys, new, "CronJob");
	}
}

static void seed(const struct view *v, struct keys *keys)
{
	keys_add_all(keys, v, resource, NULL);
}

const struct controller controller_cronjob = {
	.name = component,
	.on_change = on_change,
	.seed = seed,
	.reconcile = reconcile,
	.refused = refused,
};
