#include "controlplane/writes/rpc.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/arena.h"
#include "common/base/list.h"
#include "common/base/log.h"
#include "common/base/tree.h"
#include "controlplane/store/arena_unpack.h"

#define CALLS_MAX 65536
#define MESSAGE_BUDGET_BYTES (64u << 20)

struct call {
	struct tree_node by_id, by_deadline;
	uint64_t id, to, deadline_ns;
	bool to_leader; /* It asked for the leader, whoever that is. */
	int rc;         /* Not 0: the call failed already and only waits to say so. */
	rpc_reply_cb *cb;
	void *ctx;
};

/* A message to oneself, delivered on the next turn. */
struct loopback {
	struct list link;
	struct buf message;
};

struct rpc {
	const struct log_link *link;
	struct source *source;
	uint64_t self, last_id;
	struct tree by_id, by_deadline;
	struct list loopback;
	struct {
		rpc_handler *handler;
		void *ctx;
	} handlers[RPC_QUESTIONS];
};

static int compare_id(const void *key, const struct tree_node *node)
{
	uint64_t a = *(const uint64_t *)key;
	uint64_t b = tree_entry((struct tree_node *)node, struct call, by_id)->id;

	return a < b ? -1 : a > b;
}

static int compare_deadline(const void *key, const struct tree_node *node)
{
	const struct call *a = key;
	const struct call *b = tree_entry((struct tree_node *)node, struct call, by_deadline);

	if (a->deadline_ns != b->deadline_ns)
		return a->deadline_ns < b->deadline_ns ? -1 : 1;
	return a->id < b->id ? -1 : a->id > b->id;
}

struct rpc *rpc_create(const struct log_link *link, struct source *source, uint64_t self)
{
	struct rpc *rpc = xcalloc(1, sizeof(*rpc));

	rpc->link = link;
	rpc->source = source;
	rpc->self = self;
	/* A reply to the process before this one must not look like one to us. */
	rpc->last_id = source_random_u64(source) >> 16;
	tree_init(&rpc->by_id, compare_id);
	tree_init(&rpc->by_deadline, compare_deadline);
	list_init(&rpc->loopback);
	return rpc;
}

static void call_remove(struct rpc *rpc, struct call *call)
{
	tree_remove(&rpc->by_id, &call->by_id);
	tree_remove(&rpc->by_deadline, &call->by_deadline);
	free(call);
}

static void call_end(struct rpc *rpc, struct call *call, int rc, const SampanMaster__Message *reply)
{
	rpc_reply_cb *cb = call->cb;
	void *ctx = call->ctx;

	call_remove(rpc, call);
	cb(ctx, rc, reply);
}

static void call_fail(struct rpc *rpc, struct call *call, int rc)
{
	tree_remove(&rpc->by_deadline, &call->by_deadline);
	call->rc = rc;
	call->deadline_ns = 0;
	tree_insert(&rpc->by_deadline, call, &call->by_deadline);
}

void rpc_destroy(struct rpc *rpc)
{
	if (rpc == NULL)
		return;
	tree_for_each (call, &rpc->by_id, struct call, by_id)
		call_remove(rpc, call);
	list_for_each (l, &rpc->loopback, struct loopback, link) {
		buf_fini(&l->message);
		free(l);
	}
	free(rpc);
}

static int rpc_send(struct rpc *rpc, uint64_t to, const SampanMaster__Message *message)
{
	struct buf packed = { 0 };
	size_t n = sampan_master__message__get_packed_size(message);

	packed.len = sampan_master__message__pack(message, buf_reserve(&packed, n));
	if (to == rpc->self) {
		struct loopback *l = xcalloc(1, sizeof(*l));

		l->message = packed;
		list_push_back(&rpc->loopback, &l->link);
		return 0;
	}

	int rc = rpc->link->send(rpc->link->ctx, to, buf_bytes(&packed));

	buf_fini(&packed);
	return rc;
}

uint64_t rpc_call(struct rpc *rpc, uint64_t to, SampanMaster__Message *message, uint32_t timeout_ms,
		  rpc_reply_cb *cb, void *ctx)
{
	struct call *call = xcalloc(1, sizeof(*call));

	call->id = message->id = ++rpc->last_id;
	message->has_id = true;
	call->to_leader = to == 0;
	call->to = to != 0 ? to : rpc->link->leader(rpc->link->ctx);
	call->deadline_ns = rpc->source->monotonic_ns(rpc->source) + (uint64_t)timeout_ms * 1000000;
	call->cb = cb;
	call->ctx = ctx;
	if (rpc->by_id.count >= CALLS_MAX)
		call->rc = -EAGAIN;
	else if (call->to == 0)
		call->rc = -EHOSTUNREACH;
	else
		call->rc = rpc_send(rpc, call->to, message);
	if (call->rc < 0)
		call->deadline_ns = 0;
	tree_insert(&rpc->by_id, &call->id, &call->by_id);
	tree_insert(&rpc->by_deadline, call, &call->by_deadline);
	return call->id;
}

void rpc_cancel(struct rpc *rpc, uint64_t id)
{
	struct call *call = tree_entry(tree_find(&rpc->by_id, &id), struct call, by_id);

	if (call != NULL)
		call_remove(rpc, call);
}

void rpc_handle(struct rpc *rpc, enum rpc_question question, rpc_handler *handler, void *ctx)
{
	rpc->handlers[question].handler = handler;
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
	struct call *call = tree_entry(tree_find(&rpc->by_id, &reply->id), struct call, by_id);

	/* NULL: too late, or asked by the process before this one. */
	if (call != NULL && call->to == from && call->rc == 0)
		call_end(rpc, call, 0, reply);
}

static enum rpc_question question_of(const SampanMaster__Message *m)
{
	if (m->write != NULL)
		return RPC_WRITE;
	if (m->heartbeats != NULL)
		return RPC_HEARTBEATS;
	if (m->member != NULL)
		return RPC_MEMBER;
	if (m->clock != NULL)
		return RPC_CLOCK;
	if (m->usage != NULL)
		return RPC_USAGE;
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
		if (q != RPC_QUESTIONS && rpc->handlers[q].handler != NULL)
			rpc->handlers[q].handler(rpc->handlers[q].ctx,
						 (struct rpc_asked){ from, m->id }, m);
	}
	arena_fini(&arena);
}

void rpc_leader_changed(struct rpc *rpc, uint64_t leader_id)
{
	tree_for_each (call, &rpc->by_id, struct call, by_id)
		if (call->rc == 0 && call->to_leader && call->to != leader_id)
			call_fail(rpc, call, -EUNATCH);
}

static void expire(struct rpc *rpc)
{
	uint64_t now = rpc->source->monotonic_ns(rpc->source);

	for (size_t n = rpc->by_deadline.count; n > 0; n--) {
		struct call *call =
			tree_entry(tree_first(&rpc->by_deadline), struct call, by_deadline);

		if (call == NULL || call->deadline_ns > now)
			return;
		call_end(rpc, call, call->rc != 0 ? call->rc : -ETIMEDOUT, NULL);
	}
}

void rpc_turn(struct rpc *rpc)
{
	/* What these cause to be sent to oneself is for the next turn. */
	struct list now;

	list_init(&now);
	while (!list_empty(&rpc->loopback)) {
		struct list *first = rpc->loopback.next;

		list_remove(first);
		list_push_back(&now, first);
	}
	while (!list_empty(&now)) {
		struct loopback *l = list_first(&now, struct loopback, link);

		list_remove(&l->link);
		rpc_received(rpc, rpc->self, buf_bytes(&l->message));
		buf_fini(&l->message);
		free(l);
	}
	expire(rpc);
}

uint64_t rpc_deadline_ns(const struct rpc *rpc)
{
	struct call *call = tree_entry(tree_first(&rpc->by_deadline), struct call, by_deadline);

	if (!list_empty(&rpc->loopback))
		return 0;
	return call != NULL ? call->deadline_ns : UINT64_MAX;
}
