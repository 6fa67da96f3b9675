/* The agent as one process: what main.c puts together and what the session needs of it.
 * Nothing below agent/ includes this. Loop thread only. */
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "agent/collect.h"
#include "agent/folders.h"
#include "agent/machine.h"
#include "agent/pods/manifests.h"
#include "agent/pods/pods.h"
#include "agent/session/session.h"
#include "agent/streams/streams.h"
#include "common/base/conf.h"
#include "common/io/loop.h"

/* usage.c */
struct usage_state {
	struct arena arena; /* The message lives here. */
	SampanNode__Usage *message; /* NULL: nothing was measured yet. */
	int64_t measured_ns; /* Monotonic; 0: never. */
	struct machine_counters counters;
	unsigned count;
};

struct agent {
	uv_loop_t loop;
	struct io_loop io;
	struct conf conf;
	const char *node, *dir, *address;
	char *shim_path, *pull_path, *local_path_dir;
	struct machine machine;
	struct cgroups cgroups;
	struct node_facts facts;
	struct host_limits limits;
	struct objects *objects;
	struct images *images;
	struct pods *pods;
	struct manifests *manifests;
	struct folders *folders;
	struct collector *collector;
	struct session *session;
	struct streams *streams;
	/* What the cluster said, kept in DIR/cluster.conf for a start without masters. */
	char *cluster_domain, *dns_address, *pod_cidr;
	int64_t started_ns;
	struct usage_state usage;
	uv_signal_t terminate, interrupt;
	bool stopping, renewed;
};

/* main.c */
void agent_stop(struct agent *a);

/* cluster.c */
struct pods_callbacks agent_pods_callbacks(struct agent *a);
void agent_read_cluster(struct agent *a);
/* Nothing happens when the configuration names no master. */
int agent_start_session(struct agent *a, struct status *st);

/* usage.c: what the next poll is to tell of usage; NULL: nothing new. again: to a leader that does not
 * have the last measurement. Valid until the next call. */
SampanNode__Usage *agent_usage(void *ctx, bool again);
