/* What is behind a Service, in slices of a hundred, so that a change of one pod
 * writes little. Slices of the same ports are filled up: an endpoint stays in
 * the slice it is in, new ones go where there is room. */
#include <stdlib.h>
#include <string.h>

#include "controlplane/controllers/backends.h"
#include "proto/k8s/discovery_v1.pb-c.h"

enum { SLICE_MAX = 100, MIRRORED_MAX = 1000 };

static const char resource[] = "endpointslices.discovery.k8s.io";
static const char service_label[] = "kubernetes.io/service-name";
static const char manager_label[] = "endpointslice.kubernetes.io/managed-by";
static const char headless_label[] = "service.kubernetes.io/headless";
static const char skip_label[] = "endpointslice.kubernetes.io/skip-mirror";
static const char manager[] = "endpointslice-controller.k8s.io";
static const char mirror_manager[] = "endpointslicemirroring-controller.k8s.io";

/* --- The slices there are ------------------------------------------------------------------ */

struct slice {
	const struct object *object; /* NULL: to be made. */
	DiscoveryV1__EndpointSlice *message;
	bool kept; /* Its ports are still wanted. */
};

struct slices {
	struct view *view;
	struct intents *intents;
	const char *namespace, *service;
	const struct object *owner;
	const char *manager;
	bool headless;
	struct slice *items;
	size_t n, cap;
};

static struct slice *add_slice(struct slices *s, const struct object *o,
			       DiscoveryV1__EndpointSlice *message)
{
	if (s->n == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 8;
		struct slice *grown = arena_array(s->view->arena, struct slice, cap);

		if (s->n > 0)
			memcpy(grown, s->items, s->n * sizeof(*grown));
		s->items = grown;
		s->cap = cap;
	}
	s->items[s->n] = (struct slice){ .object = o, .message = message };
	return &s->items[s->n++];
}

static bool on_slice(void *ctx, const struct object *o)
{
	struct slices *s = ctx;
	const char *by = object_label(o, manager_label);

	if (by != NULL && strcmp(by, s->manager) == 0 && o->facts.deleted_ns == 0)
		add_slice(s, o, changed(o, s->intents->arena));
	return true;
}

static void find_slices(struct slices *s)
{
	store_walk_label(s->view->store, kind_of_resource(resource), s->namespace, service_label,
			 s->service, on_slice, s);
}

/* --- Endpoints and ports --------------------------------------------------------------------- */

static DiscoveryV1__EndpointPort **make_ports(struct arena *a, const struct backend_group *g)
{
	DiscoveryV1__EndpointPort **ports =
		arena_array(a, DiscoveryV1__EndpointPort *, g->n_ports + 1);

	for (size_t i = 0; i < g->n_ports; i++) {
		DiscoveryV1__EndpointPort *p =
			make(a, DiscoveryV1__EndpointPort, discovery_v1__endpoint_port);

		p->name = arena_strdup(a, g->ports[i].name);
		p->protocol = arena_strdup(a, g->ports[i].protocol);
		make_set(p, port, g->ports[i].port);
		if (g->ports[i].app_protocol != NULL)
			p->appprotocol = arena_strdup(a, g->ports[i].app_protocol);
		ports[i] = p;
	}
	return ports;
}

static bool same_ports(const DiscoveryV1__EndpointSlice *slice, DiscoveryV1__EndpointPort **ports,
		       size_t n)
{
	if (slice->n_ports != n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!message_equal(slice->ports[i], ports[i]))
			return false;
	return true;
}

static const char *zone_of(struct view *v, const char *node)
{
	const struct object *o = node[0] ? view_get(v, "nodes", "", node) : NULL;

	return o ? object_label(o, "topology.kubernetes.io/zone") : NULL;
}

/* Where clients of this endpoint should come from. */
static DiscoveryV1__EndpointHints *make_hints(struct arena *a, const char *distribution,
					      const char *node, const char *zone)
{
	DiscoveryV1__EndpointHints *hints =
		make(a, DiscoveryV1__EndpointHints, discovery_v1__endpoint_hints);

	if (zone != NULL && zone[0] != '\0') {
		DiscoveryV1__ForZone *z = make(a, DiscoveryV1__ForZone, discovery_v1__for_zone);

		z->name = arena_strdup(a, zone);
		make_append(a, hints, forzones, z);
	}
	if (text_is(distribution, "PreferSameNode") && node[0] != '\0') {
		DiscoveryV1__ForNode *n = make(a, DiscoveryV1__ForNode, discovery_v1__for_node);

		n->name = arena_strdup(a, node);
		make_append(a, hints, fornodes, n);
	}
	return hints->n_forzones + hints->n_fornodes > 0 ? hints : NULL;
}

static DiscoveryV1__Endpoint *make_endpoint(struct slices *s, const struct backend *b,
					    const char *distribution)
{
	struct arena *a = s->intents->arena;
	DiscoveryV1__Endpoint *e = make(a, DiscoveryV1__Endpoint, discovery_v1__endpoint);
	const char *zone = zone_of(s->view, b->pod->node_name);

	make_append(a, e, addresses, arena_strdup(a, b->pod->ip));
	e->conditions = make(a, DiscoveryV1__EndpointConditions, discovery_v1__endpoint_conditions);
	make_set(e->conditions, ready, b->ready);
	make_set(e->conditions, serving, b->serving);
	make_set(e->conditions, terminating, b->terminating);
	if (b->hostname != NULL)
		e->hostname = arena_strdup(a, b->hostname);
	if (b->pod->node_name[0] != '\0')
		e->nodename = arena_strdup(a, b->pod->node_name);
	if (zone != NULL)
		e->zone = arena_strdup(a, zone);
	e->targetref = make_pod_reference(a, b->pod->object);
	if (!text_empty(distribution) && b->ready)
		e->hints = make_hints(a, distribution, b->pod->node_name, zone);
	return e;
}

/* --- Putting endpoints into slices ---------------------------------------------------------------
 */

/* Same pod, or the same address where no pod is named. */
static bool same_endpoint(const DiscoveryV1__Endpoint *a, const DiscoveryV1__Endpoint *b)
{
	if (a->targetref != NULL && b->targetref != NULL)
		return text_is(a->targetref->uid, text_of(b->targetref->uid));
	return a->n_addresses > 0 && b->n_addresses > 0 &&
	       text_is(a->addresses[0], text_of(b->addresses[0]));
}

/* Endpoints that stay are replaced in place by what they are now; the others leave. */
static void keep_in_place(struct slice *slice, DiscoveryV1__Endpoint **wanted, bool *placed,
			  size_t n)
{
	DiscoveryV1__EndpointSlice *m = slice->message;
	size_t kept = 0;

	for (size_t i = 0; i < m->n_endpoints; i++) {
		for (size_t k = 0; k < n; k++) {
			if (placed[k] || !same_endpoint(m->endpoints[i], wanted[k]))
				continue;
			m->endpoints[kept++] = wanted[k];
			placed[k] = true;
			break;
		}
	}
	m->n_endpoints = kept;
}

static struct slice *new_slice(struct slices *s, DiscoveryV1__EndpointPort **ports, size_t n_ports,
			       const char *family)
{
	struct arena *a = s->intents->arena;
	DiscoveryV1__EndpointSlice *m =
		make(a, DiscoveryV1__EndpointSlice, discovery_v1__endpoint_slice);
	MetaV1__ObjectMeta *meta = message_metadata_make(m, a);

	meta->generatename = arena_printf(a, "%s-", s->service);
	meta->name = free_name(s->view, a, resource, s->namespace, meta->generatename,
			       s->owner->facts.uid, s->n);
	meta->namespace_ = arena_strdup(a, s->namespace);
	make_append(a, meta, ownerreferences, make_owner(a, s->owner));
	m->addresstype = arena_strdup(a, family);
	m->ports = ports;
	m->n_ports = n_ports;

	struct slice *slice = add_slice(s, NULL, m);

	slice->kept = true;
	return slice;
}

static void place(struct slices *s, DiscoveryV1__Endpoint **wanted, size_t n,
		  DiscoveryV1__EndpointPort **ports, size_t n_ports, const char *family)
{
	bool *placed = arena_array(s->view->arena, bool, n + 1);
	size_t next = 0;

	for (size_t i = 0; i < s->n; i++) {
		if (s->items[i].kept || !text_is(s->items[i].message->addresstype, family) ||
		    !same_ports(s->items[i].message, ports, n_ports))
			continue;
		s->items[i].kept = true;
		keep_in_place(&s->items[i], wanted, placed, n);
		/* Others with these ports may have room as well: marked by the same pointer. */
		s->items[i].message->ports = ports;
	}
	for (size_t i = 0; next < n; next++) {
		if (placed[next])
			continue;
		while (i < s->n && !(s->items[i].kept && s->items[i].message->ports == ports &&
				     s->items[i].message->n_endpoints < SLICE_MAX))
			i++;
		if (i == s->n)
			new_slice(s, ports, n_ports, family);
		make_append(s->intents->arena, s->items[i].message, endpoints, wanted[next]);
	}
}

/* --- Writing
 * ----------------------------------------------------------------------------------------- */

static void set_labels(struct slices *s, MetaV1__ObjectMeta *meta, const MetaV1__ObjectMeta *from)
{
	struct arena *a = s->intents->arena;

	meta->n_labels = 0;
	for (size_t i = 0; from != NULL && i < from->n_labels; i++)
		meta_set_label(a, meta, text_of(from->labels[i]->key),
			       text_of(from->labels[i]->value));
	meta_set_label(a, meta, service_label, s->service);
	meta_set_label(a, meta, manager_label, s->manager);
	if (s->headless)
		meta_set_label(a, meta, headless_label, "");
}

/* A Service without backends has one empty slice, which says that somebody looked. */
static void write_slices(struct slices *s, const MetaV1__ObjectMeta *labels, bool placeholder)
{
	size_t full = 0;

	for (size_t i = 0; i < s->n; i++)
		full += s->items[i].message->n_endpoints > 0 && s->items[i].kept;
	for (size_t i = 0, spare = placeholder && full == 0; i < s->n; i++) {
		struct slice *slice = &s->items[i];
		bool empty = slice->message->n_endpoints == 0 || !slice->kept;

		if (empty && spare > 0) {
			spare = 0;
			slice->message->n_endpoints = 0;
			slice->message->n_ports = slice->kept ? slice->message->n_ports : 0;
		} else if (empty) {
			if (slice->object != NULL)
				intend_delete(s->intents, slice->object, -1, NULL);
			continue;
		}
		set_labels(s, slice->message->metadata, labels);
		if (slice->object == NULL)
			intend_create(s->intents, resource, s->namespace, &slice->message->base);
		else if (!message_equal(slice->message, view_message(s->view, slice->object)))
			intend_update(s->intents, slice->object, &slice->message->base);
	}
}

/* --- Of a selector, and mirrored
 * ------------------------------------------------------------------------ */

static void of_selector(struct slices *s, const CoreV1__Service *service, struct backends *b)
{
	s->headless = b->headless;
	find_slices(s);
	for (size_t i = 0; i < b->n_groups; i++) {
		struct backend_group *g = &b->groups[i];
		DiscoveryV1__Endpoint **wanted =
			arena_array(s->view->arena, DiscoveryV1__Endpoint *, g->n + 1);

		for (size_t k = 0; k < g->n; k++)
			wanted[k] = make_endpoint(s, g->backends[k],
						  service->spec->trafficdistribution);
		place(s, wanted, g->n, make_ports(s->intents->arena, g), g->n_ports, "IPv4");
	}
	if (s->n == 0)
		new_slice(s, NULL, 0, "IPv4");
	write_slices(s, service->metadata, true);
}

static DiscoveryV1__Endpoint *mirror_address(struct arena *a, const CoreV1__EndpointAddress *from,
					     bool ready)
{
	DiscoveryV1__Endpoint *e = make(a, DiscoveryV1__Endpoint, discovery_v1__endpoint);

	make_append(a, e, addresses, arena_strdup(a, text_of(from->ip)));
	e->conditions = make(a, DiscoveryV1__EndpointConditions, discovery_v1__endpoint_conditions);
	make_set(e->conditions, ready, ready);
	e->hostname = from->hostname;
	e->nodename = from->nodename;
	e->targetref = from->targetref;
	return e;
}

static void mirror_subset(struct slices *s, const CoreV1__EndpointSubset *subset, size_t *room)
{
	struct arena *a = s->intents->arena;
	size_t n_all = subset->n_addresses + subset->n_notreadyaddresses, n = 0;
	DiscoveryV1__Endpoint **wanted = arena_array(a, DiscoveryV1__Endpoint *, n_all + 1);
	struct backend_group g = {
		.ports = arena_array(a, struct backend_port, subset->n_ports + 1),
		.n_ports = subset->n_ports,
	};

	for (size_t i = 0; i < subset->n_ports; i++)
		g.ports[i] = (struct backend_port){
			.name = text_of(subset->ports[i]->name),
			.protocol = text_of(subset->ports[i]->protocol),
			.app_protocol = subset->ports[i]->appprotocol,
			.port = subset->ports[i]->port,
		};
	for (size_t i = 0; i<n_all && * room> 0; i++) {
		bool ready = i < subset->n_addresses;
		const CoreV1__EndpointAddress *from =
			ready ? subset->addresses[i]
			      : subset->notreadyaddresses[i - subset->n_addresses];

		if (strchr(text_of(from->ip), ':') != NULL)
			continue; /* The cluster speaks IPv4. */
		wanted[n++] = mirror_address(a, from, ready);
		(*room)--;
	}
	place(s, wanted, n, make_ports(a, &g), g.n_ports, "IPv4");
}

static void mirror(struct slices *s)
{
	const struct object *endpoints = view_get(s->view, "endpoints", s->namespace, s->service);
	size_t room = MIRRORED_MAX;
	const CoreV1__Endpoints *message = NULL;

	find_slices(s);
	if (endpoints != NULL && endpoints->facts.deleted_ns == 0 &&
	    object_label(endpoints, skip_label) == NULL) {
		message = view_message(s->view, endpoints);
		s->owner = endpoints;
	}
	for (size_t i = 0; message != NULL && i < message->n_subsets; i++)
		mirror_subset(s, message->subsets[i], &room);
	write_slices(s, message ? message->metadata : NULL, false);
}

/* --- The controller
 * ------------------------------------------------------------------------------------- */

static void reconcile(struct view *v, struct key key, struct intents *intents)
{
	const struct object *service = view_get(v, "services", key.namespace, key.name);
	struct slices s = {
		.view = v,
		.intents = intents,
		.namespace = key.namespace,
		.service = key.name,
		.owner = service,
		.manager = manager,
	};
	struct backends backends;

	if (service == NULL || service->facts.deleted_ns != 0)
		return; /* The garbage collector follows the owner references. */

	const CoreV1__Service *message = view_message(v, service);

	if (backends_find(v, service, message, &backends)) {
		of_selector(&s, message, &backends);
		return;
	}
	if (message->spec != NULL && text_is(message->spec->type, "ExternalName"))
		return;
	s.manager = mirror_manager;
	mirror(&s);
}

static void on_change(const struct view *v, const struct object *old, const struct object *new,
		      struct keys *keys)
{
	const struct object *o = new ? new : old;

	if (change_is_of(old, new, "services") || change_is_of(old, new, "endpoints")) {
		keys_add(keys, o->namespace, o->name);
	} else if (change_is_of(old, new, "pods")) {
		keys_add_services(keys, v, old, new);
	} else if (change_is_of(old, new, resource)) {
		const char *service = object_label(o, service_label);

		if (service != NULL)
			keys_add(keys, o->namespace, service);
	}
}

static void seed(const struct view *v, struct keys *keys)
{
	keys_add_all(keys, v, "services", NULL);
}

const struct controller controller_endpointslice = {
	.name = "endpointslice-controller",
	.on_change = on_change,
	.seed = seed,
	.reconcile = reconcile,
};
