/* Numbers from control groups (both versions) and from /proc. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/machine.h"
#include "agent/runtime/cgroup.h"
#include "agent/runtime/dir_remove.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"

static void put(const char *dir, const char *file, const char *text)
{
	autofree char *path = xasprintf("%s/%s", dir, file);

	assert_int_equal(file_write(path, 0644, text, strlen(text), NULL), 0);
}

static void test_cgroup_stats(void **state)
{
	static const struct {
		const char *name;
		bool v2;
		const char *files[3][2];
		int rc;
		struct cgroup_stats stats;
	} cases[] = {
		{ "version 1",
		  false,
		  { { "memory.usage_in_bytes", "10485760\n" },
		    { "memory.stat",
		      "cache 1\ninactive_file 7\ntotal_cache 1\ntotal_inactive_file 4194304\n" },
		    { "cpuacct.usage", "123456789012\n" } },
		  0,
		  { 10485760, 6291456, 123456789012 } },
		{ "version 2",
		  true,
		  { { "memory.current", "10485760\n" },
		    { "memory.stat", "anon 1\nfile 2\ninactive_file 4194304\nactive_file 9\n" },
		    { "cpu.stat", "usage_usec 123456789\nuser_usec 1\nsystem_usec 2\n" } },
		  0,
		  { 10485760, 6291456, 123456789000 } },
		{ "more inactive than used",
		  true,
		  { { "memory.current", "4096\n" },
		    { "memory.stat", "inactive_file 8192\n" },
		    { "cpu.stat", "usage_usec 5\n" } },
		  0,
		  { 4096, 0, 5000 } },
		{ "gone", true, { { "cpu.stat", "usage_usec 5\n" } }, -ENOENT, { 0 } },
	};

	for (size_t i = 0; i < array_size(cases); i++) {
		char dir[] = "/tmp/agent-measure.XXXXXX";
		struct cgroup_stats stats;

		assert_non_null(mkdtemp(dir));
		struct cgroups c = { .v2 = cases[i].v2,
				     .mounts = { dir },
				     .controllers = { (char *)",cpu,cpuacct,memory," },
				     .n = 1 };
		autofree char *group = xasprintf("%s/pod", dir);

		assert_int_equal(dir_make(group, 0755, NULL), 0);
		for (size_t k = 0; k < 3 && cases[i].files[k][0] != NULL; k++)
			put(group, cases[i].files[k][0], cases[i].files[k][1]);
		int rc = cgroup_read_stats(&c, "/pod", &stats);

		if (rc != cases[i].rc || memcmp(&stats, &cases[i].stats, sizeof(stats)) != 0)
			fail_msg("%s: rc %d, %llu %llu %llu", cases[i].name, rc,
				 (unsigned long long)stats.memory_bytes,
				 (unsigned long long)stats.working_set_bytes,
				 (unsigned long long)stats.cpu_ns);
		dir_remove(dir);
	}
}

static void test_machine_counters(void **state)
{
	static const char meminfo[] =
		"MemTotal:       1000 kB\nMemFree:         300 kB\nMemAvailable: 900 kB\n"
		"Inactive:  400 kB\nInactive(file):  200 kB\n";
	struct machine_counters c;

	machine_counters_parse("cpu  100 10 50 9999 8888 3 2 77 5 0\ncpu0 1 2 3\n", meminfo, 100,
			       &c);
	assert_int_equal(c.cpu_ns, (uint64_t)165 * 10000000);
	assert_int_equal(c.working_set_bytes, 500 * 1024);
	machine_counters_parse("", "", 100, &c);
	assert_int_equal(c.cpu_ns, 0);
	assert_int_equal(c.working_set_bytes, 0);
	machine_counters_parse("intr 1 2", "MemTotal: 5 kB\nMemFree: 6 kB\n", 100, &c);
	assert_int_equal(c.cpu_ns, 0);
	assert_int_equal(c.working_set_bytes, 0);
	machine_count(&c);
	assert_true(c.cpu_ns > 0);
	assert_true(c.working_set_bytes > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cgroup_stats),
		cmocka_unit_test(test_machine_counters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
