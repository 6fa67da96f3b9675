/* How many pods a PodDisruptionBudget lets go now.
 *
 * One arithmetic for the controller, which writes it into the budget's status,
 * and for the door, which decides evictions by it over the plans in flight.
 * Pure; texts and lists live in the arena. Loop thread only. */
#pragma once

#include "common/api/labels.h"
#include "common/base/arena.h"
#include "controlplane/budgets/reader.h"
#include "proto/k8s/policy_v1.pb-c.h"

/* How long an eviction that was allowed may take to show. */
#define DISRUPTION_TIMEOUT_NS (INT64_C(120) * 1000000000)

struct disruption {
	int32_t expected, desired, current, allowed;
	size_t pods; /* That the selector selects. */
	/* Pods without a controller, which no expected number can be known of. */
	const struct pod_facts *const *unmanaged;
	size_t n_unmanaged;
	/* Entries of disruptedPods that still count, and those whose pod should be gone by now. */
	PolicyV1__PodDisruptionBudgetStatus__DisruptedPodsEntry **disrupted;
	size_t n_disrupted;
	const struct object *const *overdue;
	size_t n_overdue;
	int64_t again_ns; /* When the next entry is overdue; 0: none. */
	const char
		*failure; /* Why the expected number is not known (allowed is 0 then), or NULL. */
};

/* Whether the budget is for the pod. */
bool disruption_selects(const PolicyV1__PodDisruptionBudget *budget, const struct object *pod,
			struct arena *arena);
void disruption_count(const struct budget_reader *reader, const char *namespace,
		      const PolicyV1__PodDisruptionBudget *budget, int64_t now_ns,
		      struct arena *arena, struct disruption *ret);
