/* What a node should hold: its pods and exactly what these pods use.
 *
 * Pure: computed from the store alone. A holding maps objects to the uid and
 * revision that the agent has; the difference between what it holds and what it
 * should hold is what a poll is answered with. Loop thread only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/map.h"
#include "common/base/tree.h"
#include "controlplane/store/store.h"

struct held {
	struct tree_node node;
	char *key; /* "resource/namespace/name" */
	const char *resource;
	char *namespace, *name, *uid;
	uint64_t revision;
	uint64_t digest;
	uint64_t mark; /* Of the last computation that wanted it. */
};

struct holding {
	struct tree objects; /* struct held by key. */
	uint64_t digest;     /* Sum of theirs. */
	uint64_t mark;
};

void holding_init(struct holding *h);
void holding_fini(struct holding *h);
/* -EINVAL for a resource that is never assigned. */
int holding_put(struct holding *h, const char *resource, const char *namespace, const char *name,
		const char *uid, uint64_t revision);

/* Which other objects each pod names, remembered per pod uid and generation. */
struct pod_refs_cache {
	struct map by_uid;
	uint64_t mark;
};

void pod_refs_cache_fini(struct pod_refs_cache *cache);
/* Whether some pod of the cache names this object (or a Service of a namespace it links). */
bool pod_refs_name(const struct pod_refs_cache *cache, const struct object *o);

/* One step of the difference. new is NULL when the node should forget old. */
typedef void assignment_cb(void *ctx, const struct held *old, const struct object *new);

/* Compare what node should hold with h, bring h up to date and report each difference, removals
 * last. Stops reporting (and leaves the rest of h as it was) after max_bytes of objects; returns
 * whether it was complete. */
bool assignment_update(const struct store *store, const char *node, struct pod_refs_cache *cache,
		       struct holding *h, size_t max_bytes, assignment_cb *cb, void *ctx);
