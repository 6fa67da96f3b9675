/* The Leases of kube-node-lease say when each node was last heard of, which only
 * the leader knows and nobody writes down: their renewTime is put in when they
 * are read. Loop thread only. */
#pragma once

#include "common/base/arena.h"

struct apiserver;
struct item;
struct object;
struct request;

/* When the request reads such Leases and this master does not lead: ask the leader first. ready is
 * called with 0 in any case, at once or later. */
void node_leases_await(struct request *r, void (*ready)(struct request *r, int rc));
/* Put the newest renewTime into item when o is the Lease of a node; scratch memory
 * is the arena's. */
void node_lease_refresh(struct apiserver *api, const struct object *o, struct item *item,
			struct arena *arena);
