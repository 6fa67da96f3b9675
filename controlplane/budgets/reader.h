/* How budgets see the state: the store as it is (controllers), or with the plans
 * in flight laid over it (the leader's door). */
#pragma once

#include "controlplane/store/store.h"

struct budget_reader {
	void *ctx;
	/* Borrowed until the state changes, or NULL. */
	const struct object *(*get)(void *ctx, const struct kind *kind, const char *namespace,
				    const char *name);
	void (*walk)(void *ctx, const struct kind *kind, const char *namespace, store_walk_cb *cb,
		     void *cb_ctx);
};
