/* The node's session with the masters (proto/sampan/node.proto; docs/node-protocol.md).
 *
 * One poll is parked at the leader and a standby call at every other master; the
 * objects that polls bring go into the set of held objects, reports of pods, node
 * and events are batched. Losing every master changes nothing for the pods: the
 * session keeps trying, and goes on from what is held. Loop thread only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/objects/objects.h"
#include "common/base/arena.h"
#include "common/base/status.h"
#include "common/io/loop.h"
#include "proto/k8s/core_v1.pb-c.h"
#include "proto/sampan/node.pb-c.h"

struct session;

/* What the cluster told this node about itself. Strings may be NULL. */
struct session_cluster {
	const char *domain, *dns_address, *service_cidr, *pod_cidr; /* pod_cidr: this node's. */
};

struct session_callbacks {
	/* An object was put into the set, or is about to be taken out of it. */
	void (*put)(void *ctx, struct held_object *object);
	void (*removed)(void *ctx, struct held_object *object);
	/* After registration. */
	void (*cluster)(void *ctx, const struct session_cluster *cluster);
	/* A client of the API wants to reach a container; valid during the call. */
	void (*stream)(void *ctx, const SampanNode__StreamOpen *open);
	/* A pod as it is to be reported: packed status and whether it is gone. False: there is no such pod. */
	bool (*pod)(void *ctx, const char *uid, SampanNode__PodReport *ret);
	/* The masters know nothing of this pod. */
	void (*unknown_pod)(void *ctx, const char *uid);
	void (*token)(void *ctx, const char *uid, const char *audience, int64_t expiration_s, const char *token,
		int64_t expires_ns, const char *message);
	/* The Node object to register, in the arena. */
	CoreV1__Node *(*node)(void *ctx, struct arena *arena);
	/* What to tell of usage with the next poll, or NULL; again: to a leader that has not heard the last.
	 * Valid until the next call. */
	SampanNode__Usage *(*usage)(void *ctx, bool again);
	/* A new certificate was written to the file: the program should execute itself anew. */
	void (*renewed)(void *ctx);
	void *ctx;
};

struct session_options {
	struct io_loop *loop;
	const char *node;
	const char *ca_file, *cert_file, *key_file;
	/* "<16 hex digits> rpc=HOST:PORT api=HOST:PORT" each. */
	const char *const *masters;
	size_t n_masters;
	const char *masters_file; /* Where later lists are kept; read if it is there. */
	struct objects *objects;
	struct session_callbacks callbacks;
};

int session_start(const struct session_options *options, struct session **ret, struct status *st);
/* cb when nothing of it is left. */
void session_stop(struct session *session, void (*cb)(void *arg), void *arg);

/* Report this pod soon. */
void session_report_pod(struct session *session, const char *uid);
/* Report the node's status soon (from the node callback). */
void session_report_node(struct session *session);
/* Best effort: at most EVENTS_MAX wait, the oldest go first. */
void session_report_event(struct session *session, const CoreV1__Event *event);
/* Tell that nothing of a deleted volume is left here, until a master has taken it. */
void session_report_removed_volume(struct session *session, const char *name, const char *uid);
/* The answer comes by the token callback. */
void session_ask_token(struct session *session, const char *namespace, const char *account, const char *pod,
	const char *uid, const char *audience, int64_t expiration_s);
/* The API address of the master that asked for a stream is in its request; TLS is ours. */
struct tls_context *session_tls(struct session *session);
