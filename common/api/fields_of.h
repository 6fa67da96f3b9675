/* Access to a message's members through the schema; for use inside common/api. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/api/message.h"
#include "common/api/schema.h"
#include "common/base/arena.h"

#define MEMBER(type, message, at) (*(type *)((char *)(message) + (at)))

static inline bool field_has_pointer(const struct schema_field *f)
{
	return f->type == PROTOBUF_C_TYPE_STRING || f->type == PROTOBUF_C_TYPE_MESSAGE;
}

static inline size_t field_element_size(const struct schema_field *f)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_INT32:
		return sizeof(int32_t);
	case PROTOBUF_C_TYPE_BOOL:
		return sizeof(protobuf_c_boolean);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	default:
		return 8; /* int64, double and pointers. */
	}
}

static inline void *field_at(const void *message, const struct schema_field *f)
{
	return (char *)message + f->offset;
}

static inline size_t *field_count(const void *message, const struct schema_field *f)
{
	return &MEMBER(size_t, message, f->quantifier_offset);
}

static inline ProtobufCMessage *message_try_new(const ProtobufCMessageDescriptor *d,
						struct arena *a)
{
	ProtobufCMessage *m = arena_try_alloc(a, d->sizeof_message);

	if (m != NULL)
		d->message_init(m);
	return m;
}

/* Room for one more element in the array at *array, which holds n: arrays double. */
static inline bool field_grow(struct arena *a, void **array, size_t n, size_t element_size)
{
	size_t cap = n == 0 ? 2 : n * 2;

	if (n != 0 && (n < 2 || (n & (n - 1)) != 0))
		return true;
	void *grown = arena_try_alloc(a, cap * element_size);
	if (grown == NULL)
		return false;
	if (n != 0)
		__builtin_memcpy(grown, *array, n * element_size);
	*array = grown;
	return true;
}

/* The value at *value is what unset means: 0, false, "", no bytes. */
static inline bool field_is_zero(const struct schema_field *f, const void *value)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_INT32:
		return *(const int32_t *)value == 0;
	case PROTOBUF_C_TYPE_INT64:
		return *(const int64_t *)value == 0;
	case PROTOBUF_C_TYPE_BOOL:
		return *(const protobuf_c_boolean *)value == 0;
	case PROTOBUF_C_TYPE_DOUBLE:
		return *(const double *)value == 0;
	case PROTOBUF_C_TYPE_STRING:
		return *(char *const *)value == NULL || **(char *const *)value == '\0';
	case PROTOBUF_C_TYPE_BYTES:
		return ((const ProtobufCBinaryData *)value)->len == 0;
	default:
		return *(void *const *)value == NULL;
	}
}

/* A singular field that the message carries (its value may be zero). */
static inline bool field_is_set(const struct schema_field *f, const void *message)
{
	if (field_has_pointer(f))
		return MEMBER(void *, message, f->offset) != NULL;
	return MEMBER(protobuf_c_boolean, message, f->quantifier_offset) != 0;
}

/* Every map entry begins like this. */
struct any_entry {
	ProtobufCMessage base;
	char *key;
};

/* Sort a map's entries by key; of equal keys the last one stays, and dropped(), which may be
 * NULL, hears of every other. Returns how many entries are left. */
size_t map_entries_sort(struct any_entry **entries, size_t n,
			void (*dropped)(void *ctx, const char *key), void *ctx);
