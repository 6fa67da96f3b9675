/* The agent as one process: what main.c puts together and what the session needs of it.
 * Nothing below agent/ includes this. Loop thread only. */
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "agent/machine.h"
#include "agent/pods/manifests.h"
#include "agent/pods/pods.h"
#include "agent/session/session.h"
#include "agent/streams/streams.h"
#include "common/base/conf.h"
#include "common/io/loop.h"

struct agent {
	uv_loop_t loop;
	struct io_loop io;
	struct conf conf;
	const char *node, *dir, *address;
	char *shim_path, *pull_path;
	struct machine machine;
	struct cgroups cgroups;
	struct node_facts facts;
	struct host_limits limits;
	struct objects *objects;
	struct images *images;
	struct pods *pods;
	struct manifests *manifests;
	struct session *session;
	struct streams *streams;
	/* What the cluster said, kept in DIR/cluster.conf for a start without masters. */
	char *cluster_domain, *dns_address, *pod_cidr;
	int64_t started_ns;
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
