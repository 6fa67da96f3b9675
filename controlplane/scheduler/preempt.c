/* Less important pods make room, as in Kubernetes' DefaultPreemption: on every
 * candidate node all of them are thought away; those that may stay are put back,
 * the most important first, and among them first those that a budget protects. */
#include <stdlib.h>
#include <string.h>

#include "common/api/make.h"
#include "common/base/alloc.h"
#include "controlplane/scheduler/internal.h"
#include "controlplane/scheduler/report.h"
#include "controlplane/scheduler/spaces.h"

void nominate(struct scheduler *s, struct waiting *w, struct node *node)
{
	struct node *old = w->nominated;

	if (old == node)
		return;
	w->nominated = node;
	if (node != NULL) {
		node->version = ++s->cluster.version;
		array_grow(node->nominated, node->n_nominated, node->cap_nominated);
		node->nominated[node->n_nominated++] = w;
	}
	if (old != NULL)
		old->version = ++s->cluster.version;
	for (size_t i = 0; old != NULL && i < old->n_nominated; i++)
		if (old->nominated[i] == w) {
			memmove(old->nominated + i, old->nominated + i + 1,
				(--old->n_nominated - i) * sizeof(struct waiting *));
			cluster_node_drop(&s->cluster, old);
			return;
		}
}

/* --- Victims on one node ------------------------------------------------------------------ */

struct sacrifice {
	struct node *node;
	struct pod **victims;
	size_t n_victims, n_violations;
	int32_t top_priority;
	int64_t priority_sum;
	int64_t oldest_ns; /* When the oldest of the most important ones started. */
};

/* Pods that have not started yet are the youngest. */
static int64_t start_of(const struct pod *p)
{
	int64_t start_ns = p->object->facts.pod->start_ns;

	return start_ns != 0 ? start_ns : INT64_MAX;
}

static int compare_importance(const void *x, const void *y)
{
	const struct pod *a = *(const struct pod *const *)x, *b = *(const struct pod *const *)y;

	if (a->priority != b->priority)
		return a->priority > b->priority ? -1 : 1;
	if (start_of(a) != start_of(b))
		return start_of(a) < start_of(b) ? -1 : 1;
	return strcmp(a->object->facts.uid, b->object->facts.uid);
}

static size_t less_important(const struct node *node, int32_t priority, struct pod **to)
{
	size_t n = 0;

	for (size_t i = 0; i < node->n_pods; i++)
		if (node->pods[i]->state == POD_PLACED && node->pods[i]->priority < priority)
			to[n++] = node->pods[i];
	return n;
}

/* What budgets still allow while pods are taken one after the other. */
struct spent {
	const struct budget *budget;
	int32_t left;
};

static bool violates(struct spent *spent, size_t *n_spent, size_t max, const struct pod *pod)
{
	const struct space *space = pod->class->space;
	bool violation = false;

	for (size_t i = 0; i < space->n_budgets; i++) {
		const struct budget *b = space->budgets[i];
		size_t k = 0;

		if (!budget_covers(b, pod))
			continue;
		while (k < *n_spent && spent[k].budget != b)
			k++;
		if (k == *n_spent && k < max)
			spent[(*n_spent)++] = (struct spent){ b, b->allowed };
		if (k < *n_spent && --spent[k].left < 0)
			violation = true;
	}
	return violation;
}

/* Those that break a budget come first, so that they are the first to be spared; both parts keep
 * their order. Returns how many they are. */
static size_t violators_first(struct arena *arena, struct pod **pods, size_t n)
{
	enum { BUDGETS_MAX = 256 };
	bool any = false;
	size_t n_spent = 0, bad = 0, good = 0;

	for (size_t i = 0; i < n && !any; i++)
		any = pods[i]->class->space->n_budgets > 0;
	if (!any)
		return 0;

	struct spent *spent = arena_array(arena, struct spent, BUDGETS_MAX);
	struct pod **others = arena_array(arena, struct pod *, n);

	for (size_t i = 0; i < n; i++) {
		if (violates(spent, &n_spent, BUDGETS_MAX, pods[i]))
			pods[bad++] = pods[i];
		else
			others[good++] = pods[i];
	}
	memcpy(pods + bad, others, good * sizeof(*pods));
	return bad;
}

static void weigh(struct sacrifice *s)
{
	s->top_priority = INT32_MIN;
	for (size_t i = 0; i < s->n_victims; i++) {
		int32_t priority = s->victims[i]->priority;

		s->priority_sum += (int64_t)priority + INT32_MAX + 1;
		if (priority > s->top_priority) {
			s->top_priority = priority;
			s->oldest_ns = INT64_MAX;
		}
		if (priority == s->top_priority && start_of(s->victims[i]) < s->oldest_ns)
			s->oldest_ns = start_of(s->victims[i]);
	}
}

/* FITS: ret says who has to go. Else why it does not help. */
static enum misfit sacrifice_on(struct look *look, struct node *node, struct arena *arena,
				struct row *row, struct sacrifice *ret)
{
	struct cluster *c = look->cluster;
	struct pod **pods = arena_array(arena, struct pod *, node->n_pods + 1);
	size_t n = less_important(node, look->wish->priority, pods), bad = 0;
	enum misfit m;

	*ret = (struct sacrifice){ .node = node, .victims = pods };
	if (n == 0)
		return MISFIT_COUNT;
	for (size_t i = 0; i < n; i++)
		cluster_pretend(c, pods[i], node, -1);
	m = look_again(look, node, row);
	if (m == FITS) {
		qsort(pods, n, sizeof(*pods), compare_importance);
		bad = violators_first(arena, pods, n);
		for (size_t i = 0; i < n; i++) {
			struct row spared;

			cluster_pretend(c, pods[i], node, 1);
			if (look_again(look, node, &spared) == FITS)
				continue;
			cluster_pretend(c, pods[i], node, -1);
			ret->victims[ret->n_victims++] = pods[i];
			ret->n_violations += i < bad;
		}
		n = ret->n_victims;
		weigh(ret);
	}
	for (size_t i = 0; i < n; i++)
		cluster_pretend(c, pods[i], node, 1);
	return m;
}

/* --- The node ------------------------------------------------------------------------------- */

/* Fewest broken budgets, least important victims, least in sum, fewest, youngest; then the first.
 */
static bool is_better(const struct sacrifice *a, const struct sacrifice *b)
{
	if (a->n_violations != b->n_violations)
		return a->n_violations < b->n_violations;
	if (a->top_priority != b->top_priority)
		return a->top_priority < b->top_priority;
	if (a->priority_sum != b->priority_sum)
		return a->priority_sum < b->priority_sum;
	if (a->n_victims != b->n_victims)
		return a->n_victims < b->n_victims;
	return a->oldest_ns > b->oldest_ns;
}

/* Nodes where removing pods may help, the rest is counted. */
struct helped {
	struct node **nodes;
	size_t n, helpless;
};

static void consider(struct helped *h, struct look *look, struct node *node, struct row *row)
{
	enum misfit m;

	look_row(look, node, row);
	m = look_misfit(look, node, row);
	/* It fits but for those who have room made there: they do not yield to it. */
	if (m == FITS || misfit_yields(m, row, look->volume_final))
		h->nodes[h->n++] = node;
	else
		h->helpless++;
}

static struct helped may_help(struct scheduler *s, struct look *look, struct wish *wish,
			      struct arena *arena)
{
	struct cluster *c = &s->cluster;
	struct helped h = { .nodes = arena_array(arena, struct node *, c->n_order + 1) };

	if (wish->pinned) {
		for (size_t i = 0; i < wish->n_pins; i++) {
			struct node *node = cluster_node(c, wish->pins[i]);
			struct row row = { 0 };

			if (node != NULL && node->object != NULL)
				consider(&h, look, node, &row);
		}
		h.helpless = c->n_real - h.n;
		return h;
	}

	struct rows *rows = rows_get(&s->row_cache, wish, c);

	for (size_t i = 0; i < c->n_order; i++)
		consider(&h, look, c->order[i], &rows->rows[i]);
	return h;
}

/* A tenth of the nodes, but a hundred. */
static size_t candidates_wanted(size_t nodes)
{
	enum { CANDIDATES_MIN = 100 };
	size_t n = nodes / 10;

	n = n < CANDIDATES_MIN ? CANDIDATES_MIN : n;
	return n < nodes ? n : nodes;
}

static bool is_being_preempted(struct view *view, const struct pod *pod)
{
	const CoreV1__Pod *message = view_message(view, pod->object);

	for (size_t i = 0; message->status != NULL && i < message->status->n_conditions; i++)
		if (text_is(message->status->conditions[i]->type, "DisruptionTarget") &&
		    text_is(message->status->conditions[i]->reason, "PreemptionByScheduler"))
			return true;
	return false;
}

/* Victims of the last time are still on their way out. */
static bool waits_for_victims(struct view *view, const struct look *look, const struct waiting *w)
{
	const struct node *node = w->nominated;
	struct row row = { 0 };

	if (node == NULL || node->object == NULL)
		return false;
	row_look(&row, look->wish, node);
	if (row.object_misfit != FITS)
		return false; /* It will never do: somewhere else, then. */
	for (size_t i = 0; i < node->n_pods; i++)
		if (node->pods[i]->dying && node->pods[i]->priority < look->wish->priority &&
		    is_being_preempted(view, node->pods[i]))
			return true;
	return false;
}

/* From a node by chance on, until there are enough candidates that break no budget. */
static struct sacrifice best_of(struct scheduler *s, struct look *look, const struct helped *h,
				struct arena *arena, struct findings *f, size_t *no_victims)
{
	struct sacrifice best = { 0 };
	size_t wanted = candidates_wanted(h->n), found = 0, kind = 0;
	size_t offset = h->n > 0 ? scheduler_chance(s) % h->n : 0;

	for (size_t i = 0; i < h->n && !(kind > 0 && found >= wanted); i++) {
		struct node *node = h->nodes[(offset + i) % h->n];
		struct sacrifice one;
		struct row row;

		if (node_least_priority(node) >= look->wish->priority) {
			(*no_victims)++;
			continue;
		}

		enum misfit m = sacrifice_on(look, node, arena, &row, &one);

		if (m == MISFIT_COUNT || (m == FITS && one.n_victims == 0)) {
			(*no_victims)++;
		} else if (m != FITS) {
			findings_add(f, arena, m, &row, look->volume_why);
		} else {
			found++;
			kind += one.n_violations == 0;
			if (best.node == NULL || is_better(&one, &best))
				best = one;
		}
	}
	return best;
}

struct preemption preempt_find(struct scheduler *s, struct look *look, struct wish *wish,
			       struct waiting *waiting, struct view *view)
{
	struct preemption none = { 0 };
	struct findings f = { 0 };
	struct sacrifice best = { 0 };
	size_t no_victims = 0;

	if (!wish->preempts) {
		none.why = "not eligible due to preemptionPolicy=Never.";
		none.keep = true;
		return none;
	}
	if (waits_for_victims(view, look, waiting)) {
		none.why = "not eligible due to a terminating pod on the nominated node.";
		none.keep = true;
		return none;
	}

	struct helped h = may_help(s, look, wish, view->arena);

	if (cluster_has_below(&s->cluster, wish->priority))
		best = best_of(s, look, &h, view->arena, &f, &no_victims);
	else
		no_victims = h.n;
	if (best.node != NULL)
		return (struct preemption){ .node = best.node,
					    .victims = best.victims,
					    .n_victims = best.n_victims };
	none.why = explain_preemption(view->arena, s->cluster.n_real, wish, &f, no_victims,
				      h.helpless);
	return none;
}
