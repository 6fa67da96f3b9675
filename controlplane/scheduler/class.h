/* Classes: all that matters of a pod once it is on a node (private to this folder). */
#pragma once

#include "controlplane/scheduler/cluster.h"

/* A reference to the class of the pod. */
struct class *class_ref(struct cluster *c, const struct object *pod);
void class_unref(struct cluster *c, struct class *class);
/* Whether old and new, versions of one pod, are surely of the same class. */
bool class_is_same(const struct object *old, const struct object *new);

/* The spec as stored, without nodeName: what is in it decides which node suits. */
struct bytes pod_spec_bytes(const struct object *pod);
struct bytes pod_status_bytes(const struct object *pod);
