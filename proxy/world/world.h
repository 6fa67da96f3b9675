/* What a proxy believes about the cluster: Services with their endpoints, nodes, and
 * Ingresses with their classes and certificates.
 *
 * Filled from the packed objects that a master sends, kept in memory and in key
 * order, and valid for ever: no master is needed to go on with it. Only what proxies
 * use is kept of each object. A change marks its key; whoever drives services, routes
 * or names takes the marks once per turn. A broken object is refused and the old one stays. One
 * thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/list.h"
#include "common/base/status.h"
#include "common/base/tree.h"
#include "common/api/message.h"
#include "common/ingress/ingress.h"

/* An address of either family in network order; len 0: none. */
struct ip {
	uint8_t len; /* 4 or 16. */
	uint8_t bytes[16];
};

bool ip_parse(const char *text, struct ip *ret);
/* to has INET6_ADDRSTRLEN bytes at least. Returns to. */
const char *ip_print(const struct ip *ip, char *to, size_t size);
bool ip_equal(const struct ip *a, const struct ip *b);

enum protocol { PROTOCOL_TCP = 6, PROTOCOL_UDP = 17, PROTOCOL_SCTP = 132 };

struct service_port {
	char *name; /* "" for the only one. */
	uint8_t protocol;
	uint16_t port, node_port;
};

struct endpoint {
	struct ip ip;
	char *hostname; /* "" for none. */
	char *node;     /* "" for none. */
	/* For whom it is meant (hints of the slice): " a b ", or NULL for everybody. */
	char *zones, *nodes;
	bool ready, serving, terminating;
};

struct slice_port {
	char *name;
	uint8_t protocol;
	uint16_t port;
};

struct slice {
	struct tree_node node;
	char *key; /* namespace/name */
	struct service *service;
	struct list of_service;
	struct endpoint *endpoints;
	size_t n_endpoints;
	struct slice_port *ports;
	size_t n_ports;
	unsigned seen; /* Of world->generation. */
};

/* Exists while there is a Service or a slice that names one. */
struct service {
	struct tree_node node;
	char *key;                    /* namespace/name */
	const char *namespace, *name; /* Parts of a copy of key. */
	char *parts;
	bool exists;                           /* The Service itself is there. */
	bool headless;                         /* clusterIP None. */
	char *external_name;                   /* Not NULL for type ExternalName. */
	struct ip *cluster_ips, *external_ips; /* The latter with those of load balancers. */
	size_t n_cluster_ips, n_external_ips;
	struct service_port *ports;
	size_t n_ports;
	bool local_external, local_internal; /* Traffic policies. */
	bool publish_not_ready;
	uint32_t affinity_s; /* 0: none. */
	struct list slices;  /* struct slice, newest last. */
	unsigned seen;
	struct list dirty; /* In world->dirty. */
	bool routed;       /* An Ingress leads here: a change is one of Ingress, too. */
	void *plan;        /* Of whoever plans it; see on_gone. */
};

struct node {
	struct tree_node node;
	char *name;
	struct ip address; /* Its InternalIP. */
	char *pod_cidr;    /* "" for none. */
	char *zone;        /* Label topology.kubernetes.io/zone; "" for none. */
	unsigned seen;
};

struct world_ingress {
	struct tree_node node;
	char *key; /* namespace/name */
	const char *namespace;
	int64_t created_ns;
	struct ingress rules; /* In the arena. */
	const char *problem;  /* Why it is refused, or NULL. */
	struct arena arena;
	unsigned seen;
};

struct ingress_class {
	struct tree_node node;
	char *name;
	bool ours;
	unsigned seen;
};

/* A Secret of type kubernetes.io/tls. */
struct certificate {
	struct tree_node node;
	char *key;      /* namespace/name */
	struct buf pem; /* Chain and key. */
	unsigned seen;
};

struct pod_port {
	char *name; /* "" for none. */
	uint8_t protocol;
	uint16_t port, host_port; /* The latter 0 for none. */
	struct ip host_ip;        /* len 0: every address of the node. */
};

/* What policies ask about a pod that runs in a network of its own and has an address. */
struct world_pod {
	struct tree_node node;
	char *key;             /* namespace/name */
	const char *namespace; /* In the arena, as the rest. */
	const char *host;      /* Its node. */
	struct ip ips[2];
	size_t n_ips;
	struct string_entry **labels;
	size_t n_labels;
	struct pod_port *ports; /* With a name or a port of the node. */
	size_t n_ports;
	struct arena arena;
	unsigned seen;
};

struct world_namespace {
	struct tree_node node;
	char *name;
	struct string_entry **labels;
	size_t n_labels;
	struct arena arena;
	unsigned seen;
};

struct world_policy {
	struct tree_node node;
	char *key;
	const char *namespace;
	const struct NetworkingV1__NetworkPolicySpec *spec;
	struct arena arena;
	unsigned seen;
};

struct world {
	struct tree services, slices, nodes;
	struct tree ingresses, classes, certificates;
	bool with_ingress; /* Ingresses are asked for. Set it before anything is applied. */
	bool ingress_dirty;
	struct tree pods, namespaces, policies;
	/* Namespaces and all pods are asked for while there is a policy, else the node's own pods
	 * alone; pods_synced: they are all here. */
	bool with_pods, pods_synced, policies_dirty, host_ports_dirty;
	struct list dirty; /* Services. */
	bool nodes_dirty;
	bool synced;                  /* Everything was seen at least once. */
	unsigned generation;          /* Of full answers. */
	struct service *last_visited; /* By world_next_dirty(). */
	/* Called before a service is freed, for what hangs on plan. May be NULL. */
	void (*on_gone)(void *arg, struct service *service);
	void *on_gone_arg;
};

void world_init(struct world *w);
void world_fini(struct world *w);

/* One change of a kind that world_resources() names. packed is NULL for a deletion. EINVAL with a
 * sentence: the object cannot be used. Other resources are passed over. */
int world_apply(struct world *w, const char *resource, const char *namespace, const char *name,
		const struct bytes *packed, struct status *st);
/* A full answer: what is not applied between these two is gone. */
void world_full_begin(struct world *w);
void world_full_end(struct world *w);

enum { WORLD_RESOURCES_MAX = 16 };
/* "services", "endpointslices.discovery.k8s.io", "nodes" and so on, as needed at present; NULL ends
 * them. */
void world_resources(const struct world *w, const char *ret[WORLD_RESOURCES_MAX + 1]);
/* Whether pods and namespaces are asked for changed; then everything is to be asked for anew. */
bool world_wants_change(struct world *w);
struct certificate *world_certificate(const struct world *w, const char *namespace,
				      const char *name);

struct service *world_service(const struct world *w, const char *namespace, const char *name);
/* Take a service from the dirty ones; NULL: none is left. One that neither exists nor has slices
 * is freed by the next call, after its last visit. */
struct service *world_next_dirty(struct world *w);
/* Look at all of them again. */
void world_mark_all(struct world *w);
