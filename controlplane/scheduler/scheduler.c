/*  unassigned pod --> QUEUED --decision--> ASSUMED --applied--> PLACED
 *                       ^  ^                  |
 *                       |  +----- refused ----+ (after a back-off)
 *                       |
 *       BACKOFF --time--+
 *          ^
 *          +-- a change that may help -- UNSCHEDULABLE <-- no node fits
 *
 * Under a hundred nodes all are looked at; beyond that so many as Kubernetes
 * looks at, beginning where the last decision ended. */
#include "controlplane/scheduler/scheduler.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/kinds.h"
#include "common/api/make.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "controlplane/scheduler/cluster.h"
#include "controlplane/scheduler/fit.h"
#include "controlplane/scheduler/neighbours.h"
#include "controlplane/scheduler/report.h"

#define NS_PER_S INT64_C(1000000000)
#define BACKOFF_FIRST_NS (1 * NS_PER_S)
#define BACKOFF_MAX_NS (10 * NS_PER_S)
/* Even without a change that helps. */
#define UNSCHEDULABLE_MAX_NS (300 * NS_PER_S)

struct scheduler {
	struct cluster cluster;
	struct tree queue;   /* Of pods, by priority, then order. */
	struct tree backoff; /* Of pods, by due_ns; UNSCHEDULABLE ones too, with a far due_ns. */
	uint64_t seed, order, mark;
	size_t next_node; /* Where the next decision begins. */
	size_t n_assumed, n_placed, n_unschedulable, n_sociable;
	struct score *scores; /* Of the nodes that fit, during a decision. */
	struct node **fitting;
	size_t cap_scores;
};

/* --- Queues --------------------------------------------------------------------- */

static int compare_queue(const void *key, const struct tree_node *node)
{
	const struct pod *a = key, *b = container_of(node, const struct pod, link);
	int32_t x = a->object->facts.pod->priority, y = b->object->facts.pod->priority;

	if (x != y)
		return x > y ? -1 : 1;
	return a->order < b->order ? -1 : a->order > b->order;
}

static int compare_due(const void *key, const struct tree_node *node)
{
	const struct pod *a = key, *b = container_of(node, const struct pod, link);

	if (a->due_ns != b->due_ns)
		return a->due_ns < b->due_ns ? -1 : 1;
	return a->order < b->order ? -1 : a->order > b->order;
}

static void enqueue(struct scheduler *s, struct pod *pod)
{
	pod->state = POD_QUEUED;
	pod->order = ++s->order;
	tree_insert(&s->queue, pod, &pod->link);
}

static void wait_until(struct scheduler *s, struct pod *pod, enum pod_state state, int64_t due_ns)
{
	pod->state = state;
	pod->due_ns = due_ns;
	s->n_unschedulable += state == POD_UNSCHEDULABLE;
	s->n_sociable += state == POD_UNSCHEDULABLE && pod->sociable;
	tree_insert(&s->backoff, pod, &pod->link);
}

static void dequeue(struct scheduler *s, struct pod *pod)
{
	switch (pod->state) {
	case POD_QUEUED:
		tree_remove(&s->queue, &pod->link);
		return;
	case POD_UNSCHEDULABLE:
		s->n_unschedulable--;
		s->n_sociable -= pod->sociable;
		/* fall through */
	case POD_BACKOFF:
		tree_remove(&s->backoff, &pod->link);
		return;
	case POD_ASSUMED:
		s->n_assumed--;
		return;
	case POD_PLACED:
		s->n_placed--;
		return;
	}
	abort();
}

static int64_t backoff_ns(const struct pod *pod)
{
	unsigned doublings = pod->attempts > 1 ? pod->attempts - 1 : 0;
	int64_t ns = BACKOFF_FIRST_NS << (doublings < 4 ? doublings : 4);

	return ns < BACKOFF_MAX_NS ? ns : BACKOFF_MAX_NS;
}

static void back_off(struct scheduler *s, struct pod *pod, int64_t now_ns)
{
	dequeue(s, pod);
	cluster_displace(&s->cluster, pod);
	wait_until(s, pod, POD_BACKOFF, now_ns + backoff_ns(pod));
}

static void place(struct scheduler *s, struct pod *pod, struct node *node, enum pod_state state)
{
	s->n_assumed += state == POD_ASSUMED;
	s->n_placed += state == POD_PLACED;
	cluster_place(&s->cluster, pod, node, state);
}

static void forget(struct scheduler *s, struct pod *pod)
{
	dequeue(s, pod);
	cluster_pod_remove(&s->cluster, pod);
}

/* Something changed that may help those for whom no node fitted: all of them, or only those who
 * look at who else is there. */
static void retry_unschedulable(struct scheduler *s, bool only_sociable, int64_t now_ns)
{
	if ((only_sociable ? s->n_sociable : s->n_unschedulable) == 0)
		return;
	tree_for_each (pod, &s->backoff, struct pod, link) {
		if (pod->state != POD_UNSCHEDULABLE || (only_sociable && !pod->sociable))
			continue;
		dequeue(s, pod);
		/* The first failure waits for nobody: the cluster has just changed. */
		if (pod->attempts <= 1)
			enqueue(s, pod);
		else
			wait_until(s, pod, POD_BACKOFF, now_ns + backoff_ns(pod));
	}
}

static void wake_due(struct scheduler *s, int64_t now_ns)
{
	struct pod *pod;

	while ((pod = tree_entry(tree_first(&s->backoff), struct pod, link)) != NULL &&
	       pod->due_ns <= now_ns) {
		dequeue(s, pod);
		enqueue(s, pod);
	}
}

/* --- Changes ---------------------------------------------------------------------- */

static bool same_labels(const struct facts *a, const struct facts *b)
{
	if (a->n_labels != b->n_labels)
		return false;
	for (size_t i = 0; i < a->n_labels; i++)
		if (strcmp(a->labels[i].key, b->labels[i].key) != 0 ||
		    strcmp(a->labels[i].value, b->labels[i].value) != 0)
			return false;
	return true;
}

/* Whether a pod may fit now that did not fit before. */
static bool node_differs(const struct object *old, const struct object *new)
{
	const struct node_facts *a = old->facts.node, *b = new->facts.node;

	if (a->unschedulable != b->unschedulable || a->cpu_milli != b->cpu_milli ||
	    a->memory_bytes != b->memory_bytes || a->ephemeral_bytes != b->ephemeral_bytes ||
	    a->pods != b->pods || a->n_taints != b->n_taints)
		return true;
	for (size_t i = 0; i < a->n_taints; i++)
		if (strcmp(a->taints[i].key, b->taints[i].key) != 0 ||
		    strcmp(a->taints[i].value, b->taints[i].value) != 0 ||
		    strcmp(a->taints[i].effect, b->taints[i].effect) != 0)
			return true;
	return !same_labels(&old->facts, &new->facts);
}

static void on_node(struct scheduler *s, const struct object *old, const struct object *new,
		    int64_t now_ns)
{
	struct cluster *c = &s->cluster;
	struct node *node = cluster_node_make(c, new ? new->name : old->name);

	c->n_real += (new != NULL) - (node->object != NULL);

	const struct object *before = node->object;
	bool helps = new != NULL && (before == NULL || node_differs(before, new));

	node->object = new ? object_ref(new) : NULL;
	if (before != NULL)
		object_unref((struct object *)before);
	cluster_node_drop(c, node);
	if (helps)
		retry_unschedulable(s, false, now_ns);
}

static bool takes_room(const struct object *pod)
{
	const struct pod_facts *p = pod->facts.pod;

	return p->scheduled && p->phase != PHASE_SUCCEEDED && p->phase != PHASE_FAILED;
}

static bool is_ours(const struct object *pod)
{
	const struct pod_facts *p = pod->facts.pod;

	return !p->scheduled && pod->facts.deleted_ns == 0 && p->phase != PHASE_SUCCEEDED &&
	       p->phase != PHASE_FAILED && strcmp(p->scheduler_name, SCHEDULER_NAME) == 0;
}

static void on_waiting(struct scheduler *s, struct pod *pod, const struct object *new)
{
	bool same = pod->object->facts.generation ==
		    new->facts.generation &&same_labels(&pod->object->facts, &new->facts);

	/* The queue is sorted by what is in the object. */
	if (pod->state == POD_QUEUED)
		tree_remove(&s->queue, &pod->link);
	cluster_pod_update(&s->cluster, pod, new);
	if (pod->state == POD_QUEUED) {
		tree_insert(&s->queue, pod, &pod->link);
	} else if (pod->state == POD_UNSCHEDULABLE && !same) {
		/* Its spec changed (a gate is gone, say). Our own report about it changes nothing.
		 */
		dequeue(s, pod);
		enqueue(s, pod);
	}
}

static void on_pod(struct scheduler *s, const struct object *old, const struct object *new,
		   int64_t now_ns)
{
	struct pod *pod = cluster_pod(&s->cluster, (new ? new : old)->facts.uid);
	bool placed = new != NULL &&takes_room(new), waits = new != NULL &&is_ours(new);
	bool frees = pod != NULL && pod->node != NULL && !placed && pod->state == POD_PLACED;

	if (!placed && !waits) {
		if (pod != NULL)
			forget(s, pod);
	} else if (placed) {
		struct node *node = cluster_node_make(&s->cluster, new->facts.pod->node_name);

		if (pod == NULL)
			pod = cluster_pod_add(&s->cluster, new);
		else if (pod->state == POD_PLACED && pod->node == node) {
			cluster_pod_update(&s->cluster, pod, new);
			return;
		} else {
			node->n_pods++; /* Stays while the pod moves. */
			dequeue(s, pod);
			cluster_displace(&s->cluster, pod);
			node->n_pods--;
			cluster_pod_update(&s->cluster, pod, new);
		}
		place(s, pod, node, POD_PLACED);
		retry_unschedulable(s, true, now_ns);
	} else if (pod != NULL) {
		on_waiting(s, pod, new);
	} else {
		enqueue(s, cluster_pod_add(&s->cluster, new));
	}
	if (frees)
		retry_unschedulable(s, false, now_ns);
}

void scheduler_on_change(struct scheduler *s, const struct object *old, const struct object *new,
			 int64_t now_ns)
{
	const struct facts *f = &(new ? new : old)->facts;

	if (f->node != NULL) {
		on_node(s, old, new, now_ns);
	} else if (f->pod != NULL) {
		/* A name used again is another pod. */
		if (old != NULL && new != NULL && strcmp(old->facts.uid, new->facts.uid) != 0)
			on_pod(s, old, NULL, now_ns);
		on_pod(s, old, new, now_ns);
	}
}

/* --- Life --------------------------------------------------------------------------- */

struct scheduler *scheduler_create(uint64_t seed)
{
	struct scheduler *s = xcalloc(1, sizeof(*s));

	s->seed = seed;
	tree_init(&s->queue, compare_queue);
	tree_init(&s->backoff, compare_due);
	return s;
}

static void clear(struct scheduler *s)
{
	cluster_fini(&s->cluster);
	tree_init(&s->queue, compare_queue);
	tree_init(&s->backoff, compare_due);
	s->n_assumed = s->n_placed = s->n_unschedulable = s->n_sociable = 0;
	s->order = s->mark = 0;
	s->next_node = 0;
}

void scheduler_destroy(struct scheduler *s)
{
	if (s == NULL)
		return;
	clear(s);
	free(s->scores);
	free(s->fitting);
	free(s);
}

struct seeding {
	struct scheduler *s;
	int64_t now_ns;
	const struct object **waiting; /* By age, so that the oldest come first. */
	size_t n, cap;
};

static bool seed_node(void *ctx, const struct object *o)
{
	struct seeding *seeding = ctx;

	on_node(seeding->s, NULL, o, seeding->now_ns);
	return true;
}

static bool seed_pod(void *ctx, const struct object *o)
{
	struct seeding *seeding = ctx;

	if (is_ours(o)) {
		array_grow(seeding->waiting, seeding->n, seeding->cap);
		seeding->waiting[seeding->n++] = o;
	} else {
		on_pod(seeding->s, NULL, o, seeding->now_ns);
	}
	return true;
}

static int compare_age(const void *x, const void *y)
{
	const struct object *a = *(const struct object *const *)x;
	const struct object *b = *(const struct object *const *)y;

	return a->created_revision < b->created_revision
		       ? -1
		       : a->created_revision > b->created_revision;
}

void scheduler_seed(struct scheduler *s, const struct store *store, int64_t now_ns)
{
	struct seeding seeding = { .s = s, .now_ns = now_ns };

	clear(s);
	store_walk(store, kind_named("", "Node"), NULL, NULL, NULL, seed_node, &seeding);
	store_walk(store, kind_named("", "Pod"), NULL, NULL, NULL, seed_pod, &seeding);
	if (seeding.n > 0)
		qsort(seeding.waiting, seeding.n, sizeof(*seeding.waiting), compare_age);
	for (size_t i = 0; i < seeding.n; i++)
		on_pod(s, NULL, seeding.waiting[i], now_ns);
	free(seeding.waiting);
}

/* --- Deciding ----------------------------------------------------------------------- */

/* splitmix64: ties are broken evenly, and the same way for the same seed. */
static uint64_t chance(struct scheduler *s)
{
	uint64_t z = (s->seed += 0x9e3779b97f4a7c15ULL);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

/* So many nodes that fit are enough to choose from. */
static size_t enough(size_t nodes)
{
	enum { NODES_MIN = 100, PERCENT_MIN = 5 };

	if (nodes <= NODES_MIN)
		return nodes;

	size_t percent = nodes / 125 >= 50 - PERCENT_MIN ? PERCENT_MIN : 50 - nodes / 125;
	size_t n = nodes * percent / 100;

	return n < NODES_MIN ? NODES_MIN : n;
}

static void mark_siblings(struct scheduler *s, const struct pod *pod)
{
	const struct owner_ref *owner = object_controller(pod->object);
	const struct group *g = owner ? map_get(&s->cluster.groups, owner->uid) : NULL;

	s->mark++;
	for (size_t i = 0; g != NULL && i < g->n; i++) {
		g->spread[i].node->mark = s->mark;
		g->spread[i].node->siblings = g->spread[i].count;
	}
}

#define RAISE(max, s, field)                                                                       \
	do {                                                                                       \
		if ((s).field > (max)->field)                                                      \
			(max)->field = (s).field;                                                  \
	} while (0)

/* Nodes that fit, with their raw scores; misfits counts the others by reason. */
static size_t filter(struct scheduler *s, const struct request *r, size_t misfits[MISFIT_COUNT],
		     struct score *ret_max)
{
	struct cluster *c = &s->cluster;
	size_t wanted = enough(c->n_real), n = 0;

	if (s->cap_scores < c->n_nodes) {
		s->cap_scores = c->n_nodes + c->n_nodes / 2;
		s->scores = xreallocarray(s->scores, s->cap_scores, sizeof(*s->scores));
		s->fitting = xreallocarray(s->fitting, s->cap_scores, sizeof(struct node *));
	}
	for (size_t i = 0; i < c->n_nodes && n < wanted; i++) {
		struct node *node = c->nodes[s->next_node++ % c->n_nodes];

		if (node->object == NULL)
			continue;

		enum misfit m = node_misfit(r, node);

		misfits[m]++;
		if (m != FITS)
			continue;
		s->fitting[n] = node;
		s->scores[n] = node_score(r, node, s->mark);
		RAISE(ret_max, s->scores[n], affinity);
		RAISE(ret_max, s->scores[n], soft_taints);
		RAISE(ret_max, s->scores[n], siblings);
		n++;
	}
	if (c->n_nodes > 0)
		s->next_node %= c->n_nodes;
	return n;
}

static struct node *choose(struct scheduler *s, size_t n, const struct score *max)
{
	struct node *best = NULL;
	int64_t best_total = -1;
	uint64_t ties = 0;

	for (size_t i = 0; i < n; i++) {
		int64_t total = score_total(&s->scores[i], max);

		if (total > best_total) {
			best = s->fitting[i];
			best_total = total;
			ties = 1;
		} else if (total == best_total && chance(s) % ++ties == 0) {
			best = s->fitting[i];
		}
	}
	return best;
}

/* The first resource asked for that is none of those every node has. */
static const char *extended_resource(CoreV1__Container *const *list, size_t n)
{
	static const char *const common[] = { "cpu", "memory", "ephemeral-storage" };

	for (size_t i = 0; i < n; i++) {
		const CoreV1__ResourceRequirements *r = list[i]->resources;

		for (size_t k = 0; r != NULL && k < r->n_requests; k++) {
			bool known = false;

			for (size_t j = 0; j < array_size(common); j++)
				known = known || text_is(r->requests[k]->key, common[j]);
			if (!known)
				return text_of(r->requests[k]->key);
		}
	}
	return NULL;
}

static void decide(struct scheduler *s, struct view *view, struct intents *intents, struct pod *pod,
		   const CoreV1__PodSpec *spec)
{
	struct request r = { .facts = pod->object->facts.pod, .spec = spec };
	size_t misfits[MISFIT_COUNT] = { 0 };
	struct score max = { 0 };

	auto_with(neighbours_fini) struct neighbours neighbours = { 0 };

	r.extended = extended_resource(spec->containers, spec->n_containers);
	if (neighbours_look(&neighbours, view, &s->cluster, pod, spec))
		r.neighbours = &neighbours;
	mark_siblings(s, pod);

	size_t n = filter(s, &r, misfits, &max);
	struct node *node = choose(s, n, &max);

	pod->attempts++;
	dequeue(s, pod);
	if (node != NULL) {
		place(s, pod, node, POD_ASSUMED);
		intend_bind(intents, pod->object, node->name);
		intend_event(intents, SCHEDULER_NAME, pod->object, "Normal", "Scheduled",
			     "Successfully assigned %s/%s to %s", pod->object->namespace,
			     pod->object->name, node->name);
		return;
	}
	pod->sociable = misfits[MISFIT_WANTED] + misfits[MISFIT_SPREAD] > 0;
	wait_until(s, pod, POD_UNSCHEDULABLE, view->now_ns + UNSCHEDULABLE_MAX_NS);
	report_unschedulable(view, intents, pod->object,
			     explain_misfits(view->arena, s->cluster.n_real, &r, misfits));
}

bool scheduler_next(struct scheduler *s, struct view *view, struct intents *intents,
		    const struct object **ret_pod)
{
	struct pod *pod;

	wake_due(s, view->now_ns);
	while ((pod = tree_entry(tree_first(&s->queue), struct pod, link)) != NULL) {
		const CoreV1__Pod *message = view_message(view, pod->object);
		size_t before = intents->count;

		if (message->spec->n_schedulinggates > 0) {
			/* Until its spec changes. */
			dequeue(s, pod);
			wait_until(s, pod, POD_UNSCHEDULABLE, INT64_MAX);
			continue;
		}
		decide(s, view, intents, pod, message->spec);
		if (intents->count == before)
			continue;
		*ret_pod = pod->object;
		return true;
	}
	return false;
}

void scheduler_refused(struct scheduler *s, const char *namespace, const char *name, int64_t now_ns)
{
	/* Rare, so nothing is kept for it. */
	map_for_each (slot, &s->cluster.pods) {
		struct pod *pod = slot->value;

		if ((pod->state == POD_ASSUMED || pod->state == POD_UNSCHEDULABLE) &&
		    strcmp(pod->object->namespace, namespace) == 0 &&
		    strcmp(pod->object->name, name) == 0) {
			back_off(s, pod, now_ns);
			return;
		}
	}
}

int64_t scheduler_again_ns(const struct scheduler *s)
{
	const struct pod *pod = tree_entry(tree_first(&s->backoff), struct pod, link);

	return pod == NULL || pod->due_ns == INT64_MAX ? 0 : pod->due_ns;
}

struct scheduler_counts scheduler_count(const struct scheduler *s)
{
	return (struct scheduler_counts){
		.nodes = s->cluster.n_real,
		.queued = s->queue.count,
		.backing_off = s->backoff.count - s->n_unschedulable,
		.unschedulable = s->n_unschedulable,
		.assumed = s->n_assumed,
		.placed = s->n_placed,
	};
}
