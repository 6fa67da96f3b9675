/* The replicated state: a map from (kind, namespace, name) to objects, with
 * revisions, indexes, a history for watchers and exactly-once results.
 *
 * It makes no system call, reads no clock and draws no random number: given
 * the same entries, all masters hold the same state, and store_hash() shows
 * it. It changes in store_apply() and store_restore_*() only. A revision
 * counts mutations: every create, update and delete gets the next one, also
 * when many share a Raft entry; clients see it as resourceVersion.
 * Loop thread only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/buf.h"
#include "common/base/status.h"
#include "controlplane/store/object.h"

struct store;

/* The newest feature level of entries and snapshots that this build knows. */
#define STORE_LEVEL 1u

struct store_limits {
	size_t history_bytes; /* Old and new versions kept for watchers. */
	size_t history_events;
	size_t sessions; /* Registered writers. */
	size_t session_results;
};

extern const struct store_limits store_limits_default;

struct store *store_create(const struct store_limits *limits);
void store_destroy(struct store *s);

uint64_t store_revision(const struct store *s);
/* The cluster's time as of the newest entry. */
int64_t store_time_ns(const struct store *s);
/* Over all objects and sessions, independent of how they are kept in memory. O(1). */
uint64_t store_hash(const struct store *s);

/* --- Changing -------------------------------------------------------------- */

struct plan_result {
	int rc; /* 0; -EEXIST, -ENOENT, -ESTALE: a precondition failed; -EADDRINUSE: a claim
		 * is taken; -EKEYEXPIRED: the session is gone or the result forgotten;
		 * -ENOBUFS, -ENOSPC: too many results in the session, too many sessions. */
	uint64_t revision; /* Of the last operation that changed something, or of the object that
			      stayed. */
	size_t failed;     /* Index of the precondition or operation that failed. */
};

/* Apply one committed entry (sampan.store.v1.Entry). ret_results gets one result per plan
 * (the array is the store's, valid until the next call). An entry that cannot be read, or a
 * checkpoint that disagrees with our state, is -EBADMSG: the caller exits. */
int store_apply(struct store *s, struct bytes entry, const struct plan_result **ret_results,
		size_t *ret_n, struct status *st);

/* What a session's write led to, when that is still known. False: not executed, or forgotten. */
bool store_session_result(const struct store *s, uint64_t session, uint64_t sequence,
			  struct plan_result *ret_result);
bool store_has_session(const struct store *s, uint64_t session);

/* --- Reading --------------------------------------------------------------- */

/* Borrowed until the next store_apply(); object_ref() keeps it. */
const struct object *store_get(const struct store *s, const struct kind *kind,
			       const char *namespace, const char *name);
const struct object *store_get_uid(const struct store *s, const char *uid);
size_t store_count(const struct store *s, const struct kind *kind);

/* Walk in key order: namespace NULL is all of them; start after (after_namespace, after_name)
 * when after_name is not NULL. Stops when cb returns false. */
typedef bool store_walk_cb(void *ctx, const struct object *o);
void store_walk(const struct store *s, const struct kind *kind, const char *namespace,
		const char *after_namespace, const char *after_name, store_walk_cb *cb, void *ctx);
/* Objects owned by uid (any owner reference), of kind or of all when kind is NULL; by kind, then
 * oldest first. */
void store_walk_owned(const struct store *s, const struct kind *kind, const char *uid,
		      store_walk_cb *cb, void *ctx);
/* Pods of a node ("" those not assigned), in key order. */
void store_walk_node_pods(const struct store *s, const char *node, store_walk_cb *cb, void *ctx);
/* Objects of kind in namespace (NULL: everywhere) that carry the label, in key order. */
void store_walk_label(const struct store *s, const struct kind *kind, const char *namespace,
		      const char *key, const char *value, store_walk_cb *cb, void *ctx);
/* Who holds the claim, or NULL. */
const struct object *store_claim(const struct store *s, const char *claim);
/* Claims that begin with prefix, in order. */
typedef bool store_claim_cb(void *ctx, const char *claim, const struct object *holder);
void store_walk_claims(const struct store *s, const char *prefix, store_claim_cb *cb, void *ctx);

/* --- History and watching --------------------------------------------------- */

struct change {
	uint64_t revision;
	const struct object *old, *new; /* One of them may be NULL. */
};

/* Told of every change, in order, inside store_apply(). */
typedef void store_change_cb(void *ctx, const struct change *change);
struct store_listener {
	store_change_cb *cb;
	void *ctx;
	struct store_listener *next; /* The store's. */
};
void store_listen(struct store *s, struct store_listener *listener);
void store_unlisten(struct store *s, struct store_listener *listener);

/* Changes after since, oldest first; stops when cb returns false. -EKEYEXPIRED when the history
 * no longer reaches back that far, -ERANGE when since lies in the future. */
typedef bool store_history_cb(void *ctx, const struct change *change);
int store_history(const struct store *s, uint64_t since, store_history_cb *cb, void *ctx);
/* The oldest revision one may continue from. */
uint64_t store_history_begin(const struct store *s);
/* The change that made a revision, or NULL when the history no longer holds it. */
const struct change *store_change(const struct store *s, uint64_t revision);
/* Like store_walk, as of a revision still in the history; -EKEYEXPIRED otherwise. */
int store_walk_at(const struct store *s, uint64_t revision, const struct kind *kind,
		  const char *namespace, const char *after_namespace, const char *after_name,
		  store_walk_cb *cb, void *ctx);

/* --- Snapshots --------------------------------------------------------------- */

/* References to everything as of now; taken on the loop thread in O(objects), written on any one
 * thread with LZ4 frames, released on the loop thread (in slices if large). */
struct store_snapshot;
typedef int store_write_fn(void *ctx, const void *data, size_t n);
typedef ssize_t store_read_fn(void *ctx, void *to, size_t n);
struct store_snapshot *store_snapshot_take(struct store *s);
int store_snapshot_write(struct store_snapshot *snap, store_write_fn *write, void *ctx);
void store_snapshot_release(struct store_snapshot *snap);
/* Replace the whole state. The history is forgotten. Damage is -EBADMSG and leaves the store empty.
 */
int store_restore(struct store *s, store_read_fn *read, void *ctx, struct status *st);
/* Told after a restore; every view and watch must begin again. */
void store_on_restore(struct store *s, void (*cb)(void *ctx), void *ctx);
