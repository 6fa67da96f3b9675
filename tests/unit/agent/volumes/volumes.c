/* The atomic writer, payloads and the files in /etc. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/runtime/dir_remove.h"
#include "agent/volumes/atomic_writer.h"
#include "agent/volumes/etc_files.h"
#include "agent/volumes/payload.h"
#include "common/api/json.h"
#include "common/api/pack.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"

static char *scratch(void)
{
	char *dir = xstrdup("/tmp/agent-volumes.XXXXXX");

	assert_non_null(mkdtemp(dir));
	return dir;
}

static void assert_content(const char *dir, const char *name, const char *wanted)
{
	auto_with(buf_fini) struct buf text = { 0 };
	autofree char *path = xasprintf("%s/%s", dir, name);
	int rc = file_read(path, 4096, &text, NULL);

	if (wanted == NULL) {
		assert_int_equal(rc, -ENOENT);
		return;
	}
	assert_int_equal(rc, 0);
	assert_string_equal(buf_cstr(&text), wanted);
}

static char *data_link(const char *dir)
{
	autofree char *path = xasprintf("%s/..data", dir);
	char to[256];
	ssize_t n = readlink(path, to, sizeof(to) - 1);

	assert_true(n > 0);
	return xstrndup(to, (size_t)n);
}

static void write_two(struct arena *a, const char *dir, const char *name, const char *text, const char *nested)
{
	struct volume_files files = { .arena = a };

	assert_int_equal(volume_files_add(&files, name, text, strlen(text), 0640, NULL), 0);
	if (nested != NULL)
		assert_int_equal(volume_files_add(&files, nested, "n", 1, 0600, NULL), 0);
	assert_int_equal(atomic_write(dir, &files, -1, NULL), 0);
	volume_files_fini(&files);
}

static void test_atomic_writer(void **state)
{
	auto_with(arena_fini) struct arena a = { 0 };
	autofree char *dir = scratch(), *path = xasprintf("%s/k", dir);
	struct stat st;

	arena_init(&a, 0);
	write_two(&a, dir, "k", "v1", "sub/deep/x");
	assert_content(dir, "k", "v1");
	assert_content(dir, "sub/deep/x", "n");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	autofree char *first = data_link(dir);

	/* Equal content changes nothing. */
	write_two(&a, dir, "k", "v1", "sub/deep/x");
	autofree char *second = data_link(dir);

	assert_string_equal(first, second);
	write_two(&a, dir, "k", "v2", NULL);
	autofree char *third = data_link(dir);

	assert_string_not_equal(first, third);
	assert_content(dir, "k", "v2");
	assert_content(dir, "sub/deep/x", NULL);
	/* The old directory is gone, and the link of the name too. */
	autofree char *old = xasprintf("%s/%s", dir, first), *sub = xasprintf("%s/sub", dir);

	assert_int_equal(access(old, F_OK), -1);
	assert_int_equal(lstat(sub, &st), -1);
	dir_remove(dir);
}

static void test_paths(void **state)
{
	static const char *const bad[] = { "", "/x", "..", "../x", "a/../b", "a//b", "./a", "..data", "a/." };
	auto_with(arena_fini) struct arena a = { 0 };
	struct volume_files files = { .arena = &a };

	arena_init(&a, 0);
	for (size_t i = 0; i < array_size(bad); i++)
		assert_int_equal(volume_files_add(&files, bad[i], "x", 1, 0644, NULL), -EINVAL);
	assert_int_equal(volume_files_add(&files, "a/..b", "x", 1, 0644, NULL), 0);
	volume_files_fini(&files);
}

static void *read_json(struct arena *a, const ProtobufCMessageDescriptor *d, const char *json)
{
	struct status st = { 0 };
	void *message = NULL;

	if (json_read_message(d, bytes_str(json), a, NULL, &message, &st) < 0)
		fail_msg("%s", st.message);
	return message;
}

static const struct {
	const char *name, *source;
	int rc;
	const char *files; /* path mode=content, one per line */
} payloads[] = {
	{ "all keys", "{\"configMap\":{\"name\":\"cm\"}}", 0, "a 644=1\nb 644=2\n" },
	{ "chosen keys", "{\"configMap\":{\"name\":\"cm\",\"defaultMode\":256,\"items\":[{\"key\":\"b\",\"path\":\"x/y\"}]}}", 0,
		"x/y 400=2\n" },
	{ "its own mode", "{\"configMap\":{\"name\":\"cm\",\"items\":[{\"key\":\"a\",\"path\":\"p\",\"mode\":384}]}}", 0,
		"p 600=1\n" },
	{ "no such key", "{\"configMap\":{\"name\":\"cm\",\"items\":[{\"key\":\"z\",\"path\":\"p\"}]}}", -ENOENT, "" },
	{ "no such map", "{\"configMap\":{\"name\":\"gone\"}}", -ENOENT, "" },
	{ "optional", "{\"configMap\":{\"name\":\"gone\",\"optional\":true}}", 0, "" },
	{ "secret", "{\"secret\":{\"secretName\":\"s\"}}", 0, "p 644=hi\n" },
	{ "downward", "{\"downwardAPI\":{\"items\":[{\"path\":\"l\",\"fieldRef\":{\"fieldPath\":\"metadata.labels\"}},"
		      "{\"path\":\"c\",\"resourceFieldRef\":{\"containerName\":\"c\",\"resource\":\"limits.cpu\",\"divisor\":\"1m\"}}]}}",
		0, "l 644=l=\"v\"\nc 644=2000\n" },
	{ "projected", "{\"projected\":{\"defaultMode\":420,\"sources\":[{\"configMap\":{\"name\":\"cm\"}},"
		       "{\"secret\":{\"name\":\"s\",\"items\":[{\"key\":\"p\",\"path\":\"a\"}]}},"
		       "{\"serviceAccountToken\":{\"path\":\"token\",\"expirationSeconds\":3607}}]}}",
		0, "a 644=hi\nb 644=2\ntoken 644=tok\n" },
	{ "no token", "{\"projected\":{\"sources\":[{\"serviceAccountToken\":{\"path\":\"token\",\"audience\":\"x\"}}]}}", -ENOENT, "" },
	{ "outside", "{\"configMap\":{\"name\":\"cm\",\"items\":[{\"key\":\"a\",\"path\":\"../p\"}]}}", -EINVAL, "" },
};

static void test_payloads(void **state)
{
	auto_with(arena_fini) struct arena a = { 0 };
	struct held_object map = { .resource = (char *)"configmaps", .namespace = (char *)"ns", .name = (char *)"cm" };
	struct held_object secret = { .resource = (char *)"secrets", .namespace = (char *)"ns", .name = (char *)"s" };
	struct held_object *items[] = { &map, &secret };
	struct object_list list = { items, 2, 2 };
	struct node_facts node = { .name = "n1", .address = "10.0.0.1", .cpu_milli = 2000 };
	struct pod_token token = { "", 3607, "tok" };

	arena_init(&a, 0);
	map.packed = pack_message_in(&a, read_json(&a, &core_v1__config_map__descriptor, "{\"data\":{\"a\":\"1\",\"b\":\"2\"}}"));
	secret.packed = pack_message_in(&a, read_json(&a, &core_v1__secret__descriptor, "{\"data\":{\"p\":\"aGk=\"}}"));
	struct pod_view view = { .objects = &list, .node = &node, .dir = "/x", .ip = "", .tokens = &token, .n_tokens = 1,
		.arena = &a };

	view.pod = read_json(&a, &core_v1__pod__descriptor,
		"{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\",\"labels\":{\"l\":\"v\"}},\"spec\":{\"containers\":[{\"name\":\"c\"}]}}");
	for (size_t i = 0; i < array_size(payloads); i++) {
		auto_with(buf_fini) struct buf out = { 0 };
		struct volume_files files = { .arena = &a };
		CoreV1__VolumeSource *source = read_json(&a, &core_v1__volume_source__descriptor, payloads[i].source);
		int rc = payload_build(&view, source, &files, NULL);

		for (size_t k = 0; rc == 0 && k < files.n; k++)
			buf_printf(&out, "%s %o=%.*s\n", files.items[k].path, files.items[k].mode, (int)files.items[k].len,
				(const char *)files.items[k].data);
		if (rc != payloads[i].rc || strcmp(buf_cstr(&out), payloads[i].files) != 0)
			fail_msg("%s: rc %d\n%swanted:\n%s", payloads[i].name, rc, buf_cstr(&out), payloads[i].files);
		volume_files_fini(&files);
	}
}

static void test_etc(void **state)
{
	auto_with(arena_fini) struct arena a = { 0 };
	auto_with(buf_fini) struct buf out = { 0 };
	struct node_facts node = { .cluster_domain = "cluster.local", .dns_address = "10.96.0.10" };
	struct pod_view view = { .node = &node, .ip = "10.1.0.5", .arena = &a };
	static const char host[] = "# local\nnameserver 1.1.1.1\nsearch corp.example\noptions timeout:2 ndots:1\n";

	arena_init(&a, 0);
	view.pod = read_json(&a, &core_v1__pod__descriptor,
		"{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\"},\"spec\":{\"subdomain\":\"sub\",\"hostAliases\":[{\"ip\":\"9.9.9.9\",\"hostnames\":[\"x\",\"y\"]}],"
		"\"dnsConfig\":{\"nameservers\":[\"8.8.8.8\"],\"options\":[{\"name\":\"ndots\",\"value\":\"2\"}]}}}");
	etc_put_resolv(&out, &view, host);
	assert_string_equal(buf_cstr(&out), "search ns.svc.cluster.local svc.cluster.local cluster.local corp.example\n"
					    "nameserver 10.96.0.10\nnameserver 8.8.8.8\noptions ndots:2\n");
	buf_clear(&out);
	etc_put_hosts(&out, &view, "");
	assert_non_null(strstr(buf_cstr(&out), "10.1.0.5\tp.sub.ns.svc.cluster.local\tp\n"));
	assert_non_null(strstr(buf_cstr(&out), "# Entries added by HostAliases.\n9.9.9.9\tx\ty\n"));
	view.pod = read_json(&a, &core_v1__pod__descriptor,
		"{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\"},\"spec\":{\"dnsPolicy\":\"Default\"}}");
	buf_clear(&out);
	etc_put_resolv(&out, &view, host);
	assert_string_equal(buf_cstr(&out), "search corp.example\nnameserver 1.1.1.1\noptions timeout:2 ndots:1\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_atomic_writer), cmocka_unit_test(test_paths),
		cmocka_unit_test(test_payloads), cmocka_unit_test(test_etc) };

	return cmocka_run_group_tests_name("agent-volumes", tests, NULL, NULL);
}
