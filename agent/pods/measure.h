/* What the pods of this node use (docs/metrics.md). Reads three small files per container, about
 * 30 us each; loop thread only. */
#pragma once

#include <stdint.h>

#include "agent/pods/pods.h"
#include "common/base/arena.h"
#include "proto/sampan/node.pb-c.h"

#define MEASURE_FRESH_MIN_NS (INT64_C(2) * 1000000000)
#define MEASURE_FRESH_MAX_NS (INT64_C(60) * 1000000000)

/* Fills in ret->pods; now_ns is monotonic. Pods of which a container has no number yet are left out. */
void pods_measure(struct pods *pods, int64_t now_ns, struct arena *arena, SampanNode__Usage *ret);
/* used_ns of processor time within window_ns (> 0), as billionths of a processor. */
uint64_t usage_rate(uint64_t used_ns, int64_t window_ns);
