#include "controlplane/store/view.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/kinds.h"
#include "common/api/message.h"
#include "common/api/pack.h"

/* Messages already unpacked, by the object they are of: a hash table in the arena,
 * doubled when half full. The objects stay as long as the view is used. */

struct view_cache {
	size_t n, cap; /* A power of two. */
	struct cached {
		const struct object *object;
		const void *message;
	} * slots;
};

int64_t view_now_ns(const struct view *v)
{
	return v->now_ns;
}

const struct object *view_get(const struct view *v, const char *resource, const char *namespace,
			      const char *name)
{
	const struct kind *kind = kind_of_resource(resource);

	assert(kind != NULL);
	return store_get(v->store, kind, namespace, name);
}

static struct cached *cache_slot(const struct view_cache *cache, const struct object *o)
{
	size_t at = ((uintptr_t)o >> 4) * 0x9e3779b97f4a7c15ULL >> 20;

	for (;; at++) {
		struct cached *slot = &cache->slots[at & (cache->cap - 1)];

		if (slot->object == o || slot->object == NULL)
			return slot;
	}
}

static void cache_grow(struct view *v)
{
	struct view_cache *old = v->cache, *new = arena_new(v->arena, struct view_cache);

	new->cap = old != NULL ? old->cap * 2 : 16;
	new->slots = arena_array(v->arena, struct cached, new->cap);
	for (size_t i = 0; old != NULL && i < old->cap; i++)
		if (old->slots[i].object != NULL) {
			*cache_slot(new, old->slots[i].object) = old->slots[i];
			new->n++;
		}
	v->cache = new;
}

const void *view_message(struct view *v, const struct object *o)
{
	if (v->cache == NULL || v->cache->n * 2 >= v->cache->cap)
		cache_grow(v);

	struct cached *slot = cache_slot(v->cache, o);

	if (slot->object == NULL) {
		*slot = (struct cached){ o, object_message(o, v->arena) };
		v->cache->n++;
	}
	return slot->message;
}

void *object_message(const struct object *o, struct arena *a)
{
	void *message = unpack_stored(o->kind->descriptor, o->packed, a);
	MetaV1__ObjectMeta *meta = message_metadata_make(message, a);

	meta->resourceversion = arena_printf(a, "%llu", (unsigned long long)o->revision);
	return message;
}

void *view_secret(const struct view *v, const struct object *o, struct arena *a)
{
	struct bytes packed = o->packed;

	if (v->open_secret != NULL)
		packed = v->open_secret(v->open_secret_ctx, o, a);
	return unpack_stored(o->kind->descriptor, packed, a);
}

/* --- Lists ---------------------------------------------------------------------- */

/* A growing array in the view's arena. */
struct found {
	struct arena *arena;
	const void **items;
	size_t n, cap;
	const char *uid; /* Of the controller looked for. */
	const struct label *labels;
	size_t n_labels;
};

static void found_add(struct found *f, const void *item)
{
	if (f->n == f->cap) {
		size_t cap = f->cap > 0 ? f->cap * 2 : 16;
		const void **items = arena_alloc(f->arena, cap * sizeof(*items));

		if (f->n > 0)
			memcpy(items, f->items, f->n * sizeof(*items));
		f->items = items;
		f->cap = cap;
	}
	f->items[f->n++] = item;
}

static bool is_controlled_by(const struct object *o, const char *uid)
{
	const struct owner_ref *owner = object_controller(o);

	return owner != NULL && strcmp(owner->uid, uid) == 0;
}

static bool on_object(void *ctx, const struct object *o)
{
	found_add(ctx, o);
	return true;
}

static bool on_owned(void *ctx, const struct object *o)
{
	struct found *f = ctx;

	if (is_controlled_by(o, f->uid))
		found_add(f, o);
	return true;
}

static bool on_owned_pod(void *ctx, const struct object *o)
{
	struct found *f = ctx;

	if (is_controlled_by(o, f->uid))
		found_add(f, o->facts.pod);
	return true;
}

static bool on_pod(void *ctx, const struct object *o)
{
	found_add(ctx, o->facts.pod);
	return true;
}

static const struct kind *pods(void)
{
	return kind_of_resource("pods");
}

const struct pod_facts *const *view_pods_of(const struct view *v, const char *uid, size_t *ret_n)
{
	struct found f = { .arena = v->arena, .uid = uid };

	store_walk_owned(v->store, pods(), uid, on_owned_pod, &f);
	*ret_n = f.n;
	return (const struct pod_facts *const *)f.items;
}

const struct object *const *view_owned(const struct view *v, const char *resource, const char *uid,
				       size_t *ret_n)
{
	struct found f = { .arena = v->arena, .uid = uid };
	const struct kind *kind = kind_of_resource(resource);

	assert(kind != NULL);
	store_walk_owned(v->store, kind, uid, on_owned, &f);
	*ret_n = f.n;
	return (const struct object *const *)f.items;
}

const struct object *const *view_list(const struct view *v, const char *resource,
				      const char *namespace, size_t *ret_n)
{
	struct found f = { .arena = v->arena };
	const struct kind *kind = kind_of_resource(resource);

	assert(kind != NULL);
	store_walk(v->store, kind, namespace, NULL, NULL, on_object, &f);
	*ret_n = f.n;
	return (const struct object *const *)f.items;
}

const struct pod_facts *const *view_node_pods(const struct view *v, const char *node, size_t *ret_n)
{
	struct found f = { .arena = v->arena };

	store_walk_node_pods(v->store, node, on_pod, &f);
	*ret_n = f.n;
	return (const struct pod_facts *const *)f.items;
}

static bool on_candidate(void *ctx, const struct object *o)
{
	struct found *f = ctx;

	for (size_t i = 0; i < f->n_labels; i++) {
		const char *value = object_label(o, f->labels[i].key);

		if (value == NULL || strcmp(value, f->labels[i].value) != 0)
			return true;
	}
	found_add(f, o->facts.pod);
	return true;
}

const struct pod_facts *const *view_pods_matching(const struct view *v, const char *namespace,
						  const struct label *labels, size_t n_labels,
						  size_t *ret_n)
{
	struct found f = { .arena = v->arena, .labels = labels, .n_labels = n_labels };

	if (n_labels == 0)
		store_walk(v->store, pods(), namespace, NULL, NULL, on_candidate, &f);
	else
		store_walk_label(v->store, pods(), namespace, labels[0].key, labels[0].value,
				 on_candidate, &f);
	*ret_n = f.n;
	return (const struct pod_facts *const *)f.items;
}
