#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/api/kinds.h"
#include "tests/unit/store/entry.h"

static int write_buf(void *ctx, const void *data, size_t n)
{
	buf_put(ctx, data, n);
	return 0;
}

struct reader {
	struct bytes bytes;
	size_t at;
};

static ssize_t read_bytes(void *ctx, void *to, size_t n)
{
	struct reader *r = ctx;

	if (n > r->bytes.len - r->at)
		n = r->bytes.len - r->at;
	memcpy(to, r->bytes.data + r->at, n);
	r->at += n;
	return (ssize_t)n;
}

static void on_restore(void *ctx)
{
	++*(int *)ctx;
}

static struct store *make_store(void)
{
	struct store *s = store_create(&store_limits_default);
	struct entry e;

	entry_init(&e);
	for (int i = 0; i < 50; i++) {
		const char *claims[] = { NULL, NULL };
		char name[16], claim[16];

		snprintf(name, sizeof(name), "name-%d", i);
		snprintf(claim, sizeof(claim), "claim/%d", i);
		claims[0] = claim;
		entry_reset(&e);
		e.message.has_time_ns = true;
		e.message.time_ns = 1000 + i;

		SampanStore__Plan *plan = entry_plan(&e);

		plan_by(plan, 5, (uint64_t)i + 1, 1);
		session_open(&e, plan, 5, 60000);
		put(&e, plan, "configmaps", "default", name,
		    packed_json(
			    &e, "configmaps",
			    "{'metadata':{'name':'x','labels':{'a':'b'}},'data':{'k':'some text'}}"),
		    claims);
		assert_int_equal(entry_apply(&e, s)[0].rc, 0);
	}
	entry_fini(&e);
	return s;
}

static struct buf snapshot_of(struct store *s)
{
	struct store_snapshot *snap = store_snapshot_take(s);
	struct buf b = { 0 };

	assert_int_equal(store_snapshot_write(snap, write_buf, &b), 0);
	store_snapshot_release(snap);
	return b;
}

/* What is taken stays as it was, whatever happens to the store before it is written. */
static void test_snapshot_is_of_its_moment(void **state)
{
	struct store *s = make_store(), *restored = store_create(&store_limits_default);
	struct store_snapshot *snap = store_snapshot_take(s);
	uint64_t hash = store_hash(s);
	struct buf b = { 0 };
	struct entry e;
	int restores = 0;

	entry_init(&e);
	del(&e, entry_plan(&e), "configmaps", "default", "name-3");
	(void)entry_apply(&e, s);
	assert_true(store_hash(s) != hash);
	assert_int_equal(store_snapshot_write(snap, write_buf, &b), 0);
	store_snapshot_release(snap);

	struct reader r = { .bytes = buf_bytes(&b) };
	struct plan_result known;

	store_on_restore(restored, on_restore, &restores);
	assert_int_equal(store_restore(restored, read_bytes, &r, NULL), 0);
	assert_int_equal(store_hash(restored), hash);
	assert_int_equal(restores, 1);
	assert_non_null(store_get(restored, kind_of_resource("configmaps"), "default", "name-3"));
	assert_non_null(store_claim(restored, "claim/49"));
	assert_true(store_session_result(restored, 5, 50, &known));
	assert_int_equal(known.revision, 50);
	assert_int_equal(store_time_ns(restored), 1049);
	entry_fini(&e);
	buf_fini(&b);
	store_destroy(restored);
	store_destroy(s);
}

static void test_damage_is_refused(void **state)
{
	struct store *s = make_store(), *restored = store_create(&store_limits_default);
	struct buf b = snapshot_of(s);

	/* Every byte matters: the frame carries a checksum, the header a hash. */
	for (size_t i = 0; i < b.len; i++) {
		struct reader r = { .bytes = buf_bytes(&b) };

		b.data[i] ^= 0x41;
		if (store_restore(restored, read_bytes, &r, NULL) == 0)
			/* Only what says nothing about the content may be changed unnoticed. */
			assert_int_equal(store_hash(restored), store_hash(s));
		else
			assert_int_equal(store_revision(restored), 0);
		b.data[i] ^= 0x41;
	}
	for (size_t n = 0; n < b.len; n++) {
		struct reader r = { .bytes = bytes_of(b.data, n) };

		assert_int_equal(store_restore(restored, read_bytes, &r, NULL), -EBADMSG);
		assert_int_equal(store_count(restored, kind_of_resource("configmaps")), 0);
	}
	buf_fini(&b);
	store_destroy(restored);
	store_destroy(s);
}

static int write_fails(void *ctx, const void *data, size_t n)
{
	return -ENOSPC;
}

static void test_write_errors_end_it(void **state)
{
	struct store *s = make_store();
	struct store_snapshot *snap = store_snapshot_take(s);

	assert_int_equal(store_snapshot_write(snap, write_fails, NULL), -ENOSPC);
	store_snapshot_release(snap);
	store_destroy(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_snapshot_is_of_its_moment),
		cmocka_unit_test(test_damage_is_refused),
		cmocka_unit_test(test_write_errors_end_it),
	};

	return cmocka_run_group_tests_name("store snapshot", tests, NULL, NULL);
}
