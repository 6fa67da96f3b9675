/* What is behind a Service, in slices of a hundred, so that a change of one pod
 * writes little. Slices of the same ports are filled up: an endpoint stays in
 * the slice it is in, new ones go where there is room. */
#include <stdlib.h>
#include <string.h>

#include "common/api/times.h"
#include "common/base/cleanup.h"
#include "controlplane/controllers/backends.h"
#include "proto/k8s/discovery_v1.pb-c.h"

enum { SLICE_MAX = 100, MIRRORED_MAX = 1000 };

static const char resource[] = "endpointslices.discovery.k8s.io";
static const char service_label[] = "kubernetes.io/service-name";
static const char manager_label[] = "endpointslice.kubernetes.io/managed-by";
static const char headless_label[] = "service.kubernetes.io/headless";
static const char trigger_annotation[] = "endpoints.kubernetes.io/last-change-trigger-time";
static const char last_applied[] = "kubectl.kubernetes.io/last-applied-configuration";
static const char leader_annotation[] = "control-plane.alpha.kubernetes.io/leader";
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
	int64_t trigger_ns; /* When what is told here began to be so. */
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

static bool is_of(const char *ip, const char *family)
{
	return ip[0] != '\0' && (strchr(ip, ':') != NULL) == (strcmp(family, "IPv6") == 0);
}

/* The pod's address of the family, or NULL. */
static const char *address_of(const struct pod_facts *pod, const char *family)
{
	return is_of(pod->ip, family)         ? pod->ip
	       : is_of(pod->other_ip, family) ? pod->other_ip
					      : NULL;
}

static DiscoveryV1__Endpoint *make_endpoint(struct slices *s, const struct backend *b,
					    const char *address, const char *distribution)
{
	struct arena *a = s->intents->arena;
	DiscoveryV1__Endpoint *e = make(a, DiscoveryV1__Endpoint, discovery_v1__endpoint);
	const char *zone = zone_of(s->view, b->pod->node_name);

	make_append(a, e, addresses, arena_strdup(a, address));
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

/* What is wanted, by whom it is about: the pod, or the address where no pod is named. */
struct wanted {
	const char *key;
	DiscoveryV1__Endpoint *endpoint;
	bool *placed;
};

static const char *key_of(const DiscoveryV1__Endpoint *e)
{
	if (e->targetref != NULL)
		return text_of(e->targetref->uid);
	return e->n_addresses > 0 ? text_of(e->addresses[0]) : "";
}

static int compare_key(const void *x, const void *y)
{
	return strcmp(((const struct wanted *)x)->key, ((const struct wanted *)y)->key);
}

static struct wanted *index_wanted(struct arena *a, DiscoveryV1__Endpoint **endpoints, bool *placed,
				   size_t n)
{
	struct wanted *w = arena_array(a, struct wanted, n + 1);

	for (size_t i = 0; i < n; i++)
		w[i] = (struct wanted){ key_of(endpoints[i]), endpoints[i], &placed[i] };
	qsort(w, n, sizeof(*w), compare_key);
	return w;
}

/* One with this key that has no place yet, or NULL. */
static struct wanted *find_wanted(struct wanted *w, size_t n, const char *key)
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(w[middle].key, key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < n && strcmp(w[low].key, key) == 0; low++)
		if (!*w[low].placed)
			return &w[low];
	return NULL;
}

/* Endpoints that stay are replaced in place by what they are now; the others leave. */
static void keep_in_place(struct slice *slice, struct wanted *wanted, size_t n)
{
	DiscoveryV1__EndpointSlice *m = slice->message;
	size_t kept = 0;

	for (size_t i = 0; i < m->n_endpoints; i++) {
		struct wanted *w = find_wanted(wanted, n, key_of(m->endpoints[i]));

		if (w == NULL)
			continue;
		m->endpoints[kept++] = w->endpoint;
		*w->placed = true;
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
	struct wanted *by_key = index_wanted(s->view->arena, wanted, placed, n);
	size_t next = 0;

	for (size_t i = 0; i < s->n; i++) {
		if (s->items[i].kept || !text_is(s->items[i].message->addresstype, family) ||
		    !same_ports(s->items[i].message, ports, n_ports))
			continue;
		s->items[i].kept = true;
		keep_in_place(&s->items[i], by_key, n);
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

static void set_trigger(struct slices *s, MetaV1__ObjectMeta *meta)
{
	char text[TIME_TEXT_MAX];

	if (s->trigger_ns == 0)
		return;
	time_print(s->trigger_ns / NS_PER_S, text);
	meta_set_annotation(s->intents->arena, meta, trigger_annotation, text);
}

static void write_slice(struct slices *s, struct slice *slice)
{
	if (slice->object == NULL) {
		set_trigger(s, slice->message->metadata);
		intend_create(s->intents, resource, s->namespace, &slice->message->base);
	} else if (!message_equal(slice->message, view_message(s->view, slice->object))) {
		set_trigger(s, slice->message->metadata);
		intend_update(s->intents, slice->object, &slice->message->base);
	}
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
		write_slice(s, slice);
	}
}

/* --- Of a selector, and mirrored
 * ------------------------------------------------------------------------ */

/* Pods of a group that have an address of the family. */
static void place_group(struct slices *s, const struct backend_group *g, const char *family,
			const char *distribution)
{
	DiscoveryV1__Endpoint **wanted =
		arena_array(s->view->arena, DiscoveryV1__Endpoint *, g->n + 1);
	size_t n = 0;

	for (size_t i = 0; i < g->n; i++) {
		const struct backend *b = g->backends[i];
		const char *address = address_of(b->pod, family);

		if (address != NULL)
			wanted[n++] = make_endpoint(s, b, address, distribution);
		if (b->pod->ready_since_ns > s->trigger_ns)
			s->trigger_ns = b->pod->ready_since_ns;
	}
	if (n > 0)
		place(s, wanted, n, make_ports(s->intents->arena, g), g->n_ports, family);
}

static void of_selector(struct slices *s, const CoreV1__Service *service, struct backends *b)
{
	static const char *const ipv4[] = { "IPv4" };
	bool named = service->spec->n_ipfamilies > 0;
	const char *const *families = named ? (const char *const *)service->spec->ipfamilies : ipv4;
	size_t n_families = named ? service->spec->n_ipfamilies : array_size(ipv4);

	s->headless = b->headless;
	s->trigger_ns = s->owner->facts.created_ns;
	find_slices(s);
	for (size_t f = 0; f < n_families; f++)
		for (size_t i = 0; i < b->n_groups; i++)
			place_group(s, &b->groups[i], text_of(families[f]),
				    service->spec->trafficdistribution);
	if (s->n == 0)
		new_slice(s, NULL, 0, families[0]);
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

static void mirror_subset(struct slices *s, const CoreV1__EndpointSubset *subset,
			  const char *family, size_t *room)
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

		if (!is_of(text_of(from->ip), family))
			continue;
		wanted[n++] = mirror_address(a, from, ready);
		(*room)--;
	}
	if (n > 0)
		place(s, wanted, n, make_ports(a, &g), g.n_ports, family);
}

/* Annotations go along, too, but for the tools' own. */
static void mirror_annotations(struct slices *s, const MetaV1__ObjectMeta *from)
{
	for (size_t i = 0; i < s->n; i++) {
		MetaV1__ObjectMeta *meta = s->items[i].message->metadata;
		const char *trigger = meta_annotation(meta, trigger_annotation);

		meta->n_annotations = 0;
		if (trigger != NULL)
			meta_set_annotation(s->intents->arena, meta, trigger_annotation, trigger);
		for (size_t k = 0; k < from->n_annotations; k++)
			if (!text_is(from->annotations[k]->key, last_applied) &&
			    !text_is(from->annotations[k]->key, trigger_annotation))
				meta_set_annotation(s->intents->arena, meta,
						    text_of(from->annotations[k]->key),
						    text_of(from->annotations[k]->value));
	}
}

/* Endpoints that somebody wrote for others to find, and not a lock. */
static bool is_mirrored(const struct object *endpoints, const CoreV1__Endpoints *message)
{
	const char *skip = object_label(endpoints, skip_label);

	return endpoints->facts.deleted_ns == 0 && (skip == NULL || strcmp(skip, "true") != 0) &&
	       meta_annotation(message->metadata, leader_annotation) == NULL;
}

static void mirror(struct slices *s)
{
	static const char *const families[] = { "IPv4", "IPv6" };
	const struct object *endpoints = view_get(s->view, "endpoints", s->namespace, s->service);
	const CoreV1__Endpoints *message =
		endpoints != NULL ? view_message(s->view, endpoints) : NULL;
	size_t room = MIRRORED_MAX;

	find_slices(s);
	if (message == NULL || !is_mirrored(endpoints, message)) {
		write_slices(s, NULL, false);
		return;
	}
	s->owner = endpoints;
	for (size_t f = 0; f < array_size(families); f++)
		for (size_t i = 0; i < message->n_subsets; i++)
			mirror_subset(s, message->subsets[i], families[f], &room);
	mirror_annotations(s, message->metadata);
	write_slices(s, message->metadata, false);
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
