/* The documents and the JSON of version 3. */
#include "controlplane/apiserver/openapi.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/map.h"
#include "controlplane/apiserver/discovery.h"
#include "controlplane/apiserver/openapi_internal.h"

struct openapi {
	struct map documents; /* "v2", "v3", "v3/apis/apps/v1" */
};

struct openapi *openapi_create(void)
{
	return xcalloc(1, sizeof(struct openapi));
}

void openapi_destroy(struct openapi *o)
{
	if (o == NULL)
		return;
	map_for_each (slot, &o->documents) {
		struct document *d = slot->value;

		buf_fini(&d->body);
		free(d);
	}
	map_fini(&o->documents);
	free(o);
}

static const struct document *keep(struct openapi *o, const char *key, struct document *d)
{
	snprintf(d->etag, sizeof(d->etag), "\"%016llX\"",
		 (unsigned long long)hash_bytes(d->body.data, d->body.len));
	map_put(&o->documents, key, d);
	return d;
}

/* --- Schemas in JSON ----------------------------------------------------------------- */

struct v3 {
	struct buf *out;
	struct arena *arena;
	const char *comma;
};

static void put_ref(struct v3 *v, const struct schema *s)
{
	buf_printf(v->out, "\"allOf\":[{\"$ref\":\"#/components/schemas/%s\"}]",
		   openapi_name(v->arena, s));
}

static void put_enum(struct v3 *v, const struct schema_field *f)
{
	if (f->extra == NULL || f->extra->enum_values == NULL || !(f->flags & SCHEMA_CLOSED))
		return;
	buf_put_str(v->out, ",\"enum\":[");
	for (size_t i = 0; f->extra->enum_values[i] != NULL; i++)
		buf_printf(v->out, "%s\"%s\"", i ? "," : "", f->extra->enum_values[i]);
	buf_put_byte(v->out, ']');
}

/* The value of a field, of a list's items or of a map's values. */
static void put_value(struct v3 *v, const struct schema_field *f)
{
	const char *format, *type = openapi_scalar_type(f->type, &format);

	if (f->message != NULL) {
		put_ref(v, f->message);
		return;
	}
	buf_printf(v->out, "\"type\":\"%s\"", type != NULL ? type : "string");
	if (format != NULL)
		buf_printf(v->out, ",\"format\":\"%s\"", format);
	put_enum(v, f);
}

static void put_merging(struct v3 *v, const struct schema_field *f)
{
	const char *list = openapi_list_type(f), *strategy = openapi_patch_strategy(f);
	const struct schema_extra *extra = f->extra;

	if (list != NULL)
		buf_printf(v->out, ",\"x-kubernetes-list-type\":\"%s\"", list);
	if (extra != NULL && extra->list_keys != NULL) {
		buf_put_str(v->out, ",\"x-kubernetes-list-map-keys\":[");
		for (size_t i = 0; extra->list_keys[i] != NULL; i++)
			buf_printf(v->out, "%s\"%s\"", i ? "," : "", extra->list_keys[i]);
		buf_put_byte(v->out, ']');
	}
	if (f->flags & SCHEMA_ATOMIC)
		buf_put_str(v->out, ",\"x-kubernetes-map-type\":\"atomic\"");
	if (strategy != NULL)
		buf_printf(v->out, ",\"x-kubernetes-patch-strategy\":\"%s\"", strategy);
	if (extra != NULL && extra->merge_key != NULL)
		buf_printf(v->out, ",\"x-kubernetes-patch-merge-key\":\"%s\"", extra->merge_key);
}

static void put_property(void *ctx, const struct schema_field *f)
{
	struct v3 *v = ctx;

	buf_printf(v->out, "%s\"%s\":{", v->comma, f->json_name);
	v->comma = ",";
	if (f->label == SCHEMA_LIST) {
		buf_put_str(v->out, "\"type\":\"array\",\"items\":{");
		put_value(v, f);
		buf_put_byte(v->out, '}');
	} else if (f->label == SCHEMA_MAP) {
		buf_put_str(v->out, "\"type\":\"object\",\"additionalProperties\":{");
		put_value(v, &f->message->fields[1]);
		buf_put_byte(v->out, '}');
	} else {
		put_value(v, f);
	}
	put_merging(v, f);
	buf_put_byte(v->out, '}');
}

static void put_gvks(struct v3 *v, const struct schema *s)
{
	const char *comma = ",\"x-kubernetes-group-version-kind\":[";

	kinds_for_each(k)
	{
		if (k->descriptor != s->descriptor || !(k->flags & KIND_SERVED))
			continue;
		buf_printf(v->out, "%s{\"group\":\"%s\",\"version\":\"%s\",\"kind\":\"%s\"}", comma,
			   k->group, k->version, k->kind);
		comma = ",";
	}
	if (comma[1] == 0)
		buf_put_byte(v->out, ']');
}

static void put_object_schema(struct v3 *v, const struct schema *s)
{
	buf_put_str(v->out, "\"type\":\"object\",\"properties\":{");
	v->comma = "";
	if (s->is_kind) {
		buf_put_str(v->out, "\"apiVersion\":{\"type\":\"string\"},\"kind\":{\"type\":"
				    "\"string\"}");
		v->comma = ",";
	}
	openapi_fields(s, put_property, v);
	buf_put_byte(v->out, '}');
	put_gvks(v, s);
}

static void put_schema(struct v3 *v, const struct schema *s)
{
	const char *format, *type = openapi_form_type(s, &format);

	buf_printf(v->out, "\"%s\":{", openapi_name(v->arena, s));
	if (s->form == SCHEMA_FORM_OBJECT)
		put_object_schema(v, s);
	else if (s->form == SCHEMA_FORM_INT_OR_STRING)
		buf_put_str(v->out,
			    "\"format\":\"int-or-string\",\"oneOf\":[{\"type\":\"integer\"},"
			    "{\"type\":\"string\"}]");
	else if (s->form == SCHEMA_FORM_QUANTITY)
		buf_put_str(v->out, "\"oneOf\":[{\"type\":\"string\"},{\"type\":\"number\"}]");
	else if (s->form == SCHEMA_FORM_ITEMS)
		buf_put_str(v->out, "\"type\":\"array\",\"items\":{\"type\":\"string\"}");
	else if (type != NULL)
		buf_printf(v->out, "\"type\":\"%s\"", type);
	if (format != NULL && s->form != SCHEMA_FORM_INT_OR_STRING)
		buf_printf(v->out, ",\"format\":\"%s\"", format);
	buf_put_byte(v->out, '}');
}

/* --- Paths in JSON ------------------------------------------------------------------- */

static void put_patch_body(struct v3 *v)
{
	static const char *const types[] = {
		"application/json-patch+json",
		"application/merge-patch+json",
		"application/strategic-merge-patch+json",
	};

	buf_put_str(v->out, "\"requestBody\":{\"content\":{");
	for (size_t i = 0; i < array_size(types); i++)
		buf_printf(v->out,
			   "%s\"%s\":{\"schema\":{\"$ref\":\"#/components/schemas/"
			   "io.k8s.apimachinery.pkg.apis.meta.v1.Patch\"}}",
			   i ? "," : "", types[i]);
	buf_put_str(v->out, "}},");
}

/* What an operation answers with, and which kind it is about. */
static void put_answer(struct v3 *v, const struct kind *k, const char *action)
{
	buf_printf(
		v->out,
		"\"responses\":{\"200\":{\"description\":\"OK\",\"content\":{\"application/json\":"
		"{\"schema\":{\"$ref\":\"#/components/schemas/%s\"}}}}},"
		"\"x-kubernetes-action\":\"%s\",\"x-kubernetes-group-version-kind\":"
		"{\"group\":\"%s\",\"version\":\"%s\",\"kind\":\"%s\"}}}",
		openapi_name(v->arena, schema_of(k->descriptor)), action, k->group, k->version,
		k->kind);
}

/* For kinds that can only be read. */
static void put_read_path(struct v3 *v, const struct kind *k)
{
	buf_printf(v->out, "%s\"%s\":{\"get\":{", v->comma, openapi_path(v->arena, k));
	v->comma = ",";
	put_answer(v, k, "get");
}

static void put_kind_path(struct v3 *v, const struct kind *k)
{
	buf_printf(v->out, "%s\"%s\":{\"patch\":{\"parameters\":[", v->comma,
		   openapi_path(v->arena, k));
	v->comma = ",";
	for (size_t i = 0; i < openapi_n_parameters; i++)
		buf_printf(v->out,
			   "%s{\"name\":\"%s\",\"in\":\"query\",\"schema\":{\"type\":\"%s\","
			   "\"uniqueItems\":true}}",
			   i ? "," : "", openapi_parameters[i].name, openapi_parameters[i].type);
	buf_put_str(v->out, "],");
	put_patch_body(v);
	put_answer(v, k, "patch");
}

const struct openapi_parameter openapi_parameters[] = {
	{ "dryRun", "string" },
	{ "fieldManager", "string" },
	{ "fieldValidation", "string" },
	{ "force", "boolean" },
};
const size_t openapi_n_parameters = array_size(openapi_parameters);

static bool in_version(const struct kind *k, const struct group_version *gv)
{
	return (k->flags & KIND_SERVED) && strcmp(k->group, gv->group) == 0 &&
	       strcmp(k->version, gv->version) == 0;
}

static struct document *v3_document(const struct group_version *gv)
{
	struct document *d = xcalloc(1, sizeof(*d));
	auto_with(arena_fini) struct arena arena = { 0 };
	auto_with(openapi_model_fini) struct openapi_model model;

	arena_init(&arena, 0);
	openapi_model_init(&model, &arena);

	struct v3 v = { &d->body, &arena, "" };

	buf_put_str(v.out, "{\"openapi\":\"3.0.0\",\"info\":{\"title\":\"Sampan\",\"version\":"
			   "\"v1.33.0\"},\"paths\":{");
	kinds_for_each(k)
	{
		if (!in_version(k, gv))
			continue;
		openapi_model_add(&model, k->descriptor);
		if (k->verbs & KIND_PATCH)
			put_kind_path(&v, k);
		else if (k->verbs & KIND_GET)
			put_read_path(&v, k);
	}
	buf_put_str(v.out, "},\"components\":{\"schemas\":{"
			   "\"io.k8s.apimachinery.pkg.apis.meta.v1.Patch\":{\"type\":\"object\"}");
	for (size_t i = 0; i < model.n; i++) {
		buf_put_byte(v.out, ',');
		put_schema(&v, model.schemas[i]);
	}
	buf_put_str(v.out, "}}}\n");
	return d;
}

/* "api/v1" or "apis/apps/v1": how the index and the paths name a group version. */
static char *version_path(const struct group_version *gv)
{
	return xasprintf("%s/%s", *gv->group ? "apis" : "api", gv->api_version);
}

static struct document *v3_index(struct openapi *o)
{
	struct document *d = xcalloc(1, sizeof(*d));
	struct group_version gv;

	buf_put_str(&d->body, "{\"paths\":{");
	for (size_t i = 0; group_version_at(i, &gv); i++) {
		autofree char *path = version_path(&gv);
		autofree char *rest = xasprintf("/%s", path);
		const struct document *one = openapi_v3(o, rest);

		buf_printf(&d->body,
			   "%s\"%s\":{\"serverRelativeURL\":\"/openapi/v3/%s?hash=%.16s\"}",
			   i ? "," : "", path, path, one->etag + 1);
	}
	buf_put_str(&d->body, "}}\n");
	return d;
}

const struct document *openapi_v3(struct openapi *o, const char *rest)
{
	autofree char *key = xasprintf("v3%s", rest);
	const struct document *known = map_get(&o->documents, key);
	struct group_version gv;

	if (known != NULL)
		return known;
	if (*rest == 0)
		return keep(o, key, v3_index(o));
	for (size_t i = 0; group_version_at(i, &gv); i++) {
		autofree char *path = version_path(&gv);

		if (strcmp(path, rest + 1) == 0)
			return keep(o, key, v3_document(&gv));
	}
	return NULL;
}

const struct document *openapi_v2(struct openapi *o)
{
	const struct document *known = map_get(&o->documents, "v2");

	if (known != NULL)
		return known;

	struct document *d = xcalloc(1, sizeof(*d));

	openapi_v2_write(&d->body);
	return keep(o, "v2", d);
}
