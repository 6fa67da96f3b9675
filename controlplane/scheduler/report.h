/* What is said of a pod for which no node was found, and of its victims (private
 * to this folder). */
#pragma once

#include "controlplane/scheduler/internal.h"

/* "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint(s)." */
const char *explain(struct arena *arena, size_t nodes, const struct wish *wish,
		    const struct findings *f);
/* The same of an attempt to preempt; no_victims and helpless are counts of nodes. */
const char *explain_preemption(struct arena *arena, size_t nodes, const struct wish *wish,
			       const struct findings *f, size_t no_victims, size_t helpless);
/* Condition PodScheduled False, nominatedNodeName ("" clears it) and an event, unless the pod says
 * so already. */
void report_unschedulable(struct view *view, struct intents *intents, const struct object *pod,
			  const char *why, const char *nominated);
/* Room is not being made for the pod any more. */
void report_cleared(struct intents *intents, const struct object *pod);
/* The victim is marked, deleted with its own grace, and told why. */
void report_victim(struct view *view, struct intents *intents, const struct object *victim,
		   const struct object *by, const struct node *node);
