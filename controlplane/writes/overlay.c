#include "controlplane/writes/overlay.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/tree.h"

/* Two trees: keys with what they will hold, and claims with who will hold them.
 * A key that is planned again moves to the newer batch. */

struct planned {
	struct tree_node node;
	const struct kind *kind;
	char *namespace, *name;
	struct object *object; /* NULL: will be gone. */
	uint64_t batch;
};

struct planned_claim {
	struct tree_node node;
	char *claim;
	struct object *holder; /* NULL: given up. */
	uint64_t batch;
};

/* What a plan under construction replaced, newest last. */
struct undo {
	struct planned *planned;
	struct object *object;
	uint64_t batch;
	bool existed;
};

struct undo_claim {
	struct planned_claim *claim;
	struct object *holder;
	uint64_t batch;
	bool existed;
};

struct overlay {
	const struct store *store;
	struct tree keys, claims;
	bool recording;
	struct undo *undo;
	size_t n_undo, cap_undo;
	struct undo_claim *undo_claims;
	size_t n_undo_claims, cap_undo_claims;
	uint64_t operations_before;
	struct batch_operations {
		uint64_t batch, operations;
	} * batches; /* Ascending. */
	size_t n_batches, cap_batches;
};

struct planned_key {
	const struct kind *kind;
	const char *namespace, *name;
};

static int compare_planned(const void *key, const struct tree_node *node)
{
	const struct planned_key *k = key;
	const struct planned *p = tree_entry((struct tree_node *)node, struct planned, node);
	int order = k->kind < p->kind ? -1 : k->kind > p->kind;

	if (order == 0)
		order = strcmp(k->namespace, p->namespace);
	return order != 0 ? order : strcmp(k->name, p->name);
}

static int compare_claim(const void *key, const struct tree_node *node)
{
	return strcmp(key, tree_entry((struct tree_node *)node, struct planned_claim, node)->claim);
}

struct overlay *overlay_create(const struct store *store)
{
	struct overlay *o = xcalloc(1, sizeof(*o));

	o->store = store;
	tree_init(&o->keys, compare_planned);
	tree_init(&o->claims, compare_claim);
	return o;
}

static void remove_planned(struct overlay *o, struct planned *p)
{
	tree_remove(&o->keys, &p->node);
	object_unref(p->object);
	free(p->namespace);
	free(p->name);
	free(p);
}

static void remove_claim(struct overlay *o, struct planned_claim *c)
{
	tree_remove(&o->claims, &c->node);
	object_unref(c->holder);
	free(c->claim);
	free(c);
}

void overlay_clear(struct overlay *o)
{
	assert(!o->recording);
	tree_for_each (p, &o->keys, struct planned, node)
		remove_planned(o, p);
	tree_for_each (c, &o->claims, struct planned_claim, node)
		remove_claim(o, c);
	o->n_batches = 0;
}

void overlay_destroy(struct overlay *o)
{
	if (o == NULL)
		return;
	overlay_clear(o);
	free(o->undo);
	free(o->undo_claims);
	free(o->batches);
	free(o);
}

/* --- Reading ------------------------------------------------------------------- */

static struct planned *find(const struct overlay *o, const struct kind *kind, const char *namespace,
			    const char *name)
{
	struct planned_key key = { kind, namespace, name };

	return tree_entry(tree_find(&o->keys, &key), struct planned, node);
}

const struct object *overlay_get(const struct overlay *o, const struct kind *kind,
				 const char *namespace, const char *name)
{
	const struct planned *p = find(o, kind, namespace, name);

	return p != NULL ? p->object : store_get(o->store, kind, namespace, name);
}

bool overlay_in_flight(const struct overlay *o, const struct kind *kind, const char *namespace,
		       const char *name)
{
	return find(o, kind, namespace, name) != NULL;
}

const struct object *overlay_claim_holder(const struct overlay *o, const char *claim)
{
	struct tree_node *node = tree_find(&o->claims, claim);

	if (node != NULL)
		return tree_entry(node, struct planned_claim, node)->holder;
	return store_claim(o->store, claim);
}

bool overlay_claim_taken(const struct overlay *o, const char *claim)
{
	return overlay_claim_holder(o, claim) != NULL;
}

struct merge {
	const struct overlay *overlay;
	const struct planned *next;
	struct planned_key last; /* kind and namespace bound the walk. */
	store_walk_cb *cb;
	void *ctx;
	bool stopped;
};

static const struct planned *within(const struct merge *m, struct tree_node *node)
{
	const struct planned *p = tree_entry(node, struct planned, node);

	if (p == NULL || p->kind != m->last.kind ||
	    (m->last.namespace != NULL && strcmp(p->namespace, m->last.namespace) != 0))
		return NULL;
	return p;
}

/* Tell all planned keys below o's (NULL: all that are left). */
static void tell_planned(struct merge *m, const struct object *o)
{
	while (!m->stopped && m->next != NULL) {
		if (o != NULL) {
			struct planned_key key = { o->kind, o->namespace, o->name };

			if (compare_planned(&key, &m->next->node) <= 0)
				return;
		}
		if (m->next->object != NULL && !m->cb(m->ctx, m->next->object))
			m->stopped = true;
		m->next = within(m, tree_next(&m->next->node));
	}
}

static bool on_stored(void *ctx, const struct object *o)
{
	struct merge *m = ctx;

	tell_planned(m, o);
	if (m->stopped)
		return false;
	if (m->next != NULL && strcmp(m->next->namespace, o->namespace) == 0 &&
	    strcmp(m->next->name, o->name) == 0)
		return true; /* The plan overrules it and is told before the next key. */
	m->stopped = !m->cb(m->ctx, o);
	return !m->stopped;
}

void overlay_walk(const struct overlay *o, const struct kind *kind, const char *namespace,
		  store_walk_cb *cb, void *ctx)
{
	struct planned_key from = { kind, namespace != NULL ? namespace : "", "" };
	struct merge m = {
		.overlay = o, .last = { .kind = kind, .namespace = namespace }, .cb = cb, .ctx = ctx
	};

	m.next = within(&m, tree_lower_bound(&o->keys, &from));
	store_walk(o->store, kind, namespace, NULL, NULL, on_stored, &m);
	tell_planned(&m, NULL);
}

static const struct object *reader_get(void *ctx, const struct kind *kind, const char *namespace,
				       const char *name)
{
	return overlay_get(ctx, kind, namespace, name);
}

static bool reader_claim_taken(void *ctx, const char *claim)
{
	return overlay_claim_taken(ctx, claim);
}

static void reader_walk(void *ctx, const struct kind *kind, const char *namespace,
			store_walk_cb *cb, void *cb_ctx)
{
	overlay_walk(ctx, kind, namespace, cb, cb_ctx);
}

struct admission_reader overlay_reader(struct overlay *o)
{
	return (struct admission_reader){
		.ctx = o, .get = reader_get, .claim_taken = reader_claim_taken, .walk = reader_walk
	};
}

/* --- Planning ------------------------------------------------------------------- */

static void set_planned(struct overlay *o, uint64_t batch, const struct kind *kind,
			const char *namespace, const char *name, struct object *object)
{
	struct planned *p = find(o, kind, namespace, name);
	bool existed = p != NULL;

	if (!existed) {
		struct planned_key key = { kind, namespace, name };

		p = xcalloc(1, sizeof(*p));
		p->kind = kind;
		p->namespace = xstrdup(namespace);
		p->name = xstrdup(name);
		tree_insert(&o->keys, &key, &p->node);
	}
	if (o->recording) {
		array_grow(o->undo, o->n_undo, o->cap_undo);
		o->undo[o->n_undo++] = (struct undo){ p, p->object, p->batch, existed };
	} else {
		object_unref(p->object);
	}
	p->object = object;
	p->batch = batch;
}

static void set_claim(struct overlay *o, uint64_t batch, const char *claim,
		      const struct object *holder)
{
	struct planned_claim *c =
		tree_entry(tree_find(&o->claims, claim), struct planned_claim, node);
	bool existed = c != NULL;

	if (!existed) {
		c = xcalloc(1, sizeof(*c));
		c->claim = xstrdup(claim);
		tree_insert(&o->claims, claim, &c->node);
	}
	if (o->recording) {
		array_grow(o->undo_claims, o->n_undo_claims, o->cap_undo_claims);
		o->undo_claims[o->n_undo_claims++] =
			(struct undo_claim){ c, c->holder, c->batch, existed };
	} else {
		object_unref(c->holder);
	}
	c->holder = object_ref(holder);
	c->batch = batch;
}

static void give_up_claims(struct overlay *o, uint64_t batch, const struct object *old)
{
	for (size_t i = 0; old != NULL && i < old->n_claims; i++)
		set_claim(o, batch, old->claims[i], NULL);
}

static uint64_t operations_in_flight(const struct overlay *o)
{
	uint64_t n = 0;

	for (size_t i = 0; i < o->n_batches; i++)
		n += o->batches[i].operations;
	return n;
}

uint64_t overlay_next_revision(const struct overlay *o)
{
	return store_revision(o->store) + operations_in_flight(o) + 1;
}

static void count_operation(struct overlay *o, uint64_t batch)
{
	if (o->n_batches == 0 || o->batches[o->n_batches - 1].batch != batch) {
		array_grow(o->batches, o->n_batches, o->cap_batches);
		o->batches[o->n_batches++] = (struct batch_operations){ .batch = batch };
	}
	o->batches[o->n_batches - 1].operations++;
}

const struct object *overlay_put(struct overlay *o, uint64_t batch, const struct kind *kind,
				 const char *namespace, const char *name, struct bytes packed,
				 const char *const *claims, size_t n_claims)
{
	const struct object *old = overlay_get(o, kind, namespace, name);

	count_operation(o, batch);

	uint64_t revision = store_revision(o->store) + operations_in_flight(o);
	struct object *new = object_create(&(struct object_values){
		.kind = kind,
		.namespace = namespace,
		.name = name,
		.created_revision = old != NULL ? old->created_revision : revision,
		.revision = revision,
		.packed = packed,
		.claims = claims,
		.n_claims = n_claims,
	});

	give_up_claims(o, batch, old);
	for (size_t i = 0; i < n_claims; i++)
		set_claim(o, batch, claims[i], new);
	set_planned(o, batch, kind, namespace, name, new);
	return new;
}

void overlay_delete(struct overlay *o, uint64_t batch, const struct kind *kind,
		    const char *namespace, const char *name)
{
	const struct object *old = overlay_get(o, kind, namespace, name);

	if (old == NULL)
		return;
	count_operation(o, batch);
	give_up_claims(o, batch, old);
	set_planned(o, batch, kind, namespace, name, NULL);
}

void overlay_begin(struct overlay *o)
{
	assert(!o->recording);
	o->recording = true;
	o->operations_before = operations_in_flight(o);
}

void overlay_commit(struct overlay *o)
{
	assert(o->recording);
	for (size_t i = 0; i < o->n_undo; i++)
		object_unref(o->undo[i].object);
	for (size_t i = 0; i < o->n_undo_claims; i++)
		object_unref(o->undo_claims[i].holder);
	o->n_undo = o->n_undo_claims = 0;
	o->recording = false;
}

void overlay_rollback(struct overlay *o)
{
	assert(o->recording);
	while (o->n_undo > 0) {
		struct undo *u = &o->undo[--o->n_undo];

		object_unref(u->planned->object);
		u->planned->object = u->object;
		u->planned->batch = u->batch;
		if (!u->existed)
			remove_planned(o, u->planned);
	}
	while (o->n_undo_claims > 0) {
		struct undo_claim *u = &o->undo_claims[--o->n_undo_claims];

		object_unref(u->claim->holder);
		u->claim->holder = u->holder;
		u->claim->batch = u->batch;
		if (!u->existed)
			remove_claim(o, u->claim);
	}
	if (o->n_batches > 0) {
		o->batches[o->n_batches - 1].operations -=
			operations_in_flight(o) - o->operations_before;
		if (o->batches[o->n_batches - 1].operations == 0)
			o->n_batches--;
	}
	o->recording = false;
}

void overlay_applied(struct overlay *o, uint64_t batch)
{
	size_t done = 0;

	assert(!o->recording);
	tree_for_each (p, &o->keys, struct planned, node)
		if (p->batch <= batch)
			remove_planned(o, p);
	tree_for_each (c, &o->claims, struct planned_claim, node)
		if (c->batch <= batch)
			remove_claim(o, c);
	while (done < o->n_batches && o->batches[done].batch <= batch)
		done++;
	o->n_batches -= done;
	memmove(o->batches, o->batches + done, o->n_batches * sizeof(*o->batches));
}
