#include "controlplane/store/table.h"

#include <assert.h>
#include <stdlib.h>

#include "common/base/alloc.h"

enum { BUCKETS_MIN = 64 };

void chain_table_fini(struct chain_table *t)
{
	free(t->buckets);
	*t = (struct chain_table){ 0 };
}

static void grow(struct chain_table *t)
{
	size_t n = t->n_buckets > 0 ? t->n_buckets * 2 : BUCKETS_MIN;
	struct chain **buckets = xcalloc(n, sizeof(struct chain *));

	for (size_t i = 0; i < t->n_buckets; i++) {
		struct chain *next;

		for (struct chain *c = t->buckets[i]; c != NULL; c = next) {
			next = c->next;
			c->next = buckets[c->hash & (n - 1)];
			buckets[c->hash & (n - 1)] = c;
		}
	}
	free(t->buckets);
	t->buckets = buckets;
	t->n_buckets = n;
}

void chain_table_add(struct chain_table *t, struct chain *member, uint32_t hash)
{
	if (t->count == t->n_buckets)
		grow(t);

	struct chain **bucket = &t->buckets[hash & (t->n_buckets - 1)];

	member->hash = hash;
	member->next = *bucket;
	*bucket = member;
	t->count++;
}

void chain_table_remove(struct chain_table *t, struct chain *member)
{
	struct chain **at = &t->buckets[member->hash & (t->n_buckets - 1)];

	while (*at != member) {
		assert(*at != NULL);
		at = &(*at)->next;
	}
	*at = member->next;
	t->count--;
}
