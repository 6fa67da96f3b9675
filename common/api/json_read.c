#include "common/api/json.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/fields_of.h"
#include "common/api/json_read_forms.h"
#include "common/api/json_scan.h"
#include "common/base/cleanup.h"

/* Recursive descent straight into message structs: one function per shape of
 * value, the schema says which. Where we are is a chain of frames on the stack,
 * turned into a path only when there is something to complain about. */

/* What JSON flattens into one object: the message, and the inline one in it, and so on. */
#define INLINE_MAX 3
#define COMPLAINT_PATH_MAX 400
struct level {
	const struct schema *schema;
	ProtobufCMessage *message; /* NULL until a field of it is met. */
	uint64_t seen;
};

static bool read_value(struct json_reader *r, const struct json_frame *at,
		       const struct schema_field *f, void *slot);

static void put_path(struct buf *to, const struct json_frame *at, bool indexes)
{
	if (at == NULL)
		return;
	put_path(to, at->up, indexes);
	if (at->name_len == 0)
		return;
	if (to->len > 0)
		buf_put_byte(to, '.');
	buf_put(to, at->name, at->name_len);
	if (at->key != NULL) {
		buf_put_byte(to, '.');
		buf_put_str(to, at->key);
	} else if (indexes && at->index >= 0) {
		buf_printf(to, "[%td]", at->index);
	}
}

static void complain(struct json_reader *r, const char *what, const struct json_frame *at,
		     const char *name, size_t len)
{
	auto_with(buf_fini) struct buf path = { 0 };

	if (r->read == NULL || r->read->validation == FIELDS_IGNORE ||
	    r->read->n_complaints == JSON_COMPLAINTS_MAX)
		return;
	put_path(&path, at, true);
	if (path.len > 0)
		buf_put_byte(&path, '.');
	buf_put(&path, name, len);
	r->read->complaints[r->read->n_complaints++] = arena_printf(
		&r->notes, "%s field \"%.*s\"", what, COMPLAINT_PATH_MAX, buf_cstr(&path));
}

static void name_of_type(struct buf *to, const struct schema_field *f, bool whole)
{
	static const char *const scalars[] = {
		[PROTOBUF_C_TYPE_INT32] = "int32",   [PROTOBUF_C_TYPE_INT64] = "int64",
		[PROTOBUF_C_TYPE_BOOL] = "bool",     [PROTOBUF_C_TYPE_DOUBLE] = "float64",
		[PROTOBUF_C_TYPE_STRING] = "string", [PROTOBUF_C_TYPE_BYTES] = "[]uint8",
	};

	if (whole && f->label == SCHEMA_MAP) {
		buf_put_str(to, "map[string]");
		name_of_type(to, &f->message->fields[1], false);
		return;
	}
	if (whole && f->label == SCHEMA_LIST)
		buf_put_str(to, "[]");
	if (f->type != PROTOBUF_C_TYPE_MESSAGE) {
		buf_put_str(to, scalars[f->type]);
		return;
	}
	const char *package = f->message->descriptor->package_name;
	const char *dot = strrchr(package, '.');
	buf_printf(to, "%s.%s", dot ? dot + 1 : package, schema_name(f->message));
}

static const char *name_of_next(struct json_scan *s)
{
	switch (json_peek(s)) {
	case '{':
		return "object";
	case '[':
		return "array";
	case '"':
		return "string";
	case 't':
	case 'f':
		return "bool";
	default:
		return "number";
	}
}

/* "json: cannot unmarshal <what> into Go struct field <Struct>.<path> of type <type>" */
static bool wrong_type(struct json_reader *r, const struct json_frame *at,
		       const struct schema_field *f, const char *what, bool whole)
{
	auto_with(buf_fini) struct buf path = { 0 };
	auto_with(buf_fini) struct buf type = { 0 };

	if (r->scan.rc < 0)
		return false;
	put_path(&path, at, false);
	name_of_type(&type, f, whole);
	return json_fail(&r->scan,
			 "json: cannot unmarshal %s into Go struct field %s.%s of type %s", what,
			 schema_name(at->schema), buf_cstr(&path), buf_cstr(&type));
}

/* The value that stands next has the wrong type, or is no value at all. */
static bool wrong_next(struct json_reader *r, const struct json_frame *at,
		       const struct schema_field *f, bool whole)
{
	char c = json_peek(&r->scan);
	const char *what = name_of_next(&r->scan);

	if (c == '\0' || strchr("{[\"tf-0123456789", c) == NULL)
		return json_unexpected(&r->scan, "looking for beginning of value");
	return wrong_type(r, at, f, what, whole);
}

bool json_form_fail(struct json_reader *r, const struct json_frame *at,
		    const struct schema_field *f)
{
	return wrong_next(r, at, f, false);
}

/* The digits of an integer; false when the text is none or does not fit. */
bool json_integer(const char *p, size_t n, int64_t *ret)
{
	bool negative = n > 0 && p[0] == '-';
	uint64_t v = 0, limit = (uint64_t)INT64_MAX + negative;

	for (size_t i = negative; i < n; i++) {
		unsigned d = (unsigned char)p[i] - '0';

		if (d > 9 || v > (limit - d) / 10)
			return false;
		v = v * 10 + d;
	}
	*ret = negative ? (int64_t)-v : (int64_t)v;
	return n > negative;
}

static bool number_next(struct json_scan *s)
{
	char c = json_peek(s);

	return c == '-' || (c >= '0' && c <= '9');
}

static bool read_integer(struct json_reader *r, const struct json_frame *at,
			 const struct schema_field *f, void *slot)
{
	struct json_string text;
	char what[64];
	int64_t v;

	if (!number_next(&r->scan))
		return wrong_next(r, at, f, false);
	if (!json_scan_number(&r->scan, &text))
		return false;
	if (json_integer(text.p, text.len, &v)) {
		if (f->type == PROTOBUF_C_TYPE_INT64) {
			*(int64_t *)slot = v;
			return true;
		}
		if (v >= INT32_MIN && v <= INT32_MAX) {
			*(int32_t *)slot = (int32_t)v;
			return true;
		}
	}
	snprintf(what, sizeof(what), "number %.*s", (int)(text.len < 40 ? text.len : 40), text.p);
	return wrong_type(r, at, f, what, false);
}

static bool read_double(struct json_reader *r, const struct json_frame *at,
			const struct schema_field *f, double *slot)
{
	struct json_string text;
	char copy[128];

	if (!number_next(&r->scan))
		return wrong_next(r, at, f, false);
	if (!json_scan_number(&r->scan, &text))
		return false;
	if (text.len >= sizeof(copy))
		return wrong_type(r, at, f, "number", false);
	memcpy(copy, text.p, text.len);
	copy[text.len] = '\0';
	*slot = strtod(copy, NULL);
	return isfinite(*slot) || wrong_type(r, at, f, "number", false);
}

static bool read_bool(struct json_reader *r, const struct json_frame *at,
		      const struct schema_field *f, protobuf_c_boolean *slot)
{
	json_space(&r->scan);
	if (json_literal(&r->scan, "true", 4))
		*slot = 1;
	else if (json_literal(&r->scan, "false", 5))
		*slot = 0;
	else
		return wrong_next(r, at, f, false);
	return true;
}

static bool read_string(struct json_reader *r, const struct json_frame *at,
			const struct schema_field *f, char **slot)
{
	struct json_string text;

	if (json_peek(&r->scan) != '"')
		return wrong_next(r, at, f, false);
	if (!json_scan_string(&r->scan, &text))
		return false;
	*slot = json_own(&r->scan, &text);
	return *slot != NULL;
}

static bool read_bytes(struct json_reader *r, const struct json_frame *at,
		       const struct schema_field *f, ProtobufCBinaryData *slot)
{
	struct json_string text;

	if (json_peek(&r->scan) != '"')
		return wrong_next(r, at, f, false);
	return json_scan_string(&r->scan, &text) && json_base64(r, &text, slot);
}

/* The field called name, in the message or an inline one inside it, which is made when needed. */
static const struct schema_field *find_field(struct json_reader *r, struct level *levels,
					     const struct json_string *name,
					     struct level **ret_level)
{
	for (size_t i = 0;; i++) {
		struct level *l = &levels[i];
		const struct schema_field *f = schema_find(l->schema, name->p, name->len);

		if (f != NULL && !(f->flags & SCHEMA_INLINE)) {
			*ret_level = l;
			for (size_t k = 1; k <= i; k++)
				if (levels[k].message == NULL) {
					f = levels[k - 1].schema->fields +
					    __builtin_ctzll(levels[k - 1].schema->inline_mask);
					levels[k].message = message_try_new(
						levels[k].schema->descriptor, r->scan.arena);
					if (levels[k].message == NULL) {
						json_out_of_memory(&r->scan);
						return NULL;
					}
					MEMBER(ProtobufCMessage *, levels[k - 1].message,
					       f->offset) = levels[k].message;
				}
			return schema_find(l->schema, name->p, name->len);
		}
		if (l->schema->inline_mask == 0 || i + 1 == INLINE_MAX)
			return NULL;
		if (levels[i + 1].schema == NULL)
			levels[i + 1].schema =
				l->schema->fields[__builtin_ctzll(l->schema->inline_mask)].message;
	}
}

/* apiVersion and kind of the object itself; those of objects inside it are dropped, as on the wire.
 */
static bool read_type_field(struct json_reader *r, const struct json_frame *at, bool is_kind)
{
	struct json_string text;

	if (json_take_null(&r->scan))
		return true;
	if (json_peek(&r->scan) != '"')
		return json_fail(
			&r->scan,
			"json: cannot unmarshal %s into Go struct field %s.%s of type string",
			name_of_next(&r->scan), schema_name(at->schema),
			is_kind ? "kind" : "apiVersion");
	if (!json_scan_string(&r->scan, &text))
		return false;
	if (at->up != NULL || r->read == NULL)
		return true;
	const char *value = json_own(&r->scan, &text);
	if (is_kind)
		r->read->kind = value;
	else
		r->read->api_version = value;
	return value != NULL;
}

static bool read_unknown(struct json_reader *r, const struct json_frame *up,
			 const struct json_frame *at, const struct json_string *name)
{
	bool is_kind = name->len == 4 && memcmp(name->p, "kind", 4) == 0;

	if (at->schema->is_kind &&
	    (is_kind || (name->len == 10 && memcmp(name->p, "apiVersion", 10) == 0)))
		return read_type_field(r, at, is_kind);
	complain(r, "unknown", up, name->p, name->len);
	return json_skip(&r->scan);
}

static void reset_field(const struct schema_field *f, ProtobufCMessage *m)
{
	if (f->label != SCHEMA_ONE)
		*field_count(m, f) = 0;
	else if (field_has_pointer(f))
		MEMBER(void *, m, f->offset) = NULL;
	else
		MEMBER(protobuf_c_boolean, m, f->quantifier_offset) = 0;
}

static bool read_list(struct json_reader *r, struct json_frame *at, const struct schema_field *f,
		      ProtobufCMessage *m)
{
	void **array = &MEMBER(void *, m, f->offset);
	size_t *n = field_count(m, f), size = field_element_size(f);

	if (json_peek(&r->scan) != '[')
		return wrong_next(r, at, f, true);
	for (bool more = json_array_first(&r->scan); more; more = json_array_next(&r->scan)) {
		if (!field_grow(r->scan.arena, array, *n, size))
			return json_out_of_memory(&r->scan);
		at->index = (ptrdiff_t)*n;
		if (!read_value(r, at, f, (char *)*array + *n * size))
			return false;
		(*n)++;
	}
	at->index = -1;
	return r->scan.rc == 0;
}

struct duplicates {
	struct json_reader *r;
	const struct json_frame *at;
};

static void on_duplicate_key(void *ctx, const char *key)
{
	struct duplicates *d = ctx;

	complain(d->r, "duplicate", d->at, key, strlen(key));
}

static bool read_entry(struct json_reader *r, struct json_frame *at, const struct schema_field *f,
		       ProtobufCMessage **slot)
{
	const struct schema_field *vf = &f->message->fields[1];
	struct json_string key;

	*slot = message_try_new(f->message->descriptor, r->scan.arena);
	if (*slot == NULL)
		return json_out_of_memory(&r->scan);
	if (!json_scan_key(&r->scan, &key))
		return false;
	struct any_entry *entry = (struct any_entry *)*slot;
	at->key = entry->key = json_own(&r->scan, &key);
	if (at->key == NULL)
		return false;
	if (!field_has_pointer(vf))
		MEMBER(protobuf_c_boolean, *slot, vf->quantifier_offset) = 1;
	return read_value(r, at, vf, field_at(*slot, vf));
}

static bool read_map(struct json_reader *r, struct json_frame *at, const struct schema_field *f,
		     ProtobufCMessage *m)
{
	void **array = &MEMBER(void *, m, f->offset);
	size_t *n = field_count(m, f);

	if (json_peek(&r->scan) != '{')
		return wrong_next(r, at, f, true);
	for (bool more = json_object_first(&r->scan); more; more = json_object_next(&r->scan)) {
		if (!field_grow(r->scan.arena, array, *n, sizeof(void *)))
			return json_out_of_memory(&r->scan);
		if (!read_entry(r, at, f, (ProtobufCMessage **)*array + *n))
			return false;
		(*n)++;
	}
	at->key = NULL;
	*n = map_entries_sort(*array, *n, on_duplicate_key, &(struct duplicates){ r, at });
	return r->scan.rc == 0;
}

static bool read_member(struct json_reader *r, struct json_frame *at, const struct schema_field *f,
			ProtobufCMessage *m)
{
	if (json_take_null(&r->scan))
		return true;
	if (f->label == SCHEMA_LIST)
		return read_list(r, at, f, m);
	if (f->label == SCHEMA_MAP)
		return read_map(r, at, f, m);
	if (!read_value(r, at, f, field_at(m, f)))
		return false;
	if (!field_has_pointer(f))
		MEMBER(protobuf_c_boolean, m, f->quantifier_offset) = 1;
	return true;
}

bool json_read_object(struct json_reader *r, const struct json_frame *up, const struct schema *s,
		      ProtobufCMessage *m)
{
	struct level levels[INLINE_MAX] = { { .schema = s, .message = m } }, *l;
	struct json_frame at = { .up = up, .schema = s, .index = -1 };
	struct json_string name;

	for (bool more = json_object_first(&r->scan); more; more = json_object_next(&r->scan)) {
		if (!json_scan_key(&r->scan, &name))
			return false;
		const struct schema_field *f = find_field(r, levels, &name, &l);
		if (f == NULL) {
			if (r->scan.rc < 0 || !read_unknown(r, up, &at, &name))
				return false;
			continue;
		}
		uint64_t bit = 1ull << (f - l->schema->fields);
		if (l->seen & bit) {
			complain(r, "duplicate", up, name.p, name.len);
			reset_field(f, l->message);
		}
		l->seen |= bit;
		at.name = f->json_name;
		at.name_len = f->json_len;
		if (!read_member(r, &at, f, l->message))
			return false;
	}
	return r->scan.rc == 0;
}

static bool read_message(struct json_reader *r, const struct json_frame *at,
			 const struct schema_field *f, ProtobufCMessage **slot)
{
	*slot = message_try_new(f->message->descriptor, r->scan.arena);
	if (*slot == NULL)
		return json_out_of_memory(&r->scan);
	if (json_take_null(&r->scan)) /* In a list or map: its zero. */
		return true;
	if (f->message->form != SCHEMA_FORM_OBJECT)
		return json_read_form(r, at, f, *slot);
	if (json_peek(&r->scan) != '{')
		return wrong_next(r, at, f, false);
	return json_read_object(r, at, f->message, *slot);
}

static bool read_value(struct json_reader *r, const struct json_frame *at,
		       const struct schema_field *f, void *slot)
{
	static char empty[1] = "";

	json_space(&r->scan);
	if (f->type == PROTOBUF_C_TYPE_MESSAGE)
		return read_message(r, at, f, slot);
	if (json_take_null(&r->scan)) {
		memset(slot, 0, field_element_size(f));
		if (f->type == PROTOBUF_C_TYPE_STRING)
			*(char **)slot = empty;
		return true;
	}
	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING:
		return read_string(r, at, f, slot);
	case PROTOBUF_C_TYPE_BOOL:
		return read_bool(r, at, f, slot);
	case PROTOBUF_C_TYPE_BYTES:
		return read_bytes(r, at, f, slot);
	case PROTOBUF_C_TYPE_DOUBLE:
		return read_double(r, at, f, slot);
	default:
		return read_integer(r, at, f, slot);
	}
}

static int cannot_handle(const struct json_reader *r, const struct schema *s, struct status *st,
			 const char *why)
{
	const char *package = s->descriptor->package_name, *dot = strrchr(package, '.');
	const char *name = schema_name(s), *version = dot ? dot + 1 : package;

	return status_set(st, r->scan.rc < 0 ? r->scan.rc : -EBADMSG,
			  "%s in version \"%s\" cannot be handled as a %s: %s", name, version, name,
			  why);
}

static int finish(struct json_reader *r, const struct schema *s, struct status *st)
{
	auto_with(buf_fini) struct buf why = { 0 };

	if (r->scan.rc < 0)
		return cannot_handle(r, s, st, r->scan.error);
	if (r->read == NULL || r->read->validation != FIELDS_STRICT || r->read->n_complaints == 0)
		return 0;
	for (size_t i = 0; i < r->read->n_complaints; i++)
		buf_printf(&why, "%s%s",
			   i ? ", " : "strict decoding error: ", r->read->complaints[i]);
	return cannot_handle(r, s, st, buf_cstr(&why));
}

/* Complaints outlive the reader: into the caller's arena, as long as its budget lasts. */
static void keep_complaints(struct json_reader *r, struct arena *a)
{
	size_t kept = 0;

	if (r->read == NULL)
		return;
	for (size_t i = 0; i < r->read->n_complaints; i++) {
		size_t size = strlen(r->read->complaints[i]) + 1;
		char *copy = arena_try_alloc(a, size);

		if (copy != NULL)
			r->read->complaints[kept++] = memcpy(copy, r->read->complaints[i], size);
	}
	r->read->n_complaints = kept;
}

int json_read_message(const ProtobufCMessageDescriptor *descriptor, struct bytes text,
		      struct arena *a, struct json_read *read, void *ret_message, struct status *st)
{
	const struct schema *s = schema_of(descriptor);
	const struct schema_field root = { .message = s, .type = PROTOBUF_C_TYPE_MESSAGE };
	struct json_reader r = { .read = read };
	ProtobufCMessage *m;

	if (s == NULL)
		abort();
	json_scan_init(&r.scan, text, a);
	arena_init(&r.notes, 0);
	if (read != NULL) {
		read->api_version = read->kind = NULL;
		read->n_complaints = 0;
		read->complaints = arena_try_alloc(a, JSON_COMPLAINTS_MAX * sizeof(char *));
		if (read->complaints == NULL)
			return status_set(st, -EFBIG,
					  "the request needs too much memory to be read");
	}
	struct json_frame at = { .schema = s, .index = -1 };
	m = message_try_new(descriptor, a);
	if (m == NULL)
		json_out_of_memory(&r.scan);
	else if (s->form != SCHEMA_FORM_OBJECT)
		json_read_form(&r, &at, &root, m);
	else if (json_peek(&r.scan) == '{')
		json_read_object(&r, NULL, s, m);
	else if (r.scan.p < r.scan.end && strchr("[\"tfn-0123456789", *r.scan.p) != NULL)
		json_fail(&r.scan, "json: cannot unmarshal %s into Go value of type %s",
			  name_of_next(&r.scan), schema_name(s));
	else
		json_unexpected(&r.scan, "looking for beginning of value");
	if (r.scan.rc == 0)
		json_scan_end(&r.scan);
	int rc = finish(&r, s, st);
	keep_complaints(&r, a);
	arena_fini(&r.notes);
	buf_fini(&r.scratch);
	if (rc == 0)
		*(ProtobufCMessage **)ret_message = m;
	return rc;
}

int json_read_type(struct bytes text, struct arena *a, const char **ret_api_version,
		   const char **ret_kind, struct status *st)
{
	const char *api_version = NULL, *kind = NULL;
	struct json_scan s;
	struct json_string name, value;

	json_scan_init(&s, text, a);
	if (json_peek(&s) != '{') {
		json_unexpected(&s, "looking for beginning of value");
		return json_scan_status(&s, st);
	}
	for (bool more = json_object_first(&s); more; more = json_object_next(&s)) {
		if (!json_scan_key(&s, &name))
			break;
		const char **slot = name.len == 4 && memcmp(name.p, "kind", 4) == 0 ? &kind
				    : name.len == 10 && memcmp(name.p, "apiVersion", 10) == 0
					    ? &api_version
					    : NULL;
		if (slot == NULL || *s.p != '"' || s.p >= s.end) {
			if (!json_skip(&s))
				break;
		} else if (!json_scan_string(&s, &value) ||
			   (*slot = json_own(&s, &value)) == NULL) {
			break;
		}
	}
	if (s.rc == 0)
		json_scan_end(&s);
	if (s.rc < 0)
		return json_scan_status(&s, st);
	*ret_api_version = api_version;
	*ret_kind = kind;
	return 0;
}
