#include "common/api/json_read_forms.h"

#include <string.h>

#include "common/api/fields_of.h"
#include "common/api/quantity.h"
#include "common/api/times.h"
#include "proto/k8s/apiextensions_v1.pb-c.h"
#include "proto/k8s/intstr.pb-c.h"
#include "proto/k8s/meta_v1.pb-c.h"
#include "proto/k8s/resource.pb-c.h"
#include "proto/k8s/runtime.pb-c.h"

/* Messages of one form share their layout, whatever group they are from. */

static bool string_next(struct json_reader *r, const struct json_frame *at,
			const struct schema_field *f, struct json_string *ret)
{
	if (json_peek(&r->scan) != '"')
		return json_form_fail(r, at, f);
	return json_scan_string(&r->scan, ret);
}

static struct bytes bytes_of_string(const struct json_string *s)
{
	return bytes_of(s->p, s->len);
}

static bool read_time(struct json_reader *r, const struct json_frame *at,
		      const struct schema_field *f, ProtobufCMessage *m)
{
	MetaV1__Time *t = (MetaV1__Time *)m;
	struct json_string text;
	int32_t nanos;

	if (!string_next(r, at, f, &text))
		return false;
	if (time_parse(bytes_of_string(&text), &t->seconds, &nanos) < 0)
		return json_fail(
			&r->scan,
			"parsing time \"%.*s\" as \"2006-01-02T15:04:05Z07:00\": cannot parse",
			(int)(text.len < 64 ? text.len : 64), text.p);
	t->has_seconds = 1;
	if (f->message->form == SCHEMA_FORM_MICROTIME) {
		t->nanos = nanos / 1000 * 1000;
		t->has_nanos = t->nanos != 0;
	}
	return true;
}

static bool read_duration(struct json_reader *r, const struct json_frame *at,
			  const struct schema_field *f, ProtobufCMessage *m)
{
	MetaV1__Duration *d = (MetaV1__Duration *)m;
	struct json_string text;

	if (!string_next(r, at, f, &text))
		return false;
	if (duration_parse(bytes_of_string(&text), &d->duration) < 0)
		return json_fail(&r->scan, "time: invalid duration \"%.*s\"",
				 (int)(text.len < 64 ? text.len : 64), text.p);
	d->has_duration = 1;
	return true;
}

static bool read_quantity(struct json_reader *r, const struct json_frame *at,
			  const struct schema_field *f, ProtobufCMessage *m)
{
	Resource__Quantity *q = (Resource__Quantity *)m;
	char canonical[QUANTITY_TEXT_MAX];
	struct json_string text;
	struct quantity value;
	char c = json_peek(&r->scan);

	if (c == '"'                             ? !json_scan_string(&r->scan, &text)
	    : (c != '-' && (c < '0' || c > '9')) ? !json_form_fail(r, at, f)
						 : !json_scan_number(&r->scan, &text))
		return false;
	while (text.len > 0 && (text.p[0] == ' ' || text.p[0] == '\t'))
		text.p++, text.len--;
	while (text.len > 0 && (text.p[text.len - 1] == ' ' || text.p[text.len - 1] == '\t'))
		text.len--;
	if (quantity_parse(bytes_of_string(&text), &value) < 0)
		return json_fail(&r->scan, "quantities must match the regular expression "
					   "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
	text.len = quantity_print(&value, canonical);
	text = (struct json_string){ canonical, text.len, false };
	q->string = json_own(&r->scan, &text);
	return q->string != NULL;
}

static bool read_int_or_string(struct json_reader *r, const struct json_frame *at,
			       const struct schema_field *f, ProtobufCMessage *m)
{
	Intstr__IntOrString *v = (Intstr__IntOrString *)m;
	struct json_string text;
	char c = json_peek(&r->scan);
	int64_t number;

	v->has_type = 1;
	if (c == '"') {
		v->type = 1;
		return json_scan_string(&r->scan, &text) &&
		       (v->strval = json_own(&r->scan, &text)) != NULL;
	}
	if (c != '-' && (c < '0' || c > '9'))
		return json_form_fail(r, at, f);
	if (!json_scan_number(&r->scan, &text))
		return false;
	if (!json_integer(text.p, text.len, &number) || number < INT32_MIN || number > INT32_MAX)
		return json_fail(&r->scan,
				 "json: cannot unmarshal number %.*s into Go value of type int32",
				 (int)(text.len < 40 ? text.len : 40), text.p);
	v->has_intval = 1;
	v->intval = (int32_t)number;
	return true;
}

/* Any value as text: FieldsV1, JSON and RawExtension all hold it in their first field. */
static bool read_raw(struct json_reader *r, ProtobufCMessage *m)
{
	Runtime__RawExtension *raw = (Runtime__RawExtension *)m;

	buf_clear(&r->scratch);
	if (!json_copy(&r->scan, &r->scratch))
		return false;
	raw->raw.data = arena_try_alloc(r->scan.arena, r->scratch.len);
	if (raw->raw.data == NULL)
		return json_out_of_memory(&r->scan);
	memcpy(raw->raw.data, r->scratch.data, r->scratch.len);
	raw->raw.len = r->scratch.len;
	raw->has_raw = 1;
	return true;
}

static bool read_strings(struct json_reader *r, const struct json_frame *at,
			 const struct schema_field *f, size_t *n, char ***items)
{
	static char empty[1] = "";
	struct json_string text;

	if (json_peek(&r->scan) != '[')
		return json_form_fail(r, at, f);
	for (bool more = json_array_first(&r->scan); more; more = json_array_next(&r->scan)) {
		if (!field_grow(r->scan.arena, (void **)items, *n, sizeof(char *)))
			return json_out_of_memory(&r->scan);
		json_space(&r->scan);
		if (json_take_null(&r->scan)) {
			(*items)[(*n)++] = empty;
			continue;
		}
		if (!string_next(r, at, f, &text))
			return false;
		char *item = json_own(&r->scan, &text);
		if (item == NULL)
			return false;
		(*items)[(*n)++] = item;
	}
	return r->scan.rc == 0;
}

static bool read_schema(struct json_reader *r, const struct json_frame *at,
			ApiextensionsV1__JSONSchemaProps **slot)
{
	const ProtobufCMessageDescriptor *d = &apiextensions_v1__jsonschema_props__descriptor;

	*slot = (ApiextensionsV1__JSONSchemaProps *)message_try_new(d, r->scan.arena);
	if (*slot == NULL)
		return json_out_of_memory(&r->scan);
	return json_read_object(r, at, schema_of(d), &(*slot)->base);
}

static bool read_schema_or_array(struct json_reader *r, const struct json_frame *at,
				 const struct schema_field *f, ProtobufCMessage *m)
{
	ApiextensionsV1__JSONSchemaPropsOrArray *v = (ApiextensionsV1__JSONSchemaPropsOrArray *)m;
	char c = json_peek(&r->scan);

	if (c == '{')
		return read_schema(r, at, &v->schema);
	if (c != '[')
		return json_form_fail(r, at, f);
	for (bool more = json_array_first(&r->scan); more; more = json_array_next(&r->scan)) {
		if (!field_grow(r->scan.arena, (void **)&v->jsonschemas, v->n_jsonschemas,
				sizeof(void *)))
			return json_out_of_memory(&r->scan);
		if (json_peek(&r->scan) != '{')
			return json_form_fail(r, at, f);
		if (!read_schema(r, at, &v->jsonschemas[v->n_jsonschemas]))
			return false;
		v->n_jsonschemas++;
	}
	return r->scan.rc == 0;
}

static bool read_schema_or_bool(struct json_reader *r, const struct json_frame *at,
				const struct schema_field *f, ProtobufCMessage *m)
{
	ApiextensionsV1__JSONSchemaPropsOrBool *v = (ApiextensionsV1__JSONSchemaPropsOrBool *)m;
	char c = json_peek(&r->scan);

	v->has_allows = 1;
	v->allows = 1;
	if (c == '{')
		return read_schema(r, at, &v->schema);
	if (json_literal(&r->scan, "true", 4))
		return true;
	v->allows = 0;
	return json_literal(&r->scan, "false", 5) || json_form_fail(r, at, f);
}

static bool read_schema_or_strings(struct json_reader *r, const struct json_frame *at,
				   const struct schema_field *f, ProtobufCMessage *m)
{
	ApiextensionsV1__JSONSchemaPropsOrStringArray *v =
		(ApiextensionsV1__JSONSchemaPropsOrStringArray *)m;

	if (json_peek(&r->scan) == '{')
		return read_schema(r, at, &v->schema);
	return read_strings(r, at, f, &v->n_property, &v->property);
}

bool json_read_form(struct json_reader *r, const struct json_frame *at,
		    const struct schema_field *f, ProtobufCMessage *m)
{
	MetaV1__Verbs *items = (MetaV1__Verbs *)m;

	switch ((enum schema_form)f->message->form) {
	case SCHEMA_FORM_TIME:
	case SCHEMA_FORM_MICROTIME:
		return read_time(r, at, f, m);
	case SCHEMA_FORM_DURATION:
		return read_duration(r, at, f, m);
	case SCHEMA_FORM_QUANTITY:
		return read_quantity(r, at, f, m);
	case SCHEMA_FORM_INT_OR_STRING:
		return read_int_or_string(r, at, f, m);
	case SCHEMA_FORM_RAW_JSON:
	case SCHEMA_FORM_RAW_OBJECT:
		return read_raw(r, m);
	case SCHEMA_FORM_ITEMS:
		return read_strings(r, at, f, &items->n_items, &items->items);
	case SCHEMA_FORM_SCHEMA_OR_ARRAY:
		return read_schema_or_array(r, at, f, m);
	case SCHEMA_FORM_SCHEMA_OR_BOOL:
		return read_schema_or_bool(r, at, f, m);
	case SCHEMA_FORM_SCHEMA_OR_STRINGS:
		return read_schema_or_strings(r, at, f, m);
	case SCHEMA_FORM_OBJECT:
	case SCHEMA_FORM_ENTRY:
		break;
	}
	return json_form_fail(r, at, f);
}

/* One more than the digit's value; 0 for what is no digit. */
static const uint8_t base64_values[256] = {
	['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,
	['H'] = 8,  ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14,
	['O'] = 15, ['P'] = 16, ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21,
	['V'] = 22, ['W'] = 23, ['X'] = 24, ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28,
	['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32, ['g'] = 33, ['h'] = 34, ['i'] = 35,
	['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40, ['o'] = 41, ['p'] = 42,
	['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48, ['w'] = 49,
	['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
	['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63,
	['/'] = 64,
};

bool json_base64(struct json_reader *r, const struct json_string *text, ProtobufCBinaryData *ret)
{
	uint8_t *out = arena_try_alloc(r->scan.arena, text->len / 4 * 3 + 3), *to = out;
	const uint8_t *p = (const uint8_t *)text->p;
	size_t n = 0, i = 0;
	uint32_t group = 0;

	if (out == NULL)
		return json_out_of_memory(&r->scan);
	for (; i < text->len && p[i] != '='; i++) {
		if (p[i] == '\n' || p[i] == '\r')
			continue;
		if (base64_values[p[i]] == 0)
			return json_fail(&r->scan, "illegal base64 data at input byte %zu", i);
		group = group << 6 | (base64_values[p[i]] - 1u);
		if (++n % 4 == 0) {
			*to++ = (uint8_t)(group >> 16);
			*to++ = (uint8_t)(group >> 8);
			*to++ = (uint8_t)group;
		}
	}
	size_t padding = 0;
	for (size_t k = i; k < text->len; k++) {
		if (p[k] == '\n' || p[k] == '\r')
			continue;
		if (p[k] != '=' || ++padding > 2)
			return json_fail(&r->scan, "illegal base64 data at input byte %zu", k);
	}
	if ((n + padding) % 4 != 0 || n % 4 == 1)
		return json_fail(&r->scan, "illegal base64 data at input byte %zu", i);
	if (n % 4 == 2) {
		*to++ = (uint8_t)(group >> 4);
	} else if (n % 4 == 3) {
		*to++ = (uint8_t)(group >> 10);
		*to++ = (uint8_t)(group >> 2);
	}
	*ret = (ProtobufCBinaryData){ .len = (size_t)(to - out), .data = out };
	return true;
}
