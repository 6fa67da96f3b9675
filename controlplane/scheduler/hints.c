/* Which of those who wait a change can help. For every wish that found no node it
 * is looked at once whether the node in question does now, or whether the pods
 * that came or left are of those it looks at. */
#include <string.h>

#include "controlplane/scheduler/internal.h"
#include "controlplane/scheduler/terms.h"

#define BIT(m) (UINT64_C(1) << (m))

static const uint64_t company_reasons = BIT(MISFIT_NO_PLACE) | BIT(MISFIT_SPREAD) |
					BIT(MISFIT_WANTED) | BIT(MISFIT_SHUNNED) |
					BIT(MISFIT_SHUNS);

/* The one that was not tried for longest; those for whom room is being made have their own. */
static void wake_one(struct scheduler *s, struct wish *w, int64_t now_ns)
{
	struct list *from = list_empty(&w->asleep) ? &w->nominees : &w->asleep;

	if (!list_empty(from))
		queue_wake(s, list_first(from, struct waiting, asleep)->pod, now_ns);
}

static bool names_it(const struct wish *w, const struct node *node)
{
	for (size_t i = 0; i < w->n_pins; i++)
		if (strcmp(w->pins[i], node->name) == 0)
			return true;
	return !w->pinned;
}

/* If not, why is one more thing that may change. */
static bool fits_now(struct scheduler *s, struct wish *w, const struct waiting *self,
		     struct node *node)
{
	struct look look;
	struct row row;
	enum misfit m;

	if (node->object == NULL || !names_it(w, node))
		return false;
	look_begin(&look, &s->cluster, w, self);
	m = look_again(&look, node, &row);
	w->reasons |= BIT(m);
	return m == FITS;
}

static bool speaks_of_any(const struct constraint *list, size_t n, const struct class *class)
{
	for (size_t i = 0; i < n; i++)
		if (term_speaks_of(list[i].term, class))
			return true;
	return false;
}

static bool shuns(const struct class *one, const struct class *other)
{
	for (size_t i = 0; i < one->n_holds; i++)
		if (one->holds[i].role == ROLE_SHUNS && term_speaks_of(one->holds[i].term, other))
			return true;
	return false;
}

static bool wants(const struct class *one, const struct class *other)
{
	return one->n_wants > 0 && term_speaks_of(one->wants[0], other);
}

/* Pods for whom room is being made here are looked at one by one: only they may have it. */
static void wake_nominated(struct scheduler *s, struct node *node, int64_t now_ns)
{
	for (size_t i = 0; i < node->n_nominated; i++) {
		struct waiting *w = node->nominated[i];

		if (w->pod->state == POD_UNSCHEDULABLE && fits_now(s, w->wish, w, node))
			queue_wake(s, w->pod, now_ns);
	}
}

void hint_node(struct scheduler *s, struct node *node, bool moved, int64_t now_ns)
{
	wake_nominated(s, node, now_ns);
	list_for_each (w, &s->wishes.stuck, struct wish, stuck)
		if ((moved && (w->reasons & company_reasons) != 0) || fits_now(s, w, NULL, node))
			wake_one(s, w, now_ns);
}

void hint_left(struct scheduler *s, const struct class *class, struct node *node, int64_t now_ns)
{
	if (list_empty(&s->wishes.stuck))
		return;
	wake_nominated(s, node, now_ns);
	list_for_each (w, &s->wishes.stuck, struct wish, stuck) {
		bool concerned =
			(w->reasons & company_reasons) != 0 &&
			(speaks_of_any(w->hard, w->n_hard, class) || shuns(w->class, class) ||
			 shuns(class, w->class) || wants(w->class, class));

		if (concerned || fits_now(s, w, NULL, node))
			wake_one(s, w, now_ns);
	}
}

void hint_came(struct scheduler *s, const struct class *class, int64_t now_ns)
{
	list_for_each (w, &s->wishes.stuck, struct wish, stuck) {
		bool wanted = (w->reasons & BIT(MISFIT_WANTED)) != 0 && wants(w->class, class);
		bool spread = (w->reasons & BIT(MISFIT_SPREAD)) != 0 &&
			      speaks_of_any(w->hard, w->n_hard, class);

		if (wanted || spread)
			wake_one(s, w, now_ns);
	}
}

void hint_space(struct scheduler *s, int64_t now_ns)
{
	list_for_each (w, &s->wishes.stuck, struct wish, stuck)
		if ((w->reasons & company_reasons) != 0)
			wake_one(s, w, now_ns);
}

void hint_volumes(struct scheduler *s, int64_t now_ns)
{
	list_for_each (w, &s->wishes.stuck, struct wish, stuck)
		if (w->volumes)
			wake_one(s, w, now_ns);
}

void hint_success(struct scheduler *s, struct wish *w, int64_t now_ns)
{
	if (!list_empty(&w->asleep) || !list_empty(&w->nominees))
		wake_one(s, w, now_ns);
}
