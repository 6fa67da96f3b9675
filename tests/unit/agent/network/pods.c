/* Pods in a node that is a network namespace of its own; needs root. */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/network/network.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"

static char dir[] = "/var/tmp/sampan-pods.XXXXXX";

static int setup(void **state)
{
	/* This process is the node; neither network nor mounts of the machine are touched. */
	if (mkdtemp(dir) == NULL || unshare(CLONE_NEWNET | CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -1;
	return system("ip link set lo up && ip address add 192.0.2.1/32 dev lo");
}

static int teardown(void **state)
{
	autofree char *command = xasprintf("umount %s/* 2>/dev/null; rm -rf %s", dir, dir);

	return system(command);
}

static char *pod_path(const char *name)
{
	return xasprintf("%s/%s", dir, name);
}

static void start_pod(const char *name, const char *ip)
{
	auto_with(status_fini) struct status st = { 0 };
	autofree char *path = pod_path(name);
	static const char *const sysctls[] = { "net.ipv4.ip_unprivileged_port_start=0" };
	struct pod_network pod = {
		.uid = name, .netns_path = path, .mtu = 1450, .sysctls = sysctls, .n_sysctls = 1,
	};

	inet_pton(AF_INET, ip, &pod.address);
	if (netns_create(path, &st) < 0 || network_setup_pod(&pod, &st) < 0)
		fail_msg("%s", st.message);
}

static void stop_pod(const char *name)
{
	autofree char *path = pod_path(name);

	assert_int_equal(netns_destroy(path), 0);
	assert_int_equal(netns_destroy(path), 0);
}

static int in_pod(const char *name, const char *command)
{
	autofree char *line = xasprintf("nsenter --net=%s/%s %s >/dev/null", dir, name, command);

	return system(line);
}

static void test_pods_reach_each_other(void **state)
{
	auto_with(status_fini) struct status st = { 0 };
	struct in_addr got;
	autofree char *a = pod_path("a");

	if (network_setup_node(&st) < 0)
		fail_msg("%s", st.message);
	start_pod("a", "10.1.0.2");
	start_pod("b", "10.1.0.3");
	assert_true(netns_exists(a));
	assert_int_equal(netns_create(a, NULL), -EEXIST);
	assert_int_equal(network_pod_address(a, &got), 0);
	assert_string_equal(inet_ntoa(got), "10.1.0.2");
	assert_int_equal(in_pod("a", "busybox ping -c1 -W2 10.1.0.3"), 0);
	assert_int_equal(system("busybox ping -c1 -W2 10.1.0.2 >/dev/null"), 0);
	assert_int_equal(in_pod("a", "ip -o link show eth0 | grep -q 'mtu 1450'"), 0);
	assert_int_equal(in_pod("a", "cat /proc/sys/net/ipv4/ip_unprivileged_port_start | grep -qx 0"), 0);
	stop_pod("a");
	stop_pod("b");
	assert_false(netns_exists(a));
}

/* An agent that died half way sets the same pod up again. */
static void test_again(void **state)
{
	autofree char *path = pod_path("a");
	struct pod_network pod = { .uid = "a", .netns_path = path };

	start_pod("a", "10.1.0.2");
	inet_pton(AF_INET, "10.1.0.9", &pod.address);
	assert_int_equal(network_setup_pod(&pod, NULL), 0);
	assert_int_equal(in_pod("a", "ip -4 -o address show eth0 | grep -q 10.1.0.9/32"), 0);
	assert_int_equal(network_remove_pod("a"), 0);
	assert_int_equal(network_remove_pod("a"), 0);
	stop_pod("a");
}

static void test_refused(void **state)
{
	static const char *const bad[] = { "kernel.shmmax=1", "net.ipv4.nothing=1", "net.core.somaxconn",
		"net.../../kernel/hostname=x", "net.ipv4/ip_forward=1" };
	autofree char *path = pod_path("a");
	char name[16];

	assert_int_equal(netns_create(path, NULL), 0);
	for (size_t i = 0; i < array_size(bad); i++) {
		auto_with(status_fini) struct status st = { 0 };
		struct pod_network pod = {
			.uid = "a", .netns_path = path, .sysctls = &bad[i], .n_sysctls = 1,
		};

		inet_pton(AF_INET, "10.1.0.2", &pod.address);
		if (network_setup_pod(&pod, &st) == 0)
			fail_msg("%s was accepted", bad[i]);
		assert_non_null(strstr(st.message, bad[i]));
	}
	network_host_interface("a", name);
	assert_int_equal(if_nametoindex(name), 0);
	stop_pod("a");
	struct pod_network pod = { .uid = "a", .netns_path = path };

	assert_int_equal(network_setup_pod(&pod, NULL), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pods_reach_each_other),
		cmocka_unit_test(test_again),
		cmocka_unit_test(test_refused),
	};

	if (geteuid() != 0) {
		printf("1..0 # SKIP network namespaces need root\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, setup, teardown);
}
