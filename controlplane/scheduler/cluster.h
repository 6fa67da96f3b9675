/* What the scheduler knows about nodes and pods (private to this folder).
 *
 *   node ---- pods[] ----> pod ----> class ----> terms that match it, terms it holds
 *    |                                              |
 *    +-- places[] (values of labels in use) <-------+-- counts per place
 *
 * Equal pods share a class: all that matters of a pod once it is on a node. A
 * term is one statement about other pods ("app=web, per zone"), shared by all
 * who make it; it counts, per place, the pods it speaks of and the pods that make
 * it. All sums follow every pod that comes or goes, nothing is ever counted anew,
 * and a decision only looks up. Loop thread only. */
#pragma once

#include "common/api/labels.h"
#include "common/base/arena.h"
#include "common/base/list.h"
#include "common/base/map.h"
#include "common/base/tree.h"
#include "controlplane/scheduler/counts.h"
#include "controlplane/store/object.h"
#include "controlplane/store/store.h"
#include "proto/k8s/core_v1.pb-c.h"

/* --- Amounts ---------------------------------------------------------------------- */

struct room {
	int64_t cpu_milli, memory_bytes, ephemeral_bytes, pods;
	/* With what scoring assumes for containers that ask for nothing. */
	int64_t scored_cpu_milli, scored_memory_bytes;
};

/* The name of a resource that only some nodes offer; compared by address. */
struct resource {
	struct bag_node link;
	unsigned refs;
	char name[];
};

struct amount {
	struct resource *resource;
	int64_t asked; /* Of a pod; of a node: what it has. */
	int64_t used;  /* Of a node. */
};

/* An image that some node holds. */
struct image {
	struct bag_node link;
	unsigned refs; /* Of nodes that hold it and wishes that want it. */
	size_t nodes;
	int64_t size_bytes;
	char name[];
};

/* --- Places and statements about pods ------------------------------------------------- */

/* A label of nodes that makes places: all nodes with one value are one place. */
struct topology {
	char *key;
	uint32_t slot; /* In cluster.topologies and node.places. */
	unsigned refs;
	struct map places; /* value -> struct place */
	uint32_t *free_ids;
	size_t n_free, cap_free;
	uint32_t n_ids;
};

struct place {
	uint32_t id;
	uint32_t nodes;
};

/* Which nodes count at all when pods are to be spread. */
struct inclusion {
	struct bag_node link;
	unsigned refs;
	uint8_t *key;
	size_t key_len;
	struct arena arena;
	const CoreV1__PodSpec *affinity; /* Their labels suit its affinity; NULL: they need not. */
	const CoreV1__PodSpec *taints;   /* Their taints are tolerated; NULL: they need not. */
	const char **labels;             /* They have all of these. */
	size_t n_labels;
	uint64_t *nodes; /* A bit per node.id. */
	size_t n_words;
};

/* Whom a term speaks of: pods with these labels in these namespaces. */
struct scope {
	struct label_selector pods;
	const char **namespaces;
	size_t n_namespaces;
	bool everywhere;                     /* In all namespaces, */
	const struct label_selector *spaces; /* or also in those with these labels. */
};

/* For spreading: over all places with a node that counts, how few pods are in one. */
struct lowest {
	struct counts nodes;     /* place -> nodes that count */
	struct counts histogram; /* pods -> places with so many */
	uint32_t n_places, least;
};

struct term {
	struct bag_node link, by_label;
	unsigned refs;
	uint8_t *key;
	size_t key_len;
	struct arena arena;
	struct topology *topology;
	struct scope *scopes; /* All of them must match. */
	size_t n_scopes;
	bool living;                 /* Pods being deleted do not count. */
	bool by_space;               /* Some scope looks at labels of namespaces. */
	struct label demanded;       /* Of one value, to find the term by; key NULL: none. */
	struct inclusion *inclusion; /* NULL: all nodes count. */
	struct lowest *lowest;       /* NULL: nobody asks. */
	struct list special;         /* In cluster.special, if one of the three above is set. */
	struct counts matching;      /* place -> pods it speaks of */
	int64_t n_matching;
	struct counts shunning; /* place -> pods that must not be with those it speaks of */
	int64_t n_shunning;
	struct counts liking; /* place -> weight with which pods there like (or not) those */
	struct member {
		struct class *class;
		uint32_t at; /* In class.matched. */
	} * members;
	size_t n_members, cap_members;
};

/* --- Classes -------------------------------------------------------------------------- */

enum role { ROLE_WANTS, ROLE_SHUNS, ROLE_LIKES };

/* A term that pods of a class state. */
struct hold {
	struct term *term;
	enum role role;
	int32_t weight; /* ROLE_LIKES: below zero is dislike. */
};

struct class
{
	struct bag_node link;
	unsigned refs;
	uint8_t *key; /* Labels and namespace point into it. */
	size_t key_len;
	struct space *space;
	struct label *labels;
	size_t n_labels;
	struct room asked;
	struct amount *extended;
	size_t n_extended;
	struct host_port *ports; /* Texts are in text. */
	size_t n_ports;
	char *text;
	struct hold *holds;
	size_t n_holds;
	/* What it requires of company, as one: a pod counts if all terms speak of it. */
	struct term **wants;
	size_t n_wants;
	struct match {
		struct term *term;
		uint32_t at; /* In term.members. */
	} * matched;
	size_t n_matched, cap_matched;
	struct pod **pods; /* On nodes. */
	size_t n_pods, cap_pods;
};

/* --- Nodes, pods, namespaces ---------------------------------------------------------- */

struct port_use {
	const struct host_port *port; /* The class's. */
	const struct pod *pod;
};

struct node {
	const struct object *object; /* A reference; NULL: pods are there, the Node is not (yet). */
	char *name;
	uint32_t id;             /* Small, used again. */
	uint64_t version;        /* Changes with everything about the node, */
	uint64_t object_version; /* this one with what its object says. */
	struct room has, used;
	struct amount *extended;
	size_t n_extended, cap_extended;
	struct port_use *ports;
	size_t n_ports, cap_ports;
	struct pod **pods;
	size_t n_pods, cap_pods;
	int32_t *places; /* By topology.slot; -1: it has no such label. */
	size_t n_places;
	struct image **images;
	size_t n_images;
	unsigned held;              /* Not to be forgotten just now. */
	struct waiting **nominated; /* Pods that may come once victims are gone. */
	size_t n_nominated, cap_nominated;
	int32_t least_priority; /* Of its pods; valid at priority_version. */
	uint64_t priority_version;
};

enum pod_state {
	POD_GATED,         /* Until its gates are gone. */
	POD_QUEUED,        /* Its turn comes by priority, then by age. */
	POD_BACKOFF,       /* Tried lately. */
	POD_UNSCHEDULABLE, /* Until something changes that may help. */
	POD_ASSUMED,       /* Decided, the plan is in flight. */
	POD_PLACED,        /* The store says so. */
};

struct pod {
	struct bag_node link;        /* By uid. */
	const struct object *object; /* A reference. */
	struct class *class;
	struct node *node;       /* ASSUMED, PLACED. */
	struct waiting *waiting; /* NULL: PLACED. */
	uint32_t at_node, at_class;
	uint8_t state;
	bool dying;       /* As counted: it has a deletionTimestamp. */
	int32_t priority; /* The object's: many pods are compared by it. */
};

/* What only pods without a place need. */
struct waiting {
	struct pod *pod;
	struct wish *wish;
	struct tree_node link; /* In the queue or among those that back off. */
	uint64_t order;        /* When it came into the queue. */
	int64_t due_ns;        /* BACKOFF, UNSCHEDULABLE */
	int64_t tried_ns;      /* The last attempt. */
	unsigned attempts;
	struct node *nominated; /* Where room is being made for it. */
	struct list asleep;     /* UNSCHEDULABLE: among those of its wish. */
};

struct service_selector {
	char *name;
	struct arena arena;
	const CoreV1__Service *service;
};

struct budget {
	char *name;
	struct arena arena;
	struct label_selector selector;
	int32_t allowed;
	const char **disrupted; /* Pods that are accounted for already. */
	size_t n_disrupted;
};

struct space {
	char *name;
	const struct object *object; /* The Namespace; a reference, or NULL. */
	size_t n_classes;
	struct service_selector **services; /* By name. */
	size_t n_services, cap_services;
	uint64_t services_version;
	struct budget **budgets; /* By name. */
	size_t n_budgets, cap_budgets;
};

struct cluster {
	struct node **nodes; /* By name, those without an object included. */
	size_t n_nodes, cap_nodes;
	size_t n_real;       /* With an object. */
	struct node **order; /* Those with an object, zones in turn; see cluster_order(). */
	size_t n_order, cap_order;
	bool order_stale;
	uint64_t order_version;
	uint32_t *free_ids;
	size_t n_free_ids, cap_free_ids;
	uint32_t n_ids;
	uint64_t version;
	struct bag pods, classes, terms, terms_by_label, inclusions, resources, images;
	struct list special;          /* Terms that look at nodes or namespaces. */
	struct topology **topologies; /* By slot, NULL where one is free. */
	size_t n_topologies, cap_topologies;
	struct map spaces; /* name -> struct space */
	struct priority_count {
		int32_t priority;
		size_t n;
	} * priorities; /* Of pods on nodes, ascending. */
	size_t n_priorities, cap_priorities;
	struct arena work; /* Empty between calls. */
};

void cluster_init(struct cluster *c);
void cluster_fini(struct cluster *c);

struct node *cluster_node(const struct cluster *c, const char *name);
/* The node called name, made when there is none. */
struct node *cluster_node_make(struct cluster *c, const char *name);
/* A new object of the node, or NULL. What it says is counted anew where it differs. */
void cluster_node_set(struct cluster *c, struct node *node, const struct object *object);
/* A node without object and pods is forgotten. */
void cluster_node_drop(struct cluster *c, struct node *node);
/* Zones in turn, so that the next so many nodes are spread over all of them. */
void cluster_order(struct cluster *c);

struct pod *cluster_pod(const struct cluster *c, const char *uid);
struct pod *cluster_pod_add(struct cluster *c, const struct object *object);
/* Newer bytes of the same pod. True when its class changed. */
bool cluster_pod_update(struct cluster *c, struct pod *pod, const struct object *object);
/* Not on a node any more, and forgotten. */
void cluster_pod_remove(struct cluster *c, struct pod *pod);
void cluster_place(struct cluster *c, struct pod *pod, struct node *node);
void cluster_displace(struct cluster *c, struct pod *pod);
/* As if pod came to the node (1) or left it (-1), without it being in any list: to look at what
 * would be. Every such call is undone by its opposite. */
void cluster_pretend(struct cluster *c, struct pod *pod, struct node *node, int sign);
/* Whether any pod on a node has less priority. */
bool cluster_has_below(const struct cluster *c, int32_t priority);
int32_t node_least_priority(struct node *node);

struct resource *resource_ref(struct cluster *c, const char *name);
void resource_unref(struct cluster *c, struct resource *r);
struct image *image_ref(struct cluster *c, const char *name);
void image_unref(struct cluster *c, struct image *image);
/* With a tag: "nginx" is "nginx:latest". In the arena. */
const char *image_full_name(struct arena *a, const char *name);

static inline int32_t node_place(const struct node *node, const struct topology *t)
{
	return t->slot < node->n_places ? node->places[t->slot] : -1;
}
