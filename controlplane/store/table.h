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
struct chain_table {
	struct chain **buckets;
	size_t n_buckets, count;
};

void chain_table_fini(struct chain_table *t);
void chain_table_add(struct chain_table *t, struct chain *member, uint32_t hash);
void chain_table_remove(struct chain_table *t, struct chain *member);

static inline struct chain *chain_table_first(const struct chain_table *t, uint32_t hash)
{
	return t->n_buckets > 0 ? t->buckets[hash & (t->n_buckets - 1)] : NULL;
}

/* Members whose hash is that; the body compares the rest. */
#define chain_table_for_each(it, t, hash_)                                                               \
	for (struct chain *it = chain_table_first((t), (hash_)); it != NULL; it = it->next)              \
		if (it->hash == (hash_))
