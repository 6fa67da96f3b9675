#include "controlplane/store/internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/kinds.h"
#include "common/base/alloc.h"

/* Revisions have no gaps, so the change of a revision is found by counting. Old
 * and new of neighbouring changes are the same object, therefore only what a
 * change replaced is counted as memory of the history. */

static size_t change_bytes(const struct change *c)
{
	return sizeof(*c) + (c->old != NULL ? c->old->memory_bytes : 0);
}

static struct change *change_at(const struct history *h, size_t i)
{
	return &h->ring[(h->at + i) % h->cap];
}

void history_init(struct history *h, const struct store_limits *limits)
{
	*h = (struct history){ .cap = limits->history_events,
			       .bytes_max = limits->history_bytes,
			       .first = 1 };
	assert(h->cap > 0);
}

static void history_drop(struct history *h)
{
	struct change *oldest = change_at(h, 0);

	h->bytes -= change_bytes(oldest);
	object_unref((struct object *)oldest->old);
	object_unref((struct object *)oldest->new);
	h->at = (h->at + 1) % h->cap;
	h->n--;
	h->first++;
}

void history_reset(struct history *h, uint64_t revision)
{
	while (h->n > 0)
		history_drop(h);
	h->first = revision + 1;
}

void history_fini(struct history *h)
{
	history_reset(h, 0);
	free(h->ring);
	h->ring = NULL;
}

void history_add(struct history *h, const struct change *change)
{
	assert(change->revision == h->first + h->n);
	/* Touched page by page as it fills, so an empty cluster does not pay for it. */
	if (h->ring == NULL)
		h->ring = xcalloc(h->cap, sizeof(*h->ring));
	if (h->n == h->cap)
		history_drop(h);
	h->n++;
	*change_at(h, h->n - 1) = (struct change){
		.revision = change->revision,
		.old = object_ref(change->old),
		.new = object_ref(change->new),
	};
	h->bytes += change_bytes(change);
	while (h->n > 1 && h->bytes > h->bytes_max)
		history_drop(h);
}

uint64_t store_history_begin(const struct store *s)
{
	return s->history.first - 1;
}

static int history_check(const struct store *s, uint64_t since)
{
	if (since > s->revision)
		return -ERANGE;
	return since < store_history_begin(s) ? -EKEYEXPIRED : 0;
}

int store_history(const struct store *s, uint64_t since, store_history_cb *cb, void *ctx)
{
	int rc = history_check(s, since);

	if (rc < 0)
		return rc;
	for (size_t i = (size_t)(since + 1 - s->history.first); i < s->history.n; i++)
		if (!cb(ctx, change_at(&s->history, i)))
			break;
	return 0;
}

const struct change *store_change(const struct store *s, uint64_t revision)
{
	const struct history *h = &s->history;

	if (revision < h->first || revision >= h->first + h->n)
		return NULL;
	return change_at(h, (size_t)(revision - h->first));
}

/* --- Walking the past ------------------------------------------------------------
 *
 * What a key held at a revision is the old of the first change after it, or what
 * it holds now. The changes since are laid over the present, in key order. */

struct past {
	struct tree_node node;
	const struct object *was; /* NULL: it did not exist. */
	struct object_key key;
};

static int compare_keys(const struct object_key *a, const struct object_key *b)
{
	int order = strcmp(a->namespace, b->namespace);

	return order != 0 ? order : strcmp(a->name, b->name);
}

static int compare_past(const void *key, const struct tree_node *node)
{
	return compare_keys(key, &tree_entry((struct tree_node *)node, struct past, node)->key);
}

struct past_walk {
	struct tree past;
	struct past *next; /* Not told yet. */
	const char *namespace;
	store_walk_cb *cb;
	void *ctx;
	bool stopped;
};

/* Tell all past keys below key (NULL: all that are left). */
static void tell_past(struct past_walk *walk, const struct object_key *key)
{
	while (!walk->stopped && walk->next != NULL &&
	       (key == NULL || compare_keys(&walk->next->key, key) < 0)) {
		if (walk->next->was != NULL && !walk->cb(walk->ctx, walk->next->was))
			walk->stopped = true;
		walk->next = tree_entry(tree_next(&walk->next->node), struct past, node);
	}
}

static bool on_present(void *ctx, const struct object *o)
{
	struct past_walk *walk = ctx;
	struct object_key key = { o->namespace, o->name };

	tell_past(walk, &key);
	if (walk->stopped)
		return false;
	if (walk->next != NULL && compare_keys(&walk->next->key, &key) == 0)
		return true; /* tell_past() of the next key tells what it was. */
	walk->stopped = !walk->cb(walk->ctx, o);
	return !walk->stopped;
}

static void collect_past(struct past_walk *walk, const struct store *s, uint64_t revision,
			 const struct kind *kind, const struct object_key *after,
			 struct past *entries)
{
	for (size_t i = (size_t)(revision + 1 - s->history.first); i < s->history.n; i++) {
		const struct change *change = change_at(&s->history, i);
		const struct object *o = change->old != NULL ? change->old : change->new;
		struct object_key key = { o->namespace, o->name };

		if (o->kind != kind ||
		    (walk->namespace != NULL && strcmp(o->namespace, walk->namespace) != 0) ||
		    (after->name != NULL && compare_keys(&key, after) <= 0))
			continue;

		struct past *entry = &entries[walk->past.count];

		*entry = (struct past){ .was = change->old, .key = key };
		tree_insert(&walk->past, &key, &entry->node); /* The first change wins. */
	}
}

int store_walk_at(const struct store *s, uint64_t revision, const struct kind *kind,
		  const char *namespace, const char *after_namespace, const char *after_name,
		  store_walk_cb *cb, void *ctx)
{
	int rc = history_check(s, revision);

	if (rc < 0)
		return rc;

	autofree struct past *entries =
		xcalloc((size_t)(s->revision - revision) + 1, sizeof(*entries));
	struct past_walk walk = { .namespace = namespace, .cb = cb, .ctx = ctx };
	struct object_key after = { after_namespace, after_name };

	if (after.namespace == NULL)
		after.namespace = namespace != NULL ? namespace : "";

	tree_init(&walk.past, compare_past);
	collect_past(&walk, s, revision, kind, &after, entries);
	walk.next = tree_entry(tree_first(&walk.past), struct past, node);
	store_walk(s, kind, namespace, after_namespace, after_name, on_present, &walk);
	tell_past(&walk, NULL);
	return 0;
}
