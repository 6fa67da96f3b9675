/* Buffers, arenas, statuses and what a log line does to odd text. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/conf.h"
#include "common/base/log.h"
#include "common/base/source.h"
#include "common/base/status.h"

static void buffer_grows_and_shrinks(void **state)
{
	struct buf b = { 0 };

	(void)state;
	for (int i = 0; i < 1000; i++)
		buf_printf(&b, "%d,", i);
	assert_int_equal(strncmp(buf_cstr(&b), "0,1,2,", 6), 0);
	buf_consume(&b, 4);
	assert_int_equal(strncmp(buf_cstr(&b), "2,3,", 4), 0);
	buf_consume(&b, b.len);
	assert_string_equal(buf_cstr(&b), "");
	buf_fini(&b);
}

static void arena_keeps_its_budget(void **state)
{
	struct arena a;

	(void)state;
	arena_init(&a, 1000);
	assert_non_null(arena_try_alloc(&a, 500));
	assert_null(arena_try_alloc(&a, 501));
	assert_null(arena_try_alloc(&a, SIZE_MAX - 3));
	arena_reset(&a);
	assert_non_null(arena_try_alloc(&a, 900));
	assert_string_equal(arena_printf(&a, "%s-%d", "x", 7), "x-7");
	arena_fini(&a);
}

static void status_knows_kubernetes_words(void **state)
{
	struct status st = { 0 };

	(void)state;
	assert_int_equal(status_set(&st, -ENOENT, "pods \"%s\" not found", "a"), -ENOENT);
	assert_int_equal(st.http_code, 404);
	assert_string_equal(st.reason, "NotFound");
	status_prefix(&st, "node %d", 3);
	assert_string_equal(st.message, "node 3: pods \"a\" not found");
	status_cause(&st, "FieldValueRequired", "spec", "Required value");
	assert_int_equal(st.n_causes, 1);
	status_fini(&st);
	assert_int_equal(status_set(NULL, -EIO, "nobody listens"), -EIO);
}

static void log_values_are_quoted(void **state)
{
	(void)state;
	assert_string_equal(log_quote("plain"), "plain");
	assert_string_equal(log_quote(""), "\"\"");
	assert_string_equal(log_quote("a b\"c\n\x01"), "\"a b\\\"c\\n\\x01\"");
}

static void uuid_has_version_4(void **state)
{
	struct seeded_source s;
	char uuid[37];

	(void)state;
	seeded_source_init(&s, 42);
	source_uuid(&s.base, uuid);
	assert_int_equal(strlen(uuid), 36);
	assert_int_equal(uuid[14], '4');
	assert_non_null(strchr("89ab", uuid[19]));
}

static void conf_names_the_bad_line(void **state)
{
	static const char good[] = "# c\n a = 1 \nb=\na = x y\n";
	static const char *const known[] = { "a", NULL };
	struct status st = { 0 };
	struct conf c;
	long long n;

	(void)state;
	assert_int_equal(conf_parse(&c, "f", good, strlen(good), &st), 0);
	assert_string_equal(conf_get(&c, "a", ""), "x y");
	assert_string_equal(conf_get_nth(&c, "a", 0), "1");
	assert_null(conf_get_nth(&c, "a", 2));
	assert_string_equal(conf_get(&c, "b", "?"), "");
	assert_int_equal(conf_number(&c, "a", 0, 0, 9, &n, &st), -EINVAL);
	assert_string_equal(st.message, "f:4: a must be a number from 0 to 9");
	assert_int_equal(conf_check_keys(&c, known, &st), -EINVAL);
	assert_string_equal(st.message, "f:3: there is no setting called b");
	conf_fini(&c);
	assert_int_equal(conf_parse(&c, "f", "a=1\nnonsense\n", 13, &st), -EINVAL);
	assert_string_equal(st.message, "f:2: not of the form key = value");
	conf_fini(&c);
	status_fini(&st);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buffer_grows_and_shrinks), cmocka_unit_test(arena_keeps_its_budget),
		cmocka_unit_test(status_knows_kubernetes_words), cmocka_unit_test(log_values_are_quoted),
		cmocka_unit_test(uuid_has_version_4),
		cmocka_unit_test(conf_names_the_bad_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
