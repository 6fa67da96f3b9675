/* What the scheduler asks about a pod's volumes.
 *
 * The rules know claims, volumes and storage classes; the scheduler knows nodes
 * and who is on them, and calls these only for pods whose volumes matter. What
 * look() returns belongs to the view's arena and is used for one decision. Pure. */
#pragma once

#include "controlplane/store/intents.h"
#include "controlplane/store/view.h"
#include "proto/k8s/core_v1.pb-c.h"

struct node;
struct volume_claims;

struct volume_rules {
	/* Whether the volumes of a pod can restrict where it runs. Cheap. */
	bool (*matter)(const CoreV1__PodSpec *spec);
	/* The pod's claims as they are. NULL: no node can do, *ret_why says why. */
	struct volume_claims *(*look)(struct view *view, const struct object *pod,
				      const CoreV1__PodSpec *spec, const char **ret_why);
	/* NULL: the node can do. Else what is said of it ("node(s) had volume node affinity
	 * conflict"); *ret_final: also when pods there were gone. */
	const char *(*misfit)(const struct volume_claims *claims, const struct node *node,
			      bool *ret_final);
	/* The node is chosen: intents for claims and volumes. True: the pod can be bound in the
	 * same plan; false: it waits until a change helps. */
	bool (*reserve)(struct volume_claims *claims, struct view *view, const struct node *node,
			struct intents *intents);
	/* Whether a change may help a pod that waits because of its volumes. */
	bool (*change_helps)(const struct object *old, const struct object *new);
};
