/* Packets, exit records, CRI logs, users, capabilities, config.json. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/runtime/caps.h"
#include "agent/runtime/cri_reader.h"
#include "agent/runtime/dir_remove.h"
#include "agent/runtime/exit_record.h"
#include "agent/runtime/oci.h"
#include "agent/runtime/packet.h"
#include "agent/runtime/shim/cri_log.h"
#include "agent/runtime/user.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"

static char *scratch(void)
{
	char *dir = xstrdup("/tmp/agent-runtime.XXXXXX");

	assert_non_null(mkdtemp(dir));
	return dir;
}

static void test_packet(void **state)
{
	static struct packet p, got;
	int pair[2], fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	packet_begin(&p, "run");
	packet_put(&p, "id", "a=b");
	packet_putf(&p, "n", "%d", 42);
	packet_put(&p, "empty", "");
	assert_true(packet_check(&p));
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(packet_send(pair[0], &p, &fd, 1), 0);
	assert_int_equal(packet_receive(pair[1], &got), 0);
	assert_string_equal(packet_verb(&got), "run");
	assert_string_equal(packet_get(&got, "id"), "a=b");
	assert_int_equal(packet_get_number(&got, "n", -1), 42);
	assert_int_equal(packet_get_number(&got, "id", -1), -1);
	assert_string_equal(packet_get(&got, "empty"), "");
	assert_null(packet_get(&got, "i"));
	assert_int_equal(got.n_fds, 1);
	close(got.fds[0]);
	/* What is no packet is refused. */
	assert_int_equal(send(pair[0], "run\0x", 5, 0), 5);
	assert_int_equal(packet_receive(pair[1], &got), -EPROTO);
	assert_int_equal(send(pair[0], "run\0noequals\0", 13, 0), 13);
	assert_int_equal(packet_receive(pair[1], &got), -EPROTO);
	close(pair[0]);
	assert_int_equal(packet_receive(pair[1], &got), -ECONNRESET);
	close(pair[1]);
	close(fd);
	/* Too much is an error of sending, never a cut packet. */
	packet_begin(&p, "x");
	for (int i = 0; i < 2000; i++)
		packet_put(&p, "key", "0123456789");
	assert_int_equal(packet_send(1, &p, NULL, 0), -EMSGSIZE);
}

static void test_exit_record(void **state)
{
	static const char *const bad[] = { "", "code", "code=", "code=x\n", "code=1", "code=300\n", "=1\n", "signal=1\n",
		"code=1\nsignal=99\n" };
	struct exit_record r = { .code = 137, .signal = 9, .oom = true, .started_ns = 5, .finished_ns = 1795535278448298444 },
			   got;
	autofree char *dir = scratch(), *path = xasprintf("%s/exit", dir);

	assert_int_equal(exit_record_read(path, &got), -ENOENT);
	assert_int_equal(exit_record_write(path, &r), 0);
	assert_int_equal(exit_record_read(path, &got), 0);
	assert_int_equal(got.code, 137);
	assert_int_equal(got.signal, 9);
	assert_true(got.oom);
	assert_int_equal(got.finished_ns, r.finished_ns);
	assert_int_equal(exit_record_parse("code=1\nlater=7\n", 15, &got), 0);
	for (size_t i = 0; i < array_size(bad); i++)
		assert_int_equal(exit_record_parse(bad[i], strlen(bad[i]), &got), -EINVAL);
	dir_remove(dir);
}

static void test_cri_lines(void **state)
{
	static const struct {
		const char *raw;
		bool is_stderr, partial;
		const char *text; /* NULL: refused. */
	} cases[] = {
		{ "2026-01-02T03:04:05.000000006Z stdout F hello world", false, false, "hello world" },
		{ "2026-01-02T03:04:05Z stderr P x", true, true, "x" },
		{ "2026-01-02T03:04:05Z stdout F ", false, false, "" },
		{ "2026-01-02T03:04:05Z stdout F", false, false, "" },
		{ "2026-01-02T03:04:05Z stdout F:tag text", false, false, "text" },
		{ "2026-01-02T03:04:05Z stdin F x", false, false, NULL },
		{ "2026-01-02T03:04:05Z stdout G x", false, false, NULL },
		{ "2026-01-02T03:04:05Z stdout FX x", false, false, NULL },
		{ "nothing", false, false, NULL },
		{ "", false, false, NULL },
		{ " stdout F x", false, false, NULL },
	};

	for (size_t i = 0; i < array_size(cases); i++) {
		struct cri_line line;
		int rc = cri_line_parse(cases[i].raw, strlen(cases[i].raw), &line);

		assert_int_equal(rc, cases[i].text ? 0 : -EINVAL);
		if (rc < 0)
			continue;
		assert_int_equal(line.is_stderr, cases[i].is_stderr);
		assert_int_equal(line.partial, cases[i].partial);
		assert_int_equal(line.text_len, strlen(cases[i].text));
		assert_memory_equal(line.text, cases[i].text, line.text_len);
	}
	struct cri_line line;
	int64_t ns;

	assert_int_equal(cri_line_parse(cases[0].raw, strlen(cases[0].raw), &line), 0);
	assert_int_equal(cri_line_time(&line, &ns), 0);
	assert_int_equal(ns, INT64_C(1767323045000000006));
}

static void test_cri_log(void **state)
{
	autofree char *dir = scratch(), *path = xasprintf("%s/0.log", dir), *older = xasprintf("%s/0.log.1", dir);
	auto_with(buf_fini) struct buf text = { 0 };
	struct cri_log log;

	assert_int_equal(cri_log_open(&log, path, 0, 1), 0);
	cri_log_write(&log, CRI_STDOUT, INT64_C(1767323045000000006), "one\ntwo", 7);
	cri_log_write(&log, CRI_STDERR, INT64_C(1767323045000000006), "e\n", 2);
	cri_log_write(&log, CRI_STDOUT, INT64_C(1767323045000000006), "!\n", 2);
	cri_log_close(&log);
	assert_int_equal(file_read(path, 4096, &text, NULL), 0);
	assert_string_equal(buf_cstr(&text), "2026-01-02T03:04:05.000000006Z stdout F one\n"
					     "2026-01-02T03:04:05.000000006Z stdout P two\n"
					     "2026-01-02T03:04:05.000000006Z stderr F e\n"
					     "2026-01-02T03:04:05.000000006Z stdout F !\n");
	autofree char *tail = log_tail_text(path, 2, 2048);

	/* A P line of one stream runs into what the other wrote next. */
	assert_string_equal(tail, "twoe\n!\n");
	/* Rotation: no line is split or lost, the number of files is bounded. */
	assert_int_equal(cri_log_open(&log, path, 200, 3), 0);
	for (int i = 0; i < 20; i++)
		cri_log_write(&log, CRI_STDOUT, 0, "0123456789\n", 11);
	cri_log_close(&log);
	struct stat st;

	assert_int_equal(stat(older, &st), 0);
	assert_true(st.st_size <= 200);
	autofree char *third = xasprintf("%s/0.log.3", dir);

	assert_int_equal(access(third, F_OK), -1);
	dir_remove(dir);
}

static void put(const char *dir, const char *name, const char *text)
{
	autofree char *path = xasprintf("%s/%s", dir, name);

	assert_int_equal(file_write(path, 0644, text, strlen(text), NULL), 0);
}

static void test_users(void **state)
{
	static const struct {
		const char *text;
		int rc;
		uint32_t uid, gid;
		size_t n_groups;
	} cases[] = {
		{ "", 0, 0, 0, 1 },
		{ "app", 0, 1000, 1001, 2 },
		{ "1000", 0, 1000, 1001, 2 },
		{ "4242", 0, 4242, 0, 0 },
		{ "app:staff", 0, 1000, 50, 0 },
		{ "app:77", 0, 1000, 77, 0 },
		{ "nobody", -ENOENT, 0, 0, 0 },
		{ "app:none", -ENOENT, 0, 0, 0 },
		{ "-1", -ENOENT, 0, 0, 0 },
	};
	autofree char *dir = scratch(), *etc = xasprintf("%s/etc", dir);

	mkdir(etc, 0755);
	put(etc, "passwd", "root:x:0:0:root:/root:/bin/sh\nbroken line\napp:x:1000:1001::/home/app:/bin/sh\n");
	put(etc, "group", "root:x:0:root\nwheel:x:10:root\nstaff:x:50:app\nextra:x:60:bob,app\n");
	for (size_t i = 0; i < array_size(cases); i++) {
		struct user u;
		int rc = user_resolve(dir, cases[i].text, &u, NULL);

		if (rc != cases[i].rc || (rc == 0 && (u.uid != cases[i].uid || u.gid != cases[i].gid ||
							     u.n_groups != cases[i].n_groups)))
			fail_msg("user \"%s\": rc %d, %u:%u and %zu groups", cases[i].text, rc, u.uid, u.gid, u.n_groups);
	}
	/* A link in the image leads nowhere outside of it. */
	autofree char *link = xasprintf("%s/etc/passwd", dir);

	unlink(link);
	assert_int_equal(symlink("../../../../../../etc/passwd", link), 0);
	struct user u;

	assert_int_equal(user_resolve(dir, "root", &u, NULL), -ENOENT);
	dir_remove(dir);
}

static void test_caps(void **state)
{
	auto_with(buf_fini) struct buf out = { 0 };

	assert_int_equal(caps_by_name("NET_ADMIN"), UINT64_C(1) << 12);
	assert_int_equal(caps_by_name("cap_net_admin"), UINT64_C(1) << 12);
	assert_int_equal(caps_by_name("NO_SUCH"), 0);
	assert_int_equal(caps_default(), 0xa80425fb);
	caps_put_json(&out, caps_by_name("CHOWN") | caps_by_name("BPF"));
	assert_string_equal(buf_cstr(&out), "[\"CAP_CHOWN\",\"CAP_BPF\"]");
}

static void test_config(void **state)
{
	auto_with(buf_fini) struct buf out = { 0 };
	struct user user = { .uid = 1000, .gid = 7, .groups = { 8 }, .n_groups = 1 };
	char *args[] = { (char *)"sh", (char *)"say \"hi\"\n", NULL }, *env[] = { (char *)"A=\\", NULL };
	struct oci_mount mount = { "/src", "/dst", "bind", "rbind,ro" };
	struct oci_container c = { .process = { .args = args, .env = env, .cwd = "/", .user = &user, .caps = 1 },
		.rootfs = "/r", .mounts = &mount, .n_mounts = 1, .shm = "/shm", .net = "/ns/net", .ipc = "/ns/ipc",
		.uts = "/ns/uts", .pid = "", .cgroups_path = "/k/p/c", .memory_bytes = 64 << 20 };

	oci_put_config(&out, &c);
	const char *text = buf_cstr(&out);

	assert_non_null(strstr(text, "\"args\":[\"sh\",\"say \\\"hi\\\"\\n\"]"));
	assert_non_null(strstr(text, "\"env\":[\"A=\\\\\"]"));
	assert_non_null(strstr(text, "\"additionalGids\":[8]"));
	assert_non_null(strstr(text, "\"options\":[\"rbind\",\"ro\"]"));
	assert_non_null(strstr(text, "{\"type\":\"network\",\"path\":\"/ns/net\"}"));
	assert_non_null(strstr(text, "\"memory\":{\"limit\":67108864}"));
	assert_non_null(strstr(text, "\"maskedPaths\""));
	/* Not root: what it may gain, not what it has. */
	assert_non_null(strstr(text, "\"bounding\":[\"CAP_CHOWN\"],\"effective\":[]"));
	c.privileged = true;
	buf_clear(&out);
	oci_put_config(&out, &c);
	assert_null(strstr(buf_cstr(&out), "\"maskedPaths\""));
}

static void test_dir_remove(void **state)
{
	autofree char *dir = scratch(), *outside = scratch();
	autofree char *deep = xasprintf("%s/a/b/c", dir), *link = xasprintf("%s/a/link", dir);

	put(outside, "kept", "x");
	assert_int_equal(dir_make(deep, 0755, NULL), 0);
	assert_int_equal(symlink(outside, link), 0);
	put(deep, "f", "x");
	assert_int_equal(dir_remove(dir), 0);
	assert_int_equal(access(dir, F_OK), -1);
	autofree char *kept = xasprintf("%s/kept", outside);

	assert_int_equal(access(kept, F_OK), 0);
	assert_int_equal(dir_remove(dir), 0);
	dir_remove(outside);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_packet), cmocka_unit_test(test_exit_record),
		cmocka_unit_test(test_cri_lines), cmocka_unit_test(test_cri_log), cmocka_unit_test(test_users),
		cmocka_unit_test(test_caps), cmocka_unit_test(test_config), cmocka_unit_test(test_dir_remove) };

	return cmocka_run_group_tests_name("agent-runtime", tests, NULL, NULL);
}
