/* What the scheduler knows about nodes and pods (private to this folder).
 *
 * Nodes stand in an array sorted by name, so that going over them is cheap and
 * the same everywhere. What pods take is summed per node when they are placed
 * and taken off when they leave; nothing is ever counted anew. */
#pragma once

#include "common/base/map.h"
#include "common/base/tree.h"
#include "controlplane/store/object.h"

struct room {
	int64_t cpu_milli, memory_bytes, ephemeral_bytes, pods;
	/* With what scoring assumes for containers that ask for nothing. */
	int64_t scored_cpu_milli, scored_memory_bytes;
};

struct port_use {
	struct host_port port; /* Texts belong to the pod's object. */
	const struct object *pod;
};

struct node {
	const struct object *object; /* A reference; NULL: pods are there, the Node is not (yet). */
	char *name;
	struct room used;
	struct port_use *ports;
	size_t n_ports, cap_ports;
	size_t n_pods;
	/* Of the decision under way: pods of the same owner; valid while mark is the decision's. */
	uint64_t mark;
	int32_t siblings;
};

enum pod_state {
	POD_QUEUED,        /* Its turn comes by priority, then by age. */
	POD_BACKOFF,       /* Tried lately. */
	POD_UNSCHEDULABLE, /* Until something changes that may help. */
	POD_ASSUMED,       /* Decided, the plan is in flight. */
	POD_PLACED,        /* The store says so. */
};

/* Pods of one owner, and on which nodes they are. */
struct group {
	char *uid;
	struct spread {
		struct node *node;
		int32_t count;
	} * spread;
	size_t n, cap;
};

struct pod {
	const struct object *object; /* A reference. */
	enum pod_state state;
	struct node *node; /* ASSUMED, PLACED. */
	struct group *group;
	struct tree_node link; /* In the queue or among those that back off. */
	uint64_t order;        /* When it came into the queue. */
	int64_t due_ns;        /* POD_BACKOFF */
	unsigned attempts;
	bool sociable; /* POD_UNSCHEDULABLE: one more pod somewhere may help it. */
};

struct cluster {
	struct node **nodes; /* By name, those without an object included. */
	size_t n_nodes, cap_nodes;
	size_t n_real;     /* With an object. */
	size_t n_shunning; /* Placed pods with required anti-affinity. */
	struct map pods;   /* uid -> struct pod */
	struct map groups; /* uid -> struct group */
};

void cluster_fini(struct cluster *c);
struct node *cluster_node(struct cluster *c, const char *name);
/* The node called name, made when there is none. */
struct node *cluster_node_make(struct cluster *c, const char *name);
/* A node without object and pods is forgotten. */
void cluster_node_drop(struct cluster *c, struct node *node);
struct pod *cluster_pod(const struct cluster *c, const char *uid);
struct pod *cluster_pod_add(struct cluster *c, const struct object *object);
/* Not placed any more, and forgotten. */
void cluster_pod_remove(struct cluster *c, struct pod *pod);
/* Add what pod takes to the node, or take it off. */
void cluster_place(struct cluster *c, struct pod *pod, struct node *node, enum pod_state state);
void cluster_displace(struct cluster *c, struct pod *pod);
/* Newer bytes of the same pod. */
void cluster_pod_update(struct cluster *c, struct pod *pod, const struct object *object);
