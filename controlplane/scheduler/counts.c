#include "controlplane/scheduler/counts.h"

#include <assert.h>
#include <stdlib.h>

#include "common/base/alloc.h"

/* --- Counters --------------------------------------------------------------------- */

static uint32_t counts_slot(const struct counts *c, uint32_t key)
{
	uint32_t i = counts_home(key, c->cap);

	while (c->slots[i].key != 0 && c->slots[i].key != key + 1)
		i = (i + 1) & (c->cap - 1);
	return i;
}

static void counts_resize(struct counts *c, uint32_t cap)
{
	struct counts old = *c;

	c->cap = cap;
	c->slots = xcalloc(cap, sizeof(*c->slots));
	for (uint32_t i = 0; i < old.cap; i++)
		if (old.slots[i].key != 0)
			c->slots[counts_slot(c, old.slots[i].key - 1)] = old.slots[i];
	free(old.slots);
}

/* Takes a slot out and moves back what a search from its home would otherwise miss. */
static void counts_take_out(struct counts *c, uint32_t hole)
{
	uint32_t mask = c->cap - 1;

	for (uint32_t i = (hole + 1) & mask; c->slots[i].key != 0; i = (i + 1) & mask) {
		uint32_t home = counts_home(c->slots[i].key - 1, c->cap);

		if (((i - home) & mask) >= ((i - hole) & mask)) {
			c->slots[hole] = c->slots[i];
			hole = i;
		}
	}
	c->slots[hole] = (struct count){ 0 };
	c->used--;
	if (c->used == 0)
		counts_fini(c);
	else if (c->cap > 64 && c->used * 8 < c->cap)
		counts_resize(c, c->cap / 4);
}

int32_t counts_add(struct counts *c, uint32_t key, int32_t by)
{
	assert(key < UINT32_MAX - 1);
	if (by == 0)
		return counts_get(c, key);
	if ((c->used + 1) * 4 > c->cap * 3)
		counts_resize(c, c->cap > 0 ? c->cap * 2 : 4);

	uint32_t at = counts_slot(c, key);

	if (c->slots[at].key == 0) {
		c->slots[at].key = key + 1;
		c->used++;
	}
	c->slots[at].n += by;
	if (c->slots[at].n != 0)
		return c->slots[at].n;
	counts_take_out(c, at);
	return 0;
}

uint32_t counts_lowest(const struct counts *c)
{
	uint32_t lowest = UINT32_MAX;

	for (uint32_t i = 0; i < c->cap; i++)
		if (c->slots[i].key != 0 && c->slots[i].key - 1 < lowest)
			lowest = c->slots[i].key - 1;
	return lowest;
}

void counts_fini(struct counts *c)
{
	free(c->slots);
	*c = (struct counts){ 0 };
}

/* --- Tables ----------------------------------------------------------------------- */

static struct bag_node *with_hash(struct bag_node *node, uint64_t hash)
{
	while (node != NULL && node->hash != hash)
		node = node->next;
	return node;
}

struct bag_node *bag_first(const struct bag *t, uint64_t hash)
{
	return t->n == 0 ? NULL : with_hash(t->buckets[hash & (t->cap - 1)], hash);
}

struct bag_node *bag_next(const struct bag_node *node)
{
	return with_hash(node->next, node->hash);
}

static void bag_grow(struct bag *t)
{
	struct bag old = *t;

	t->cap = old.cap > 0 ? old.cap * 2 : 16;
	t->buckets = xcalloc(t->cap, sizeof(struct bag_node *));
	for (size_t i = 0; i < old.cap; i++)
		for (struct bag_node *node = old.buckets[i], *next; node != NULL; node = next) {
			struct bag_node **bucket = &t->buckets[node->hash & (t->cap - 1)];

			next = node->next;
			node->next = *bucket;
			*bucket = node;
		}
	free(old.buckets);
}

void bag_add(struct bag *t, struct bag_node *node, uint64_t hash)
{
	if (t->n >= t->cap)
		bag_grow(t);

	struct bag_node **bucket = &t->buckets[hash & (t->cap - 1)];

	*node = (struct bag_node){ .next = *bucket, .hash = hash };
	*bucket = node;
	t->n++;
}

void bag_remove(struct bag *t, struct bag_node *node)
{
	struct bag_node **link = &t->buckets[node->hash & (t->cap - 1)];

	while (*link != node) {
		assert(*link != NULL);
		link = &(*link)->next;
	}
	*link = node->next;
	node->next = NULL;
	t->n--;
}

void bag_fini(struct bag *t)
{
	free(t->buckets);
	*t = (struct bag){ 0 };
}
