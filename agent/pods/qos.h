/* What resources mean for a pod: its class, its limits, who is killed first. Pure; any thread. */
#pragma once

#include "agent/runtime/cgroup.h"
#include "proto/k8s/core_v1.pb-c.h"

enum qos_class pod_qos(const CoreV1__PodSpec *spec);
/* "Guaranteed", "Burstable", "BestEffort" */
const char *qos_name(enum qos_class qos);
/* pids_max 0: unlimited. */
void pod_limits(const CoreV1__PodSpec *spec, int64_t pids_max, struct cgroup_limits *ret);
void container_limits(const CoreV1__Container *c, struct cgroup_limits *ret);
int container_oom_score_adj(const CoreV1__PodSpec *spec, const CoreV1__Container *c, enum qos_class qos,
	int64_t node_memory_bytes);
