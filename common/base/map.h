/* A hash map from strings to pointers; it copies keys and owns neither values.
 * Never iterate it where order could be seen from outside: use tree.h there. One thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct map_slot {
	char *key; /* NULL: free. */
	uint64_t hash;
	void *value;
};

struct map {
	struct map_slot *slots;
	size_t count, cap; /* cap is 0 or a power of two. */
};

void map_fini(struct map *m);
void *map_get(const struct map *m, const char *key);
/* Returns the value replaced, or NULL. */
void *map_put(struct map *m, const char *key, void *value);
/* Returns the value removed, or NULL. */
void *map_remove(struct map *m, const char *key);
/* FNV-1a, 64 bit. */
uint64_t hash_bytes(const void *data, size_t n);

#define map_for_each(slot, m)                                                                      \
	for (struct map_slot *slot = (m)->slots; slot < (m)->slots + (m)->cap; slot++)             \
		if (slot->key != NULL)
