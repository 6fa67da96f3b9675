#include "controlplane/deciding/memory.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "controlplane/controllers/keys.h"

static int compare_key(const void *key, const struct tree_node *node)
{
	const struct key *k = key;
	const struct remembered *r =
		tree_entry((struct tree_node *)node, struct remembered, by_key);
	int order = strcmp(k->namespace, r->namespace);

	return order != 0 ? order : strcmp(k->name, r->name);
}

static int compare_time(const void *key, const struct tree_node *node)
{
	const struct remembered *a = key;
	const struct remembered *b =
		tree_entry((struct tree_node *)node, struct remembered, by_time);
	struct key k = { a->namespace, a->name };

	if (a->time_ns != b->time_ns)
		return a->time_ns < b->time_ns ? -1 : 1;
	return compare_key(&k, &b->by_key);
}

void memory_init(struct memory *m)
{
	tree_init(&m->by_key, compare_key);
	tree_init(&m->by_time, compare_time);
}

static void set_time(struct memory *m, struct remembered *r)
{
	uint64_t time_ns = r->not_before_ns;

	if (r->again_ns != 0 && (time_ns == 0 || r->again_ns < time_ns))
		time_ns = r->again_ns;
	if (time_ns == r->time_ns)
		return;
	if (r->time_ns != 0)
		tree_remove(&m->by_time, &r->by_time);
	r->time_ns = time_ns;
	if (r->time_ns != 0)
		tree_insert(&m->by_time, r, &r->by_time);
}

static void forget(struct memory *m, struct remembered *r)
{
	r->not_before_ns = r->again_ns = 0;
	set_time(m, r);
	tree_remove(&m->by_key, &r->by_key);
	free(r->memo);
	free(r->namespace);
	free(r->name);
	free(r);
}

void memory_clear(struct memory *m)
{
	tree_for_each (r, &m->by_key, struct remembered, by_key)
		forget(m, r);
}

struct remembered *memory_find(const struct memory *m, const char *namespace, const char *name)
{
	struct key key = { namespace, name };

	return tree_entry(tree_find(&m->by_key, &key), struct remembered, by_key);
}

struct remembered *memory_get(struct memory *m, const char *namespace, const char *name)
{
	struct remembered *r = memory_find(m, namespace, name);
	struct key key = { namespace, name };

	if (r != NULL)
		return r;
	r = xcalloc(1, sizeof(*r));
	r->namespace = xstrdup(namespace);
	r->name = xstrdup(name);
	tree_insert(&m->by_key, &key, &r->by_key);
	return r;
}

void memory_set_time(struct memory *m, struct remembered *r, uint64_t time_ns)
{
	r->not_before_ns = time_ns;
	set_time(m, r);
}

void memory_set_again(struct memory *m, struct remembered *r, uint64_t time_ns)
{
	r->again_ns = time_ns;
	set_time(m, r);
}

void memory_set_memo(struct memory *m, const char *namespace, const char *name, const char *memo)
{
	struct remembered *r = memo != NULL ? memory_get(m, namespace, name)
					    : memory_find(m, namespace, name);

	if (r == NULL)
		return;
	free(r->memo);
	r->memo = memo != NULL ? xstrdup(memo) : NULL;
	memory_tidy(m, r);
}

void memory_tidy(struct memory *m, struct remembered *r)
{
	if (!r->in_flight && r->failures == 0 && r->not_before_ns == 0 && r->again_ns == 0 &&
	    r->memo == NULL)
		forget(m, r);
}

void memory_forget_failures(struct memory *m, const char *namespace, const char *name)
{
	struct remembered *r = memory_find(m, namespace, name);

	if (r == NULL)
		return;
	r->failures = 0;
	memory_tidy(m, r);
}

static void forgive(struct memory *m, struct remembered *r)
{
	/* A lost race or a full door is no failure, and its short wait stays. */
	if (r->failures == 0)
		return;
	r->failures = 0;
	r->not_before_ns = 0;
	set_time(m, r);
	memory_tidy(m, r);
}

void memory_forgive(struct memory *m, const char *namespace, const char *name)
{
	struct remembered *one;

	if (name != NULL) {
		one = memory_find(m, namespace, name);
		if (one != NULL)
			forgive(m, one);
		return;
	}
	tree_for_each (r, &m->by_key, struct remembered, by_key)
		if (strcmp(r->namespace, namespace) == 0)
			forgive(m, r);
}

void memory_wake(struct memory *m, uint64_t now_ns, struct keys *dirty)
{
	for (;;) {
		struct remembered *r =
			tree_entry(tree_first(&m->by_time), struct remembered, by_time);

		if (r == NULL || r->time_ns > now_ns)
			return;
		if (r->again_ns != 0 && r->again_ns <= now_ns) {
			keys_add(dirty, r->namespace, r->name);
			r->again_ns = 0;
		}
		if (r->not_before_ns <= now_ns)
			r->not_before_ns = 0;
		set_time(m, r);
		memory_tidy(m, r);
	}
}

uint64_t memory_deadline_ns(const struct memory *m)
{
	struct remembered *r = tree_entry(tree_first(&m->by_time), struct remembered, by_time);

	return r != NULL ? r->time_ns : UINT64_MAX;
}

size_t memory_waiting(const struct memory *m, uint64_t now_ns, const struct keys *dirty)
{
	size_t n = 0;

	tree_for_each (r, &m->by_key, struct remembered, by_key)
		if ((r->in_flight || r->not_before_ns > now_ns) &&
		    keys_contain(dirty, r->namespace, r->name))
			n++;
	return n;
}
