#include "tests/unit/api/fill.h"

#include <stdio.h>
#include <string.h>

#include "common/api/fields_of.h"
#include "proto/k8s/apiextensions_v1.pb-c.h"
#include "proto/k8s/intstr.pb-c.h"
#include "proto/k8s/resource.pb-c.h"
#include "proto/k8s/runtime.pb-c.h"

#define DEPTH_MAX 14
#define SCHEMA_LEVELS 3

struct filler {
	struct arena *arena;
	int counter, depth, schemas;
};

static ProtobufCMessage *fill(struct filler *f, const struct schema *s);

static void fill_form(struct filler *f, const struct schema *s, ProtobufCMessage *m)
{
	static const char *const quantities[] = { "100m", "128Mi", "3", "1500m", "2e3", "10k" };
	MetaV1__Time *t = (MetaV1__Time *)m;
	Intstr__IntOrString *v = (Intstr__IntOrString *)m;
	Runtime__RawExtension *raw = (Runtime__RawExtension *)m;
	int n = f->counter++;

	switch ((enum schema_form)s->form) {
	case SCHEMA_FORM_TIME:
	case SCHEMA_FORM_MICROTIME:
		t->has_seconds = t->has_nanos = 1;
		t->seconds = 1700000000 + n;
		t->nanos = s->form == SCHEMA_FORM_MICROTIME ? 123456000 : 0;
		break;
	case SCHEMA_FORM_DURATION:
		((MetaV1__Duration *)m)->has_duration = 1;
		((MetaV1__Duration *)m)->duration = 90000000000ll + n;
		break;
	case SCHEMA_FORM_QUANTITY:
		((Resource__Quantity *)m)->string = arena_strdup(f->arena, quantities[n % 6]);
		break;
	case SCHEMA_FORM_INT_OR_STRING:
		v->has_type = 1;
		v->type = n % 2;
		v->has_intval = v->type == 0;
		v->intval = v->type == 0 ? n : 0;
		v->strval = v->type == 1 ? arena_printf(f->arena, "%d%%", n) : NULL;
		break;
	case SCHEMA_FORM_RAW_JSON:
	case SCHEMA_FORM_RAW_OBJECT:
		raw->has_raw = 1;
		raw->raw.data =
			(uint8_t *)arena_printf(f->arena, "{\"n\":%d,\"l\":[true,null]}", n);
		raw->raw.len = strlen((char *)raw->raw.data);
		break;
	default:
		break;
	}
}

static void fill_slot(struct filler *f, const struct schema_field *field, void *slot)
{
	ProtobufCBinaryData *bytes = slot;
	int n = f->counter++;

	switch (field->type) {
	case PROTOBUF_C_TYPE_STRING:
		*(char **)slot =
			arena_printf(f->arena, "%s-%d \"\\\n\xC3\xA9", field->json_name, n);
		break;
	case PROTOBUF_C_TYPE_INT32:
		*(int32_t *)slot = n % 2 ? n : -n - 1;
		break;
	case PROTOBUF_C_TYPE_INT64:
		*(int64_t *)slot = 9007199254740993ll + n;
		break;
	case PROTOBUF_C_TYPE_BOOL:
		*(protobuf_c_boolean *)slot = 1;
		break;
	case PROTOBUF_C_TYPE_DOUBLE:
		*(double *)slot = n + 0.1;
		break;
	case PROTOBUF_C_TYPE_BYTES:
		bytes->data = (uint8_t *)arena_printf(f->arena, "bytes %d%s", n, &"xy"[n % 3]);
		bytes->len = strlen((char *)bytes->data);
		break;
	default:
		*(ProtobufCMessage **)slot = fill(f, field->message);
	}
}

static void fill_many(struct filler *f, const struct schema_field *field, ProtobufCMessage *m)
{
	size_t size = field_element_size(field), n = 2;
	char *items = arena_alloc(f->arena, n * size);

	memset(items, 0, n * size);
	for (size_t i = 0; i < n; i++) {
		if (field->label == SCHEMA_LIST) {
			fill_slot(f, field, items + i * size);
			continue;
		}
		const struct schema_field *value = &field->message->fields[1];
		ProtobufCMessage *entry = message_new(field->message->descriptor, f->arena);

		((struct any_entry *)entry)->key = arena_printf(f->arena, "key/%zu", i);
		fill_slot(f, value, field_at(entry, value));
		if (!field_has_pointer(value))
			MEMBER(protobuf_c_boolean, entry, value->quantifier_offset) = 1;
		((ProtobufCMessage **)items)[i] = entry;
	}
	MEMBER(void *, m, field->offset) = items;
	*field_count(m, field) = n;
}

static bool stop_at(const struct filler *f, const struct schema_field *field)
{
	const struct schema *s = field->message;

	if (s != NULL && field->label == SCHEMA_MAP)
		s = s->fields[1].message;
	if (s == NULL)
		return false;
	if (f->schemas < SCHEMA_LEVELS)
		return f->depth > DEPTH_MAX;
	return s->descriptor == &apiextensions_v1__jsonschema_props__descriptor ||
	       s->form >= SCHEMA_FORM_SCHEMA_OR_ARRAY;
}

static bool one_of_two(const struct schema *s)
{
	return s->form >= SCHEMA_FORM_SCHEMA_OR_ARRAY;
}

static ProtobufCMessage *fill(struct filler *f, const struct schema *s)
{
	ProtobufCMessage *m = message_new(s->descriptor, f->arena);
	bool is_schema = s->descriptor == &apiextensions_v1__jsonschema_props__descriptor;
	size_t skip = one_of_two(s) ? (size_t)(f->counter++ % 2) : SIZE_MAX;

	f->depth++;
	f->schemas += is_schema;
	fill_form(f, s, m);
	if (s->form == SCHEMA_FORM_SCHEMA_OR_BOOL)
		skip = SIZE_MAX;
	for (size_t i = 0; i < s->n_fields; i++) {
		const struct schema_field *field = &s->fields[i];

		if ((s->form != SCHEMA_FORM_OBJECT && s->form != SCHEMA_FORM_ITEMS &&
		     !one_of_two(s)) ||
		    i == skip || stop_at(f, field))
			continue;
		if (field->label != SCHEMA_ONE) {
			fill_many(f, field, m);
			continue;
		}
		fill_slot(f, field, field_at(m, field));
		if (!field_has_pointer(field))
			MEMBER(protobuf_c_boolean, m, field->quantifier_offset) = 1;
	}
	f->depth--;
	f->schemas -= is_schema;
	return m;
}

void *fill_message(const ProtobufCMessageDescriptor *descriptor, struct arena *a)
{
	struct filler f = { .arena = a };

	return fill(&f, schema_of(descriptor));
}
