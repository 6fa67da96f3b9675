/* A read-only look at the cluster, as of one revision.
 *
 * Controllers and the scheduler see the cluster only through a view. What is
 * reached through it never changes and stays valid until the view is closed, so
 * a reconcile function may keep pointers for as long as it runs, and needs no
 * copies. It carries the cluster's time: view_now_ns() is the only clock they
 * know. A view also shows what is known only to the leader: when each node was
 * last heard of, and what pods use. Opening one takes a reference, not a snapshot. Loop thread only. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "common/base/arena.h"
#include "controlplane/store/store.h"
#include "controlplane/store/usage.h"

struct view {
	const struct store *store;
	struct arena *arena; /* Unpacked messages live here. */
	int64_t now_ns;
	/* Milliseconds since node was last heard of or since the leader's election, whichever is
	 * later; -1 when the node is not known. NULL: nobody keeps track (tests without nodes). */
	int64_t (*node_silence_ms)(void *ctx, const char *node);
	void *node_silence_ctx;
	/* What the pod's containers used lately; valid as long as the view. NULL: not known (also: no
	 * longer, or not yet after a failover). The callback is NULL where nobody measures. */
	const struct pod_usage *(*pod_usage)(void *ctx, const struct pod_facts *pod);
	void *pod_usage_ctx;
	/* A Secret's packed bytes in the clear, in the arena. NULL: they are not sealed (tests). */
	struct bytes (*open_secret)(void *ctx, const struct object *o, struct arena *a);
	void *open_secret_ctx;
	const struct zones *zones; /* Time zones (common/api/zones.h); NULL: only UTC is known. */
	/* What the look before left in intents.memo: the leader's memory of this key; NULL: nothing, or
	 * a new leader. */
	const char *memo;
	struct view_cache *cache; /* The view's; begin with NULL. */
};

int64_t view_now_ns(const struct view *v);

/* The object, or NULL. */
const struct object *view_get(const struct view *v, const char *resource, const char *namespace,
			      const char *name);
/* o's message, unpacked into the view's arena (remembered, so asking twice costs once). The caller
 * casts by kind: (const AppsV1__ReplicaSet *). metadata.resourceVersion is filled in. */
const void *view_message(struct view *v, const struct object *o);
/* The same into an arena of the caller's, to change it. */
void *object_message(const struct object *o, struct arena *a);

/* A Secret in the clear, into an arena of the caller's: what view_message() shows of one is sealed,
 * and must not be written back. */
void *view_secret(const struct view *v, const struct object *o, struct arena *a);

/* Facts of the pods whose controller is uid, oldest first; nothing is unpacked. */
const struct pod_facts *const *view_pods_of(const struct view *v, const char *uid, size_t *ret_n);
/* Objects of resource owned (as controller) by uid, oldest first. */
const struct object *const *view_owned(const struct view *v, const char *resource, const char *uid,
				       size_t *ret_n);
/* All objects of resource in namespace (NULL: everywhere), in key order. */
const struct object *const *view_list(const struct view *v, const char *resource,
				      const char *namespace, size_t *ret_n);
const struct pod_facts *const *view_node_pods(const struct view *v, const char *node,
					      size_t *ret_n);
/* Pods of namespace (NULL: everywhere) that match all labels of an equality selector, in key order.
 */
const struct pod_facts *const *view_pods_matching(const struct view *v, const char *namespace,
						  const struct label *labels, size_t n_labels,
						  size_t *ret_n);
