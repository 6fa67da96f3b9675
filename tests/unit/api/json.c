/* Every message of the API survives JSON, canonical bytes and back; and what
 * the decoders say to bad input. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/api/json.h"
#include "common/api/kinds.h"
#include "common/api/message.h"
#include "common/api/pack.h"
#include "proto/k8s/apps_v1.pb-c.h"
#include "proto/k8s/core_v1.pb-c.h"
#include "tests/unit/api/fill.h"

static void expect_same_text(const char *name, struct buf *got, struct buf *want)
{
	if (strcmp(buf_cstr(got), buf_cstr(want)) == 0)
		return;
	size_t i = 0;
	while (got->data[i] == want->data[i])
		i++;
	size_t from = i > 60 ? i - 60 : 0;
	fail_msg("%s: got ...%.120s\nwant ...%.120s", name, buf_cstr(got) + from,
		 buf_cstr(want) + from);
}

/* message -> JSON -> message -> bytes -> JSON, bytes -> message -> bytes: all equal. */
static void round_trip(const ProtobufCMessageDescriptor *d, const struct json_head *head)
{
	struct buf first = { 0 }, second = { 0 }, direct = { 0 }, packed = { 0 }, again = { 0 };
	struct json_read read = { .validation = FIELDS_STRICT };
	struct json_head plain = head ? *head : (struct json_head){ 0 };
	struct status st = { 0 };
	ProtobufCMessage *m, *unpacked;
	struct arena a;

	arena_init(&a, 0);
	plain.revision = 0;
	json_put_message(&first, fill_message(d, &a), &plain);
	if (json_read_message(d, buf_bytes(&first), &a, &read, &m, &st) < 0)
		fail_msg("%s: %s\n%.2000s", d->name, st.message, buf_cstr(&first));
	if (plain.kind != NULL) {
		assert_string_equal(read.kind, plain.kind);
		assert_string_equal(read.api_version, plain.api_version);
	}
	json_put_message(&second, m, &plain);
	expect_same_text(d->name, &second, &first);

	pack_message(&packed, m);
	if (json_put_packed(&direct, d, buf_bytes(&packed), &plain) < 0)
		fail_msg("%s: stored bytes cannot be printed", d->name);
	expect_same_text(d->name, &direct, &first);

	if (unpack_message(d, buf_bytes(&packed), &a, &unpacked, &st) < 0)
		fail_msg("%s: %s", d->name, st.message);
	pack_message(&again, unpacked);
	assert_int_equal(packed.len, again.len);
	assert_memory_equal(packed.data, again.data, packed.len);
	assert_true(message_equal(m, unpack_stored(d, buf_bytes(&packed), &a)));
	assert_true(message_equal(m, message_copy(m, &a)));

	/* protobuf-c's own reader agrees with ours. */
	ProtobufCMessage *theirs = protobuf_c_message_unpack(d, NULL, packed.len, packed.data);
	assert_non_null(theirs);
	assert_true(message_equal(m, theirs));
	protobuf_c_message_free_unpacked(theirs, NULL);
	buf_fini(&first), buf_fini(&second), buf_fini(&direct), buf_fini(&packed), buf_fini(&again);
	arena_fini(&a);
}

static void every_message_survives(void **state)
{
	(void)state;
	for (size_t i = 0; i < schema_count; i++)
		round_trip(schema_all[i]->descriptor, NULL);
}

static void every_kind_survives(void **state)
{
	(void)state;
	kinds_for_each(k)
	{
		struct json_head head = { k->api_version, k->kind, 0 };

		assert_non_null(schema_of(k->descriptor));
		assert_true(schema_of(k->descriptor)->is_kind);
		round_trip(k->descriptor, &head);
		if (k->list_descriptor != NULL) {
			head.kind = k->list_kind;
			round_trip(k->list_descriptor, &head);
		}
	}
}

static void schemas_agree_with_descriptors(void **state)
{
	(void)state;
	for (size_t i = 0; i < schema_count; i++) {
		const struct schema *s = schema_all[i];

		assert_ptr_equal(schema_of(s->descriptor), s);
		assert_int_equal(s->n_fields, s->descriptor->n_fields);
		assert_true(__builtin_popcountll(s->inline_mask) <= 1);
		for (unsigned f = 0; f < s->n_fields; f++) {
			const ProtobufCFieldDescriptor *pb = &s->descriptor->fields[f];

			assert_int_equal(s->fields[f].number, pb->id);
			assert_int_equal(s->fields[f].offset, pb->offset);
			assert_int_equal(s->fields[f].quantifier_offset, pb->quantifier_offset);
			assert_int_equal(s->fields[f].type, pb->type);
			assert_ptr_equal(
				schema_find(s, s->fields[f].json_name, s->fields[f].json_len),
				&s->fields[f]);
			assert_ptr_equal(schema_by_number(s, pb->id), &s->fields[f]);
		}
	}
}

static const struct {
	const char *name;
	const ProtobufCMessageDescriptor *d;
	const char *json; /* In. */
	const char *want; /* Out, or what the error says. */
	bool fails;
} cases[] = {
	{ "empty fields appear as on a real server", &core_v1__pod__descriptor, "{}",
	  "{\"metadata\":{},\"spec\":{\"containers\":null},\"status\":{}}", false },
	{ "null is unset, zero is unset unless it is a pointer",
	  &apps_v1__deployment_spec__descriptor,
	  "{\"replicas\":0,\"minReadySeconds\":0,\"paused\":false,\"selector\":null,"
	  "\"revisionHistoryLimit\":null,\"template\":{\"spec\":{\"containers\":[]}}}",
	  "{\"replicas\":0,\"selector\":null,\"template\":{\"metadata\":{},\"spec\":{\"containers\":null}},"
	  "\"strategy\":{}}",
	  false },
	{ "quantities become canonical", &core_v1__resource_requirements__descriptor,
	  "{\"limits\":{\"memory\":\"1.5Gi\",\"cpu\":0.5},\"requests\":{\"cpu\":\"1000m\"}}",
	  "{\"limits\":{\"cpu\":\"500m\",\"memory\":\"1536Mi\"},\"requests\":{\"cpu\":\"1\"}}",
	  false },
	{ "inline structs are flat", &core_v1__volume__descriptor,
	  "{\"emptyDir\":{\"sizeLimit\":\"1Ki\"},\"name\":\"v\"}",
	  "{\"name\":\"v\",\"emptyDir\":{\"sizeLimit\":\"1Ki\"}}", false },
	{ "int or string", &core_v1__service_port__descriptor,
	  "{\"port\":80,\"targetPort\":\"http\"}", "{\"port\":80,\"targetPort\":\"http\"}", false },
	{ "escapes", &core_v1__env_var__descriptor,
	  "{\"name\":\"\\u0041\\ud83d\\ude00\\n\\/\",\"value\":\"\xE2\x82\xAC\"}",
	  "{\"name\":\"A\xF0\x9F\x98\x80\\n/\",\"value\":\"\xE2\x82\xAC\"}", false },
	{ "bytes", &core_v1__secret__descriptor, "{\"data\":{\"b\":\"aGk=\",\"a\":\"\"}}",
	  "{\"metadata\":{},\"data\":{\"a\":\"\",\"b\":\"aGk=\"}}", false },
	{ "times lose fractions and zones", &core_v1__event__descriptor,
	  "{\"firstTimestamp\":\"2024-02-29T23:59:60Z\"}", "cannot parse", true },
	{ "time zone", &meta_v1__object_meta__descriptor,
	  "{\"creationTimestamp\":\"2024-03-01T01:30:00.5+02:00\"}",
	  "{\"creationTimestamp\":\"2024-02-29T23:30:00Z\"}", false },

	{ "wrong type", &apps_v1__deployment__descriptor, "{\"spec\":{\"replicas\":\"3\"}}",
	  "Deployment in version \"v1\" cannot be handled as a Deployment: json: cannot unmarshal string "
	  "into Go struct field DeploymentSpec.spec.replicas of type int32",
	  true },
	{ "wrong type in a list", &core_v1__pod__descriptor,
	  "{\"spec\":{\"containers\":[{},{\"ports\":7}]}}",
	  "cannot unmarshal number into Go struct field Container.spec.containers.ports of type "
	  "[]v1.ContainerPort",
	  true },
	{ "number range", &apps_v1__deployment__descriptor, "{\"spec\":{\"replicas\":2147483648}}",
	  "cannot unmarshal number 2147483648 into Go struct field DeploymentSpec.spec.replicas of type int32",
	  true },
	{ "fractions are no integers", &apps_v1__deployment__descriptor,
	  "{\"spec\":{\"replicas\":1.0}}", "cannot unmarshal number 1.0 into", true },
	{ "unknown field", &core_v1__pod__descriptor,
	  "{\"spec\":{\"containers\":[{\"imagee\":1}],\"volumes\":[{\"emptyDirr\":{}}]},\"sepc\":{\"x\":[1,{}]}}",
	  "strict decoding error: unknown field \"spec.containers[0].imagee\", unknown field "
	  "\"spec.volumes[0].emptyDirr\", unknown field \"sepc\"",
	  true },
	{ "duplicate field", &core_v1__config_map__descriptor,
	  "{\"metadata\":{\"name\":\"a\",\"name\":\"b\",\"labels\":{\"x\":\"1\",\"y\":\"2\",\"x\":\"3\"}}}",
	  "strict decoding error: duplicate field \"metadata.name\", duplicate field \"metadata.labels.x\"",
	  true },
	{ "case matters", &core_v1__pod__descriptor, "{\"Spec\":{}}", "unknown field \"Spec\"",
	  true },
	{ "truncated", &core_v1__pod__descriptor, "{\"spec\":{", "unexpected end of JSON input",
	  true },
	{ "trailing", &core_v1__pod__descriptor, "{} x",
	  "invalid character 'x' after top-level value", true },
	{ "leading zero", &core_v1__pod_spec__descriptor, "{\"priority\":01}",
	  "after a leading zero", true },
	{ "trailing comma", &core_v1__pod__descriptor, "{\"spec\":{},}",
	  "invalid character '}' looking for "
	  "beginning of object key string",
	  true },
	{ "comment", &core_v1__pod__descriptor, "/**/{}", "invalid character '/'", true },
	{ "not an object", &core_v1__pod__descriptor, "[]",
	  "cannot unmarshal array into Go value of type Pod", true },
	{ "nothing", &core_v1__pod__descriptor, "", "unexpected end of JSON input", true },
	{ "NUL in a string", &core_v1__env_var__descriptor, "{\"name\":\"a\\u0000b\"}",
	  "invalid character '\\x00' in string literal", true },
	{ "lone surrogate", &core_v1__env_var__descriptor, "{\"name\":\"\\ud800\"}", "surrogate",
	  true },
	{ "bad UTF-8", &core_v1__env_var__descriptor, "{\"name\":\"\xC0\xAF\"}", "invalid UTF-8",
	  true },
	{ "control character", &core_v1__env_var__descriptor, "{\"name\":\"a\nb\"}",
	  "invalid character '\\x0a' in string literal", true },
	{ "base64", &core_v1__secret__descriptor, "{\"data\":{\"a\":\"x*==\"}}",
	  "illegal base64 data at input byte 1", true },
	{ "quantity", &core_v1__resource_requirements__descriptor, "{\"limits\":{\"cpu\":\"1x\"}}",
	  "quantities must match", true },
	{ "int overflow", &core_v1__pod_spec__descriptor,
	  "{\"terminationGracePeriodSeconds\":9223372036854775808}", "cannot unmarshal number",
	  true },
};

static void cases_read_as_expected(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct json_read read = { .validation = FIELDS_STRICT };
		struct buf out = { 0 }, packed = { 0 }, direct = { 0 };
		struct status st = { 0 };
		ProtobufCMessage *m;
		struct arena a;

		arena_init(&a, 0);
		int rc =
			json_read_message(cases[i].d, bytes_str(cases[i].json), &a, &read, &m, &st);
		if ((rc < 0) != cases[i].fails)
			fail_msg("%s: rc %d: %s", cases[i].name, rc, st.message ? st.message : "");
		if (rc < 0) {
			if (strstr(st.message, cases[i].want) == NULL)
				fail_msg("%s: %s", cases[i].name, st.message);
			assert_int_equal(st.http_code, 400);
		} else {
			json_put_message(&out, m, NULL);
			if (strcmp(buf_cstr(&out), cases[i].want) != 0)
				fail_msg("%s: got %s", cases[i].name, buf_cstr(&out));
			pack_message(&packed, m);
			assert_int_equal(
				json_put_packed(&direct, cases[i].d, buf_bytes(&packed), NULL), 0);
			expect_same_text(cases[i].name, &direct, &out);
		}
		status_fini(&st);
		buf_fini(&out), buf_fini(&packed), buf_fini(&direct);
		arena_fini(&a);
	}
}

static void warnings_are_collected(void **state)
{
	struct json_read read = { .validation = FIELDS_WARN };
	struct status st = { 0 };
	CoreV1__ConfigMap *m;
	struct arena a;

	(void)state;
	arena_init(&a, 0);
	assert_int_equal(
		json_read_message(&core_v1__config_map__descriptor,
				  bytes_str("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"x\":1,"
					    "\"data\":{\"a\":\"1\",\"a\":\"2\"}}"),
				  &a, &read, &m, &st),
		0);
	assert_int_equal(read.n_complaints, 2);
	assert_string_equal(read.complaints[0], "unknown field \"x\"");
	assert_string_equal(read.complaints[1], "duplicate field \"data.a\"");
	assert_string_equal(read.kind, "ConfigMap");
	assert_int_equal(m->n_data, 1);
	assert_string_equal(m->data[0]->value, "2");
	arena_fini(&a);
}

static void revision_is_put_in(void **state)
{
	struct json_head head = { "v1", "Pod", 42 };
	struct buf out = { 0 }, packed = { 0 };
	struct arena a;

	(void)state;
	arena_init(&a, 0);
	CoreV1__Pod *pod = message_new(&core_v1__pod__descriptor, &a);
	const char *want =
		"{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"42\"},"
		"\"spec\":{\"containers\":null},\"status\":{}}";
	json_put_message(&out, pod, &head);
	assert_string_equal(buf_cstr(&out), want);
	buf_clear(&out);
	assert_int_equal(json_put_packed(&out, pod->base.descriptor, (struct bytes){ 0 }, &head),
			 0);
	assert_string_equal(buf_cstr(&out), want);

	MetaV1__ObjectMeta *meta = message_metadata_make(pod, &a);
	meta->name = arena_strdup(&a, "p");
	meta->resourceversion = arena_strdup(&a, "7");
	meta->uid = arena_strdup(&a, "u");
	meta->has_generation = 1;
	meta->generation = 3;
	want = "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"p\",\"uid\":\"u\","
	       "\"resourceVersion\":\"42\",\"generation\":3},\"spec\":{\"containers\":null},\"status\":{}}";
	buf_clear(&out);
	json_put_message(&out, pod, &head);
	assert_string_equal(buf_cstr(&out), want);
	pack_message(&packed, pod);
	buf_clear(&out);
	assert_int_equal(json_put_packed(&out, pod->base.descriptor, buf_bytes(&packed), &head), 0);
	assert_string_equal(buf_cstr(&out), want);
	buf_fini(&out), buf_fini(&packed);
	arena_fini(&a);
}

static void type_is_found(void **state)
{
	const char *version, *kind;
	struct status st = { 0 };
	struct arena a;

	(void)state;
	arena_init(&a, 0);
	assert_int_equal(
		json_read_type(bytes_str(" {\"spec\":{\"kind\":\"No\"},\"kind\":\"Pod\"} "), &a,
			       &version, &kind, &st),
		0);
	assert_null(version);
	assert_string_equal(kind, "Pod");
	assert_int_equal(json_read_type(bytes_str("{\"kind\":7"), &a, &version, &kind, &st),
			 -EBADMSG);
	status_fini(&st);
	arena_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(schemas_agree_with_descriptors),
		cmocka_unit_test(every_message_survives),
		cmocka_unit_test(every_kind_survives),
		cmocka_unit_test(cases_read_as_expected),
		cmocka_unit_test(warnings_are_collected),
		cmocka_unit_test(revision_is_put_in),
		cmocka_unit_test(type_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
