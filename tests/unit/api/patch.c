/* The three kinds of patches: tables of document, patch and result. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/api/message.h"
#include "common/api/pack.h"
#include "common/api/patch.h"
#include "common/base/cleanup.h"
#include "proto/k8s/apps_v1.pb-c.h"
#include "proto/k8s/core_v1.pb-c.h"

struct patch_case {
	const char *name, *doc, *patch;
	const char *want; /* The result, or what the error says. */
	int rc;
};

/* The first twelve are examples of RFC 6902's appendix, in our own values. */
static const struct patch_case json_cases[] = {
	{ "add a member", "{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/b\",\"value\":2}]",
	  "{\"a\":1,\"b\":2}", 0 },
	{ "add an element", "{\"a\":[1,3]}", "[{\"op\":\"add\",\"path\":\"/a/1\",\"value\":2}]",
	  "{\"a\":[1,2,3]}", 0 },
	{ "append", "{\"a\":[1]}", "[{\"op\":\"add\",\"path\":\"/a/-\",\"value\":[2]}]",
	  "{\"a\":[1,[2]]}", 0 },
	{ "add replaces a member", "{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/a\",\"value\":null}]",
	  "{\"a\":null}", 0 },
	{ "remove a member", "{\"a\":1,\"b\":2}", "[{\"op\":\"remove\",\"path\":\"/a\"}]",
	  "{\"b\":2}", 0 },
	{ "remove an element", "[1,2,3]", "[{\"op\":\"remove\",\"path\":\"/1\"}]", "[1,3]", 0 },
	{ "replace", "{\"a\":{\"b\":1}}",
	  "[{\"op\":\"replace\",\"path\":\"/a/b\",\"value\":\"x\"}]", "{\"a\":{\"b\":\"x\"}}", 0 },
	{ "replace everything", "{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"\",\"value\":[1]}]",
	  "[1]", 0 },
	{ "move", "{\"a\":{\"b\":1},\"c\":{}}",
	  "[{\"op\":\"move\",\"from\":\"/a/b\",\"path\":\"/c/d\"}]", "{\"a\":{},\"c\":{\"d\":1}}",
	  0 },
	{ "move in a list", "[1,2,3]", "[{\"op\":\"move\",\"from\":\"/0\",\"path\":\"/2\"}]",
	  "[2,3,1]", 0 },
	{ "copy is a copy", "{\"a\":{\"b\":1}}",
	  "[{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/c\"},{\"op\":\"add\",\"path\":\"/c/b\",\"value\":2}]",
	  "{\"a\":{\"b\":1},\"c\":{\"b\":2}}", 0 },
	{ "test passes", "{\"a\":[1,{\"b\":1.0}]}",
	  "[{\"op\":\"test\",\"path\":\"/a\",\"value\":[1,{\"b\":1}]}]", "{\"a\":[1,{\"b\":1.0}]}",
	  0 },
	{ "test of nothing is null", "{}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":null}]",
	  "{}", 0 },
	{ "escapes", "{\"a/b\":1,\"m~n\":2}",
	  "[{\"op\":\"remove\",\"path\":\"/a~1b\"},{\"op\":\"replace\",\"path\":\"/m~0n\",\"value\":3}]",
	  "{\"m~n\":3}", 0 },
	{ "empty key", "{\"\":1}", "[{\"op\":\"replace\",\"path\":\"/\",\"value\":2}]", "{\"\":2}",
	  0 },
	{ "the patch's value is not changed", "{}",
	  "[{\"op\":\"add\",\"path\":\"/a\",\"value\":{}},{\"op\":\"add\",\"path\":\"/a/x\",\"value\":1}]",
	  "{\"a\":{\"x\":1}}", 0 },
	{ "large integers survive", "{}",
	  "[{\"op\":\"add\",\"path\":\"/n\",\"value\":9007199254740993}]",
	  "{\"n\":9007199254740993}", 0 },

	{ "test fails", "{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":2}]",
	  "testing value /a failed", -EINVAL },
	{ "no parent", "{}", "[{\"op\":\"add\",\"path\":\"/a/b\",\"value\":2}]", "missing path",
	  -EINVAL },
	{ "scalar parent", "{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/a/b\",\"value\":2}]",
	  "missing path", -EINVAL },
	{ "out of bounds", "[1]", "[{\"op\":\"add\",\"path\":\"/2\",\"value\":2}]", "out of bounds",
	  -EINVAL },
	{ "leading zero", "[1,2]", "[{\"op\":\"remove\",\"path\":\"/01\"}]", "nonexistent",
	  -EINVAL },
	{ "remove nothing", "{}", "[{\"op\":\"remove\",\"path\":\"/a\"}]", "nonexistent", -EINVAL },
	{ "remove everything", "{}", "[{\"op\":\"remove\",\"path\":\"\"}]", "nonexistent",
	  -EINVAL },
	{ "replace nothing", "{}", "[{\"op\":\"replace\",\"path\":\"/a\",\"value\":1}]",
	  "missing key", -EINVAL },
	{ "move into itself", "{\"a\":{}}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/a/b\"}]",
	  "into itself", -EINVAL },
	{ "copy from nowhere", "{}", "[{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/b\"}]",
	  "missing from", -EINVAL },
	{ "unknown operation", "{}", "[{\"op\":\"merge\",\"path\":\"/a\",\"value\":1}]",
	  "unexpected operation", -EBADMSG },
	{ "no path", "{}", "[{\"op\":\"add\",\"value\":1}]", "needs", -EBADMSG },
	{ "no value", "{}", "[{\"op\":\"add\",\"path\":\"/a\"}]", "needs \"value\"", -EBADMSG },
	{ "bad pointer", "{}", "[{\"op\":\"remove\",\"path\":\"a\"}]", "not a JSON pointer",
	  -EBADMSG },
	{ "bad escape", "{}", "[{\"op\":\"remove\",\"path\":\"/~2\"}]", "not a JSON pointer",
	  -EBADMSG },
	{ "no list", "{}", "{}", "list of operations", -EBADMSG },
	{ "no operation", "{}", "[1]", "needs", -EBADMSG },
};

static const struct patch_case merge_cases[] = {
	{ "change, add, remove", "{\"a\":\"b\",\"c\":{\"d\":1,\"e\":2}}",
	  "{\"a\":\"z\",\"c\":{\"d\":null},\"f\":[1]}", "{\"a\":\"z\",\"c\":{\"e\":2},\"f\":[1]}",
	  0 },
	{ "lists are replaced", "{\"a\":[1,2]}", "{\"a\":[3]}", "{\"a\":[3]}", 0 },
	{ "null inside a list stays", "{}", "{\"a\":[null]}", "{\"a\":[null]}", 0 },
	{ "a map over a scalar", "{\"a\":1}", "{\"a\":{\"b\":1,\"c\":null}}", "{\"a\":{\"b\":1}}",
	  0 },
	{ "removing nothing", "{\"a\":1}", "{\"b\":null}", "{\"a\":1}", 0 },
	{ "a scalar over everything", "{\"a\":1}", "7", "7", 0 },
};

#define POD(spec) "{\"spec\":{" spec "}}"
#define CONTAINERS(list) POD("\"containers\":[" list "]")

/* Over a Pod. */
static const struct patch_case strategic_cases[] = {
	{ "containers merge by name",
	  CONTAINERS("{\"name\":\"a\",\"image\":\"x\"},{\"name\":\"b\"}"),
	  CONTAINERS("{\"name\":\"a\",\"image\":\"y\"}"),
	  CONTAINERS("{\"name\":\"a\",\"image\":\"y\"},{\"name\":\"b\"}"), 0 },
	{ "a new element comes first without an order", CONTAINERS("{\"name\":\"a\"}"),
	  CONTAINERS("{\"name\":\"b\"}"), CONTAINERS("{\"name\":\"b\"},{\"name\":\"a\"}"), 0 },
	{ "order of the result", CONTAINERS("{\"name\":\"a\"},{\"name\":\"b\"}"),
	  POD("\"$setElementOrder/containers\":[{\"name\":\"b\"},{\"name\":\"c\"},{\"name\":\"a\"}],"
	      "\"containers\":[{\"name\":\"c\"}]"),
	  CONTAINERS("{\"name\":\"b\"},{\"name\":\"c\"},{\"name\":\"a\"}"), 0 },
	{ "others keep their place before what follows them",
	  CONTAINERS("{\"name\":\"a\"},{\"name\":\"x\"},{\"name\":\"b\"}"),
	  POD("\"$setElementOrder/containers\":[{\"name\":\"a\"},{\"name\":\"b\"}]"),
	  CONTAINERS("{\"name\":\"a\"},{\"name\":\"x\"},{\"name\":\"b\"}"), 0 },
	{ "delete an element", CONTAINERS("{\"name\":\"a\"},{\"name\":\"b\"}"),
	  CONTAINERS("{\"$patch\":\"delete\",\"name\":\"a\"}"), CONTAINERS("{\"name\":\"b\"}"), 0 },
	{ "replace the list", CONTAINERS("{\"name\":\"a\"},{\"name\":\"b\"}"),
	  CONTAINERS("{\"name\":\"c\",\"image\":null},{\"$patch\":\"replace\"}"),
	  CONTAINERS("{\"name\":\"c\"}"), 0 },
	{ "replace a map", "{\"metadata\":{\"labels\":{\"a\":\"1\",\"b\":\"2\"}}}",
	  "{\"metadata\":{\"labels\":{\"$patch\":\"replace\",\"c\":\"3\"}}}",
	  "{\"metadata\":{\"labels\":{\"c\":\"3\"}}}", 0 },
	{ "delete a map's content", POD("\"securityContext\":{\"runAsUser\":1}"),
	  POD("\"securityContext\":{\"$patch\":\"delete\"}"), POD("\"securityContext\":{}"), 0 },
	{ "labels merge, null removes", "{\"metadata\":{\"labels\":{\"a\":\"1\",\"b\":\"2\"}}}",
	  "{\"metadata\":{\"labels\":{\"a\":null,\"c\":\"3\"}}}",
	  "{\"metadata\":{\"labels\":{\"b\":\"2\",\"c\":\"3\"}}}", 0 },
	{ "nested lists merge too",
	  CONTAINERS(
		  "{\"name\":\"a\",\"env\":[{\"name\":\"X\",\"value\":\"1\"}],\"args\":[\"p\"]}"),
	  CONTAINERS(
		  "{\"name\":\"a\",\"env\":[{\"name\":\"Y\",\"value\":\"2\"}],\"args\":[\"q\"]}"),
	  CONTAINERS("{\"name\":\"a\",\"env\":[{\"name\":\"Y\",\"value\":\"2\"},{\"name\":\"X\","
		     "\"value\":\"1\"}],\"args\":[\"q\"]}"),
	  0 },
	{ "ports merge by containerPort",
	  CONTAINERS("{\"name\":\"a\",\"ports\":[{\"containerPort\":80,\"name\":\"w\"}]}"),
	  CONTAINERS("{\"name\":\"a\",\"ports\":[{\"containerPort\":80,\"protocol\":\"UDP\"}]}"),
	  CONTAINERS(
		  "{\"name\":\"a\",\"ports\":[{\"containerPort\":80,\"name\":\"w\",\"protocol\":\"UDP\"}]}"),
	  0 },
	{ "finalizers are a set", "{\"metadata\":{\"finalizers\":[\"a\",\"b\"]}}",
	  "{\"metadata\":{\"finalizers\":[\"b\",\"c\"],\"$deleteFromPrimitiveList/finalizers\":[\"a\"]}}",
	  "{\"metadata\":{\"finalizers\":[\"b\",\"c\"]}}", 0 },
	{ "deletion from a set alone", "{\"metadata\":{\"finalizers\":[\"a\",\"b\"]}}",
	  "{\"metadata\":{\"$deleteFromPrimitiveList/finalizers\":[\"a\"]}}",
	  "{\"metadata\":{\"finalizers\":[\"b\"]}}", 0 },
	{ "tolerations are atomic", POD("\"tolerations\":[{\"key\":\"a\"}]"),
	  POD("\"tolerations\":[{\"key\":\"b\"}]"), POD("\"tolerations\":[{\"key\":\"b\"}]"), 0 },
	{ "volumes keep only what $retainKeys names",
	  POD("\"volumes\":[{\"name\":\"v\",\"emptyDir\":{\"medium\":\"\"}}]"),
	  POD("\"volumes\":[{\"$retainKeys\":[\"name\",\"hostPath\"],\"name\":\"v\",\"hostPath\":{\"path\":"
	      "\"/x\"}}]"),
	  POD("\"volumes\":[{\"name\":\"v\",\"hostPath\":{\"path\":\"/x\"}}]"), 0 },
	{ "null in something new is dropped", "{}",
	  "{\"spec\":{\"nodeName\":null,\"hostname\":\"h\"}}", "{\"spec\":{\"hostname\":\"h\"}}",
	  0 },
	{ "ephemeral containers merge by their inline name",
	  POD("\"ephemeralContainers\":[{\"name\":\"d\",\"image\":\"x\"}]"),
	  POD("\"ephemeralContainers\":[{\"name\":\"d\",\"image\":\"y\"}]"),
	  POD("\"ephemeralContainers\":[{\"name\":\"d\",\"image\":\"y\"}]"), 0 },
	{ "conditions merge by type",
	  "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"False\"}]}}",
	  "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}",
	  "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}", 0 },

	{ "no merge key", CONTAINERS("{\"name\":\"a\"}"), CONTAINERS("{\"image\":\"x\"}"),
	  "does not contain declared merge key: name", -EINVAL },
	{ "unknown directive", "{}", "{\"spec\":{\"$patch\":\"explode\"}}", "Unknown patch type",
	  -EBADMSG },
	{ "$retainKeys without a key of the patch", POD("\"volumes\":[{\"name\":\"v\"}]"),
	  POD("\"volumes\":[{\"$retainKeys\":[\"name\"],\"name\":\"v\",\"hostPath\":{}}]"),
	  "hostPath is missing", -EINVAL },
	{ "an element that is no object", CONTAINERS("{\"name\":\"a\"}"), CONTAINERS("7"), "none",
	  -EINVAL },
	{ "no object", "{}", "[]", "must be a JSON object", -EBADMSG },
};

static void run(const struct patch_case *c, enum patch_type type)
{
	struct value *doc, *patch, *out = NULL;
	struct buf text = { 0 }, untouched = { 0 };
	struct status st = { 0 };
	struct arena a;
	int rc;

	arena_init(&a, 0);
	assert_int_equal(value_parse(bytes_str(c->doc), &a, &doc, &st), 0);
	assert_int_equal(value_parse(bytes_str(c->patch), &a, &patch, &st), 0);
	if (type == PATCH_JSON)
		rc = patch_json(doc, patch, &a, &out, &st);
	else if (type == PATCH_MERGE)
		rc = patch_merge(doc, patch, &a, &out, &st);
	else
		rc = patch_strategic(schema_of(&core_v1__pod__descriptor), doc, patch, &a, &out,
				     &st);
	if (rc != c->rc)
		fail_msg("%s: rc %d: %s", c->name, rc, st.message ? st.message : "");
	if (rc < 0) {
		if (strstr(st.message, c->want) == NULL)
			fail_msg("%s: %s", c->name, st.message);
	} else {
		value_print(&text, out);
		if (strcmp(buf_cstr(&text), c->want) != 0)
			fail_msg("%s: got %s", c->name, buf_cstr(&text));
	}
	value_print(&untouched, doc);
	if (strcmp(buf_cstr(&untouched), c->doc) != 0)
		fail_msg("%s: the document was changed", c->name);
	buf_clear(&untouched);
	value_print(&untouched, patch);
	if (strcmp(buf_cstr(&untouched), c->patch) != 0)
		fail_msg("%s: the patch was changed", c->name);
	status_fini(&st);
	buf_fini(&text);
	buf_fini(&untouched);
	arena_fini(&a);
}

static void json_patches(void **state)
{
	(void)state;
	for (size_t i = 0; i < array_size(json_cases); i++)
		run(&json_cases[i], PATCH_JSON);
}

static void merge_patches(void **state)
{
	(void)state;
	for (size_t i = 0; i < array_size(merge_cases); i++)
		run(&merge_cases[i], PATCH_MERGE);
}

static void strategic_patches(void **state)
{
	(void)state;
	for (size_t i = 0; i < array_size(strategic_cases); i++)
		run(&strategic_cases[i], PATCH_STRATEGIC);
}

static const struct {
	enum patch_type type;
	const char *patch, *want;
	int rc;
} object_cases[] = {
	{ PATCH_STRATEGIC, "{\"spec\":{\"replicas\":5}}", "\"replicas\":5", 0 },
	{ PATCH_MERGE, "{\"metadata\":{\"annotations\":{\"a\":\"b\"}}}",
	  "\"annotations\":{\"a\":\"b\"}", 0 },
	{ PATCH_JSON,
	  "[{\"op\":\"test\",\"path\":\"/metadata/resourceVersion\",\"value\":\"9\"},"
	  "{\"op\":\"replace\",\"path\":\"/spec/replicas\",\"value\":0}]",
	  "\"replicas\":0", 0 },
	{ PATCH_MERGE, "{\"spec\":{\"replicas\":\"x\"}}",
	  "Deployment.apps \"web\" is invalid: patch: Invalid value: \"{\"spec\":{\"replicas\":\"x\"}}\": json: "
	  "cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
	  -EINVAL },
	{ PATCH_MERGE, "{\"sepc\":{}}", "strict decoding error: unknown field \"sepc\"", -EBADMSG },
	{ PATCH_MERGE, "{\"spec\":", "unexpected end of JSON input", -EBADMSG },
	{ PATCH_MERGE, "[]", "must be a JSON object", -EBADMSG },
};

static void objects_are_patched(void **state)
{
	const ProtobufCMessageDescriptor *d = &apps_v1__deployment__descriptor;
	const char *text = "{\"metadata\":{\"name\":\"web\"},\"spec\":{\"replicas\":2}}";

	(void)state;
	for (size_t i = 0; i < array_size(object_cases); i++) {
		struct json_read read = { .validation = FIELDS_STRICT };
		struct status st = { 0 };
		struct buf out = { 0 };
		AppsV1__Deployment *before, *after;
		struct arena a;

		arena_init(&a, 64u << 20);
		assert_int_equal(json_read_message(d, bytes_str(text), &a, NULL, &before, &st), 0);
		int rc = patch_object(object_cases[i].type, d, "apps/v1", "Deployment", 9,
				      pack_message_in(&a, before), bytes_str(object_cases[i].patch),
				      &a, &read, &after, &st);
		if (rc != object_cases[i].rc)
			fail_msg("%s: rc %d: %s", object_cases[i].patch, rc,
				 st.message ? st.message : "");
		if (rc == 0)
			json_put_message(&out, after, NULL);
		if (strstr(rc == 0 ? buf_cstr(&out) : st.message, object_cases[i].want) == NULL)
			fail_msg("%s: %s", object_cases[i].patch, rc ? st.message : buf_cstr(&out));
		status_fini(&st);
		buf_fini(&out);
		arena_fini(&a);
	}
}

/* Doubling by copies, and nesting by additions, end at a bound. */
static void growth_is_bounded(void **state)
{
	struct buf text = { 0 };
	struct value *doc, *patch, *out;
	struct status st = { 0 };
	struct arena a;

	(void)state;
	arena_init(&a, 16u << 20);
	buf_put_str(&text, "[");
	for (int i = 0; i < 64; i++)
		buf_printf(&text, "%s{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/a/%d\"}",
			   i ? "," : "", i);
	buf_put_str(&text, "]");
	assert_int_equal(value_parse(bytes_str("{\"a\":{\"x\":[1,2,3]}}"), &a, &doc, &st), 0);
	assert_int_equal(value_parse(buf_bytes(&text), &a, &patch, &st), 0);
	assert_int_equal(patch_json(doc, patch, &a, &out, &st), -EFBIG);
	assert_int_equal(st.http_code, 413);
	arena_reset(&a);
	status_fini(&st);

	buf_clear(&text);
	buf_put_str(&text, "[");
	for (int i = 0; i < 40; i++) {
		buf_printf(&text, "%s{\"op\":\"add\",\"path\":\"", i ? "," : "");
		for (int k = 0; k <= 10 * i; k++)
			buf_put_str(&text, k ? "/0" : "/a");
		buf_put_str(&text, "\",\"value\":[[[[[[[[[[0]]]]]]]]]]}");
	}
	buf_put_str(&text, "]");
	assert_int_equal(value_parse(bytes_str("{}"), &a, &doc, &st), 0);
	assert_int_equal(value_parse(buf_bytes(&text), &a, &patch, &st), 0);
	assert_int_equal(patch_json(doc, patch, &a, &out, &st), -EINVAL);
	assert_non_null(strstr(st.message, "nested too deeply"));
	status_fini(&st);
	buf_fini(&text);
	arena_fini(&a);
}

/* The same through a whole object, in an arena without a budget. */
static void objects_do_not_explode(void **state)
{
	const ProtobufCMessageDescriptor *d = &core_v1__config_map__descriptor;
	struct buf text = { 0 };
	struct status st = { 0 };
	CoreV1__ConfigMap *m;
	struct arena a;

	(void)state;
	arena_init(&a, 0);
	m = message_new(d, &a);
	string_map_set(m, "data", "a", "b", &a);
	buf_put_str(&text, "[");
	for (int i = 0; i < 64; i++)
		buf_printf(&text, "%s{\"op\":\"copy\",\"from\":\"/data\",\"path\":\"/data/%d\"}",
			   i ? "," : "", i);
	buf_put_str(&text, "]");
	assert_int_equal(patch_object(PATCH_JSON, d, "v1", "ConfigMap", 1, pack_message_in(&a, m),
				      buf_bytes(&text), &a, NULL, &m, &st),
			 -EFBIG);
	assert_int_equal(a.budget_bytes, 0);
	assert_true(a.used_bytes < PATCH_BUDGET_BYTES + (1 << 20));
	status_fini(&st);
	buf_fini(&text);
	arena_fini(&a);
}

static void large_maps_are_indexed(void **state)
{
	struct value *map;
	char key[16];
	struct arena a;

	(void)state;
	arena_init(&a, 0);
	map = value_new_map(&a);
	for (int i = 0; i < 5000; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		assert_true(value_set(map, &a, key, value_new_int(&a, i)));
	}
	for (int i = 0; i < 5000; i += 3) {
		snprintf(key, sizeof(key), "k%d", i);
		assert_true(value_remove(map, key));
		assert_false(value_remove(map, key));
	}
	for (int i = 0; i < 5000; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		const struct value *v = value_get(map, key);

		assert_int_equal(v == NULL, i % 3 == 0);
		if (v != NULL)
			assert_int_equal(atoi(v->text), i);
	}
	assert_true(value_equal(map, value_copy(map, &a)));
	arena_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(json_patches),           cmocka_unit_test(merge_patches),
		cmocka_unit_test(strategic_patches),      cmocka_unit_test(objects_are_patched),
		cmocka_unit_test(growth_is_bounded),      cmocka_unit_test(objects_do_not_explode),
		cmocka_unit_test(large_maps_are_indexed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
