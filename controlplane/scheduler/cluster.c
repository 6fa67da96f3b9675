#include "controlplane/scheduler/cluster.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "controlplane/scheduler/fit.h"

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

struct node *cluster_node(struct cluster *c, const char *name)
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
	array_grow(c->nodes, c->n_nodes, c->cap_nodes);
	memmove(c->nodes + at + 1, c->nodes + at, (c->n_nodes - at) * sizeof(*c->nodes));
	c->nodes[at] = node;
	c->n_nodes++;
	return node;
}

static void node_free(struct node *node)
{
	if (node->object != NULL)
		object_unref((struct object *)node->object);
	free(node->name);
	free(node->ports);
	free(node);
}

void cluster_node_drop(struct cluster *c, struct node *node)
{
	if (node->object != NULL || node->n_pods > 0)
		return;

	size_t at = position(c, node->name);

	assert(c->nodes[at] == node);
	c->n_nodes--;
	memmove(c->nodes + at, c->nodes + at + 1, (c->n_nodes - at) * sizeof(*c->nodes));
	node_free(node);
}

/* --- Groups --------------------------------------------------------------------- */

static struct group *group_of(struct cluster *c, const struct object *pod)
{
	const struct owner_ref *owner = object_controller(pod);

	if (owner == NULL)
		return NULL;

	struct group *g = map_get(&c->groups, owner->uid);

	if (g == NULL) {
		g = xcalloc(1, sizeof(*g));
		g->uid = xstrdup(owner->uid);
		map_put(&c->groups, g->uid, g);
	}
	return g;
}

static void group_free(struct group *g)
{
	free(g->spread);
	free(g->uid);
	free(g);
}

static void group_count(struct cluster *c, struct group *g, struct node *node, int32_t by)
{
	size_t i = 0;

	if (g == NULL)
		return;
	while (i < g->n && g->spread[i].node != node)
		i++;
	if (i == g->n) {
		array_grow(g->spread, g->n, g->cap);
		g->spread[g->n++] = (struct spread){ .node = node };
	}
	g->spread[i].count += by;
	if (g->spread[i].count == 0)
		g->spread[i] = g->spread[--g->n];
	if (g->n == 0) {
		map_remove(&c->groups, g->uid);
		group_free(g);
	}
}

/* --- Pods ------------------------------------------------------------------------- */

struct pod *cluster_pod(const struct cluster *c, const char *uid)
{
	return map_get(&c->pods, uid);
}

struct pod *cluster_pod_add(struct cluster *c, const struct object *object)
{
	struct pod *pod = xcalloc(1, sizeof(*pod));

	pod->object = object_ref(object);
	map_put(&c->pods, object->facts.uid, pod);
	return pod;
}

static void add_room(struct room *to, const struct pod_facts *p, int64_t sign)
{
	to->cpu_milli += sign * p->cpu_milli;
	to->memory_bytes += sign * p->memory_bytes;
	to->ephemeral_bytes += sign * p->ephemeral_bytes;
	to->pods += sign;
	to->scored_cpu_milli += sign * scored_cpu(p);
	to->scored_memory_bytes += sign * scored_memory(p);
}

static void add_ports(struct node *node, const struct object *pod)
{
	const struct pod_facts *p = pod->facts.pod;

	for (size_t i = 0; i < p->n_host_ports; i++) {
		array_grow(node->ports, node->n_ports, node->cap_ports);
		node->ports[node->n_ports++] = (struct port_use){ p->host_ports[i], pod };
	}
}

static void remove_ports(struct node *node, const struct object *pod)
{
	size_t kept = 0;

	for (size_t i = 0; i < node->n_ports; i++)
		if (node->ports[i].pod != pod)
			node->ports[kept++] = node->ports[i];
	node->n_ports = kept;
}

void cluster_place(struct cluster *c, struct pod *pod, struct node *node, enum pod_state state)
{
	assert(pod->node == NULL);
	pod->node = node;
	pod->state = state;
	pod->group = group_of(c, pod->object);
	node->n_pods++;
	c->n_shunning += pod->object->facts.pod->shuns;
	add_room(&node->used, pod->object->facts.pod, 1);
	add_ports(node, pod->object);
	group_count(c, pod->group, node, 1);
}

void cluster_displace(struct cluster *c, struct pod *pod)
{
	struct node *node = pod->node;

	if (node == NULL)
		return;
	group_count(c, pod->group, node, -1);
	remove_ports(node, pod->object);
	add_room(&node->used, pod->object->facts.pod, -1);
	node->n_pods--;
	c->n_shunning -= pod->object->facts.pod->shuns;
	pod->node = NULL;
	pod->group = NULL;
	cluster_node_drop(c, node);
}

void cluster_pod_update(struct cluster *c, struct pod *pod, const struct object *object)
{
	struct node *node = pod->node;
	enum pod_state state = pod->state;

	if (node != NULL)
		node->n_pods++; /* So that the node stays while the pod is swapped. */
	cluster_displace(c, pod);
	object_ref(object);
	object_unref((struct object *)pod->object);
	pod->object = object;
	/* The key of the map is its own copy of the uid. */
	if (node != NULL) {
		node->n_pods--;
		cluster_place(c, pod, node, state);
	}
}

void cluster_pod_remove(struct cluster *c, struct pod *pod)
{
	cluster_displace(c, pod);
	map_remove(&c->pods, pod->object->facts.uid);
	object_unref((struct object *)pod->object);
	free(pod);
}

void cluster_fini(struct cluster *c)
{
	map_for_each (slot, &c->pods) {
		struct pod *pod = slot->value;

		object_unref((struct object *)pod->object);
		free(pod);
	}
	map_for_each (slot, &c->groups)
		group_free(slot->value);
	for (size_t i = 0; i < c->n_nodes; i++)
		node_free(c->nodes[i]);
	free(c->nodes);
	map_fini(&c->pods);
	map_fini(&c->groups);
	*c = (struct cluster){ 0 };
}
