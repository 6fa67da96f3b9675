/* OpenAPI v2 in the protobuf form of the gnostic project, field by field: each
 * message is written into a buffer of its own and then into its parent. Field
 * numbers are those of its published OpenAPIv2.proto. */
#include <string.h>

#include "common/base/cleanup.h"
#include "controlplane/apiserver/openapi_internal.h"

enum { /* Document */ DOC_SWAGGER = 1, DOC_INFO = 2, DOC_PATHS = 8, DOC_DEFINITIONS = 9 };
enum { /* Info */ INFO_TITLE = 1, INFO_VERSION = 2 };
enum { /* Paths, PathItem, Operation */
       PATHS_PATH = 2,
       PATH_PATCH = 8,
       OPERATION_CONSUMES = 7,
       OPERATION_PARAMETERS = 8,
       OPERATION_RESPONSES = 9,
       OPERATION_EXTENSION = 13,
};
enum { /* QueryParameterSubSchema */ QUERY_IN = 2, QUERY_NAME = 4, QUERY_TYPE = 6 };
enum { /* Schema */
       SCHEMA_REF = 1,
       SCHEMA_FORMAT = 2,
       SCHEMA_ADDITIONAL = 21,
       SCHEMA_TYPE = 22,
       SCHEMA_ITEMS = 23,
       SCHEMA_PROPERTIES = 25,
       SCHEMA_EXTENSION = 31,
};
enum { NAME = 1, VALUE = 2, ONLY = 1, ANY_YAML = 2 };

static void put_varint(struct buf *out, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		buf_put_byte(out, (uint8_t)(v | 0x80));
	buf_put_byte(out, (uint8_t)v);
}

static void put_bytes(struct buf *out, unsigned number, struct bytes value)
{
	put_varint(out, number << 3 | 2);
	put_varint(out, value.len);
	buf_put(out, value.data, value.len);
}

static void put_text(struct buf *out, unsigned number, const char *text)
{
	put_bytes(out, number, bytes_str(text));
}

/* Put inner into out and empty it. */
static void put_inner(struct buf *out, unsigned number, struct buf *inner)
{
	put_bytes(out, number, buf_bytes(inner));
	buf_fini(inner);
}

/* Named<X> {name, value} */
static void put_named(struct buf *out, unsigned number, const char *name, struct buf *value)
{
	struct buf named = { 0 };

	put_text(&named, NAME, name);
	put_inner(&named, VALUE, value);
	put_inner(out, number, &named);
}

static void put_extension(struct buf *out, unsigned number, const char *name, const char *yaml)
{
	struct buf any = { 0 };

	put_text(&any, ANY_YAML, yaml);
	put_named(out, number, name, &any);
}

/* --- Schemas ------------------------------------------------------------------------- */

struct v2 {
	struct arena *arena;
	struct buf *properties;
};

static void put_type(struct buf *schema, const char *type)
{
	struct buf item = { 0 };

	put_text(&item, ONLY, type);
	put_inner(schema, SCHEMA_TYPE, &item);
}

static void put_value(struct v2 *v, struct buf *schema, const struct schema_field *f)
{
	const char *format, *type = openapi_scalar_type(f->type, &format);

	if (f->message != NULL) {
		put_text(schema, SCHEMA_REF,
			 arena_printf(v->arena, "#/definitions/%s",
				      openapi_name(v->arena, f->message)));
		return;
	}
	if (format != NULL)
		put_text(schema, SCHEMA_FORMAT, format);
	put_type(schema, type != NULL ? type : "string");
}

static void put_property(void *ctx, const struct schema_field *f)
{
	struct v2 *v = ctx;
	struct buf schema = { 0 }, inner = { 0 }, wrapped = { 0 };
	const char *strategy = openapi_patch_strategy(f);

	if (f->label == SCHEMA_ONE) {
		put_value(v, &schema, f);
	} else if (f->label == SCHEMA_LIST) {
		put_type(&schema, "array");
		put_value(v, &inner, f);
		put_inner(&wrapped, ONLY, &inner);
		put_inner(&schema, SCHEMA_ITEMS, &wrapped);
	} else {
		put_value(v, &inner, &f->message->fields[1]);
		put_inner(&wrapped, ONLY, &inner);
		put_inner(&schema, SCHEMA_ADDITIONAL, &wrapped);
		put_type(&schema, "object");
	}
	if (strategy != NULL)
		put_extension(&schema, SCHEMA_EXTENSION, "x-kubernetes-patch-strategy", strategy);
	if (f->extra != NULL && f->extra->merge_key != NULL)
		put_extension(&schema, SCHEMA_EXTENSION, "x-kubernetes-patch-merge-key",
			      f->extra->merge_key);
	put_named(v->properties, ONLY, f->json_name, &schema);
}

static void put_string_property(struct v2 *v, const char *name)
{
	struct buf schema = { 0 };

	put_type(&schema, "string");
	put_named(v->properties, ONLY, name, &schema);
}

/* The kinds a schema stands for, as YAML, or NULL. */
static char *gvks_of(struct arena *arena, const struct schema *s)
{
	auto_with(buf_fini) struct buf yaml = { 0 };

	kinds_for_each(k)
	{
		if (k->descriptor == s->descriptor && (k->flags & KIND_SERVED))
			buf_printf(&yaml, "- group: \"%s\"\n  kind: %s\n  version: %s\n", k->group,
				   k->kind, k->version);
	}
	return yaml.len > 0 ? arena_strdup(arena, buf_cstr(&yaml)) : NULL;
}

static void put_definition(struct arena *arena, struct buf *definitions, const struct schema *s)
{
	const char *format, *type = openapi_form_type(s, &format), *gvks = gvks_of(arena, s);
	struct buf schema = { 0 }, properties = { 0 };

	if (format != NULL)
		put_text(&schema, SCHEMA_FORMAT, format);
	if (type != NULL)
		put_type(&schema, strcmp(type, "array") == 0 ? "string" : type);
	if (s->form == SCHEMA_FORM_OBJECT) {
		struct v2 v = { arena, &properties };

		if (s->is_kind) {
			put_string_property(&v, "apiVersion");
			put_string_property(&v, "kind");
		}
		openapi_fields(s, put_property, &v);
		put_inner(&schema, SCHEMA_PROPERTIES, &properties);
	}
	if (gvks != NULL)
		put_extension(&schema, SCHEMA_EXTENSION, "x-kubernetes-group-version-kind", gvks);
	put_named(definitions, ONLY, openapi_name(arena, s), &schema);
}

/* --- Paths --------------------------------------------------------------------------- */

static void put_parameter(struct buf *operation, const struct openapi_parameter *p)
{
	struct buf query = { 0 }, non_body = { 0 }, parameter = { 0 }, item = { 0 };

	put_text(&query, QUERY_IN, "query");
	put_text(&query, QUERY_NAME, p->name);
	put_text(&query, QUERY_TYPE, p->type);
	put_inner(&non_body, 3, &query);
	put_inner(&parameter, 2, &non_body);
	put_inner(&item, 1, &parameter);
	put_inner(operation, OPERATION_PARAMETERS, &item);
}

static void put_response(struct buf *operation)
{
	struct buf response = { 0 }, value = { 0 }, responses = { 0 };

	put_text(&response, 1, "OK");
	put_inner(&value, 1, &response);
	put_named(&responses, 1, "200", &value);
	put_inner(operation, OPERATION_RESPONSES, &responses);
}

static void put_path(struct arena *arena, struct buf *paths, const struct kind *k)
{
	struct buf operation = { 0 }, item = { 0 };

	put_text(&operation, OPERATION_CONSUMES, "application/json-patch+json");
	put_text(&operation, OPERATION_CONSUMES, "application/merge-patch+json");
	put_text(&operation, OPERATION_CONSUMES, "application/strategic-merge-patch+json");
	for (size_t i = 0; i < openapi_n_parameters; i++)
		put_parameter(&operation, &openapi_parameters[i]);
	put_response(&operation);
	put_extension(&operation, OPERATION_EXTENSION, "x-kubernetes-action", "patch");
	put_extension(&operation, OPERATION_EXTENSION, "x-kubernetes-group-version-kind",
		      arena_printf(arena, "group: \"%s\"\nkind: %s\nversion: %s\n", k->group,
				   k->kind, k->version));
	put_inner(&item, PATH_PATCH, &operation);
	put_named(paths, PATHS_PATH, openapi_path(arena, k), &item);
}

void openapi_v2_write(struct buf *out)
{
	struct buf info = { 0 }, paths = { 0 }, definitions = { 0 };
	auto_with(arena_fini) struct arena arena = { 0 };
	auto_with(openapi_model_fini) struct openapi_model model;

	arena_init(&arena, 0);
	openapi_model_init(&model, &arena);
	kinds_for_each(k)
	{
		if (!(k->flags & KIND_SERVED))
			continue;
		openapi_model_add(&model, k->descriptor);
		if (k->verbs & KIND_PATCH)
			put_path(&arena, &paths, k);
	}
	for (size_t i = 0; i < model.n; i++)
		put_definition(&arena, &definitions, model.schemas[i]);
	put_text(&info, INFO_TITLE, "Sampan");
	put_text(&info, INFO_VERSION, "v1.33.0");
	put_text(out, DOC_SWAGGER, "2.0");
	put_inner(out, DOC_INFO, &info);
	put_inner(out, DOC_PATHS, &paths);
	put_inner(out, DOC_DEFINITIONS, &definitions);
}
