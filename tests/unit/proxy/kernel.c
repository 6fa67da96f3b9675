/* The table in a real kernel, inside a network namespace of this test; needs root. What
 * the kernel holds is read back and compared; traffic is for tests/cluster/network. */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "proxy/services/services.h"
#include "tests/unit/proxy/support.h"

static struct services_config config = {
	.node = "n1",
	.pod_cidr = "10.244.0.0/16",
	.service_cidr = "10.96.0.0/12",
	.dns_address = "10.96.0.10",
	.dns_listen = "169.254.20.10",
};

struct kernel {
	struct world world;
	struct services *services;
};

static int setup(void **state)
{
	struct kernel *k = xcalloc(1, sizeof(*k));

	/* A fresh namespace for each test. */
	if (unshare(CLONE_NEWNET) < 0)
		return -1;
	world_init(&k->world);
	*state = k;
	return 0;
}

static int teardown(void **state)
{
	struct kernel *k = *state;

	services_destroy(k->services);
	world_fini(&k->world);
	free(k);
	return 0;
}

static void start(struct kernel *k)
{
	auto_with(status_fini) struct status st = { 0 };

	if (services_create(&config, &k->world, &k->services, &st) < 0)
		fail_msg("%s", st.message);
}

static void restart(struct kernel *k)
{
	services_destroy(k->services);
	world_fini(&k->world);
	world_init(&k->world);
	start(k);
}

static void sync_now(struct kernel *k)
{
	auto_with(status_fini) struct status st = { 0 };

	if (services_sync(k->services, &st) < 0)
		fail_msg("%s", st.message);
}

static void put_service(struct kernel *k, unsigned i, const char *more)
{
	autofree char *json = xasprintf(
		"{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"namespace\":\"d\",\"name\":\"s%u\"},"
		"\"spec\":{\"clusterIP\":\"10.97.%u.%u\",\"ports\":[{\"port\":80%s}]%s}}",
		i, i / 250, i % 250 + 1, i < 10 ? ",\"nodePort\":30000" : "", more);

	if (i < 10 && i > 0)
		json[strlen(json) - strlen(more) - 5] = (char)('0' + i);
	support_put(&k->world, json);
}

static void put_slice(struct kernel *k, unsigned i, unsigned n_endpoints)
{
	auto_with(buf_fini) struct buf json = { 0 };

	buf_printf(&json,
		"{\"apiVersion\":\"discovery.k8s.io/v1\",\"kind\":\"EndpointSlice\",\"metadata\":{\"namespace\":\"d\","
		"\"name\":\"s%u-x\",\"labels\":{\"kubernetes.io/service-name\":\"s%u\"}},\"addressType\":\"IPv4\","
		"\"ports\":[{\"port\":8080}],\"endpoints\":[", i, i);
	for (unsigned e = 0; e < n_endpoints; e++)
		buf_printf(&json, "%s{\"addresses\":[\"10.244.%u.%u\"],\"nodeName\":\"n1\"}",
			e > 0 ? "," : "", i % 250, e % 250 + 1);
	buf_put_str(&json, "]}");
	support_put(&k->world, buf_cstr(&json));
}

static void full(struct kernel *k, unsigned n_services, unsigned n_endpoints)
{
	world_full_begin(&k->world);
	for (unsigned i = 0; i < n_services; i++) {
		put_service(k, i, "");
		put_slice(k, i, n_endpoints);
	}
	world_full_end(&k->world);
}

static void on_element(void *arg, const struct element *e)
{
	elements_add(arg, e);
}

/* What the kernel holds equals what is wanted. */
static void assert_in_kernel(struct kernel *k)
{
	auto_with(netlink_close) struct netlink n = { .fd = -1 };
	auto_with(elements_fini) struct elements all = { 0 };
	auto_with(buf_fini) struct buf wanted = { 0 }, found = { 0 };

	assert_int_equal(netlink_open(&n, NETLINK_NETFILTER), 0);
	for (enum nft_set set = 0; set < SETS_N; set++)
		assert_int_equal(nft_read_elements(&n, set, on_element, &all), 0);
	elements_sort(&all);
	for (size_t i = 0; i < all.n; i++) {
		element_print(&found, &all.items[i]);
		buf_put_byte(&found, '\n');
	}
	services_dump(k->services, &wanted);
	assert_string_equal(buf_cstr(&found), buf_cstr(&wanted));
}

static void assert_shell(const char *command)
{
	if (system(command) != 0)
		fail_msg("%s", command);
}

static void test_life_of_services(void **state)
{
	struct kernel *k = *state;

	start(k);
	/* Nothing is written before everything is known. */
	sync_now(k);
	assert_shell("! nft list tables | grep -q sampan");
	full(k, 12, 3);
	sync_now(k);
	assert_in_kernel(k);
	put_slice(k, 1, 5);
	put_slice(k, 2, 0);
	put_service(k, 4, ",\"type\":\"NodePort\",\"externalTrafficPolicy\":\"Local\"");
	put_service(k, 5, ",\"externalIPs\":[\"192.0.2.1\"]");
	support_delete(&k->world, "services", "d", "s6");
	sync_now(k);
	assert_in_kernel(k);
	/* nft can show what we write, except for sticky chains (docs/services.md). */
	assert_shell("nft list ruleset >/dev/null");
	put_service(k, 3, ",\"sessionAffinity\":\"ClientIP\"");
	sync_now(k);
	assert_in_kernel(k);
	full(k, 2, 1);
	sync_now(k);
	assert_in_kernel(k);
}

static void test_restart_adopts(void **state)
{
	struct kernel *k = *state;

	start(k);
	full(k, 20, 4);
	sync_now(k);
	/* A mark of ours in the table shows that it is not made anew. */
	assert_shell("nft add chain ip sampan witness");
	restart(k);
	sync_now(k);
	assert_shell("nft list map ip sampan eps | grep -q 10.97.0.1");
	full(k, 20, 4);
	put_slice(k, 3, 2);
	sync_now(k);
	assert_in_kernel(k);
	assert_shell("nft list chain ip sampan witness >/dev/null");
}

static void test_other_skeleton_is_replaced(void **state)
{
	struct kernel *k = *state;

	start(k);
	full(k, 2, 1);
	sync_now(k);
	assert_shell("nft add chain ip sampan witness");
	config.pod_cidr = "10.245.0.0/16";
	restart(k);
	config.pod_cidr = "10.244.0.0/16";
	full(k, 2, 1);
	sync_now(k);
	assert_in_kernel(k);
	assert_shell("! nft list chain ip sampan witness 2>/dev/null");
}

/* Somebody else's hands in our table: the next change finds out and writes everything. */
static void test_damage_is_repaired(void **state)
{
	struct kernel *k = *state;

	start(k);
	full(k, 5, 2);
	sync_now(k);
	assert_shell("nft delete element ip sampan eps '{ 10.97.0.2 . tcp . 80 . 0x1 }'");
	put_slice(k, 1, 1);
	sync_now(k);
	assert_in_kernel(k);
	assert_shell("nft flush ruleset");
	put_slice(k, 2, 1);
	sync_now(k);
	assert_in_kernel(k);
	assert_shell("nft flush ruleset");
	assert_int_equal(services_check(k->services), 0);
	assert_in_kernel(k);
}

static void test_many(void **state)
{
	struct kernel *k = *state;
	struct timespec from, to;

	start(k);
	full(k, 2000, 10);
	clock_gettime(CLOCK_MONOTONIC, &from);
	sync_now(k);
	clock_gettime(CLOCK_MONOTONIC, &to);
	print_message("2000 x 10 in %.1f ms\n",
		(double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) / 1e6);
	assert_in_kernel(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_life_of_services, setup, teardown),
		cmocka_unit_test_setup_teardown(test_restart_adopts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_skeleton_is_replaced, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damage_is_repaired, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many, setup, teardown),
	};

	if (geteuid() != 0) {
		printf("1..0 # SKIP nf_tables needs root\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
