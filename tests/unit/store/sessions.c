#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/api/kinds.h"
#include "tests/unit/store/entry.h"

#define SECOND 1000000000ll

struct fixture {
	struct entry e;
	struct store *s;
};

static int setup(void **state)
{
	static struct fixture f;
	struct store_limits limits = store_limits_default;

	limits.sessions = 2;
	limits.session_results = 3;
	entry_init(&f.e);
	f.s = store_create(&limits);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	store_destroy(f->s);
	entry_fini(&f->e);
	return 0;
}

/* One write of name by (session, sequence, lowest) at a time; opens the session if asked to. */
static struct plan_result write_by(struct fixture *f, int64_t time_s, bool open, uint64_t session,
				   uint64_t sequence, uint64_t lowest, const char *name)
{
	entry_reset(&f->e);
	f->e.message.has_time_ns = true;
	f->e.message.time_ns = time_s * SECOND;

	SampanStore__Plan *plan = entry_plan(&f->e);

	plan_by(plan, session, sequence, lowest);
	plan_absent(&f->e, plan, "configmaps", "default", name);
	put(&f->e, plan, "configmaps", "default", name,
	    packed_json(&f->e, "configmaps", "{'metadata':{'name':'x'}}"), NULL);
	if (open)
		session_open(&f->e, plan, session, 10000);
	return entry_apply(&f->e, f->s)[0];
}

static void test_once(void **state)
{
	struct fixture *f = *state;
	struct plan_result first = write_by(f, 1, true, 7, 1, 1, "a"), again, known;

	assert_int_equal(first.rc, 0);
	assert_int_equal(first.revision, 1);
	again = write_by(f, 2, true, 7, 1, 1, "a");
	assert_int_equal(again.rc, 0);
	assert_int_equal(again.revision, 1);
	assert_int_equal(store_revision(f->s), 1);
	assert_true(store_session_result(f->s, 7, 1, &known));
	assert_int_equal(known.revision, 1);
}

static void test_refused_is_not_recorded(void **state)
{
	struct fixture *f = *state;
	struct plan_result known;

	assert_int_equal(write_by(f, 1, true, 7, 1, 1, "a").rc, 0);
	assert_int_equal(write_by(f, 1, false, 7, 2, 1, "a").rc, -EEXIST);
	assert_false(store_session_result(f->s, 7, 2, &known));
	assert_int_equal(write_by(f, 1, false, 7, 2, 1, "b").rc, 0);
}

static void test_acknowledged_is_forgotten(void **state)
{
	struct fixture *f = *state;
	struct plan_result known;

	assert_int_equal(write_by(f, 1, true, 7, 1, 1, "a").rc, 0);
	assert_int_equal(write_by(f, 1, false, 7, 2, 2, "b").rc, 0);
	assert_false(store_session_result(f->s, 7, 1, &known));
	assert_int_equal(write_by(f, 1, false, 7, 1, 2, "c").rc, -EKEYEXPIRED);
	assert_null(store_get(f->s, kind_of_resource("configmaps"), "default", "c"));
}

static void test_unknown_session(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(write_by(f, 1, false, 9, 1, 1, "a").rc, -EKEYEXPIRED);
	assert_int_equal(store_revision(f->s), 0);
}

static void test_expiry_is_by_logged_time(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(write_by(f, 1, true, 7, 1, 1, "a").rc, 0);
	assert_int_equal(write_by(f, 2, true, 8, 1, 1, "b").rc, 0);
	/* The first write after a quiet hour still finds its own session; the other one is over. */
	assert_int_equal(write_by(f, 3600, false, 7, 2, 2, "c").rc, 0);
	assert_true(store_has_session(f->s, 7));
	assert_false(store_has_session(f->s, 8));
	assert_int_equal(write_by(f, 3601, false, 8, 2, 1, "d").rc, -EKEYEXPIRED);
	/* Time does not run back. */
	assert_int_equal(write_by(f, 5, false, 7, 3, 3, "e").rc, 0);
	assert_int_equal(store_time_ns(f->s), 3601 * SECOND);
}

static void test_bounds(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(write_by(f, 1, true, 1, 1, 1, "a").rc, 0);
	assert_int_equal(write_by(f, 1, true, 2, 1, 1, "b").rc, 0);
	assert_int_equal(write_by(f, 1, true, 3, 1, 1, "c").rc, -EKEYEXPIRED);
	assert_int_equal(write_by(f, 1, false, 1, 2, 1, "d").rc, 0);
	assert_int_equal(write_by(f, 1, false, 1, 3, 1, "e").rc, 0);
	assert_int_equal(write_by(f, 1, false, 1, 4, 1, "f").rc, -ENOBUFS);
	assert_int_equal(write_by(f, 1, false, 1, 4, 3, "f").rc, 0);
}

static void test_close(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(write_by(f, 1, true, 7, 1, 1, "a").rc, 0);
	uint64_t with = store_hash(f->s);

	entry_reset(&f->e);
	session_close(&f->e, entry_plan(&f->e), 7);
	assert_int_equal(entry_apply(&f->e, f->s)[0].rc, 0);
	assert_false(store_has_session(f->s, 7));
	assert_true(store_hash(f->s) != with);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused_is_not_recorded, setup, teardown),
		cmocka_unit_test_setup_teardown(test_acknowledged_is_forgotten, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unknown_session, setup, teardown),
		cmocka_unit_test_setup_teardown(test_expiry_is_by_logged_time, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bounds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_close, setup, teardown),
	};

	return cmocka_run_group_tests_name("store sessions", tests, NULL, NULL);
}
