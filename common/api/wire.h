/* Reading the protobuf wire format; for use inside common/api. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <protobuf-c/protobuf-c.h>

enum wire_type { WIRE_VARINT, WIRE_FIXED64, WIRE_BYTES, WIRE_GROUP, WIRE_GROUP_END, WIRE_FIXED32 };

struct wire {
	const uint8_t *p, *end;
};

/* One field as it stands on the wire. */
struct wire_field {
	uint64_t number;
	uint64_t value; /* Of varints and fixed fields; of bytes: their length. */
	const uint8_t *data;
	uint8_t type;
};

static inline bool wire_varint(struct wire *w, uint64_t *ret)
{
	uint64_t v = 0;

	if (w->p < w->end && *w->p < 0x80) {
		*ret = *w->p++;
		return true;
	}
	for (int shift = 0; w->p < w->end && shift < 70; shift += 7) {
		uint8_t c = *w->p++;

		if (shift == 63 && c > 1)
			return false;
		v |= (uint64_t)(c & 0x7F) << shift;
		if (c < 0x80) {
			*ret = v;
			return true;
		}
	}
	return false;
}

/* The next field, checked to lie inside. False at broken input; call only while p < end. */
static inline bool wire_next(struct wire *w, struct wire_field *ret)
{
	uint64_t tag;

	if (!wire_varint(w, &tag) || tag < 8 || tag >> 3 > 0x1FFFFFFF)
		return false;
	ret->number = tag >> 3;
	ret->type = tag & 7;
	switch (ret->type) {
	case WIRE_VARINT:
		return wire_varint(w, &ret->value);
	case WIRE_BYTES:
		if (!wire_varint(w, &ret->value) || ret->value > (uint64_t)(w->end - w->p))
			return false;
		ret->data = w->p;
		w->p += ret->value;
		return true;
	case WIRE_FIXED64:
		if (w->end - w->p < 8)
			return false;
		memcpy(&ret->value, w->p, 8);
		w->p += 8;
		return true;
	case WIRE_FIXED32: {
		uint32_t v;

		if (w->end - w->p < 4)
			return false;
		memcpy(&v, w->p, 4);
		ret->value = v;
		w->p += 4;
		return true;
	}
	default:
		return false; /* Groups are not used. */
	}
}

/* The wire type of one value of a field's type. */
static inline enum wire_type wire_type_of(uint8_t type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_BYTES:
	case PROTOBUF_C_TYPE_MESSAGE:
		return WIRE_BYTES;
	case PROTOBUF_C_TYPE_DOUBLE:
		return WIRE_FIXED64;
	default:
		return WIRE_VARINT;
	}
}

static inline struct wire wire_inside(const struct wire_field *f)
{
	return (struct wire){ f->data, f->data + f->value };
}
