#include "proxy/world/world.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "proxy/world/internal.h"

#define OBJECT_BUDGET_BYTES (16u << 20)

static int compare_service(const void *key, const struct tree_node *node)
{
	return strcmp(key, container_of(node, struct service, node)->key);
}

static int compare_slice(const void *key, const struct tree_node *node)
{
	return strcmp(key, container_of(node, struct slice, node)->key);
}

static int compare_node(const void *key, const struct tree_node *node)
{
	return strcmp(key, container_of(node, struct node, node)->name);
}

void world_resources(const struct world *w, const char *ret[WORLD_RESOURCES_MAX + 1])
{
	size_t n = 0;

	ret[n++] = "services";
	ret[n++] = "endpointslices.discovery.k8s.io";
	ret[n++] = "nodes";
	ret[n++] = "networkpolicies.networking.k8s.io";
	if (w->with_ingress) {
		ret[n++] = "ingresses.networking.k8s.io";
		ret[n++] = "ingressclasses.networking.k8s.io";
		ret[n++] = "secrets";
	}
	if (w->with_pods)
		ret[n++] = "namespaces";
	ret[n++] = "pods";
	ret[n] = NULL;
}

void world_init(struct world *w)
{
	*w = (struct world){ 0 };
	tree_init(&w->services, compare_service);
	tree_init(&w->slices, compare_slice);
	tree_init(&w->nodes, compare_node);
	list_init(&w->dirty);
	ingresses_init(w);
	policies_init(w);
}

/* --- Services --------------------------------------------------------------- */

static void mark(struct world *w, struct service *s)
{
	w->ingress_dirty |= s->routed;
	if (list_empty(&s->dirty))
		list_push_back(&w->dirty, &s->dirty);
}

static struct service *service_make(struct world *w, const char *namespace, const char *name)
{
	autofree char *key = xasprintf("%s/%s", namespace, name);
	struct service *s = tree_entry(tree_find(&w->services, key), struct service, node);

	if (s != NULL)
		return s;
	w->ingress_dirty |= w->with_ingress;
	s = xcalloc(1, sizeof(*s));
	s->parts = xstrdup(key);
	s->parts[strlen(namespace)] = '\0';
	s->namespace = s->parts;
	s->name = s->parts + strlen(namespace) + 1;
	s->key = steal_ptr(&key);
	list_init(&s->slices);
	list_init(&s->dirty);
	tree_insert(&w->services, s->key, &s->node);
	return s;
}

static void service_free(struct world *w, struct service *s)
{
	if (w->on_gone != NULL)
		w->on_gone(w->on_gone_arg, s);
	service_clear(s);
	list_remove(&s->dirty);
	tree_remove(&w->services, &s->node);
	free(s->key);
	free(s->parts);
	free(s);
}

static int apply_service(struct world *w, const char *namespace, const char *name,
			 const struct bytes *packed, struct arena *arena, struct status *st)
{
	struct service *s = service_make(w, namespace, name);
	struct service read = { 0 };
	int rc = packed != NULL ? service_read(&read, *packed, arena, st) : 0;

	s->seen = w->generation;
	mark(w, s);
	if (rc < 0)
		return rc;
	service_clear(s);
	s->exists = read.exists;
	s->headless = read.headless;
	s->external_name = read.external_name;
	s->cluster_ips = read.cluster_ips;
	s->n_cluster_ips = read.n_cluster_ips;
	s->external_ips = read.external_ips;
	s->n_external_ips = read.n_external_ips;
	s->ports = read.ports;
	s->n_ports = read.n_ports;
	s->local_external = read.local_external;
	s->local_internal = read.local_internal;
	s->publish_not_ready = read.publish_not_ready;
	s->affinity_s = read.affinity_s;
	return 0;
}

/* --- Slices ----------------------------------------------------------------- */

static void slice_detach(struct world *w, struct slice *slice)
{
	if (slice->service == NULL)
		return;
	list_remove(&slice->of_service);
	mark(w, slice->service);
	slice->service = NULL;
}

static void slice_free(struct world *w, struct slice *slice)
{
	slice_detach(w, slice);
	slice_clear(slice);
	tree_remove(&w->slices, &slice->node);
	free(slice->key);
	free(slice);
}

static struct slice *slice_make(struct world *w, const char *key)
{
	struct slice *slice = tree_entry(tree_find(&w->slices, key), struct slice, node);

	if (slice != NULL)
		return slice;
	slice = xcalloc(1, sizeof(*slice));
	slice->key = xstrdup(key);
	list_init(&slice->of_service);
	tree_insert(&w->slices, slice->key, &slice->node);
	return slice;
}

static int apply_slice(struct world *w, const char *namespace, const char *name,
		       const struct bytes *packed, struct arena *arena, struct status *st)
{
	autofree char *key = xasprintf("%s/%s", namespace, name);
	struct slice *slice = slice_make(w, key);
	const char *service_name = NULL;
	struct slice read = { 0 };
	int rc = packed != NULL ? slice_read(&read, *packed, arena, &service_name, st) : 0;

	slice->seen = w->generation;
	if (rc < 0)
		return rc;
	if (packed == NULL) {
		slice_free(w, slice);
		return 0;
	}
	slice_detach(w, slice);
	slice_clear(slice);
	slice->endpoints = read.endpoints;
	slice->n_endpoints = read.n_endpoints;
	slice->ports = read.ports;
	slice->n_ports = read.n_ports;
	if (service_name == NULL)
		return 0;
	slice->service = service_make(w, namespace, service_name);
	list_push_back(&slice->service->slices, &slice->of_service);
	mark(w, slice->service);
	return 0;
}

/* --- Nodes ------------------------------------------------------------------ */

static void node_free(struct world *w, struct node *n)
{
	w->nodes_dirty = true;
	node_clear(n);
	tree_remove(&w->nodes, &n->node);
	free(n->name);
	free(n);
}

/* Kubelets refresh the status of their Node all the time; only address and range count here. */
static bool node_same(const struct node *a, const struct node *b)
{
	return a->pod_cidr != NULL && strcmp(a->pod_cidr, b->pod_cidr) == 0 &&
	       strcmp(a->zone, b->zone) == 0 && ip_equal(&a->address, &b->address);
}

static int apply_node(struct world *w, const char *name, const struct bytes *packed,
		      struct arena *arena, struct status *st)
{
	struct node *n = tree_entry(tree_find(&w->nodes, name), struct node, node);
	struct node read = { 0 };
	int rc = packed != NULL ? node_read(&read, *packed, arena, st) : 0;

	if (n != NULL)
		n->seen = w->generation;
	if (rc < 0)
		return rc;
	if (packed == NULL) {
		if (n != NULL)
			node_free(w, n);
		return 0;
	}
	if (n == NULL) {
		n = xcalloc(1, sizeof(*n));
		n->name = xstrdup(name);
		tree_insert(&w->nodes, n->name, &n->node);
	}
	w->nodes_dirty |= !node_same(n, &read);
	node_clear(n);
	n->address = read.address;
	n->pod_cidr = read.pod_cidr;
	n->zone = read.zone;
	n->seen = w->generation;
	return 0;
}

/* --- All of it -------------------------------------------------------------- */

int world_apply(struct world *w, const char *resource, const char *namespace, const char *name,
		const struct bytes *packed, struct status *st)
{
	auto_with(arena_fini) struct arena arena = { 0 };

	arena_init(&arena, OBJECT_BUDGET_BYTES);
	if (strcmp(resource, "services") == 0)
		return apply_service(w, namespace, name, packed, &arena, st);
	if (strcmp(resource, "endpointslices.discovery.k8s.io") == 0)
		return apply_slice(w, namespace, name, packed, &arena, st);
	if (strcmp(resource, "nodes") == 0)
		return apply_node(w, name, packed, &arena, st);
	if (strcmp(resource, "ingresses.networking.k8s.io") == 0)
		return apply_ingress(w, namespace, name, packed, &arena, st);
	if (strcmp(resource, "ingressclasses.networking.k8s.io") == 0)
		return apply_class(w, name, packed, &arena, st);
	if (strcmp(resource, "secrets") == 0)
		return apply_certificate(w, namespace, name, packed, &arena, st);
	if (strcmp(resource, "networkpolicies.networking.k8s.io") == 0)
		return apply_policy(w, namespace, name, packed, st);
	if (strcmp(resource, "pods") == 0)
		return apply_pod(w, namespace, name, packed, &arena, st);
	if (strcmp(resource, "namespaces") == 0)
		return apply_namespace(w, name, packed, &arena, st);
	return 0;
}

void world_full_begin(struct world *w)
{
	w->generation++;
}

void world_full_end(struct world *w)
{
	tree_for_each (s, &w->services, struct service, node) {
		if (s->exists && s->seen != w->generation) {
			service_clear(s);
			mark(w, s);
		}
	}
	tree_for_each (slice, &w->slices, struct slice, node) {
		if (slice->seen != w->generation)
			slice_free(w, slice);
	}
	tree_for_each (n, &w->nodes, struct node, node) {
		if (n->seen != w->generation)
			node_free(w, n);
	}
	ingresses_full_end(w);
	policies_full_end(w);
	w->nodes_dirty |= !w->synced;
	w->ingress_dirty |= !w->synced;
	w->synced = true;
}

struct service *world_service(const struct world *w, const char *namespace, const char *name)
{
	autofree char *key = xasprintf("%s/%s", namespace, name);

	return tree_entry(tree_find(&w->services, key), struct service, node);
}

static bool is_gone(const struct service *s)
{
	return !s->exists && list_empty(&s->slices) && list_empty(&s->dirty);
}

struct service *world_next_dirty(struct world *w)
{
	struct service *s;

	if (w->last_visited != NULL && is_gone(w->last_visited))
		service_free(w, w->last_visited);
	w->last_visited = NULL;
	if (list_empty(&w->dirty))
		return NULL;
	s = list_first(&w->dirty, struct service, dirty);
	list_remove(&s->dirty);
	w->last_visited = s;
	return s;
}

void world_mark_all(struct world *w)
{
	tree_for_each (s, &w->services, struct service, node)
		mark(w, s);
}

void world_fini(struct world *w)
{
	tree_for_each (slice, &w->slices, struct slice, node)
		slice_free(w, slice);
	tree_for_each (s, &w->services, struct service, node)
		service_free(w, s);
	tree_for_each (n, &w->nodes, struct node, node)
		node_free(w, n);
	ingresses_fini(w);
	policies_fini(w);
}
