/* The way up: ticks and received messages, mended before the core sees them. */
#include "controlplane/consensus/guard.h"
#include "controlplane/consensus/guard_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"

static struct guard *guard_of_below(struct raft_io *below)
{
	return container_of(below, struct guard, below);
}

static bool installing(const struct raft *r)
{
	return r->last_stored == 0 && r->snapshot.put.data != NULL;
}

static bool busy(const struct guard *g)
{
	return g->appends > 0 || g->raft->snapshot.put.data != NULL;
}

static void deliver(struct guard *g, struct raft_message *m)
{
	g->recv(&g->io, m);
	guard_settle(g);
}

/* R5: do not stand for election with entries that are not on our disk yet. */
static void postpone_election(struct guard *g)
{
	struct raft *r = g->raft;
	raft_time now = g->below.time(&g->below);

	if (r->state != RAFT_FOLLOWER || !busy(g))
		return;
	if (now - r->election_timer_start + 1 < r->follower_state.randomized_election_timeout)
		return;
	r->election_timer_start = now;
	g->repairs[GUARD_BUSY]++;
}

static bool election_due(struct guard *g)
{
	const struct raft *r = g->raft;

	return r->state == RAFT_FOLLOWER &&
	       g->below.time(&g->below) - r->election_timer_start >=
		       r->follower_state.randomized_election_timeout;
}

void guard_on_tick(struct raft_io *below)
{
	struct guard *g = guard_of_below(below);

	if (g->dead)
		return;
	if (guard_has(g, GUARD_BUSY))
		postpone_election(g);
	if (election_due(g) && guard_prepare_self_election(g) != 0)
		return;
	g->tick(&g->io);
	guard_settle(g);
}

static void free_entries(struct raft_append_entries *a)
{
	if (a->entries != NULL) {
		raft_free(a->entries[0].batch);
		raft_free(a->entries);
	}
	a->entries = NULL;
	a->n_entries = 0;
}

/* --- votes --------------------------------------------------------------------------- */

static void on_request_vote(struct guard *g, struct raft_message *m)
{
	struct raft *r = g->raft;
	int self = core_position(r, r->id);
	struct raft_server *own = self < 0 ? NULL : &r->configuration.servers[self];

	/* R5: with half a snapshot we do not know how far our log reaches. */
	if (guard_has(g, GUARD_BUSY) && installing(r)) {
		g->repairs[GUARD_BUSY]++;
		return;
	}
	/* R16: the promise to the leader lasts one election timeout, not until our own timer fires. */
	if (guard_has(g, GUARD_LEASE) && r->state == RAFT_FOLLOWER &&
	    !m->request_vote.disrupt_leader && r->follower_state.current_leader.id != 0 &&
	    g->below.time(&g->below) - r->election_timer_start >= r->election_timeout) {
		g->repairs[GUARD_LEASE]++;
		r->follower_state.current_leader.id = 0;
	}
	if (own == NULL || own->role == RAFT_VOTER || !guard_has(g, GUARD_VOTE_ROLE)) {
		deliver(g, m);
		return;
	}
	/* R18: the candidate counts us as a voter; what we think we are may be out of date. */
	int role = own->role;

	g->repairs[GUARD_VOTE_ROLE]++;
	own->role = RAFT_VOTER;
	g->recv(&g->io, m);
	own->role = role;
	guard_settle(g);
}

/* --- entries ------------------------------------------------------------------------- */

/* R12: a late or repeated message may reach below what our snapshot covers. All that is committed, hence
 * equal: skip it. */
static void skip_compacted(struct guard *g, struct raft_append_entries *a)
{
	struct raft *r = g->raft;
	raft_index covered = r->log.snapshot.last_index;

	if (a->n_entries == 0 || a->prev_log_index >= r->log.offset)
		return;

	size_t skip = (size_t)(covered - a->prev_log_index);

	g->repairs[GUARD_STALE]++;
	if (skip >= a->n_entries) {
		free_entries(a);
	} else {
		memmove(a->entries, a->entries + skip,
			(a->n_entries - skip) * sizeof(a->entries[0]));
		a->n_entries -= (unsigned)skip;
	}
	a->prev_log_index = covered;
	a->prev_log_term = r->log.snapshot.last_term;
}

/* The first index at which the message disagrees with our log, or 0. */
static raft_index conflict(const struct raft *r, const struct raft_append_entries *a)
{
	for (unsigned i = 0; i < a->n_entries; i++) {
		raft_index index = a->prev_log_index + 1 + i;
		raft_term term = core_log_term(r, index);

		if (term != 0 && term != a->entries[i].term)
			return index;
	}
	return 0;
}

/* R13: the core would look up the entry of the last committed configuration, which may be compacted. */
static void roll_back_configuration(struct guard *g, const struct raft_append_entries *a,
				    raft_index from)
{
	struct raft *r = g->raft;

	if (from > r->configuration_uncommitted_index || !g->committed_known)
		return;
	if (a->prev_log_index != 0 &&
	    core_log_term(r, a->prev_log_index) != a->prev_log_term)
		return; /* It will be rejected. */
	if (core_log_entry(r, r->configuration_index) != NULL)
		return;
	g->repairs[GUARD_ROLLBACK]++;
	raft_configuration_close(&r->configuration);
	core_configuration_copy(&g->committed, &r->configuration);
	r->configuration_uncommitted_index = 0;
	r->configuration_index = g->committed_index;
}

static void on_append_entries(struct guard *g, struct raft_message *m)
{
	struct raft *r = g->raft;
	struct raft_append_entries *a = &m->append_entries;

	if (guard_has(g, GUARD_STALE))
		skip_compacted(g, a);
	if (g->holds_snapshot && a->n_entries > 0) {
		free_entries(a);
		return; /* They would be discarded by the snapshot; the leader sends them again. */
	}

	raft_index last = a->prev_log_index + a->n_entries;
	raft_index from = a->term >= r->current_term ? conflict(r, a) : 0;

	if (guard_has(g, GUARD_COMMIT_CAP) && a->leader_commit > last) {
		g->repairs[GUARD_COMMIT_CAP]++;
		a->leader_commit = last;
	}
	if (from != 0 && guard_has(g, GUARD_IN_FLIGHT) && g->appends > 0) {
		g->repairs[GUARD_IN_FLIGHT]++;
		free_entries(a);
		return; /* The leader tries again once they are written. */
	}
	if (from != 0 && guard_has(g, GUARD_ROLLBACK) && r->configuration_uncommitted_index != 0)
		roll_back_configuration(g, a, from);

	g->answering = true;
	g->ack_max = last;
	g->recv(&g->io, m);
	g->answering = false;
	guard_settle(g);
}

void guard_forget_snapshot(struct guard *g)
{
	struct raft_install_snapshot *s = &g->held_snapshot.install_snapshot;

	if (!g->holds_snapshot)
		return;
	raft_configuration_close(&s->conf);
	raft_free(s->data.base);
	free((char *)g->held_snapshot.server_address);
	g->holds_snapshot = false;
}

static void on_install_snapshot(struct guard *g, struct raft_message *m)
{
	if (!guard_has(g, GUARD_IN_FLIGHT) || g->appends == 0) {
		deliver(g, m);
		return;
	}
	g->repairs[GUARD_IN_FLIGHT]++;
	guard_forget_snapshot(g);
	g->held_snapshot = *m;
	g->held_snapshot.server_address = strdup(m->server_address);
	if (g->held_snapshot.server_address == NULL)
		abort();
	g->holds_snapshot = true;
}

void guard_release_snapshot(struct guard *g)
{
	struct raft_message m = g->held_snapshot;

	if (!g->holds_snapshot || g->appends > 0 || g->dead)
		return;
	g->holds_snapshot = false;
	deliver(g, &m);
	free((char *)m.server_address);
}

/* --- results ------------------------------------------------------------------------- */

/* R11: what a majority of voters has once m is counted. */
static raft_index quorum_match(const struct raft *r, const struct raft_message *m)
{
	raft_index match[CORE_MEMBERS_MAX];
	unsigned n = 0;

	for (unsigned i = 0; i < r->configuration.n && n < CORE_MEMBERS_MAX; i++) {
		const struct raft_server *s = &r->configuration.servers[i];
		raft_index index = r->leader_state.progress[i].match_index;

		if (s->role != RAFT_VOTER)
			continue;
		if (s->id == m->server_id && m->append_entries_result.last_log_index > index)
			index = m->append_entries_result.last_log_index;

		/* Insertion keeps it sorted, highest first. */
		unsigned at = n++;

		for (; at > 0 && match[at - 1] < index; at--)
			match[at] = match[at - 1];
		match[at] = index;
	}
	return n == 0 ? 0 : match[n / 2];
}

/* R11: the core asks whether a quorum has everything *we* stored; ask for what the quorum has. */
static void deliver_result(struct guard *g, struct raft_message *m)
{
	struct raft *r = g->raft;
	raft_index stored = r->last_stored, quorum;

	if (!guard_has(g, GUARD_QUORUM) || m->append_entries_result.rejected != 0) {
		deliver(g, m);
		return;
	}
	quorum = quorum_match(r, m);
	if (quorum <= r->commit_index || quorum >= stored || quorum < g->term_start) {
		deliver(g, m);
		return;
	}
	g->repairs[GUARD_QUORUM]++;
	r->last_stored = quorum;
	g->recv(&g->io, m);
	if (r->last_stored == quorum)
		r->last_stored = stored;
	guard_settle(g);
}

static void on_append_result(struct guard *g, struct raft_message *m)
{
	struct raft *r = g->raft;
	bool ours = r->state == RAFT_LEADER &&
		    m->append_entries_result.term == r->current_term;

	if (!ours) {
		deliver(g, m);
		return;
	}
	/* R4: counting starts when our own barrier is on our disk; then a commit always covers it. */
	if (guard_has(g, GUARD_OWN_TERM) && guard_has(g, GUARD_TERM_BARRIER) &&
	    r->last_stored < g->term_start) {
		if (g->n_held < GUARD_HELD_MAX)
			g->held[g->n_held++] =
				(struct guard_result){ m->append_entries_result, m->server_id };
		g->repairs[GUARD_OWN_TERM]++;
		return;
	}
	deliver_result(g, m);
}

void guard_release_results(struct guard *g)
{
	struct raft *r = g->raft;
	struct guard_result held[GUARD_HELD_MAX];
	unsigned n = g->n_held;

	if (n == 0 || g->dead || r->state != RAFT_LEADER || r->last_stored < g->term_start)
		return;
	memcpy(held, g->held, n * sizeof(held[0]));
	g->n_held = 0;
	for (unsigned i = 0; i < n && !g->dead; i++) {
		struct raft_message m = {
			.type = RAFT_IO_APPEND_ENTRIES_RESULT,
			.server_id = held[i].id,
			.server_address = "",
			.append_entries_result = held[i].result,
		};

		on_append_result(g, &m);
	}
}

static void discard(struct raft_message *m)
{
	if (m->type == RAFT_IO_APPEND_ENTRIES)
		free_entries(&m->append_entries);
	if (m->type == RAFT_IO_INSTALL_SNAPSHOT) {
		raft_configuration_close(&m->install_snapshot.conf);
		raft_free(m->install_snapshot.data.base);
	}
}

void guard_on_message(struct raft_io *below, struct raft_message *m)
{
	struct guard *g = guard_of_below(below);

	if (g->dead) {
		discard(m);
		return;
	}
	switch (m->type) {
	case RAFT_IO_REQUEST_VOTE:
		on_request_vote(g, m);
		break;
	case RAFT_IO_APPEND_ENTRIES:
		on_append_entries(g, m);
		break;
	case RAFT_IO_APPEND_ENTRIES_RESULT:
		on_append_result(g, m);
		break;
	case RAFT_IO_INSTALL_SNAPSHOT:
		on_install_snapshot(g, m);
		break;
	case RAFT_IO_TIMEOUT_NOW:
		if (guard_has(g, GUARD_BUSY) && busy(g)) {
			g->repairs[GUARD_BUSY]++;
			break;
		}
		deliver(g, m);
		break;
	default:
		deliver(g, m);
		break;
	}
}
