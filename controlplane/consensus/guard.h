/* What makes libraft 0.15 safe: it stands between the core and its raft_io and
 * repairs, rule by rule, what the core does wrong (docs/consensus.md has the table).
 *
 * The core is given guard.io; what it asks is mended and passed to guard.below, and
 * what comes back is mended on the way up. After every call of a raft_ function made
 * from outside, guard_settle() must be called: that is where leadership is noticed.
 * Loop thread only. Rules can be switched off for the simulator, which shows that each
 * is needed. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controlplane/consensus/core.h"

enum guard_rule {
	GUARD_TERM_BARRIER = 1, /* R1: a new leader first commits an entry of its own term. */
	GUARD_HONEST_ACK,       /* R2: a follower acknowledges what the message proved, no more. */
	GUARD_ACK_TERM,         /* R3: no acknowledgement to a leader of another term. */
	GUARD_OWN_TERM,         /* R4: entries of earlier terms are not committed by counting. */
	GUARD_BUSY,             /* R5: no candidacy while entries or a snapshot are being stored. */
	GUARD_STORAGE,          /* R6: a storage error ends the process. */
	GUARD_COMMIT_CAP,       /* R7: commit no further than the message reaches. */
	GUARD_SEND,             /* R8: sending never fails at once. */
	GUARD_PRE_VOTE,         /* R9: a refused pre-vote tells the refuser's term. */
	GUARD_IN_FLIGHT,        /* R10: nothing is truncated under a write. */
	GUARD_QUORUM,           /* R11: commit what a quorum has, though the leader be ahead. */
	GUARD_STALE,            /* R12: entries below the snapshot are skipped. */
	GUARD_ROLLBACK,         /* R13: an uncommitted configuration can be rolled back. */
	GUARD_CUT,              /* R14: messages have a largest size. */
	GUARD_ENTRY_MEMORY,     /* R15: every loaded entry has its own memory (load does it). */
	GUARD_LEASE,            /* R16: a vote is free once the leader was silent for the timeout. */
	GUARD_TICK,             /* R17: time is looked at more often than heartbeats are sent. */
	GUARD_VOTE_ROLE,        /* R18: a vote does not depend on one's own configuration. */
	GUARD_NEW_TERM,         /* R19: an only voter elects itself in a term of its own. */
	GUARD_RULES,
};

struct guard_callbacks {
	/* The process must end with this exit code; if it returns, the guard passes nothing on any more. */
	void (*fatal)(void *ctx, int exit_code, const char *why);
	/* Complete a send later, never inside the call. */
	void (*complete_send)(void *ctx, struct raft_io_send *req, raft_io_send_cb cb, int status);
	/* Role, term or leader may have changed. */
	void (*changed)(void *ctx);
	/* The barrier of this term is committed. */
	void (*leading)(void *ctx, raft_term term);
};

#define GUARD_HELD_MAX 64

struct guard_result {
	struct raft_append_entries_result result;
	raft_id id;
};

struct guard {
	struct raft_io io, below;
	struct raft *raft;
	const struct guard_callbacks *callbacks;
	void *ctx;
	uint32_t off; /* Bit n: rule n is switched off. */
	size_t append_bytes_max;
	unsigned tick_ms;

	raft_io_close_cb closed;
	raft_io_tick_cb tick;
	raft_io_recv_cb recv;
	bool dead;

	int state; /* As of the last settle. */
	raft_term term;
	raft_id leader;
	raft_index term_start; /* The barrier of the term we lead. */
	bool term_ok;          /* It is committed. */
	bool in_barrier;

	unsigned appends; /* In flight. */
	/* While the core handles an AppendEntries, or its write completes: */
	bool answering, suppress;
	raft_index ack_max;

	struct raft_configuration committed; /* The last committed configuration. */
	raft_index committed_index;
	bool committed_known;

	struct raft_message held_snapshot; /* R10 */
	bool holds_snapshot;
	struct guard_result held[GUARD_HELD_MAX]; /* R4 */
	unsigned n_held;
	struct {
		raft_id id;
		raft_index next; /* R14: where the cut message ended. */
	} cuts[CORE_MEMBERS_MAX];
	unsigned n_cuts;

	uint64_t repairs[GUARD_RULES];
};

/* Wrap below, which must be filled; the core is then given &g->io. */
void guard_init(struct guard *g, struct raft *r, const struct raft_io *below,
		const struct guard_callbacks *callbacks, void *ctx);
void guard_fini(struct guard *g);
/* Once, after raft_start() returned 0. */
void guard_started(struct guard *g);
void guard_settle(struct guard *g);
/* Before raft_close(): the end of leadership that follows is meant. */
void guard_closing(struct guard *g);
/* The leader's connection closed: have an election within wait_ms unless it speaks again. */
void guard_leader_gone(struct guard *g, raft_id id, unsigned wait_ms);

static inline bool guard_has(const struct guard *g, enum guard_rule rule)
{
	return (g->off & (1u << rule)) == 0;
}
