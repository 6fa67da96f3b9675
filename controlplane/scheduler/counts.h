/* Sparse counters: small numbers (places, values) to counts that are not zero,
 * in a hash table of eight bytes per slot; and bags of members that
 * carry their link and hash (private to this folder). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/cleanup.h"

struct count {
	uint32_t key; /* + 1; 0: free. */
	int32_t n;
};

struct counts {
	struct count *slots;
	uint32_t used, cap; /* cap is 0 or a power of two. */
};

static inline uint32_t counts_home(uint32_t key, uint32_t cap)
{
	return (key * UINT32_C(2654435769)) >> 7 & (cap - 1);
}

static inline int32_t counts_get(const struct counts *c, uint32_t key)
{
	if (c->used == 0)
		return 0;
	for (uint32_t i = counts_home(key, c->cap);; i = (i + 1) & (c->cap - 1)) {
		if (c->slots[i].key == key + 1)
			return c->slots[i].n;
		if (c->slots[i].key == 0)
			return 0;
	}
}

/* Returns the new count. */
int32_t counts_add(struct counts *c, uint32_t key, int32_t by);
/* The lowest key with a count, or UINT32_MAX. Walks all. */
uint32_t counts_lowest(const struct counts *c);
void counts_fini(struct counts *c);

struct bag_node {
	struct bag_node *next;
	uint64_t hash;
};

struct bag {
	struct bag_node **buckets;
	size_t n, cap;
};

/* The first member with that hash, or NULL; bag_next() goes on with those of the same hash. */
struct bag_node *bag_first(const struct bag *t, uint64_t hash);
struct bag_node *bag_next(const struct bag_node *node);
void bag_add(struct bag *t, struct bag_node *node, uint64_t hash);
void bag_remove(struct bag *t, struct bag_node *node);
void bag_fini(struct bag *t);

/* Members in no particular order; the current one may be removed. */
#define bag_for_each(it, t, type, member)                                                          \
	for (size_t it##_at_ = 0; it##_at_ < (t)->cap; it##_at_++)                                 \
		for (struct bag_node *it##_node_ = (t)->buckets[it##_at_], *it##_next_;            \
		     it##_node_ != NULL; it##_node_ = it##_next_)                                  \
			for (type *it = (it##_next_ = it##_node_->next,                            \
					container_of(it##_node_, type, member));                   \
			     it != NULL; it = NULL)
