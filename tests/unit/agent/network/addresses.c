/* The walk over a podCIDR. */
#include <arpa/inet.h>
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

#include "agent/network/network.h"
#include "common/base/cleanup.h"

static struct in_addr address(const char *text)
{
	struct in_addr in;

	assert_int_equal(inet_pton(AF_INET, text, &in), 1);
	return in;
}

static void assert_next(struct address_pool *pool, const char *want)
{
	struct in_addr got;

	assert_int_equal(address_pool_take(pool, &got), 0);
	assert_string_equal(inet_ntoa(got), want);
}

static void test_walk(void **state)
{
	struct address_pool *pool;
	struct in_addr got;

	assert_int_equal(address_pool_create("10.1.0.0/29", NULL, &pool, NULL), 0);
	assert_next(pool, "10.1.0.2");
	assert_next(pool, "10.1.0.3");
	address_pool_give_back(pool, address("10.1.0.2"));
	/* Not again at once. */
	assert_next(pool, "10.1.0.4");
	assert_int_equal(address_pool_mark(pool, address("10.1.0.5")), 0);
	assert_int_equal(address_pool_mark(pool, address("10.1.0.5")), -EEXIST);
	assert_int_equal(address_pool_mark(pool, address("10.1.0.8")), -ERANGE);
	assert_int_equal(address_pool_mark(pool, address("10.0.255.255")), -ERANGE);
	assert_next(pool, "10.1.0.6");
	assert_next(pool, "10.1.0.2");
	assert_int_equal(address_pool_take(pool, &got), -ENOSPC);
	address_pool_give_back(pool, address("10.1.0.4"));
	assert_next(pool, "10.1.0.4");
	address_pool_destroy(pool);
}

static void test_place_survives(void **state)
{
	char path[] = "/var/tmp/sampan-cursor.XXXXXX";
	struct address_pool *pool;
	int fd = mkstemp(path);

	close(fd);
	assert_int_equal(address_pool_create("10.1.0.0/24", path, &pool, NULL), 0);
	assert_next(pool, "10.1.0.2");
	assert_next(pool, "10.1.0.3");
	address_pool_destroy(pool);
	assert_int_equal(address_pool_create("10.1.0.0/24", path, &pool, NULL), 0);
	assert_next(pool, "10.1.0.4");
	address_pool_destroy(pool);
	/* Another range now: the old place means nothing. */
	assert_int_equal(address_pool_create("10.2.0.0/24", path, &pool, NULL), 0);
	assert_next(pool, "10.2.0.2");
	address_pool_destroy(pool);
	unlink(path);
}

static void test_refused(void **state)
{
	static const char *const cidrs[] = { "", "10.1.0.0", "10.1.0.0/31", "10.1.0.0/33", "10.1.0.1/24",
		"10.1.0.0/24x", "fd00::/64", "10.1.0/24", "10.0.0.0/4" };

	for (size_t i = 0; i < array_size(cidrs); i++) {
		struct address_pool *pool = NULL;

		if (address_pool_create(cidrs[i], NULL, &pool, NULL) != -EINVAL)
			fail_msg("%s", cidrs[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_walk),
		cmocka_unit_test(test_place_survives),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
