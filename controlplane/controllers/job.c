/* Runs pods until so many of them have succeeded.
 *
 *   sum up what ended -> has the Job ended? -> make or remove pods -> count -> say so
 *
 * A Job ends in two steps that may fall into one look: SuccessCriteriaMet or
 * FailureTarget when it is decided, which makes the rest of the pods go, then
 * Complete or Failed once none of them runs and all are counted. */
#include "controlplane/controllers/job.h"

#include <stdlib.h>
#include <string.h>

/* Keys: a Job, or this and the name of a pod that has the finalizer but no Job. */
static const char pod_key[] = "/pod/";
static const char own_manager[] = "kubernetes.io/job-controller";

/* --- Conditions ------------------------------------------------------------------- */

static const BatchV1__JobCondition *find_condition(const BatchV1__JobStatus *s, const char *type)
{
	for (size_t i = 0; s != NULL && i < s->n_conditions; i++)
		if (text_is(s->conditions[i]->type, type))
			return s->conditions[i];
	return NULL;
}

static const BatchV1__JobCondition *true_condition(const BatchV1__JobStatus *s, const char *type)
{
	const BatchV1__JobCondition *c = find_condition(s, type);

	return c != NULL && text_is(c->status, "True") ? c : NULL;
}

/* True when it changed. */
static bool set_condition(struct job *j, const char *type, const char *value, const char *reason,
			  const char *message)
{
	struct arena *a = j->intents->arena;
	BatchV1__JobCondition *c = (BatchV1__JobCondition *)find_condition(j->status, type);

	if (c == NULL) {
		c = make(a, BatchV1__JobCondition, batch_v1__job_condition);
		c->type = arena_strdup(a, type);
		make_append(a, j->status, conditions, c);
	} else if (text_is(c->status, value)) {
		return false;
	}
	c->status = arena_strdup(a, value);
	c->reason = arena_strdup(a, reason);
	c->message = arena_strdup(a, message);
	c->lastprobetime = make_time(a, j->view->now_ns);
	c->lasttransitiontime = make_time(a, j->view->now_ns);
	return true;
}

/* --- What there is ---------------------------------------------------------------- */

static int32_t index_of(const struct job *j, const struct object *pod)
{
	const char *text = object_label(pod, JOB_INDEX_KEY);
	char *end;
	long n;

	if (!j->indexed || text == NULL || text[0] < '0' || text[0] > '9')
		return -1;
	n = strtol(text, &end, 10);
	return *end != '\0' || n >= j->spec->completions ? -1 : (int32_t)n;
}

static void gather(struct job *j, const struct pods *own)
{
	j->pods = arena_array(j->view->arena, struct job_pod, own->n + 1);
	j->n_pods = own->n;
	for (size_t i = 0; i < own->n; i++) {
		const struct pod_facts *f = own->list[i];

		j->pods[i] = (struct job_pod){
			.facts = f,
			.index = index_of(j, f->object),
			.tracked = object_has_finalizer(f->object, JOB_FINALIZER),
			.active = pod_is_active(f),
		};
		j->active += j->pods[i].active;
		j->ready += j->pods[i].active && f->ready;
		j->terminating += f->object->facts.deleted_ns != 0 && f->phase != PHASE_SUCCEEDED &&
				  f->phase != PHASE_FAILED;
	}
}

static struct job begin(struct view *v, struct intents *intents, const struct object *o,
			const struct refusal *refusal)
{
	const BatchV1__Job *message = view_message(v, o);
	struct job j = {
		.view = v,
		.intents = intents,
		.refusal = refusal,
		.object = o,
		.spec = message->spec,
		.before = message->status,
		.indexed = text_is(message->spec->completionmode, "Indexed"),
		.suspended = message->spec->suspend,
		.deleted = o->facts.deleted_ns != 0,
		.replaces_failed = text_is(message->spec->podreplacementpolicy, "Failed"),
	};

	j.per_index = j.indexed && j.spec->has_backofflimitperindex;
	j.status = j.before != NULL
			   ? message_copy(j.before, intents->arena)
			   : make(intents->arena, BatchV1__JobStatus, batch_v1__job_status);
	return j;
}

/* --- Whether it has ended --------------------------------------------------------- */

static void end_job(struct job *j, enum job_end end, const char *reason, const char *message)
{
	if (j->end != JOB_GOES_ON)
		return;
	j->end = end;
	j->reason = reason;
	j->message = message;
}

static bool past_restarts(const struct job *j)
{
	int64_t restarts = 0;
	int32_t limit = j->spec->backofflimit;

	if (!text_is(j->spec->template_->spec->restartpolicy, "OnFailure"))
		return false;
	for (size_t i = 0; i < j->n_pods; i++)
		if (j->pods[i].facts->phase == PHASE_RUNNING ||
		    j->pods[i].facts->phase == PHASE_PENDING)
			restarts += j->pods[i].facts->restarts;
	return limit == 0 ? restarts > 0 : restarts >= limit;
}

static bool past_deadline(struct job *j)
{
	int64_t start_ns = j->before ? time_ns_of(j->before->starttime) : 0, end_ns;

	if (!j->spec->has_activedeadlineseconds || j->suspended || start_ns == 0)
		return false;
	/* Beyond what can be told in nanoseconds it never comes. */
	if (j->spec->activedeadlineseconds > INT64_MAX / NS_PER_S - start_ns / NS_PER_S - 1)
		return false;
	end_ns = start_ns + j->spec->activedeadlineseconds * NS_PER_S;
	if (end_ns <= j->view->now_ns)
		return true;
	intend_again(j->intents, end_ns);
	return false;
}

/* What was decided stays decided. */
static bool decided_before(struct job *j)
{
	const BatchV1__JobCondition *met = true_condition(j->before, "SuccessCriteriaMet");
	const BatchV1__JobCondition *missed = true_condition(j->before, "FailureTarget");

	if (met != NULL) {
		j->end = JOB_SUCCEEDS;
		j->reason = met->reason;
		j->message = met->message;
	} else if (missed != NULL) {
		j->end = JOB_FAILS;
		j->reason = missed->reason;
		j->message = missed->message;
	}
	return j->end != JOB_GOES_ON;
}

static void decide_indexes(struct job *j)
{
	int64_t failed = index_list_count(&j->failed_at);
	const char *message = "";

	if (j->per_index && j->spec->has_maxfailedindexes && failed > j->spec->maxfailedindexes)
		end_job(j, JOB_FAILS, "MaxFailedIndexesExceeded",
			"Job has exceeded the specified maximal number of failed indexes");
	if (failed > 0 && failed + j->succeeded >= j->spec->completions)
		end_job(j, JOB_FAILS, "FailedIndexes", "Job has failed indexes");
	if (job_success_met(j, &message))
		end_job(j, JOB_SUCCEEDS, "SuccessPolicy", message);
}

static void decide(struct job *j)
{
	/* A FailJob rule has spoken already. */
	if (j->end == JOB_GOES_ON && (j->failed > j->spec->backofflimit || past_restarts(j)))
		end_job(j, JOB_FAILS, "BackoffLimitExceeded",
			"Job has reached the specified backoff limit");
	if (j->end == JOB_GOES_ON && past_deadline(j))
		end_job(j, JOB_FAILS, "DeadlineExceeded",
			"Job was active longer than specified deadline");
	if (j->indexed)
		decide_indexes(j);
}

/* Enough have succeeded, and nobody runs any more. */
static bool is_complete(const struct job *j)
{
	if (j->active > 0)
		return false;
	return j->spec->has_completions ? j->succeeded >= j->spec->completions : j->succeeded > 0;
}

/* --- Saying so -------------------------------------------------------------------- */

static void report_suspension(struct job *j)
{
	const BatchV1__JobCondition *c = find_condition(j->status, "Suspended");

	if (j->suspended) {
		j->status->starttime = NULL;
		if (set_condition(j, "Suspended", "True", "JobSuspended", "Job suspended"))
			intend_event(j->intents, JOB_COMPONENT, j->object, "Normal", "Suspended",
				     "Job suspended");
		return;
	}
	if (c != NULL && set_condition(j, "Suspended", "False", "JobResumed", "Job resumed")) {
		intend_event(j->intents, JOB_COMPONENT, j->object, "Normal", "Resumed",
			     "Job resumed");
		j->status->starttime = NULL;
	}
	/* The time it was suspended does not count. */
	if (j->status->starttime == NULL)
		j->status->starttime = make_time(j->intents->arena, j->view->now_ns);
}

static void report_end(struct job *j, bool all_counted)
{
	bool success = j->end == JOB_SUCCEEDS;

	set_condition(j, success ? "SuccessCriteriaMet" : "FailureTarget", "True", j->reason,
		      j->message);
	if (!all_counted || j->active > 0 || j->terminating > 0)
		return;
	set_condition(j, success ? "Complete" : "Failed", "True", j->reason, j->message);
	if (success)
		j->status->completiontime = make_time(j->intents->arena, j->view->now_ns);
	if (success)
		intend_event(j->intents, JOB_COMPONENT, j->object, "Normal", "Completed",
			     "Job completed");
	else
		intend_event(j->intents, JOB_COMPONENT, j->object, "Warning", j->reason, "%s",
			     j->message);
}

static void write_status(struct job *j)
{
	struct arena *a = j->intents->arena;
	BatchV1__Job *message;

	make_set(j->status, active, (int32_t)j->active);
	make_set(j->status, ready, (int32_t)j->ready);
	make_set(j->status, terminating, (int32_t)j->terminating);
	j->status->uncountedterminatedpods =
		make(a, BatchV1__UncountedTerminatedPods, batch_v1__uncounted_terminated_pods);
	if (j->before != NULL && message_equal(j->status, j->before))
		return;
	message = changed(j->object, a);
	message->status = j->status;
	intend_update_status(j->intents, j->object, &message->base);
}

/* --- One look --------------------------------------------------------------------- */

static void look_at_job(struct job *j)
{
	bool all_counted;

	job_sum(j);
	if (!j->deleted && !decided_before(j))
		decide(j);
	job_find_awaited(j);
	/* The pods of a Job being deleted are the garbage collector's. */
	if (j->end != JOB_GOES_ON && !j->deleted)
		job_delete_active(j);
	else if (!j->deleted)
		job_manage(j);
	all_counted = job_count(j);
	if (j->end == JOB_GOES_ON && !j->deleted && is_complete(j)) {
		j->end = JOB_SUCCEEDS;
		j->reason = "CompletionsReached";
		j->message = "Reached expected number of succeeded pods";
	}
	if (j->end != JOB_GOES_ON)
		report_end(j, all_counted);
	else if (!j->deleted)
		report_suspension(j);
	if (j->status->starttime == NULL && !j->suspended && !j->deleted)
		j->status->starttime = make_time(j->intents->arena, j->view->now_ns);
	write_status(j);
}

static void let_go(struct intents *intents, const struct object *pod)
{
	CoreV1__Pod *message = changed(pod, intents->arena);

	meta_remove_finalizer(message->metadata, JOB_FINALIZER);
	intend_update(intents, pod, &message->base);
}

/* Of a Job that has ended nothing is counted any more. */
static void let_all_go(struct view *v, struct intents *intents, const struct object *job)
{
	size_t n, done = 0;
	const struct pod_facts *const *pods = view_pods_of(v, job->facts.uid, &n);

	for (size_t i = 0; i < n && done < BATCH_MAX; i++) {
		if (!object_has_finalizer(pods[i]->object, JOB_FINALIZER))
			continue;
		let_go(intents, pods[i]->object);
		done++;
	}
	if (done == BATCH_MAX)
		intend_again(intents, v->now_ns);
}

static void look_at_orphan(struct view *v, const char *namespace, const char *name,
			   struct intents *intents)
{
	const struct object *pod = view_get(v, "pods", namespace, name);
	const struct owner_ref *owner = pod ? object_controller(pod) : NULL;

	if (pod == NULL || !object_has_finalizer(pod, JOB_FINALIZER))
		return;
	if (owner == NULL || store_get_uid(v->store, owner->uid) == NULL)
		let_go(intents, pod);
}

static void look(struct view *v, struct key key, const struct refusal *refusal,
		 struct intents *intents)
{
	static const struct claim claim = { .finished_too = true, .finalizer = JOB_FINALIZER };
	const struct object *o;
	struct label_selector selector;
	struct pods own;

	if (strncmp(key.name, pod_key, sizeof(pod_key) - 1) == 0) {
		look_at_orphan(v, key.namespace, key.name + sizeof(pod_key) - 1, intents);
		return;
	}
	o = view_get(v, JOB_RESOURCE, key.namespace, key.name);
	if (o == NULL)
		return;

	struct job j = begin(v, intents, o, refusal);

	if (!text_empty(j.spec->managedby) && !text_is(j.spec->managedby, own_manager))
		return;
	if (true_condition(j.before, "Complete") || true_condition(j.before, "Failed")) {
		let_all_go(v, intents, o);
		return;
	}
	if (label_selector_of(j.spec->selector, v->arena, &selector, NULL) < 0)
		selector = (struct label_selector){ .nothing = true };
	if (j.deleted) {
		size_t n;
		const struct pod_facts *const *pods = view_pods_of(v, o->facts.uid, &n);

		own = (struct pods){ .list = (const struct pod_facts **)pods, .n = n };
	} else {
		own = pods_claim(v, intents, o, &selector, &claim);
		if (intents->count > 0)
			return; /* What was adopted is looked at when it is ours. */
	}
	gather(&j, &own);
	look_at_job(&j);
}

static void reconcile(struct view *v, struct key key, struct intents *intents)
{
	look(v, key, NULL, intents);
}

static void refused(struct view *v, struct key key, const struct refusal *refusal,
		    struct intents *intents)
{
	look(v, key, refusal, intents);
}

/* --- What wakes it ---------------------------------------------------------------- */

static void add_orphan(struct keys *keys, const struct object *pod)
{
	size_t n = sizeof(pod_key) + strlen(pod->name);
	char key[sizeof(pod_key) + 256];

	if (n > sizeof(key))
		return;
	memcpy(key, pod_key, sizeof(pod_key) - 1);
	memcpy(key + sizeof(pod_key) - 1, pod->name, strlen(pod->name) + 1);
	keys_add(keys, pod->namespace, key);
}

static void on_pod(const struct view *v, const struct object *old, const struct object *new,
		   struct keys *keys)
{
	const struct owner_ref *owner;

	if (old != NULL)
		keys_add_owner(keys, old, "Job");
	if (new == NULL)
		return;
	keys_add_owner(keys, new, "Job");
	owner = object_controller(new);
	if (object_has_finalizer(new, JOB_FINALIZER) &&
	    (owner == NULL || store_get_uid(v->store, owner->uid) == NULL))
		add_orphan(keys, new);
	if (owner == NULL && new->facts.n_labels > 0 && new->facts.deleted_ns == 0)
		keys_add_all(keys, v, JOB_RESOURCE, new->namespace);
}

static void on_change(const struct view *v, const struct object *old, const struct object *new,
		      struct keys *keys)
{
	size_t n;

	if (change_is_of(old, new, "pods")) {
		on_pod(v, old, new, keys);
		return;
	}
	if (!change_is_of(old, new, JOB_RESOURCE))
		return;
	keys_add_object(keys, old, new);
	if (new != NULL)
		return;

	const struct pod_facts *const *pods = view_pods_of(v, old->facts.uid, &n);

	for (size_t i = 0; i < n; i++)
		if (object_has_finalizer(pods[i]->object, JOB_FINALIZER))
			add_orphan(keys, pods[i]->object);
}

static void seed(const struct view *v, struct keys *keys)
{
	size_t n;
	const struct object *const *pods = view_list(v, "pods", NULL, &n);

	keys_add_all(keys, v, JOB_RESOURCE, NULL);
	for (size_t i = 0; i < n; i++) {
		const struct owner_ref *owner = object_controller(pods[i]);

		if (object_has_finalizer(pods[i], JOB_FINALIZER) &&
		    (owner == NULL || store_get_uid(v->store, owner->uid) == NULL))
			add_orphan(keys, pods[i]);
	}
}

const struct controller controller_job = {
	.name = JOB_COMPONENT,
	.on_change = on_change,
	.seed = seed,
	.reconcile = reconcile,
	.refused = refused,
};
