/* Static pods: JSON manifests in a directory are run without any master.
 *
 * Each file DIR/NAME.json holds one Pod; in a node without masters also
 * ConfigMaps, Secrets and Services, which its pods may use. A pod's name gets
 * "-NODE" appended and its uid is made of the file's content, so that a changed
 * file is a new pod. With status_dir the status of each is kept there as
 * NAMESPACE_NAME.json. Loop thread only. */
#pragma once

#include "agent/pods/pods.h"

struct manifests;

struct manifests_options {
	uv_loop_t *loop;
	const char *dir;
	const char *node;
	struct pods *pods;
	struct objects *objects; /* Where ConfigMaps and the like go; NULL: only pods are taken. */
	const char *status_dir;  /* NULL: none. */
};

/* Reads the directory at once, then whenever it changes. */
int manifests_start(const struct manifests_options *options, struct manifests **ret, struct status *st);
void manifests_stop(struct manifests *manifests, void (*cb)(void *arg), void *arg);
bool manifests_has(const struct manifests *manifests, const char *uid);
/* Write the status file of a static pod; removes it when the pod is gone. */
void manifests_pod_changed(struct manifests *manifests, struct pod *pod);
