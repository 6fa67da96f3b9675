/*  unassigned pod --> QUEUED --decision--> ASSUMED --applied--> PLACED
 *    |                ^  ^                  |
 *  GATED              |  +----- refused ----+ (after a back-off)
 *                     |
 *       BACKOFF --time+
 *          ^
 *          +-- a change that may help -- UNSCHEDULABLE <-- no node fits
 *
 * Pods of one wish find the same nodes. So a change wakes one of them; when it
 * finds a node, it wakes the next. */
#include <assert.h>
#include <stdlib.h>

#include "controlplane/scheduler/internal.h"

#define NS_PER_S INT64_C(1000000000)
#define BACKOFF_FIRST_NS (1 * NS_PER_S)
#define BACKOFF_MAX_NS (10 * NS_PER_S)
/* Even without a change that helps. */
#define UNSCHEDULABLE_MAX_NS (300 * NS_PER_S)

static int compare_queue(const void *key, const struct tree_node *node)
{
	const struct waiting *a = key, *b = container_of(node, const struct waiting, link);
	int32_t x = a->pod->priority, y = b->pod->priority;

	if (x != y)
		return x > y ? -1 : 1;
	return a->order < b->order ? -1 : a->order > b->order;
}

static int compare_due(const void *key, const struct tree_node *node)
{
	const struct waiting *a = key, *b = container_of(node, const struct waiting, link);

	if (a->due_ns != b->due_ns)
		return a->due_ns < b->due_ns ? -1 : 1;
	return a->order < b->order ? -1 : a->order > b->order;
}

void queue_init(struct scheduler *s)
{
	tree_init(&s->queue, compare_queue);
	tree_init(&s->backoff, compare_due);
}

void queue_add(struct scheduler *s, struct pod *pod)
{
	pod->state = POD_QUEUED;
	pod->waiting->order = ++s->order;
	tree_insert(&s->queue, pod->waiting, &pod->waiting->link);
}

void queue_add_gated(struct scheduler *s, struct pod *pod)
{
	pod->state = POD_GATED;
	s->n_gated++;
}

static void wait_until(struct scheduler *s, struct pod *pod, enum pod_state state, int64_t due_ns)
{
	pod->state = state;
	pod->waiting->due_ns = due_ns;
	pod->waiting->order = ++s->order;
	tree_insert(&s->backoff, pod->waiting, &pod->waiting->link);
}

void queue_sleep(struct scheduler *s, struct pod *pod, int64_t now_ns)
{
	struct waiting *w = pod->waiting;
	struct wish *wish = w->wish;

	wait_until(s, pod, POD_UNSCHEDULABLE, now_ns + UNSCHEDULABLE_MAX_NS);
	s->n_unschedulable++;
	if (list_empty(&wish->stuck))
		list_push_back(&s->wishes.stuck, &wish->stuck);
	list_push_back(w->nominated ? &wish->nominees : &wish->asleep, &w->asleep);
}

static void leave_sleep(struct scheduler *s, struct waiting *w)
{
	struct wish *wish = w->wish;

	s->n_unschedulable--;
	list_remove(&w->asleep);
	if (list_empty(&wish->asleep) && list_empty(&wish->nominees))
		list_remove(&wish->stuck);
}

void queue_remove(struct scheduler *s, struct pod *pod)
{
	switch ((enum pod_state)pod->state) {
	case POD_GATED:
		s->n_gated--;
		return;
	case POD_QUEUED:
		tree_remove(&s->queue, &pod->waiting->link);
		return;
	case POD_UNSCHEDULABLE:
		leave_sleep(s, pod->waiting);
		tree_remove(&s->backoff, &pod->waiting->link);
		return;
	case POD_BACKOFF:
		tree_remove(&s->backoff, &pod->waiting->link);
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

static int64_t backoff_ns(const struct waiting *w)
{
	unsigned doublings = w->attempts > 1 ? w->attempts - 1 : 0;
	int64_t ns = BACKOFF_FIRST_NS << (doublings < 4 ? doublings : 4);

	return ns < BACKOFF_MAX_NS ? ns : BACKOFF_MAX_NS;
}

void queue_back_off(struct scheduler *s, struct pod *pod, int64_t now_ns)
{
	wait_until(s, pod, POD_BACKOFF, now_ns + backoff_ns(pod->waiting));
}

void queue_wake(struct scheduler *s, struct pod *pod, int64_t now_ns)
{
	struct waiting *w = pod->waiting;
	int64_t due_ns = w->tried_ns + backoff_ns(w);

	queue_remove(s, pod);
	/* The first failure waits for nobody: the cluster has just changed. */
	if (w->attempts <= 1 || due_ns <= now_ns)
		queue_add(s, pod);
	else
		wait_until(s, pod, POD_BACKOFF, due_ns);
}

void queue_wake_due(struct scheduler *s, int64_t now_ns)
{
	struct waiting *w;

	while ((w = tree_entry(tree_first(&s->backoff), struct waiting, link)) != NULL &&
	       w->due_ns <= now_ns) {
		struct pod *pod = w->pod;

		queue_remove(s, pod);
		queue_add(s, pod);
	}
}

struct pod *queue_first(const struct scheduler *s)
{
	struct waiting *w = tree_entry(tree_first(&s->queue), struct waiting, link);

	return w ? w->pod : NULL;
}

void queue_update(struct scheduler *s, struct pod *pod, const struct object *object)
{
	/* The queue is sorted by what is in the object. */
	if (pod->state == POD_QUEUED)
		tree_remove(&s->queue, &pod->waiting->link);
	cluster_pod_update(&s->cluster, pod, object);
	if (pod->state == POD_QUEUED)
		tree_insert(&s->queue, pod->waiting, &pod->waiting->link);
}
