/* NetworkPolicies as nftables: what may reach, and what may leave, the pods of this node.
 *
 * Table `inet sampan_policy` has one base chain on forward. Replies pass; everything
 * else is looked up by its source in `egress4/6` and by its destination in
 * `ingress4/6`, which lead to a chain for each set of policies. Its rules return
 * what is allowed, its end drops. Peers are sets of pod addresses, so that a pod that
 * comes or goes is an element that comes or goes. Every packet is looked at, not the
 * first alone: a flow ends when a policy forbids it. Pure; one thread. */
#pragma once

#include "common/base/buf.h"
#include "common/base/map.h"
#include "proxy/world/world.h"

struct policy_set {
	char *name;
	const char *type; /* Of nft: "ipv4_addr", "ipv4_addr . inet_service", or of a map. */
	bool verdicts;    /* A map to verdicts. */
	char **elements;  /* Sorted, each once. */
	size_t n, cap;
};

struct policy_plan {
	struct policy_set *sets; /* Sorted by name. */
	size_t n_sets, cap_sets;
	struct buf chains; /* Text of nft. */
	size_t n_pods;     /* Of this node that a policy is about. */
};

void policy_plan_build(struct policy_plan *p, const struct world *w, const char *node);
void policy_plan_fini(struct policy_plan *p);
/* The whole table as a script; NULL or empty plan: only that it goes. */
void policy_plan_print(const struct policy_plan *p, struct buf *to);
/* What leads from one to the other by elements alone. False: the table must be written anew. */
bool policy_plan_changes(const struct policy_plan *from, const struct policy_plan *to,
			 struct buf *script);
