/* Keeps as many pods as a ReplicaSet asks for. */
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/map.h"
#include "controlplane/controllers/common.h"

static const char component[] = "replicaset-controller";
static const char resource[] = "replicasets.apps";

/* --- Whose pods ------------------------------------------------------------- */

struct owned {
	const struct pod_facts **pods;
	size_t n;
};

static void adopt(struct intents *intents, const struct object *set, const struct object *pod)
{
	CoreV1__Pod *message = changed(pod, intents->arena);

	make_append(intents->arena, message->metadata, ownerreferences,
		    make_owner(intents->arena, set));
	intend_update(intents, pod, &message->base);
}

static void release(struct intents *intents, const struct object *set, const struct object *pod)
{
	CoreV1__Pod *message = changed(pod, intents->arena);

	remove_owner(message->metadata, set->facts.uid);
	intend_update(intents, pod, &message->base);
}

/* Pods of the namespace that match and that nobody controls. The index is asked for the equality
 * part of the selector only; the rest is checked here. */
static const struct pod_facts *const *candidates(struct view *v, const struct object *set,
						 const AppsV1__ReplicaSet *rs, size_t *ret_n)
{
	const MetaV1__LabelSelector *s = rs->spec->selector;
	struct label *labels = arena_array(v->arena, struct label, s->n_matchlabels + 1);

	for (size_t i = 0; i < s->n_matchlabels; i++)
		labels[i] = (struct label){ text_of(s->matchlabels[i]->key),
					    text_of(s->matchlabels[i]->value) };
	return view_pods_matching(v, set->namespace, labels, s->n_matchlabels, ret_n);
}

static struct owned claim_pods(struct view *v, struct intents *intents, const struct object *set,
			       const AppsV1__ReplicaSet *rs)
{
	size_t n_mine, n_there;
	const struct pod_facts *const *mine = view_pods_of(v, set->facts.uid, &n_mine);
	const struct pod_facts *const *there = candidates(v, set, rs, &n_there);
	struct owned owned = {
		arena_array(v->arena, const struct pod_facts *, n_mine + n_there + 1), 0
	};
	struct label_selector selector;

	if (label_selector_of(rs->spec->selector, v->arena, &selector, NULL) < 0)
		selector = (struct label_selector){ .nothing = true };
	for (size_t i = 0; i < n_mine; i++) {
		if (selector_selects(&selector, mine[i]->object) ||
		    mine[i]->object->facts.deleted_ns != 0)
			owned.pods[owned.n++] = mine[i];
		else
			release(intents, set, mine[i]->object);
	}
	for (size_t i = 0; i < n_there; i++) {
		const struct object *pod = there[i]->object;

		if (object_controller(pod) != NULL || !pod_is_active(there[i]) ||
		    !selector_selects(&selector, pod))
			continue;
		adopt(intents, set, pod);
		owned.pods[owned.n++] = there[i];
	}
	return owned;
}

/* Many events that say the same are one: the first few, then the last for all the others. */
static void tell(struct intents *intents, const struct object *set, size_t i, size_t n,
		 const char *reason, const char *verb, const char *pod)
{
	enum { TOLD_ONE_BY_ONE = 10 };

	if (i < TOLD_ONE_BY_ONE)
		intend_event(intents, component, set, "Normal", reason, "%s pod: %s", verb, pod);
	else if (i + 1 == n)
		intend_event(intents, component, set, "Normal", reason,
			     "(combined from similar events): %s pod: %s", verb, pod);
}

/* --- Which go first ----------------------------------------------------------- */

struct rank {
	const struct pod_facts *pod;
	size_t neighbours; /* Pods of this set on the same node. */
	int64_t now_ns;
};

/* Ages that differ little are equal: only the power of two counts. */
static int age_class(int64_t since_ns, int64_t now_ns)
{
	int64_t s = (now_ns - since_ns) / NS_PER_S;
	int class = 0;

	for (; s > 0; s >>= 1)
		class ++;
	return class;
}

static int phase_order(enum pod_phase phase)
{
	switch (phase) {
	case PHASE_PENDING:
		return 0;
	case PHASE_UNKNOWN:
		return 1;
	default:
		return 2;
	}
}

#define DIFFER(a, b)                                                                               \
	do {                                                                                       \
		if ((a) != (b))                                                                    \
			return (a) < (b) ? -1 : 1;                                                 \
	} while (0)

/* Negative: a goes before b. */
static int compare_rank(const void *x, const void *y)
{
	const struct rank *a = x, *b = y;
	const struct pod_facts *p = a->pod, *q = b->pod;

	DIFFER(p->scheduled, q->scheduled);
	DIFFER(phase_order(p->phase), phase_order(q->phase));
	DIFFER(p->ready, q->ready);
	DIFFER(p->deletion_cost, q->deletion_cost);
	DIFFER(b->neighbours, a->neighbours);
	if (p->ready)
		DIFFER(age_class(p->ready_since_ns, a->now_ns),
		       age_class(q->ready_since_ns, b->now_ns));
	DIFFER(q->restarts, p->restarts);
	DIFFER(age_class(p->object->facts.created_ns, a->now_ns),
	       age_class(q->object->facts.created_ns, b->now_ns));
	return strcmp(p->object->facts.uid, q->object->facts.uid);
}

/* Active pods per node, as a map from its name to a count. */
static struct map count_by_node(const struct owned *owned)
{
	struct map counts = { 0 };

	for (size_t i = 0; i < owned->n; i++) {
		const char *node = owned->pods[i]->node_name;

		if (pod_is_active(owned->pods[i]))
			map_put(&counts, node, (void *)((uintptr_t)map_get(&counts, node) + 1));
	}
	return counts;
}

static void delete_pods(struct view *v, struct intents *intents, const struct object *set,
			const struct owned *owned, size_t excess)
{
	struct rank *ranks = arena_array(v->arena, struct rank, owned->n);
	auto_with(map_fini) struct map counts = count_by_node(owned);
	size_t n = 0;

	for (size_t i = 0; i < owned->n; i++)
		if (pod_is_active(owned->pods[i]))
			ranks[n++] = (struct rank){
				.pod = owned->pods[i],
				.neighbours =
					(uintptr_t)map_get(&counts, owned->pods[i]->node_name),
				.now_ns = v->now_ns,
			};
	qsort(ranks, n, sizeof(*ranks), compare_rank);

	size_t gone = excess < BATCH_MAX ? excess : BATCH_MAX;

	for (size_t i = 0; i < gone && i < n; i++) {
		intend_delete(intents, ranks[i].pod->object, -1, NULL);
		tell(intents, set, i, gone, "SuccessfulDelete", "Deleted",
		     ranks[i].pod->object->name);
	}
}

/* --- Making pods ---------------------------------------------------------------- */

static CoreV1__Pod *make_pod(struct view *v, const struct object *set, const AppsV1__ReplicaSet *rs,
			     size_t index)
{
	const CoreV1__PodTemplateSpec *template = rs->spec->template_;
	CoreV1__Pod *pod = make(v->arena, CoreV1__Pod, core_v1__pod);
	MetaV1__ObjectMeta *meta = message_metadata_make(pod, v->arena);

	if (template->metadata != NULL) {
		meta->n_labels = template->metadata->n_labels;
		meta->labels = template->metadata->labels;
		meta->n_annotations = template->metadata->n_annotations;
		meta->annotations = template->metadata->annotations;
		meta->n_finalizers = template->metadata->n_finalizers;
		meta->finalizers = template->metadata->finalizers;
	}
	meta->namespace_ = arena_strdup(v->arena, set->namespace);
	meta->generatename = arena_printf(v->arena, "%s-", set->name);
	meta->name = free_name(v, v->arena, "pods", set->namespace, meta->generatename,
			       set->facts.uid, index);
	make_append(v->arena, meta, ownerreferences, make_owner(v->arena, set));
	/* Admission completes the spec in place: every pod gets its own. */
	pod->spec = message_copy(template->spec, v->arena);
	return pod;
}

static bool name_used(char *const *names, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

static void create_pods(struct view *v, struct intents *intents, const struct object *set,
			const AppsV1__ReplicaSet *rs, size_t missing)
{
	size_t n = missing < BATCH_MAX ? missing : BATCH_MAX;
	char **names = arena_array(v->arena, char *, n);

	for (size_t i = 0, index = 0; i < n; i++) {
		CoreV1__Pod *pod;

		do
			pod = make_pod(v, set, rs, index++);
		while (name_used(names, i, pod->metadata->name));
		names[i] = pod->metadata->name;
		intend_create(intents, "pods", set->namespace, &pod->base);
		tell(intents, set, i, n, "SuccessfulCreate", "Created", names[i]);
	}
}

/* --- Status ----------------------------------------------------------------------- */

static bool has_template_labels(const struct object *pod, const MetaV1__ObjectMeta *template)
{
	for (size_t i = 0; template != NULL && i < template->n_labels; i++) {
		const char *value = object_label(pod, text_of(template->labels[i]->key));

		if (value == NULL || !text_is(template->labels[i]->value, value))
			return false;
	}
	return true;
}

static void report(struct view *v, struct intents *intents, const struct object *set,
		   const AppsV1__ReplicaSet *rs, const struct owned *owned)
{
	AppsV1__ReplicaSet *message = changed(set, intents->arena);
	AppsV1__ReplicaSetStatus *s =
		make(intents->arena, AppsV1__ReplicaSetStatus, apps_v1__replica_set_status);
	int64_t again_ns = 0;
	int32_t replicas = 0, labeled = 0, ready = 0, available = 0;

	for (size_t i = 0; i < owned->n; i++) {
		const struct pod_facts *p = owned->pods[i];

		if (!pod_is_active(p))
			continue;
		replicas++;
		labeled += has_template_labels(p->object, rs->spec->template_->metadata);
		ready += p->ready;
		available += pod_is_available(p, rs->spec->minreadyseconds, v->now_ns, &again_ns);
	}
	make_set(s, replicas, replicas);
	make_set(s, fullylabeledreplicas, labeled);
	make_set(s, readyreplicas, ready);
	make_set(s, availablereplicas, available);
	make_set(s, observedgeneration, set->facts.generation);
	if (again_ns != 0)
		intend_again(intents, again_ns);
	if (rs->status != NULL) {
		s->n_conditions = message->status->n_conditions;
		s->conditions = message->status->conditions;
		if (message_equal(s, rs->status))
			return;
	}
	message->status = s;
	intend_update_status(intents, set, &message->base);
}

static void reconcile(struct view *v, struct key key, struct intents *intents)
{
	const struct object *set = view_get(v, resource, key.namespace, key.name);
	size_t active = 0;

	if (set == NULL || set->facts.deleted_ns != 0)
		return; /* Its pods belong to the garbage collector now. */

	const AppsV1__ReplicaSet *rs = view_message(v, set);
	struct owned owned = claim_pods(v, intents, set, rs);
	size_t wanted = rs->spec->replicas > 0 ? (size_t)rs->spec->replicas : 0;

	for (size_t i = 0; i < owned.n; i++)
		active += pod_is_active(owned.pods[i]);
	if (active < wanted)
		create_pods(v, intents, set, rs, wanted - active);
	else if (active > wanted)
		delete_pods(v, intents, set, &owned, active - wanted);
	report(v, intents, set, rs, &owned);
}

/* --- What wakes it ------------------------------------------------------------------ */

static void on_pod(const struct view *v, const struct object *pod, struct keys *keys)
{
	size_t n;

	if (pod == NULL)
		return;
	if (object_controller(pod) != NULL) {
		keys_add_owner(keys, pod, "ReplicaSet");
		return;
	}
	if (pod->facts.n_labels == 0 || pod->facts.deleted_ns != 0)
		return;

	/* An orphan: some set may want it, and only its own look at it can tell. */
	const struct object *const *sets = view_list(v, resource, pod->namespace, &n);

	for (size_t i = 0; i < n; i++)
		keys_add(keys, sets[i]->namespace, sets[i]->name);
}

static void on_change(const struct view *v, const struct object *old, const struct object *new,
		      struct keys *keys)
{
	if (change_is_of(old, new, resource)) {
		keys_add_object(keys, old, new);
	} else if (change_is_of(old, new, "pods")) {
		if (old != NULL && object_controller(old) != NULL)
			keys_add_owner(keys, old, "ReplicaSet");
		on_pod(v, new, keys);
	}
}

static void seed(const struct view *v, struct keys *keys)
{
	keys_add_all(keys, v, resource, NULL);
}

const struct controller controller_replicaset = {
	.name = "replicaset-controller",
	.on_change = on_change,
	.seed = seed,
	.reconcile = reconcile,
};
