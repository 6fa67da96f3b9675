#include "common/api/schema.h"

#include <pthread.h>
#include <string.h>

/* Open addressing by descriptor address, filled once: descriptors are constant
 * and live in the program, so nothing ever leaves the table. */
#define SLOTS 2048

static const struct schema *slots[SLOTS];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static size_t slot_of(const ProtobufCMessageDescriptor *d)
{
	return (size_t)(((uint64_t)(uintptr_t)d * 0x9E3779B97F4A7C15ull) >> 53) & (SLOTS - 1);
}

static void add(const struct schema *s)
{
	size_t i = slot_of(s->descriptor);

	while (slots[i] != NULL && slots[i] != s)
		i = (i + 1) & (SLOTS - 1);
	slots[i] = s;
}

static void fill(void)
{
	for (size_t i = 0; i < schema_count; i++) {
		add(schema_all[i]);
		for (size_t f = 0; f < schema_all[i]->n_fields; f++)
			if (schema_all[i]->fields[f].label == SCHEMA_MAP)
				add(schema_all[i]->fields[f].message);
	}
}

const struct schema *schema_of(const ProtobufCMessageDescriptor *descriptor)
{
	pthread_once(&once, fill);
	for (size_t i = slot_of(descriptor); slots[i] != NULL; i = (i + 1) & (SLOTS - 1))
		if (slots[i]->descriptor == descriptor)
			return slots[i];
	return NULL;
}

/* The same hash as in proto/k8s/generate.py. */
static uint32_t name_hash(const unsigned char *name, size_t n)
{
	return (uint32_t)(n * 131 + name[0] * 31u + name[n - 1] * 7u + name[n / 2] * 17u);
}

const struct schema_field *schema_find(const struct schema *s, const char *name, size_t len)
{
	if (len == 0 || s->n_fields == 0)
		return NULL;
	for (uint32_t h = name_hash((const unsigned char *)name, len) & s->name_mask;
	     s->by_name[h] != 0; h = (h + 1) & s->name_mask) {
		const struct schema_field *f = &s->fields[s->by_name[h] - 1];

		if (f->json_len == len && memcmp(f->json_name, name, len) == 0)
			return f;
	}
	return NULL;
}

const struct schema_field *schema_find_flat(const struct schema *s, const char *name, size_t len)
{
	const struct schema_field *f = schema_find(s, name, len);

	if (f != NULL && !(f->flags & SCHEMA_INLINE))
		return f;
	for (uint64_t left = s->inline_mask; left != 0; left &= left - 1) {
		f = schema_find_flat(s->fields[__builtin_ctzll(left)].message, name, len);
		if (f != NULL)
			return f;
	}
	return NULL;
}
