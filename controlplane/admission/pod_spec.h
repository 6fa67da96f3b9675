/* Parts of the validation of a PodSpec that stand in files of their own. */
#pragma once

#include "controlplane/admission/checks.h"
#include "proto/k8s/core_v1.pb-c.h"

/* Terms of which a node must match one; f names the selector. */
void check_node_selector(struct checks *c, const struct field *f, const CoreV1__NodeSelector *s);
void check_volumes(struct checks *c, const struct field *f, const CoreV1__PodSpec *spec);
/* f names the container. */
void check_mounts(struct checks *c, const struct field *f, const CoreV1__PodSpec *spec,
		  const CoreV1__Container *container);
/* Containers and init containers; f names the spec. */
void check_containers(struct checks *c, const struct field *f, const CoreV1__PodSpec *spec);
void check_resources(struct checks *c, const struct field *f,
		     const CoreV1__ResourceRequirements *r);
