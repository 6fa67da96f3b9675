/* Keeping so many pods of one template: all that a ReplicaSet does, and a
 * ReplicationController, which is looked at as if it were one (private to this folder). */
#pragma once

#include "controlplane/controllers/pods.h"

struct replicas {
	const char *component; /* Of its events. */
	const struct object *object;
	const AppsV1__ReplicaSet *set;
	struct label_selector selector;
	bool counts_terminating; /* Its status has terminatingReplicas. */
	void (*write_status)(struct intents *intents, const struct object *object,
			     AppsV1__ReplicaSetStatus *status);
};

/* refusal is NULL unless the plan of the last look was refused. */
void replicas_keep(struct view *v, const struct replicas *r, const struct refusal *refusal,
		   struct intents *intents);
/* Which sets of resource, of the given kind, a change touches. */
void replicas_on_change(const struct view *v, const struct object *old, const struct object *new,
			const char *resource, const char *kind, struct keys *keys);
