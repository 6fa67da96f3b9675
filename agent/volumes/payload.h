/* The files of configMap, secret, downwardAPI and projected volumes. Pure; any thread. */
#pragma once

#include "agent/volumes/atomic_writer.h"
#include "agent/volumes/pod_view.h"

/* ENOENT: a ConfigMap, Secret, key or token that is not optional is not here. */
int payload_build(const struct pod_view *view, const CoreV1__VolumeSource *source,
	struct volume_files *files, struct status *st);
/* Whether the volume is one of these at all. */
bool payload_is(const CoreV1__VolumeSource *source);
/* Whether its files must not reach a disk. */
bool payload_is_secret(const CoreV1__VolumeSource *source);

/* A ConfigMap or Secret in the view's arena; NULL with *st untouched when it is not held. */
const CoreV1__ConfigMap *view_config_map(const struct pod_view *view, const char *name);
const CoreV1__Secret *view_secret(const struct pod_view *view, const char *name);
