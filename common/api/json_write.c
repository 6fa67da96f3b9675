#include <stdlib.h>

#include "common/api/fields_of.h"
#include "common/api/json_out.h"
#include "proto/k8s/apiextensions_v1.pb-c.h"
#include "proto/k8s/intstr.pb-c.h"
#include "proto/k8s/meta_v1.pb-c.h"
#include "proto/k8s/resource.pb-c.h"
#include "proto/k8s/runtime.pb-c.h"

/* Messages to JSON. The output is byte for byte what json_packed.c makes of the
 * message's canonical bytes, so both follow one rule: a field appears when its
 * canonical form has it, or when it is one that always appears. */

static void put_message(struct buf *out, const struct schema *s, const ProtobufCMessage *m);

static void put_text(struct buf *out, const char *text)
{
	json_put_string(out, text ? text : "", text ? strlen(text) : 0);
}

static void put_raw(struct buf *out, const Runtime__RawExtension *raw)
{
	if (raw->raw.len == 0)
		json_raw(out, "null", 4);
	else
		json_raw(out, (const char *)raw->raw.data, raw->raw.len);
}

static void put_strings(struct buf *out, char *const *items, size_t n)
{
	json_byte(out, '[');
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			json_byte(out, ',');
		put_text(out, items[i]);
	}
	json_byte(out, ']');
}

static void put_schema(struct buf *out, const ApiextensionsV1__JSONSchemaProps *m)
{
	put_message(out, schema_of(&apiextensions_v1__jsonschema_props__descriptor), &m->base);
}

static void put_schema_or_array(struct buf *out, const ApiextensionsV1__JSONSchemaPropsOrArray *v)
{
	if (v->schema != NULL) {
		put_schema(out, v->schema);
		return;
	}
	if (v->n_jsonschemas == 0) {
		json_raw(out, "null", 4);
		return;
	}
	json_byte(out, '[');
	for (size_t i = 0; i < v->n_jsonschemas; i++) {
		if (i > 0)
			json_byte(out, ',');
		put_schema(out, v->jsonschemas[i]);
	}
	json_byte(out, ']');
}

static void put_time(struct buf *out, const MetaV1__Time *t, bool micro)
{
	if (t->seconds == 0 && (!micro || t->nanos / 1000 == 0))
		json_raw(out, "null", 4);
	else if (micro)
		json_put_microtime(out, t->seconds, t->nanos);
	else
		json_put_time(out, t->seconds);
}

static void put_form(struct buf *out, const struct schema *s, const ProtobufCMessage *m)
{
	const Intstr__IntOrString *number = (const Intstr__IntOrString *)m;
	const Resource__Quantity *quantity = (const Resource__Quantity *)m;
	const MetaV1__Verbs *items = (const MetaV1__Verbs *)m;
	const ApiextensionsV1__JSONSchemaPropsOrBool *or_bool =
		(const ApiextensionsV1__JSONSchemaPropsOrBool *)m;
	const ApiextensionsV1__JSONSchemaPropsOrStringArray *or_strings =
		(const ApiextensionsV1__JSONSchemaPropsOrStringArray *)m;

	switch ((enum schema_form)s->form) {
	case SCHEMA_FORM_TIME:
	case SCHEMA_FORM_MICROTIME:
		put_time(out, (const MetaV1__Time *)m, s->form == SCHEMA_FORM_MICROTIME);
		break;
	case SCHEMA_FORM_DURATION:
		json_put_duration(out, ((const MetaV1__Duration *)m)->duration);
		break;
	case SCHEMA_FORM_QUANTITY:
		put_text(out, quantity->string && *quantity->string ? quantity->string : "0");
		break;
	case SCHEMA_FORM_INT_OR_STRING:
		if (number->type != 0)
			put_text(out, number->strval);
		else
			json_put_int(out, number->intval);
		break;
	case SCHEMA_FORM_RAW_JSON:
	case SCHEMA_FORM_RAW_OBJECT:
		put_raw(out, (const Runtime__RawExtension *)m);
		break;
	case SCHEMA_FORM_ITEMS:
		put_strings(out, items->items, items->n_items);
		break;
	case SCHEMA_FORM_SCHEMA_OR_ARRAY:
		put_schema_or_array(out, (const ApiextensionsV1__JSONSchemaPropsOrArray *)m);
		break;
	case SCHEMA_FORM_SCHEMA_OR_BOOL:
		if (or_bool->schema != NULL)
			put_schema(out, or_bool->schema);
		else
			json_raw(out, or_bool->allows ? "true" : "false", or_bool->allows ? 4 : 5);
		break;
	case SCHEMA_FORM_SCHEMA_OR_STRINGS:
		if (or_strings->schema != NULL)
			put_schema(out, or_strings->schema);
		else if (or_strings->n_property > 0)
			put_strings(out, or_strings->property, or_strings->n_property);
		else
			json_raw(out, "null", 4);
		break;
	case SCHEMA_FORM_OBJECT:
	case SCHEMA_FORM_ENTRY:
		abort();
	}
}

static void put_value(struct buf *out, const struct schema_field *f, const void *slot)
{
	const ProtobufCBinaryData *bytes;

	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING:
		put_text(out, *(char *const *)slot);
		break;
	case PROTOBUF_C_TYPE_MESSAGE:
		put_message(out, f->message, *(ProtobufCMessage *const *)slot);
		break;
	case PROTOBUF_C_TYPE_BOOL:
		if (*(const protobuf_c_boolean *)slot)
			json_raw(out, "true", 4);
		else
			json_raw(out, "false", 5);
		break;
	case PROTOBUF_C_TYPE_INT32:
		json_put_int(out, *(const int32_t *)slot);
		break;
	case PROTOBUF_C_TYPE_INT64:
		json_put_int(out, *(const int64_t *)slot);
		break;
	case PROTOBUF_C_TYPE_DOUBLE:
		json_put_double(out, *(const double *)slot);
		break;
	case PROTOBUF_C_TYPE_BYTES:
		bytes = slot;
		json_put_base64(out, bytes->data, bytes->len);
		break;
	default:
		abort();
	}
}

static void put_list(struct buf *out, const struct schema_field *f, const ProtobufCMessage *m)
{
	const char *items = MEMBER(char *, m, f->offset);
	size_t n = *field_count(m, f), size = field_element_size(f);

	json_byte(out, '[');
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			json_byte(out, ',');
		put_value(out, f, items + i * size);
	}
	json_byte(out, ']');
}

static void put_map(struct buf *out, const struct schema_field *f, const ProtobufCMessage *m)
{
	struct any_entry **entries = MEMBER(struct any_entry **, m, f->offset);
	const struct schema_field *value = &f->message->fields[1];
	size_t n = *field_count(m, f);
	struct arena a;

	arena_init(&a, 0);
	entries = arena_memdup(&a, entries, n * sizeof(*entries));
	n = map_entries_sort(entries, n, NULL, NULL);
	json_byte(out, '{');
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			json_byte(out, ',');
		put_text(out, entries[i]->key);
		json_byte(out, ':');
		put_value(out, value, field_at(entries[i], value));
	}
	json_byte(out, '}');
	arena_fini(&a);
}

static bool time_is_zero(const struct schema_field *f, const void *slot)
{
	const MetaV1__Time *t = *(MetaV1__Time *const *)slot;

	return (f->message->form == SCHEMA_FORM_TIME && t->seconds == 0) ||
	       (f->message->form == SCHEMA_FORM_MICROTIME && t->seconds == 0 &&
		t->nanos / 1000 == 0);
}

/* Whether the canonical form has it. */
static bool appears(const struct schema_field *f, const ProtobufCMessage *m)
{
	const void *slot = field_at(m, f);

	if (f->label != SCHEMA_ONE)
		return *field_count(m, f) > 0;
	if (!field_is_set(f, m))
		return false;
	if (f->type == PROTOBUF_C_TYPE_MESSAGE)
		return !time_is_zero(f, slot);
	return (f->flags & SCHEMA_POINTER) || !field_is_zero(f, slot);
}

static void put_fields(struct buf *out, const struct schema *s, const ProtobufCMessage *m,
		       bool *first, const struct json_revision *revision,
		       const struct json_head *head);

static void put_field(struct buf *out, const struct schema_field *f, const ProtobufCMessage *m,
		      bool *first, const struct json_head *head)
{
	const struct json_revision none = { 0 };
	struct json_revision inside = json_revision_of(f, head);

	if (f->flags & SCHEMA_INLINE) {
		put_fields(out, f->message, MEMBER(ProtobufCMessage *, m, f->offset),
			   first, &none, NULL);
		return;
	}
	json_key(out, f, first);
	if (inside.field != NULL) {
		bool inside_first = true;

		json_byte(out, '{');
		put_fields(out, f->message, MEMBER(ProtobufCMessage *, m, f->offset),
			   &inside_first, &inside, NULL);
		json_byte(out, '}');
	} else if (f->label == SCHEMA_MAP) {
		put_map(out, f, m);
	} else if (f->label == SCHEMA_LIST) {
		put_list(out, f, m);
	} else {
		put_value(out, f, field_at(m, f));
	}
}

static void put_fields(struct buf *out, const struct schema *s, const ProtobufCMessage *m,
		       bool *first, const struct json_revision *revision,
		       const struct json_head *head)
{
	for (size_t i = 0; i < s->n_fields; i++) {
		const struct schema_field *f = &s->fields[i];

		if (f == revision->field) {
			json_put_revision(out, revision, first);
		} else if (appears(f, m)) {
			put_field(out, f, m, first, head);
		} else if ((s->always_mask | s->inline_mask) >> i & 1) {
			struct json_revision inside = json_revision_of(f, head);
			bool inside_first = true;

			if (inside.field == NULL) {
				json_put_missing(out, s, f, first);
				continue;
			}
			json_key(out, f, first);
			json_byte(out, '{');
			json_put_empty(out, f->message, &inside_first, &inside);
			json_byte(out, '}');
		}
	}
}

static void put_message(struct buf *out, const struct schema *s, const ProtobufCMessage *m)
{
	const struct json_revision none = { 0 };
	bool first = true;

	if (s->form != SCHEMA_FORM_OBJECT) {
		put_form(out, s, m);
		return;
	}
	json_byte(out, '{');
	put_fields(out, s, m, &first, &none, NULL);
	json_byte(out, '}');
}

void json_put_message(struct buf *out, const void *message, const struct json_head *head)
{
	const ProtobufCMessage *m = message;
	const struct schema *s = schema_of(m->descriptor);
	const struct json_revision none = { 0 };
	bool first;

	if (s == NULL)
		abort();
	if (s->form != SCHEMA_FORM_OBJECT) {
		put_form(out, s, m);
		return;
	}
	json_open_object(out, head, &first);
	put_fields(out, s, m, &first, &none, head);
	json_byte(out, '}');
}
