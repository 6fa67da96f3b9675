#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/envelope.h"
#include "common/api/fields_of.h"
#include "common/api/json.h"
#include "common/api/json_scan.h"
#include "common/api/kinds.h"
#include "common/api/pack.h"
#include "common/api/quantity.h"
#include "common/api/utf8.h"
#include "common/api/wire.h"
#include "common/base/cleanup.h"
#include "proto/k8s/resource.pb-c.h"
#include "proto/k8s/runtime.pb-c.h"

/* A reader of our own instead of protobuf_c_message_unpack(): that one has no
 * limit of depth, takes any bytes as a string, and scans every message twice. */

#define NESTING_MAX 4

struct unpacker {
	struct arena *arena;
	bool trusted;
	int nesting; /* Objects in envelopes inside objects. */
	int rc;
	const char *error;
};

static bool fail(struct unpacker *u, int rc, const char *error)
{
	u->rc = rc;
	u->error = error;
	return false;
}

static bool out_of_memory(struct unpacker *u)
{
	return fail(u, -EFBIG, "the request needs too much memory to be read");
}

static bool unpack_fields(struct unpacker *u, const struct schema *s, ProtobufCMessage *m,
			  struct wire w, int depth);
static int unpack(struct unpacker *u, const ProtobufCMessageDescriptor *descriptor,
		  struct bytes packed, ProtobufCMessage **ret);

static bool unpack_string(struct unpacker *u, const struct wire_field *in, char **slot)
{
	char *text = arena_try_alloc(u->arena, in->value + 1);

	if (text == NULL)
		return out_of_memory(u);
	if (!u->trusted && !utf8_is_text(in->data, in->value))
		return fail(u, -EBADMSG, "a string is not UTF-8 or contains a NUL");
	memcpy(text, in->data, in->value);
	text[in->value] = '\0';
	*slot = text;
	return true;
}

static bool set_bytes(struct unpacker *u, const void *data, size_t n, ProtobufCBinaryData *slot)
{
	slot->data = arena_try_alloc(u->arena, n);
	if (slot->data == NULL)
		return out_of_memory(u);
	if (n > 0)
		memcpy(slot->data, data, n);
	slot->len = n;
	return true;
}

static bool check_quantity(struct unpacker *u, Resource__Quantity *q)
{
	char canonical[QUANTITY_TEXT_MAX];
	struct quantity value;

	if (q->string == NULL)
		return true;
	if (quantity_parse(bytes_str(q->string), &value) < 0)
		return fail(u, -EBADMSG,
			    "quantities must match the regular expression "
			    "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
	size_t n = quantity_print(&value, canonical);
	if (strcmp(canonical, q->string) != 0) {
		q->string = arena_try_alloc(u->arena, n + 1);
		if (q->string == NULL)
			return out_of_memory(u);
		memcpy(q->string, canonical, n + 1);
	}
	return true;
}

/* An object in the k8s envelope inside a RawExtension: kept as its JSON. */
static bool envelope_to_json(struct unpacker *u, ProtobufCBinaryData *raw)
{
	struct unpacker inner = { .arena = u->arena, .nesting = u->nesting + 1 };
	struct envelope in;
	ProtobufCMessage *m;
	auto_with(buf_fini) struct buf json = { 0 };

	int rc = envelope_open(bytes_of(raw->data, raw->len), u->arena, &in, NULL);
	const struct kind *kind = rc == 0 ? kind_of_type(in.api_version, in.kind) : NULL;
	if (kind == NULL || inner.nesting > NESTING_MAX)
		return fail(u, -EBADMSG, "an embedded object cannot be read");
	if (unpack(&inner, kind->descriptor, in.raw, &m) < 0)
		return fail(u, inner.rc, inner.error);
	json_put_message(&json, m,
			 &(struct json_head){ .api_version = in.api_version, .kind = in.kind });
	return set_bytes(u, json.data, json.len, raw);
}

static bool check_raw(struct unpacker *u, const struct schema *s, Runtime__RawExtension *m)
{
	auto_with(buf_fini) struct buf text = { 0 };
	struct json_scan scan;

	if (m->raw.len == 0)
		return true;
	if (s->form == SCHEMA_FORM_RAW_OBJECT && envelope_is(bytes_of(m->raw.data, m->raw.len)))
		return envelope_to_json(u, &m->raw);
	json_scan_init(&scan, bytes_of(m->raw.data, m->raw.len), u->arena);
	if (!json_copy(&scan, &text) || !json_scan_end(&scan))
		return fail(u, scan.rc, "embedded JSON cannot be read");
	return set_bytes(u, text.data, text.len, &m->raw);
}

static bool unpack_message_at(struct unpacker *u, const struct schema *s,
			      const struct wire_field *in, ProtobufCMessage **slot, int depth)
{
	if (*slot == NULL)
		*slot = message_try_new(s->descriptor, u->arena);
	if (*slot == NULL)
		return out_of_memory(u);
	if (!unpack_fields(u, s, *slot, wire_inside(in), depth + 1))
		return false;
	if (u->trusted)
		return true;
	if (s->form == SCHEMA_FORM_QUANTITY)
		return check_quantity(u, (Resource__Quantity *)*slot);
	if (s->form == SCHEMA_FORM_RAW_JSON || s->form == SCHEMA_FORM_RAW_OBJECT)
		return check_raw(u, s, (Runtime__RawExtension *)*slot);
	return true;
}

static bool unpack_value(struct unpacker *u, const struct schema_field *f,
			 const struct wire_field *in, void *slot, int depth)
{
	if (in->type != wire_type_of(f->type))
		return fail(u, -EBADMSG, "a field has the wrong wire type");
	switch (f->type) {
	case PROTOBUF_C_TYPE_MESSAGE:
		return unpack_message_at(u, f->message, in, slot, depth);
	case PROTOBUF_C_TYPE_STRING:
		return unpack_string(u, in, slot);
	case PROTOBUF_C_TYPE_BYTES:
		return set_bytes(u, in->data, in->value, slot);
	case PROTOBUF_C_TYPE_INT32:
		*(int32_t *)slot = (int32_t)in->value;
		return true;
	case PROTOBUF_C_TYPE_BOOL:
		*(protobuf_c_boolean *)slot = in->value != 0;
		return true;
	default:
		memcpy(slot, &in->value, 8);
		return true;
	}
}

static bool unpack_element(struct unpacker *u, const struct schema_field *f,
			   const struct wire_field *in, ProtobufCMessage *m, int depth)
{
	void **array = &MEMBER(void *, m, f->offset);
	size_t *n = field_count(m, f), size = field_element_size(f);

	if (!field_grow(u->arena, array, *n, size))
		return out_of_memory(u);
	void *slot = (char *)*array + *n * size;
	memset(slot, 0, size);
	if (!unpack_value(u, f, in, slot, depth))
		return false;
	(*n)++;
	return true;
}

/* Repeated numbers may come packed into one field. */
static bool unpack_packed(struct unpacker *u, const struct schema_field *f,
			  const struct wire_field *in, ProtobufCMessage *m)
{
	struct wire w = wire_inside(in);
	struct wire_field one = { .type = (uint8_t)wire_type_of(f->type) };

	while (w.p < w.end) {
		if (one.type == WIRE_FIXED64) {
			if (w.end - w.p < 8)
				return fail(u, -EBADMSG, "a packed list is cut off");
			memcpy(&one.value, w.p, 8);
			w.p += 8;
		} else if (!wire_varint(&w, &one.value)) {
			return fail(u, -EBADMSG, "a packed list is cut off");
		}
		if (!unpack_element(u, f, &one, m, 0))
			return false;
	}
	return true;
}

static bool unpack_entry(struct unpacker *u, const struct schema_field *f,
			 const struct wire_field *in, ProtobufCMessage *m, int depth)
{
	static char empty[1] = "";
	const struct schema_field *value = &f->message->fields[1];

	if (!unpack_element(u, f, in, m, depth))
		return false;
	ProtobufCMessage *entry = MEMBER(ProtobufCMessage **, m, f->offset)[*field_count(m, f) - 1];
	if (((struct any_entry *)entry)->key == NULL)
		((struct any_entry *)entry)->key = empty;
	void **slot = field_at(entry, value);
	if (value->type == PROTOBUF_C_TYPE_STRING && *slot == NULL)
		*slot = empty;
	if (value->type == PROTOBUF_C_TYPE_MESSAGE && *slot == NULL)
		*slot = message_try_new(value->message->descriptor, u->arena);
	if (!field_has_pointer(value))
		MEMBER(protobuf_c_boolean, entry, value->quantifier_offset) = 1;
	else if (*slot == NULL)
		return out_of_memory(u);
	return true;
}

static bool unpack_field(struct unpacker *u, const struct schema_field *f,
			 const struct wire_field *in, ProtobufCMessage *m, int depth)
{
	if (f->label == SCHEMA_MAP)
		return unpack_entry(u, f, in, m, depth);
	if (f->label == SCHEMA_LIST)
		return in->type == WIRE_BYTES && wire_type_of(f->type) != WIRE_BYTES
			       ? unpack_packed(u, f, in, m)
			       : unpack_element(u, f, in, m, depth);
	if (!unpack_value(u, f, in, field_at(m, f), depth))
		return false;
	if (!field_has_pointer(f))
		MEMBER(protobuf_c_boolean, m, f->quantifier_offset) = 1;
	return true;
}

static bool unpack_fields(struct unpacker *u, const struct schema *s, ProtobufCMessage *m,
			  struct wire w, int depth)
{
	struct wire_field in = { 0 };
	uint64_t maps = 0;

	if (depth > PACKED_DEPTH_MAX)
		return fail(u, -EBADMSG, "messages are nested too deeply");
	while (w.p < w.end) {
		if (!wire_next(&w, &in))
			return fail(u, -EBADMSG, "the encoding is broken");
		const struct schema_field *f = schema_by_number(s, in.number);
		if (f == NULL)
			continue;
		if (!unpack_field(u, f, &in, m, depth))
			return false;
		if (f->label == SCHEMA_MAP)
			maps |= 1ull << (f - s->fields);
	}
	for (; maps != 0; maps &= maps - 1) {
		const struct schema_field *f = &s->fields[__builtin_ctzll(maps)];
		size_t *n = field_count(m, f);

		*n = map_entries_sort(MEMBER(struct any_entry **, m, f->offset), *n, NULL, NULL);
	}
	return true;
}

static int unpack(struct unpacker *u, const ProtobufCMessageDescriptor *descriptor,
		  struct bytes packed, ProtobufCMessage **ret)
{
	const struct schema *s = schema_of(descriptor);
	const struct wire_field root = {
		.type = WIRE_BYTES,
		.data = packed.len > 0 ? packed.data : (const uint8_t *)"",
		.value = packed.len,
	};

	if (s == NULL)
		abort();
	*ret = NULL;
	return unpack_message_at(u, s, &root, ret, -1) ? 0 : u->rc;
}

int unpack_message(const ProtobufCMessageDescriptor *descriptor, struct bytes packed,
		   struct arena *a, void *ret_message, struct status *st)
{
	struct unpacker u = { .arena = a };
	ProtobufCMessage *m;

	if (unpack(&u, descriptor, packed, &m) < 0)
		return status_set(st, u.rc, "%s cannot be read from protobuf: %s",
				  descriptor->short_name, u.error);
	*(ProtobufCMessage **)ret_message = m;
	return 0;
}

void *unpack_stored(const ProtobufCMessageDescriptor *descriptor, struct bytes packed,
		    struct arena *a)
{
	struct unpacker u = { .arena = a, .trusted = true };
	ProtobufCMessage *m;

	if (unpack(&u, descriptor, packed, &m) < 0)
		abort();
	return m;
}

int pack_normalise(struct buf *out, const ProtobufCMessageDescriptor *descriptor,
		   struct bytes packed, struct arena *a, struct status *st)
{
	ProtobufCMessage *m;
	int rc = unpack_message(descriptor, packed, a, &m, st);

	if (rc == 0)
		pack_message(out, m);
	return rc;
}
