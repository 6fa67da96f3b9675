/* Bodies made to hurt: deep nesting, amplification, broken encodings. Each gets
 * an error, none costs more than its budget. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/api/envelope.h"
#include "common/api/json.h"
#include "common/api/kinds.h"
#include "common/api/message.h"
#include "common/api/pack.h"
#include "common/api/value.h"
#include "common/base/cleanup.h"
#include "proto/k8s/apiextensions_v1.pb-c.h"
#include "proto/k8s/apps_v1.pb-c.h"
#include "proto/k8s/core_v1.pb-c.h"

#define BUDGET (16u << 20)

static void repeat(struct buf *b, const char *text, int n)
{
	while (n-- > 0)
		buf_put_str(b, text);
}

/* Expect rc from reading text as d, both as a message and, where tree_rc says so, as a tree. */
static void expect(const ProtobufCMessageDescriptor *d, struct buf *text, int rc, int tree_rc)
{
	struct status st = { 0 };
	ProtobufCMessage *m;
	struct value *v;
	struct arena a;

	arena_init(&a, BUDGET);
	assert_int_equal(json_read_message(d, buf_bytes(text), &a, NULL, &m, &st), rc);
	if (rc < 0)
		assert_int_equal(st.http_code, rc == -EFBIG ? 413 : 400);
	status_fini(&st);
	arena_fini(&a);
	arena_init(&a, BUDGET);
	assert_int_equal(value_parse(buf_bytes(text), &a, &v, &st), tree_rc);
	status_fini(&st);
	arena_fini(&a);
	buf_fini(text);
}

static void deep_json_is_refused(void **state)
{
	const ProtobufCMessageDescriptor *pod = &core_v1__pod__descriptor;
	struct buf text = { 0 };

	(void)state;
	repeat(&text, "[", 10000);
	expect(pod, &text, -EBADMSG, -EBADMSG);
	buf_put_str(&text, "{\"unknown\":");
	repeat(&text, "{\"a\":", 10000);
	expect(pod, &text, -EBADMSG, -EBADMSG);
	/* A schema of schemas, the one recursive type. */
	buf_put_str(&text, "{\"spec\":{\"versions\":[{\"schema\":{\"openAPIV3Schema\":{");
	repeat(&text, "\"not\":{", 10000);
	repeat(&text, "}", 10000);
	buf_put_str(&text, "}}}]}}");
	expect(&apiextensions_v1__custom_resource_definition__descriptor, &text, -EBADMSG,
	       -EBADMSG);
	/* Raw JSON inside an object. */
	buf_put_str(&text, "{\"data\":");
	repeat(&text, "[", 10000);
	expect(&apps_v1__controller_revision__descriptor, &text, -EBADMSG, -EBADMSG);
}

static void amplification_is_bounded(void **state)
{
	struct buf text = { 0 };

	(void)state;
	buf_put_str(&text, "{\"spec\":{\"containers\":[{}");
	repeat(&text, ",{}", 300000);
	buf_put_str(&text, "]}}");
	expect(&core_v1__pod__descriptor, &text, -EFBIG, -EFBIG);
}

/* A million members under few keys, or one key a million times: linear time and memory. */
static void many_keys_cost_their_size(void **state)
{
	struct json_read read = { .validation = FIELDS_STRICT };
	struct buf text = { 0 };
	struct status st = { 0 };
	CoreV1__ConfigMap *m;
	struct value *v;
	struct arena a;

	(void)state;
	buf_put_str(&text, "{\"data\":{\"x\":\"\"");
	for (int i = 0; i < 100000; i++)
		buf_printf(&text, ",\"k%d\":\"\"", i % 50000);
	buf_put_str(&text, "}}");
	arena_init(&a, 256u << 20);
	assert_int_equal(json_read_message(&core_v1__config_map__descriptor, buf_bytes(&text), &a,
					   &read, &m, &st),
			 -EBADMSG);
	assert_int_equal(read.n_complaints, JSON_COMPLAINTS_MAX);
	assert_non_null(strstr(st.message, "duplicate field \"data.k0\""));
	status_fini(&st);
	assert_int_equal(value_parse(buf_bytes(&text), &a, &v, &st), 0);
	assert_int_equal(value_get(v, "data")->n, 50001);
	arena_fini(&a);
	buf_fini(&text);
}

static void put_varint(struct buf *b, size_t v)
{
	for (; v >= 0x80; v >>= 7)
		buf_put_byte(b, (uint8_t)(v | 0x80));
	buf_put_byte(b, (uint8_t)v);
}

/* Put what is in b inside field number, as bytes. */
static void wrap(struct buf *b, unsigned number)
{
	struct buf outer = { 0 };

	put_varint(&outer, number << 3 | 2);
	put_varint(&outer, b->len);
	buf_put(&outer, b->data, b->len);
	buf_fini(b);
	*b = outer;
}

static int unpack_rc(const ProtobufCMessageDescriptor *d, struct bytes in)
{
	struct status st = { 0 };
	ProtobufCMessage *m;
	struct arena a;

	arena_init(&a, BUDGET);
	int rc = unpack_message(d, in, &a, &m, &st);
	if (rc < 0)
		assert_non_null(st.message);
	status_fini(&st);
	arena_fini(&a);
	return rc;
}

static void deep_protobuf_is_refused(void **state)
{
	const ProtobufCMessageDescriptor *d = &apiextensions_v1__jsonschema_props__descriptor;
	struct buf in = { 0 }, out = { 0 };

	(void)state;
	/* items (24) of a schema is a SchemaOrArray, whose field 1 is a schema. */
	for (int i = 0; i < 10000; i++) {
		wrap(&in, 1);
		wrap(&in, 24);
	}
	assert_int_equal(unpack_rc(d, buf_bytes(&in)), -EBADMSG);
	assert_int_equal(json_put_packed(&out, d, buf_bytes(&in), NULL), -EBADMSG);
	buf_fini(&in);
	buf_fini(&out);
	/* Half as deep as is allowed is fine. */
	for (int i = 0; i < PACKED_DEPTH_MAX / 4; i++) {
		wrap(&in, 1);
		wrap(&in, 24);
	}
	assert_int_equal(unpack_rc(d, buf_bytes(&in)), 0);
	assert_int_equal(json_put_packed(&out, d, buf_bytes(&in), NULL), 0);
	buf_fini(&in);
	buf_fini(&out);
}

static void empty_containers_are_bounded(void **state)
{
	struct buf in = { 0 };

	(void)state;
	for (int i = 0; i < 500000; i++)
		buf_put(&in, "\x12\x00", 2);
	wrap(&in, 2);
	assert_int_equal(unpack_rc(&core_v1__pod__descriptor, buf_bytes(&in)), -EFBIG);
	buf_fini(&in);
}

/* Each a Pod. */
static const struct {
	const char *name, *bytes;
	size_t len;
	int rc;
} packed_cases[] = {
	{ "nothing", "", 0, 0 },
	{ "unknown fields are dropped", "\xFA\x01\x01x\x78\x05", 6, 0 },
	{ "cut off in a length", "\x0A", 1, -EBADMSG },
	{ "longer than the input", "\x0A\x05xx", 4, -EBADMSG },
	{ "field number 0", "\x02\x00", 2, -EBADMSG },
	{ "a number where a message belongs", "\x08\x05", 2, -EBADMSG },
	{ "a group", "\x0B\x0C", 2, -EBADMSG },
	{ "endless varint", "\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 12, -EBADMSG },
	{ "name with NUL",
	  "\x0A\x05\x0A\x03"
	  "a\0b",
	  7, -EBADMSG },
	{ "name that is not UTF-8",
	  "\x0A\x05\x0A\x03"
	  "a\xFF"
	  "b",
	  7, -EBADMSG },
	{ "good name", "\x0A\x05\x0A\x03web", 7, 0 },
};

static void broken_protobuf_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < array_size(packed_cases); i++) {
		int rc = unpack_rc(&core_v1__pod__descriptor,
				   bytes_of(packed_cases[i].bytes, packed_cases[i].len));

		if (rc != packed_cases[i].rc)
			fail_msg("%s: rc %d", packed_cases[i].name, rc);
	}
}

/* What a Go client writes: every scalar although zero, map entries in any order, packed lists. */
static void foreign_bytes_become_canonical(void **state)
{
	/* metadata with name p, and all else it could say, empty. */
	const char in[] = "\x0A\x0F\x0A\x01p\x12\x00\x1A\x00\x22\x00\x2A\x00\x32\x00\x38\x00";
	struct buf out = { 0 };
	struct arena a;

	(void)state;
	arena_init(&a, BUDGET);
	assert_int_equal(pack_normalise(&out, &core_v1__pod__descriptor,
					bytes_of(in, sizeof(in) - 1), &a, NULL),
			 0);
	assert_int_equal(out.len, 5);
	assert_memory_equal(out.data, "\x0A\x03\x0A\x01p", 5);
	buf_clear(&out);

	/* ObjectMeta with labels z, a, z again: sorted, the last one of equals stays. */
	const char labels[] = "\x5A\x06\x0A\x01z\x12\x01"
			      "1"
			      "\x5A\x06\x0A\x01"
			      "a\x12\x01"
			      "2"
			      "\x5A\x06\x0A\x01z\x12\x01"
			      "3";
	assert_int_equal(pack_normalise(&out, &meta_v1__object_meta__descriptor,
					bytes_of(labels, sizeof(labels) - 1), &a, NULL),
			 0);
	assert_int_equal(out.len, 16);
	assert_memory_equal(out.data,
			    "\x5A\x06\x0A\x01"
			    "a\x12\x01"
			    "2"
			    "\x5A\x06\x0A\x01z\x12\x01"
			    "3",
			    16);
	buf_fini(&out);
	arena_fini(&a);
}

static void pointers_keep_zero(void **state)
{
	struct buf out = { 0 };
	struct arena a;

	(void)state;
	arena_init(&a, 0);
	/* DeploymentSpec: replicas 0 stays, minReadySeconds 0 goes. */
	assert_int_equal(pack_normalise(&out, &apps_v1__deployment_spec__descriptor,
					bytes_of("\x08\x00\x28\x00", 4), &a, NULL),
			 0);
	assert_int_equal(out.len, 2);
	assert_memory_equal(out.data, "\x08\x00", 2);
	buf_fini(&out);
	arena_fini(&a);
}

static void envelopes_are_opened(void **state)
{
	struct envelope e;
	struct status st = { 0 };
	struct buf body = { 0 };
	struct arena a;

	(void)state;
	arena_init(&a, BUDGET);
	envelope_put(&body, "apps/v1", "Deployment", bytes_str("raw"));
	assert_true(envelope_is(buf_bytes(&body)));
	assert_int_equal(envelope_open(buf_bytes(&body), &a, &e, &st), 0);
	assert_string_equal(e.api_version, "apps/v1");
	assert_string_equal(e.kind, "Deployment");
	assert_int_equal(e.raw.len, 3);
	assert_memory_equal(e.raw.data, "raw", 3);
	assert_int_equal(envelope_open(bytes_str("{\"kind\":\"Pod\"}"), &a, &e, &st), -EBADMSG);
	assert_int_equal(st.http_code, 400);
	assert_int_equal(envelope_open(bytes_of("k8s\0\x0A\x50", 6), &a, &e, &st), -EBADMSG);
	status_fini(&st);
	buf_fini(&body);
	arena_fini(&a);
}

/* An object in its envelope inside a RawExtension becomes JSON; envelopes in envelopes end. */
static void embedded_envelopes_are_bounded(void **state)
{
	struct buf in = { 0 }, out = { 0 };
	struct arena a;

	(void)state;
	for (int i = 0; i < 100; i++) {
		struct buf next = { 0 };

		envelope_put(&next, "apps/v1", "ControllerRevision", buf_bytes(&in));
		buf_fini(&in);
		in = next;
		wrap(&in, 1); /* RawExtension.raw */
		wrap(&in, 2); /* ControllerRevision.data */
		if (i > 0)
			continue;
		arena_init(&a, BUDGET);
		assert_int_equal(pack_normalise(&out, &apps_v1__controller_revision__descriptor,
						buf_bytes(&in), &a, NULL),
				 0);
		struct buf json = { 0 };
		assert_int_equal(json_put_packed(&json, &apps_v1__controller_revision__descriptor,
						 buf_bytes(&out), NULL),
				 0);
		assert_non_null(strstr(buf_cstr(&json), "\"data\":{\"kind\":\"ControllerRevision\","
							"\"apiVersion\":\"apps/v1\""));
		buf_fini(&json);
		buf_fini(&out);
		arena_fini(&a);
	}
	assert_int_equal(unpack_rc(&apps_v1__controller_revision__descriptor, buf_bytes(&in)),
			 -EBADMSG);
	buf_fini(&in);
}

static void revision_goes_into_metadata(void **state)
{
	struct buf out = { 0 };
	struct arena a;
	CoreV1__Pod *pod, *back;

	(void)state;
	arena_init(&a, 0);
	pod = message_new(&core_v1__pod__descriptor, &a);
	for (int with = 0; with < 3; with++) {
		MetaV1__ObjectMeta *meta = with ? message_metadata_make(pod, &a) : NULL;

		if (with == 2) {
			meta->name = arena_strdup(&a, "p");
			meta->resourceversion = arena_strdup(&a, "1");
			string_map_set(meta, "labels", "a", "b", &a);
			pod->spec = message_new(&core_v1__pod_spec__descriptor, &a);
			pod->spec->nodename = arena_strdup(&a, "n");
		}
		buf_clear(&out);
		packed_put_revision(&out, pack_message_in(&a, pod), 1234);
		back = unpack_stored(&core_v1__pod__descriptor, buf_bytes(&out), &a);
		assert_string_equal(back->metadata->resourceversion, "1234");
		if (with == 2) {
			assert_string_equal(back->metadata->name, "p");
			assert_string_equal(back->metadata->labels[0]->value, "b");
			assert_string_equal(back->spec->nodename, "n");
		}
	}
	buf_fini(&out);
	arena_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(deep_json_is_refused),
		cmocka_unit_test(amplification_is_bounded),
		cmocka_unit_test(many_keys_cost_their_size),
		cmocka_unit_test(deep_protobuf_is_refused),
		cmocka_unit_test(empty_containers_are_bounded),
		cmocka_unit_test(broken_protobuf_is_refused),
		cmocka_unit_test(foreign_bytes_become_canonical),
		cmocka_unit_test(pointers_keep_zero),
		cmocka_unit_test(envelopes_are_opened),
		cmocka_unit_test(embedded_envelopes_are_bounded),
		cmocka_unit_test(revision_goes_into_metadata),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
