/* Random plans against a model that fits a page: what the store holds, finds,
 * remembers and hashes must be what the model says, on two stores fed the same
 * entries and on a third one restored from a snapshot now and then. */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/api/kinds.h"
#include "common/base/alloc.h"
#include "common/base/source.h"
#include "tests/unit/store/entry.h"

enum { NAMES = 8, NAMESPACES = 3, KINDS = 3, KEYS = NAMES * NAMESPACES * KINDS, CLAIMS = 6 };
enum { ENTRIES = 400, PAST = 64 };

static const char *const resources[KINDS] = { "configmaps", "pods", "secrets" };
static const char *const claim_names[CLAIMS] = { "a/1", "a/2", "a/3", "b/1", "b/2", "b/3" };

struct slot {
	bool exists;
	unsigned content; /* Decides labels, owner, node. */
	uint64_t created, revision;
	int claim; /* -1: none. */
};

struct model {
	struct slot slots[KEYS];
	uint64_t revision;
};

struct world {
	struct seeded_source source;
	struct entry entry;
	struct store *a, *b;
	struct model model, past[PAST]; /* past[revision % PAST] */
};

static unsigned draw(struct world *w, unsigned below)
{
	return (unsigned)source_random_below(&w->source.base, below);
}

static const char *key_resource(unsigned key)
{
	return resources[key % KINDS];
}

static const char *key_namespace(unsigned key)
{
	static const char *const names[NAMESPACES] = { "alpha", "beta", "gamma" };

	return names[key / KINDS % NAMESPACES];
}

static const char *key_name(unsigned key)
{
	static const char *const names[NAMES] = { "n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7" };

	return names[key / KINDS / NAMESPACES];
}

static struct bytes content_of(struct world *w, unsigned key, unsigned content)
{
	char json[512];

	snprintf(json, sizeof(json),
		 "{'metadata':{'name':'%s','namespace':'%s','uid':'u-%u','labels':{'color':'c%u'},"
		 "'ownerReferences':[{'apiVersion':'v1','kind':'X','name':'o','uid':'o-%u',"
		 "'controller':true}]}%s%s%s}",
		 key_name(key), key_namespace(key), key, content % 3, content % 2,
		 key % KINDS == 1 ? ",'spec':{'nodeName':'" : "",
		 key % KINDS == 1 ? (content % 4 == 0   ? ""
				     : content % 4 == 1 ? "node-1"
							: "node-2")
				  : "",
		 key % KINDS == 1 ? "'}" : "");
	return packed_json(&w->entry, key_resource(key), json);
}

static bool claim_free(const struct model *m, int claim, unsigned key)
{
	for (unsigned i = 0; i < KEYS; i++)
		if (i != key && m->slots[i].exists && m->slots[i].claim == claim)
			return false;
	return true;
}

/* One plan of up to three operations on different keys, with what the model expects of it. */
static int add_plan(struct world *w, struct model *after)
{
	SampanStore__Plan *plan = entry_plan(&w->entry);
	struct model before = *after;
	unsigned n = 1 + draw(w, 3), first = draw(w, KEYS);
	int rc = 0;

	if (draw(w, 4) == 0) {
		unsigned key = draw(w, KEYS);
		const struct slot *s = &before.slots[key];
		uint64_t revision = draw(w, 2) != 0 ? s->revision : s->revision + 1;

		if (draw(w, 2) != 0) {
			plan_absent(&w->entry, plan, key_resource(key), key_namespace(key),
				    key_name(key));
			rc = s->exists ? -EEXIST : 0;
		} else {
			plan_present(&w->entry, plan, key_resource(key), key_namespace(key),
				     key_name(key), NULL, revision);
			rc = !s->exists                                 ? -ENOENT
			     : revision != s->revision && revision != 0 ? -ESTALE
									: 0;
		}
	}
	for (unsigned i = 0; i < n; i++) {
		unsigned key = (first + i * 7) % KEYS, content = draw(w, 12);
		struct slot *s = &after->slots[key];
		int claim = draw(w, 3) == 0 ? (int)draw(w, CLAIMS) : -1;

		/* Only pods say enough to tell twelve contents apart. */
		content %= key % KINDS == 1 ? 12 : 6;

		const char *claims[] = { claim < 0 ? NULL : claim_names[claim], NULL };

		if (draw(w, 3) == 0) {
			del(&w->entry, plan, key_resource(key), key_namespace(key), key_name(key));
			after->revision += s->exists;
			*s = (struct slot){ .claim = -1 };
			continue;
		}
		put(&w->entry, plan, key_resource(key), key_namespace(key), key_name(key),
		    content_of(w, key, content), claims);
		if (claim >= 0 && !claim_free(after, claim, key) && rc == 0)
			rc = -EADDRINUSE;
		if (s->exists && s->content == content && s->claim == claim)
			continue;
		after->revision++;
		if (!s->exists)
			s->created = after->revision;
		s->exists = true;
		s->content = content;
		s->claim = claim;
		s->revision = after->revision;
	}
	if (rc < 0)
		*after = before;
	return rc;
}

/* --- Comparing -------------------------------------------------------------------- */

struct counter {
	const struct model *model;
	size_t n;
	const struct object *last;
};

static bool on_walked(void *ctx, const struct object *o)
{
	struct counter *c = ctx;

	if (c->last != NULL)
		assert_true(strcmp(c->last->namespace, o->namespace) < 0 ||
			    (strcmp(c->last->namespace, o->namespace) == 0 &&
			     strcmp(c->last->name, o->name) < 0));
	c->last = o;
	c->n++;
	return true;
}

static bool on_counted(void *ctx, const struct object *o)
{
	((struct counter *)ctx)->n++;
	return true;
}

static bool on_claim(void *ctx, const char *claim, const struct object *holder)
{
	((struct counter *)ctx)->n++;
	return true;
}

static void compare_objects(const struct store *s, const struct model *m)
{
	for (unsigned key = 0; key < KEYS; key++) {
		const struct kind *kind = kind_of_resource(key_resource(key));
		const struct object *o = store_get(s, kind, key_namespace(key), key_name(key));
		const struct slot *slot = &m->slots[key];
		char uid[16];

		snprintf(uid, sizeof(uid), "u-%u", key);
		assert_int_equal(o != NULL, slot->exists);
		assert_ptr_equal(store_get_uid(s, uid), o);
		if (o == NULL)
			continue;
		assert_int_equal(o->revision, slot->revision);
		assert_int_equal(o->created_revision, slot->created);
		assert_int_equal(o->n_claims, slot->claim >= 0);
		if (slot->claim >= 0)
			assert_ptr_equal(store_claim(s, claim_names[slot->claim]), o);
	}
}

static void compare_indexes(const struct store *s, const struct model *m)
{
	const struct kind *pods = kind_of_resource("pods");
	size_t colors[3] = { 0 }, owned[2] = { 0 }, nodes[3] = { 0 }, n_claims = 0;
	static const char *const node_names[3] = { "", "node-1", "node-2" };
	struct counter c = { 0 };

	for (unsigned key = 0; key < KEYS; key++) {
		const struct slot *slot = &m->slots[key];

		if (!slot->exists)
			continue;
		n_claims += slot->claim >= 0;
		owned[slot->content % 2]++;
		if (key % KINDS != 1)
			continue;
		nodes[slot->content % 4 == 0 ? 0 : slot->content % 4 == 1 ? 1 : 2]++;
		if (strcmp(key_namespace(key), "beta") == 0)
			colors[slot->content % 3]++;
	}
	for (unsigned i = 0; i < 3; i++) {
		char color[8];

		snprintf(color, sizeof(color), "c%u", i);
		c = (struct counter){ 0 };
		store_walk_label(s, pods, "beta", "color", color, on_walked, &c);
		assert_int_equal(c.n, colors[i]);
		c = (struct counter){ 0 };
		store_walk_node_pods(s, node_names[i], on_walked, &c);
		assert_int_equal(c.n, nodes[i]);
	}
	for (unsigned i = 0; i < 2; i++) {
		char uid[8];

		snprintf(uid, sizeof(uid), "o-%u", i);
		c = (struct counter){ 0 };
		store_walk_owned(s, NULL, uid, on_counted, &c);
		assert_int_equal(c.n, owned[i]);
	}
	c = (struct counter){ 0 };
	store_walk_claims(s, "", on_claim, &c);
	assert_int_equal(c.n, n_claims);
}

/* The past of one kind, from the history, against what the model was. */
static void compare_past(const struct store *s, const struct model *was)
{
	for (unsigned k = 0; k < KINDS; k++) {
		const struct kind *kind = kind_of_resource(resources[k]);
		struct counter c = { 0 };
		size_t n = 0;

		for (unsigned key = k; key < KEYS; key += KINDS)
			n += was->slots[key].exists;
		assert_int_equal(
			store_walk_at(s, was->revision, kind, NULL, NULL, NULL, on_walked, &c), 0);
		assert_int_equal(c.n, n);
		n = 0;
		for (unsigned key = k; key < KEYS; key += KINDS)
			n += was->slots[key].exists && (strcmp(key_namespace(key), "beta") > 0 ||
							(strcmp(key_namespace(key), "beta") == 0 &&
							 strcmp(key_name(key), "n3") > 0));
		c = (struct counter){ 0 };
		assert_int_equal(
			store_walk_at(s, was->revision, kind, NULL, "beta", "n3", on_walked, &c),
			0);
		assert_int_equal(c.n, n);
	}
}

/* --- Replaying the history ------------------------------------------------------------ */

struct replay {
	uint64_t next;
	bool exists[KEYS];
};

static unsigned key_of(const struct object *o)
{
	for (unsigned key = 0; key < KEYS; key++)
		if (strcmp(key_resource(key), o->kind->resource) == 0 &&
		    strcmp(key_namespace(key), o->namespace) == 0 &&
		    strcmp(key_name(key), o->name) == 0)
			return key;
	fail_msg("unknown key %s/%s", o->namespace, o->name);
	return 0;
}

static bool on_history(void *ctx, const struct change *change)
{
	struct replay *r = ctx;
	unsigned key = key_of(change->new != NULL ? change->new : change->old);

	assert_int_equal(change->revision, r->next++);
	assert_int_equal(r->exists[key], change->old != NULL);
	r->exists[key] = change->new != NULL;
	return true;
}

static void compare_history(struct world *w, const struct model *was)
{
	struct replay r = { .next = was->revision + 1 };

	for (unsigned key = 0; key < KEYS; key++)
		r.exists[key] = was->slots[key].exists;
	assert_int_equal(store_history(w->a, was->revision, on_history, &r), 0);
	assert_int_equal(r.next, w->model.revision + 1);
	for (unsigned key = 0; key < KEYS; key++)
		assert_int_equal(r.exists[key], w->model.slots[key].exists);
}

/* --- Snapshots -------------------------------------------------------------------------- */

static int write_buf(void *ctx, const void *data, size_t n)
{
	buf_put(ctx, data, n);
	return 0;
}

static ssize_t read_buf(void *ctx, void *to, size_t n)
{
	struct buf *b = ctx;

	if (n > 100)
		n = 100; /* Small pieces, so that records straddle them. */
	if (n > b->len)
		n = b->len;
	memcpy(to, b->data, n);
	buf_consume(b, n);
	return (ssize_t)n;
}

static void compare_snapshot(struct world *w)
{
	struct store *restored = store_create(&store_limits_default);
	struct store_snapshot *snap = store_snapshot_take(w->a);
	struct status st = { 0 };
	struct buf b = { 0 };

	assert_int_equal(store_snapshot_write(snap, write_buf, &b), 0);
	store_snapshot_release(snap);
	if (store_restore(restored, read_buf, &b, &st) < 0)
		fail_msg("restore: %s", st.message);
	assert_int_equal(store_hash(restored), store_hash(w->a));
	assert_int_equal(store_revision(restored), store_revision(w->a));
	assert_int_equal(store_history_begin(restored), store_revision(w->a));
	compare_objects(restored, &w->model);
	compare_indexes(restored, &w->model);
	buf_fini(&b);
	/* Both go on alike: the restored one takes b's place. */
	store_destroy(w->b);
	w->b = restored;
}

static void step(struct world *w)
{
	int expected[8];
	unsigned n = 1 + draw(w, 8);

	entry_reset(&w->entry);
	w->entry.message.has_time_ns = true;
	w->entry.message.time_ns = (int64_t)w->model.revision * 1000;
	for (unsigned i = 0; i < n; i++)
		expected[i] = add_plan(w, &w->model);
	const struct plan_result *results = entry_apply(&w->entry, w->a);

	for (unsigned i = 0; i < n; i++)
		assert_int_equal(results[i].rc, expected[i]);
	(void)entry_apply(&w->entry, w->b);
	w->past[w->model.revision % PAST] = w->model;
	assert_int_equal(store_revision(w->a), w->model.revision);
	assert_int_equal(store_hash(w->a), store_hash(w->b));
	compare_objects(w->a, &w->model);
	compare_indexes(w->a, &w->model);
	if (draw(w, 8) == 0) {
		const struct model *was = &w->past[draw(w, PAST)];

		if (was->revision >= store_history_begin(w->a) && was->revision > 0) {
			compare_past(w->a, was);
			compare_history(w, was);
		}
	}
	if (draw(w, 40) == 0)
		compare_snapshot(w);
}

static void run_seed(uint64_t seed)
{
	struct store_limits limits = store_limits_default;
	struct world *w = xcalloc(1, sizeof(*w));

	limits.history_events = 50;
	seeded_source_init(&w->source, seed);
	entry_init(&w->entry);
	w->a = store_create(&limits);
	w->b = store_create(&store_limits_default);
	for (unsigned i = 0; i < KEYS; i++)
		w->model.slots[i].claim = -1;
	for (unsigned i = 0; i < ENTRIES; i++)
		step(w);
	assert_true(w->model.revision > 100);
	store_destroy(w->a);
	store_destroy(w->b);
	entry_fini(&w->entry);
	free(w);
}

static void test_random_plans(void **state)
{
	for (uint64_t seed = 1; seed <= 8; seed++)
		run_seed(seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_random_plans) };

	return cmocka_run_group_tests_name("store model", tests, NULL, NULL);
}
