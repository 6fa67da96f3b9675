/* Names, credentials, manifests, records and challenges: text in, decision out. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/images/credentials.h"
#include "agent/images/json.h"
#include "agent/images/pull/registry.h"
#include "agent/images/record.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define A "sha256:" HEX
#define B "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const struct {
	const char *name, *text; /* NULL: refused. */
} names[] = {
	{ "busybox", "docker.io/library/busybox:latest" },
	{ "busybox:1.36", "docker.io/library/busybox:1.36" },
	{ "index.docker.io/library/busybox", "docker.io/library/busybox:latest" },
	{ "me/app", "docker.io/me/app:latest" },
	{ "quay.io/a/b/c:v1.2_3-x", "quay.io/a/b/c:v1.2_3-x" },
	{ "localhost/app", "localhost/app:latest" },
	{ "127.0.0.1:5000/app", "127.0.0.1:5000/app:latest" },
	{ "[::1]:5000/app:x", "[::1]:5000/app:x" },
	{ "registry:5000/a", "registry:5000/a:latest" },
	{ "a/b@" A, "docker.io/a/b@" A },
	{ "a/b:t@" A, "docker.io/a/b:t@" A },
	{ "a__b/c--d", "docker.io/a__b/c--d:latest" },
	{ "", NULL },
	{ "Busybox", NULL },
	{ "a/B", NULL },
	{ "busybox:", NULL },
	{ "busybox:-x", NULL },
	{ "a//b", NULL },
	{ "a/", NULL },
	{ "/a", NULL },
	{ "a/../b", NULL },
	{ "a..b", NULL },
	{ "-a", NULL },
	{ "a/b@sha256:12", NULL },
	{ "a/b@md5:" HEX, NULL },
	{ "host:port/a", NULL },
	{ "host:123456/a", NULL },
	{ "a b", NULL },
	{ "a\nb", NULL },
	{ "evil.example/a?x", NULL },
};

static void test_names(void **state)
{
	for (size_t i = 0; i < array_size(names); i++) {
		auto_with(status_fini) struct status st = { 0 };
		struct reference ref;
		int rc = reference_parse(names[i].name, &ref, &st);

		if (names[i].text == NULL) {
			if (rc != -EINVAL || strcmp(st.reason, "InvalidImageName") != 0)
				fail_msg("\"%s\" was not refused", names[i].name);
			continue;
		}
		if (rc < 0)
			fail_msg("\"%s\": %s", names[i].name, st.message);
		autofree char *text = reference_text(&ref);

		assert_string_equal(text, names[i].text);
	}
}

static void test_long_names(void **state)
{
	char name[2048];
	struct reference ref;

	for (size_t n = 1; n < sizeof(name); n++) {
		memset(name, 'a', n);
		name[n] = '\0';
		int rc = reference_parse(name, &ref, NULL);

		assert_int_equal(rc, n <= REFERENCE_MAX - strlen("docker.io/library/") ? 0 : -EINVAL);
	}
}

static const struct {
	const char *name, *config, *image, *want;
} secrets[] = {
	{ "user and password", "{\"auths\":{\"quay.io\":{\"username\":\"me\",\"password\":\"pw\"}}}",
		"quay.io/a/b", "bWU6cHc=" },
	{ "auth as it is", "{\"auths\":{\"https://quay.io/v1/\":{\"auth\":\"eA==\"}}}", "quay.io/a",
		"eA==" },
	{ "old form", "{\"quay.io\":{\"auth\":\"eA==\"}}", "quay.io/a", "eA==" },
	{ "Docker's own", "{\"auths\":{\"https://index.docker.io/v1/\":{\"auth\":\"eA==\"}}}",
		"busybox", "eA==" },
	{ "other host", "{\"auths\":{\"quay.io\":{\"auth\":\"eA==\"}}}", "gcr.io/a", NULL },
	{ "port differs", "{\"auths\":{\"r:5000\":{\"auth\":\"eA==\"}}}", "r:5001/a", NULL },
	{ "wildcard", "{\"auths\":{\"*.x.io\":{\"auth\":\"eA==\"}}}", "a.x.io/b", "eA==" },
	{ "wildcard is one label", "{\"auths\":{\"*.x.io\":{\"auth\":\"eA==\"}}}", "a.b.x.io/b", NULL },
	{ "longest path", "{\"auths\":{\"q.io\":{\"auth\":\"eA==\"},\"q.io/a\":{\"auth\":\"eQ==\"}}}",
		"q.io/a/b", "eQ==" },
	{ "paths end at slashes", "{\"auths\":{\"q.io/a\":{\"auth\":\"eQ==\"}}}", "q.io/ab", NULL },
	{ "no line ends", "{\"auths\":{\"q.io\":{\"auth\":\"eQ==\\r\\nX: y\"}}}", "q.io/ab", NULL },
	{ "no JSON", "{", "q.io/ab", NULL },
	{ "not an object", "[]", "q.io/ab", NULL },
};

static void test_credentials(void **state)
{
	for (size_t i = 0; i < array_size(secrets); i++) {
		const char *configs[] = { "not JSON", secrets[i].config };
		struct reference ref;

		assert_int_equal(reference_parse(secrets[i].image, &ref, NULL), 0);
		autofree char *found = credentials_find(configs, 2, &ref);

		if ((found == NULL) != (secrets[i].want == NULL) ||
		    (found != NULL && strcmp(found, secrets[i].want) != 0))
			fail_msg("%s: %s", secrets[i].name, found);
	}
}

#define BLOB(d) "{\"digest\":\"" d "\",\"size\":10}"
#define ENTRY(d, arch, variant)                                                                    \
	"{\"digest\":\"" d "\",\"size\":10,\"platform\":{\"os\":\"linux\",\"architecture\":\"" arch \
	"\",\"variant\":\"" variant "\"}}"

static const struct {
	const char *name, *text;
	int rc;
	const char *want; /* Digest of the choice or the configuration. */
} manifests[] = {
	{ "manifest", "{\"schemaVersion\":2,\"config\":" BLOB(A) ",\"layers\":[" BLOB(B) "]}", 0, A },
	{ "no layers", "{\"schemaVersion\":2,\"config\":" BLOB(A) ",\"layers\":[]}", 0, A },
	{ "index", "{\"schemaVersion\":2,\"manifests\":[" ENTRY(A, "s390x", "") "," ENTRY(B, "arm64", "v8") "]}",
		0, B },
	{ "best variant", "{\"schemaVersion\":2,\"manifests\":[" ENTRY(A, "arm64", "v9") "," ENTRY(B, "arm64", "v8") "]}",
		0, B },
	{ "the only one", "{\"schemaVersion\":2,\"manifests\":[" ENTRY(A, "s390x", "") "]}", 0, A },
	{ "none for us", "{\"schemaVersion\":2,\"manifests\":[" ENTRY(A, "s390x", "") "," ENTRY(B, "amd64", "") "]}",
		-ENOENT, NULL },
	{ "schema 1", "{\"schemaVersion\":1}", -EINVAL, NULL },
	{ "nothing in it", "{\"schemaVersion\":2}", -EINVAL, NULL },
	{ "short digest", "{\"schemaVersion\":2,\"config\":{\"digest\":\"sha256:00\",\"size\":1},\"layers\":[]}",
		-EINVAL, NULL },
	{ "negative size", "{\"schemaVersion\":2,\"config\":{\"digest\":\"" A "\",\"size\":-1},\"layers\":[]}",
		-EINVAL, NULL },
	{ "foreign layer", "{\"schemaVersion\":2,\"config\":" BLOB(A)
		",\"layers\":[{\"digest\":\"" A "\",\"size\":1,\"urls\":[\"http://x\"]}]}", -EINVAL, NULL },
	{ "not JSON", "<html>", -EINVAL, NULL },
};

static void test_manifests(void **state)
{
	struct platform arm = { "linux", "arm64", "v8" };

	for (size_t i = 0; i < array_size(manifests); i++) {
		auto_with(arena_fini) struct arena arena = { 0 };
		auto_with(status_fini) struct status st = { 0 };
		struct manifest m;

		arena_init(&arena, 1 << 20);
		int rc = manifest_parse(&arena, bytes_str(manifests[i].text), arm, &m, &st);

		if (rc != manifests[i].rc)
			fail_msg("%s: %d %s", manifests[i].name, rc, st.message);
		if (rc < 0)
			assert_non_null(st.message);
		else
			assert_string_equal(m.is_index ? m.chosen.digest : m.config.digest,
				manifests[i].want);
	}
}

static void test_record(void **state)
{
	static const char config[] =
		"{\"architecture\":\"amd64\",\"config\":{\"User\":\"app\",\"Env\":[\"A=\\\"b\\\"\",\"C=\\u00e9\"],"
		"\"Cmd\":null,\"Entrypoint\":[\"/bin/x\",\"-a\"],\"WorkingDir\":\"/w\",\"StopSignal\":\"SIGINT\","
		"\"ExposedPorts\":{\"80/tcp\":{},\"53/udp\":{}}},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" A
		"\",\"" B "\"]}}";
	auto_with(arena_fini) struct arena arena = { 0 };
	auto_with(buf_fini) struct buf text = { 0 };
	struct record first, second;

	arena_init(&arena, 1 << 20);
	assert_int_equal(record_parse(&arena, bytes_str(config), &first, NULL), 0);
	assert_null(first.digest);
	first.digest = B;
	first.sizes[1] = 1ull << 40;
	record_put(&text, &first);
	assert_int_equal(record_parse(&arena, buf_bytes(&text), &second, NULL), 0);
	assert_string_equal(second.digest, B);
	assert_int_equal(second.n_layers, 2);
	assert_string_equal(second.diff_ids[0], A);
	assert_true(second.sizes[1] == 1ull << 40);
	assert_string_equal(second.env[0], "A=\"b\"");
	assert_string_equal(second.env[1], "C=\xc3\xa9");
	assert_null(second.cmd[0]);
	assert_string_equal(second.entrypoint[1], "-a");
	assert_string_equal(second.exposed_ports[1], "53/udp");
	assert_string_equal(second.user, "app");
	assert_string_equal(second.stop_signal, "SIGINT");
}

static void test_challenges(void **state)
{
	static const char header[] =
		"Bearer realm=\"https://auth.example/token?a=b\",service=\"reg \\\"x\\\"\", scope=repository:a:pull";
	autofree char *realm = challenge_parameter(header, "realm");
	autofree char *service = challenge_parameter(header, "Service");
	autofree char *scope = challenge_parameter(header, "scope");

	assert_true(challenge_is(header, "bearer"));
	assert_false(challenge_is(header, "Bear"));
	assert_string_equal(realm, "https://auth.example/token?a=b");
	assert_string_equal(service, "reg \"x\"");
	assert_string_equal(scope, "repository:a:pull");
	assert_null(challenge_parameter(header, "error"));
	assert_null(challenge_parameter("Basic", "realm"));
	autofree char *open = challenge_parameter("Bearer realm=\"x", "realm");

	assert_string_equal(open, "x");
}

static const struct {
	const char *text;
	int rc;
} jsons[] = {
	{ "{}", 0 }, { " [1, -2.5e+3, true, false, null, \"x\\n\\u0041\\ud83d\\ude00\"] ", 0 }, { "0", 0 },
	{ "", -EINVAL }, { "{", -EINVAL }, { "[1,]", -EINVAL }, { "{\"a\"}", -EINVAL }, { "01", -EINVAL },
	{ "1.", -EINVAL }, { "+1", -EINVAL }, { "nul", -EINVAL }, { "\"\\x\"", -EINVAL },
	{ "\"\\u0000\"", -EINVAL }, { "\"\\ud800\"", -EINVAL }, { "\"a", -EINVAL }, { "\"\\", -EINVAL },
	{ "\"a\nb\"", -EINVAL }, { "{} x", -EINVAL }, { "[\"\\u12\"]", -EINVAL }, { "'a'", -EINVAL },
};

static void test_json(void **state)
{
	char deep[200];

	for (size_t i = 0; i < array_size(jsons); i++) {
		auto_with(arena_fini) struct arena arena = { 0 };
		const struct json *doc;

		arena_init(&arena, 1 << 16);
		if (json_parse(&arena, bytes_str(jsons[i].text), &doc) != jsons[i].rc)
			fail_msg("%s", jsons[i].text);
	}
	memset(deep, '[', sizeof(deep));
	auto_with(arena_fini) struct arena arena = { 0 };
	const struct json *doc;

	arena_init(&arena, 1 << 16);
	assert_int_equal(json_parse(&arena, bytes_of(deep, sizeof(deep)), &doc), -E2BIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),     cmocka_unit_test(test_long_names),
		cmocka_unit_test(test_credentials), cmocka_unit_test(test_manifests),
		cmocka_unit_test(test_record),    cmocka_unit_test(test_challenges),
		cmocka_unit_test(test_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
