/* Who goes first when there are too many pods. */
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/map.h"
#include "controlplane/controllers/pods.h"

struct rank {
	const struct pod_facts *pod;
	size_t neighbours; /* Pods of the family on the same node. */
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
static struct map count_by_node(const struct pods *family)
{
	struct map counts = { 0 };

	for (size_t i = 0; family != NULL && i < family->n; i++) {
		const char *node = family->list[i]->node_name;

		if (pod_is_active(family->list[i]))
			map_put(&counts, node, (void *)((uintptr_t)map_get(&counts, node) + 1));
	}
	return counts;
}

void pods_rank(const struct view *v, const struct pod_facts **list, size_t n,
	       const struct pods *family)
{
	struct rank *ranks = arena_array(v->arena, struct rank, n);
	auto_with(map_fini) struct map counts = count_by_node(family);

	for (size_t i = 0; i < n; i++)
		ranks[i] = (struct rank){
			.pod = list[i],
			.neighbours = (uintptr_t)map_get(&counts, list[i]->node_name),
			.now_ns = v->now_ns,
		};
	if (n > 0)
		qsort(ranks, n, sizeof(*ranks), compare_rank);
	for (size_t i = 0; i < n; i++)
		list[i] = ranks[i].pod;
}
