/* Kubernetes' weights: TaintToleration 3, NodeAffinity 2, PodTopologySpread 2,
 * InterPodAffinity 2, the rest 1. Raw scores are made comparable over the nodes
 * that fit, each in its plugin's own way. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "controlplane/scheduler/internal.h"
#include "controlplane/scheduler/places.h"
#include "controlplane/scheduler/terms.h"

enum { SCORE_MAX = 100 };

/* --- Company --------------------------------------------------------------------------- */

/* Terms of pods that are there about this one, and its own about those. */
static bool company_matters(const struct class *class)
{
	for (size_t i = 0; i < class->n_holds; i++)
		if (class->holds[i].role == ROLE_LIKES)
			return true;
	for (size_t i = 0; i < class->n_matched; i++)
		if (class->matched[i].term->liking.used > 0)
			return true;
	return false;
}

static int64_t company(const struct class *class, const struct node *node)
{
	int64_t sum = 0;

	for (size_t i = 0; i < class->n_holds; i++) {
		const struct hold *h = &class->holds[i];

		if (h->role == ROLE_LIKES) {
			int32_t n = term_matching(h->term, node);

			sum += n > 0 ? (int64_t)n * h->weight : 0;
		}
	}
	for (size_t i = 0; i < class->n_matched; i++) {
		const struct term *t = class->matched[i].term;
		int32_t place = t->liking.used > 0 ? node_place(node, t->topology) : -1;

		if (place >= 0)
			sum += counts_get(&t->liking, (uint32_t)place);
	}
	return sum;
}

/* From the least to the most liked: 0 to 100. */
static void company_scores(struct scheduler *s, const struct class *class, size_t n)
{
	int64_t low = INT64_MAX, high = INT64_MIN;

	for (size_t i = 0; i < n; i++) {
		struct candidate *c = &s->candidates[i];

		c->company = company(class, c->node);
		low = c->company < low ? c->company : low;
		high = c->company > high ? c->company : high;
	}
	for (size_t i = 0; i < n; i++) {
		struct candidate *c = &s->candidates[i];

		c->company = high == low ? 0 : (c->company - low) * SCORE_MAX / (high - low);
	}
}

/* --- Spreading ---------------------------------------------------------------------------- */

/* Different places among the candidates that are not apart. */
static size_t places_among(struct scheduler *s, const struct topology *t, size_t n)
{
	size_t places = 0;

	if (s->cap_marks < t->n_ids) {
		s->place_marks = xreallocarray(s->place_marks, t->n_ids, sizeof(*s->place_marks));
		memset(s->place_marks + s->cap_marks, 0,
		       (t->n_ids - s->cap_marks) * sizeof(*s->place_marks));
		s->cap_marks = t->n_ids;
	}
	s->mark++;
	for (size_t i = 0; i < n; i++) {
		int32_t place = s->candidates[i].apart ? -1 : node_place(s->candidates[i].node, t);

		if (place >= 0 && s->place_marks[place] != s->mark) {
			s->place_marks[place] = s->mark;
			places++;
		}
	}
	return places;
}

/* A pod's own constraints need all their labels; those of the system take what is there. */
static size_t mark_apart(struct scheduler *s, const struct wish *w, size_t n)
{
	size_t together = 0;

	for (size_t i = 0; i < n; i++) {
		struct candidate *c = &s->candidates[i];

		c->apart = false;
		for (size_t k = 0; !w->by_default && k < w->n_soft; k++)
			c->apart = c->apart || node_place(c->node, w->soft[k].term->topology) < 0;
		together += !c->apart;
	}
	return together;
}

static int64_t spread(const struct wish *w, const double *weights, const struct node *node)
{
	double sum = 0;

	for (size_t k = 0; k < w->n_soft; k++) {
		int32_t there = term_matching(w->soft[k].term, node);

		if (there >= 0)
			sum += (double)there * weights[k] + (double)(w->soft[k].skew_max - 1);
	}
	return (int64_t)round(sum);
}

/* The fewer, the better: 100 for the emptiest, 0 only where constraints do not apply. */
static void spread_scores(struct scheduler *s, const struct wish *w, size_t n)
{
	size_t together = mark_apart(s, w, n);
	int64_t low = INT64_MAX, high = 0;
	double *weights = xcalloc(w->n_soft, sizeof(*weights));

	for (size_t k = 0; k < w->n_soft; k++) {
		size_t places = w->soft[k].per_node ? together
						    : places_among(s, w->soft[k].term->topology, n);

		weights[k] = log((double)places + 2);
	}
	for (size_t i = 0; i < n; i++) {
		struct candidate *c = &s->candidates[i];

		if (c->apart)
			continue;
		c->spread = spread(w, weights, c->node);
		low = c->spread < low ? c->spread : low;
		high = c->spread > high ? c->spread : high;
	}
	for (size_t i = 0; i < n; i++) {
		struct candidate *c = &s->candidates[i];

		if (c->apart)
			c->spread = 0;
		else
			c->spread =
				high == 0 ? SCORE_MAX : SCORE_MAX * (high + low - c->spread) / high;
	}
	free(weights);
}

/* --- Images ----------------------------------------------------------------------------------- */

/* Bytes that need not be fetched, counted less the fewer nodes hold them: else all pods of an
 * image would go to the one node that has it. */
static int64_t image_score(const struct cluster *c, const struct wish *w, uint32_t held)
{
	const int64_t low = INT64_C(23) << 20;
	int64_t high = (INT64_C(1000) << 20) * (int64_t)w->n_containers, sum = 0;

	for (; held != 0; held &= held - 1) {
		const struct image *i = w->images[__builtin_ctz(held)];

		sum += (int64_t)((double)i->size_bytes * (double)i->nodes / (double)c->n_real);
	}
	if (sum < low)
		return 0;
	return SCORE_MAX * ((sum > high ? high : sum) - low) / (high - low);
}

/* --- The sum ------------------------------------------------------------------------------------
 */

struct largest {
	int64_t soft_taints, affinity;
};

static struct largest largest(const struct scheduler *s, size_t n)
{
	struct largest l = { 0 };

	for (size_t i = 0; i < n; i++) {
		const struct row *r = s->candidates[i].row;

		l.soft_taints = r->soft_taints > l.soft_taints ? r->soft_taints : l.soft_taints;
		l.affinity = r->affinity > l.affinity ? r->affinity : l.affinity;
	}
	return l;
}

static int64_t total(const struct scheduler *s, const struct wish *w, const struct candidate *c,
		     const struct largest *l)
{
	const struct row *r = c->row;
	int64_t sum = r->least + r->balanced + 2 * (c->company + c->spread);

	if (l->soft_taints > 0)
		sum += 3 * (SCORE_MAX - r->soft_taints * SCORE_MAX / l->soft_taints);
	if (l->affinity > 0)
		sum += 2 * (r->affinity * SCORE_MAX / l->affinity);
	if (r->images != 0)
		sum += image_score(&s->cluster, w, r->images);
	return sum;
}

struct node *choose(struct scheduler *s, const struct wish *w, size_t n)
{
	struct largest l = largest(s, n);
	struct node *best = NULL;
	int64_t best_total = -1;
	uint64_t ties = 0;

	if (company_matters(w->class))
		company_scores(s, w->class, n);
	if (w->n_soft > 0)
		spread_scores(s, w, n);
	for (size_t i = 0; i < n; i++) {
		int64_t sum = total(s, w, &s->candidates[i], &l);

		if (sum > best_total) {
			best = s->candidates[i].node;
			best_total = sum;
			ties = 1;
		} else if (sum == best_total && scheduler_chance(s) % ++ties == 0) {
			best = s->candidates[i].node;
		}
	}
	return best;
}
