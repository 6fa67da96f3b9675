/* How many pods a Job has: who is removed, who is made, and when not yet. */
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/map.h"
#include "controlplane/controllers/job.h"

#define BACKOFF_FIRST_NS (10 * NS_PER_S)
#define BACKOFF_MAX_NS (600 * NS_PER_S)

enum { NAME_BASE_MAX = 58, BACKOFF_DOUBLINGS_MAX = 6 };

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* --- Too many --------------------------------------------------------------------- */

static void tell_deleted(struct job *j, size_t i, size_t n, const struct job_pod *p)
{
	pods_tell(j->intents, JOB_COMPONENT, j->object, i, n, "SuccessfulDelete", "Deleted",
		  p->facts->object->name);
}

void job_delete_active(struct job *j)
{
	size_t n = smaller(j->active, BATCH_MAX), i = 0;

	for (size_t k = 0; k < j->n_pods && i < n; k++) {
		struct job_pod *p = &j->pods[k];

		if (!p->active)
			continue;
		intend_delete(j->intents, p->facts->object, -1, NULL);
		tell_deleted(j, i++, n, p);
		p->active = false;
		j->active--;
		j->ready -= p->facts->ready;
		j->terminating++;
	}
}

/* Active pods without the finalizer are on their way out: the look before took it. */
static void delete_dismissed(struct job *j)
{
	size_t n = 0, i = 0;

	for (size_t k = 0; k < j->n_pods; k++)
		n += j->pods[k].active && !j->pods[k].tracked;
	n = smaller(n, BATCH_MAX);
	for (size_t k = 0; k < j->n_pods && i < n; k++) {
		struct job_pod *p = &j->pods[k];

		if (!p->active || p->tracked)
			continue;
		intend_delete(j->intents, p->facts->object, -1, NULL);
		tell_deleted(j, i++, n, p);
		p->active = false;
		j->active--;
		j->ready -= p->facts->ready;
		j->terminating++;
	}
}

/* Without the finalizer the pod's end is not counted; the next look deletes it. */
static void dismiss(struct job *j, struct job_pod *p)
{
	CoreV1__Pod *message = changed(p->facts->object, j->intents->arena);

	meta_remove_finalizer(message->metadata, JOB_FINALIZER);
	intend_update(j->intents, p->facts->object, &message->base);
	p->active = false;
	j->active--;
	j->ready -= p->facts->ready;
}

static const struct pod_facts **active_facts(const struct job *j, size_t *ret_n)
{
	const struct pod_facts **list =
		arena_array(j->view->arena, const struct pod_facts *, j->n_pods + 1);

	*ret_n = 0;
	for (size_t i = 0; i < j->n_pods; i++)
		if (j->pods[i].active)
			list[(*ret_n)++] = j->pods[i].facts;
	return list;
}

/* Of Indexed Jobs: an index that is none of the Job's, or that is done with. */
static bool is_pointless(const struct job *j, const struct job_pod *p)
{
	return j->indexed && (p->index < 0 || index_list_has(&j->succeeded_at, p->index) ||
			      index_list_has(&j->failed_at, p->index));
}

/* Whether some active pod is pointless or runs for an index that another runs for. */
static bool has_superfluous(const struct job *j)
{
	int32_t *indexes = arena_array(j->view->arena, int32_t, j->active + 1);
	struct index_list running;
	size_t n = 0;

	if (!j->indexed)
		return false;
	for (size_t i = 0; i < j->n_pods; i++) {
		if (!j->pods[i].active)
			continue;
		if (is_pointless(j, &j->pods[i]))
			return true;
		indexes[n++] = j->pods[i].index;
	}
	running = index_list_of(indexes, n, j->view->arena);
	return index_list_count(&running) < (int64_t)n;
}

/* Who goes: the pointless, of several with one index all but the one that ranks last, and as many
 * more as are too many, by rank. */
static void mark_excess(struct job *j, struct job_pod *const *ranked, size_t n, size_t want,
			bool *marks)
{
	auto_with(map_fini) struct map kept = { 0 };
	size_t left = n;

	for (size_t i = n; i-- > 0;) {
		struct job_pod *p = ranked[i];

		marks[i] =
			is_pointless(j, p) ||
			(j->indexed &&
			 map_put(&kept, arena_printf(j->view->arena, "%d", p->index), p) != NULL);
		left -= marks[i];
	}
	for (size_t i = 0; i < n && left > want; i++) {
		left -= !marks[i];
		marks[i] = true;
	}
}

/* True when somebody was. */
static bool remove_excess(struct job *j, size_t want)
{
	size_t n, removed = 0;

	if (j->active <= want && !has_superfluous(j))
		return false;

	const struct pod_facts **facts = active_facts(j, &n);
	struct job_pod **ranked = arena_array(j->view->arena, struct job_pod *, n + 1);
	bool *marks = arena_array(j->view->arena, bool, n + 1);
	auto_with(map_fini) struct map by_uid = { 0 };

	for (size_t i = 0; i < j->n_pods; i++)
		if (j->pods[i].active)
			map_put(&by_uid, j->pods[i].facts->object->facts.uid, &j->pods[i]);
	pods_rank(j->view, facts, n, NULL);
	for (size_t i = 0; i < n; i++)
		ranked[i] = map_get(&by_uid, facts[i]->object->facts.uid);
	mark_excess(j, ranked, n, want, marks);
	for (size_t i = 0; i < n && removed < BATCH_MAX; i++) {
		if (!marks[i])
			continue;
		dismiss(j, ranked[i]);
		removed++;
	}
	return removed > 0;
}

/* --- Back-off --------------------------------------------------------------------- */

int64_t job_finish_ns(const struct job *j, const struct pod_facts *p)
{
	const struct facts *f = &p->object->facts;
	const MetaV1__ObjectMeta *meta;

	if (p->finished_ns != 0)
		return p->finished_ns;
	if (f->deleted_ns != 0) {
		/* It was told to go so long before its time is over. */
		meta = ((const CoreV1__Pod *)view_message(j->view, p->object))->metadata;
		return f->deleted_ns - meta->deletiongraceperiodseconds * NS_PER_S;
	}
	return p->ready_since_ns != 0 ? p->ready_since_ns : f->created_ns;
}

static int64_t backoff_end_ns(int64_t failed_ns, int64_t failures)
{
	int64_t doublings = failures - 1;
	int64_t wait_ns;

	if (failures <= 0)
		return 0;
	wait_ns = BACKOFF_FIRST_NS
		  << (doublings < BACKOFF_DOUBLINGS_MAX ? doublings : BACKOFF_DOUBLINGS_MAX);
	return failed_ns + (wait_ns < BACKOFF_MAX_NS ? wait_ns : BACKOFF_MAX_NS);
}

/* Until when no pod is made: failures since the last success, as far as their pods are there. */
static int64_t backoff_of_job(const struct job *j)
{
	int64_t success_ns = INT64_MIN, last_ns = 0, failures = 0;

	for (size_t i = 0; i < j->n_pods; i++)
		if (j->pods[i].facts->phase == PHASE_SUCCEEDED &&
		    job_finish_ns(j, j->pods[i].facts) > success_ns)
			success_ns = job_finish_ns(j, j->pods[i].facts);
	for (size_t i = 0; i < j->n_pods; i++) {
		const struct job_pod *p = &j->pods[i];
		bool own = p->facts->phase == PHASE_FAILED &&
			   (p->tracked || p->facts->object->facts.deleted_ns == 0);
		int64_t at_ns = job_finish_ns(j, p->facts);

		if ((!own && !p->failed) || at_ns <= success_ns)
			continue;
		failures++;
		last_ns = at_ns > last_ns ? at_ns : last_ns;
	}
	return backoff_end_ns(last_ns, failures);
}

static const struct job_pod *awaited_pod(const struct job *j, int32_t index)
{
	for (size_t i = 0; j->n_awaited > 0 && i < j->n_pods; i++)
		if (j->pods[i].awaited && j->pods[i].index == index)
			return &j->pods[i];
	return NULL;
}

/* Only those indexes whose own wait is over. */
static size_t drop_waiting_indexes(struct job *j, int32_t *indexes, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		const struct job_pod *p = awaited_pod(j, indexes[i]);
		int64_t end_ns =
			p == NULL ? 0
				  : backoff_end_ns(job_finish_ns(j, p->facts),
						   (int64_t)job_failures_before(j, p, true) + 1);

		if (end_ns > j->view->now_ns)
			intend_again(j->intents, end_ns);
		else
			indexes[kept++] = indexes[i];
	}
	return kept;
}

/* --- Too few ---------------------------------------------------------------------- */

/* The lowest indexes that neither run nor are done with. */
static int32_t *pending_indexes(struct job *j, size_t *n)
{
	int32_t *list = arena_array(j->view->arena, int32_t, *n + j->n_pods + 1);
	struct index_list taken;
	size_t n_taken = 0;

	for (size_t i = 0; i < j->n_pods; i++) {
		const struct job_pod *p = &j->pods[i];
		bool goes = p->facts->object->facts.deleted_ns != 0 &&
			    p->facts->phase != PHASE_SUCCEEDED && p->facts->phase != PHASE_FAILED;

		if (p->index >= 0 && (p->active || (goes && j->replaces_failed)))
			list[n_taken++] = p->index;
	}
	taken = index_list_of(list, n_taken, j->view->arena);
	taken = index_list_union(&taken, &j->succeeded_at, j->view->arena);
	taken = index_list_union(&taken, &j->failed_at, j->view->arena);
	*n = index_list_gaps(&taken, j->spec->completions, list, *n);
	return list;
}

static void add_index_variable(struct arena *a, CoreV1__Container **containers, size_t n)
{
	static const char name[] = "JOB_COMPLETION_INDEX";

	for (size_t i = 0; i < n; i++) {
		CoreV1__EnvVar *v;
		bool there = false;

		for (size_t k = 0; k < containers[i]->n_env; k++)
			there = there || text_is(containers[i]->env[k]->name, name);
		if (there)
			continue;
		v = make(a, CoreV1__EnvVar, core_v1__env_var);
		v->name = arena_strdup(a, name);
		v->valuefrom = make(a, CoreV1__EnvVarSource, core_v1__env_var_source);
		v->valuefrom->fieldref =
			make(a, CoreV1__ObjectFieldSelector, core_v1__object_field_selector);
		v->valuefrom->fieldref->fieldpath =
			arena_printf(a, "metadata.labels['%s']", JOB_INDEX_KEY);
		make_append(a, containers[i], env, v);
	}
}

/* The number of failures of the index goes from the failed pod to the one that replaces it. */
static void carry_failures(struct job *j, MetaV1__ObjectMeta *meta, int32_t index)
{
	static const char failures[] = "batch.kubernetes.io/job-index-failure-count";
	static const char ignored[] = "batch.kubernetes.io/job-index-ignored-failure-count";
	const struct job_pod *p = awaited_pod(j, index);
	struct arena *a = j->intents->arena;
	int32_t counted = 0, all = 0;

	if (p != NULL) {
		counted = job_failures_before(j, p, false) + !p->ignored;
		all = job_failures_before(j, p, true) + 1;
	}
	meta_set_annotation(a, meta, failures, arena_printf(a, "%d", counted));
	if (all > counted)
		meta_set_annotation(a, meta, ignored, arena_printf(a, "%d", all - counted));
}

static void give_index(struct job *j, CoreV1__Pod *pod, int32_t index)
{
	struct arena *a = j->intents->arena;
	const char *text = arena_printf(a, "%d", index);

	meta_set_annotation(a, pod->metadata, JOB_INDEX_KEY, text);
	meta_set_label(a, pod->metadata, JOB_INDEX_KEY, text);
	if (pod->spec != NULL) {
		pod->spec->hostname = arena_printf(a, "%s-%d", j->object->name, index);
		add_index_variable(a, pod->spec->containers, pod->spec->n_containers);
		add_index_variable(a, pod->spec->initcontainers, pod->spec->n_initcontainers);
	}
	if (j->per_index)
		carry_failures(j, pod->metadata, index);
}

static char *name_base(struct job *j, int32_t index)
{
	struct arena *a = j->intents->arena;

	if (!j->indexed)
		return arena_printf(a, "%s-", j->object->name);

	const char *end = arena_printf(a, "-%d-", index);

	/* The index is never cut off. */
	return arena_printf(a, "%.*s%s", (int)(NAME_BASE_MAX - strlen(end)), j->object->name, end);
}

static void create_pods(struct job *j, const int32_t *indexes, size_t n)
{
	auto_with(map_fini) struct map names = { 0 };
	struct arena *a = j->intents->arena;

	for (size_t i = 0, try = 0; i < n; i++) {
		CoreV1__Pod *pod = pods_make(a, j->object, j->spec->template_);
		MetaV1__ObjectMeta *meta = pod->metadata;

		meta->generatename = name_base(j, indexes ? indexes[i] : 0);
		do
			meta->name = free_name(j->view, a, "pods", j->object->namespace,
					       meta->generatename, j->object->facts.uid, try++);
		while (map_get(&names, meta->name) != NULL);
		map_put(&names, meta->name, pod);
		make_append(a, meta, finalizers, arena_strdup(a, JOB_FINALIZER));
		if (indexes != NULL)
			give_index(j, pod, indexes[i]);
		intend_create(j->intents, "pods", j->object->namespace, &pod->base);
		pods_tell(j->intents, JOB_COMPONENT, j->object, i, n, "SuccessfulCreate", "Created",
			  meta->name);
	}
}

static void create_missing(struct job *j, size_t missing)
{
	size_t n = smaller(missing, BATCH_MAX);
	int32_t *indexes = NULL;
	int64_t until_ns = j->per_index ? 0 : backoff_of_job(j);

	if (until_ns > j->view->now_ns) {
		intend_again(j->intents, until_ns);
		return;
	}
	if (j->indexed)
		indexes = pending_indexes(j, &n);
	if (j->per_index)
		n = drop_waiting_indexes(j, indexes, n);
	/* What was refused is tried again after the back-off; what would have passed is not lost.
	 */
	if (j->refusal != NULL)
		n = smaller(n, j->refusal->creates_before);
	create_pods(j, indexes, n);
}

/* --- How many --------------------------------------------------------------------- */

static size_t wanted(const struct job *j)
{
	size_t parallelism = j->spec->parallelism > 0 ? (size_t)j->spec->parallelism : 0;
	int64_t left;

	if (j->suspended)
		return 0;
	/* A queue of work: after the first success nobody new begins. */
	if (!j->spec->has_completions)
		return j->succeeded > 0 ? j->active : parallelism;
	left = j->spec->completions - j->succeeded;
	return left <= 0 ? 0 : smaller((size_t)left, parallelism);
}

void job_manage(struct job *j)
{
	size_t want, there;

	delete_dismissed(j);
	want = wanted(j);
	/* In one look pods are either removed or made. */
	if (remove_excess(j, want) || j->suspended)
		return;
	there = j->active + (j->replaces_failed ? j->terminating : 0);
	if (there < want)
		create_missing(j, want - there);
}
