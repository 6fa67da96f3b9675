/* The downward API: values of a pod that its own containers may ask for. Pure; any thread. */
#pragma once

#include "agent/volumes/pod_view.h"
#include "common/base/status.h"

/* fieldRef. The text is in the view's arena. EINVAL: no such field. */
int pod_field(const struct pod_view *view, const char *path, const char **ret_text, struct status *st);
/* resourceFieldRef; container NULL: the selector must name it. */
int pod_resource_field(const struct pod_view *view, const CoreV1__ResourceFieldSelector *selector,
	const CoreV1__Container *container, const char **ret_text, struct status *st);

/* "100m" of cpu, "1Gi" of memory and so on; NULL: not set. */
const char *container_limit(const CoreV1__Container *c, const char *resource);
const char *container_request(const CoreV1__Container *c, const char *resource);
/* Among init and normal containers; NULL: none. */
const CoreV1__Container *pod_container(const CoreV1__Pod *pod, const char *name);
/* spec.hostname or the pod's name, cut to 63. In the arena. */
const char *pod_hostname(const CoreV1__Pod *pod, struct arena *arena);
