/* What ended, and how it is counted. */
#include <stdlib.h>
#include <string.h>

#include "controlplane/controllers/job.h"

static const char failures_key[] = "batch.kubernetes.io/job-index-failure-count";
static const char ignored_key[] = "batch.kubernetes.io/job-index-ignored-failure-count";

static bool has_ended(const struct job_pod *p)
{
	return p->facts->phase == PHASE_SUCCEEDED || p->facts->phase == PHASE_FAILED;
}

/* --- Failures --------------------------------------------------------------------- */

static int32_t number_in(const MetaV1__ObjectMeta *meta, const char *key)
{
	long n = strtol(text_of(meta_annotation(meta, key)), NULL, 10);

	return n < 0 || n > INT32_MAX - 1 ? 0 : (int32_t)n;
}

int32_t job_failures_before(const struct job *j, const struct job_pod *p, bool all)
{
	const CoreV1__Pod *pod = view_message(j->view, p->facts->object);
	int32_t n = number_in(pod->metadata, failures_key);
	int32_t ignored = all ? number_in(pod->metadata, ignored_key) : 0;

	return n > INT32_MAX - ignored ? INT32_MAX : n + ignored;
}

/* With podReplacementPolicy TerminatingOrFailed a pod that is to go has failed already: nobody may
 * be left who says how it ended. */
static bool is_failure(const struct job *j, const struct job_pod *p)
{
	if (p->facts->phase == PHASE_FAILED)
		return true;
	return !j->replaces_failed && p->facts->phase != PHASE_SUCCEEDED &&
	       p->facts->object->facts.deleted_ns != 0;
}

static void judge_failure(struct job *j, struct job_pod *p)
{
	const char *message = NULL;
	enum job_action action = job_failure_action(j, p, &message);

	p->failed = true;
	p->ignored = action == JOB_IGNORE;
	if (action == JOB_FAIL_JOB && j->end == JOB_GOES_ON) {
		j->end = JOB_FAILS;
		j->reason = "PodFailurePolicy";
		j->message = message;
	}
	if (j->per_index && p->index >= 0)
		p->index_out = action == JOB_FAIL_INDEX ||
			       (action != JOB_IGNORE &&
				job_failures_before(j, p, false) >= j->spec->backofflimitperindex);
}

/* --- Sums ------------------------------------------------------------------------- */

/* The list of the status, and the indexes of the pods that are said to belong to it now. */
static struct index_list indexes_with(struct job *j, const char *text,
				      bool (*belongs)(const struct job_pod *p))
{
	struct arena *a = j->view->arena;
	int32_t *found = arena_array(a, int32_t, j->n_pods + 1);
	struct index_list known = { 0 }, more;
	size_t n = 0;

	/* Ours is well formed; another's, written into the status, counts as nothing. */
	if (index_list_parse(text, j->spec->completions, a, &known) < 0)
		known = (struct index_list){ 0 };
	for (size_t i = 0; i < j->n_pods; i++)
		if (j->pods[i].index >= 0 && belongs(&j->pods[i]))
			found[n++] = j->pods[i].index;
	more = index_list_of(found, n, a);
	return index_list_union(&known, &more, a);
}

static bool has_succeeded(const struct job_pod *p)
{
	return p->tracked && p->facts->phase == PHASE_SUCCEEDED;
}

static bool ends_index(const struct job_pod *p)
{
	return p->index_out;
}

static bool listed(char *const *uids, size_t n, const char *uid)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(uids[i], uid) == 0)
			return true;
	return false;
}

/* Ends that somebody else's controller had noted but not yet summed up. */
static void fold_uncounted(struct job *j)
{
	const BatchV1__UncountedTerminatedPods *u =
		j->before ? j->before->uncountedterminatedpods : NULL;

	if (u == NULL || u->n_succeeded + u->n_failed == 0)
		return;
	if (!j->indexed)
		j->status->succeeded += (int32_t)u->n_succeeded;
	j->status->failed += (int32_t)u->n_failed;
	for (size_t i = 0; i < j->n_pods; i++) {
		const char *uid = j->pods[i].facts->object->facts.uid;

		j->pods[i].counted = !j->pods[i].active &&
				     (listed(u->succeeded, u->n_succeeded, uid) ||
				      listed(u->failed, u->n_failed, uid));
	}
}

void job_sum(struct job *j)
{
	fold_uncounted(j);
	j->succeeded = j->status->succeeded;
	j->failed = j->status->failed;
	for (size_t i = 0; i < j->n_pods; i++) {
		struct job_pod *p = &j->pods[i];

		if (!p->tracked || p->counted)
			continue;
		if (is_failure(j, p))
			judge_failure(j, p);
		j->succeeded += has_succeeded(p);
		j->failed += p->failed && !p->ignored && (!j->indexed || p->index >= 0);
	}
	if (!j->indexed)
		return;
	j->succeeded_at = indexes_with(j, j->status->completedindexes, has_succeeded);
	j->succeeded = index_list_count(&j->succeeded_at);
	if (j->per_index)
		j->failed_at = indexes_with(j, j->status->failedindexes, ends_index);
}

/* By index; of one index the last one made first: it knows all failures before it. */
static int compare_index(const void *x, const void *y)
{
	const struct job_pod *a = *(struct job_pod *const *)x, *b = *(struct job_pod *const *)y;

	if (a->index != b->index)
		return a->index < b->index ? -1 : 1;
	return a > b ? -1 : a < b;
}

/* The indexes that are done with, or run. */
static struct index_list settled_indexes(struct job *j)
{
	int32_t *running = arena_array(j->view->arena, int32_t, j->n_pods + 1);
	struct index_list settled;
	size_t n = 0;

	for (size_t i = 0; i < j->n_pods; i++)
		if (j->pods[i].active && j->pods[i].tracked && j->pods[i].index >= 0)
			running[n++] = j->pods[i].index;
	settled = index_list_of(running, n, j->view->arena);
	settled = index_list_union(&settled, &j->succeeded_at, j->view->arena);
	return index_list_union(&settled, &j->failed_at, j->view->arena);
}

/* The failed pod of an index that is to be tried again keeps its finalizer until the next one is
 * there and carries its number of failures on. */
void job_find_awaited(struct job *j)
{
	struct job_pod **failed = arena_array(j->view->arena, struct job_pod *, j->n_pods + 1);
	struct index_list settled;
	size_t n = 0;

	if (!j->per_index || j->end != JOB_GOES_ON || j->deleted)
		return;
	settled = settled_indexes(j);
	for (size_t i = 0; i < j->n_pods; i++)
		if (j->pods[i].failed && j->pods[i].index >= 0 &&
		    !index_list_has(&settled, j->pods[i].index))
			failed[n++] = &j->pods[i];
	if (n > 1)
		qsort(failed, n, sizeof(*failed), compare_index);
	for (size_t i = 0; i < n; i++) {
		failed[i]->awaited = i == 0 || failed[i]->index != failed[i - 1]->index;
		j->n_awaited += failed[i]->awaited;
	}
}

/* --- Counting --------------------------------------------------------------------- */

static bool may_count(const struct job *j, const struct job_pod *p)
{
	if (!p->tracked || p->awaited)
		return false;
	if (has_ended(p) || p->failed || p->counted || j->deleted)
		return true;
	/* Of a Job that ends nobody waits for what was told to go. */
	return j->end != JOB_GOES_ON && p->facts->object->facts.deleted_ns != 0;
}

static void let_go(struct job *j, const struct job_pod *p)
{
	CoreV1__Pod *message = changed(p->facts->object, j->intents->arena);

	meta_remove_finalizer(message->metadata, JOB_FINALIZER);
	intend_update(j->intents, p->facts->object, &message->base);
}

static void count_one(struct job *j, const struct job_pod *p)
{
	bool ended_by_us = p->facts->object->facts.deleted_ns != 0 && !has_ended(p);

	if (p->counted)
		return;
	if (p->facts->phase == PHASE_SUCCEEDED) {
		if (!j->indexed)
			make_set(j->status, succeeded, j->status->succeeded + 1);
		return;
	}
	if (p->ignored || (j->indexed && p->index < 0))
		return;
	/* What a Job that succeeded does not need any more did not fail. */
	if (ended_by_us && j->end == JOB_SUCCEEDS)
		return;
	if (p->failed || (ended_by_us && j->end == JOB_FAILS))
		make_set(j->status, failed, j->status->failed + 1);
}

bool job_count(struct job *j)
{
	size_t n = 0;
	bool all = true;
	struct index_list counted = { 0 };
	int32_t *indexes = arena_array(j->view->arena, int32_t, j->n_pods + 1);
	size_t n_indexes = 0;

	for (size_t i = 0; i < j->n_pods; i++) {
		const struct job_pod *p = &j->pods[i];

		if (!may_count(j, p) || n == BATCH_MAX) {
			all = all && !p->tracked;
			continue;
		}
		let_go(j, p);
		count_one(j, p);
		if (p->facts->phase == PHASE_SUCCEEDED && p->index >= 0)
			indexes[n_indexes++] = p->index;
		n++;
	}
	if (j->indexed) {
		struct index_list more = index_list_of(indexes, n_indexes, j->view->arena);

		if (index_list_parse(j->status->completedindexes, j->spec->completions,
				     j->view->arena, &counted) < 0)
			counted = (struct index_list){ 0 };
		counted = index_list_union(&counted, &more, j->view->arena);
		j->status->completedindexes = index_list_print(&counted, j->intents->arena);
		make_set(j->status, succeeded, (int32_t)index_list_count(&counted));
	}
	if (j->per_index) {
		char *text = index_list_print(&j->failed_at, j->intents->arena);

		j->status->failedindexes = text ? text : arena_strdup(j->intents->arena, "");
	}
	return all;
}
