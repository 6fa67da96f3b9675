/* The first state of a cluster.
 *
 * `sampan init` leaves the cluster's keys in a folder beside the first master's
 * data. When that master first leads, it writes them and the objects every
 * cluster has (namespaces, the Services kubernetes and kube-dns, the registry of
 * masters, the cluster's settings) through the door like anybody else, then
 * removes the folder. Everything may be repeated after a crash: what exists
 * stays. Loop thread only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/source.h"
#include "common/base/status.h"
#include "controlplane/admission/admission.h"

struct writes;

struct bootstrap_config {
	const char *dir; /* Holds ca.crt, ca.key and service-accounts.key. */
	const uint8_t *kek;
	struct source *source;
	const struct cluster_config *cluster;
	uint64_t member_id;
	const char *name, *raft_address, *rpc_address, *api_address;
};

/* Whether the folder is still there. */
bool bootstrap_pending(const char *dir);
/* Copies what it needs. done is called once, later; on a failure (e.g. leadership was lost) call
 * again at the next occasion. */
int bootstrap_start(const struct bootstrap_config *config, struct writes *writes,
		    void (*done)(void *ctx, const struct status *st /* NULL: done */), void *ctx,
		    struct status *st);
