/* What happens to a write between the request and the plan: defaults,
 * validation, and the allocation of addresses, ports and ranges.
 *
 * Everything here is pure: it reads the view it is given (the store with the
 * plans in flight laid over it), takes time and chance from its context, changes
 * only the message, and allocates in the arena. Intents of controllers pass the
 * same functions as a client's request. Errors carry Kubernetes' words: 422 with
 * one cause per field, 403 for policy, 409 where something is taken. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "common/api/zones.h"
#include "common/base/arena.h"
#include "common/base/source.h"
#include "common/base/status.h"
#include "controlplane/store/store.h"
#include "proto/k8s/core_v1.pb-c.h"

struct kind;

/* What the cluster was set up with; the same on every master. */
struct cluster_config {
	const char *domain;       /* "cluster.local" */
	const char *service_cidr; /* "10.96.0.0/16" */
	const char *pod_cidr;     /* "10.244.0.0/16" */
	int node_prefix;          /* Bits of each node's podCIDR: 24. */
	uint16_t node_port_min, node_port_max;
	const char *dns_address; /* Of the Service kube-dns. */
	const struct zones *zones; /* Time zones; NULL: only UTC is known. */
};

/* How admission sees the state: the store with the overlay of plans in flight. */
struct admission_reader {
	void *ctx;
	/* Borrowed for the duration of the admission, or NULL. */
	const struct object *(*get)(void *ctx, const struct kind *kind, const char *namespace,
				    const char *name);
	bool (*claim_taken)(void *ctx, const char *claim);
	void (*walk)(void *ctx, const struct kind *kind, const char *namespace, store_walk_cb *cb,
		     void *cb_ctx);
};

struct admission {
	struct arena *arena;
	struct source *source; /* UIDs, name suffixes; wall time is now_ns. */
	int64_t now_ns;
	const struct cluster_config *config;
	const struct admission_reader *reader;
	const char *user; /* For messages and CSR requesters. */
	const char *const *groups;
	size_t n_groups;
	const char *subresource; /* "" for the object itself. */
	bool dry_run;
	/* Filled: claims the object holds from now on (all of them, not the difference). */
	const char **claims;
	size_t n_claims, cap_claims;
	/* Filled: texts for Warning headers. */
	const char **warnings;
	size_t n_warnings, cap_warnings;
};

/* message becomes what is stored: metadata completed (uid, name from generateName, creation time,
 * generation), status reset, defaults, allocation, validation. */
int admit_create(struct admission *a, const struct kind *kind, ProtobufCMessage *message,
		 struct status *st);
/* old is the object as stored; message is what the client wants of the main resource or of
 * a->subresource ("status", "scale" is converted by the caller, "finalize"). Server-owned fields
 * are taken from old, generation counts changes of the spec. */
int admit_update(struct admission *a, const struct kind *kind, const struct object *old,
		 ProtobufCMessage *message, struct status *st);

/* What a delete does now. */
enum delete_outcome { DELETE_REMOVES, DELETE_MARKS, DELETE_NOTHING };
/* Marks (deletionTimestamp, grace, finalizers for foreground and orphan) are made in *ret_message,
 * unpacked from old. options is a MetaV1__DeleteOptions or NULL. */
int admit_delete(struct admission *a, const struct kind *kind, const struct object *old,
		 const ProtobufCMessage *options, enum delete_outcome *ret_outcome,
		 ProtobufCMessage **ret_message, struct status *st);
/* POST pods/<name>/binding, and the scheduler's INTENT_BIND: *ret_message is the pod, unpacked and
 * assigned, with PodScheduled True. 409 when it is assigned or being deleted. */
int admit_binding(struct admission *a, const struct object *stored, const CoreV1__Binding *binding,
		  ProtobufCMessage **ret_message, struct status *st);
/* After an update: the object was being deleted and nothing holds it any more (no finalizers, no
 * grace left), so that the write removes it instead of storing it. */
bool admission_is_finished(const ProtobufCMessage *message);
/* Defaults alone: what decode does to stored or given objects of any version. */
void admission_defaults(struct arena *arena, const struct kind *kind, ProtobufCMessage *message);
