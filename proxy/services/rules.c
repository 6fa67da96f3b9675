/* A hash table of entries by key, and a list of those whose wanted and real values may
 * differ: a change costs what it touches, whatever else the table holds. */
#include "proxy/services/rules.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/map.h"

struct entry {
	struct entry *next; /* Of the bucket. */
	struct element e;   /* With the wanted value. */
	uint64_t kernel_value;
	unsigned owners;
	bool in_kernel, dirty;
};

struct rules {
	struct entry **buckets;
	size_t n_buckets, n_entries;
	struct entry **dirty;
	size_t n_dirty, cap_dirty;
	size_t n_wanted;
	bool freed;
};

static size_t bucket_of(const struct rules *r, const struct element *e)
{
	uint8_t text[1 + ELEMENT_KEY_MAX];

	text[0] = e->set;
	memcpy(text + 1, e->key, ELEMENT_KEY_MAX);
	return hash_bytes(text, sizeof(text)) & (r->n_buckets - 1);
}

struct rules *rules_create(void)
{
	struct rules *r = xcalloc(1, sizeof(*r));

	r->n_buckets = 256;
	r->buckets = xcalloc(r->n_buckets, sizeof(*r->buckets));
	return r;
}

void rules_destroy(struct rules *r)
{
	if (r == NULL)
		return;
	for (size_t i = 0; i < r->n_buckets; i++) {
		for (struct entry *e = r->buckets[i], *next; e != NULL; e = next) {
			next = e->next;
			free(e);
		}
	}
	free(r->buckets);
	free(r->dirty);
	free(r);
}

static struct entry *find(const struct rules *r, const struct element *key)
{
	for (struct entry *e = r->buckets[bucket_of(r, key)]; e != NULL; e = e->next) {
		if (element_compare(&e->e, key) == 0)
			return e;
	}
	return NULL;
}

static void grow(struct rules *r)
{
	struct entry **old = r->buckets;
	size_t n_old = r->n_buckets;

	r->n_buckets *= 2;
	r->buckets = xcalloc(r->n_buckets, sizeof(*r->buckets));
	for (size_t i = 0; i < n_old; i++) {
		for (struct entry *e = old[i], *next; e != NULL; e = next) {
			size_t b = bucket_of(r, &e->e);

			next = e->next;
			e->next = r->buckets[b];
			r->buckets[b] = e;
		}
	}
	free(old);
}

static struct entry *find_or_add(struct rules *r, const struct element *key)
{
	struct entry *e = find(r, key);

	if (e != NULL)
		return e;
	if (r->n_entries >= r->n_buckets)
		grow(r);
	e = xcalloc(1, sizeof(*e));
	e->e = *key;
	size_t b = bucket_of(r, key);

	e->next = r->buckets[b];
	r->buckets[b] = e;
	r->n_entries++;
	return e;
}

static void remove_entry(struct rules *r, struct entry *gone)
{
	struct entry **link = &r->buckets[bucket_of(r, &gone->e)];

	while (*link != gone)
		link = &(*link)->next;
	*link = gone->next;
	r->n_entries--;
	free(gone);
}

static void mark(struct rules *r, struct entry *e)
{
	if (e->dirty)
		return;
	e->dirty = true;
	array_grow(r->dirty, r->n_dirty, r->cap_dirty);
	r->dirty[r->n_dirty++] = e;
}

static void release(struct rules *r, const struct element *key)
{
	struct entry *e = find(r, key);

	assert(e != NULL);
	assert(e->owners > 0);
	if (--e->owners > 0)
		return;
	r->n_wanted--;
	r->freed = true;
	mark(r, e);
}

/* False: somebody else has another value there. */
static bool claim(struct rules *r, const struct element *want)
{
	struct entry *e = find_or_add(r, want);

	if (e->owners > 0 && e->e.value != want->value)
		return false;
	if (e->owners++ == 0) {
		e->e.value = want->value;
		r->n_wanted++;
		mark(r, e);
	}
	return true;
}

/* The same key may only change its value after every old element was let go. */
static void release_missing(struct rules *r, struct elements *have, const struct elements *want)
{
	size_t j = 0, kept = 0;

	for (size_t i = 0; i < have->n; i++) {
		while (j < want->n && element_compare(&want->items[j], &have->items[i]) < 0)
			j++;
		if (j < want->n && element_compare(&want->items[j], &have->items[i]) == 0 &&
		    want->items[j].value == have->items[i].value)
			have->items[kept++] = have->items[i];
		else
			release(r, &have->items[i]);
	}
	have->n = kept;
}

void rules_set(struct rules *r, struct rules_part *part, struct elements *want)
{
	size_t i = 0, kept = 0;

	part->n_conflicts = 0;
	release_missing(r, &part->have, want);
	for (size_t j = 0; j < want->n; j++) {
		while (i < part->have.n &&
		       element_compare(&part->have.items[i], &want->items[j]) < 0)
			i++;
		bool mine = i < part->have.n &&
			    element_compare(&part->have.items[i], &want->items[j]) == 0;

		if (mine || claim(r, &want->items[j]))
			want->items[kept++] = want->items[j];
		else
			part->n_conflicts++;
	}
	want->n = kept;
	elements_fini(&part->have);
	part->have = *want;
	*want = (struct elements){ 0 };
}

bool rules_freed(struct rules *r)
{
	bool freed = r->freed;

	r->freed = false;
	return freed;
}

bool rules_lookup(const struct rules *r, const struct element *key, uint64_t *ret_value)
{
	const struct entry *e = find(r, key);

	if (e == NULL || (e->owners == 0 && !e->in_kernel))
		return false;
	*ret_value = e->owners > 0 ? e->e.value : e->kernel_value;
	return true;
}

void rules_adopt(struct rules *r, const struct element *found)
{
	struct entry *e = find_or_add(r, found);

	e->in_kernel = true;
	e->kernel_value = found->value;
	mark(r, e);
}

void rules_forget_kernel(struct rules *r)
{
	for (size_t i = 0; i < r->n_buckets; i++) {
		for (struct entry *e = r->buckets[i]; e != NULL; e = e->next) {
			e->in_kernel = false;
			mark(r, e);
		}
	}
}

static int compare_changes(const void *a, const void *b)
{
	const struct rules_change *x = a, *y = b;

	return element_compare(&x->element, &y->element);
}

size_t rules_changes(const struct rules *r, struct rules_change **ret)
{
	struct rules_change *changes = xcalloc(r->n_dirty + 1, sizeof(*changes));
	size_t n = 0;

	for (size_t i = 0; i < r->n_dirty; i++) {
		const struct entry *e = r->dirty[i];
		bool wanted = e->owners > 0;

		if (wanted == e->in_kernel && (!wanted || e->e.value == e->kernel_value))
			continue;
		changes[n] = (struct rules_change){ e->e, e->in_kernel, wanted };
		if (!wanted)
			changes[n].element.value = e->kernel_value;
		n++;
	}
	qsort(changes, n, sizeof(*changes), compare_changes);
	*ret = changes;
	return n;
}

void rules_committed(struct rules *r)
{
	size_t n = r->n_dirty;

	r->n_dirty = 0;
	for (size_t i = 0; i < n; i++) {
		struct entry *e = r->dirty[i];

		e->dirty = false;
		e->in_kernel = e->owners > 0;
		e->kernel_value = e->e.value;
		if (e->owners == 0)
			remove_entry(r, e);
	}
}

size_t rules_count(const struct rules *r)
{
	return r->n_wanted;
}

void rules_visit(const struct rules *r, rules_visit_fn *fn, void *arg)
{
	for (size_t i = 0; i < r->n_buckets; i++) {
		for (const struct entry *e = r->buckets[i]; e != NULL; e = e->next) {
			if (e->owners > 0)
				fn(arg, &e->e);
		}
	}
}
