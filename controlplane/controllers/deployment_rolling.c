/* How many replicas each set should have next. */
#include <stdlib.h>
#include <string.h>

#include "controlplane/controllers/deployment.h"

static int32_t smaller(int32_t a, int32_t b)
{
	return a < b ? a : b;
}

static int32_t larger(int32_t a, int32_t b)
{
	return a > b ? a : b;
}

static int32_t old_total(const struct rollout *r)
{
	return rollout_total(r) - (r->current ? set_replicas(r->current) : 0);
}

static bool set_is_full(const struct rollout *r)
{
	return r->current != NULL && set_replicas(r->current) == r->replicas;
}

/* True when every replica is of the new set and available, and nothing old is left. */
static bool is_settled(const struct rollout *r)
{
	for (size_t i = 0; i < r->n_sets; i++)
		if (set_is_old(r, &r->sets[i]) &&
		    (set_actual(&r->sets[i]) != 0 || set_replicas(&r->sets[i]) != 0))
			return false;
	return set_is_full(r) && set_available(r->current) == r->replicas;
}

/* --- Rolling update -------------------------------------------------------------------- */

/* True when the new set changed. */
static bool grow_new(struct rollout *r)
{
	int32_t has = set_replicas(r->current), wants = r->replicas;

	if (has < r->replicas) {
		int32_t room = r->replicas + r->surge - rollout_total(r);

		wants = room <= 0 ? has : has + smaller(room, r->replicas - has);
	}
	rollout_scale(r, r->current, wants);
	return wants != has;
}

/* Old pods that do not serve anyway go first; they cost nothing. */
static void shrink_unhealthy(struct rollout *r, int32_t limit)
{
	int32_t removed = 0;

	for (size_t i = 0; i < r->n_sets && removed < limit; i++) {
		struct set *set = &r->sets[i];
		int32_t has = set_replicas(set), sick = has - set_available(set);
		int32_t less = smaller(limit - removed, sick);

		if (!set_is_old(r, set) || has == 0 || less <= 0)
			continue;
		rollout_scale(r, set, has - less);
		removed += less;
	}
}

/* What stays available: a set that was told to shrink and has not yet may still count more. */
static int32_t available_to_stay(const struct rollout *r)
{
	int32_t n = 0;

	for (size_t i = 0; i < r->n_sets; i++)
		n += smaller(set_available(&r->sets[i]), set_replicas(&r->sets[i]));
	return n;
}

/* Pods taken away as unhealthy were not among the available ones, so they do not count here. */
static void shrink_old(struct rollout *r)
{
	int32_t room = available_to_stay(r) - (r->replicas - r->unavailable);

	for (size_t i = 0; i < r->n_sets && room > 0; i++) {
		struct set *set = &r->sets[i];
		int32_t has = set_replicas(set), less = smaller(has, room);

		if (!set_is_old(r, set) || less <= 0)
			continue;
		rollout_scale(r, set, has - less);
		room -= less;
	}
}

void rollout_roll(struct rollout *r)
{
	if (!rollout_ensure_current(r, true))
		return;
	if (r->current->object == NULL || grow_new(r))
		return; /* The next look sees what came of it. */

	int32_t down = rollout_total(r) - (r->replicas - r->unavailable) -
		       (set_replicas(r->current) - set_available(r->current));

	if (old_total(r) > 0 && down > 0) {
		shrink_unhealthy(r, down);
		shrink_old(r);
	} else if (is_settled(r)) {
		rollout_trim_history(r);
	}
}

/* --- Recreate ---------------------------------------------------------------------------- */

static bool old_pods_run(const struct rollout *r)
{
	for (size_t i = 0; i < r->n_sets; i++) {
		size_t n;

		if (!set_is_old(r, &r->sets[i]))
			continue;

		const struct pod_facts *const *pods =
			view_pods_of(r->view, r->sets[i].object->facts.uid, &n);

		/* A pod that is being ended still runs. */
		for (size_t k = 0; k < n; k++)
			if (pods[k]->phase != PHASE_SUCCEEDED && pods[k]->phase != PHASE_FAILED)
				return true;
	}
	return false;
}

void rollout_recreate(struct rollout *r)
{
	bool shrinks = false;

	for (size_t i = 0; i < r->n_sets; i++) {
		if (!set_is_old(r, &r->sets[i]) || set_replicas(&r->sets[i]) == 0)
			continue;
		rollout_scale(r, &r->sets[i], 0);
		shrinks = true;
	}
	if (shrinks || old_pods_run(r) || !rollout_ensure_current(r, true))
		return;
	if (r->current->object != NULL)
		rollout_scale(r, r->current, r->replicas);
	if (is_settled(r))
		rollout_trim_history(r);
}

/* --- Scaling in the middle of it ------------------------------------------------------------ */

static int32_t annotated(const struct set *set, const char *key)
{
	const char *text = meta_annotation(set->message->metadata, key);

	return text ? (int32_t)strtol(text, NULL, 10) : -1;
}

bool rollout_is_scaling(const struct rollout *r)
{
	for (size_t i = 0; i < r->n_sets; i++) {
		int32_t desired =
			annotated(&r->sets[i], "deployment.kubernetes.io/desired-replicas");

		if (set_replicas(&r->sets[i]) > 0 && desired >= 0 && desired != r->replicas)
			return true;
	}
	return false;
}

/* The only set with replicas; when none has any, the new one, else the youngest. NULL when several
 * have. */
static struct set *only_active(struct rollout *r)
{
	struct set *found = NULL;
	size_t n = 0;

	for (size_t i = 0; i < r->n_sets; i++)
		if (set_replicas(&r->sets[i]) > 0) {
			found = &r->sets[i];
			n++;
		}
	if (n == 0 && r->current != NULL)
		return r->current;
	if (n == 0 && r->n_sets > 0)
		return &r->sets[r->n_sets - 1];
	return n == 1 ? found : NULL;
}

/* The largest first. The array of sets is sorted by age, so of equal ones the order of their
 * addresses in it says which is older: it goes first when the whole shrinks, last when it grows. */
static int compare_size(const struct set *a, const struct set *b)
{
	if (set_replicas(a) != set_replicas(b))
		return set_replicas(a) > set_replicas(b) ? -1 : 1;
	return a < b ? -1 : a > b;
}

static int compare_shrinking(const void *x, const void *y)
{
	return compare_size(*(struct set *const *)x, *(struct set *const *)y);
}

static int compare_growing(const void *x, const void *y)
{
	const struct set *a = *(struct set *const *)x, *b = *(struct set *const *)y;

	return set_replicas(a) == set_replicas(b) ? compare_size(b, a) : compare_size(a, b);
}

/* What a set may have when the whole grows from its old maximum to the new one. */
static int32_t share(const struct rollout *r, const struct set *set)
{
	int32_t before = annotated(set, "deployment.kubernetes.io/max-replicas");
	int64_t now = r->replicas + r->surge, has = set_replicas(set);

	if (r->replicas == 0)
		return (int32_t)-has;
	if (before <= 0)
		before = r->deployment->status ? r->deployment->status->replicas : 0;
	if (before <= 0)
		return 0;
	/* Rounded half up. */
	return (int32_t)((has * now * 2 + before) / (2 * before) - has);
}

static void share_out(struct rollout *r)
{
	struct set **by_size = arena_array(r->view->arena, struct set *, r->n_sets);
	int32_t *sizes = arena_array(r->view->arena, int32_t, r->n_sets);
	int32_t left = (r->replicas > 0 ? r->replicas + r->surge : 0) - rollout_total(r);
	size_t n = 0;

	for (size_t i = 0; i < r->n_sets; i++)
		if (set_replicas(&r->sets[i]) > 0)
			by_size[n++] = &r->sets[i];
	qsort(by_size, n, sizeof(*by_size), left > 0 ? compare_growing : compare_shrinking);
	for (size_t i = 0; i < n; i++) {
		int32_t part = left == 0 ? 0 : share(r, by_size[i]);

		part = left > 0 ? smaller(larger(part, 0), left) : larger(smaller(part, 0), left);
		left -= part;
		sizes[i] = set_replicas(by_size[i]) + part;
	}
	/* What rounding left over goes to the first. */
	sizes[0] += left;
	for (size_t i = 0; i < n; i++)
		rollout_scale(r, by_size[i], larger(sizes[i], 0));
}

void rollout_scale_proportionally(struct rollout *r)
{
	struct set *only = only_active(r);
	const AppsV1__DeploymentStrategy *s = r->deployment->spec->strategy;

	if (r->n_sets == 0)
		return;
	if (only != NULL) {
		rollout_scale(r, only, r->replicas);
		return;
	}
	if (set_is_full(r) && set_available(r->current) == r->replicas &&
	    annotated(r->current, "deployment.kubernetes.io/desired-replicas") == r->replicas) {
		for (size_t i = 0; i < r->n_sets; i++)
			if (set_is_old(r, &r->sets[i]) && set_replicas(&r->sets[i]) > 0)
				rollout_scale(r, &r->sets[i], 0);
		return;
	}
	if (s == NULL || text_is(s->type, "RollingUpdate"))
		share_out(r);
}
