/* Pods that must, or must not, be in one place with others: required affinity,
 * anti-affinity in both directions, and topology spread (private to this folder).
 *
 * A place is all nodes with the same value of a label. One look at the placed
 * pods counts those that matter per place; after that each node is a look-up.
 * Pods without such rules in a cluster without such pods cost nothing. */
#pragma once

#include "controlplane/scheduler/fit.h"
#include "controlplane/store/view.h"

enum neighbour_rule { RULE_WANT, RULE_SHUN, RULE_SHUNNED, RULE_SPREAD };

struct place_rule {
	enum neighbour_rule type;
	const char *key;  /* Of the label that makes places. */
	struct map count; /* Value of the label -> matching pods there + 1. */
	size_t total;
	bool self;               /* The pod itself matches. */
	int64_t skew_max, least; /* RULE_SPREAD */
};

struct neighbours {
	struct place_rule *rules; /* In the arena. */
	size_t n, cap;
};

/* False: there are no rules. */
bool neighbours_look(struct neighbours *n, struct view *view, const struct cluster *c,
		     const struct pod *pod, const CoreV1__PodSpec *spec);
enum misfit neighbours_misfit(const struct neighbours *n, const struct object *node);
void neighbours_fini(struct neighbours *n);
