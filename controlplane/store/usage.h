/* What containers and nodes use, as views show it. Not part of the replicated
 * state: agents measure, the leader remembers (controlplane/nodes/usage.h). */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Processors in billionths; the working set: without what the kernel could drop at once. */
struct container_usage {
	const char *name;
	uint64_t cpu_nanocores, memory_bytes;
};

struct pod_usage {
	const char *uid;
	int64_t measured_ns; /* Cluster time. */
	int64_t window_ns;   /* That cpu is the mean of. */
	const struct container_usage *containers;
	size_t n_containers;
};
