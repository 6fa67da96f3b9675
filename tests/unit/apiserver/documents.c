/* Discovery and OpenAPI: that what is written is JSON, complete, and only of what is served. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/api/kinds.h"
#include "common/api/value.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "controlplane/apiserver/discovery.h"
#include "controlplane/apiserver/openapi.h"

static struct value *parse(struct arena *a, struct bytes text, const char *name)
{
	struct status st = { 0 };
	struct value *v;

	if (value_parse(text, a, &v, &st) < 0)
		fail_msg("%s is not JSON: %s", name, st.message);
	return v;
}

static struct value *document(struct discovery *d, struct arena *a, const char *path,
			      enum media_view view, const char *version)
{
	struct media media = { MEDIA_JSON, view, version };
	struct api_path p;
	struct bytes body;
	const char *etag;

	assert_int_equal(path_parse(a, path, &p, NULL), 0);
	if (!discovery_document(d, &p, &media, "host:6443", &body, &etag))
		return NULL;
	assert_int_equal(strlen(etag), 18);
	return parse(a, body, path);
}

/* The member of a list whose key has this text, or NULL. */
static struct value *find(const struct value *list, const char *key, const char *text)
{
	for (uint32_t i = 0; list != NULL && i < list->n; i++) {
		const char *found = value_get_string(list->items[i], key);

		if (found != NULL && strcmp(found, text) == 0)
			return list->items[i];
	}
	return NULL;
}

static void every_served_kind_is_found_in_both_forms(void **state)
{
	struct discovery *d = discovery_create();
	struct arena a;

	(void)state;
	arena_init(&a, 0);

	struct value *core = document(d, &a, "/api", MEDIA_DISCOVERY, "v2");
	struct value *groups = document(d, &a, "/apis", MEDIA_DISCOVERY, "v2");

	kinds_for_each(k)
	{
		bool served = k->flags & KIND_SERVED, is_core = *k->group == 0;
		struct value *legacy = document(
			d, &a, arena_printf(&a, "/%s/%s", is_core ? "api" : "apis", k->api_version),
			MEDIA_OBJECT, "v1");
		struct value *row = find(value_get(legacy, "resources"), "name", k->plural);

		if (served != (row != NULL))
			fail_msg("%s in %s", k->plural, k->api_version);

		struct value *items = value_get(is_core ? core : groups, "items"), *found = NULL;

		for (uint32_t i = 0; i < items->n; i++) {
			const char *name =
				value_get_string(value_get(items->items[i], "metadata"), "name");
			struct value *version;

			if (strcmp(name != NULL ? name : "", k->group) != 0)
				continue;
			version =
				find(value_get(items->items[i], "versions"), "version", k->version);
			if (find(value_get(version, "resources"), "resource", k->plural))
				found = items->items[i];
		}
		if (served != (found != NULL))
			fail_msg("%s in the aggregated form", k->resource);
	}
	assert_null(document(d, &a, "/apis/nothing.example", MEDIA_OBJECT, "v1"));
	assert_null(document(d, &a, "/apis/apps/v7", MEDIA_OBJECT, "v1"));
	assert_null(document(d, &a, "/api/v7", MEDIA_OBJECT, "v1"));
	assert_string_equal(value_get_string(document(d, &a, "/api", MEDIA_OBJECT, "v1"), "kind"),
			    "APIVersions");
	assert_string_equal(
		value_get_string(document(d, &a, "/apis/apps", MEDIA_OBJECT, "v1"), "name"),
		"apps");
	arena_fini(&a);
	discovery_destroy(d);
}

/* Every $ref in a document names a schema that is there. */
static void check_refs(const struct value *v, const struct value *schemas)
{
	static const char prefix[] = "#/components/schemas/";

	for (uint32_t i = 0; i < v->n; i++) {
		if (v->type == VALUE_LIST) {
			check_refs(v->items[i], schemas);
			continue;
		}

		const struct value_member *m = &v->members[i];

		if (strcmp(m->key, "$ref") == 0 && m->value->type == VALUE_STRING) {
			assert_int_equal(strncmp(m->value->text, prefix, strlen(prefix)), 0);
			if (value_get(schemas, m->value->text + strlen(prefix)) == NULL)
				fail_msg("%s is not there", m->value->text);
		} else if (m->value->type == VALUE_LIST || m->value->type == VALUE_MAP) {
			check_refs(m->value, schemas);
		}
	}
}

static void openapi_documents_are_complete(void **state)
{
	struct openapi *o = openapi_create();
	struct arena a;
	struct group_version gv;

	(void)state;
	arena_init(&a, 0);

	struct value *index = parse(&a, buf_bytes(&openapi_v3(o, "")->body), "index");

	for (size_t i = 0; group_version_at(i, &gv); i++) {
		char *path = arena_printf(&a, "%s/%s", *gv.group ? "apis" : "api", gv.api_version);
		const struct document *d = openapi_v3(o, arena_printf(&a, "/%s", path));

		assert_non_null(d);
		assert_non_null(value_get(value_get(index, "paths"), path));

		struct value *v = parse(&a, buf_bytes(&d->body), path);

		check_refs(v, value_get(value_get(v, "components"), "schemas"));
	}
	assert_null(openapi_v3(o, "/apis/nothing/v1"));
	assert_true(openapi_v2(o)->body.len > 10000);
	openapi_destroy(o);
	arena_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_served_kind_is_found_in_both_forms),
		cmocka_unit_test(openapi_documents_are_complete),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
