/* Keeps as many pods as a ReplicaSet asks for. */
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/map.h"
#include "controlplane/controllers/pods.h"

static const char component[] = "replicaset-controller";
static const char resource[] = "replicasets.apps";

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
static struct map count_by_node(const struct pods *owned)
{
	struct map counts = { 0 };

	for (size_t i = 0; i < owned->n; i++) {
		const char *node = owned->list[i]->node_name;

		if (pod_is_active(owned->list[i]))
			map_put(&counts, node, (void *)((uintptr_t)map_get(&counts, node) + 1));
	}
	return counts;
}

static void delete_pods(struct view *v, struct intents *intents, const struct object *set,
			const struct pods *owned, size_t excess)
{
	struct rank *ranks = arena_array(v->arena, struct rank, owned->n);
	auto_with(map_fini) struct map counts = count_by_node(owned);
	size_t n = 0;

	for (size_t i = 0; i < owned->n; i++)
		if (pod_is_active(owned->list[i]))
			ranks[n++] = (struct rank){
				.pod = owned->list[i],
				.neighbours =
					(uintptr_t)map_get(&counts, owned->list[i]->node_name),
				.now_ns = v->now_ns,
			};
	qsort(ranks, n, sizeof(*ranks), compare_rank);

	size_t gone = excess < BATCH_MAX ? excess : BATCH_MAX;

	for (size_t i = 0; i < gone && i < n; i++) {
		intend_delete(intents, ranks[i].pod->object, -1, NULL);
		pods_tell(intents, component, set, i, gone, "SuccessfulDelete", "Deleted",
			  ranks[i].pod->object->name);
	}
}

/* --- Making pods ---------------------------------------------------------------- */

static CoreV1__Pod *make_pod(struct view *v, const struct object *set, const AppsV1__ReplicaSet *rs,
			     size_t index)
{
	CoreV1__Pod *pod = pods_make(v->arena, set, rs->spec->template_);
	MetaV1__ObjectMeta *meta = pod->metadata;

	meta->generatename = arena_printf(v->arena, "%s-", set->name);
	meta->name = free_name(v, v->arena, "pods", set->namespace, meta->generatename,
			       set->facts.uid, index);
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
		pods_tell(intents, component, set, i, n, "SuccessfulCreate", "Created", names[i]);
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
		   const AppsV1__ReplicaSet *rs, const struct pods *owned)
{
	AppsV1__ReplicaSet *message = changed(set, intents->arena);
	AppsV1__ReplicaSetStatus *s =
		make(intents->arena, AppsV1__ReplicaSetStatus, apps_v1__replica_set_status);
	int64_t again_ns = 0;
	int32_t replicas = 0, labeled = 0, ready = 0, available = 0;

	for (size_t i = 0; i < owned->n; i++) {
		const struct pod_facts *p = owned->list[i];

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
	struct label_selector selector;

	if (label_selector_of(rs->spec->selector, v->arena, &selector, NULL) < 0)
		selector = (struct label_selector){ .nothing = true };

	struct pods owned = pods_claim(v, intents, set, &selector, NULL);
	size_t wanted = rs->spec->replicas > 0 ? (size_t)rs->spec->replicas : 0;

	for (size_t i = 0; i < owned.n; i++)
		active += pod_is_active(owned.list[i]);
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
