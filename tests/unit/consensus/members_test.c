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
#include "controlplane/consensus/link.h"
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

/* A transfer has one election timeout to come about, which a busy machine may not give it. */
static void transfer_to_two(struct cluster *c)
{
	int rc = -ETIMEDOUT;

	for (int attempt = 0; attempt < 20 && rc == -ETIMEDOUT && !follows_two(c, NULL); attempt++) {
		rc = 1;
		assert_int_equal(consensus_transfer(c->members[0].consensus, 2, on_change, &rc), 0);
		assert_true(cluster_until(c, changed, &rc));
	}
}

static void members_leave_and_leadership_moves_on_request(void **state)
{
	struct cluster *c = *state;
	struct consensus_member members[8];
	int rc = 1;

	cluster_start(c, 3);
	transfer_to_two(c);
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

/* --- strangers on the port --------------------------------------------------------------- */

struct stranger {
	struct link *link;
	bool up, gone;
};

static void on_stranger_up(struct link *l, uint64_t id)
{
	struct stranger *s = link_owner(l);

	assert_int_equal(id, 1);
	s->up = true;
	/* Authenticated perhaps, but not speaking our language. */
	buf_put_str(link_out(l), "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
	link_flush(l);
}

static int64_t on_stranger_data(struct link *l, struct bytes data)
{
	(void)l;
	return (int64_t)data.len;
}

static void on_stranger_down(struct link *l)
{
	struct stranger *s = link_owner(l);

	s->gone = true;
}

static const struct link_callbacks stranger_callbacks = {
	.up = on_stranger_up,
	.data = on_stranger_data,
	.down = on_stranger_down,
};

static bool stranger_gone(struct cluster *c, void *ctx)
{
	(void)c;
	return ((struct stranger *)ctx)->gone;
}

/* A TLS client with a certificate of authority p for name; its end is waited for. */
static void visit(struct cluster *c, struct pki *p, const char *name, uint64_t id)
{
	struct stranger s = { 0 };
	struct link_contexts contexts;
	struct consensus_tls tls;
	char *cert, *key;

	pki_issue(p, name, 86400, &cert, &key);
	tls = (struct consensus_tls){ bytes_str(c->pki.cert_pem), bytes_str(cert), bytes_str(key) };
	assert_int_equal(link_contexts_make(&tls, id, &contexts, NULL), 0);
	s.link = link_dial(&c->loop, &contexts, c->members[0].address, 1000, &stranger_callbacks, &s);
	assert_true(cluster_until(c, stranger_gone, &s));
	link_contexts_free(&contexts);
	free(cert);
	free(key);
}

struct raw {
	uv_tcp_t tcp;
	uv_connect_t connect;
	uv_write_t write;
	uint8_t data[4096];
	char sink[4096];
	bool gone;
};

static void on_raw_closed(uv_handle_t *h)
{
	((struct raw *)h->data)->gone = true;
}

static void on_raw_alloc(uv_handle_t *h, size_t n, uv_buf_t *ret_buf)
{
	struct raw *r = h->data;

	(void)n;
	*ret_buf = uv_buf_init(r->sink, sizeof(r->sink));
}

static void on_raw_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	(void)buf;
	if (n < 0)
		uv_close((uv_handle_t *)s, on_raw_closed);
}

static void on_raw_connected(uv_connect_t *req, int status)
{
	struct raw *r = req->handle->data;
	uv_buf_t buf = uv_buf_init((char *)r->data, sizeof(r->data));

	assert_int_equal(status, 0);
	uv_read_start((uv_stream_t *)&r->tcp, on_raw_alloc, on_raw_read);
	uv_write(&r->write, (uv_stream_t *)&r->tcp, &buf, 1, NULL);
}

static bool raw_gone(struct cluster *c, void *ctx)
{
	(void)c;
	return ((struct raw *)ctx)->gone;
}

/* Bytes that are no TLS, or nothing at all: cut off within the time for a handshake. */
static void visit_raw(struct cluster *c, uint64_t seed, bool silent)
{
	struct raw r = { 0 };
	struct seeded_source source;
	struct sockaddr_in at;
	uint16_t port;
	char host[64];

	seeded_source_init(&source, seed);
	source.base.random(&source.base, r.data, sizeof(r.data));
	assert_int_equal(link_address_split(c->members[0].address, host, sizeof(host), &port), 0);
	uv_ip4_addr(host, port, &at);
	uv_tcp_init(&c->loop, &r.tcp);
	r.tcp.data = &r;
	if (silent) {
		/* Connected, and then nothing. */
		r.data[0] = 0x16; /* A handshake that never continues. */
		memset(r.data + 1, 0, sizeof(r.data) - 1);
	}
	uv_tcp_connect(&r.connect, &r.tcp, (struct sockaddr *)&at, on_raw_connected);
	assert_true(cluster_until(c, raw_gone, &r));
}

static void strangers_are_cut_off(void **state)
{
	struct cluster *c = *state;
	struct pki foreign;
	char one[CONSENSUS_NAME_SIZE];

	pki_init(&foreign);
	consensus_member_name(1, one);
	cluster_prepare(c, 1);
	member_start(&c->members[0]);
	assert_int_equal(cluster_propose(c, "before"), 0);
	for (uint64_t seed = 0; seed < 20; seed++)
		visit_raw(c, seed, seed == 7);
	/* A master's name from another authority, and a master of ours that says something else than hello. */
	visit(c, &foreign, one, 1);
	visit(c, &c->pki, one, 1);
	assert_int_equal(cluster_propose(c, "after"), 0);
	cluster_expect_applied(c, 2);
	pki_fini(&foreign);
}

static void certificates_must_fit(void **state)
{
	struct cluster *c = *state;
	struct link_contexts contexts;
	struct status st = { 0 };
	struct consensus_tls tls;
	char *cert, *key, *other_cert, *other_key;

	pki_issue(&c->pki, "sampan:master:0000000000000001", 86400, &cert, &key);
	pki_issue(&c->pki, "system:node:one", 86400, &other_cert, &other_key);
	tls = (struct consensus_tls){ bytes_str(c->pki.cert_pem), bytes_str(cert), bytes_str(key) };
	assert_int_equal(link_contexts_make(&tls, 1, &contexts, &st), 0);
	link_contexts_free(&contexts);
	assert_int_equal(link_contexts_make(&tls, 2, &contexts, &st), -EINVAL);
	tls.key = bytes_str(other_key);
	assert_int_equal(link_contexts_make(&tls, 1, &contexts, &st), -EINVAL);
	tls.cert = bytes_str(other_cert);
	assert_int_equal(link_contexts_make(&tls, 1, &contexts, &st), -EINVAL);
	tls.ca = bytes_str("no certificate");
	assert_int_equal(link_contexts_make(&tls, 1, &contexts, &st), -EINVAL);
	status_fini(&st);
	free(cert);
	free(key);
	free(other_cert);
	free(other_key);
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
		cmocka_unit_test_setup_teardown(strangers_are_cut_off, setup, teardown),
		cmocka_unit_test_setup_teardown(certificates_must_fit, setup, teardown),
	};

	log_init("test", LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
