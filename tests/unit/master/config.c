#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "controlplane/config.h"

static const char complete[] =
	"# a master\nid = 00000000000000ab\nname = m1\ndata_dir = /d\nca_file = /ca\ncert_file = /c\n"
	"key_file = /k\nkek_file = /kek\napi_listen = 1.2.3.4:6443\nrpc_listen = 1.2.3.4:6445\n"
	"raft_listen = 1.2.3.4:6444\napi_address = h:6443\nrpc_address = h:6445\nraft_address = h:6444\n";

/* What is added to the complete file, and what the error says; NULL: none. */
static const struct {
	const char *lines, *error;
} cases[] = {
	{ "", NULL },
	{ "service_cidr = 10.0.0.0/24\npod_cidr = 10.1.0.0/16\nnode_prefix = 25\n", NULL },
	{ "node_port_range = 1-65535\nlog_level = debug\n", NULL },
	{ "idd = 3\n", "idd" },
	{ "id = 12\n", "16 hexadecimal digits" },
	{ "id = 0000000000000000\n", "16 hexadecimal digits" },
	{ "service_cidr = 10.0.0.1/24\n", "service_cidr" },
	{ "service_cidr = 10.0.0.0\n", "service_cidr" },
	{ "service_cidr = 10.0.0.0/31\n", "service_cidr" },
	{ "pod_cidr = fd00::/64\n", "pod_cidr" },
	{ "pod_cidr = 10.1.0.0/24\nnode_prefix = 20\n", "node_prefix" },
	{ "node_prefix = x\n", "node_prefix" },
	{ "dns_address = nowhere\n", "dns_address" },
	{ "node_port_range = 9-1\n", "node_port_range" },
	{ "node_port_range = 30000-70000\n", "node_port_range" },
	{ "log_level = loud\n", "log_level" },
};

static int read_text(const char *text, struct master_config *ret, struct status *st)
{
	char path[] = "/tmp/master-conf-XXXXXX";
	autoclose int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));

	int rc = master_config_read(ret, path, st);

	unlink(path);
	return rc;
}

static void test_cases(void **state)
{
	for (size_t i = 0; i < array_size(cases); i++) {
		autofree char *text = xasprintf("%s%s", complete, cases[i].lines);
		struct master_config config;
		struct status st = { 0 };
		int rc = read_text(text, &config, &st);

		if ((rc == 0) != (cases[i].error == NULL) ||
		    (rc < 0 && strstr(st.message, cases[i].error) == NULL))
			fail_msg("case \"%s\": rc %d %s", cases[i].lines, rc,
				 st.message != NULL ? st.message : "");
		if (rc == 0) {
			assert_int_equal(config.id, 0xab);
			assert_string_equal(config.name, "m1");
			master_config_fini(&config);
		}
		status_fini(&st);
	}
}

static void test_every_needed_key(void **state)
{
	/* Leaving out any line but the comment is an error that names the file. */
	const char *line = strchr(complete, '\n') + 1;

	while (*line != '\0') {
		const char *next = strchr(line, '\n') + 1;
		autofree char *text = xasprintf("%.*s%s", (int)(line - complete), complete, next);
		struct master_config config;
		struct status st = { 0 };

		assert_true(read_text(text, &config, &st) < 0);
		assert_non_null(strstr(st.message, "master-conf-"));
		status_fini(&st);
		line = next;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_cases),
					    cmocka_unit_test(test_every_needed_key) };

	return cmocka_run_group_tests_name("master config", tests, NULL, NULL);
}
