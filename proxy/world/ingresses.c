/* Ingresses, their classes, and the certificates they may name. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/make.h"
#include "common/api/pack.h"
#include "common/base/alloc.h"
#include "proto/k8s/core_v1.pb-c.h"
#include "proto/k8s/networking_v1.pb-c.h"
#include "proxy/world/internal.h"

#define INGRESS_BUDGET_BYTES (8u << 20)

static int compare_ingress(const void *key, const struct tree_node *node)
{
	return strcmp(key, container_of(node, struct world_ingress, node)->key);
}

static int compare_class(const void *key, const struct tree_node *node)
{
	return strcmp(key, container_of(node, struct ingress_class, node)->name);
}

static int compare_certificate(const void *key, const struct tree_node *node)
{
	return strcmp(key, container_of(node, struct certificate, node)->key);
}

void ingresses_init(struct world *w)
{
	tree_init(&w->ingresses, compare_ingress);
	tree_init(&w->classes, compare_class);
	tree_init(&w->certificates, compare_certificate);
}

/* --- Ingresses ------------------------------------------------------------------------ */

static void ingress_free(struct world *w, struct world_ingress *i)
{
	w->ingress_dirty = true;
	tree_remove(&w->ingresses, &i->node);
	arena_fini(&i->arena);
	free(i->key);
	free(i);
}

/* Everything it keeps lives in its own arena. On an error nothing is kept. */
static int read_ingress(struct world_ingress *ret, struct bytes packed, struct status *st)
{
	NetworkingV1__Ingress *in;
	int rc;

	arena_init(&ret->arena, INGRESS_BUDGET_BYTES);
	rc = unpack_message(&networking_v1__ingress__descriptor, packed, &ret->arena, &in, st);
	if (rc == 0 && in->metadata == NULL)
		rc = status_set(st, -EINVAL, "an Ingress without metadata");
	if (rc < 0) {
		arena_fini(&ret->arena);
		return rc;
	}
	ret->created_ns = time_ns_of(in->metadata->creationtimestamp);
	ret->problem = ingress_read(in, &ret->arena, &ret->rules);
	return 0;
}

static struct world_ingress *ingress_make(struct world *w, const char *namespace, const char *key)
{
	struct world_ingress *i = xcalloc(1, sizeof(*i));

	i->key = xstrdup(key);
	tree_insert(&w->ingresses, i->key, &i->node);
	return i;
}

int apply_ingress(struct world *w, const char *namespace, const char *name,
		  const struct bytes *packed, struct arena *arena, struct status *st)
{
	autofree char *key = xasprintf("%s/%s", namespace, name);
	struct world_ingress *i =
		tree_entry(tree_find(&w->ingresses, key), struct world_ingress, node);
	struct world_ingress read = { 0 };
	int rc = packed != NULL ? read_ingress(&read, *packed, st) : 0;

	if (i != NULL)
		i->seen = w->generation;
	if (rc < 0)
		return rc;
	if (packed == NULL) {
		if (i != NULL)
			ingress_free(w, i);
		return 0;
	}
	if (i == NULL)
		i = ingress_make(w, namespace, key);
	arena_fini(&i->arena);
	i->arena = read.arena;
	i->rules = read.rules;
	i->problem = read.problem;
	i->created_ns = read.created_ns;
	i->namespace = arena_strdup(&i->arena, namespace);
	i->seen = w->generation;
	w->ingress_dirty = true;
	return 0;
}

/* --- Classes ---------------------------------------------------------------------------- */

static void class_free(struct world *w, struct ingress_class *c)
{
	w->ingress_dirty = true;
	tree_remove(&w->classes, &c->node);
	free(c->name);
	free(c);
}

int apply_class(struct world *w, const char *name, const struct bytes *packed, struct arena *arena,
		struct status *st)
{
	struct ingress_class *c =
		tree_entry(tree_find(&w->classes, name), struct ingress_class, node);
	NetworkingV1__IngressClass *in = NULL;
	int rc = packed != NULL ? unpack_message(&networking_v1__ingress_class__descriptor, *packed,
						 arena, &in, st)
				: 0;

	if (c != NULL)
		c->seen = w->generation;
	if (rc < 0)
		return rc;
	if (packed == NULL) {
		if (c != NULL)
			class_free(w, c);
		return 0;
	}
	if (c == NULL) {
		c = xcalloc(1, sizeof(*c));
		c->name = xstrdup(name);
		tree_insert(&w->classes, c->name, &c->node);
	}
	c->ours = in->spec != NULL && text_is(in->spec->controller, INGRESS_CONTROLLER);
	c->seen = w->generation;
	w->ingress_dirty = true;
	return 0;
}

/* --- Certificates -------------------------------------------------------------------------- */

static void certificate_free(struct world *w, struct certificate *c)
{
	w->ingress_dirty = true;
	tree_remove(&w->certificates, &c->node);
	buf_fini(&c->pem);
	free(c->key);
	free(c);
}

static void put_text(struct buf *to, const CoreV1__Secret *s, const char *key)
{
	for (size_t i = 0; i < s->n_data; i++) {
		if (!text_is(s->data[i]->key, key))
			continue;
		buf_put(to, s->data[i]->value.data, s->data[i]->value.len);
		if (to->len > 0 && to->data[to->len - 1] != '\n')
			buf_put_byte(to, '\n');
	}
}

struct certificate *world_certificate(const struct world *w, const char *namespace,
				      const char *name)
{
	autofree char *key = xasprintf("%s/%s", namespace, name);

	return tree_entry(tree_find(&w->certificates, key), struct certificate, node);
}

static void keep_certificate(struct world *w, const char *namespace, const char *name,
			     struct certificate *c, const CoreV1__Secret *in)
{
	if (c == NULL) {
		c = xcalloc(1, sizeof(*c));
		c->key = xasprintf("%s/%s", namespace, name);
		tree_insert(&w->certificates, c->key, &c->node);
	}
	buf_clear(&c->pem);
	put_text(&c->pem, in, "tls.crt");
	put_text(&c->pem, in, "tls.key");
	c->seen = w->generation;
	w->ingress_dirty = true;
}

int apply_certificate(struct world *w, const char *namespace, const char *name,
		      const struct bytes *packed, struct arena *arena, struct status *st)
{
	struct certificate *c = world_certificate(w, namespace, name);
	CoreV1__Secret *in = NULL;
	int rc = packed != NULL
			 ? unpack_message(&core_v1__secret__descriptor, *packed, arena, &in, st)
			 : 0;

	if (c != NULL)
		c->seen = w->generation;
	if (rc < 0)
		return rc;
	if (in != NULL && text_is(in->type, "kubernetes.io/tls"))
		keep_certificate(w, namespace, name, c, in);
	else if (c != NULL)
		certificate_free(w, c);
	return 0;
}

/* --- All of it ------------------------------------------------------------------------------- */

void ingresses_full_end(struct world *w)
{
	tree_for_each (i, &w->ingresses, struct world_ingress, node) {
		if (i->seen != w->generation)
			ingress_free(w, i);
	}
	tree_for_each (c, &w->classes, struct ingress_class, node) {
		if (c->seen != w->generation)
			class_free(w, c);
	}
	tree_for_each (c, &w->certificates, struct certificate, node) {
		if (c->seen != w->generation)
			certificate_free(w, c);
	}
}

void ingresses_fini(struct world *w)
{
	w->generation++;
	ingresses_full_end(w);
}
