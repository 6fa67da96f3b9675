/* Open addressing with linear probing; removal shifts the run back, so there are no tombstones. */
#include "common/base/map.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"

uint64_t hash_bytes(const void *data, size_t n)
{
	const uint8_t *p = data;
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < n; i++)
		h = (h ^ p[i]) * 0x100000001b3u;
	return h;
}

void map_fini(struct map *m)
{
	for (size_t i = 0; i < m->cap; i++)
		free(m->slots[i].key);
	free(m->slots);
	*m = (struct map){ 0 };
}

/* The slot of key, or the free one where it would go. */
static struct map_slot *slot_of(const struct map *m, const char *key, uint64_t hash)
{
	size_t i = hash & (m->cap - 1);

	while (m->slots[i].key != NULL &&
	       (m->slots[i].hash != hash || strcmp(m->slots[i].key, key) != 0))
		i = (i + 1) & (m->cap - 1);
	return &m->slots[i];
}

static void grow(struct map *m)
{
	struct map old = *m;

	m->cap = old.cap ? old.cap * 2 : 16;
	m->slots = xcalloc(m->cap, sizeof(m->slots[0]));
	for (size_t i = 0; i < old.cap; i++)
		if (old.slots[i].key != NULL)
			*slot_of(m, old.slots[i].key, old.slots[i].hash) = old.slots[i];
	free(old.slots);
}

void *map_get(const struct map *m, const char *key)
{
	if (m->count == 0)
		return NULL;
	return slot_of(m, key, hash_bytes(key, strlen(key)))->value;
}

void *map_put(struct map *m, const char *key, void *value)
{
	uint64_t hash = hash_bytes(key, strlen(key));

	if (m->count * 4 >= m->cap * 3)
		grow(m);
	struct map_slot *slot = slot_of(m, key, hash);
	void *old = slot->value;

	if (slot->key == NULL) {
		slot->key = xstrdup(key);
		slot->hash = hash;
		m->count++;
	}
	slot->value = value;
	return old;
}

void *map_remove(struct map *m, const char *key)
{
	if (m->count == 0)
		return NULL;
	struct map_slot *slot = slot_of(m, key, hash_bytes(key, strlen(key)));
	void *old = slot->value;

	if (slot->key == NULL)
		return NULL;
	free(slot->key);
	m->count--;

	size_t hole = (size_t)(slot - m->slots), mask = m->cap - 1;
	for (size_t i = (hole + 1) & mask; m->slots[i].key != NULL; i = (i + 1) & mask) {
		size_t home = m->slots[i].hash & mask;

		/* Move back what a search from its home would otherwise miss. */
		if (((i - home) & mask) >= ((i - hole) & mask)) {
			m->slots[hole] = m->slots[i];
			hole = i;
		}
	}
	m->slots[hole] = (struct map_slot){ 0 };
	return old;
}
