#include "controlplane/apiserver/openapi_model.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"

void openapi_model_init(struct openapi_model *m, struct arena *arena)
{
	*m = (struct openapi_model){ .arena = arena };
}

void openapi_model_fini(struct openapi_model *m)
{
	free(m->schemas);
	*m = (struct openapi_model){ 0 };
}

static bool model_has(const struct openapi_model *m, const struct schema *s)
{
	for (size_t i = 0; i < m->n; i++)
		if (m->schemas[i] == s)
			return true;
	return false;
}

static void model_add(struct openapi_model *m, const struct schema *s)
{
	if (s != NULL && s->form != SCHEMA_FORM_ENTRY && !model_has(m, s)) {
		array_grow(m->schemas, m->n, m->cap);
		m->schemas[m->n++] = s;
	}
}

static void model_add_field(void *ctx, const struct schema_field *f)
{
	const struct schema *s = f->message;

	if (f->label == SCHEMA_MAP)
		s = f->message->fields[1].message;
	model_add(ctx, s);
}

void openapi_model_add(struct openapi_model *m, const ProtobufCMessageDescriptor *descriptor)
{
	size_t at = m->n;

	model_add(m, schema_of(descriptor));
	for (; at < m->n; at++)
		if (m->schemas[at]->form == SCHEMA_FORM_OBJECT)
			openapi_fields(m->schemas[at], model_add_field, m);
}

char *openapi_name(struct arena *arena, const struct schema *s)
{
	const char *name = s->descriptor->name;

	if (strncmp(name, "k8s.io.", 7) == 0)
		return arena_printf(arena, "io.k8s.%s", name + 7);
	return arena_strdup(arena, name);
}

char *openapi_path(struct arena *arena, const struct kind *kind)
{
	return arena_printf(
		arena, "/%s/%s/%s%s/{name}", *kind->group ? "apis" : "api", kind->api_version,
		kind->flags & KIND_NAMESPACED ? "namespaces/{namespace}/" : "", kind->plural);
}

const char *openapi_scalar_type(unsigned protobuf_type, const char **ret_format)
{
	*ret_format = NULL;
	switch (protobuf_type) {
	case PROTOBUF_C_TYPE_STRING:
		return "string";
	case PROTOBUF_C_TYPE_BYTES:
		*ret_format = "byte";
		return "string";
	case PROTOBUF_C_TYPE_BOOL:
		return "boolean";
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_UINT32:
		*ret_format = "int32";
		return "integer";
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_UINT64:
		*ret_format = "int64";
		return "integer";
	case PROTOBUF_C_TYPE_DOUBLE:
	case PROTOBUF_C_TYPE_FLOAT:
		*ret_format = "double";
		return "number";
	default:
		return NULL;
	}
}

const char *openapi_form_type(const struct schema *s, const char **ret_format)
{
	*ret_format = NULL;
	switch ((enum schema_form)s->form) {
	case SCHEMA_FORM_TIME:
	case SCHEMA_FORM_MICROTIME:
		*ret_format = "date-time";
		return "string";
	case SCHEMA_FORM_DURATION:
	case SCHEMA_FORM_QUANTITY:
		return "string";
	case SCHEMA_FORM_INT_OR_STRING:
		*ret_format = "int-or-string";
		return "string";
	case SCHEMA_FORM_OBJECT:
	case SCHEMA_FORM_ENTRY:
	case SCHEMA_FORM_RAW_OBJECT:
		return "object";
	case SCHEMA_FORM_ITEMS:
		return "array";
	case SCHEMA_FORM_RAW_JSON:
	case SCHEMA_FORM_SCHEMA_OR_ARRAY:
	case SCHEMA_FORM_SCHEMA_OR_BOOL:
	case SCHEMA_FORM_SCHEMA_OR_STRINGS:
		return NULL;
	}
	abort();
}

void openapi_fields(const struct schema *s, openapi_field_cb *cb, void *ctx)
{
	for (size_t i = 0; i < s->n_fields; i++) {
		const struct schema_field *f = &s->fields[i];

		if (f->flags & SCHEMA_INLINE)
			openapi_fields(f->message, cb, ctx);
		else
			cb(ctx, f);
	}
}

const char *openapi_list_type(const struct schema_field *f)
{
	if (f->flags & SCHEMA_LIST_MAP)
		return "map";
	if (f->flags & SCHEMA_LIST_SET)
		return "set";
	return f->flags & SCHEMA_LIST_ATOMIC ? "atomic" : NULL;
}

const char *openapi_patch_strategy(const struct schema_field *f)
{
	bool merge = f->flags & SCHEMA_MERGE, retain = f->flags & SCHEMA_RETAIN_KEYS;

	if (merge && retain)
		return "merge,retainKeys";
	return merge ? "merge" : retain ? "retainKeys" : NULL;
}
