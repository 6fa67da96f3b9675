/* A hash table whose chains run through its members, for finding one by a key that is told by its
 * hash and a comparison. It owns nothing. Its order means nothing and cannot be seen. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct chain {
	struct chain *next;
	uint32_t hash;
};

/* Zero is empty. */
struct table {
	struct chain **buckets;
	size_t n_buckets, count;
};

void table_fini(struct table *t);
void table_add(struct table *t, struct chain *member, uint32_t hash);
void table_remove(struct table *t, struct chain *member);

static inline struct chain *table_first(const struct table *t, uint32_t hash)
{
	return t->n_buckets > 0 ? t->buckets[hash & (t->n_buckets - 1)] : NULL;
}

/* Members whose hash is that; the body compares the rest. */
#define table_for_each(it, t, hash_)                                                               \
	for (struct chain *it = table_first((t), (hash_)); it != NULL; it = it->next)              \
		if (it->hash == (hash_))
