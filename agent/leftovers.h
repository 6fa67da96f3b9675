/* Take away everything a node's agent has made, with the agent stopped:
 * containers and shims, mounts, control groups, its folder. What the masters know
 * of the node stays theirs. Blocking. */
#pragma once

#include "agent/runtime/cgroup.h"
#include "common/base/status.h"

/* dir is the agent's own folder, absolute. 0 also when there is nothing (left). */
int leftovers_remove(const char *dir, const struct cgroups *cgroups, struct status *st);
