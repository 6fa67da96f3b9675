/* HorizontalPodAutoscalers of autoscaling/v1 are a view of v2's: what v1 has no
 * field for (metrics other than cpu utilization, behavior, conditions, current
 * metrics) is JSON in four annotations, as Kubernetes has it. Used by convert.c. */
#pragma once

#include "common/base/arena.h"
#include "proto/k8s/autoscaling_v1.pb-c.h"
#include "proto/k8s/autoscaling_v2.pb-c.h"

AutoscalingV1__HorizontalPodAutoscaler *
hpa_v1_of_v2(const AutoscalingV2__HorizontalPodAutoscaler *from, struct arena *a);
/* Annotations that cannot be read count as absent. */
AutoscalingV2__HorizontalPodAutoscaler *
hpa_v2_of_v1(const AutoscalingV1__HorizontalPodAutoscaler *from, struct arena *a);
