/* How long silence is borne, and what it leads to (docs/node-lifecycle.md). */
#pragma once

#include "controlplane/controllers/common.h"

/* An agent's poll comes back after 3 s at the latest; two may be late or lost. */
#define NODE_SILENCE_MAX_MS INT64_C(7000)
/* Between two nodes whose pods are taken away; the first one need not wait. */
#define NODE_EVICTION_PAUSE_NS (10 * NS_PER_S)

/* A pod's condition, made or changed: its transition time moves only with its status. True when it
 * changed at all. */
bool set_pod_condition(struct arena *a, CoreV1__PodStatus *status, const char *type,
		       const char *value, const char *reason, const char *message, int64_t now_ns);
