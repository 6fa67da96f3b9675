/* What others need to know about pods: their class, their conditions, their binding. */
#pragma once

#include "common/base/arena.h"
#include "controlplane/admission/admission.h"
#include "proto/k8s/core_v1.pb-c.h"

/* "Guaranteed", "Burstable" or "BestEffort". */
const char *pod_qos_class(const CoreV1__PodSpec *spec);
/* The condition, made or changed; its transition time moves only with its value, reason and
 * message are cleared for the caller to set. */
CoreV1__PodCondition *pod_set_condition(struct arena *arena, CoreV1__PodStatus *status,
					const char *type, const char *value, int64_t now_ns);
