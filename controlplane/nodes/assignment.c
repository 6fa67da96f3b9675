#include "controlplane/nodes/assignment.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/fields.h"
#include "common/api/kinds.h"
#include "common/api/node_digest.h"
#include "common/api/storage_names.h"
#include "common/base/alloc.h"
#include "common/base/arena.h"
#include "common/base/cleanup.h"
#include "controlplane/nodes/needs.h"

/* The kinds an agent may be sent. */
static const char *const assigned[] = { "configmaps", "nodes", "persistentvolumeclaims", "persistentvolumes",
					"pods", "secrets", "services" };

/* --- Holdings ----------------------------------------------------------------- */

struct held_key {
	const char *resource, *namespace, *name;
};

static int held_compare(const void *key, const struct tree_node *node)
{
	const struct held_key *k = key;
	const struct held *o = container_of(node, struct held, node);
	int order = k->resource == o->resource ? 0 : strcmp(k->resource, o->resource);

	if (order == 0)
		order = strcmp(k->namespace, o->namespace);
	return order != 0 ? order : strcmp(k->name, o->name);
}

void holding_init(struct holding *h)
{
	*h = (struct holding){ 0 };
	tree_init(&h->objects, held_compare);
}

static void holding_drop(struct holding *h, struct held *o)
{
	tree_remove(&h->objects, &o->node);
	h->digest -= o->digest;
	free(o);
}

void holding_fini(struct holding *h)
{
	tree_for_each (o, &h->objects, struct held, node)
		holding_drop(h, o);
	holding_init(h);
}

static const char *assigned_resource(const char *resource)
{
	for (size_t i = 0; i < array_size(assigned); i++)
		if (strcmp(assigned[i], resource) == 0)
			return assigned[i];
	return NULL;
}

static struct held *holding_find(const struct holding *h, const char *resource, const char *namespace,
				 const char *name)
{
	struct held_key key = { resource, namespace, name };

	return tree_entry(tree_find(&h->objects, &key), struct held, node);
}

static const char *put_text(char **at, const char *text)
{
	size_t n = strlen(text) + 1;
	char *to = memcpy(*at, text, n);

	*at += n;
	return to;
}

static struct held *holding_add(struct holding *h, const struct held_key *key, const char *uid)
{
	struct held *o = xmalloc(sizeof(*o) + strlen(key->namespace) + strlen(key->name) + strlen(uid) + 3);
	char *at = (char *)(o + 1);

	*o = (struct held){ .resource = key->resource };
	o->namespace = put_text(&at, key->namespace);
	o->name = put_text(&at, key->name);
	o->uid = put_text(&at, uid);
	tree_insert(&h->objects, key, &o->node);
	return o;
}

/* The object is held in this state now; resource is one of assigned. */
static void held_set(struct holding *h, const struct held_key *key, const char *uid, uint64_t revision)
{
	struct held *o = holding_find(h, key->resource, key->namespace, key->name);

	if (o != NULL && strcmp(o->uid, uid) != 0) {
		holding_drop(h, o);
		o = NULL;
	}
	if (o == NULL)
		o = holding_add(h, key, uid);
	o->mark = h->mark;
	o->revision = revision;
	h->digest -= o->digest;
	o->digest = node_digest(o->resource, o->namespace, o->name, o->uid, revision);
	h->digest += o->digest;
}

int holding_put(struct holding *h, const char *resource, const char *namespace, const char *name,
		const char *uid, uint64_t revision)
{
	struct held_key key = { assigned_resource(resource), namespace, name };

	if (key.resource == NULL)
		return -EINVAL;
	held_set(h, &key, uid, revision);
	return 0;
}

/* --- The difference ------------------------------------------------------------- */

struct update {
	struct assignment *a;
	bool complete;
};

/* o should be held: report it unless the node has just this. */
static void want(struct update *u, const struct object *o)
{
	struct assignment *a = u->a;
	struct held_key key = { assigned_resource(o->kind->resource), o->namespace, o->name };
	struct held *h = holding_find(a->held, key.resource, key.namespace, key.name);

	if (h != NULL) {
		bool had = h->mark == a->held->mark;

		h->mark = a->held->mark;
		if (had || (h->revision == o->revision && strcmp(h->uid, o->facts.uid) == 0))
			return;
	}
	if (!u->complete)
		return; /* Over the budget: the next poll gets it. */
	if (o->packed.len >= a->max_bytes)
		u->complete = false;
	else
		a->max_bytes -= o->packed.len;
	a->cb(a->ctx, h, o);
	held_set(a->held, &key, o->facts.uid, o->revision);
}

static bool want_cb(void *ctx, const struct object *o)
{
	want(ctx, o);
	return true;
}

static const char claims[] = "persistentvolumeclaims";
static const char volumes[] = "persistentvolumes";

/* The volume that a claim is bound to: only when both say so. */
static const struct object *volume_of(const struct store *store, const struct object *claim)
{
	auto_with(arena_fini) struct arena arena = { 0 };
	const char *name = "", *uid = "";

	arena_init(&arena, 0);
	field_text(claim->kind->descriptor, claim->packed, "spec.volumeName", &arena, &name);
	const struct object *o = name[0] ? store_get(store, kind_of_resource(volumes), "", name) : NULL;

	if (o != NULL)
		field_text(o->kind->descriptor, o->packed, "spec.claimRef.uid", &arena, &uid);
	return strcmp(uid, claim->facts.uid) == 0 ? o : NULL;
}

/* Its folder is the node's to remove: nobody uses it any more. */
static bool is_leftover(const struct object *volume, const char *node)
{
	const char *where = object_label(volume, LOCAL_PATH_NODE);

	return volume->facts.deleted_ns != 0 && where != NULL && strcmp(where, node) == 0 &&
	       object_has_finalizer(volume, LOCAL_PATH_FINALIZER) &&
	       !object_has_finalizer(volume, PV_PROTECTION);
}

static bool want_leftover(void *ctx, const struct object *volume)
{
	struct update *u = ctx;

	if (is_leftover(volume, u->a->node))
		want(u, volume);
	return true;
}

/* A claim comes after its volume. */
static void want_with_volume(struct update *u, const struct object *o)
{
	const struct object *volume =
		strcmp(o->kind->resource, claims) == 0 ? volume_of(u->a->store, o) : NULL;

	if (volume != NULL)
		want(u, volume);
	want(u, o);
}

static void want_need(struct update *u, struct need *need)
{
	const struct kind *kind = kind_of_resource(need->resource);

	need->mark = u->a->needs->mark;
	need->fresh = false;
	if (need->name == NULL) {
		store_walk(u->a->store, kind, need->namespace, NULL, NULL, want_cb, u);
		return;
	}
	const struct object *o = store_get(u->a->store, kind, need->namespace, need->name);
	if (o != NULL)
		want_with_volume(u, o);
}

/* What the pod needs goes first: an agent that gets the pod can start it. */
static bool want_pod(void *ctx, const struct object *pod)
{
	struct update *u = ctx;
	const struct pod_needs *p = needs_of(u->a->needs, pod, NULL, NULL);

	for (size_t i = 0; i < p->n; i++)
		if (p->items[i]->mark != u->a->needs->mark)
			want_need(u, p->items[i]);
	want(u, pod);
	return true;
}

static void forget(struct update *u, struct held *h)
{
	u->a->cb(u->a->ctx, h, NULL);
	holding_drop(u->a->held, h);
}

static void forget_rest(struct update *u)
{
	tree_for_each (h, &u->a->held->objects, struct held, node)
		if (h->mark != u->a->held->mark)
			forget(u, h);
}

static const struct object *api_service(const struct store *store)
{
	return store_get(store, kind_of_resource("services"), "default", "kubernetes");
}

bool assignment_update(struct assignment *a)
{
	struct update u = { .a = a, .complete = true };
	const struct object *node = store_get(a->store, kind_of_resource("nodes"), "", a->node);
	const struct object *api = api_service(a->store);

	a->held->mark++;
	a->needs->mark++;
	if (node != NULL)
		want(&u, node);
	if (api != NULL)
		want(&u, api);
	store_walk_node_pods(a->store, a->node, want_pod, &u);
	store_walk_label(a->store, kind_of_resource(volumes), NULL, LOCAL_PATH_NODE, a->node,
			 want_leftover, &u);
	/* An interrupted computation has not marked everything: nothing is forgotten on its word. */
	if (u.complete)
		forget_rest(&u);
	needs_sweep(a->needs);
	return u.complete;
}

/* --- One object --------------------------------------------------------------------- */

static bool is_wanted_volume(const struct assignment *a, const struct object *o)
{
	auto_with(arena_fini) struct arena arena = { 0 };
	const char *namespace = "", *name = "";
	const struct object *claim;

	if (is_leftover(o, a->node))
		return true;
	if (!needs_name(a->needs, o))
		return false;
	arena_init(&arena, 0);
	field_text(o->kind->descriptor, o->packed, "spec.claimRef.namespace", &arena, &namespace);
	field_text(o->kind->descriptor, o->packed, "spec.claimRef.name", &arena, &name);
	claim = store_get(a->store, kind_of_resource(claims), namespace, name);
	return claim != NULL && volume_of(a->store, claim) == o;
}

static bool is_wanted(const struct assignment *a, const struct object *o)
{
	if (strcmp(o->kind->resource, volumes) == 0)
		return is_wanted_volume(a, o);
	if (o->facts.pod != NULL)
		return strcmp(o->facts.pod->node_name, a->node) == 0;
	if (o->facts.node != NULL)
		return strcmp(o->name, a->node) == 0;
	return needs_name(a->needs, o);
}

/* Volumes go with the claims that led to them. */
static void forget_volumes(struct update *u)
{
	struct held_key key = { assigned_resource(volumes), "", "" };
	struct tree_node *node = tree_lower_bound(&u->a->held->objects, &key), *next;

	for (; node != NULL; node = next) {
		struct held *h = container_of(node, struct held, node);
		const struct object *o;

		next = tree_next(node);
		if (h->resource != key.resource)
			return;
		o = store_get(u->a->store, kind_of_resource(volumes), "", h->name);
		if (o == NULL || !is_wanted(u->a, o))
			forget(u, h);
	}
}

/* Nobody names it any more. */
static void on_need_gone(void *ctx, const struct need *need)
{
	struct update *u = ctx;
	struct held_key key = { assigned_resource(need->resource), need->namespace, need->name ? need->name : "" };
	struct tree_node *node, *next;

	if (strcmp(need->resource, claims) == 0)
		forget_volumes(u);
	node = tree_lower_bound(&u->a->held->objects, &key);
	for (; node != NULL; node = next) {
		struct held *h = container_of(node, struct held, node);
		const struct object *o;

		next = tree_next(node);
		if (h->resource != key.resource || strcmp(h->namespace, need->namespace) != 0 ||
		    (need->name != NULL && strcmp(h->name, need->name) != 0))
			return;
		o = store_get(u->a->store, kind_of_resource(h->resource), h->namespace, h->name);
		if (o == NULL || !is_wanted(u->a, o))
			forget(u, h);
	}
}

static void look_at_pod(struct update *u, const struct object *pod)
{
	const struct pod_needs *p = needs_of(u->a->needs, pod, on_need_gone, u);

	for (size_t i = 0; i < p->n; i++)
		if (p->items[i]->fresh)
			want_need(u, p->items[i]);
	want(u, pod);
}

bool assignment_look(struct assignment *a, const struct kind *kind, const char *namespace, const char *name)
{
	struct update u = { .a = a, .complete = true };
	const struct object *o = store_get(a->store, kind, namespace, name);
	struct held *h = holding_find(a->held, assigned_resource(kind->resource), namespace, name);

	a->held->mark++;
	if (o != NULL && !is_wanted(a, o))
		o = NULL;
	if (h != NULL && o == NULL) {
		autofree char *uid = xstrdup(h->uid);

		forget(&u, h);
		needs_drop(a->needs, uid, on_need_gone, &u);
	} else if (h != NULL && strcmp(h->uid, o->facts.uid) != 0) {
		/* Another pod of this name. */
		needs_drop(a->needs, h->uid, on_need_gone, &u);
	}
	if (strcmp(kind->resource, claims) == 0)
		forget_volumes(&u); /* It may lead to another one now, or to none. */
	if (o != NULL && o->facts.pod != NULL)
		look_at_pod(&u, o);
	else if (o != NULL)
		want_with_volume(&u, o);
	return u.complete;
}
