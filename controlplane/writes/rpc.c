#include "controlplane/writes/rpc.h"

#include <errno.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/arena.h"
#include "common/base/list.h"
#include "common/base/log.h"
#include "controlplane/consensus/consensus.h"
#include "controlplane/store/arena_unpack.h"

#define CALLS_MAX 4096
#define MESSAGE_BUDGET_BYTES (64u << 20)
/* How late a call may notice that its time ran out. */
#define TICK_MS 50

struct rpc_call {
	struct list link;
	uint64_t id, to;
	bool to_leader; /* It asked for the leader, whoever that is. */
	uint64_t deadline_ms;
	int rc; /* Set when the call failed already and only waits to say so. */
	rpc_reply_cb *cb;
	void *ctx;
};

struct rpc {
	uv_loop_t *loop;
	uv_timer_t timer; /* Runs while calls are open. */
	struct consensus *consensus;
	struct list calls;
	size_t n_calls;
	uint64_t next_id;
	struct {
		rpc_handler *fn;
		void *ctx;
	} handlers[RPC_QUESTIONS];
	void (*closed_cb)(void *ctx);
	void *closed_ctx;
};

struct rpc *rpc_create(uv_loop_t *loop)
{
	struct rpc *rpc = xcalloc(1, sizeof(*rpc));

	rpc->loop = loop;
	list_init(&rpc->calls);
	uv_timer_init(loop, &rpc->timer);
	rpc->timer.data = rpc;
	return rpc;
}

void rpc_attach(struct rpc *rpc, struct consensus *consensus)
{
	rpc->consensus = consensus;
}

static void call_end(struct rpc *rpc, struct rpc_call *call, int rc,
		     const SampanMaster__Message *reply)
{
	rpc_reply_cb *cb = call->cb;
	void *ctx = call->ctx;

	list_remove(&call->link);
	rpc->n_calls--;
	free(call);
	cb(ctx, rc, reply);
}

static void on_tick(uv_timer_t *timer)
{
	struct rpc *rpc = timer->data;
	uint64_t now_ms = uv_now(rpc->loop);
	struct list due;

	/* A callback may start calls or end others: first set apart what is due. */
	list_init(&due);
	list_for_each (call, &rpc->calls, struct rpc_call, link) {
		if (call->rc == 0 && call->deadline_ms <= now_ms)
			call->rc = -ETIMEDOUT;
		if (call->rc != 0) {
			list_remove(&call->link);
			list_push_back(&due, &call->link);
		}
	}
	while (!list_empty(&due)) {
		struct rpc_call *call = list_first(&due, struct rpc_call, link);

		call_end(rpc, call, call->rc, NULL);
	}
	if (list_empty(&rpc->calls))
		uv_timer_stop(timer);
}

static void wake_at(struct rpc *rpc, uint64_t after_ms)
{
	if (!uv_is_closing((uv_handle_t *)&rpc->timer))
		uv_timer_start(&rpc->timer, on_tick, after_ms, TICK_MS);
}

static int rpc_send(struct rpc *rpc, uint64_t to, const SampanMaster__Message *message)
{
	struct buf packed = { 0 };

	packed.len = sampan_master__message__pack(
		message, buf_reserve(&packed, sampan_master__message__get_packed_size(message)));
	int rc = consensus_send(rpc->consensus, to, buf_bytes(&packed));
	buf_fini(&packed);
	return rc;
}

void rpc_call(struct rpc *rpc, uint64_t to, SampanMaster__Message *message, uint32_t timeout_ms,
	      rpc_reply_cb *cb, void *ctx)
{
	struct rpc_call *call = xcalloc(1, sizeof(*call));
	const char *address;

	call->id = ++rpc->next_id;
	call->to = to;
	call->to_leader = to == 0;
	call->deadline_ms = uv_now(rpc->loop) + timeout_ms;
	call->cb = cb;
	call->ctx = ctx;
	if (rpc->n_calls >= CALLS_MAX)
		call->rc = -EAGAIN;
	else if (to == 0 && !consensus_leader(rpc->consensus, &call->to, &address))
		call->rc = -EHOSTUNREACH;
	if (call->rc == 0) {
		message->has_id = true;
		message->id = call->id;
		call->rc = rpc_send(rpc, call->to, message);
	}
	list_push_back(&rpc->calls, &call->link);
	rpc->n_calls++;
	if (call->rc != 0)
		wake_at(rpc, 0);
	else if (!uv_is_active((uv_handle_t *)&rpc->timer))
		wake_at(rpc, TICK_MS);
}

void rpc_handle(struct rpc *rpc, enum rpc_question question, rpc_handler *handler, void *ctx)
{
	rpc->handlers[question].fn = handler;
	rpc->handlers[question].ctx = ctx;
}

void rpc_reply(struct rpc *rpc, struct rpc_asked asked, SampanMaster__Message *reply)
{
	reply->has_id = reply->has_reply = true;
	reply->id = asked.id;
	reply->reply = true;
	int rc = rpc_send(rpc, asked.from, reply);
	if (rc < 0)
		log_debug("an answer to a master was lost", "rc=%d", rc);
}

static void on_answer(struct rpc *rpc, uint64_t from, const SampanMaster__Message *reply)
{
	list_for_each (call, &rpc->calls, struct rpc_call, link) {
		if (call->id == reply->id && call->to == from && call->rc == 0) {
			call_end(rpc, call, 0, reply);
			return;
		}
	}
}

static enum rpc_question question_of(const SampanMaster__Message *m)
{
	if (m->write != NULL)
		return RPC_WRITE;
	if (m->heartbeats != NULL)
		return RPC_HEARTBEATS;
	if (m->member != NULL)
		return RPC_MEMBER;
	return RPC_QUESTIONS;
}

void rpc_received(struct rpc *rpc, uint64_t from, struct bytes message)
{
	struct arena arena;

	arena_init(&arena, MESSAGE_BUDGET_BYTES);
	const SampanMaster__Message *m =
		arena_unpack(&arena, &sampan_master__message__descriptor, message);
	if (m == NULL) {
		log_warn("a master sent what cannot be read", "from=%016llx bytes=%zu",
			 (unsigned long long)from, message.len);
	} else if (m->reply) {
		on_answer(rpc, from, m);
	} else {
		enum rpc_question q = question_of(m);

		/* A newer master may ask what this one does not know: its time runs out. */
		if (q != RPC_QUESTIONS && rpc->handlers[q].fn != NULL)
			rpc->handlers[q].fn(rpc->handlers[q].ctx, (struct rpc_asked){ from, m->id }, m);
	}
	arena_fini(&arena);
}

void rpc_leader_changed(struct rpc *rpc, uint64_t leader_id)
{
	bool any = false;

	list_for_each (call, &rpc->calls, struct rpc_call, link) {
		if (call->rc == 0 && call->to_leader && call->to != leader_id) {
			call->rc = -EUNATCH;
			any = true;
		}
	}
	if (any)
		wake_at(rpc, 0);
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct rpc *rpc = handle->data;
	void (*cb)(void *ctx) = rpc->closed_cb;
	void *ctx = rpc->closed_ctx;

	free(rpc);
	cb(ctx);
}

void rpc_close(struct rpc *rpc, void (*cb)(void *ctx), void *ctx)
{
	rpc->closed_cb = cb;
	rpc->closed_ctx = ctx;
	uv_close((uv_handle_t *)&rpc->timer, on_timer_closed);
	while (!list_empty(&rpc->calls))
		call_end(rpc, list_first(&rpc->calls, struct rpc_call, link), -ECANCELED, NULL);
}
