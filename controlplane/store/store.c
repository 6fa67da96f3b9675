#include "controlplane/store/internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/kinds.h"
#include "common/base/alloc.h"
#include "controlplane/store/hash.h"

const struct store_limits store_limits_default = {
	.history_bytes = 16 << 20,
	.history_events = 65536,
	.sessions = 16384,
	.session_results = 4096,
};

static int compare_slots(const void *key, const struct tree_node *node)
{
	const struct object_key *k = key;
	const struct object *o = tree_entry((struct tree_node *)node, struct slot, node)->object;
	int order = strcmp(k->namespace, o->namespace);

	return order != 0 ? order : strcmp(k->name, o->name);
}

struct store *store_create(const struct store_limits *limits)
{
	struct store *s = xcalloc(1, sizeof(*s));

	s->limits = *limits;
	s->objects = xcalloc(kinds_count, sizeof(*s->objects));
	for (size_t i = 0; i < kinds_count; i++)
		tree_init(&s->objects[i], compare_slots);
	index_init(s);
	store_sessions_init(&s->sessions, limits);
	history_init(&s->history, limits);
	s->listeners_end = &s->listeners;
	arena_init(&s->scratch, 0);
	return s;
}

void store_destroy(struct store *s)
{
	if (s == NULL)
		return;
	store_clear(s);
	chain_table_fini(&s->by_key);
	chain_table_fini(&s->by_uid);
	history_fini(&s->history);
	arena_fini(&s->scratch);
	free(s->results);
	free(s->objects);
	free(s);
}

void store_clear(struct store *s)
{
	for (size_t i = 0; i < kinds_count; i++)
		tree_for_each (slot, &s->objects[i], struct slot, node) {
			/* Taken out first: the way to the next one leads over parents. */
			tree_remove(&s->objects[i], &slot->node);
			object_unref(slot->object);
			free(slot->links);
			free(slot);
		}
	for (size_t i = 0; i < kinds_count; i++)
		s->objects[i] = (struct tree){ .compare = compare_slots };
	index_init(s);
	chain_table_fini(&s->by_key);
	chain_table_fini(&s->by_uid);
	store_sessions_clear(&s->sessions);
	s->n_objects = 0;
	s->objects_hash = 0;
	s->revision = 0;
	s->time_ns = 0;
	s->level = 0;
	history_reset(&s->history, 0);
}

uint64_t store_revision(const struct store *s)
{
	return s->revision;
}

int64_t store_time_ns(const struct store *s)
{
	return s->time_ns;
}

uint64_t store_hash(const struct store *s)
{
	uint64_t hash = hash_add_u64(0, s->revision);

	hash = hash_add_u64(hash, (uint64_t)s->time_ns);
	hash = hash_add_u64(hash, s->objects_hash);
	return hash_add_u64(hash, s->sessions.hash);
}

struct tree *store_tree(const struct store *s, const struct kind *kind)
{
	assert(kind >= kinds_all);
	assert(kind < kinds_all + kinds_count);
	return &s->objects[kind - kinds_all];
}

static uint32_t hash_key(const struct kind *kind, const char *namespace, const char *name)
{
	uint64_t hash = hash_add_u64((uint64_t)(kind - kinds_all), 0);

	hash = hash_add_str(hash, namespace);
	hash = hash_add_str(hash, name);
	return (uint32_t)(hash ^ hash >> 32);
}

struct slot *store_slot(const struct store *s, const struct kind *kind, const char *namespace,
			const char *name)
{
	uint32_t hash = hash_key(kind, namespace, name);

	chain_table_for_each (c, &s->by_key, hash) {
		struct slot *slot = container_of(c, struct slot, by_key);
		const struct object *o = slot->object;

		if (o->kind == kind && strcmp(o->name, name) == 0 && strcmp(o->namespace, namespace) == 0)
			return slot;
	}
	return NULL;
}

static void slot_remove(struct store *s, struct slot *slot)
{
	index_remove(s, slot);
	chain_table_remove(&s->by_key, &slot->by_key);
	tree_remove(store_tree(s, slot->object->kind), &slot->node);
	s->objects_hash -= slot->object->hash;
	s->n_objects--;
	object_unref(slot->object);
	free(slot);
}

static void slot_add(struct store *s, struct object *object)
{
	struct object_key key = { object->namespace, object->name };
	struct slot *slot = xcalloc(1, sizeof(*slot));

	slot->object = object;
	struct tree_node *there = tree_insert(store_tree(s, object->kind), &key, &slot->node);

	assert(there == NULL);
	chain_table_add(&s->by_key, &slot->by_key, hash_key(object->kind, object->namespace, object->name));
	index_add(s, slot);
	s->objects_hash += object->hash;
	s->n_objects++;
}

void store_put_slot(struct store *s, struct slot *slot, struct object *object)
{
	if (object == NULL) {
		slot_remove(s, slot);
	} else if (slot == NULL) {
		slot_add(s, object);
	} else {
		struct object *old = slot->object;
		bool same_node, same = index_same(old, object, &same_node);

		if (same && !same_node) {
			index_move(s, slot, object);
		} else if (!same) {
			index_remove(s, slot);
			slot->object = object;
			index_add(s, slot);
		} else {
			slot->object = object;
		}
		s->objects_hash += object->hash - old->hash;
		object_unref(old);
	}
}

const struct object *store_get(const struct store *s, const struct kind *kind,
			       const char *namespace, const char *name)
{
	struct slot *slot = store_slot(s, kind, namespace, name);

	return slot != NULL ? slot->object : NULL;
}

size_t store_count(const struct store *s, const struct kind *kind)
{
	return store_tree(s, kind)->count;
}

/* The first key of a walk; name NULL means the first of its namespace. */
static struct tree_node *walk_begin(const struct tree *t, const char *namespace,
				    const char *after_namespace, const char *after_name)
{
	struct object_key from = { namespace != NULL ? namespace : "", "" };

	if (after_name == NULL)
		return tree_lower_bound(t, &from);
	if (after_namespace != NULL)
		from.namespace = after_namespace;
	from.name = after_name;

	struct tree_node *node = tree_lower_bound(t, &from);

	return node != NULL && compare_slots(&from, node) == 0 ? tree_next(node) : node;
}

void store_walk(const struct store *s, const struct kind *kind, const char *namespace,
		const char *after_namespace, const char *after_name, store_walk_cb *cb, void *ctx)
{
	const struct tree *t = store_tree(s, kind);

	for (struct tree_node *node = walk_begin(t, namespace, after_namespace, after_name);
	     node != NULL; node = tree_next(node)) {
		const struct object *o = tree_entry(node, struct slot, node)->object;

		if (namespace != NULL && strcmp(o->namespace, namespace) != 0)
			return;
		if (!cb(ctx, o))
			return;
	}
}

void store_listen(struct store *s, struct store_listener *listener)
{
	listener->next = NULL;
	*s->listeners_end = listener;
	s->listeners_end = &listener->next;
}

void store_unlisten(struct store *s, struct store_listener *listener)
{
	struct store_listener **at = &s->listeners;

	while (*at != listener)
		at = &(*at)->next;
	*at = listener->next;
	if (s->listeners_end == &listener->next)
		s->listeners_end = at;
}

void store_on_restore(struct store *s, void (*cb)(void *ctx), void *ctx)
{
	assert(s->n_on_restore < RESTORE_LISTENERS_MAX);
	s->on_restore[s->n_on_restore].cb = cb;
	s->on_restore[s->n_on_restore++].ctx = ctx;
}
