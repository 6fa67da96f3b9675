/* What is said of a pod for which no node was found (private to this folder). */
#pragma once

#include "controlplane/scheduler/fit.h"
#include "controlplane/store/intents.h"
#include "controlplane/store/view.h"

#define SCHEDULER_NAME "default-scheduler"

/* "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint(s)." */
char *explain_misfits(struct arena *arena, size_t nodes, const struct request *r,
		      const size_t misfits[MISFIT_COUNT]);
/* Condition PodScheduled False and an event, unless it says so already. */
void report_unschedulable(struct view *view, struct intents *intents, const struct object *pod,
			  const char *why);
