#include <stddef.h>

#include "controlplane/controllers/controller.h"

extern const struct controller controller_namespace, controller_replicaset, controller_deployment,
	controller_endpoints, controller_endpointslice, controller_masters, controller_garbage,
	controller_nodelifecycle, controller_podgc, controller_events;

const struct controller *const controllers[] = {
	&controller_namespace,
	&controller_replicaset,
	&controller_deployment,
	&controller_endpoints,
	&controller_endpointslice,
	&controller_masters,
	&controller_garbage,
	&controller_nodelifecycle,
	&controller_podgc,
	&controller_events,
	NULL,
};
