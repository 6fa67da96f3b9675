#include "common/api/fields.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/api/quantity.h"
#include "common/api/schema.h"
#include "common/api/wire.h"
#include "common/base/cleanup.h"
#include "proto/k8s/batch_v1.pb-c.h"
#include "proto/k8s/core_v1.pb-c.h"

#define REQUIREMENTS_MAX 100

/* Paths that the API names differently from the object's fields. */
static const struct {
	const ProtobufCMessageDescriptor *descriptor;
	const char *from, *to;
} aliases[] = {
	{ &batch_v1__job__descriptor, "status.successful", "status.succeeded" },
	{ &core_v1__event__descriptor, "source", "source.component" },
	{ &core_v1__pod__descriptor, "spec.host", "spec.nodeName" },
	{ &core_v1__pod__descriptor, "status.podIPs", "status.podIP" },
};

static const char *real_path(const struct kind *kind, const char *path)
{
	for (size_t i = 0; i < array_size(aliases); i++)
		if (aliases[i].descriptor == kind->descriptor && strcmp(aliases[i].from, path) == 0)
			return aliases[i].to;
	return path;
}

static bool supported(const struct kind *kind, const char *path)
{
	if (strcmp(path, "metadata.name") == 0)
		return true;
	if (strcmp(path, "metadata.namespace") == 0)
		return kind->flags & KIND_NAMESPACED;
	for (size_t i = 0; kind->field_selectors != NULL && kind->field_selectors[i] != NULL; i++)
		if (strcmp(kind->field_selectors[i], path) == 0)
			return true;
	return real_path(kind, path) != path;
}

/* The text up to a separator that no backslash protects, with the backslashes taken out. */
static const char *take_part(const char **p, const char *separators, struct arena *a)
{
	char *text = arena_alloc(a, strlen(*p) + 1), *to = text;

	while (**p != '\0' && strchr(separators, **p) == NULL) {
		if (**p == '\\' && (*p)[1] != '\0')
			(*p)++;
		*to++ = *(*p)++;
	}
	*to = '\0';
	return text;
}

static int parse_one(const char **p, const struct kind *kind, struct arena *a,
		     struct field_requirement *ret, struct status *st)
{
	const char *start = *p;

	while (**p == ' ')
		(*p)++;
	const char *path = take_part(p, "=!,", a);
	if (**p == '!' && (*p)[1] == '=') {
		ret->negated = true;
		*p += 2;
	} else if (**p == '=') {
		*p += (*p)[1] == '=' ? 2 : 1;
	} else {
		return status_set(st, -EBADMSG,
				  "invalid field selector: %s; can't understand '%.*s'", start,
				  (int)strcspn(start, ","), start);
	}
	ret->path = path;
	ret->value = take_part(p, ",=", a);
	if (**p == '=')
		return status_set(st, -EBADMSG, "invalid field selector: unescaped '=' in '%s'",
				  start);
	if (!supported(kind, path))
		return status_set(st, -EBADMSG, "field label not supported: %s", path);
	return 0;
}

int field_selector_parse(const char *text, const struct kind *kind, struct arena *a,
			 struct field_selector *ret, struct status *st)
{
	struct field_requirement *list = NULL;
	const char *p = text ? text : "";
	size_t n = 0, commas = 1;

	for (const char *c = p; *c != '\0'; c++)
		commas += *c == ',';
	if (commas > REQUIREMENTS_MAX)
		return status_set(st, -EBADMSG, "field selector: more than %d terms",
				  REQUIREMENTS_MAX);
	list = arena_array(a, struct field_requirement, commas);
	while (*p != '\0') {
		int rc = parse_one(&p, kind, a, &list[n], st);

		if (rc < 0)
			return rc;
		n++;
		if (*p == ',')
			p++;
	}
	*ret = (struct field_selector){ .requirements = list, .n_requirements = n };
	return 0;
}

const char *field_selector_exact(const struct field_selector *s, const char *path)
{
	for (size_t i = 0; i < s->n_requirements; i++)
		if (!s->requirements[i].negated && strcmp(s->requirements[i].path, path) == 0)
			return s->requirements[i].value;
	return NULL;
}

/* A scalar of an object: its bytes on the wire, or a number. */
struct scalar {
	const struct schema_field *field;
	struct wire_field value; /* Zero: unset. */
};

/* The last occurrence of a field; unset when it is not there or the bytes are broken. */
static struct wire_field last_of(struct wire w, const struct schema_field *f)
{
	struct wire_field in, found = { .data = (const uint8_t *)"" };

	while (w.p < w.end && wire_next(&w, &in))
		if (in.number == f->number && in.type == wire_type_of(f->type))
			found = in;
	return found;
}

/* Walk one name down; inline messages are passed through. */
static const struct schema_field *step(const struct schema **s, struct wire *w, const char *name,
				       size_t len, struct wire_field *value)
{
	const struct schema_field *f = schema_find(*s, name, len);

	while ((f == NULL || (f->flags & SCHEMA_INLINE)) && (*s)->inline_mask != 0) {
		const struct schema_field *in = &(*s)->fields[__builtin_ctzll((*s)->inline_mask)];
		struct wire_field inner = last_of(*w, in);

		*w = wire_inside(&inner);
		*s = in->message;
		f = schema_find(*s, name, len);
	}
	if (f != NULL)
		*value = last_of(*w, f);
	return f;
}

static bool find_scalar(const struct schema *s, struct bytes packed, const char *path,
			struct scalar *ret)
{
	const uint8_t *start = packed.len > 0 ? packed.data : (const uint8_t *)"";
	struct wire w = { start, start + packed.len };

	for (;;) {
		size_t len = strcspn(path, ".");
		const struct schema_field *f = step(&s, &w, path, len, &ret->value);

		if (f == NULL || f->label != SCHEMA_ONE)
			return false;
		path += len;
		if (*path == '\0') {
			ret->field = f;
			return f->type != PROTOBUF_C_TYPE_MESSAGE &&
			       f->type != PROTOBUF_C_TYPE_BYTES;
		}
		path++;
		if (f->type != PROTOBUF_C_TYPE_MESSAGE || f->message->form != SCHEMA_FORM_OBJECT)
			return false;
		s = f->message;
		w = wire_inside(&ret->value);
	}
}

static size_t print_number(const struct scalar *v, char *to, size_t size)
{
	double number;

	switch (v->field->type) {
	case PROTOBUF_C_TYPE_BOOL:
		return (size_t)snprintf(to, size, "%s", v->value.value ? "true" : "false");
	case PROTOBUF_C_TYPE_DOUBLE:
		memcpy(&number, &v->value.value, sizeof(number));
		return (size_t)snprintf(to, size, "%g", number);
	case PROTOBUF_C_TYPE_INT32:
		return (size_t)snprintf(to, size, "%d", (int32_t)v->value.value);
	default:
		return (size_t)snprintf(to, size, "%lld", (long long)v->value.value);
	}
}

bool field_text(const ProtobufCMessageDescriptor *descriptor, struct bytes packed, const char *path,
		struct arena *a, const char **ret)
{
	const struct schema *s = schema_of(descriptor);
	char number[64];
	struct scalar v;

	if (s == NULL || !find_scalar(s, packed, path, &v))
		return false;
	if (v.field->type == PROTOBUF_C_TYPE_STRING) {
		*ret = arena_strndup(a, (const char *)v.value.data, v.value.value);
	} else {
		print_number(&v, number, sizeof(number));
		*ret = arena_strdup(a, number);
	}
	return true;
}

static bool equals(const struct scalar *v, const char *want)
{
	char number[64];
	size_t n = strlen(want);

	if (v->field->type == PROTOBUF_C_TYPE_STRING)
		return v->value.value == n && memcmp(v->value.data, want, n) == 0;
	return print_number(v, number, sizeof(number)) == n && memcmp(number, want, n) == 0;
}

bool field_selector_matches(const struct field_selector *s, const struct kind *kind,
			    struct bytes packed)
{
	const struct schema *schema = schema_of(kind->descriptor);

	for (size_t i = 0; i < s->n_requirements; i++) {
		const struct field_requirement *r = &s->requirements[i];
		struct scalar v;
		bool equal = find_scalar(schema, packed, real_path(kind, r->path), &v)
				     ? equals(&v, r->value)
				     : *r->value == '\0';

		if (equal == r->negated)
			return false;
	}
	return true;
}
