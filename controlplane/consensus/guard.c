/* The way down: what the core asks of its raft_io, and what becomes of leadership.
 * The way up, received messages, is guard_recv.c. */
#include "controlplane/consensus/guard.h"
#include "controlplane/consensus/guard_internal.h"

#include <assert.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"

static struct guard *guard_of(struct raft_io *io)
{
	return container_of(io, struct guard, io);
}

void guard_fatal(struct guard *g, int exit_code, const char *why)
{
	if (g->dead)
		return;
	g->dead = true;
	g->callbacks->fatal(g->ctx, exit_code, why);
}

/* --- leadership ---------------------------------------------------------------------- */

struct term_barrier {
	struct raft_barrier req;
	struct guard *guard;
	raft_term term;
};

static void on_term_barrier(struct raft_barrier *req, int status)
{
	struct term_barrier *b = container_of(req, struct term_barrier, req);
	struct guard *g = b->guard;

	if (status == 0 && g->raft->state == RAFT_LEADER && g->raft->current_term == b->term) {
		g->term_ok = true;
		g->callbacks->leading(g->ctx, b->term);
	}
	free(b);
}

static void put_barrier(struct guard *g)
{
	struct raft *r = g->raft;
	struct term_barrier *b = xcalloc(1, sizeof(*b));

	b->guard = g;
	b->term = r->current_term;
	/* The first message of the term carries it: none may have gone out before. */
	for (unsigned i = 0; i < r->configuration.n; i++)
		r->leader_state.progress[i].last_send = 0;
	g->in_barrier = true;
	if (raft_barrier(r, &b->req, on_term_barrier) != 0)
		free(b); /* The log refused it, which is fatal already. */
	g->in_barrier = false;
}

static void become_leader(struct guard *g)
{
	struct raft *r = g->raft;

	g->term_ok = false;
	g->n_held = 0;
	g->n_cuts = 0;
	g->term_start = raft_last_index(r) + 1;
	if (guard_has(g, GUARD_TERM_BARRIER)) {
		g->repairs[GUARD_TERM_BARRIER]++;
		put_barrier(g);
		return;
	}
	g->term_ok = true;
	g->callbacks->leading(g->ctx, r->current_term);
}

/* R13: remember the last configuration that nothing can undo. */
static void track_configuration(struct guard *g)
{
	struct raft *r = g->raft;

	if (r->configuration_uncommitted_index != 0)
		return;
	if (g->committed_known && g->committed_index == r->configuration_index)
		return;
	if (g->committed_known)
		raft_configuration_close(&g->committed);
	core_configuration_copy(&r->configuration, &g->committed);
	g->committed_index = r->configuration_index;
	g->committed_known = true;
}

/* R14: the core believes it sent everything; tell it where the message really ended. */
static void apply_cuts(struct guard *g)
{
	struct raft *r = g->raft;

	for (unsigned i = 0; r->state == RAFT_LEADER && i < g->n_cuts; i++) {
		int at = core_position(r, g->cuts[i].id);

		if (at < 0)
			continue;

		struct raft_progress *p = &r->leader_state.progress[at];

		if (p->state == CORE_PIPELINE && p->next_index > g->cuts[i].next)
			p->next_index = g->cuts[i].next;
	}
	g->n_cuts = 0;
}

static raft_id known_leader(const struct raft *r)
{
	if (r->state == RAFT_LEADER)
		return r->id;
	return r->state == RAFT_FOLLOWER ? r->follower_state.current_leader.id : 0;
}

void guard_settle(struct guard *g)
{
	struct raft *r = g->raft;

	if (g->dead)
		return;
	if (guard_has(g, GUARD_ROLLBACK))
		track_configuration(g);
	apply_cuts(g);

	bool same = r->state == g->state && r->current_term == g->term;
	bool became = !same && r->state == RAFT_LEADER;

	if (r->state == RAFT_UNAVAILABLE && g->state != RAFT_UNAVAILABLE &&
	    guard_has(g, GUARD_STORAGE)) {
		guard_fatal(g, 70, raft_errmsg(r));
		return;
	}
	if (same && known_leader(r) == g->leader)
		return;
	g->state = r->state;
	g->term = r->current_term;
	g->leader = known_leader(r);
	if (r->state != RAFT_LEADER) {
		g->term_ok = false;
		g->n_held = 0;
	}
	g->callbacks->changed(g->ctx);
	if (became && !g->dead) {
		become_leader(g);
		guard_settle(g);
	}
}

void guard_closing(struct guard *g)
{
	g->state = RAFT_UNAVAILABLE;
	g->leader = 0;
	g->term_ok = false;
}

void guard_leader_gone(struct guard *g, raft_id id, unsigned wait_ms)
{
	struct raft *r = g->raft;

	if (g->dead || r->state != RAFT_FOLLOWER || r->follower_state.current_leader.id != id)
		return;
	r->follower_state.current_leader.id = 0;
	r->election_timer_start = g->below.time(&g->below);
	r->follower_state.randomized_election_timeout = wait_ms;
	guard_settle(g);
}

/* --- storing ------------------------------------------------------------------------- */

struct guard_append {
	struct raft_io_append req;
	struct raft_io_append *core;
	raft_io_append_cb cb;
	struct guard *guard;
	raft_term term;
	raft_index ack_max;
};

static void on_appended(struct raft_io_append *req, int status)
{
	struct guard_append *a = container_of(req, struct guard_append, req);
	struct guard *g = a->guard;

	g->appends--;
	if (g->dead || (status != 0 && status != RAFT_CANCELED && guard_has(g, GUARD_STORAGE))) {
		guard_fatal(g, 71, "entries could not be stored");
		free(a);
		return;
	}
	/* R3: the write was asked for by the leader of another term. */
	g->suppress = guard_has(g, GUARD_ACK_TERM) && g->raft->current_term != a->term;
	g->answering = true;
	g->ack_max = a->ack_max;
	a->cb(a->core, status);
	g->answering = g->suppress = false;
	free(a);
	guard_settle(g);
	guard_release_results(g);
	guard_release_snapshot(g);
}

static int guard_append(struct raft_io *io, struct raft_io_append *req,
			const struct raft_entry entries[], unsigned n, raft_io_append_cb cb)
{
	struct guard *g = guard_of(io);
	struct guard_append *a = xcalloc(1, sizeof(*a));

	a->core = req;
	a->cb = cb;
	a->guard = g;
	a->term = g->raft->current_term;
	a->ack_max = g->answering ? g->ack_max : UINT64_MAX;
	g->appends++;

	int rv = g->below.append(&g->below, &a->req, entries, n, on_appended);

	if (rv != 0) {
		g->appends--;
		free(a);
		if (guard_has(g, GUARD_STORAGE))
			guard_fatal(g, 71, "entries could not be stored");
	}
	return rv;
}

static int guard_truncate(struct raft_io *io, raft_index index)
{
	struct guard *g = guard_of(io);
	int rv = g->below.truncate(&g->below, index);

	if (rv != 0 && guard_has(g, GUARD_STORAGE))
		guard_fatal(g, 71, "the log could not be truncated");
	return rv;
}

static int guard_set_term(struct raft_io *io, raft_term term)
{
	struct guard *g = guard_of(io);
	int rv = g->below.set_term(&g->below, term);

	if (rv != 0 && guard_has(g, GUARD_STORAGE))
		guard_fatal(g, 71, "the term could not be stored");
	return rv;
}

static int guard_set_vote(struct raft_io *io, raft_id id)
{
	struct guard *g = guard_of(io);
	int rv = g->below.set_vote(&g->below, id);

	if (rv != 0 && guard_has(g, GUARD_STORAGE))
		guard_fatal(g, 71, "the vote could not be stored");
	return rv;
}

struct guard_put {
	struct raft_io_snapshot_put req;
	struct raft_io_snapshot_put *core;
	raft_io_snapshot_put_cb cb;
	struct guard *guard;
	bool install;
};

static void on_snapshot_put(struct raft_io_snapshot_put *req, int status)
{
	struct guard_put *p = container_of(req, struct guard_put, req);
	struct guard *g = p->guard;
	bool failed = status != 0 && status != RAFT_CANCELED && p->install;

	if (g->dead || (failed && guard_has(g, GUARD_STORAGE))) {
		guard_fatal(g, 71, "a snapshot could not be installed");
		free(p);
		return;
	}
	g->answering = false;
	p->cb(p->core, status);
	free(p);
	guard_settle(g);
}

static int guard_snapshot_put(struct raft_io *io, unsigned trailing,
			      struct raft_io_snapshot_put *req,
			      const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb)
{
	struct guard *g = guard_of(io);
	struct guard_put *p = xcalloc(1, sizeof(*p));

	p->core = req;
	p->cb = cb;
	p->guard = g;
	p->install = trailing == 0;

	int rv = g->below.snapshot_put(&g->below, trailing, &p->req, snapshot, on_snapshot_put);

	if (rv != 0)
		free(p);
	return rv;
}

/* --- sending ------------------------------------------------------------------------- */

static int drop(struct guard *g, struct raft_io_send *req, raft_io_send_cb cb)
{
	g->callbacks->complete_send(g->ctx, req, cb, 0);
	return 0;
}

/* R14: no more entries than fit, and no commit index beyond them. */
static void cut(struct guard *g, struct raft_message *m)
{
	struct raft_append_entries *a = &m->append_entries;
	size_t bytes = 0;
	unsigned n = 0;

	while (n < a->n_entries && (n == 0 || bytes + a->entries[n].buf.len <= g->append_bytes_max))
		bytes += a->entries[n++].buf.len;
	if (n == a->n_entries)
		return;
	g->repairs[GUARD_CUT]++;
	a->n_entries = n;
	if (a->leader_commit > a->prev_log_index + n)
		a->leader_commit = a->prev_log_index + n;
	if (g->n_cuts < CORE_MEMBERS_MAX) {
		g->cuts[g->n_cuts].id = m->server_id;
		g->cuts[g->n_cuts++].next = a->prev_log_index + n + 1;
	}
}

static int pass_on(struct guard *g, struct raft_io_send *req, const struct raft_message *m,
		   raft_io_send_cb cb)
{
	int rv = g->below.send(&g->below, req, m, cb);

	if (rv == 0 || !guard_has(g, GUARD_SEND))
		return rv;
	g->repairs[GUARD_SEND]++;
	g->callbacks->complete_send(g->ctx, req, cb, rv);
	return 0;
}

static int send_entries(struct guard *g, struct raft_io_send *req, struct raft_message *m,
			raft_io_send_cb cb)
{
	struct raft *r = g->raft;
	bool settled = g->state == RAFT_LEADER && g->term == r->current_term;

	/* R1: the empty message that the core sends before our barrier exists. */
	if (guard_has(g, GUARD_TERM_BARRIER) && r->state == RAFT_LEADER && !g->in_barrier &&
	    !settled)
		return drop(g, req, cb);
	if (guard_has(g, GUARD_CUT))
		cut(g, m);
	return pass_on(g, req, m, cb);
}

static int send_result(struct guard *g, struct raft_io_send *req, struct raft_message *m,
		       raft_io_send_cb cb)
{
	struct raft_append_entries_result *a = &m->append_entries_result;

	if (g->answering && g->suppress) {
		g->repairs[GUARD_ACK_TERM]++;
		return drop(g, req, cb);
	}
	if (g->answering && guard_has(g, GUARD_HONEST_ACK) && a->rejected == 0 &&
	    a->last_log_index > g->ack_max) {
		g->repairs[GUARD_HONEST_ACK]++;
		a->last_log_index = g->ack_max;
	}
	return pass_on(g, req, m, cb);
}

static int guard_send(struct raft_io *io, struct raft_io_send *req, const struct raft_message *m,
		      raft_io_send_cb cb)
{
	struct guard *g = guard_of(io);
	struct raft_message copy = *m;

	if (g->dead)
		return drop(g, req, cb);
	switch (m->type) {
	case RAFT_IO_APPEND_ENTRIES:
		return send_entries(g, req, &copy, cb);
	case RAFT_IO_APPEND_ENTRIES_RESULT:
		return send_result(g, req, &copy, cb);
	case RAFT_IO_REQUEST_VOTE_RESULT:
		if (guard_has(g, GUARD_PRE_VOTE) &&
		    copy.request_vote_result.pre_vote == raft_tribool_true &&
		    !copy.request_vote_result.vote_granted &&
		    copy.request_vote_result.term < g->raft->current_term) {
			g->repairs[GUARD_PRE_VOTE]++;
			copy.request_vote_result.term = g->raft->current_term;
		}
		break;
	default:
		break;
	}
	return pass_on(g, req, &copy, cb);
}

/* --- starting ------------------------------------------------------------------------ */

static bool only_voter(const struct raft_configuration *c, raft_id id)
{
	unsigned voters = 0, own = 0;

	for (unsigned i = 0; i < c->n; i++) {
		voters += c->servers[i].role == RAFT_VOTER;
		own += c->servers[i].role == RAFT_VOTER && c->servers[i].id == id;
	}
	return voters == 1 && own == 1;
}

/* R19: an only voter makes itself leader without a new term. Entries of this term that it lost in a crash
 * may have reached a standby, and others would take their place under the same index and term. */
static int take_new_term(struct guard *g, raft_term *term, raft_id *vote)
{
	int rv = g->below.set_term(&g->below, *term + 1);

	if (rv == 0)
		rv = g->below.set_vote(&g->below, g->raft->id);
	if (rv != 0)
		return rv;
	g->repairs[GUARD_NEW_TERM]++;
	*term += 1;
	*vote = g->raft->id;
	return 0;
}

int guard_prepare_self_election(struct guard *g)
{
	struct raft *r = g->raft;
	raft_term term = r->current_term;
	raft_id vote = 0;

	if (!guard_has(g, GUARD_NEW_TERM) || r->state != RAFT_FOLLOWER ||
	    !only_voter(&r->configuration, r->id))
		return 0;

	int rv = take_new_term(g, &term, &vote);

	if (rv != 0) {
		guard_fatal(g, 71, "the term could not be stored");
		return rv;
	}
	r->current_term = term;
	r->voted_for = vote;
	return 0;
}

/* Whether raft_start() will make us leader at once. */
static bool elects_itself(const struct guard *g, const struct raft_snapshot *snapshot,
			  const struct raft_entry *entries, size_t n)
{
	struct raft_configuration c;
	bool only;

	for (; n > 0; n--) {
		const struct raft_entry *e = &entries[n - 1];

		if (e->type != RAFT_CHANGE)
			continue;
		if (core_configuration_decode(bytes_of(e->buf.base, e->buf.len), &c) < 0)
			return false;
		only = only_voter(&c, g->raft->id);
		raft_configuration_close(&c);
		return only;
	}
	return snapshot != NULL && only_voter(&snapshot->configuration, g->raft->id);
}

static int guard_load(struct raft_io *io, raft_term *term, raft_id *vote,
		      struct raft_snapshot **snapshot, raft_index *start,
		      struct raft_entry *entries[], size_t *n)
{
	struct guard *g = guard_of(io);
	int rv = g->below.load(&g->below, term, vote, snapshot, start, entries, n);

	if (rv == 0 && guard_has(g, GUARD_NEW_TERM) && elects_itself(g, *snapshot, *entries, *n))
		rv = take_new_term(g, term, vote);
	if (rv != 0 || *snapshot == NULL)
		return rv;
	core_configuration_copy(&(*snapshot)->configuration, &g->committed);
	g->committed_index = (*snapshot)->configuration_index;
	g->committed_known = true;
	return 0;
}

/* R13: what raft_start() took for the configuration may be one that was never committed. */
static void find_uncommitted_configuration(struct guard *g)
{
	struct raft *r = g->raft;
	raft_index newest = 0, before = 0;

	for (raft_index i = r->log.offset + 1; i <= raft_last_index(r); i++) {
		const struct raft_entry *e = core_log_entry(r, i);

		if (e != NULL && e->type == RAFT_CHANGE) {
			before = newest;
			newest = i;
		}
	}
	if (newest <= r->commit_index) {
		track_configuration(g);
		return;
	}
	g->repairs[GUARD_ROLLBACK]++;
	r->configuration_uncommitted_index = newest;
	if (before != 0) {
		const struct raft_entry *e = core_log_entry(r, before);

		if (g->committed_known)
			raft_configuration_close(&g->committed);
		g->committed_known = core_configuration_decode(bytes_of(e->buf.base, e->buf.len),
							       &g->committed) == 0;
		g->committed_index = before;
	}
	if (g->committed_known)
		r->configuration_index = g->committed_index;
}

void guard_started(struct guard *g)
{
	if (guard_has(g, GUARD_ROLLBACK))
		find_uncommitted_configuration(g);
	guard_settle(g);
}

static int guard_start(struct raft_io *io, unsigned ms, raft_io_tick_cb tick, raft_io_recv_cb recv)
{
	struct guard *g = guard_of(io);

	g->tick = tick;
	g->recv = recv;
	return g->below.start(&g->below, guard_has(g, GUARD_TICK) ? g->tick_ms : ms, guard_on_tick,
			      guard_on_message);
}

/* --- what passes unchanged ----------------------------------------------------------- */

static int guard_init_io(struct raft_io *io, raft_id id, const char *address)
{
	struct guard *g = guard_of(io);

	return g->below.init(&g->below, id, address);
}

static void on_closed(struct raft_io *below)
{
	struct guard *g = container_of(below, struct guard, below);

	g->closed(&g->io);
}

static void guard_close(struct raft_io *io, raft_io_close_cb cb)
{
	struct guard *g = guard_of(io);

	g->closed = cb;
	g->below.close(&g->below, on_closed);
}

static int guard_bootstrap(struct raft_io *io, const struct raft_configuration *c)
{
	struct guard *g = guard_of(io);

	return g->below.bootstrap(&g->below, c);
}

static int guard_recover(struct raft_io *io, const struct raft_configuration *c)
{
	struct guard *g = guard_of(io);

	return g->below.recover(&g->below, c);
}

static int guard_snapshot_get(struct raft_io *io, struct raft_io_snapshot_get *req,
			      raft_io_snapshot_get_cb cb)
{
	struct guard *g = guard_of(io);

	return g->below.snapshot_get(&g->below, req, cb);
}

static raft_time guard_time(struct raft_io *io)
{
	struct guard *g = guard_of(io);

	return g->below.time(&g->below);
}

static int guard_random(struct raft_io *io, int min, int max)
{
	struct guard *g = guard_of(io);

	return g->below.random(&g->below, min, max);
}

static int guard_async_work(struct raft_io *io, struct raft_io_async_work *req,
			    raft_io_async_work_cb cb)
{
	struct guard *g = guard_of(io);

	return g->below.async_work(&g->below, req, cb);
}

void guard_init(struct guard *g, struct raft *r, const struct raft_io *below,
		const struct guard_callbacks *callbacks, void *ctx)
{
	*g = (struct guard){
		.io = {
			.version = 2,
			.init = guard_init_io,
			.close = guard_close,
			.load = guard_load,
			.start = guard_start,
			.bootstrap = guard_bootstrap,
			.recover = guard_recover,
			.set_term = guard_set_term,
			.set_vote = guard_set_vote,
			.send = guard_send,
			.append = guard_append,
			.truncate = guard_truncate,
			.snapshot_put = guard_snapshot_put,
			.snapshot_get = guard_snapshot_get,
			.time = guard_time,
			.random = guard_random,
			.async_work = guard_async_work,
		},
		.below = *below,
		.raft = r,
		.callbacks = callbacks,
		.ctx = ctx,
		.append_bytes_max = (size_t)4 << 20,
		.tick_ms = 10,
		.state = RAFT_UNAVAILABLE,
	};
}

void guard_fini(struct guard *g)
{
	if (g->committed_known)
		raft_configuration_close(&g->committed);
	guard_forget_snapshot(g);
	g->committed_known = false;
}
