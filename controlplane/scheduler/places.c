#include "controlplane/scheduler/places.h"

#include <assert.h>
#include <stdlib.h>

#include "common/api/make.h"
#include "common/base/alloc.h"
#include "controlplane/scheduler/node_rules.h"

/* --- Topologies --------------------------------------------------------------------- */

static void place_leave(struct node *node, struct topology *t)
{
	const char *value = node->object ? object_label(node->object, t->key) : NULL;

	if (node_place(node, t) < 0)
		return;

	struct place *place = map_get(&t->places, value);

	node->places[t->slot] = -1;
	if (--place->nodes > 0)
		return;
	array_grow(t->free_ids, t->n_free, t->cap_free);
	t->free_ids[t->n_free++] = place->id;
	map_remove(&t->places, value);
	free(place);
}

static void place_enter(struct node *node, struct topology *t)
{
	const char *value = node->object ? object_label(node->object, t->key) : NULL;

	if (t->slot >= node->n_places) {
		size_t n = t->slot + 1;

		node->places = xreallocarray(node->places, n, sizeof(*node->places));
		while (node->n_places < n)
			node->places[node->n_places++] = -1;
	}
	if (value == NULL)
		return;

	struct place *place = map_get(&t->places, value);

	if (place == NULL) {
		place = xcalloc(1, sizeof(*place));
		place->id = t->n_free > 0 ? t->free_ids[--t->n_free] : t->n_ids++;
		map_put(&t->places, value, place);
	}
	place->nodes++;
	node->places[t->slot] = (int32_t)place->id;
}

struct topology *topology_ref(struct cluster *c, const char *key)
{
	size_t slot = c->n_topologies;

	for (size_t i = 0; i < c->n_topologies; i++) {
		if (c->topologies[i] == NULL) {
			slot = i < slot ? i : slot;
		} else if (strcmp(c->topologies[i]->key, key) == 0) {
			c->topologies[i]->refs++;
			return c->topologies[i];
		}
	}

	struct topology *t = xcalloc(1, sizeof(*t));

	t->key = xstrdup(key);
	t->slot = (uint32_t)slot;
	t->refs = 1;
	if (slot == c->n_topologies) {
		array_grow(c->topologies, c->n_topologies, c->cap_topologies);
		c->n_topologies++;
	}
	c->topologies[slot] = t;
	for (size_t i = 0; i < c->n_nodes; i++)
		place_enter(c->nodes[i], t);
	return t;
}

void topology_unref(struct cluster *c, struct topology *t)
{
	if (--t->refs > 0)
		return;
	for (size_t i = 0; i < c->n_nodes; i++)
		place_leave(c->nodes[i], t);
	c->topologies[t->slot] = NULL;
	map_fini(&t->places);
	free(t->free_ids);
	free(t->key);
	free(t);
}

/* --- Inclusions ----------------------------------------------------------------------- */

static void inclusion_look(struct inclusion *i, const struct node *node)
{
	const struct object *o = node->object;
	uint64_t bit = UINT64_C(1) << (node->id % 64);
	size_t word = node->id / 64;
	bool counts = o != NULL;

	for (size_t k = 0; counts && k < i->n_labels; k++)
		counts = object_label(o, i->labels[k]) != NULL;
	counts = counts && (i->affinity == NULL || node_rules_affinity(i->affinity, o)) &&
		 (i->taints == NULL || node_rules_taints(i->taints, o->facts.node));
	if (word >= i->n_words) {
		size_t n = word + 1 + word / 2;

		i->nodes = xreallocarray(i->nodes, n, sizeof(*i->nodes));
		memset(i->nodes + i->n_words, 0, (n - i->n_words) * sizeof(*i->nodes));
		i->n_words = n;
	}
	i->nodes[word] = counts ? i->nodes[word] | bit : i->nodes[word] & ~bit;
}

static int compare_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Of spec only what is looked at. */
static CoreV1__PodSpec *only(struct arena *a, const CoreV1__PodSpec *spec, bool affinity)
{
	CoreV1__PodSpec *s = make(a, CoreV1__PodSpec, core_v1__pod_spec);

	if (!affinity) {
		s->tolerations = spec->tolerations;
		s->n_tolerations = spec->n_tolerations;
		return s;
	}
	s->nodeselector = spec->nodeselector;
	s->n_nodeselector = spec->n_nodeselector;
	if (spec->affinity != NULL && spec->affinity->nodeaffinity != NULL) {
		s->affinity = make(a, CoreV1__Affinity, core_v1__affinity);
		s->affinity->nodeaffinity = make(a, CoreV1__NodeAffinity, core_v1__node_affinity);
		s->affinity->nodeaffinity->requiredduringschedulingignoredduringexecution =
			spec->affinity->nodeaffinity
				->requiredduringschedulingignoredduringexecution;
	}
	return s;
}

struct inclusion *inclusion_ref(struct cluster *c, const CoreV1__PodSpec *spec, bool affinity,
				bool taints, char *const *labels, size_t n_labels)
{
	auto_with(buf_fini) struct buf key = { 0 };
	const CoreV1__PodSpec *suits = affinity ? only(&c->work, spec, true) : NULL;
	const CoreV1__PodSpec *tolerates = taints ? only(&c->work, spec, false) : NULL;
	const char **sorted = arena_array(&c->work, const char *, n_labels + 1);

	if (suits != NULL && suits->n_nodeselector == 0 && suits->affinity == NULL)
		suits = NULL;
	for (size_t i = 0; i < n_labels; i++)
		sorted[i] = labels[i];
	if (n_labels > 1)
		qsort(sorted, n_labels, sizeof(*sorted), compare_text);
	key_put_message(&key, &c->work, suits ? &suits->base : NULL);
	key_put_message(&key, &c->work, tolerates ? &tolerates->base : NULL);
	for (size_t i = 0; i < n_labels; i++)
		key_put_str(&key, sorted[i]);

	uint64_t hash = hash_bytes(key.data, key.len);

	for (struct bag_node *n = bag_first(&c->inclusions, hash); n; n = bag_next(n)) {
		struct inclusion *i = container_of(n, struct inclusion, link);

		if (i->key_len == key.len && memcmp(i->key, key.data, key.len) == 0) {
			i->refs++;
			return i;
		}
	}

	struct inclusion *i = xcalloc(1, sizeof(*i));

	i->refs = 1;
	i->key = buf_steal(&key, &i->key_len);
	arena_init(&i->arena, 0);
	i->affinity = suits ? message_copy(suits, &i->arena) : NULL;
	i->taints = tolerates ? message_copy(tolerates, &i->arena) : NULL;
	i->labels = arena_array(&i->arena, const char *, n_labels + 1);
	i->n_labels = n_labels;
	for (size_t k = 0; k < n_labels; k++)
		i->labels[k] = arena_strdup(&i->arena, sorted[k]);
	bag_add(&c->inclusions, &i->link, hash);
	for (size_t k = 0; k < c->n_nodes; k++)
		inclusion_look(i, c->nodes[k]);
	return i;
}

void inclusion_unref(struct cluster *c, struct inclusion *i)
{
	if (i == NULL || --i->refs > 0)
		return;
	bag_remove(&c->inclusions, &i->link);
	arena_fini(&i->arena);
	free(i->key);
	free(i->nodes);
	free(i);
}

/* --- Nodes ------------------------------------------------------------------------------ */

void places_node_enter(struct cluster *c, struct node *node)
{
	for (size_t i = 0; i < c->n_topologies; i++)
		if (c->topologies[i] != NULL)
			place_enter(node, c->topologies[i]);
	bag_for_each (inclusion, &c->inclusions, struct inclusion, link)
		inclusion_look(inclusion, node);
}

void places_node_leave(struct cluster *c, struct node *node)
{
	for (size_t i = 0; i < c->n_topologies; i++)
		if (c->topologies[i] != NULL)
			place_leave(node, c->topologies[i]);
}
