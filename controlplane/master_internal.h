/* What the files of the master share; nothing outside includes it.
 *
 *   master.c      the turn of the loop, starting and stopping
 *   master_log.c  between the replicated log and the parts above it */
#pragma once

#include <uv.h>

#include "common/io/loop.h"
#include "common/io/tls.h"
#include "controlplane/apiserver/apiserver.h"
#include "controlplane/consensus/consensus.h"
#include "controlplane/deciding/deciding.h"
#include "controlplane/master.h"
#include "controlplane/nodes/nodes.h"
#include "controlplane/renewal.h"
#include "controlplane/trust/trust.h"
#include "controlplane/writes/writes.h"

struct master {
	const struct master_config *config;
	uv_loop_t uv;
	struct io_loop loop;
	uv_prepare_t prepare;
	uv_timer_t timer, stop_timer;
	uv_signal_t sigterm, sigint;
	uint64_t timer_ns; /* When timer fires; UINT64_MAX: never. */

	uint8_t kek[TRUST_KEK_BYTES];
	char *ca, *cert, *key;
	struct tls_context *api_tls, *rpc_tls;

	struct log_link link;
	struct store *store;
	struct trust *trust;
	struct rpc *rpc;
	struct writes *writes;
	struct deciding *deciding;
	struct consensus *consensus;
	struct nodes *nodes;
	struct apiserver *api;
	struct renewal renewal;

	uint64_t term, leader_id;
	bool leading, stopping, stopped;
	uint64_t bootstrap_retry_ns; /* 0: not waiting. */
	bool bootstrapping;
};

/* master_log.c */
extern const struct consensus_callbacks master_consensus_callbacks;
struct log_link master_log_link(struct master *m);
/* Tell the node sessions who leads. */
void master_tell_nodes(struct master *m);
/* Write the cluster's first state, if that is still to be done. */
void master_bootstrap(struct master *m);
