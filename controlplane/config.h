/* What master.conf says (docs/operations.md). Loop thread only. */
#pragma once

#include <stdint.h>

#include "common/base/conf.h"
#include "common/base/log.h"
#include "common/base/status.h"
#include "controlplane/admission/admission.h"

struct master_config {
	struct conf conf; /* Owns the texts. */
	uint64_t id;
	const char *name;
	const char *data_dir, *ca_file, *cert_file, *key_file, *kek_file;
	const char *bootstrap_dir; /* NULL: this master did not begin the cluster. */
	const char *api_listen, *rpc_listen, *raft_listen;    /* ip:port */
	const char *api_address, *rpc_address, *raft_address; /* As others reach us. */
	struct cluster_config cluster;
	struct zones *zones; /* Of the system, and cluster.zones. */
	enum log_level log_level;
};

int master_config_read(struct master_config *c, const char *path, struct status *st);
void master_config_fini(struct master_config *c);
