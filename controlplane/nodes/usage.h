/* What nodes and their pods use, by what agents last told.
 *
 * Memory of the leader alone: nothing of it is written anywhere, a new leader
 * has it again with the agents' next polls. A master that serves somebody while
 * it does not lead fills one of these with the leader's answers. What is older
 * than USAGE_AGE_MAX_NS is not shown. Loop thread only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/tree.h"
#include "controlplane/store/usage.h"
#include "proto/sampan/master.pb-c.h"
#include "proto/sampan/node.pb-c.h"

/* Four periods of the agents. */
#define USAGE_AGE_MAX_NS (INT64_C(60) * 1000000000)
/* Of one node. */
enum { USAGE_PODS_MAX = 2000, USAGE_CONTAINERS_MAX = 20000 };

struct usage {
	struct tree nodes; /* struct node_usage by name. */
};

struct node_usage {
	struct tree_node by_name;
	char *name;
	int64_t measured_ns; /* Cluster time. */
	int64_t window_ns;
	uint64_t cpu_nanocores, memory_bytes;
	const struct pod_usage *pods; /* By uid. */
	size_t n_pods;
	void *block; /* What pods live in. */
};

void usage_init(struct usage *u);
/* Forgets everything; it may be used again. */
void usage_fini(struct usage *u);
/* Takes the place of what the node told before. -EBADMSG for what breaks a bound or lacks a name.
 */
int usage_put(struct usage *u, const char *node, int64_t now_ns, const SampanNode__Usage *told);
void usage_forget(struct usage *u, const char *node);

/* NULL: not known, or too old. */
const struct node_usage *usage_node(const struct usage *u, const char *node, int64_t now_ns);
const struct pod_usage *usage_pod(const struct usage *u, const char *node, const char *uid,
				  int64_t now_ns);

/* Between masters. An answer holds about USAGE_REPLY_BYTES. */
#define USAGE_REPLY_BYTES ((size_t)256 << 10)
void usage_answer(const struct usage *u, const SampanMaster__UsageRequest *question, int64_t now_ns,
		  struct arena *arena, SampanMaster__UsageReply *ret);
/* -EBADMSG: nothing of the answer beyond what was taken can be read. */
int usage_take_answer(struct usage *u, const SampanMaster__UsageReply *reply);
