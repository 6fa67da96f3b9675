/* What the files of the door share; nothing outside includes it.
 *
 *   client.c   outgoing: requests of this master's clients, until answered
 *   leader.c   incoming: requests to decide, batches in flight
 *   answer.c   from a decided request to its response
 *   writes.c   the rest: life, apply, turn */
#pragma once

#include "common/base/arena.h"
#include "common/base/list.h"
#include "common/base/tree.h"
#include "controlplane/writes/clock.h"
#include "controlplane/writes/decide.h"
#include "controlplane/writes/writes.h"

#define OPEN_MAX 20000
#define BATCHES_MAX 4
#define BATCH_BYTES (1u << 20)
#define BATCH_PLANS_MAX 2048
#define ATTEMPTS_MAX 8
/* What one body may take when it is unpacked. */
#define BODY_BUDGET_BYTES (64u << 20)
#define SESSION_TTL_MS (10u * 60 * 1000)
#define RESEND_NS (1000ull * 1000000)
#define RETRY_NS (20ull * 1000000)

/*   WAITING -> SENT -> (answered)
 *      ^        |
 *      +--------+  the leader changed, refused to be it, or could not be reached */
enum outgoing_state { OUTGOING_WAITING, OUTGOING_SENT };

struct outgoing {
	struct list link;        /* writes.waiting or writes.sent */
	struct list by_sequence; /* writes.outgoing */
	struct tree_node by_wake;
	enum outgoing_state state;
	uint64_t session, sequence;
	uint64_t deadline_ns, wake_ns;
	unsigned transmissions;
	uint64_t call;             /* Of rpc; 0: none. */
	struct incoming *incoming; /* When this master decides it itself. */
	SampanMaster__WriteRequest *request;
	writes_done_cb *done;
	void *ctx;
	struct writes *writes;
	struct arena arena; /* Holds request. */
};

struct incoming {
	struct list link;             /* writes.queue or a batch */
	struct tree_node by_sequence; /* writes.incoming */
	uint64_t session, sequence, lowest_outstanding;
	bool first;
	/* Where the answer goes: to our own client, to another master, or to a controller. */
	struct outgoing *outgoing;
	struct rpc_asked asked;
	writes_intents_cb *intents_done;
	void *intents_ctx;

	struct arena arena, body;
	const SampanMaster__WriteRequest *request;
	unsigned attempts;
	uint64_t failures_seen; /* writes.plan_failures when it was decided. */
	/* Decided: */
	struct decision decision;
	struct write_change change;
	struct plan plan;
	size_t plan_index; /* In the batch; meaningful when change.changed. */
	struct status st;  /* rc < 0: refused. */
	bool known;        /* Done by an earlier leader; revision is known_revision. */
	uint64_t known_revision;
};

struct batch {
	struct list link; /* writes.batches */
	struct list incoming;
	uint64_t number;
	SampanStore__Plan **plans;
	size_t n_plans, cap_plans, bytes;
	struct writes *writes;
	bool settled; /* Only the callback of propose is awaited. */
};

struct writes {
	struct writes_config config;
	struct overlay *overlay;
	struct cluster_clock clock;
	struct change_context context;
	bool leading, storage_low;

	/* client.c */
	uint64_t session, next_sequence;
	bool session_open; /* The state holds it: a leader said so. */
	struct list outgoing, waiting, sent;
	struct tree by_wake;
	size_t n_outgoing;

	/* leader.c */
	uint64_t proposer, next_batch;
	struct list queue;
	size_t n_queued;
	struct tree incoming;
	struct list batches; /* In flight, oldest first. */
	/* Plans that were refused when applied: what was decided on their work has to be decided again. */
	uint64_t plan_failures;
	struct list confirming; /* Without plans: answered once we are known to lead still. */
	size_t n_batches;
	struct batch *open; /* Being filled. */
	uint64_t retry_ns;  /* Do not propose before; 0: now. */
	uint64_t checkpoint_entries;
	struct writes_stats stats;
};

/* writes.c */
SampanMaster__WriteRequest *request_copy(const SampanMaster__WriteRequest *request,
					 struct arena *a);

/* client.c */
void client_init(struct writes *w);
void client_fini(struct writes *w);
void client_turn(struct writes *w);
uint64_t client_deadline_ns(const struct writes *w);
/* The leader changed: what was sent waits again. */
void client_leader_changed(struct writes *w);
/* Answered by this master as the leader: frees o, or sends it again under a new session. */
void outgoing_local(struct outgoing *o, const SampanMaster__WriteResponse *response);
/* Answered; frees o. */
void outgoing_answer(struct outgoing *o, const SampanMaster__WriteResponse *response);
/* To be sent again as soon as somebody leads. */
void outgoing_again(struct outgoing *o, uint64_t delay_ns);

/* leader.c */
void leader_init(struct writes *w);
void leader_fini(struct writes *w);
void leader_turn(struct writes *w);
uint64_t leader_deadline_ns(const struct writes *w);
/* Queue a request: o of this master's client, or asked by another master. */
void leader_take(struct writes *w, const SampanMaster__WriteRequest *request, struct outgoing *o,
		 struct rpc_asked asked);
/* Propose the open batch. */
void leader_propose(struct writes *w);
/* Drop everything; requests go back to where they came from. */
void leader_lost(struct writes *w);
/* An entry that we proposed was applied. */
void leader_applied(struct writes *w, uint64_t number, const struct plan_result *results, size_t n);

/* answer.c: send the response and free i. */
void incoming_answer(struct writes *w, struct incoming *i);
void incoming_free(struct writes *w, struct incoming *i);
/* Fill a failure into a response; the status is packed into the arena. */
void response_fail(SampanMaster__WriteResponse *response, const struct status *st, struct arena *a);
