/* What a pod's spec demands of a node's labels and taints, on messages alone.
 *
 * Used by the scheduler and by controllers that place pods themselves (DaemonSets).
 * A library of its own: it knows objects, no store and no cluster. Pure; any thread. */
#pragma once

#include <stdbool.h>

#include "controlplane/store/object.h"
#include "proto/k8s/core_v1.pb-c.h"

/* nodeSelector and required node affinity. */
bool node_rules_affinity(const CoreV1__PodSpec *spec, const struct object *node);
/* One nodeSelectorTerm: all its requirements; a term without any matches nothing. */
bool node_rules_term(const CoreV1__NodeSelectorTerm *term, const struct object *node);
/* Whether some toleration of spec is for this taint. */
bool node_rules_tolerates(const CoreV1__PodSpec *spec, const struct taint *taint);
/* How many of the node's taints with that effect are not tolerated. */
size_t node_rules_untolerated(const CoreV1__PodSpec *spec, const struct node_facts *node,
			      const char *effect);
/* Every NoSchedule and NoExecute taint is tolerated. */
bool node_rules_taints(const CoreV1__PodSpec *spec, const struct node_facts *node);
/* Whether two states of a Node differ in what the rules above look at: labels and taints. */
bool node_rules_move(const struct object *old, const struct object *new);
bool node_rules_same_labels(const struct object *old, const struct object *new);
