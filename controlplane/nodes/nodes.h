/* The masters' side of the node protocol (proto/sampan/node.proto).
 *
 * Every master listens for agents and proxies. The leader holds a session with
 * each agent: it knows what the node holds, sends the difference, and takes
 * every poll as the node's heartbeat. Heartbeats, sessions and parked requests
 * are soft state: they live in memory, and a new leader builds them from the
 * agents' next polls. Followers park the agents' standby calls, serve proxies'
 * watches from their own history, and reach containers for their own clients.
 * Also here: joining, the registry of masters, certificates and tokens of nodes.
 * Loop thread only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "common/base/source.h"
#include "common/base/status.h"
#include "controlplane/admission/admission.h"

struct consensus;
struct exchange;
struct pod_facts;
struct pod_usage;
struct usage;
struct nodes;
struct rpc;
struct store;
struct tls_context;
struct trust;
struct writes;

struct nodes_config {
	uv_loop_t *loop;
	struct source *source;
	struct store *store;
	struct writes *writes;
	struct rpc *rpc;             /* Questions to other masters. */
	struct consensus *consensus;
	struct trust *trust;
	const struct cluster_config *cluster;
	struct tls_context *tls;     /* Server side, client certificates required. */
	const char *listen;          /* ip:port of the node endpoint. */
	uint64_t member_id;
	const char *name;            /* Of this master. */
	const char *raft_address, *rpc_address, *api_address; /* As others reach them, host:port. */
};

int nodes_start(const struct nodes_config *config, struct nodes **ret_nodes, struct status *st);
/* Answers what is parked, closes the listener; cb when all is gone. */
void nodes_stop(struct nodes *nodes, void (*cb)(void *ctx), void *ctx);

/* From consensus: role changes (leading: proposals are taken from here on), known leader, members. */
void nodes_leader_changed(struct nodes *nodes, bool leading, uint64_t term, uint64_t leader_id);
void nodes_members_changed(struct nodes *nodes);
/* Once per turn of the loop, after apply: answer the parked requests that something changed for. */
void nodes_flush(struct nodes *nodes);

/* For struct view: milliseconds since node was last heard of or since this master began to lead,
 * whichever is later; -1 when it was never heard of. ctx is the struct nodes. */
int64_t nodes_silence_ms(void *ctx, const char *node);
/* Called when a node becomes due for a look: silence never changes the store, so the node lifecycle
 * controller is woken by this. */
void nodes_on_silence(struct nodes *nodes, void (*cb)(void *ctx, const char *node), void *ctx);
/* Wall time of a node's last heartbeat for its Lease; 0 when unknown. Leader only. */
int64_t nodes_renewed_ns(const struct nodes *nodes, const char *node);

/* For struct view: what the pod used lately, or NULL. ctx is the struct nodes. */
const struct pod_usage *nodes_pod_usage(void *ctx, const struct pod_facts *pod);
/* What agents told (usage.h); NULL unless this master leads. Valid until the loop turns. */
const struct usage *nodes_usage(const struct nodes *nodes);

/* Requests below /sampan/: join, members, status, streams. Answers 404 for others. */
void nodes_http(struct nodes *nodes, struct exchange *x);
