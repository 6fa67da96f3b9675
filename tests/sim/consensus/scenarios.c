#include "tests/sim/consensus/scenarios.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "controlplane/consensus/term_file.h"

/* --- words the scripts are made of ----------------------------------------------------- */

static struct raft *core(struct world *w, unsigned i)
{
	return replica_core(w->nodes[i].replica);
}

static void start_all(struct world *w)
{
	world_bootstrap(w);
	for (unsigned i = 0; i < w->options.nodes; i++)
		node_start(&w->nodes[i]);
}

static void pass(struct world *w, uint64_t ms)
{
	world_run(w, world_ms(w) + ms);
}

/* The follower's election timer fires after ms from now. */
static void set_timer(struct world *w, unsigned i, unsigned ms)
{
	struct raft *r = core(w, i);

	if (r->state != RAFT_FOLLOWER && r->state != RAFT_CANDIDATE)
		return;
	r->election_timer_start = world_ms(w);
	/* In the same place in both states. */
	r->follower_state.randomized_election_timeout = ms;
}

static bool is_leader(struct world *w, void *ctx)
{
	struct node *n = &w->nodes[*(unsigned *)ctx];

	return node_runs(n) && replica_core(n->replica)->state == RAFT_LEADER;
}

static bool leads(struct world *w, void *ctx)
{
	struct node *n = &w->nodes[*(unsigned *)ctx];

	return node_runs(n) && replica_leading(n->replica);
}

static void must(struct world *w, uint64_t limit_ms, bool (*check)(struct world *w, void *ctx),
		 void *ctx, const char *what)
{
	if (!world_until(w, limit_ms, check, ctx))
		world_violate(w, "%s did not happen", what);
}

/* Make i the leader; the others' timers are put off until it is. */
static void elect(struct world *w, unsigned i)
{
	for (unsigned k = 0; k < w->options.nodes; k++)
		if (node_runs(&w->nodes[k])) {
			if (core(w, k)->state == RAFT_FOLLOWER)
				core(w, k)->follower_state.current_leader.id = 0;
			set_timer(w, k, k == i ? 1 : 5000);
		}
	must(w, 4000, is_leader, &i, "script: election");
}

static bool all_have(struct world *w, void *ctx)
{
	size_t n = *(size_t *)ctx;

	for (unsigned i = 0; i < w->options.nodes; i++)
		if (node_runs(&w->nodes[i]) && w->nodes[i].n_applied < n)
			return false;
	return true;
}

static bool acked(struct world *w, void *ctx)
{
	return world_is_acked(w, *(uint64_t *)ctx);
}

static void commit(struct world *w, unsigned leader, size_t bytes)
{
	uint64_t c;

	must(w, 2000, leads, &leader, "script: leadership");
	if (w->violation[0] != '\0')
		return;
	c = node_propose(&w->nodes[leader], bytes);
	must(w, 2000, acked, &c, "script: commit");
}

static bool any_leader(struct world *w, void *ctx)
{
	(void)ctx;
	return world_leader(w) != NULL;
}

static void isolate(struct world *w, unsigned i)
{
	for (unsigned k = 0; k < NODES_MAX; k++)
		world_cut(w, i, k);
}

/* --- R1: a new leader knows what was committed before it ----------------------------------- */

static bool drop_all_appends(struct world *w, unsigned from, unsigned to, const struct frame *f)
{
	(void)w;
	(void)from;
	(void)to;
	return f->type == FRAME_APPEND && f->append.n == 0;
}

static void on_stale_read(void *ctx, int rc, uint64_t term)
{
	struct read_probe *p = ctx;

	(void)term;
	if (rc == 0 && p->node->n_applied < p->must_have)
		world_violate(p->world, "safety: a read at the new leader misses an acknowledged write");
	p->must_have = SIZE_MAX; /* Done. */
}

static bool read_done(struct world *w, void *ctx)
{
	(void)w;
	return ((struct read_probe *)ctx)->must_have == SIZE_MAX;
}

static void read_after_failover(struct world *w)
{
	unsigned one = 1;
	struct read_probe p = { w, &w->nodes[1], 1 };
	uint64_t c;

	start_all(w);
	elect(w, 0);
	must(w, 2000, leads, &(unsigned){ 0 }, "script: leadership");
	pass(w, 100);
	w->filter = drop_all_appends; /* Nobody hears of the commit. */
	c = node_propose(&w->nodes[0], 8);
	must(w, 2000, acked, &c, "script: commit");
	node_crash(&w->nodes[0], true);
	elect(w, 1);
	must(w, 2000, leads, &one, "script: leadership");
	if (w->violation[0] != '\0')
		return;
	replica_read_index(w->nodes[1].replica, on_stale_read, &p);
	must(w, 2000, read_done, &p, "script: read");
}

/* --- R2: the acknowledged write that the bare core loses ------------------------------------ */

static bool drop_entries_1_to_0(struct world *w, unsigned from, unsigned to, const struct frame *f)
{
	(void)w;
	return from == 1 && to == 0 && f->type == FRAME_APPEND && f->append.n > 0;
}

static bool heard_of_term(struct world *w, void *ctx)
{
	return core(w, 0)->current_term == *(raft_term *)ctx &&
	       core(w, 0)->follower_state.current_leader.id == 2;
}

static void dishonest_acknowledgement(struct world *w)
{
	raft_term term;

	start_all(w);
	elect(w, 0);
	commit(w, 0, 8);
	pass(w, 200);
	isolate(w, 0);
	node_propose(&w->nodes[0], 8);
	node_propose(&w->nodes[0], 8);
	pass(w, 700); /* It steps down. */
	elect(w, 1);
	term = core(w, 1)->current_term;
	isolate(w, 1);
	world_join(w, 0, 1);
	set_timer(w, 0, 9000);
	set_timer(w, 2, 9000);
	w->filter = drop_entries_1_to_0;
	world_until(w, 500, heard_of_term, &term); /* Never, if messages are never empty. */
	/* The answer, which claims too much, is on its way. */
	if (w->violation[0] == '\0' && replica_leading(w->nodes[1].replica))
		node_propose(&w->nodes[1], 8);
	pass(w, 250);
	node_crash(&w->nodes[1], true);
	w->filter = NULL;
	world_join(w, 0, 2);
	elect(w, 0);
	commit(w, 0, 8);
	pass(w, 500);
	node_start(&w->nodes[1]);
	world_connect_all(w);
	pass(w, 2000);
	oracle_end(w);
}

/* --- R3: a write that ends in a later term ---------------------------------------------------- */

static bool drop_entries_1_to_2(struct world *w, unsigned from, unsigned to, const struct frame *f)
{
	(void)w;
	return from == 1 && to == 2 && f->type == FRAME_APPEND && f->append.n > 0;
}

static void acknowledgement_across_terms(struct world *w)
{
	uint64_t slow_until_ms;

	start_all(w);
	elect(w, 0);
	commit(w, 0, 8);
	pass(w, 200);
	/* An entry on 0, and on its way to the slow disk of 2. */
	isolate(w, 0);
	world_join(w, 0, 2);
	w->disk_ns_of[2] = 3000000000ull;
	node_propose(&w->nodes[0], 8);
	slow_until_ms = world_ms(w) + 3000;
	pass(w, 20);
	isolate(w, 0);
	pass(w, 700);
	elect(w, 1);
	w->filter = drop_entries_1_to_2;
	world_run(w, slow_until_ms - 40);
	isolate(w, 4);
	if (w->violation[0] == '\0' && replica_leading(w->nodes[1].replica))
		node_propose(&w->nodes[1], 8);
	pass(w, 100);
	/* 1 and 3, which have the write, fail; the rest goes on with what 0 had. */
	node_crash(&w->nodes[1], true);
	node_crash(&w->nodes[3], true);
	w->filter = NULL;
	w->disk_ns_of[2] = 0;
	world_connect_all(w);
	pass(w, 800);
	set_timer(w, 0, 1);
	set_timer(w, 2, 300);
	set_timer(w, 4, 600);
	must(w, 4000, any_leader, NULL, "script: election");
	if (world_leader(w) != NULL)
		commit(w, world_leader(w)->number, 8);
	pass(w, 500);
	node_start(&w->nodes[1]);
	node_start(&w->nodes[3]);
	pass(w, 3000);
	oracle_end(w);
}

/* --- R4: figure 8 ------------------------------------------------------------------------------- */

static raft_index figure8_index;
static raft_term figure8_term;

/* The barrier of the new term reaches nobody who could store it. */
static bool figure8_filter(struct world *w, unsigned from, unsigned to, const struct frame *f)
{
	struct bytes left = f->append.entries;

	if (f->type != FRAME_APPEND || from != 0 || !node_runs(&w->nodes[to]))
		return false;
	if (to == 1)
		return true;
	for (uint32_t i = 0; i < f->append.n; i++)
		if (frame_next_entry(&left).term == figure8_term &&
		    core_log_term(core(w, to), figure8_index) != 0)
			return true;
	return false;
}

static bool drop_entries_from_4(struct world *w, unsigned from, unsigned to, const struct frame *f)
{
	(void)w;
	(void)to;
	return from == 4 && f->type == FRAME_APPEND && f->append.n > 0;
}

static void commit_by_counting(struct world *w)
{
	start_all(w);
	elect(w, 0);
	commit(w, 0, 8);
	pass(w, 200);
	isolate(w, 0);
	world_join(w, 0, 1);
	figure8_index = raft_last_index(core(w, 0)) + 1;
	node_propose(&w->nodes[0], 8000); /* More than a message holds: it travels alone. */
	pass(w, 50);
	node_crash(&w->nodes[0], true);
	isolate(w, 1);
	w->filter = drop_entries_from_4;
	elect(w, 4);
	pass(w, 20); /* Its barrier is on its own disk only. */
	for (unsigned i = 0; i < 4; i++)
		world_cut(w, 4, i);
	pass(w, 50);
	node_crash(&w->nodes[4], true);

	node_start(&w->nodes[0]);
	world_connect_all(w);
	w->disk_ns_of[0] = 2000000000ull; /* Its barrier takes long. */
	figure8_term = UINT64_MAX;
	w->filter = figure8_filter;
	figure8_term = core(w, 2)->current_term + 1;
	if (core(w, 0)->current_term >= figure8_term)
		figure8_term = core(w, 0)->current_term + 1;
	elect(w, 0);
	figure8_term = core(w, 0)->current_term;
	for (unsigned i = 1; i < 4; i++)
		set_timer(w, i, 9000);
	pass(w, 700);
	isolate(w, 0); /* Quietly. */
	node_crash(&w->nodes[0], true);
	w->filter = NULL;
	node_start(&w->nodes[4]);
	elect(w, 4);
	commit(w, 4, 8);
	w->disk_ns_of[0] = 0;
	world_connect_all(w);
	node_start(&w->nodes[0]);
	pass(w, 3000);
	oracle_end(w);
}

/* --- R7: a commit index beyond what the message proves -------------------------------------------- */

static void commit_beyond_the_message(struct world *w)
{
	struct buf out = { 0 };
	struct frame f = { .type = FRAME_APPEND };
	raft_index common;

	start_all(w);
	elect(w, 0);
	commit(w, 0, 8);
	pass(w, 200);
	common = raft_last_index(core(w, 0));
	/* 2 stores an entry that will never be committed. */
	isolate(w, 0);
	isolate(w, 1);
	w->up[0][2] = true; /* And never hears of it. */
	node_propose(&w->nodes[0], 8);
	pass(w, 50);
	node_crash(&w->nodes[0], true);
	isolate(w, 2);
	/* The leader of a later term tells it how far the others are, in a message that ends before. */
	f.append.term = core(w, 2)->current_term + 1;
	f.append.prev_index = common;
	f.append.prev_term = core_log_term(core(w, 2), common);
	f.append.commit = common + 1;
	frame_put(&out, &f);
	replica_receive(w->nodes[2].replica, 2, "node:2", buf_bytes(&out));
	buf_fini(&out);
	if (core(w, 2)->commit_index > common)
		world_violate(w, "safety: an entry of an old term was committed by hearsay");
}

/* --- R9: terms that never meet ------------------------------------------------------------------------ */

static void pre_votes_of_different_terms(struct world *w)
{
	struct term_file t;

	start_all(w);
	elect(w, 1);
	commit(w, 1, 8);
	pass(w, 200);
	node_crash(&w->nodes[0], false);
	/* It has seen a higher term, but has the shorter log. */
	if (term_file_open(&t, sim_fs_table(w->nodes[0].fs), NULL) < 0 ||
	    term_file_store(&t, 50, 0) < 0)
		abort();
	term_file_close(&t);
	commit(w, 1, 8);
	pass(w, 200);
	node_crash(&w->nodes[1], false);
	node_crash(&w->nodes[2], false);
	w->nodes[0].promised_term = 50;
	w->nodes[0].promised_vote = 0;
	node_start(&w->nodes[0]);
	node_start(&w->nodes[1]);
	must(w, 10000, any_leader, NULL, "progress: an election");
}

/* --- R10: the same entry again, while its first write is under way ------------------------- */

static bool drop_entries_from_1_but_to_2(struct world *w, unsigned from, unsigned to,
					 const struct frame *f)
{
	(void)w;
	return from == 1 && to != 2 && f->type == FRAME_APPEND && f->append.n > 0;
}

static void truncation_under_a_write(struct world *w)
{
	w->options.snapshots = true;
	start_all(w);
	elect(w, 0);
	commit(w, 0, 8);
	pass(w, 200);
	isolate(w, 0);
	world_join(w, 0, 2);
	w->disk_ns_of[2] = 4000000000ull;
	node_propose(&w->nodes[0], 600); /* On its way to the slow disk of 2; nothing else has this size. */
	pass(w, 20);
	isolate(w, 0);
	pass(w, 700);
	w->filter = drop_entries_from_1_but_to_2;
	elect(w, 1);
	pass(w, 200); /* 2 is told to forget it. */
	isolate(w, 1);
	w->filter = NULL;
	pass(w, 400);
	for (unsigned i = 2; i < 5; i++)
		world_join(w, 0, i);
	elect(w, 0);
	pass(w, 13000); /* 2 is given it again; then the first write ends. */
	w->disk_ns_of[2] = 0;
	for (int i = 0; i < 100; i++)
		commit(w, 0, 800);
	world_connect_all(w);
	pass(w, 3000);
	oracle_end(w);
}

/* --- R11: a leader that is ahead of everybody ------------------------------------------------------------ */

static void commits_under_steady_load(struct world *w)
{
	size_t before;

	start_all(w);
	elect(w, 0);
	commit(w, 0, 8);
	pass(w, 200);
	w->disk_ns_of[0] = 200000;
	w->disk_ns_of[1] = w->disk_ns_of[2] = 40000000ull;
	before = w->n_acked;
	for (int i = 0; i < 200 && w->violation[0] == '\0'; i++) {
		node_propose(&w->nodes[0], 8);
		pass(w, 2);
	}
	if (w->n_acked < before + 100)
		world_violate(w, "latency: %zu of 200 writes were acknowledged while more came",
			      w->n_acked - before);
}

/* --- R12: an old message comes again ------------------------------------------------------------------------ */

static void an_old_message_comes_again(struct world *w)
{
	struct buf out = { 0 };
	struct frame f = { .type = FRAME_APPEND };
	raft_index last;
	size_t at;

	w->options.snapshots = true;
	start_all(w);
	elect(w, 0);
	for (int i = 0; i < 150; i++)
		commit(w, 0, 500);
	pass(w, 500);
	last = raft_last_index(core(w, 2));
	if (core(w, 2)->log.offset < 20)
		world_violate(w, "script: nothing was compacted");
	/* The log from its very beginning, as it was once sent to an empty member. */
	f.append.term = core(w, 2)->current_term;
	f.append.n = 2;
	at = frame_begin_append(&out, &f);
	for (int i = 0; i < 2; i++)
		frame_put_entry(&out, &(struct frame_entry){ 1, RAFT_BARRIER, bytes_str("12345678") });
	frame_end_append(&out, at);
	replica_receive(w->nodes[2].replica, 1, "node:1", buf_bytes(&out));
	buf_fini(&out);
	if (raft_last_index(core(w, 2)) != last)
		world_violate(w, "safety: entries 1 and 2 were appended as %llu and %llu", last + 1,
			      last + 2);
	pass(w, 100);
	commit(w, 0, 8);
	pass(w, 500);
	oracle_end(w);
}

/* --- R14: everything in one message -------------------------------------------------------------------------- */

static void a_follower_far_behind(struct world *w)
{
	size_t n = 102;

	start_all(w);
	elect(w, 0);
	commit(w, 0, 8);
	pass(w, 200);
	node_crash(&w->nodes[2], false);
	for (int i = 0; i < 100; i++)
		commit(w, 0, 400);
	node_start(&w->nodes[2]);
	commit(w, 0, 8);
	must(w, 3000, all_have, &n, "progress: catching up");
}

/* --- R15: what was loaded is freed as it is compacted -------------------------------------------- */

static bool zero_is_compacted(struct world *w, void *ctx)
{
	(void)ctx;
	return core(w, 0)->log.offset > 350;
}

static void a_long_log_is_loaded(struct world *w)
{
	size_t before, after;

	start_all(w);
	elect(w, 0);
	for (int i = 0; i < 400; i++)
		commit(w, 0, 2000); /* Half of that in the log. */
	pass(w, 200);
	node_crash(&w->nodes[0], false);
	pass(w, 1000);
	w->options.snapshots = true;
	before = mallinfo2().uordblks;
	node_start(&w->nodes[0]);
	must(w, 3000, any_leader, NULL, "script: election");
	for (int i = 0; i < 3 && world_leader(w) != NULL; i++) {
		commit(w, world_leader(w)->number, 8);
		pass(w, 200);
	}
	must(w, 3000, zero_is_compacted, NULL, "script: compaction");
	pass(w, 200);
	after = mallinfo2().uordblks;
	if (after > before + 200000)
		world_violate(w, "memory: %zu bytes more for a log of 6 KiB", after - before);
}

/* --- R16: who may vote when -------------------------------------------------------------------------------------- */

static void failover_waits_for_one_timer(struct world *w)
{
	unsigned one = 1;

	start_all(w);
	elect(w, 0);
	commit(w, 0, 8);
	pass(w, 200);
	isolate(w, 0);
	set_timer(w, 1, 310);
	set_timer(w, 2, 599);
	must(w, 400, is_leader, &one, "latency: a leader after the shorter timer");
}

/* --- R17: how late a heartbeat may be ------------------------------------------------------------------------------- */

static uint64_t last_append_ms, longest_gap_ms;

static bool measure_gap(struct world *w, unsigned from, unsigned to, const struct frame *f)
{
	if (from != 0 || to != 1 || f->type != FRAME_APPEND)
		return false;
	if (last_append_ms != 0 && world_ms(w) - last_append_ms > longest_gap_ms)
		longest_gap_ms = world_ms(w) - last_append_ms;
	last_append_ms = world_ms(w);
	return false;
}

static void heartbeats_come_in_time(struct world *w)
{
	start_all(w);
	elect(w, 0);
	commit(w, 0, 8);
	pass(w, 200);
	last_append_ms = longest_gap_ms = 0;
	w->filter = measure_gap;
	for (int i = 0; i < 20; i++) {
		commit(w, 0, 8);
		pass(w, 130 + (unsigned)i);
	}
	if (longest_gap_ms > 55)
		world_violate(w, "latency: %" PRIu64 " ms between messages, heartbeat 40", longest_gap_ms);
}

/* --- R18: a voter that does not know it is one ------------------------------------------------------------------------ */

static void ignore_change(void *ctx, int rc)
{
	*(int *)ctx = rc;
}

static bool change_done(struct world *w, void *ctx)
{
	(void)w;
	return *(int *)ctx == 0;
}

static bool drop_entries_to_2(struct world *w, unsigned from, unsigned to, const struct frame *f)
{
	struct bytes left = f->append.entries;

	(void)w;
	(void)from;
	if (to != 2 || f->type != FRAME_APPEND)
		return false;
	for (uint32_t i = 0; i < f->append.n; i++)
		if (frame_next_entry(&left).type == RAFT_CHANGE)
			return true;
	return false;
}

static bool one_knows(struct world *w, void *ctx)
{
	const struct raft_server *s = core_server(core(w, 1), 3);

	(void)ctx;
	return s != NULL && s->role == RAFT_VOTER;
}

static void a_voter_that_does_not_know(struct world *w)
{
	unsigned one = 1;
	int rc = 1;

	start_all(w);
	elect(w, 0);
	commit(w, 0, 8);
	pass(w, 200);
	replica_member_assign(w->nodes[0].replica, 3, CONSENSUS_STANDBY, ignore_change, &rc);
	must(w, 2000, change_done, &rc, "script: change");
	pass(w, 200);
	w->filter = drop_entries_to_2;
	rc = 1;
	replica_member_assign(w->nodes[0].replica, 3, CONSENSUS_VOTER, ignore_change, &rc);
	must(w, 2000, one_knows, NULL, "script: change at 1");
	node_crash(&w->nodes[0], true);
	must(w, 5000, is_leader, &one, "progress: an election");
}

/* --- R19: an only voter and the term it was in ---------------------------------------------------------------------------- */

static void an_only_voter_restarts(struct world *w)
{
	int rc = 1;

	start_all(w);
	elect(w, 0);
	commit(w, 0, 8);
	pass(w, 100);
	for (unsigned id = 2; id <= 3; id++) {
		rc = 1;
		replica_member_assign(w->nodes[0].replica, id, CONSENSUS_STANDBY, ignore_change, &rc);
		must(w, 2000, change_done, &rc, "script: change");
	}
	pass(w, 200);
	/* The others store it before the only voter does, which loses it. */
	node_propose(&w->nodes[0], 8);
	node_crash(&w->nodes[0], true);
	pass(w, 200);
	node_start(&w->nodes[0]);
	pass(w, 200);
	commit(w, 0, 8);
	commit(w, 0, 8);
	pass(w, 1000);
	oracle_end(w);
}

const struct scenario scenarios[] = {
	{ "read_after_failover", 3, "R1", read_after_failover },
	{ "dishonest_acknowledgement", 3, "R1,R2", dishonest_acknowledgement },
	{ "acknowledgement_across_terms", 5, "R1,R3", acknowledgement_across_terms },
	{ "commit_by_counting", 5, "R4", commit_by_counting },
	{ "commit_beyond_the_message", 3, "R7", commit_beyond_the_message },
	{ "pre_votes_of_different_terms", 3, "R9", pre_votes_of_different_terms },
	{ "truncation_under_a_write", 5, "R10", truncation_under_a_write },
	{ "commits_under_steady_load", 3, "R11", commits_under_steady_load },
	{ "an_old_message_comes_again", 3, "R12", an_old_message_comes_again },
	{ "a_follower_far_behind", 3, "R14", a_follower_far_behind },
	{ "a_long_log_is_loaded", 3, "R15", a_long_log_is_loaded },
	{ "failover_waits_for_one_timer", 3, "R16", failover_waits_for_one_timer },
	{ "heartbeats_come_in_time", 3, "R17", heartbeats_come_in_time },
	{ "a_voter_that_does_not_know", 3, "R18", a_voter_that_does_not_know },
	{ "an_only_voter_restarts", 3, "R19", an_only_voter_restarts },
};

const unsigned n_scenarios = array_size(scenarios);
