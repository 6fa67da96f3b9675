/* The OCI runtime's description of one container: config.json from values that are all resolved.
 *
 * Pure: no file is read, nothing is looked up. Strings are borrowed during the calls. Any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/runtime/user.h"
#include "common/base/buf.h"

struct oci_mount {
	const char *source, *destination, *type;
	const char *options; /* "rbind,ro"; commas separate. */
};

struct oci_device {
	const char *path;
	char type; /* c or b */
	unsigned major, minor, mode, uid, gid;
};

/* What is run: in a new container or by exec in one that runs. */
struct oci_process {
	char *const *args; /* Ends with NULL, as env does. */
	char *const *env;
	const char *cwd;
	const struct user *user;
	uint64_t caps;
	bool terminal, no_new_privileges;
	int oom_score_adj;
};

struct oci_container {
	struct oci_process process;
	const char *rootfs;
	bool readonly_rootfs;
	const struct oci_mount *mounts; /* Beside those every container has. */
	size_t n_mounts;
	const char *shm; /* Bound to /dev/shm. */
	/* Paths of namespaces; NULL: the host's. */
	const char *net, *ipc, *uts;
	const char *pid; /* "" makes one of its own; NULL: the host's. */
	bool cgroup_v2;
	const char *cgroups_path;
	int64_t memory_bytes, cpu_quota_us, pids; /* 0: no limit. */
	uint64_t cpu_shares;
	bool privileged; /* All devices, nothing masked, /sys and cgroups writable. */
	bool unmasked;   /* procMount: Unmasked. */
	const struct oci_device *devices; /* More than the usual ones; only used when privileged. */
	size_t n_devices;
	const char *seccomp_base64; /* A compiled filter; NULL: none. */
	const char *propagation;    /* Of the root: "rslave", "rshared", or NULL: private. */
};

void oci_put_config(struct buf *out, const struct oci_container *c);
/* The process object alone, as "exec --process" wants it. */
void oci_put_process(struct buf *out, const struct oci_process *p);
