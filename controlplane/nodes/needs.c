/* A pod's needs are read once per generation and shared by all pods of the node that name the same. */
#include "controlplane/nodes/needs.h"

#include <stdlib.h>
#include <string.h>

#include "common/api/fields.h"
#include "common/api/kinds.h"
#include "common/api/pack.h"
#include "common/base/alloc.h"
#include "common/base/arena.h"
#include "common/base/cleanup.h"
#include "proto/k8s/core_v1.pb-c.h"

/* What a pod names, while it is being read. */
struct ref {
	const char *resource;
	const char *name; /* NULL: all of the namespace. */
};

struct reading {
	struct arena *arena;
	struct ref *refs;
	size_t n, cap;
};

/* --- What a pod names ------------------------------------------------------------ */

static void refs_add(struct reading *r, const char *resource, const char *name)
{
	if (name != NULL && name[0] == '\0')
		return;
	for (size_t i = 0; i < r->n; i++)
		if (r->refs[i].resource == resource &&
		    (name == NULL) == (r->refs[i].name == NULL) &&
		    (name == NULL || strcmp(r->refs[i].name, name) == 0))
			return;
	if (r->n == r->cap) {
		size_t cap = r->cap > 0 ? r->cap * 2 : 8;
		struct ref *refs = arena_array(r->arena, struct ref, cap);

		if (r->n > 0)
			memcpy(refs, r->refs, r->n * sizeof(*refs));
		r->refs = refs;
		r->cap = cap;
	}
	r->refs[r->n++] = (struct ref){ resource, name };
}

static const char *const secrets = "secrets";
static const char *const configmaps = "configmaps";
static const char *const services = "services";
static const char *const claims = "persistentvolumeclaims";
static const char *const volumes = "persistentvolumes";

static void refs_of_projection(struct reading *r, const CoreV1__VolumeProjection *p)
{
	if (p->secret != NULL && p->secret->localobjectreference != NULL)
		refs_add(r, secrets, p->secret->localobjectreference->name);
	if (p->configmap != NULL && p->configmap->localobjectreference != NULL)
		refs_add(r, configmaps, p->configmap->localobjectreference->name);
}

static void refs_of_volume(struct reading *r, const CoreV1__VolumeSource *v)
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

static void refs_of_env(struct reading *r, CoreV1__EnvVar *const *env, size_t n_env,
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

static void refs_of_spec(struct reading *r, const CoreV1__PodSpec *spec)
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

/* --- Needs -------------------------------------------------------------------------- */

struct need_key {
	const char *resource, *namespace, *name;
};

static int need_compare(const void *key, const struct tree_node *node)
{
	const struct need_key *k = key;
	const struct need *n = container_of(node, struct need, node);
	int order = strcmp(k->resource, n->resource);

	if (order == 0)
		order = strcmp(k->namespace, n->namespace);
	if (order != 0 || k->name == NULL || n->name == NULL)
		return order != 0 ? order : (k->name != NULL) - (n->name != NULL);
	return strcmp(k->name, n->name);
}

void needs_init(struct needs *n)
{
	*n = (struct needs){ 0 };
	tree_init(&n->all, need_compare);
}

static struct need *need_find(const struct needs *n, const char *resource, const char *namespace,
			      const char *name)
{
	struct need_key key = { resource, namespace, name };

	return tree_entry(tree_find(&n->all, &key), struct need, node);
}

static struct need *need_use(struct needs *n, const char *namespace, const struct ref *ref)
{
	struct need *need = need_find(n, ref->resource, namespace, ref->name);

	if (need == NULL) {
		struct need_key key = { ref->resource, namespace, ref->name };

		need = xcalloc(1, sizeof(*need));
		need->resource = ref->resource;
		need->namespace = xstrdup(namespace);
		need->name = ref->name ? xstrdup(ref->name) : NULL;
		need->fresh = true;
		tree_insert(&n->all, &key, &need->node);
	}
	need->users++;
	return need;
}

static void need_release(struct needs *n, struct need *need, need_gone_cb *gone, void *ctx)
{
	if (--need->users > 0)
		return;
	tree_remove(&n->all, &need->node);
	if (gone != NULL)
		gone(ctx, need);
	free(need->namespace);
	free(need->name);
	free(need);
}

static void pod_release(struct needs *n, struct pod_needs *p, need_gone_cb *gone, void *ctx)
{
	for (size_t i = 0; p != NULL && i < p->n; i++)
		need_release(n, p->items[i], gone, ctx);
	free(p);
}

void needs_drop(struct needs *n, const char *uid, need_gone_cb *gone, void *ctx)
{
	pod_release(n, map_remove(&n->by_uid, uid), gone, ctx);
}

void needs_fini(struct needs *n)
{
	map_for_each (slot, &n->by_uid)
		pod_release(n, slot->value, NULL, NULL);
	map_fini(&n->by_uid);
	needs_init(n);
}

static struct pod_needs *read_pod(struct needs *n, const struct object *pod)
{
	struct arena arena = { 0 };
	struct reading r = { .arena = &arena };

	arena_init(&arena, 0);
	const CoreV1__Pod *m = unpack_stored(pod->kind->descriptor, pod->packed, &arena);
	if (m->spec != NULL)
		refs_of_spec(&r, m->spec);
	for (const char *const *c = pod->facts.pod->claims; c != NULL && *c != NULL; c++)
		refs_add(&r, claims, *c);

	struct pod_needs *p = xmalloc(sizeof(*p) + r.n * sizeof(p->items[0]));
	*p = (struct pod_needs){ .generation = pod->facts.generation, .mark = n->mark, .n = r.n };
	for (size_t i = 0; i < r.n; i++)
		p->items[i] = need_use(n, pod->namespace, &r.refs[i]);
	arena_fini(&arena);
	return p;
}

const struct pod_needs *needs_of(struct needs *n, const struct object *pod, need_gone_cb *gone, void *ctx)
{
	struct pod_needs *p = map_get(&n->by_uid, pod->facts.uid);

	if (p == NULL || p->generation != pod->facts.generation) {
		struct pod_needs *new = read_pod(n, pod);

		map_put(&n->by_uid, pod->facts.uid, new);
		pod_release(n, p, gone, ctx);
		p = new;
	}
	p->mark = n->mark;
	return p;
}

void needs_sweep(struct needs *n)
{
	char **gone = NULL;
	size_t n_gone = 0, cap = 0;

	map_for_each (slot, &n->by_uid) {
		if (((struct pod_needs *)slot->value)->mark == n->mark)
			continue;
		array_grow(gone, n_gone, cap);
		gone[n_gone++] = xstrdup(slot->key);
	}
	for (size_t i = 0; i < n_gone; i++) {
		needs_drop(n, gone[i], NULL, NULL);
		free(gone[i]);
	}
	free(gone);
}

/* A scalar of o, "" when it is not set; in the arena. */
static const char *text_at(const struct object *o, const char *path, struct arena *arena)
{
	const char *text = "";

	field_text(o->kind->descriptor, o->packed, path, arena, &text);
	return text;
}

/* A volume is named by the claim that it names. */
static bool needs_volume(const struct needs *n, const struct object *o)
{
	auto_with(arena_fini) struct arena arena = { 0 };

	arena_init(&arena, 0);
	return need_find(n, claims, text_at(o, "spec.claimRef.namespace", &arena),
			 text_at(o, "spec.claimRef.name", &arena)) != NULL;
}

bool needs_name(const struct needs *n, const struct object *o)
{
	if (strcmp(o->kind->resource, volumes) == 0)
		return needs_volume(n, o);
	if (strcmp(o->kind->resource, services) == 0 && strcmp(o->namespace, "default") == 0 &&
	    strcmp(o->name, "kubernetes") == 0)
		return true; /* Every node has it. */
	return need_find(n, o->kind->resource, o->namespace, o->name) != NULL ||
	       need_find(n, o->kind->resource, o->namespace, NULL) != NULL;
}
