/* The volumes of a pod: made before its containers, kept up to date, taken away after them.
 *
 * They live in DIR/volumes/NAME of the pod's directory; what must not reach a
 * disk is on a tmpfs there. hostPath volumes and those of claims stay where they are. All calls are
 * idempotent and block; worker threads only. docs/agent.md lists the kinds. */
#pragma once

#include "agent/runtime/oci.h"
#include "agent/volumes/pod_view.h"
#include "common/base/status.h"

/* All volumes of the pod. ENOENT names what is missing, EOPNOTSUPP a kind that does not exist here. */
int volumes_setup(const struct pod_view *view, struct status *st);
/* The content of configMap, secret, downwardAPI and projected volumes again. Sources that are gone
 * leave the files as they are. */
int volumes_refresh(const struct pod_view *view, struct status *st);
/* Unmount what subPath mounts pinned; the volumes stay as they are. */
void volumes_unpin(const char *dir);
/* Unmount and remove everything below DIR/volumes and DIR/subpaths. */
int volumes_teardown(const char *dir);

/* The mounts of a container; subpaths[i] is volumeMounts[i].subPath with its variables expanded, or NULL.
 * Strings are in the view's arena. *ret_propagation is what its root needs, or NULL. */
int volumes_mounts(const struct pod_view *view, const CoreV1__Container *container,
	const char *const *subpaths, struct oci_mount **ret_mounts, const char **ret_propagation,
	struct status *st);

/* Bytes used on disk by the pod's emptyDir volumes that have a sizeLimit beyond it: the name of the
 * first volume above its limit, or NULL. */
const char *volumes_over_limit(const struct pod_view *view);
