/* What a Node object says, as the scheduler looks at it: room of every resource,
 * images (private to this folder). */
#pragma once

#include "controlplane/scheduler/cluster.h"

/* From node->object, which may be NULL, into the node. before: the object it had. */
void node_facts_read(struct cluster *c, struct node *node, const struct object *before);
void node_facts_fini(struct cluster *c, struct node *node);
/* Whether a pod may fit now that did not fit before. */
bool node_facts_differ(const struct object *old, const struct object *new);
