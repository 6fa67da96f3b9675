/* The /scale subresource: a Scale message made from a kind that has replicas, and
 * put back into it. Works for every kind with spec.replicas. Any thread. */
#pragma once

#include "common/api/kinds.h"
#include "common/base/arena.h"
#include "common/base/buf.h"
#include "proto/k8s/autoscaling_v1.pb-c.h"

/* What an object (packed, of kind) shows as its Scale; revision 0 leaves resourceVersion out. NULL
 * when the kind has no replicas. */
AutoscalingV1__Scale *scale_from(const struct kind *kind, struct bytes packed, uint64_t revision,
				 struct arena *a);
/* Set message's spec.replicas from scale; false when the kind has none. Absent means 0. */
bool scale_to(const AutoscalingV1__Scale *scale, void *message, struct arena *a);
