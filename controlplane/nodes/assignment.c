#include "controlplane/nodes/assignment.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/kinds.h"
#include "common/api/node_digest.h"
#include "common/api/pack.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/arena.h"
#include "proto/k8s/core_v1.pb-c.h"

/* The kinds an agent may be sent. */
static const char *const assigned[] = { "configmaps", "nodes", "pods", "secrets", "services" };

struct ref {
	const char *resource;
	char *name; /* NULL: every object of the resource in the namespace. */
};

struct pod_refs {
	char *namespace;
	int64_t generation;
	uint64_t mark;
	struct ref *refs;
	size_t n_refs, cap_refs;
};

/* --- Holdings ----------------------------------------------------------------- */

static int held_compare(const void *key, const struct tree_node *node)
{
	return strcmp(key, container_of(node, struct held, node)->key);
}

void holding_init(struct holding *h)
{
	*h = (struct holding){ 0 };
	tree_init(&h->objects, held_compare);
}

static void held_free(struct held *o)
{
	free(o->key);
	free(o->namespace);
	free(o->name);
	free(o->uid);
	free(o);
}

static void holding_drop(struct holding *h, struct held *o)
{
	tree_remove(&h->objects, &o->node);
	h->digest -= o->digest;
	held_free(o);
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

static void held_set(struct holding *h, struct held *o, const char *uid, uint64_t revision)
{
	if (o->uid == NULL || strcmp(o->uid, uid) != 0) {
		free(o->uid);
		o->uid = xstrdup(uid);
	}
	o->revision = revision;
	h->digest -= o->digest;
	o->digest = node_digest(o->resource, o->namespace, o->name, o->uid, revision);
	h->digest += o->digest;
}

static struct held *holding_add(struct holding *h, const char *key, const char *resource,
				const char *namespace, const char *name)
{
	struct held *o = xcalloc(1, sizeof(*o));

	o->key = xstrdup(key);
	o->resource = resource;
	o->namespace = xstrdup(namespace);
	o->name = xstrdup(name);
	tree_insert(&h->objects, o->key, &o->node);
	return o;
}

static char *held_key(char *to, size_t size, const char *resource, const char *namespace,
		      const char *name)
{
	snprintf(to, size, "%s/%s/%s", resource, namespace, name);
	return to;
}

/* Names are DNS names of 253 characters at most; what comes from an agent may be longer and is cut,
 * which only makes it unknown. */
#define KEY_BYTES 640

int holding_put(struct holding *h, const char *resource, const char *namespace, const char *name,
		const char *uid, uint64_t revision)
{
	const char *known = assigned_resource(resource);
	char key[KEY_BYTES];

	if (known == NULL)
		return -EINVAL;
	held_key(key, sizeof(key), known, namespace, name);
	struct held *o = tree_entry(tree_find(&h->objects, key), struct held, node);
	if (o == NULL)
		o = holding_add(h, key, known, namespace, name);
	held_set(h, o, uid, revision);
	return 0;
}

/* --- What a pod names ------------------------------------------------------------ */

static void refs_add(struct pod_refs *r, const char *resource, const char *name)
{
	if (name != NULL && name[0] == '\0')
		return;
	for (size_t i = 0; i < r->n_refs; i++)
		if (r->refs[i].resource == resource &&
		    (name == NULL) == (r->refs[i].name == NULL) &&
		    (name == NULL || strcmp(r->refs[i].name, name) == 0))
			return;
	array_grow(r->refs, r->n_refs, r->cap_refs);
	r->refs[r->n_refs++] = (struct ref){ resource, name ? xstrdup(name) : NULL };
}

static const char *const secrets = "secrets";
static const char *const configmaps = "configmaps";
static const char *const services = "services";

static void refs_of_projection(struct pod_refs *r, const CoreV1__VolumeProjection *p)
{
	if (p->secret != NULL && p->secret->localobjectreference != NULL)
		refs_add(r, secrets, p->secret->localobjectreference->name);
	if (p->configmap != NULL && p->configmap->localobjectreference != NULL)
		refs_add(r, configmaps, p->configmap->localobjectreference->name);
}

static void refs_of_volume(struct pod_refs *r, const CoreV1__VolumeSource *v)
{
	if (v == NULL)
		return;
	if (v->secret != NULL && v->secret->secretname != NULL)
		refs_add(r, secrets, v->secret->secretname);
	if (v->configmap != NULL && v->configmap->localobjectreference != NULL)
		refs_add(r, configmaps, v->configmap->localobjectreference->name);
	if (v->projected != NULL)
		for (size_t i = 0; i < v->projected->n_sources; i++)
			refs_of_projection(r, v->projected->sources[i]);
}

static void refs_of_env(struct pod_refs *r, CoreV1__EnvVar *const *env, size_t n_env,
			CoreV1__EnvFromSource *const *from, size_t n_from)
{
	for (size_t i = 0; i < n_env; i++) {
		const CoreV1__EnvVarSource *v = env[i]->valuefrom;

		if (v == NULL)
			continue;
		if (v->secretkeyref != NULL && v->secretkeyref->localobjectreference != NULL)
			refs_add(r, secrets, v->secretkeyref->localobjectreference->name);
		if (v->configmapkeyref != NULL && v->configmapkeyref->localobjectreference != NULL)
			refs_add(r, configmaps, v->configmapkeyref->localobjectreference->name);
	}
	for (size_t i = 0; i < n_from; i++) {
		const CoreV1__EnvFromSource *f = from[i];

		if (f->secretref != NULL && f->secretref->localobjectreference != NULL)
			refs_add(r, secrets, f->secretref->localobjectreference->name);
		if (f->configmapref != NULL && f->configmapref->localobjectreference != NULL)
			refs_add(r, configmaps, f->configmapref->localobjectreference->name);
	}
}

static void refs_of_spec(struct pod_refs *r, const CoreV1__PodSpec *spec)
{
	for (size_t i = 0; i < spec->n_volumes; i++)
		refs_of_volume(r, spec->volumes[i]->volumesource);
	for (size_t i = 0; i < spec->n_initcontainers; i++) {
		const CoreV1__Container *c = spec->initcontainers[i];
		refs_of_env(r, c->env, c->n_env, c->envfrom, c->n_envfrom);
	}
	for (size_t i = 0; i < spec->n_containers; i++) {
		const CoreV1__Container *c = spec->containers[i];
		refs_of_env(r, c->env, c->n_env, c->envfrom, c->n_envfrom);
	}
	for (size_t i = 0; i < spec->n_ephemeralcontainers; i++) {
		const CoreV1__EphemeralContainerCommon *c =
			spec->ephemeralcontainers[i]->ephemeralcontainercommon;
		if (c != NULL)
			refs_of_env(r, c->env, c->n_env, c->envfrom, c->n_envfrom);
	}
	for (size_t i = 0; i < spec->n_imagepullsecrets; i++)
		refs_add(r, secrets, spec->imagepullsecrets[i]->name);
	if (!spec->has_enableservicelinks || spec->enableservicelinks)
		refs_add(r, services, NULL);
}

static void refs_clear(struct pod_refs *r)
{
	for (size_t i = 0; i < r->n_refs; i++)
		free(r->refs[i].name);
	free(r->refs);
	r->refs = NULL;
	r->n_refs = r->cap_refs = 0;
}

static void refs_free(struct pod_refs *r)
{
	refs_clear(r);
	free(r->namespace);
	free(r);
}

void pod_refs_cache_fini(struct pod_refs_cache *cache)
{
	map_for_each (slot, &cache->by_uid)
		refs_free(slot->value);
	map_fini(&cache->by_uid);
}

static const struct pod_refs *refs_of(struct pod_refs_cache *cache, const struct object *pod)
{
	struct pod_refs *r = map_get(&cache->by_uid, pod->facts.uid);

	if (r == NULL) {
		r = xcalloc(1, sizeof(*r));
		r->namespace = xstrdup(pod->namespace);
		r->generation = -1;
		map_put(&cache->by_uid, pod->facts.uid, r);
	}
	r->mark = cache->mark;
	if (r->generation == pod->facts.generation)
		return r;

	struct arena arena;
	arena_init(&arena, 0);
	const CoreV1__Pod *m = unpack_stored(pod->kind->descriptor, pod->packed, &arena);
	refs_clear(r);
	if (m->spec != NULL)
		refs_of_spec(r, m->spec);
	arena_fini(&arena);
	r->generation = pod->facts.generation;
	return r;
}

/* Forget the pods that the last computation did not meet. */
static void cache_sweep(struct pod_refs_cache *cache)
{
	char **gone = NULL;
	size_t n = 0, cap = 0;

	map_for_each (slot, &cache->by_uid) {
		if (((struct pod_refs *)slot->value)->mark == cache->mark)
			continue;
		array_grow(gone, n, cap);
		gone[n++] = xstrdup(slot->key);
	}
	for (size_t i = 0; i < n; i++) {
		refs_free(map_remove(&cache->by_uid, gone[i]));
		free(gone[i]);
	}
	free(gone);
}

static bool is_api_service(const struct object *o)
{
	return strcmp(o->namespace, "default") == 0 && strcmp(o->name, "kubernetes") == 0;
}

bool pod_refs_name(const struct pod_refs_cache *cache, const struct object *o)
{
	const char *resource = o->kind->resource;
	bool linked = strcmp(resource, services) == 0;

	if (linked && is_api_service(o))
		return cache->by_uid.count > 0;
	map_for_each (slot, &cache->by_uid) {
		const struct pod_refs *r = slot->value;

		if (strcmp(r->namespace, o->namespace) != 0)
			continue;
		for (size_t i = 0; i < r->n_refs; i++)
			if (strcmp(r->refs[i].resource, resource) == 0 &&
			    (r->refs[i].name == NULL || strcmp(r->refs[i].name, o->name) == 0))
				return true;
	}
	return false;
}

/* --- The difference ------------------------------------------------------------- */

struct update {
	const struct store *store;
	struct pod_refs_cache *cache;
	struct holding *h;
	size_t bytes_left;
	bool complete;
	assignment_cb *cb;
	void *ctx;
};

/* o should be held: report it unless the node has just this. */
static void want(struct update *u, const struct object *o)
{
	char key[KEY_BYTES];

	held_key(key, sizeof(key), o->kind->resource, o->namespace, o->name);
	struct held *h = tree_entry(tree_find(&u->h->objects, key), struct held, node);

	if (h != NULL) {
		bool had = h->mark == u->h->mark;

		h->mark = u->h->mark;
		if (had || (h->revision == o->revision && strcmp(h->uid, o->facts.uid) == 0))
			return;
	}
	if (!u->complete)
		return; /* Over the budget: the next poll gets it. */
	if (o->packed.len >= u->bytes_left)
		u->complete = false;
	else
		u->bytes_left -= o->packed.len;
	u->cb(u->ctx, h, o);
	if (h == NULL) {
		h = holding_add(u->h, key, assigned_resource(o->kind->resource), o->namespace,
				o->name);
		h->mark = u->h->mark;
	}
	held_set(u->h, h, o->facts.uid, o->revision);
}

static bool want_cb(void *ctx, const struct object *o)
{
	want(ctx, o);
	return true;
}

static void want_ref(struct update *u, const char *namespace, const struct ref *ref)
{
	const struct kind *kind = kind_of_resource(ref->resource);

	if (ref->name == NULL) {
		store_walk(u->store, kind, namespace, NULL, NULL, want_cb, u);
		return;
	}
	const struct object *o = store_get(u->store, kind, namespace, ref->name);
	if (o != NULL)
		want(u, o);
}

static bool want_pod(void *ctx, const struct object *pod)
{
	struct update *u = ctx;
	const struct pod_refs *refs = refs_of(u->cache, pod);

	/* What the pod needs goes first: an agent that gets the pod can start it. */
	for (size_t i = 0; i < refs->n_refs; i++)
		want_ref(u, refs->namespace, &refs->refs[i]);
	want(u, pod);
	return true;
}

static void forget_rest(struct update *u)
{
	tree_for_each (h, &u->h->objects, struct held, node) {
		if (h->mark == u->h->mark)
			continue;
		u->cb(u->ctx, h, NULL);
		holding_drop(u->h, h);
	}
}

bool assignment_update(const struct store *store, const char *node, struct pod_refs_cache *cache,
		       struct holding *h, size_t max_bytes, assignment_cb *cb, void *ctx)
{
	struct update u = {
		.store = store,
		.cache = cache,
		.h = h,
		.bytes_left = max_bytes,
		.complete = true,
		.cb = cb,
		.ctx = ctx,
	};
	const struct object *o;

	h->mark++;
	cache->mark++;
	o = store_get(store, kind_of_resource("nodes"), "", node);
	if (o != NULL)
		want(&u, o);
	o = store_get(store, kind_of_resource("services"), "default", "kubernetes");
	if (o != NULL)
		want(&u, o);
	store_walk_node_pods(store, node, want_pod, &u);
	/* An interrupted computation has not marked everything: nothing is forgotten on its word. */
	if (u.complete)
		forget_rest(&u);
	cache_sweep(cache);
	return u.complete;
}
