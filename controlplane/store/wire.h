/* Reading protobuf bytes field by field, without unpacking them.
 *
 *     struct wire w = wire_of(bytes);
 *     struct wire_field f;
 *     while (wire_next(&w, &f))
 *             if (f.number == 5 && f.type == WIRE_BYTES) ...
 *
 * Any input is safe: what cannot be read ends the walk and sets bad. A field is
 * only ever used together with its wire type. Values point into the input. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/base/buf.h"

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

struct wire {
	const uint8_t *at, *end;
	bool bad;
};

struct wire_field {
	uint32_t number;
	enum wire_type type;
	uint64_t value;     /* All but WIRE_BYTES. */
	struct bytes bytes; /* WIRE_BYTES */
};

static inline struct wire wire_of(struct bytes b)
{
	return (struct wire){ .at = b.data, .end = b.len > 0 ? b.data + b.len : b.data };
}

static inline bool wire_varint(struct wire *w, uint64_t *ret)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 64 && w->at < w->end; shift += 7) {
		uint8_t c = *w->at++;

		value |= (uint64_t)(c & 0x7f) << shift;
		if (c < 0x80) {
			*ret = value;
			return true;
		}
	}
	return false;
}

static inline bool wire_fixed(struct wire *w, size_t n, uint64_t *ret)
{
	if ((size_t)(w->end - w->at) < n)
		return false;
	*ret = 0;
	for (size_t i = 0; i < n; i++)
		*ret |= (uint64_t)w->at[i] << (8 * i);
	w->at += n;
	return true;
}

static inline bool wire_bytes(struct wire *w, struct bytes *ret)
{
	uint64_t n;

	if (!wire_varint(w, &n) || n > (uint64_t)(w->end - w->at))
		return false;
	*ret = bytes_of(w->at, (size_t)n);
	w->at += n;
	return true;
}

static inline bool wire_value(struct wire *w, struct wire_field *f)
{
	switch (f->type) {
	case WIRE_VARINT:
		return wire_varint(w, &f->value);
	case WIRE_FIXED64:
		return wire_fixed(w, 8, &f->value);
	case WIRE_FIXED32:
		return wire_fixed(w, 4, &f->value);
	case WIRE_BYTES:
		return wire_bytes(w, &f->bytes);
	}
	return false;
}

static inline bool wire_next(struct wire *w, struct wire_field *f)
{
	uint64_t tag;

	if (w->at == w->end || w->bad)
		return false;
	w->bad = true;
	if (!wire_varint(w, &tag) || tag >> 3 == 0 || tag >> 3 > UINT32_MAX >> 3)
		return false;
	*f = (struct wire_field){ .number = (uint32_t)(tag >> 3), .type = tag & 7 };
	if (!wire_value(w, f))
		return false;
	w->bad = false;
	return true;
}

/* How many fields of that number hold bytes. */
static inline size_t wire_count(struct bytes b, uint32_t number)
{
	struct wire w = wire_of(b);
	struct wire_field f;
	size_t n = 0;

	while (wire_next(&w, &f))
		n += f.number == number && f.type == WIRE_BYTES;
	return n;
}

/* The last field of that number that holds bytes; empty when there is none. */
static inline struct bytes wire_find(struct bytes b, uint32_t number)
{
	struct wire w = wire_of(b);
	struct wire_field f;
	struct bytes found = { 0 };

	while (wire_next(&w, &f))
		if (f.number == number && f.type == WIRE_BYTES)
			found = f.bytes;
	return found;
}

static inline bool bytes_equal(struct bytes a, struct bytes b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool bytes_are(struct bytes b, const char *text)
{
	return bytes_equal(b, bytes_str(text));
}
