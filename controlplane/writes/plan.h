/* A plan under construction: preconditions and operations of sampan.store.v1, in
 * an arena that lives until the plan is packed into an entry. Loop thread only. */
#pragma once

#include "common/base/arena.h"
#include "controlplane/store/store.h"
#include "proto/sampan/store.pb-c.h"

struct plan {
	struct arena *arena;
	SampanStore__Plan message;
	size_t cap_preconditions, cap_operations;
	size_t bytes; /* About as many as it will take in an entry. */
};

void plan_init(struct plan *p, struct arena *arena);
void plan_require_absent(struct plan *p, const struct kind *kind, const char *namespace,
			 const char *name);
/* The object must still be as it is now. */
void plan_require(struct plan *p, const struct object *o);
/* packed and claims must live as long as the arena. */
void plan_put(struct plan *p, const struct kind *kind, const char *namespace, const char *name,
	      struct bytes packed, const char *const *claims, size_t n_claims);
void plan_delete(struct plan *p, const struct kind *kind, const char *namespace, const char *name);
void plan_open_session(struct plan *p, uint64_t session, uint64_t ttl_ms);
