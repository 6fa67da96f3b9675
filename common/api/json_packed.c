#include <errno.h>
#include <stdlib.h>

#include "common/api/fields_of.h"
#include "common/api/json_out.h"
#include "common/api/pack.h"
#include "common/api/wire.h"
#include "proto/k8s/apiextensions_v1.pb-c.h"

/* Stored bytes to JSON over the schema alone. Canonical bytes have their fields
 * in order and the elements of a list side by side, so one pass suffices: a list
 * is opened at its first element and closed before the next field. Fields that
 * are always printed are filled in on the way, when a later one is met.
 *
 * The wire type is compared with the field's type everywhere: taking a number
 * for a length was a real bug once. */

static bool put_fields(struct buf *out, const struct schema *s, struct wire w, bool *first,
		       const struct json_revision *revision, const struct json_head *head,
		       int depth);
static bool put_message(struct buf *out, const struct schema *s, struct wire w, int depth);

/* The last field of this number inside w; *ret is untouched when there is none. */
static bool find(struct wire w, unsigned number, enum wire_type type, struct wire_field *ret)
{
	struct wire_field f;

	while (w.p < w.end) {
		if (!wire_next(&w, &f))
			return false;
		if (f.number != number)
			continue;
		if (f.type != type)
			return false;
		*ret = f;
	}
	return true;
}

static void put_bytes_as_string(struct buf *out, const struct wire_field *f)
{
	json_put_string(out, (const char *)f->data, f->value);
}

static bool put_time(struct buf *out, struct wire w, bool micro)
{
	struct wire_field seconds = { 0 }, nanos = { 0 };

	if (!find(w, 1, WIRE_VARINT, &seconds) || !find(w, 2, WIRE_VARINT, &nanos))
		return false;
	if (seconds.value == 0 && (!micro || (int32_t)nanos.value / 1000 == 0))
		json_raw(out, "null", 4);
	else if (micro)
		json_put_microtime(out, (int64_t)seconds.value, (int32_t)nanos.value);
	else
		json_put_time(out, (int64_t)seconds.value);
	return true;
}

static bool put_int_or_string(struct buf *out, struct wire w)
{
	struct wire_field type = { 0 }, number = { 0 }, text = { .data = (const uint8_t *)"" };

	if (!find(w, 1, WIRE_VARINT, &type) || !find(w, 2, WIRE_VARINT, &number) ||
	    !find(w, 3, WIRE_BYTES, &text))
		return false;
	if (type.value != 0)
		put_bytes_as_string(out, &text);
	else
		json_put_int(out, (int32_t)number.value);
	return true;
}

static bool put_quantity(struct buf *out, struct wire w)
{
	struct wire_field text = { 0 };

	if (!find(w, 1, WIRE_BYTES, &text))
		return false;
	if (text.value == 0)
		json_raw(out, "\"0\"", 3);
	else
		put_bytes_as_string(out, &text);
	return true;
}

static bool put_duration(struct buf *out, struct wire w)
{
	struct wire_field ns = { 0 };

	if (!find(w, 1, WIRE_VARINT, &ns))
		return false;
	json_put_duration(out, (int64_t)ns.value);
	return true;
}

static bool put_raw(struct buf *out, struct wire w)
{
	struct wire_field raw = { 0 };

	if (!find(w, 1, WIRE_BYTES, &raw))
		return false;
	if (raw.value == 0)
		json_raw(out, "null", 4);
	else
		json_raw(out, (const char *)raw.data, raw.value);
	return true;
}

/* The strings of field number, as an array; null when there are none and empty says so. */
static bool put_strings(struct buf *out, struct wire w, unsigned number, bool null_when_empty)
{
	struct wire_field f;
	char before = '[';

	while (w.p < w.end) {
		if (!wire_next(&w, &f))
			return false;
		if (f.number != number)
			continue;
		if (f.type != WIRE_BYTES)
			return false;
		json_byte(out, before);
		before = ',';
		put_bytes_as_string(out, &f);
	}
	if (before == '[' && null_when_empty)
		json_raw(out, "null", 4);
	else if (before == '[')
		json_raw(out, "[]", 2);
	else
		json_byte(out, ']');
	return true;
}

static const struct schema *props(void)
{
	return schema_of(&apiextensions_v1__jsonschema_props__descriptor);
}

static bool put_schema_or_array(struct buf *out, struct wire w, int depth)
{
	struct wire_field f = { 0 };
	char before = '[';

	if (!find(w, 1, WIRE_BYTES, &f))
		return false;
	if (f.data != NULL)
		return put_message(out, props(), wire_inside(&f), depth + 1);
	while (w.p < w.end) {
		if (!wire_next(&w, &f))
			return false;
		if (f.number != 2)
			continue;
		if (f.type != WIRE_BYTES)
			return false;
		json_byte(out, before);
		before = ',';
		if (!put_message(out, props(), wire_inside(&f), depth + 1))
			return false;
	}
	if (before == '[')
		json_raw(out, "null", 4);
	else
		json_byte(out, ']');
	return true;
}

static bool put_schema_or_bool(struct buf *out, struct wire w, int depth)
{
	struct wire_field allows = { 0 }, inner = { 0 };

	if (!find(w, 1, WIRE_VARINT, &allows) || !find(w, 2, WIRE_BYTES, &inner))
		return false;
	if (inner.data != NULL)
		return put_message(out, props(), wire_inside(&inner), depth + 1);
	json_raw(out, allows.value ? "true" : "false", allows.value ? 4 : 5);
	return true;
}

static bool put_schema_or_strings(struct buf *out, struct wire w, int depth)
{
	struct wire_field inner = { 0 };

	if (!find(w, 1, WIRE_BYTES, &inner))
		return false;
	if (inner.data != NULL)
		return put_message(out, props(), wire_inside(&inner), depth + 1);
	return put_strings(out, w, 2, true);
}

static bool put_form(struct buf *out, const struct schema *s, struct wire w, int depth)
{
	switch ((enum schema_form)s->form) {
	case SCHEMA_FORM_TIME:
	case SCHEMA_FORM_MICROTIME:
		return put_time(out, w, s->form == SCHEMA_FORM_MICROTIME);
	case SCHEMA_FORM_DURATION:
		return put_duration(out, w);
	case SCHEMA_FORM_QUANTITY:
		return put_quantity(out, w);
	case SCHEMA_FORM_INT_OR_STRING:
		return put_int_or_string(out, w);
	case SCHEMA_FORM_RAW_JSON:
	case SCHEMA_FORM_RAW_OBJECT:
		return put_raw(out, w);
	case SCHEMA_FORM_ITEMS:
		return put_strings(out, w, 1, false);
	case SCHEMA_FORM_SCHEMA_OR_ARRAY:
		return put_schema_or_array(out, w, depth);
	case SCHEMA_FORM_SCHEMA_OR_BOOL:
		return put_schema_or_bool(out, w, depth);
	case SCHEMA_FORM_SCHEMA_OR_STRINGS:
		return put_schema_or_strings(out, w, depth);
	case SCHEMA_FORM_OBJECT:
	case SCHEMA_FORM_ENTRY:
		break;
	}
	return false;
}

static inline bool put_value(struct buf *out, const struct schema_field *f,
			     const struct wire_field *in, int depth)
{
	double number;

	if (in->type != wire_type_of(f->type))
		return false;
	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING:
		put_bytes_as_string(out, in);
		return true;
	case PROTOBUF_C_TYPE_MESSAGE:
		return put_message(out, f->message, wire_inside(in), depth + 1);
	case PROTOBUF_C_TYPE_BOOL:
		if (in->value)
			json_raw(out, "true", 4);
		else
			json_raw(out, "false", 5);
		return true;
	case PROTOBUF_C_TYPE_INT32:
		json_put_int(out, (int32_t)in->value);
		return true;
	case PROTOBUF_C_TYPE_INT64:
		json_put_int(out, (int64_t)in->value);
		return true;
	case PROTOBUF_C_TYPE_DOUBLE:
		memcpy(&number, &in->value, sizeof(number));
		json_put_double(out, number);
		return true;
	case PROTOBUF_C_TYPE_BYTES:
		json_put_base64(out, in->data, in->value);
		return true;
	default:
		return false;
	}
}

static bool put_entry(struct buf *out, const struct schema_field *f, const struct wire_field *in,
		      int depth)
{
	const struct schema_field *value = &f->message->fields[1];
	struct wire_field k = { .data = (const uint8_t *)"" };
	struct wire_field v = { .data = (const uint8_t *)"",
				.type = (uint8_t)wire_type_of(value->type) };

	if (in->type != WIRE_BYTES || !find(wire_inside(in), 1, WIRE_BYTES, &k) ||
	    !find(wire_inside(in), 2, wire_type_of(value->type), &v))
		return false;
	put_bytes_as_string(out, &k);
	json_byte(out, ':');
	return put_value(out, value, &v, depth);
}

static bool put_metadata(struct buf *out, const struct schema_field *f, const struct wire_field *in,
			 const struct json_revision *revision, int depth)
{
	bool first = true;

	if (in->type != WIRE_BYTES)
		return false;
	json_byte(out, '{');
	if (!put_fields(out, f->message, wire_inside(in), &first, revision, NULL, depth + 1))
		return false;
	json_byte(out, '}');
	return true;
}

/* A singular field. */
static bool put_one(struct buf *out, const struct schema_field *f, const struct wire_field *in,
		    bool *first, const struct json_head *head, int depth)
{
	const struct json_revision none = { 0 };

	if (f->flags & SCHEMA_INLINE)
		return in->type == WIRE_BYTES &&
		       put_fields(out, f->message, wire_inside(in), first, &none, NULL, depth + 1);
	json_key(out, f, first);
	if (head != NULL) {
		struct json_revision inside = json_revision_of(f, head);

		if (inside.field != NULL)
			return put_metadata(out, f, in, &inside, depth);
	}
	return put_value(out, f, in, depth);
}

/* Print what is always printed among the fields in mask. */
static void put_gap(struct buf *out, const struct schema *s, uint64_t mask, bool *first,
		    const struct json_revision *revision, const struct json_head *head)
{
	for (; mask != 0; mask &= mask - 1) {
		const struct schema_field *f = &s->fields[__builtin_ctzll(mask)];
		struct json_revision inside = json_revision_of(f, head);
		bool inside_first = true;

		if (f == revision->field) {
			json_put_revision(out, revision, first);
		} else if (inside.field != NULL) {
			json_key(out, f, first);
			json_byte(out, '{');
			json_put_empty(out, f->message, &inside_first, &inside);
			json_byte(out, '}');
		} else {
			json_put_missing(out, s, f, first);
		}
	}
}

static bool put_fields(struct buf *out, const struct schema *s, struct wire w, bool *first,
		       const struct json_revision *revision, const struct json_head *head,
		       int depth)
{
	uint64_t gaps = s->always_mask | s->inline_mask;
	const struct schema_field *open = NULL, *last = NULL;
	struct wire_field in;

	if (depth > PACKED_DEPTH_MAX)
		return false;
	if (revision->field != NULL)
		gaps |= 1ull << (revision->field - s->fields);
	while (w.p < w.end) {
		if (!wire_next(&w, &in))
			return false;
		const struct schema_field *f = schema_by_number(s, in.number);
		if (f == NULL)
			continue;
		bool again = f == open;
		if (open != NULL && !again) {
			json_byte(out, open->label == SCHEMA_MAP ? '}' : ']');
			open = NULL;
		}
		if (last != NULL && (f < last || (f == last && !again)))
			return false; /* Not canonical. */
		last = f;
		if (f == revision->field)
			continue; /* Printed with the gaps. */
		uint64_t bit = 1ull << (f - s->fields), before = gaps & (bit - 1);
		if (before != 0)
			put_gap(out, s, before, first, revision, head);
		gaps &= ~(before | bit);
		if (f->label == SCHEMA_ONE) {
			if (!put_one(out, f, &in, first, head, depth))
				return false;
			continue;
		}
		if (again) {
			json_byte(out, ',');
		} else {
			json_key(out, f, first);
			json_byte(out, f->label == SCHEMA_MAP ? '{' : '[');
			open = f;
		}
		if (f->label == SCHEMA_MAP ? !put_entry(out, f, &in, depth)
					   : !put_value(out, f, &in, depth))
			return false;
	}
	if (open != NULL)
		json_byte(out, open->label == SCHEMA_MAP ? '}' : ']');
	if (gaps != 0)
		put_gap(out, s, gaps, first, revision, head);
	return true;
}

static bool put_message(struct buf *out, const struct schema *s, struct wire w, int depth)
{
	const struct json_revision none = { 0 };
	bool first = true;

	if (s->form != SCHEMA_FORM_OBJECT)
		return depth <= PACKED_DEPTH_MAX && put_form(out, s, w, depth);
	json_byte(out, '{');
	if (!put_fields(out, s, w, &first, &none, NULL, depth))
		return false;
	json_byte(out, '}');
	return true;
}

int json_put_packed(struct buf *out, const ProtobufCMessageDescriptor *descriptor,
		    struct bytes packed, const struct json_head *head)
{
	const struct schema *s = schema_of(descriptor);
	const uint8_t *start = packed.len > 0 ? packed.data : (const uint8_t *)"";
	struct wire w = { start, start + packed.len };
	const struct json_revision none = { 0 };
	bool first;

	if (s == NULL)
		abort();
	if (s->form != SCHEMA_FORM_OBJECT)
		return put_form(out, s, w, 0) ? 0 : -EBADMSG;
	json_open_object(out, head, &first);
	if (!put_fields(out, s, w, &first, &none, head, 0))
		return -EBADMSG;
	json_byte(out, '}');
	return 0;
}
