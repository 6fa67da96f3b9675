/* What a piece of work on a worker thread sees of its pod: everything borrowed and constant. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "agent/objects/objects.h"
#include "common/base/arena.h"
#include "proto/k8s/core_v1.pb-c.h"

/* Of the node, fixed while the agent runs. */
struct node_facts {
	const char *name, *address;
	int64_t cpu_milli, memory_bytes; /* Allocatable. */
	const char *cluster_domain;      /* cluster.local */
	const char *dns_address;         /* Of the cluster's DNS; "" when there is none. */
	const char *resolv_conf;         /* The host's, /etc/resolv.conf. */
	const char *local_path_dir;      /* Of volumes that are folders of this node. */
};

struct pod_token {
	const char *audience; /* "": the API server's. */
	int64_t expiration_s;
	const char *token;
};

struct pod_view {
	const CoreV1__Pod *pod;
	const struct object_list *objects;
	const struct node_facts *node;
	const char *dir; /* The pod's directory. */
	const char *ip;  /* "" while it has none. */
	const struct pod_token *tokens;
	size_t n_tokens;
	/* Claims that other pods of this node use. */
	const char *const *contested;
	size_t n_contested;
	struct arena *arena;
};
