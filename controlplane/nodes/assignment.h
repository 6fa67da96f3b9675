/* What a node should hold: its pods, exactly what these pods use, and the volumes whose folders
 * it has to remove.
 *
 * Pure: computed from the store alone. A holding maps objects to the uid and
 * revision that the agent has; the difference between what it holds and what it
 * should hold is what a poll is answered with. Who knows which objects changed says
 * so, and only these are looked at: a change costs the same however many pods the
 * node has. Loop thread only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/map.h"
#include "common/base/tree.h"
#include "controlplane/store/store.h"

/* One block with its texts. */
struct held {
	struct tree_node node;
	const char *resource, *namespace, *name, *uid;
	uint64_t revision;
	uint64_t digest;
	uint64_t mark; /* Of the last computation that wanted it. */
};

struct holding {
	struct tree objects; /* struct held by resource, namespace, name. */
	uint64_t digest;     /* Sum of theirs. */
	uint64_t mark;
};

void holding_init(struct holding *h);
void holding_fini(struct holding *h);
/* -EINVAL for a resource that is never assigned. */
int holding_put(struct holding *h, const char *resource, const char *namespace, const char *name,
		const char *uid, uint64_t revision);

/* Which other objects the pods of one node name. */
struct needs {
	struct tree all;    /* struct need by what it names. */
	struct map by_uid;  /* A pod's uid -> struct pod_needs */
	uint64_t mark;
};

void needs_init(struct needs *n);
void needs_fini(struct needs *n);
/* Whether some pod names this object (or links all Services of its namespace), or every node has it. */
bool needs_name(const struct needs *n, const struct object *o);

/* One step of the difference. new is NULL when the node should forget old. */
typedef void assignment_cb(void *ctx, const struct held *old, const struct object *new);

/* What one computation is about. */
struct assignment {
	const struct store *store;
	const char *node;
	struct needs *needs;
	struct holding *held;
	size_t max_bytes; /* Of objects; counted down. */
	assignment_cb *cb;
	void *ctx;
};

/* Compare all that the node should hold with what it holds, bring that up to date and report each
 * difference, removals last. Stops reporting (and leaves the rest as it was) after max_bytes;
 * returns whether it was complete. */
bool assignment_update(struct assignment *a);
/* The same for one object that changed, came or went. Only after a complete update, and when it was not
 * complete itself only an update helps. */
bool assignment_look(struct assignment *a, const struct kind *kind, const char *namespace, const char *name);
