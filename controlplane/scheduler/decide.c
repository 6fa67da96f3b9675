/* Under a hundred nodes all are looked at; beyond that so many as Kubernetes
 * looks at, beginning where the last decision ended. */
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "controlplane/scheduler/internal.h"
#include "controlplane/scheduler/terms.h"

uint64_t scheduler_chance(struct scheduler *s)
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

static void add_volume_why(struct findings *f, struct arena *arena, const char *why)
{
	enum { WHYS_MAX = 16 };

	if (f->volume_whys == NULL) {
		f->volume_whys = arena_array(arena, const char *, WHYS_MAX);
		f->n_volume_why = arena_array(arena, size_t, WHYS_MAX);
	}
	for (size_t i = 0; i < f->n_volume_whys; i++)
		if (strcmp(f->volume_whys[i], why) == 0) {
			f->n_volume_why[i]++;
			return;
		}
	if (f->n_volume_whys == WHYS_MAX) {
		f->n_volume_why[WHYS_MAX - 1]++;
		return;
	}
	f->volume_whys[f->n_volume_whys] = why;
	f->n_volume_why[f->n_volume_whys++] = 1;
}

void findings_add(struct findings *f, struct arena *arena, enum misfit m, const struct row *row,
		  const char *volume_why)
{
	f->misfits[m]++;
	if (m == MISFIT_VOLUME)
		add_volume_why(f, arena, volume_why);
	if (m != MISFIT_ROOM)
		return;
	for (uint64_t left = row->lacking; left != 0; left &= left - 1)
		f->lacking[__builtin_ctzll(left)]++;
}

static void candidates_room(struct scheduler *s, size_t n)
{
	if (s->cap_candidates >= n)
		return;
	s->cap_candidates = n + n / 2;
	s->candidates = xreallocarray(s->candidates, s->cap_candidates, sizeof(*s->candidates));
}

/* Where others who come first have room made, it must fit with and without them. */
static enum misfit look_at(struct look *look, struct node *node, struct row *row)
{
	struct row again;
	enum misfit m;

	if (look->self != NULL && look->self->nominated == node) {
		/* Others count the room that is kept for it; it does not. */
		m = look_again(look, node, row);
		row->version = 0;
		return m;
	}
	look_row(look, node, row);
	m = look_misfit(look, node, row);
	if (m != FITS || !look->company || node->n_nominated == 0 ||
	    !look_meets_nominated(look, node))
		return m;
	return look_again(look, node, &again);
}

/* Nodes that fit, as candidates. */
static size_t filter(struct scheduler *s, struct look *look, struct wish *wish, struct arena *arena,
		     struct findings *f)
{
	struct cluster *c = &s->cluster;
	struct rows *rows = rows_get(&s->row_cache, wish, c);
	size_t wanted = enough(c->n_order), n = 0, at = s->next_node, left = c->n_order;

	candidates_room(s, wanted);
	for (; left > 0 && n < wanted; left--) {
		if (at >= c->n_order)
			at = 0;

		struct node *node = c->order[at];
		struct row *row = &rows->rows[at++];
		enum misfit m = look_at(look, node, row);

		if (m == FITS)
			s->candidates[n++] = (struct candidate){ .node = node, .row = row };
		else
			findings_add(f, arena, m, row, look->volume_why);
	}
	s->next_node = at;
	return n;
}

/* Only the nodes it names. */
static size_t filter_pinned(struct scheduler *s, struct look *look, const struct wish *wish,
			    struct arena *arena, struct findings *f)
{
	struct cluster *c = &s->cluster;
	size_t n = 0, looked = 0;

	candidates_room(s, wish->n_pins + 1);
	if (s->cap_pinned < wish->n_pins) {
		s->cap_pinned = wish->n_pins;
		s->pinned_rows =
			xreallocarray(s->pinned_rows, s->cap_pinned, sizeof(*s->pinned_rows));
	}
	for (size_t i = 0; i < wish->n_pins; i++) {
		struct node *node = cluster_node(c, wish->pins[i]);
		struct row *row = &s->pinned_rows[i];

		if (node == NULL || node->object == NULL)
			continue;
		*row = (struct row){ 0 };
		looked++;

		enum misfit m = look_at(look, node, row);

		if (m == FITS)
			s->candidates[n++] = (struct candidate){ .node = node, .row = row };
		else
			findings_add(f, arena, m, row, look->volume_why);
	}
	f->misfits[MISFIT_NOT_NAMED] = c->n_real - looked;
	return n;
}

/* The node where room was made for it, if it has come. */
static bool filter_nominated(struct scheduler *s, struct look *look, const struct waiting *waiting,
			     struct row *row)
{
	struct node *node = waiting->nominated;

	if (node == NULL || node->object == NULL)
		return false;
	return look_again(look, node, row) == FITS;
}

struct node *decide(struct scheduler *s, struct look *look, struct wish *wish,
		    struct waiting *waiting, struct arena *arena, struct findings *f)
{
	struct row row;
	size_t n;

	if (filter_nominated(s, look, waiting, &row))
		return waiting->nominated;
	n = wish->pinned ? filter_pinned(s, look, wish, arena, f) : filter(s, look, wish, arena, f);
	if (n <= 1)
		return n == 1 ? s->candidates[0].node : NULL;
	return choose(s, wish, n);
}
