/* The startup, liveness and readiness probes of a container that runs.
 *
 * Their results go into the container (started, ready, kill) and the pod is
 * ticked. Loop thread only. */
#pragma once

#include "agent/pods/pod.h"

/* Once the container runs and its postStart hook is through. */
void probes_start(struct container *c);
/* Accepts containers that have none. */
void probes_stop(struct container *c);

/* The counting, apart from everything else. Pure. */
struct probe_count {
	int successes, failures; /* In a row. */
	bool known, ok;          /* The verdict so far. */
};
/* Take in one result. Returns true if the verdict changed. */
bool probe_count(struct probe_count *count, const CoreV1__Probe *probe, bool success);
