/* metrics.k8s.io: what nodes and pods use, from the leader's memory (nodes/usage.h).
 *
 * The leader answers at once; any other master asks it, for one node or for all
 * in pages, and answers 503 with a sentence when nobody leads. Objects, labels and
 * names come from this master's store. Loop thread only. */
#pragma once

#include <stdint.h>

#include "common/base/arena.h"
#include "controlplane/nodes/usage.h"
#include "controlplane/store/object.h"
#include "proto/k8s/metrics_v1beta1.pb-c.h"

struct request;

/* get and list of NodeMetrics and PodMetrics. */
void handle_usage(struct request *r);

/* The messages, in the arena. */
MetricsV1beta1__NodeMetrics *node_metrics(struct arena *a, const struct object *node,
					  const struct node_usage *usage, int64_t now_ns);
MetricsV1beta1__PodMetrics *pod_metrics(struct arena *a, const struct object *pod,
					const struct pod_usage *usage, int64_t now_ns);
