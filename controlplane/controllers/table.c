#include <stddef.h>

#include "controlplane/controllers/controller.h"

extern const struct controller controller_namespace, controller_replicaset, controller_deployment;

const struct controller *const controllers[] = {
	&controller_namespace,
	&controller_replicaset,
	&controller_deployment,
	NULL,
};
