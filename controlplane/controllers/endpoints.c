/* The older of the two descriptions of what is behind a Service: one Endpoints
 * object of its name, addresses that serve apart from those that do not. */
#include <stdlib.h>
#include <string.h>

#include "controlplane/controllers/backends.h"

enum { ADDRESSES_MAX = 1000 };

static const char managed_by[] = "endpoints.kubernetes.io/managed-by";
static const char over_capacity[] = "endpoints.kubernetes.io/over-capacity";
static const char headless_label[] = "service.kubernetes.io/headless";

static CoreV1__EndpointAddress *make_address(struct arena *a, const struct backend *b)
{
	CoreV1__EndpointAddress *address =
		make(a, CoreV1__EndpointAddress, core_v1__endpoint_address);

	address->ip = arena_strdup(a, b->pod->ip);
	if (b->hostname != NULL)
		address->hostname = arena_strdup(a, b->hostname);
	if (b->pod->node_name[0] != '\0')
		address->nodename = arena_strdup(a, b->pod->node_name);
	address->targetref = make_pod_reference(a, b->pod->object);
	return address;
}

static CoreV1__EndpointSubset *make_subset(struct arena *a, const struct backends *all,
					   const struct backend_group *g, size_t *room)
{
	CoreV1__EndpointSubset *subset = make(a, CoreV1__EndpointSubset, core_v1__endpoint_subset);

	subset->addresses = arena_array(a, CoreV1__EndpointAddress *, g->n + 1);
	subset->notreadyaddresses = arena_array(a, CoreV1__EndpointAddress *, g->n + 1);
	for (size_t i = 0; i < g->n; i++) {
		const struct backend *b = g->backends[i];

		if ((b->terminating && !all->publish_not_ready) || *room == 0)
			continue;
		(*room)--;
		if (b->ready)
			subset->addresses[subset->n_addresses++] = make_address(a, b);
		else
			subset->notreadyaddresses[subset->n_notreadyaddresses++] =
				make_address(a, b);
	}
	for (size_t i = 0; i < g->n_ports; i++) {
		CoreV1__EndpointPort *p = make(a, CoreV1__EndpointPort, core_v1__endpoint_port);

		if (g->ports[i].name[0] != '\0')
			p->name = arena_strdup(a, g->ports[i].name);
		p->protocol = arena_strdup(a, g->ports[i].protocol);
		make_set(p, port, g->ports[i].port);
		if (g->ports[i].app_protocol != NULL)
			p->appprotocol = arena_strdup(a, g->ports[i].app_protocol);
		make_append(a, subset, ports, p);
	}
	return subset->n_addresses + subset->n_notreadyaddresses > 0 ? subset : NULL;
}

static void set_labels(struct arena *a, MetaV1__ObjectMeta *meta, const CoreV1__Service *service,
		       bool headless)
{
	const MetaV1__ObjectMeta *from = service->metadata;

	meta->n_labels = 0;
	for (size_t i = 0; i < from->n_labels; i++)
		meta_set_label(a, meta, text_of(from->labels[i]->key),
			       text_of(from->labels[i]->value));
	meta_set_label(a, meta, managed_by, "endpoint-controller");
	if (headless)
		meta_set_label(a, meta, headless_label, "");
}

static void reconcile(struct view *v, struct key key, struct intents *intents)
{
	const struct object *service = view_get(v, "services", key.namespace, key.name);
	const struct object *there = view_get(v, "endpoints", key.namespace, key.name);
	struct arena *a = intents->arena;
	size_t room = ADDRESSES_MAX;
	struct backends backends;

	if (service == NULL) {
		if (there != NULL && object_label(there, managed_by) != NULL)
			intend_delete(intents, there, -1, NULL);
		return;
	}
	if (service->facts.deleted_ns != 0)
		return;

	const CoreV1__Service *message = view_message(v, service);

	if (!backends_find(v, service, message, &backends))
		return;

	CoreV1__Endpoints *wanted =
		there ? changed(there, a) : make(a, CoreV1__Endpoints, core_v1__endpoints);
	MetaV1__ObjectMeta *meta = message_metadata_make(wanted, a);

	meta->name = arena_strdup(a, service->name);
	meta->namespace_ = arena_strdup(a, service->namespace);
	set_labels(a, meta, message, backends.headless);
	string_map_set(meta, "annotations", over_capacity,
		       backends.n > ADDRESSES_MAX ? "truncated" : NULL, a);
	wanted->n_subsets = 0;
	for (size_t i = 0; i < backends.n_groups; i++) {
		CoreV1__EndpointSubset *s = make_subset(a, &backends, &backends.groups[i], &room);

		if (s != NULL)
			make_append(a, wanted, subsets, s);
	}
	if (there == NULL)
		intend_create(intents, "endpoints", service->namespace, &wanted->base);
	else if (!message_equal(wanted, view_message(v, there)))
		intend_update(intents, there, &wanted->base);
}

static void on_change(const struct view *v, const struct object *old, const struct object *new,
		      struct keys *keys)
{
	const struct object *o = new ? new : old;

	if (change_is_of(old, new, "services"))
		keys_add_object(keys, old, new);
	else if (change_is_of(old, new, "pods"))
		keys_add_services(keys, v, old, new);
	else if (change_is_of(old, new, "endpoints") && object_label(o, managed_by) != NULL)
		keys_add(keys, o->namespace, o->name);
}

static void seed(const struct view *v, struct keys *keys)
{
	keys_add_all(keys, v, "services", NULL);
	keys_add_all(keys, v, "endpoints", NULL);
}

const struct controller controller_endpoints = {
	.name = "endpoint-controller",
	.on_change = on_change,
	.seed = seed,
	.reconcile = reconcile,
};
