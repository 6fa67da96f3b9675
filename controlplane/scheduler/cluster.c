#include "controlplane/scheduler/cluster.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/make.h"
#include "common/base/alloc.h"
#include "controlplane/scheduler/class.h"
#include "controlplane/scheduler/node_facts.h"
#include "controlplane/scheduler/node_rules.h"
#include "controlplane/scheduler/places.h"
#include "controlplane/scheduler/spaces.h"
#include "controlplane/scheduler/terms.h"

/* --- Names ------------------------------------------------------------------------ */

struct resource *resource_ref(struct cluster *c, const char *name)
{
	uint64_t hash = hash_bytes(name, strlen(name));

	for (struct bag_node *n = bag_first(&c->resources, hash); n; n = bag_next(n)) {
		struct resource *r = container_of(n, struct resource, link);

		if (strcmp(r->name, name) == 0) {
			r->refs++;
			return r;
		}
	}

	struct resource *r = xcalloc(1, sizeof(*r) + strlen(name) + 1);

	r->refs = 1;
	memcpy(r->name, name, strlen(name) + 1);
	bag_add(&c->resources, &r->link, hash);
	return r;
}

void resource_unref(struct cluster *c, struct resource *r)
{
	if (--r->refs > 0)
		return;
	bag_remove(&c->resources, &r->link);
	free(r);
}

const char *image_full_name(struct arena *a, const char *name)
{
	const char *colon = strrchr(name, ':'), *slash = strrchr(name, '/');

	if (colon == NULL || (slash != NULL && colon < slash))
		return arena_printf(a, "%s:latest", name);
	return name;
}

struct image *image_ref(struct cluster *c, const char *name)
{
	uint64_t hash = hash_bytes(name, strlen(name));

	for (struct bag_node *n = bag_first(&c->images, hash); n; n = bag_next(n)) {
		struct image *i = container_of(n, struct image, link);

		if (strcmp(i->name, name) == 0) {
			i->refs++;
			return i;
		}
	}

	struct image *i = xcalloc(1, sizeof(*i) + strlen(name) + 1);

	i->refs = 1;
	memcpy(i->name, name, strlen(name) + 1);
	bag_add(&c->images, &i->link, hash);
	return i;
}

void image_unref(struct cluster *c, struct image *i)
{
	if (--i->refs > 0)
		return;
	bag_remove(&c->images, &i->link);
	free(i);
}

/* --- Nodes -------------------------------------------------------------------- */

/* The first index whose name is not below name. */
static size_t position(const struct cluster *c, const char *name)
{
	size_t low = 0, high = c->n_nodes;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (strcmp(c->nodes[mid]->name, name) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct node *cluster_node(const struct cluster *c, const char *name)
{
	size_t at = position(c, name);

	return at < c->n_nodes && strcmp(c->nodes[at]->name, name) == 0 ? c->nodes[at] : NULL;
}

struct node *cluster_node_make(struct cluster *c, const char *name)
{
	size_t at = position(c, name);

	if (at < c->n_nodes && strcmp(c->nodes[at]->name, name) == 0)
		return c->nodes[at];

	struct node *node = xcalloc(1, sizeof(*node));

	node->name = xstrdup(name);
	node->id = c->n_free_ids > 0 ? c->free_ids[--c->n_free_ids] : c->n_ids++;
	node->version = node->object_version = ++c->version;
	array_grow(c->nodes, c->n_nodes, c->cap_nodes);
	memmove(c->nodes + at + 1, c->nodes + at, (c->n_nodes - at) * sizeof(*c->nodes));
	c->nodes[at] = node;
	c->n_nodes++;
	return node;
}

static void node_free(struct cluster *c, struct node *node)
{
	node_facts_fini(c, node);
	object_unref((struct object *)node->object);
	free(node->name);
	free(node->extended);
	free(node->ports);
	free(node->pods);
	free(node->places);
	free(node->nominated);
	free(node);
}

void cluster_node_drop(struct cluster *c, struct node *node)
{
	if (node->object != NULL || node->n_pods + node->n_nominated + node->held > 0)
		return;

	size_t at = position(c, node->name);

	assert(c->nodes[at] == node);
	c->n_nodes--;
	memmove(c->nodes + at, c->nodes + at + 1, (c->n_nodes - at) * sizeof(*c->nodes));
	array_grow(c->free_ids, c->n_free_ids, c->cap_free_ids);
	c->free_ids[c->n_free_ids++] = node->id;
	node_free(c, node);
}

static void count_pods(struct node *node, int sign)
{
	for (size_t i = 0; i < node->n_pods; i++)
		terms_count(node->pods[i]->class, node->pods[i]->dying, node, sign);
}

void cluster_node_set(struct cluster *c, struct node *node, const struct object *object)
{
	const struct object *before = node->object;
	bool moves = before == NULL || object == NULL || node_rules_move(before, object);

	c->n_real += (object != NULL) - (before != NULL);
	c->order_stale = c->order_stale || moves;
	/* Pods are not counted while the node is nowhere. */
	if (moves) {
		count_pods(node, -1);
		terms_node_leave(c, node);
	}
	node->object = object_ref(object);
	node_facts_read(c, node, before);
	if (moves) {
		terms_node_enter(c, node);
		count_pods(node, 1);
	}
	object_unref((struct object *)before);
	node->version = node->object_version = ++c->version;
}

static const char *zone_of(const struct node *node)
{
	const char *zone = object_label(node->object, "topology.kubernetes.io/zone");

	return zone ? zone : "";
}

struct zone {
	struct node **nodes;
	size_t n, cap, next;
};

void cluster_order(struct cluster *c)
{
	struct map by_zone = { 0 };
	struct zone **zones = NULL;
	size_t n_zones = 0, cap = 0;

	if (!c->order_stale)
		return;
	for (size_t i = 0; i < c->n_nodes; i++) {
		struct node *node = c->nodes[i];
		struct zone *zone = node->object ? map_get(&by_zone, zone_of(node)) : NULL;

		if (node->object == NULL)
			continue;
		if (zone == NULL) {
			zone = xcalloc(1, sizeof(*zone));
			map_put(&by_zone, zone_of(node), zone);
			array_grow(zones, n_zones, cap);
			zones[n_zones++] = zone;
		}
		array_grow(zone->nodes, zone->n, zone->cap);
		zone->nodes[zone->n++] = node;
	}
	c->n_order = 0;
	while (c->n_order < c->n_real)
		for (size_t i = 0; i < n_zones; i++)
			if (zones[i]->next < zones[i]->n) {
				array_grow(c->order, c->n_order, c->cap_order);
				c->order[c->n_order++] = zones[i]->nodes[zones[i]->next++];
			}
	for (size_t i = 0; i < n_zones; i++) {
		free(zones[i]->nodes);
		free(zones[i]);
	}
	free(zones);
	map_fini(&by_zone);
	c->order_stale = false;
	c->order_version++;
}

/* --- What pods take ------------------------------------------------------------------ */

static void add_room(struct room *to, const struct room *asked, int64_t sign)
{
	to->cpu_milli += sign * asked->cpu_milli;
	to->memory_bytes += sign * asked->memory_bytes;
	to->ephemeral_bytes += sign * asked->ephemeral_bytes;
	to->pods += sign * asked->pods;
	to->scored_cpu_milli += sign * asked->scored_cpu_milli;
	to->scored_memory_bytes += sign * asked->scored_memory_bytes;
}

static void add_extended(struct cluster *c, struct node *node, const struct amount *asked, int sign)
{
	size_t i = 0;

	while (i < node->n_extended && node->extended[i].resource != asked->resource)
		i++;
	if (i == node->n_extended) {
		array_grow(node->extended, node->n_extended, node->cap_extended);
		asked->resource->refs++;
		node->extended[node->n_extended++] = (struct amount){ .resource = asked->resource };
	}
	node->extended[i].used += sign * asked->asked;
	if (node->extended[i].used == 0 && node->extended[i].asked == 0) {
		resource_unref(c, node->extended[i].resource);
		node->extended[i] = node->extended[--node->n_extended];
	}
}

static void add_ports(struct node *node, const struct pod *pod)
{
	for (size_t i = 0; i < pod->class->n_ports; i++) {
		array_grow(node->ports, node->n_ports, node->cap_ports);
		node->ports[node->n_ports++] = (struct port_use){ &pod->class->ports[i], pod };
	}
}

static void remove_ports(struct node *node, const struct pod *pod)
{
	size_t kept = 0;

	if (pod->class->n_ports == 0)
		return;
	for (size_t i = 0; i < node->n_ports; i++)
		if (node->ports[i].pod != pod)
			node->ports[kept++] = node->ports[i];
	node->n_ports = kept;
}

void cluster_pretend(struct cluster *c, struct pod *pod, struct node *node, int sign)
{
	const struct class *class = pod->class;

	add_room(&node->used, &class->asked, sign);
	for (size_t i = 0; i < class->n_extended; i++)
		add_extended(c, node, &class->extended[i], sign);
	if (sign > 0)
		add_ports(node, pod);
	else
		remove_ports(node, pod);
	terms_count(class, pod->dying, node, sign);
}

static size_t priority_position(const struct cluster *c, int32_t priority)
{
	size_t low = 0, high = c->n_priorities;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (c->priorities[mid].priority < priority)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static void count_priority(struct cluster *c, int32_t priority, int sign)
{
	size_t at = priority_position(c, priority);

	if (at == c->n_priorities || c->priorities[at].priority != priority) {
		array_grow(c->priorities, c->n_priorities, c->cap_priorities);
		memmove(c->priorities + at + 1, c->priorities + at,
			(c->n_priorities - at) * sizeof(*c->priorities));
		c->priorities[at] = (struct priority_count){ .priority = priority };
		c->n_priorities++;
	}
	c->priorities[at].n += (size_t)sign;
	if (c->priorities[at].n == 0) {
		c->n_priorities--;
		memmove(c->priorities + at, c->priorities + at + 1,
			(c->n_priorities - at) * sizeof(*c->priorities));
	}
}

bool cluster_has_below(const struct cluster *c, int32_t priority)
{
	return c->n_priorities > 0 && c->priorities[0].priority < priority;
}

int32_t node_least_priority(struct node *node)
{
	if (node->priority_version == node->version)
		return node->least_priority;
	node->least_priority = INT32_MAX;
	for (size_t i = 0; i < node->n_pods; i++) {
		int32_t priority = node->pods[i]->priority;

		if (priority < node->least_priority)
			node->least_priority = priority;
	}
	node->priority_version = node->version;
	return node->least_priority;
}

void cluster_place(struct cluster *c, struct pod *pod, struct node *node)
{
	struct class *class = pod->class;

	assert(pod->node == NULL);
	pod->node = node;
	pod->dying = pod->object->facts.deleted_ns != 0;
	array_grow(node->pods, node->n_pods, node->cap_pods);
	pod->at_node = (uint32_t)node->n_pods;
	node->pods[node->n_pods++] = pod;
	array_grow(class->pods, class->n_pods, class->cap_pods);
	pod->at_class = (uint32_t) class->n_pods;
	class->pods[class->n_pods++] = pod;
	cluster_pretend(c, pod, node, 1);
	count_priority(c, pod->priority, 1);
	node->version = ++c->version;
}

void cluster_displace(struct cluster *c, struct pod *pod)
{
	struct node *node = pod->node;
	struct class *class = pod->class;

	if (node == NULL)
		return;
	count_priority(c, pod->priority, -1);
	cluster_pretend(c, pod, node, -1);
	class->pods[pod->at_class] = class->pods[--class->n_pods];
	class->pods[pod->at_class]->at_class = pod->at_class;
	node->pods[pod->at_node] = node->pods[--node->n_pods];
	node->pods[pod->at_node]->at_node = pod->at_node;
	node->version = ++c->version;
	pod->node = NULL;
	cluster_node_drop(c, node);
}

/* --- Pods ----------------------------------------------------------------------------- */

static uint64_t uid_hash(const char *uid)
{
	return hash_bytes(uid, strlen(uid));
}

struct pod *cluster_pod(const struct cluster *c, const char *uid)
{
	for (struct bag_node *n = bag_first(&c->pods, uid_hash(uid)); n; n = bag_next(n)) {
		struct pod *pod = container_of(n, struct pod, link);

		if (strcmp(pod->object->facts.uid, uid) == 0)
			return pod;
	}
	return NULL;
}

struct pod *cluster_pod_add(struct cluster *c, const struct object *object)
{
	struct pod *pod = xcalloc(1, sizeof(*pod));

	pod->object = object_ref(object);
	pod->priority = object->facts.pod->priority;
	pod->class = class_ref(c, object);
	bag_add(&c->pods, &pod->link, uid_hash(object->facts.uid));
	return pod;
}

bool cluster_pod_update(struct cluster *c, struct pod *pod, const struct object *object)
{
	const struct object *before = pod->object;
	struct node *node = pod->node;
	bool same = class_is_same(before, object);
	struct class *class = same ? pod->class : class_ref(c, object), *was = pod->class;
	bool counted =
		node != NULL && (class != was || pod->dying != (object->facts.deleted_ns != 0) ||
				 pod->priority != object->facts.pod->priority);

	if (counted) {
		node->held++; /* So that the node stays while the pod is swapped. */
		cluster_displace(c, pod);
		node->held--;
	}
	pod->object = object_ref(object);
	pod->priority = object->facts.pod->priority;
	pod->class = class;
	if (counted)
		cluster_place(c, pod, node);
	object_unref((struct object *)before);
	if (!same)
		class_unref(c, was);
	return class != was;
}

void cluster_pod_remove(struct cluster *c, struct pod *pod)
{
	cluster_displace(c, pod);
	bag_remove(&c->pods, &pod->link);
	class_unref(c, pod->class);
	object_unref((struct object *)pod->object);
	free(pod);
}

/* --- Life ------------------------------------------------------------------------------ */

void cluster_init(struct cluster *c)
{
	*c = (struct cluster){ .order_stale = true };
	list_init(&c->special);
	arena_init(&c->work, 0);
}

/* Pods are gone by now: whoever owns what waits removes them first. */
void cluster_fini(struct cluster *c)
{
	bag_for_each (pod, &c->pods, struct pod, link)
		cluster_pod_remove(c, pod);
	while (c->n_nodes > 0) {
		struct node *node = c->nodes[c->n_nodes - 1];

		if (node->object != NULL)
			cluster_node_set(c, node, NULL);
		node->n_nominated = 0;
		cluster_node_drop(c, node);
	}
	spaces_fini(c);
	bag_fini(&c->pods);
	bag_fini(&c->classes);
	bag_fini(&c->terms);
	bag_fini(&c->terms_by_label);
	bag_fini(&c->inclusions);
	bag_fini(&c->resources);
	bag_fini(&c->images);
	arena_fini(&c->work);
	free(c->nodes);
	free(c->order);
	free(c->free_ids);
	free(c->topologies);
	free(c->priorities);
	*c = (struct cluster){ 0 };
}
