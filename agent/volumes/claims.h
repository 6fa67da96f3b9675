/* Volumes that a pod has by way of a claim: where they are on this node. Private to this folder.
 *
 * The claim and its PersistentVolume are among the view's objects. Only folders
 * of this node can be used: hostPath, local, and those of local_path.h. */
#pragma once

#include "agent/volumes/pod_view.h"
#include "common/base/status.h"

struct claim_volume {
	const char *path;    /* In the view's arena. */
	bool readonly;
	bool takes_fs_group; /* Its content belongs to the cluster. */
};

/* The volume stands for a claim. */
bool claim_is(const CoreV1__VolumeSource *source);
/* Where it is; ENOENT names what is missing, EOPNOTSUPP a kind that does not exist here. */
int claim_find(const struct pod_view *view, const CoreV1__Volume *v, struct claim_volume *ret, struct status *st);
/* The same before a pod's containers: folders are made, owners set, and what must not be used is refused. */
int claim_setup(const struct pod_view *view, const CoreV1__Volume *v, struct status *st);
