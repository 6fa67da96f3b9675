/* A world from a file instead of from masters: a Kubernetes List as JSON, as
 * `kubectl get services,endpointslices,nodes -A -o json` prints it. For tests and for
 * looking at what a proxy would do. */
#pragma once

#include "common/base/status.h"
#include "proxy/world/world.h"

int snapshot_read(struct world *w, const char *path, struct status *st);
