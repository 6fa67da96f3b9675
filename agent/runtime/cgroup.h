/* Control groups of a node, version 1 (also hybrid) and version 2.
 *
 * Everything of a node lies below one parent, so that several nodes share a
 * machine: /PARENT/<qos>/pod<uid>/<container id>, and /PARENT/shims for the
 * shims. The runtime makes the containers' groups; the pods' limits are set
 * here. Paths given to the runtime are absolute, because the agent itself may
 * live in somebody's group. cgroups_open() changes two settings of the machine that
 * last until it is rebooted; docs/agent.md names them. Blocking, short; any thread
 * after cgroups_open(). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/status.h"

enum { CGROUP_HIERARCHIES_MAX = 20 };

struct cgroups {
	bool v2; /* One unified hierarchy only. */
	char *parent; /* "/name", without a slash at its end. */
	/* Mount points; with v1 one per hierarchy, among them the empty unified one. */
	char *mounts[CGROUP_HIERARCHIES_MAX];
	char *controllers[CGROUP_HIERARCHIES_MAX]; /* ",cpu,cpuacct,"; the unified one ",unified,". */
	size_t n;
};

/* Find the hierarchies, mount what the runtime insists on, make the parent and /PARENT/shims. */
int cgroups_open(struct cgroups *c, const char *parent, struct status *st);
void cgroups_fini(struct cgroups *c);

enum qos_class { QOS_GUARANTEED, QOS_BURSTABLE, QOS_BEST_EFFORT };

/* "/PARENT/burstable/pod<uid>"; the caller frees. */
char *cgroup_pod_path(const struct cgroups *c, enum qos_class qos, const char *uid);
/* A file of the hierarchy that has this controller ("memory", "pids", ...), or NULL. The caller frees. */
char *cgroup_file(const struct cgroups *c, const char *controller, const char *path, const char *file);
/* All cgroup.procs files a shim should write itself into. Returns their number; the caller frees each. */
size_t cgroup_shim_files(const struct cgroups *c, char *ret_files[CGROUP_HIERARCHIES_MAX]);

/* What the containers of a pod may use together; 0: no limit. */
struct cgroup_limits {
	uint64_t cpu_shares; /* 2..262144 */
	int64_t cpu_quota_us; /* Per 100 ms. */
	int64_t memory_bytes;
	int64_t pids;
};

int cgroup_setup_pod(const struct cgroups *c, const char *pod_path, const struct cgroup_limits *limits,
	struct status *st);
/* Kill what is left and remove the group with all below it. 0 also when it is not there. */
int cgroup_remove(const struct cgroups *c, const char *path);

struct cgroup_stats {
	uint64_t memory_bytes, working_set_bytes, cpu_ns;
};

int cgroup_read_stats(const struct cgroups *c, const char *path, struct cgroup_stats *ret);
