/* A hollow node: the agent's own session and held objects, and in place of containers a
 * runtime that only remembers when each pod began.
 *
 * A pod waits for its start delay, takes an address of the node's podCIDR and runs.
 * Pods whose restartPolicy is not Always succeed after the run time. A pod that is to be
 * deleted is gone after the stop delay. Statuses are made by the agent's own code
 * (agent/pods/status.h). Many nodes share one loop. Loop thread only. */
#pragma once

#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/status.h"
#include "common/base/tree.h"
#include "common/io/loop.h"

struct hollow_delay {
	long min_ms, max_ms; /* Each time anew, evenly. */
};

struct hollow_options {
	struct hollow_delay start, stop, run;
	long cpu, memory_gib, pods; /* What each node says it has. */
	long zones;                 /* Nodes are dealt out to zone-0, zone-1, ...; 0: no zone. */
	long usage_s;               /* How often usage is told; 0: never. */
	long used_milli, used_mib;  /* What each container is said to use, give or take a tenth. */
};

/* What nodes of one process share. */
struct hollow {
	struct io_loop io;
	struct hollow_options options;
	uv_timer_t wake;
	struct tree due; /* struct hollow_pod by due time. */
	uint64_t next_serial;
	struct arena statuses; /* Of the report being packed; emptied once per turn. */
	uv_check_t turn;
	size_t n_nodes, n_registered, n_pods, n_running;
	uint64_t n_started, n_ended, n_puts;
};

void hollow_init(struct hollow *h, uv_loop_t *loop, const struct hollow_options *options);

struct hollow_node;

/* Begin the session of a node that has joined: dir holds its agent.conf. 0, or says why not. */
int hollow_node_start(struct hollow *h, const char *dir, const char *name, const char *address, size_t number,
	struct status *st);
