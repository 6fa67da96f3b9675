#include "common/api/pack.h"

#include <stdlib.h>
#include <string.h>

#include "common/api/fields_of.h"
#include "common/api/quantity.h"
#include "common/api/wire.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "proto/k8s/intstr.pb-c.h"
#include "proto/k8s/meta_v1.pb-c.h"
#include "proto/k8s/resource.pb-c.h"

/* Packing runs backwards, from the last field of the last message to the first
 * byte: the length of what is inside is then known when its header is written,
 * so there is no pass over the message only to measure it. */

struct packer {
	uint8_t *start, *p, *end; /* [p, end) is written. */
	bool heap;
};

static void grow(struct packer *k, size_t n)
{
	size_t used = (size_t)(k->end - k->p), cap = (size_t)(k->end - k->start) * 2;

	while (cap < used + n)
		cap *= 2;
	uint8_t *grown = xmalloc(cap);
	memcpy(grown + cap - used, k->p, used);
	if (k->heap)
		free(k->start);
	*k = (struct packer){ grown, grown + cap - used, grown + cap, true };
}

static inline void room(struct packer *k, size_t n)
{
	if ((size_t)(k->p - k->start) < n)
		grow(k, n);
}

static inline void put_varint(struct packer *k, uint64_t v)
{
	room(k, 10);
	if (v < 0x80) {
		*--k->p = (uint8_t)v;
		return;
	}
	uint8_t bytes[10], n = 0;
	for (; v >= 0x80; v >>= 7)
		bytes[n++] = (uint8_t)(v | 0x80);
	bytes[n++] = (uint8_t)v;
	k->p -= n;
	memcpy(k->p, bytes, n);
}

static inline void put_tag(struct packer *k, unsigned number, enum wire_type type)
{
	put_varint(k, (uint64_t)number << 3 | type);
}

static inline void put_bytes(struct packer *k, const void *data, size_t n)
{
	room(k, n + 10);
	if (n > 0)
		memcpy(k->p -= n, data, n);
	put_varint(k, n);
}

static void pack_fields(struct packer *k, const struct schema *s, const ProtobufCMessage *m);

static void pack_int_or_string(struct packer *k, const Intstr__IntOrString *v)
{
	if (v->type == 0) {
		if (v->intval != 0) {
			put_varint(k, (uint64_t)(int64_t)v->intval);
			put_tag(k, 2, WIRE_VARINT);
		}
		return;
	}
	if (v->strval != NULL && *v->strval != '\0') {
		put_bytes(k, v->strval, strlen(v->strval));
		put_tag(k, 3, WIRE_BYTES);
	}
	put_varint(k, 1);
	put_tag(k, 1, WIRE_VARINT);
}

/* A text that is no quantity stays as it is: validation will speak of it, packing cannot. */
static void pack_quantity(struct packer *k, const Resource__Quantity *q, bool zero_is_absent)
{
	const char *text = q->string ? q->string : "0";
	char canonical[QUANTITY_TEXT_MAX];
	struct quantity value;

	if (quantity_parse(bytes_str(text), &value) == 0) {
		if (value.nano == 0 && zero_is_absent)
			return;
		quantity_print(&value, canonical);
		text = canonical;
	}
	put_bytes(k, text, strlen(text));
	put_tag(k, 1, WIRE_BYTES);
}

static void pack_time(struct packer *k, const MetaV1__Time *t, bool micro)
{
	int32_t nanos = micro ? t->nanos / 1000 * 1000 : 0;

	if (nanos != 0) {
		put_varint(k, (uint64_t)(int64_t)nanos);
		put_tag(k, 2, WIRE_VARINT);
	}
	if (t->seconds != 0) {
		put_varint(k, (uint64_t)t->seconds);
		put_tag(k, 1, WIRE_VARINT);
	}
}

static void pack_content(struct packer *k, const struct schema_field *f, const ProtobufCMessage *m)
{
	switch (f->message->form) {
	case SCHEMA_FORM_INT_OR_STRING:
		pack_int_or_string(k, (const Intstr__IntOrString *)m);
		break;
	case SCHEMA_FORM_QUANTITY:
		pack_quantity(k, (const Resource__Quantity *)m,
			      (f->flags & (SCHEMA_ALWAYS | SCHEMA_POINTER)) == SCHEMA_ALWAYS);
		break;
	case SCHEMA_FORM_TIME:
	case SCHEMA_FORM_MICROTIME:
		pack_time(k, (const MetaV1__Time *)m, f->message->form == SCHEMA_FORM_MICROTIME);
		break;
	default:
		pack_fields(k, f->message, m);
	}
}

/* One value with its header. */
static void pack_value(struct packer *k, const struct schema_field *f, const void *slot)
{
	size_t before = (size_t)(k->end - k->p);
	const ProtobufCBinaryData *bytes;
	const char *text;

	switch (f->type) {
	case PROTOBUF_C_TYPE_MESSAGE:
		if (*(ProtobufCMessage *const *)slot != NULL)
			pack_content(k, f, *(ProtobufCMessage *const *)slot);
		put_varint(k, (size_t)(k->end - k->p) - before);
		break;
	case PROTOBUF_C_TYPE_STRING:
		text = *(char *const *)slot;
		put_bytes(k, text, text ? strlen(text) : 0);
		break;
	case PROTOBUF_C_TYPE_BYTES:
		bytes = slot;
		put_bytes(k, bytes->data, bytes->len);
		break;
	case PROTOBUF_C_TYPE_INT32:
		put_varint(k, (uint64_t)(int64_t) * (const int32_t *)slot);
		break;
	case PROTOBUF_C_TYPE_INT64:
		put_varint(k, (uint64_t) * (const int64_t *)slot);
		break;
	case PROTOBUF_C_TYPE_BOOL:
		put_varint(k, *(const protobuf_c_boolean *)slot != 0);
		break;
	case PROTOBUF_C_TYPE_DOUBLE:
		room(k, 8);
		memcpy(k->p -= 8, slot, 8);
		break;
	default:
		abort();
	}
	put_tag(k, f->number, wire_type_of(f->type));
}

static void pack_map(struct packer *k, const struct schema_field *f, struct any_entry **entries,
		     size_t n)
{
	const struct schema_field *key = &f->message->fields[0], *value = &f->message->fields[1];
	autofree struct any_entry **sorted = NULL;

	for (size_t i = 1; i < n && sorted == NULL; i++)
		if (strcmp(entries[i - 1]->key, entries[i]->key) >= 0)
			sorted = xmemdup(entries, n * sizeof(*entries));
	if (sorted != NULL) {
		n = map_entries_sort(sorted, n, NULL, NULL);
		entries = sorted;
	}
	while (n-- > 0) {
		size_t before = (size_t)(k->end - k->p);

		pack_value(k, value, field_at(entries[n], value));
		pack_value(k, key, field_at(entries[n], key));
		put_varint(k, (size_t)(k->end - k->p) - before);
		put_tag(k, f->number, WIRE_BYTES);
	}
}

static void pack_list(struct packer *k, const struct schema_field *f, const char *items, size_t n)
{
	size_t size = field_element_size(f);

	while (n-- > 0)
		pack_value(k, f, items + n * size);
}

static void pack_one(struct packer *k, const struct schema_field *f, const ProtobufCMessage *m)
{
	const void *slot = field_at(m, f);

	if (!field_is_set(f, m))
		return;
	if (f->type != PROTOBUF_C_TYPE_MESSAGE) {
		if ((f->flags & SCHEMA_POINTER) || !field_is_zero(f, slot))
			pack_value(k, f, slot);
		return;
	}
	/* An empty message is the same as none where Go has a struct; a zero time always is. */
	size_t before = (size_t)(k->end - k->p);
	pack_content(k, f, *(ProtobufCMessage *const *)slot);
	size_t len = (size_t)(k->end - k->p) - before;
	bool is_time =
		f->message->form == SCHEMA_FORM_TIME || f->message->form == SCHEMA_FORM_MICROTIME;
	if (len == 0 && (is_time || !(f->flags & SCHEMA_POINTER)))
		return;
	put_varint(k, len);
	put_tag(k, f->number, WIRE_BYTES);
}

static void pack_fields(struct packer *k, const struct schema *s, const ProtobufCMessage *m)
{
	for (size_t i = s->n_fields; i-- > 0;) {
		const struct schema_field *f = &s->fields[i];

		if (f->label == SCHEMA_ONE)
			pack_one(k, f, m);
		else if (*field_count(m, f) == 0)
			continue;
		else if (f->label == SCHEMA_LIST)
			pack_list(k, f, MEMBER(char *, m, f->offset),
				  *field_count(m, f));
		else
			pack_map(k, f, MEMBER(struct any_entry **, m, f->offset),
				 *field_count(m, f));
	}
}

static void pack_root(struct packer *k, const ProtobufCMessage *m)
{
	const struct schema *s = schema_of(m->descriptor);
	const struct schema_field root = { .message = s, .type = PROTOBUF_C_TYPE_MESSAGE };

	if (s == NULL)
		abort();
	pack_content(k, &root, m);
}

void pack_message(struct buf *out, const void *message)
{
	uint8_t small[4096];
	struct packer k = { small, small + sizeof(small), small + sizeof(small), false };

	pack_root(&k, message);
	buf_put(out, k.p, (size_t)(k.end - k.p));
	if (k.heap)
		free(k.start);
}

struct bytes pack_message_in(struct arena *a, const void *message)
{
	uint8_t small[4096];
	struct packer k = { small, small + sizeof(small), small + sizeof(small), false };

	pack_root(&k, message);
	size_t len = (size_t)(k.end - k.p);
	struct bytes packed = bytes_of(arena_memdup(a, k.p, len), len);
	if (k.heap)
		free(k.start);
	return packed;
}
