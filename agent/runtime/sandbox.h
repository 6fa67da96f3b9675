/* The namespaces that the containers of a pod share, without a process in them.
 *
 * DIR/ns/ipc and DIR/ns/uts are bind mounts that pin them, as DIR/ns/net is for
 * the network (agent/network makes that one), and DIR/shm is the pod's tmpfs for
 * /dev/shm. They live until they are unpinned or the machine is rebooted. Calls block
 * for about a millisecond; worker threads only. The calling thread comes back to its own
 * namespaces or the process aborts. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/status.h"

struct sandbox_options {
	const char *dir;      /* The pod's directory. */
	const char *hostname; /* NULL: the host's UTS namespace is used, none is made. */
	bool host_ipc;        /* Likewise for IPC and /dev/shm. */
	/* "kernel.shmmax=1" and the like that belong to the IPC namespace. */
	const char *const *sysctls;
	size_t n_sysctls;
	const char *shm_size; /* "67108864" */
};

/* What is there from an earlier attempt is replaced. */
int sandbox_create(const struct sandbox_options *options, struct status *st);
/* Unpin everything below DIR/ns and DIR/shm. 0 also when nothing is there. */
int sandbox_destroy(const char *dir);
/* Whether the pins are mounts still: false after a reboot. */
bool sandbox_exists(const char *dir, bool host_ipc, bool host_network);
/* Whether a sysctl belongs to the IPC namespace (the others are the network's). */
bool sandbox_sysctl_is_ipc(const char *name);
