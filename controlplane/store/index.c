#include "controlplane/store/internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "controlplane/store/hash.h"

/* Four ordered trees of links. All comparisons end in (kind, namespace, name), so
 * that no two links are ever equal and the order is the same on every master. A
 * search key may leave the tail open: it then sorts before all links that share
 * what it names. */

struct index_key {
	const char *text;        /* owner's uid, node or claim */
	const struct kind *kind; /* NULL: before all kinds. */
	const char *label, *value;
	int64_t created_ns;
	uint64_t created_revision;
	const char *namespace, *name; /* NULL: before all. */
};

static int compare_u64(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

static int compare_text(const char *a, const char *b)
{
	if (a == NULL || b == NULL)
		return (a != NULL) - (b != NULL);
	return strcmp(a, b);
}

static int compare_kind(const struct kind *a, const struct kind *b)
{
	return a < b ? -1 : a > b;
}

static const struct object *link_object(const struct tree_node *node)
{
	return tree_entry((struct tree_node *)node, struct link, node)->slot->object;
}

static int compare_tail(const struct index_key *key, const struct object *o)
{
	int order = compare_kind(key->kind, o->kind);

	if (order == 0)
		order = compare_text(key->namespace, o->namespace);
	return order != 0 ? order : compare_text(key->name, o->name);
}

static int compare_owner(const void *key, const struct tree_node *node)
{
	const struct index_key *k = key;
	const struct link *link = tree_entry((struct tree_node *)node, struct link, node);
	const struct object *o = link->slot->object;
	int order = strcmp(k->text, o->facts.owners[link->position].uid);

	if (order == 0)
		order = compare_kind(k->kind, o->kind);
	if (order == 0 && k->created_ns != o->facts.created_ns)
		order = k->created_ns < o->facts.created_ns ? -1 : 1;
	if (order == 0)
		order = compare_u64(k->created_revision, o->created_revision);
	return order != 0 ? order : compare_tail(k, o);
}

static int compare_node(const void *key, const struct tree_node *node)
{
	const struct index_key *k = key;
	const struct object *o = link_object(node);
	int order = strcmp(k->text, o->facts.pod->node_name);

	return order != 0 ? order : compare_tail(k, o);
}

static int compare_label(const void *key, const struct tree_node *node)
{
	const struct index_key *k = key;
	const struct link *link = tree_entry((struct tree_node *)node, struct link, node);
	const struct object *o = link->slot->object;
	const struct label *label = &o->facts.labels[link->position];
	int order = compare_kind(k->kind, o->kind);

	if (order == 0)
		order = strcmp(k->label, label->key);
	if (order == 0)
		order = strcmp(k->value, label->value);
	return order != 0 ? order : compare_tail(k, o);
}

static int compare_claim(const void *key, const struct tree_node *node)
{
	const struct index_key *k = key;
	const struct link *link = tree_entry((struct tree_node *)node, struct link, node);
	const struct object *o = link->slot->object;
	int order = strcmp(k->text, o->claims[link->position]);

	return order != 0 ? order : compare_tail(k, o);
}

void index_init(struct store *s)
{
	static tree_compare_fn *const compare[INDEX_COUNT] = {
		[INDEX_OWNER] = compare_owner,
		[INDEX_NODE] = compare_node,
		[INDEX_LABEL] = compare_label,
		[INDEX_CLAIM] = compare_claim,
	};

	for (size_t i = 0; i < INDEX_COUNT; i++)
		tree_init(&s->indexes[i], compare[i]);
}

static void index_insert(struct store *s, struct link *link)
{
	const struct object *o = link->slot->object;
	struct index_key key = {
		.kind = o->kind,
		.created_ns = o->facts.created_ns,
		.created_revision = o->created_revision,
		.namespace = o->namespace,
		.name = o->name,
	};

	switch ((enum index_type)link->type) {
	case INDEX_OWNER:
		key.text = o->facts.owners[link->position].uid;
		break;
	case INDEX_NODE:
		key.text = o->facts.pod->node_name;
		break;
	case INDEX_LABEL:
		key.label = o->facts.labels[link->position].key;
		key.value = o->facts.labels[link->position].value;
		break;
	case INDEX_CLAIM:
		key.text = o->claims[link->position];
		break;
	case INDEX_COUNT:
		abort();
	}
	/* A fact that stands there twice (an owner, say) needs one link only. */
	if (tree_insert(&s->indexes[link->type], &key, &link->node) != NULL)
		link->type = INDEX_COUNT;
}

static uint32_t hash_uid(const char *uid)
{
	uint64_t hash = hash_add_str(0, uid);

	return (uint32_t)(hash ^ hash >> 32);
}

void index_add(struct store *s, struct slot *slot)
{
	const struct object *o = slot->object;
	size_t n = 0, max = (o->facts.pod != NULL) + o->facts.n_owners + o->facts.n_labels + o->n_claims;

	slot->links = max > 0 ? xmalloc(max * sizeof(*slot->links)) : NULL;
#define ADD(type_, position_)                                                                      \
	(slot->links[n++] = (struct link){                                                         \
		 .slot = slot, .type = (type_), .position = (uint32_t)(position_) })
	if (o->facts.uid[0] != '\0')
		chain_table_add(&s->by_uid, &slot->by_uid, hash_uid(o->facts.uid));
	if (o->facts.pod != NULL)
		ADD(INDEX_NODE, 0);
	for (size_t i = 0; i < o->facts.n_owners; i++)
		ADD(INDEX_OWNER, i);
	for (size_t i = 0; i < o->facts.n_labels; i++)
		ADD(INDEX_LABEL, i);
	for (size_t i = 0; i < o->n_claims; i++)
		ADD(INDEX_CLAIM, i);
#undef ADD
	assert(n == max);
	slot->n_links = n;
	for (size_t i = 0; i < n; i++)
		index_insert(s, &slot->links[i]);
}

void index_remove(struct store *s, struct slot *slot)
{
	for (size_t i = 0; i < slot->n_links; i++)
		if (slot->links[i].type != INDEX_COUNT)
			tree_remove(&s->indexes[slot->links[i].type], &slot->links[i].node);
	if (slot->object->facts.uid[0] != '\0')
		chain_table_remove(&s->by_uid, &slot->by_uid);
	free(slot->links);
	slot->links = NULL;
	slot->n_links = 0;
}

void index_move(struct store *s, struct slot *slot, struct object *object)
{
	for (size_t i = 0; i < slot->n_links; i++)
		if (slot->links[i].type == INDEX_NODE)
			tree_remove(&s->indexes[INDEX_NODE], &slot->links[i].node);
	slot->object = object;
	for (size_t i = 0; i < slot->n_links; i++)
		if (slot->links[i].type == INDEX_NODE)
			index_insert(s, &slot->links[i]);
}

bool index_same(const struct object *a, const struct object *b, bool *ret_node)
{
	const struct facts *fa = &a->facts, *fb = &b->facts;

	if (strcmp(fa->uid, fb->uid) != 0 || fa->created_ns != fb->created_ns ||
	    a->created_revision != b->created_revision || fa->n_labels != fb->n_labels ||
	    fa->n_owners != fb->n_owners || a->n_claims != b->n_claims)
		return false;
	*ret_node = fa->pod == NULL || strcmp(fa->pod->node_name, fb->pod->node_name) == 0;
	for (size_t i = 0; i < fa->n_labels; i++)
		if (strcmp(fa->labels[i].key, fb->labels[i].key) != 0 ||
		    strcmp(fa->labels[i].value, fb->labels[i].value) != 0)
			return false;
	for (size_t i = 0; i < fa->n_owners; i++)
		if (strcmp(fa->owners[i].uid, fb->owners[i].uid) != 0)
			return false;
	for (size_t i = 0; i < a->n_claims; i++)
		if (strcmp(a->claims[i], b->claims[i]) != 0)
			return false;
	return true;
}

/* --- Reading ------------------------------------------------------------------- */

/* The first link of an index that is not below key, and the ones after it. */
static struct link *first_link(const struct store *s, enum index_type type,
			       const struct index_key *key)
{
	return tree_entry(tree_lower_bound(&s->indexes[type], key), struct link, node);
}

static struct link *next_link(struct link *link)
{
	return tree_entry(tree_next(&link->node), struct link, node);
}

/* Should two objects have one uid, it is the first by key that counts. */
const struct object *store_get_uid(const struct store *s, const char *uid)
{
	const struct object *first = NULL;
	uint32_t hash = hash_uid(uid);

	chain_table_for_each (c, &s->by_uid, hash) {
		const struct object *o = container_of(c, struct slot, by_uid)->object;
		struct index_key key = { .kind = o->kind, .namespace = o->namespace, .name = o->name };

		if (strcmp(o->facts.uid, uid) == 0 && (first == NULL || compare_tail(&key, first) < 0))
			first = o;
	}
	return first;
}

void store_walk_owned(const struct store *s, const struct kind *kind, const char *uid,
		      store_walk_cb *cb, void *ctx)
{
	struct index_key key = { .text = uid, .kind = kind, .created_ns = INT64_MIN };

	for (struct link *link = first_link(s, INDEX_OWNER, &key); link != NULL;
	     link = next_link(link)) {
		const struct object *o = link->slot->object;

		if (strcmp(o->facts.owners[link->position].uid, uid) != 0 ||
		    (kind != NULL && o->kind != kind) || !cb(ctx, o))
			return;
	}
}

void store_walk_node_pods(const struct store *s, const char *node, store_walk_cb *cb, void *ctx)
{
	for (struct link *link = first_link(s, INDEX_NODE, &(struct index_key){ .text = node });
	     link != NULL; link = next_link(link)) {
		const struct object *o = link->slot->object;

		if (strcmp(o->facts.pod->node_name, node) != 0 || !cb(ctx, o))
			return;
	}
}

void store_walk_label(const struct store *s, const struct kind *kind, const char *namespace,
		      const char *key, const char *value, store_walk_cb *cb, void *ctx)
{
	/* compare_tail() sees the kind again; all links of the range share it. */
	struct index_key from = {
		.kind = kind, .label = key, .value = value, .namespace = namespace
	};

	for (struct link *link = first_link(s, INDEX_LABEL, &from); link != NULL;
	     link = next_link(link)) {
		const struct object *o = link->slot->object;
		const struct label *label = &o->facts.labels[link->position];

		if (o->kind != kind || strcmp(label->key, key) != 0 ||
		    strcmp(label->value, value) != 0)
			return;
		if (namespace != NULL && strcmp(o->namespace, namespace) != 0)
			return;
		if (!cb(ctx, o))
			return;
	}
}

const struct object *store_claim(const struct store *s, const char *claim)
{
	struct link *link = first_link(s, INDEX_CLAIM, &(struct index_key){ .text = claim });

	if (link == NULL || strcmp(link->slot->object->claims[link->position], claim) != 0)
		return NULL;
	return link->slot->object;
}

void store_walk_claims(const struct store *s, const char *prefix, store_claim_cb *cb, void *ctx)
{
	size_t n = strlen(prefix);

	for (struct link *link = first_link(s, INDEX_CLAIM, &(struct index_key){ .text = prefix });
	     link != NULL; link = next_link(link)) {
		const char *claim = link->slot->object->claims[link->position];

		if (strncmp(claim, prefix, n) != 0 || !cb(ctx, claim, link->slot->object))
			return;
	}
}
