/* What must be so some time after the last fault: everything as wanted, nothing left over. Each
 * look is at one object and says in one sentence what is not.
 *
 *   settled.c       the walk, ReplicaSets and Deployments, Services, namespaces
 *   settled_sets.c  StatefulSets, DaemonSets, Jobs */
#pragma once

#include "tests/sim/cluster/oracle.h"

struct settled {
	struct chaos *chaos;
	const struct store *store;
	struct arena arena;
	const char *wrong; /* In the sim's arena. */
	/* While walking: */
	size_t count;
	const struct object *service;
	const char *app;
	struct map addresses;
};

/* False, for a walk to end. */
bool settled_wrong(struct settled *l, const struct object *o, const char *why);
void *settled_message(struct settled *l, const struct object *o);

bool settled_look_at_statefulset(void *ctx, const struct object *o);
bool settled_look_at_daemonset(void *ctx, const struct object *o);
bool settled_look_at_job(void *ctx, const struct object *o);
bool settled_look_at_cronjob(void *ctx, const struct object *o);
