/* One object of the cluster as the store keeps it: immutable, counted, packed.
 *
 * Changing an object means putting a new one; who holds a reference keeps the
 * old. The facts that indexes and deciding code need are taken from the packed
 * bytes once, when the object is made, so nobody unpacks to find a label.
 * Loop thread only, except that worker threads may read an object they were
 * handed a reference to (counts change on the loop thread only). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"

struct kind;

struct label {
	const char *key, *value;
};

struct owner_ref {
	const char *api_version, *kind, *name, *uid;
	bool controller, block_owner_deletion;
};

/* What indexes, watches and controllers need of every kind. Strings live in the object. */
struct facts {
	const char *uid, *generate_name;
	int64_t created_ns, deleted_ns; /* 0: not set. deleted_ns is deletionTimestamp. */
	int64_t generation;
	const struct label *labels;
	size_t n_labels; /* Sorted by key. */
	const struct owner_ref *owners;
	size_t n_owners;
	const char *const *finalizers;
	size_t n_finalizers;
	/* Pods only, NULL or 0 otherwise. */
	const struct pod_facts *pod;
	const struct node_facts *node;
	const struct service_facts *service; /* Services only. */
};

enum pod_phase { PHASE_PENDING, PHASE_RUNNING, PHASE_SUCCEEDED, PHASE_FAILED, PHASE_UNKNOWN };

struct pod_facts {
	const struct object *object; /* The pod itself. */
	const char *node_name;       /* "" while unassigned. */
	/* Of an unassigned pod: the only node it may go to, which its affinity names (pods of
	 * DaemonSets); "": none in particular. */
	const char *pinned_to;
	const char *ip;              /* "" while it has none. */
	const char *other_ip;        /* The first of status.podIPs of the other family; "" for none. */
	const char *scheduler_name;
	enum pod_phase phase;
	bool ready;     /* Condition Ready is True. */
	bool scheduled; /* node_name is set. */
	bool host_network;
	int64_t ready_since_ns; /* lastTransitionTime of Ready. */
	int64_t start_ns;       /* status.startTime. */
	int64_t finished_ns;    /* When the last of its containers ended; 0: none has. */
	int32_t restarts;       /* Sum over containers. */
	int32_t priority;
	int64_t deletion_cost; /* controller.kubernetes.io/pod-deletion-cost. */
	/* Effective requests: max(sum of containers + sidecars, init peak) + overhead. */
	int64_t cpu_milli, memory_bytes, ephemeral_bytes;
	const struct host_port *host_ports;
	size_t n_host_ports;
	/* PersistentVolumeClaims its volumes name, ended by NULL; NULL: none. */
	const char *const *claims;
};

struct host_port {
	uint16_t port;
	const char *protocol; /* "TCP" */
	const char *ip;       /* "" is all addresses. */
};

struct taint {
	const char *key, *value, *effect;
	int64_t added_ns;
};

/* Which pods a Service wants: none when it has no selector. Sorted by key. */
struct service_facts {
	const struct label *selector;
	size_t n_selector;
};

struct node_facts {
	const struct object *object;
	const char *pod_cidr;
	const char *internal_ip; /* status.addresses of type InternalIP. */
	bool unschedulable;
	/* Condition Ready: 1 True, 0 False, -1 Unknown or absent. */
	int ready;
	const struct taint *taints;
	size_t n_taints;
	int64_t cpu_milli, memory_bytes, ephemeral_bytes, pods; /* Allocatable. */
};

struct object {
	const struct kind *kind;
	const char *namespace; /* "" for cluster scope. */
	const char *name;
	uint64_t created_revision, revision;
	struct bytes packed; /* Canonical, without resourceVersion. */
	const char *const *claims;
	size_t n_claims;
	struct facts facts;
	unsigned refs;
	size_t memory_bytes; /* Of this block. */
	uint64_t hash;       /* Its part of store_hash(). */
};

/* What an object is made of; everything is copied. */
struct object_values {
	const struct kind *kind;
	const char *namespace, *name;
	uint64_t created_revision, revision;
	struct bytes packed;
	const char *const *claims;
	size_t n_claims;
};

/* With one reference, which is the caller's. */
struct object *object_create(const struct object_values *values);

struct object *object_ref(const struct object *o);
void object_unref(struct object *o);

const char *object_label(const struct object *o, const char *key);
/* The owner that controls o, or NULL. */
const struct owner_ref *object_controller(const struct object *o);
bool object_has_finalizer(const struct object *o, const char *name);
