/* From a pod's container and its image to what the runtime and the shim are told.
 *
 * Blocking (it reads the image's passwd and makes the working directory);
 * worker threads only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/images/images.h"
#include "agent/pods/qos.h"
#include "agent/runtime/packet.h"
#include "agent/volumes/pod_view.h"
#include "common/base/status.h"

/* What this machine and this agent's own limits allow. */
struct host_limits {
	uint64_t caps;      /* Our bounding set. */
	int oom_score_adj;  /* Ours: nobody below us goes lower. */
	int64_t log_max_bytes;
	int log_files;
};

struct container_plan {
	const struct pod_view *view;
	const CoreV1__Container *container;
	const struct image *image;
	const struct cgroups *cgroups;
	const struct host_limits *host;
	const char *id;  /* Of the container. */
	const char *dir; /* Its directory, with rootfs mounted in it. */
	const char *log_path;
	int pid_one; /* Of the pod's shared process namespace, or 0. */
};

/* Write DIR/config.json, DIR/exec.json (what a command in it starts from) and fill the "run" request.
 * ENOENT, EINVAL, EACCES: the pod asks for what is not there (CreateContainerConfigError). */
int container_prepare(const struct container_plan *plan, struct packet *ret_request, struct status *st);

/* A process description for "exec" of this command, written to path. */
int container_write_exec(const char *dir, char *const *command, size_t n_command, bool tty, const char *path,
	struct status *st);
/* The signal that asks it to stop: lifecycle.stopSignal, the image's, or SIGTERM. */
int container_stop_signal(const CoreV1__Container *c, const struct image *image);
