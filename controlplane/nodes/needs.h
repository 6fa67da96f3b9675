/* What pods name, counted per node; see assignment.h. */
#pragma once

#include "controlplane/nodes/assignment.h"

struct need {
	struct tree_node node;
	const char *resource;
	char *namespace;
	char *name; /* NULL: every object of the resource in the namespace. */
	size_t users;
	uint64_t mark; /* Of the last computation that looked at it. */
	bool fresh;    /* Nobody has looked at it yet. */
};

struct pod_needs {
	int64_t generation;
	uint64_t mark;
	size_t n;
	struct need *items[];
};

/* Told of every need that no pod has any more, just before its memory goes. May be NULL. */
typedef void need_gone_cb(void *ctx, const struct need *need);

/* Of this pod, read anew when its generation is another one. */
const struct pod_needs *needs_of(struct needs *n, const struct object *pod, need_gone_cb *gone, void *ctx);
void needs_drop(struct needs *n, const char *uid, need_gone_cb *gone, void *ctx);
/* Drop the pods that the last computation did not meet. */
void needs_sweep(struct needs *n);
