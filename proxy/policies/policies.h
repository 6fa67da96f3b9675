/* NetworkPolicies on this node: keeps table `inet sampan_policy` equal to what the world says.
 *
 * Scripts are written by nft(8), one at a time: policies change rarely, and nothing of it
 * costs memory while there are none. The table stays when the proxy ends, and is replaced in
 * one transaction by the next one once it knows everything. Loop thread. */
#pragma once

#include <uv.h>

#include "proxy/world/world.h"

struct policies_proxy;

struct policies_proxy *policies_proxy_create(uv_loop_t *loop, const char *node,
					     struct world *world);
/* Something may have changed. Cheap when nothing did. */
void policies_proxy_sync(struct policies_proxy *p);
/* Its handles close later; p must not be used any more. */
void policies_proxy_close(struct policies_proxy *p);

struct policies_counters {
	uint64_t scripts, failures;
	size_t pods; /* Of this node that a policy is about. */
};

const struct policies_counters *policies_proxy_counters(const struct policies_proxy *p);
