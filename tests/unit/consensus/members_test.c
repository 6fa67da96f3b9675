/* Whole members over real files and real connections: one, three, failover,
 * reads, messages, snapshots, membership, certificates. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/alloc.h"
#include "common/base/log.h"
#include "tests/unit/consensus/members.h"

static int setup(void **state)
{
	struct cluster *c = xcalloc(1, sizeof(*c));

	cluster_init(c);
	*state = c;
	return 0;
}

static int teardown(void **state)
{
	cluster_fini(*state);
	free(*state);
	return 0;
}

static void one_member_keeps_what_it_promised(void **state)
{
	struct cluster *c = *state;
	struct member *m = &c->members[0];
	char big[5000];

	cluster_prepare(c, 1);
	member_start(m);
	assert_int_equal(cluster_propose(c, "a"), 0);
	assert_int_equal(cluster_propose(c, ""), 0);
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	assert_int_equal(cluster_propose(c, big), 0);
	assert_int_equal(m->n_applied, 3);

	struct buf before = { 0 };

	buf_put(&before, m->applied.data, m->applied.len);
	member_stop(m);
	assert_int_equal(m->led, m->lost);
	member_start(m);
	cluster_leader(c);
	cluster_expect_applied(c, 3);
	assert_int_equal(m->applied.len, before.len);
	assert_memory_equal(m->applied.data, before.data, before.len);
	buf_fini(&before);
}

static void refuses_what_does_not_fit(void **state)
{
	struct cluster *c = *state;
	struct member *m = &c->members[0];
	struct status st = { 0 };
	size_t max;

	cluster_prepare(c, 1);
	assert_int_equal(consensus_bootstrap(m->dir, 1, m->address, 0, &st), -EEXIST);
	status_fini(&st);
	member_start(m);
	cluster_leader(c);
	max = consensus_entry_bytes_max(m->consensus);
	assert_int_equal(consensus_propose(m->consensus, xcalloc(1, max + 1), max + 1, NULL, NULL),
			 -EFBIG);
	assert_int_equal(consensus_propose(m->consensus, xcalloc(1, max), max, NULL, NULL), 0);
	cluster_expect_applied(c, 1);
	assert_int_equal(consensus_bootstrap(m->dir, 1, m->address, 0, &st), -EBUSY);
	status_fini(&st);
}

static void three_members_apply_the_same(void **state)
{
	struct cluster *c = *state;
	char text[32];

	cluster_start(c, 3);
	for (int i = 0; i < 200; i++) {
		snprintf(text, sizeof(text), "entry %d", i);
		assert_int_equal(cluster_propose(c, text), 0);
	}
	cluster_expect_applied(c, 200);
}

static void leadership_moves_on_a_planned_stop(void **state)
{
	struct cluster *c = *state;
	struct member *old;

	cluster_start(c, 3);
	assert_int_equal(cluster_propose(c, "one"), 0);
	old = cluster_leader(c);
	member_stop(old);
	assert_int_equal(old->led, old->lost);
	assert_ptr_not_equal(cluster_leader(c), old);
	assert_int_equal(cluster_propose(c, "two"), 0);
	member_start(old);
	assert_int_equal(cluster_propose(c, "three"), 0);
	cluster_expect_applied(c, 3);
}

struct read_outcome {
	bool done;
	int rc;
	size_t n_applied;
	struct member *member;
};

static void on_read(void *ctx, int rc, uint64_t term)
{
	struct read_outcome *o = ctx;

	assert_true(rc < 0 || term > 0);
	o->done = true;
	o->rc = rc;
	o->n_applied = o->member->n_applied;
}

static bool read_done(struct cluster *c, void *ctx)
{
	(void)c;
	return ((struct read_outcome *)ctx)->done;
}

static void every_member_reads_the_latest(void **state)
{
	struct cluster *c = *state;

	cluster_start(c, 3);
	for (size_t i = 1; i <= 60; i++) {
		struct read_outcome o = { .member = &c->members[i % 3] };

		assert_int_equal(cluster_propose(c, "x"), 0);
		assert_int_equal(consensus_read_index(o.member->consensus, on_read, &o), 0);
		assert_false(o.done);
		assert_true(cluster_until(c, read_done, &o));
		assert_int_equal(o.rc, 0);
		assert_int_equal(o.n_applied, i);
	}
}

static void reads_write_nothing(void **state)
{
	struct cluster *c = *state;
	struct consensus_stats before[3], after;

	cluster_start(c, 3);
	assert_int_equal(cluster_propose(c, "x"), 0);
	cluster_expect_applied(c, 1);
	for (int i = 0; i < 3; i++)
		consensus_stats(c->members[i].consensus, &before[i]);
	for (int i = 0; i < 30; i++) {
		struct read_outcome o = { .member = &c->members[i % 3] };

		assert_int_equal(consensus_read_index(o.member->consensus, on_read, &o), 0);
		assert_true(cluster_until(c, read_done, &o));
	}
	for (int i = 0; i < 3; i++) {
		consensus_stats(c->members[i].consensus, &after);
		assert_int_equal(after.disk_bytes_written, before[i].disk_bytes_written);
		assert_int_equal(after.disk_syncs, before[i].disk_syncs);
	}
}

static void a_read_without_majority_fails(void **state)
{
	struct cluster *c = *state;
	struct read_outcome o = { 0 };

	cluster_start(c, 3);
	assert_int_equal(cluster_propose(c, "x"), 0);
	o.member = cluster_leader(c);
	for (int i = 0; i < 3; i++)
		if (&c->members[i] != o.member)
			member_stop(&c->members[i]);
	assert_int_equal(consensus_read_index(o.member->consensus, on_read, &o), 0);
	assert_true(cluster_until(c, read_done, &o));
	assert_int_equal(o.rc, -ETIMEDOUT);
}

static bool got_messages(struct cluster *c, void *ctx)
{
	(void)ctx;
	return c->members[0].messages.len + c->members[1].messages.len +
		       c->members[2].messages.len >= strlen("2:to me\n3:to leader\n");
}

static void messages_reach_members_and_the_leader(void **state)
{
	struct cluster *c = *state;

	cluster_start(c, 3);
	assert_int_equal(cluster_propose(c, "x"), 0);
	cluster_expect_applied(c, 1);
	assert_ptr_equal(cluster_leader(c), &c->members[0]);
	assert_int_equal(consensus_send(c->members[1].consensus, 3, bytes_str("to me")), 0);
	assert_int_equal(consensus_send(c->members[2].consensus, 0, bytes_str("to leader")), 0);
	assert_int_equal(consensus_send(c->members[2].consensus, 77, bytes_str("x")), -ENOTCONN);
	assert_true(cluster_until(c, got_messages, NULL));
	assert_string_equal(buf_cstr(&c->members[2].messages), "2:to me\n");
	assert_string_equal(buf_cstr(&c->members[0].messages), "3:to leader\n");
}

static void fill_log(struct cluster *c, unsigned n)
{
	char *text = xcalloc(1, 20001);

	/* Incompressible enough. */
	srandom(7);
	for (unsigned i = 0; i < n; i++) {
		for (int k = 0; k < 20000; k++)
			text[k] = (char)('!' + random() % 90);
		assert_int_equal(cluster_propose(c, text), 0);
	}
	free(text);
}

static void snapshots_bound_the_log_and_carry_a_newcomer(void **state)
{
	struct cluster *c = *state;
	struct consensus_stats stats;

	c->log_bytes = 400000;
	cluster_prepare(c, 4);
	member_start(&c->members[0]);
	cluster_join(c, &c->members[1]);
	cluster_join(c, &c->members[2]);
	fill_log(c, 120);
	consensus_stats(c->members[0].consensus, &stats);
	assert_true(stats.snapshot_index > 0);
	assert_true(stats.log_bytes < 2 * 1200000);

	cluster_join(c, &c->members[3]);
	cluster_expect_applied(c, 120);
	assert_int_equal(c->members[3].restored, 1);

	/* And from the disk. */
	for (int i = 3; i >= 0; i--)
		member_stop(&c->members[i]);
	for (int i = 0; i < 4; i++)
		member_start(&c->members[i]);
	cluster_leader(c);
	assert_int_equal(cluster_propose(c, "after"), 0);
	cluster_expect_applied(c, 121);
}

static bool follows_two(struct cluster *c, void *ctx)
{
	struct consensus_stats stats;

	(void)ctx;
	consensus_stats(c->members[1].consensus, &stats);
	return stats.leader_id == 2;
}

static void on_change(void *ctx, int rc)
{
	*(int *)ctx = rc;
}

static bool changed(struct cluster *c, void *ctx)
{
	(void)c;
	return *(int *)ctx != 1;
}

static void members_leave_and_leadership_moves_on_request(void **state)
{
	struct cluster *c = *state;
	struct consensus_member members[8];
	int rc = 1;

	cluster_start(c, 3);
	assert_int_equal(consensus_transfer(c->members[0].consensus, 2, on_change, &rc), 0);
	assert_true(cluster_until(c, changed, &rc));
	assert_int_equal(rc, 0);
	assert_true(cluster_until(c, follows_two, NULL));
	assert_ptr_equal(cluster_leader(c), &c->members[1]);

	/* The leader removes itself: the others go on. */
	rc = 1;
	assert_int_equal(consensus_member_remove(c->members[1].consensus, 2, on_change, &rc), 0);
	assert_true(cluster_until(c, changed, &rc));
	assert_int_equal(rc, 0);
	member_stop(&c->members[1]);
	assert_int_equal(cluster_propose(c, "without two"), 0);
	assert_int_equal(consensus_members(cluster_leader(c)->consensus, members, 8), 2);
	assert_int_equal(members[0].id, 1);
	assert_int_equal(members[1].id, 3);
	assert_int_equal(members[1].role, CONSENSUS_VOTER);
	cluster_expect_applied(c, 1);
}

static void recovery_makes_a_cluster_of_the_last_survivor(void **state)
{
	struct cluster *c = *state;
	struct member *m = &c->members[2];

	cluster_start(c, 3);
	assert_int_equal(cluster_propose(c, "kept"), 0);
	cluster_expect_applied(c, 1);
	for (int i = 0; i < 3; i++)
		member_stop(&c->members[i]);
	assert_int_equal(consensus_recover(m->dir, m->id, m->address, c->segment_bytes, NULL), 0);
	member_start(m);
	assert_ptr_equal(cluster_leader(c), m);
	assert_int_equal(cluster_propose(c, "alone"), 0);
	cluster_expect_applied(c, 2);
}

static void new_certificates_disturb_nobody(void **state)
{
	struct cluster *c = *state;
	struct member *leader;
	uint64_t term;
	struct consensus_stats stats;

	cluster_start(c, 3);
	leader = cluster_leader(c);
	consensus_stats(leader->consensus, &stats);
	term = stats.term;
	for (int i = 0; i < 3; i++) {
		struct member *m = &c->members[i];
		char name[CONSENSUS_NAME_SIZE];
		struct consensus_tls tls;

		consensus_member_name(m->id, name);
		free(m->cert);
		free(m->key);
		pki_issue(&c->pki, name, 86400, &m->cert, &m->key);
		tls = (struct consensus_tls){ bytes_str(c->pki.cert_pem), bytes_str(m->cert),
					      bytes_str(m->key) };
		assert_int_equal(consensus_set_tls(m->consensus, &tls, NULL), 0);
		assert_int_equal(cluster_propose(c, "x"), 0);
	}
	cluster_expect_applied(c, 3);
	consensus_stats(leader->consensus, &stats);
	assert_int_equal(stats.term, term);
	assert_ptr_equal(cluster_leader(c), leader);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_member_keeps_what_it_promised, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_what_does_not_fit, setup, teardown),
		cmocka_unit_test_setup_teardown(three_members_apply_the_same, setup, teardown),
		cmocka_unit_test_setup_teardown(leadership_moves_on_a_planned_stop, setup, teardown),
		cmocka_unit_test_setup_teardown(every_member_reads_the_latest, setup, teardown),
		cmocka_unit_test_setup_teardown(reads_write_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(a_read_without_majority_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(messages_reach_members_and_the_leader, setup, teardown),
		cmocka_unit_test_setup_teardown(snapshots_bound_the_log_and_carry_a_newcomer, setup,
						teardown),
		cmocka_unit_test_setup_teardown(members_leave_and_leadership_moves_on_request, setup,
						teardown),
		cmocka_unit_test_setup_teardown(recovery_makes_a_cluster_of_the_last_survivor, setup,
						teardown),
		cmocka_unit_test_setup_teardown(new_certificates_disturb_nobody, setup, teardown),
	};

	log_init("test", LOG_WARN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
