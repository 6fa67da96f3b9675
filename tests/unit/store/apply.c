#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/api/kinds.h"
#include "tests/unit/store/entry.h"

struct fixture {
	struct entry e;
	struct store *s;
	size_t changes;
};

static int setup(void **state)
{
	static struct fixture f;

	entry_init(&f.e);
	f.s = store_create(&store_limits_default);
	f.changes = 0;
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

static struct bytes config(struct fixture *f, const char *value)
{
	char json[512];

	snprintf(json, sizeof(json), "{'metadata':{'name':'x'},'data':{'k':'%s'}}", value);
	return packed_json(&f->e, "configmaps", json);
}

static const struct object *get(struct fixture *f, const char *name)
{
	return store_get(f->s, kind_of_resource("configmaps"), "default", name);
}

static void test_one_entry_never_gives_a_claim_twice(void **state)
{
	static const char *const ip[] = { "ip/10.0.0.1", NULL };
	struct fixture *f = *state;

	put(&f->e, entry_plan(&f->e), "configmaps", "default", "a", config(f, "1"), ip);
	put(&f->e, entry_plan(&f->e), "configmaps", "default", "b", config(f, "1"), ip);

	const struct plan_result *results = entry_apply(&f->e, f->s);

	assert_int_equal(results[0].rc, 0);
	assert_int_equal(results[1].rc, -EADDRINUSE);
	assert_ptr_equal(store_claim(f->s, "ip/10.0.0.1"), get(f, "a"));
	assert_null(get(f, "b"));

	/* Within one plan neither. */
	entry_reset(&f->e);

	static const char *const other[] = { "ip/10.0.0.2", NULL };
	SampanStore__Plan *plan = entry_plan(&f->e);

	put(&f->e, plan, "configmaps", "default", "c", config(f, "1"), other);
	put(&f->e, plan, "configmaps", "default", "d", config(f, "1"), other);
	assert_int_equal(entry_apply(&f->e, f->s)[0].rc, -EADDRINUSE);
	assert_null(get(f, "c"));
	assert_null(store_claim(f->s, "ip/10.0.0.2"));
}

static void test_claims_move_within_a_plan(void **state)
{
	static const char *const ip[] = { "ip/10.0.0.1", NULL };
	struct fixture *f = *state;

	put(&f->e, entry_plan(&f->e), "configmaps", "default", "a", config(f, "1"), ip);
	(void)entry_apply(&f->e, f->s);
	entry_reset(&f->e);

	SampanStore__Plan *plan = entry_plan(&f->e);

	del(&f->e, plan, "configmaps", "default", "a");
	put(&f->e, plan, "configmaps", "default", "b", config(f, "1"), ip);
	assert_int_equal(entry_apply(&f->e, f->s)[0].rc, 0);
	assert_ptr_equal(store_claim(f->s, "ip/10.0.0.1"), get(f, "b"));
}

static void on_change(void *ctx, const struct change *change)
{
	((struct fixture *)ctx)->changes++;
}

static void test_a_plan_is_all_or_nothing(void **state)
{
	struct fixture *f = *state;
	struct store_listener listener = { .cb = on_change, .ctx = f };

	store_listen(f->s, &listener);

	SampanStore__Plan *plan = entry_plan(&f->e);

	plan_present(&f->e, plan, "configmaps", "default", "missing", NULL, 0);
	put(&f->e, plan, "configmaps", "default", "a", config(f, "1"), NULL);
	assert_int_equal(entry_apply(&f->e, f->s)[0].rc, -ENOENT);
	assert_null(get(f, "a"));
	assert_int_equal(store_revision(f->s), 0);
	assert_int_equal(f->changes, 0);
	store_unlisten(f->s, &listener);
}

static void test_equal_bytes_change_nothing(void **state)
{
	struct fixture *f = *state;
	struct store_listener listener = { .cb = on_change, .ctx = f };

	store_listen(f->s, &listener);
	put(&f->e, entry_plan(&f->e), "configmaps", "default", "a", config(f, "1"), NULL);
	put(&f->e, entry_plan(&f->e), "configmaps", "default", "b", config(f, "1"), NULL);
	(void)entry_apply(&f->e, f->s);
	entry_reset(&f->e);
	put(&f->e, entry_plan(&f->e), "configmaps", "default", "a", config(f, "1"), NULL);

	const struct plan_result *results = entry_apply(&f->e, f->s);

	assert_int_equal(results[0].rc, 0);
	assert_int_equal(results[0].revision, 1);
	assert_int_equal(store_revision(f->s), 2);
	assert_int_equal(f->changes, 2);
	store_unlisten(f->s, &listener);
}

static void test_preconditions(void **state)
{
	struct fixture *f = *state;
	struct bytes with_uid =
		packed_json(&f->e, "configmaps", "{'metadata':{'name':'a','uid':'u1'}}");

	put(&f->e, entry_plan(&f->e), "configmaps", "default", "a", with_uid, NULL);
	(void)entry_apply(&f->e, f->s);
	entry_reset(&f->e);
	plan_present(&f->e, entry_plan(&f->e), "configmaps", "default", "a", "u1", 1);
	plan_present(&f->e, entry_plan(&f->e), "configmaps", "default", "a", "u2", 0);
	plan_present(&f->e, entry_plan(&f->e), "configmaps", "default", "a", NULL, 2);
	plan_absent(&f->e, entry_plan(&f->e), "configmaps", "default", "a");
	plan_absent(&f->e, entry_plan(&f->e), "configmaps", "default", "b");

	const struct plan_result *results = entry_apply(&f->e, f->s);

	assert_int_equal(results[0].rc, 0);
	assert_int_equal(results[1].rc, -ESTALE);
	assert_int_equal(results[2].rc, -ESTALE);
	assert_int_equal(results[3].rc, -EEXIST);
	assert_int_equal(results[4].rc, 0);
}

static int apply_rc(struct fixture *f)
{
	const struct plan_result *results;
	struct status st = { 0 };
	size_t n;
	int rc = store_apply(f->s, entry_pack(&f->e), &results, &n, &st);

	status_fini(&st);
	return rc;
}

static void test_what_cannot_be_applied(void **state)
{
	const struct plan_result *results;
	struct fixture *f = *state;
	size_t n;

	assert_int_equal(store_apply(f->s, bytes_str("\xff\xff"), &results, &n, NULL), -EBADMSG);
	f->e.message.has_level = true;
	f->e.message.level = STORE_LEVEL + 1;
	assert_int_equal(apply_rc(f), -EBADMSG);
	entry_reset(&f->e);
	put(&f->e, entry_plan(&f->e), "configmaps", "default", "a", config(f, "1"), NULL);
	put(&f->e, entry_plan(&f->e), "unheardof", "default", "a", config(f, "1"), NULL);
	assert_int_equal(apply_rc(f), -EBADMSG);
	/* Nothing of such an entry is done. */
	assert_null(get(f, "a"));
}

static void test_checkpoints(void **state)
{
	SampanStore__Checkpoint checkpoint = SAMPAN_STORE__CHECKPOINT__INIT;
	struct fixture *f = *state;

	put(&f->e, entry_plan(&f->e), "configmaps", "default", "a", config(f, "1"), NULL);
	(void)entry_apply(&f->e, f->s);
	entry_reset(&f->e);
	checkpoint.has_revision = checkpoint.has_hash = true;
	checkpoint.revision = 1;
	checkpoint.hash = store_hash(f->s);
	f->e.message.checkpoint = &checkpoint;
	assert_int_equal(apply_rc(f), 0);
	checkpoint.hash++;
	assert_int_equal(apply_rc(f), -EBADMSG);
}

static bool never(void *ctx, const struct change *change)
{
	return false;
}

static void test_history_bounds(void **state)
{
	struct store_limits limits = store_limits_default;
	struct fixture *f = *state;

	limits.history_bytes = 4096;
	store_destroy(f->s);
	f->s = store_create(&limits);
	for (int i = 0; i < 100; i++) {
		char value[200];

		memset(value, 'a' + i % 26, sizeof(value));
		value[100] = '\0';
		entry_reset(&f->e);
		put(&f->e, entry_plan(&f->e), "configmaps", "default", "a", config(f, value), NULL);
		(void)entry_apply(&f->e, f->s);
	}
	assert_true(store_history_begin(f->s) > 50);
	assert_true(store_history_begin(f->s) < 99);
	assert_int_equal(store_history(f->s, store_history_begin(f->s) - 1, never, NULL),
			 -EKEYEXPIRED);
	assert_int_equal(store_history(f->s, store_history_begin(f->s), never, NULL), 0);
	assert_int_equal(store_history(f->s, 100, never, NULL), 0);
	assert_int_equal(store_history(f->s, 101, never, NULL), -ERANGE);
	assert_int_equal(store_change(f->s, 100)->revision, 100);
	assert_null(store_change(f->s, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_entry_never_gives_a_claim_twice, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_claims_move_within_a_plan, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_plan_is_all_or_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_equal_bytes_change_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_preconditions, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_cannot_be_applied, setup, teardown),
		cmocka_unit_test_setup_teardown(test_checkpoints, setup, teardown),
		cmocka_unit_test_setup_teardown(test_history_bounds, setup, teardown),
	};

	return cmocka_run_group_tests_name("store apply", tests, NULL, NULL);
}
