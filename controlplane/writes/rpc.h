/* Questions and answers between masters (sampan.master.v1.Message), over the
 * connections that consensus keeps between them.
 *
 * A call goes to one master, or to the leader (itself included), and is answered
 * once: with the reply, or with an error when it could not be sent, the time ran
 * out, or the leader it went to lost its office (-EUNATCH: it may have acted). It
 * is never repeated here. At most 65,536 calls are open at once (-EAGAIN).
 * Callbacks never run inside the calls. Loop thread only. */
#pragma once

#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/source.h"
#include "controlplane/writes/log_link.h"
#include "proto/sampan/master.pb-c.h"

struct rpc;

enum rpc_question { RPC_WRITE, RPC_HEARTBEATS, RPC_MEMBER, RPC_CLOCK, RPC_USAGE, RPC_QUESTIONS };

struct rpc *rpc_create(const struct log_link *link, struct source *source, uint64_t self);
/* Open calls are forgotten without a callback. */
void rpc_destroy(struct rpc *rpc);

/* reply is borrowed, NULL when rc < 0. */
typedef void rpc_reply_cb(void *ctx, int rc, const SampanMaster__Message *reply);
/* to 0: the leader. message's id and reply are filled in. Returns what rpc_cancel() takes. */
uint64_t rpc_call(struct rpc *rpc, uint64_t to, SampanMaster__Message *message, uint32_t timeout_ms,
		  rpc_reply_cb *cb, void *ctx);
/* The callback will not run. Calls that are over are ignored. */
void rpc_cancel(struct rpc *rpc, uint64_t id);

/* Where an answer goes; keep it to answer later. */
struct rpc_asked {
	uint64_t from, id;
};

/* question is borrowed for the duration of the call. */
typedef void rpc_handler(void *ctx, struct rpc_asked asked, const SampanMaster__Message *question);
void rpc_handle(struct rpc *rpc, enum rpc_question question, rpc_handler *handler, void *ctx);
/* Best effort: an answer that cannot be sent is lost, and the asker's time runs out. */
void rpc_reply(struct rpc *rpc, struct rpc_asked asked, SampanMaster__Message *reply);

/* From consensus: a message arrived; the leader changed. */
void rpc_received(struct rpc *rpc, uint64_t from, struct bytes message);
void rpc_leader_changed(struct rpc *rpc, uint64_t leader_id);
/* Once per turn of the loop, and at rpc_deadline_ns() at the latest (UINT64_MAX: never). */
void rpc_turn(struct rpc *rpc);
uint64_t rpc_deadline_ns(const struct rpc *rpc);
