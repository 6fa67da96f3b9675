/* The state as it will be when everything in flight is applied.
 *
 * The leader plans over the store and the operations of its plans not applied
 * yet, so that two requests of one turn never build on the same old state. As
 * only the leader proposes, the revisions of objects in flight are known ahead;
 * should a plan be refused after all, those that built on it fail by their
 * preconditions. Operations belong to a batch (one log entry) and leave the
 * overlay when it is applied. Loop thread only. */
#pragma once

#include "controlplane/admission/admission.h"
#include "controlplane/store/store.h"

struct overlay;

struct overlay *overlay_create(const struct store *store);
void overlay_destroy(struct overlay *o);
/* Forget what is in flight. */
void overlay_clear(struct overlay *o);

/* Borrowed until the overlay or the store changes. */
const struct object *overlay_get(const struct overlay *o, const struct kind *kind,
				 const char *namespace, const char *name);
bool overlay_claim_taken(const struct overlay *o, const char *claim);
/* Key of the holder, or NULL. */
const struct object *overlay_claim_holder(const struct overlay *o, const char *claim);
/* In key order, like store_walk(). */
void overlay_walk(const struct overlay *o, const struct kind *kind, const char *namespace,
		  store_walk_cb *cb, void *ctx);
/* What admission reads through. */
struct admission_reader overlay_reader(struct overlay *o);
/* Whether an operation on the key is in flight. */
bool overlay_in_flight(const struct overlay *o, const struct kind *kind, const char *namespace,
		       const char *name);

/* What the next operation will be numbered. */
uint64_t overlay_next_revision(const struct overlay *o);

/* Operations of batch; its numbers grow. put returns the object as it will be, borrowed like get's.
 */
const struct object *overlay_put(struct overlay *o, uint64_t batch, const struct kind *kind,
				 const char *namespace, const char *name, struct bytes packed,
				 const char *const *claims, size_t n_claims);
void overlay_delete(struct overlay *o, uint64_t batch, const struct kind *kind,
		    const char *namespace, const char *name);
/* Everything since begin is taken back, or stays. */
void overlay_begin(struct overlay *o);
void overlay_rollback(struct overlay *o);
void overlay_commit(struct overlay *o);
/* The batch is applied, or will never be. */
void overlay_applied(struct overlay *o, uint64_t batch);
