/* The driver of the controllers, with a controller that does what its object says:
 *
 *   child    creates NAME-child          again    looks again in 5 s
 *   bad      creates what admission refuses       anything else: nothing */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/api/kinds.h"
#include "common/api/make.h"
#include "common/api/pack.h"
#include "common/base/log.h"
#include "controlplane/controllers/keys.h"
#include "proto/k8s/core_v1.pb-c.h"
#include "tests/sim/cluster/cluster.h"

static unsigned reconciles, refusals;

/* The simulator's clock, and what reconciling took of it. */
static struct slow_source {
	struct source base;
	struct source *inner;
	uint64_t spent_ns, look_ns;
} slow;

static uint64_t slow_monotonic_ns(struct source *s)
{
	return slow.inner->monotonic_ns(slow.inner) + slow.spent_ns;
}

static void on_change(const struct view *view, const struct object *old, const struct object *new,
		      struct keys *keys)
{
	const struct object *o = new != NULL ? new : old;

	if (strcmp(o->kind->resource, "configmaps") == 0)
		keys_add(keys, o->namespace, o->name);
}

static bool on_seed(void *ctx, const struct object *o)
{
	keys_add(ctx, o->namespace, o->name);
	return true;
}

static void seed(const struct view *view, struct keys *keys)
{
	store_walk(view->store, kind_of_resource("configmaps"), NULL, NULL, NULL, on_seed, keys);
}

static CoreV1__ConfigMap *make_config(struct arena *a, const char *namespace, const char *name,
				      const struct object *owner)
{
	CoreV1__ConfigMap *c = make(a, CoreV1__ConfigMap, core_v1__config_map);
	MetaV1__OwnerReference *ref = make(a, MetaV1__OwnerReference, meta_v1__owner_reference);

	c->metadata = make(a, MetaV1__ObjectMeta, meta_v1__object_meta);
	c->metadata->name = arena_strdup(a, name);
	c->metadata->namespace_ = arena_strdup(a, namespace);
	ref->apiversion = (char *)"v1";
	ref->kind = (char *)"ConfigMap";
	ref->name = arena_strdup(a, owner->name);
	ref->uid = arena_strdup(a, owner->facts.uid);
	make_set(ref, controller, true);
	make_append(a, c->metadata, ownerreferences, ref);
	return c;
}

static void reconcile(struct view *view, struct key key, struct intents *intents)
{
	const struct object *o = view_get(view, "configmaps", key.namespace, key.name);
	const CoreV1__ConfigMap *config;
	const char *what, *child;

	reconciles++;
	slow.spent_ns += slow.look_ns;
	if (o == NULL)
		return;
	config = view_message(view, o);
	what = config->n_data > 0 ? config->data[0]->value : "";
	child = arena_printf(view->arena, "%s-child", key.name);
	if (strcmp(what, "child") == 0 &&
	    view_get(view, "configmaps", key.namespace, child) == NULL)
		intend_create(intents, "configmaps", key.namespace,
			      &make_config(view->arena, key.namespace, child, o)->base);
	else if (strcmp(what, "bad") == 0)
		intend_create(intents, "configmaps", key.namespace,
			      &make_config(view->arena, key.namespace, "Not A Name", o)->base);
	else if (strcmp(what, "again") == 0)
		intend_again(intents, view_now_ns(view) + 5ll * 1000000000);
}

/* Makes NAME-said, and asks for nothing when there is one. */
static void refused(struct view *view, struct key key, const struct refusal *refusal,
		    struct intents *intents)
{
	const struct object *o = view_get(view, "configmaps", key.namespace, key.name);
	const char *said = arena_printf(view->arena, "%s-said", key.name);

	refusals++;
	assert_int_equal(refusal->creates_before, 0);
	assert_int_equal(refusal->intent->type, INTENT_CREATE);
	assert_non_null(strstr(refusal->message, "Not A Name"));
	if (view_get(view, "configmaps", key.namespace, said) == NULL)
		intend_create(intents, "configmaps", key.namespace,
			      &make_config(view->arena, key.namespace, said, o)->base);
}

static const struct controller controller = {
	.name = "test-controller",
	.on_change = on_change,
	.seed = seed,
	.reconcile = reconcile,
	.refused = refused,
};
static const struct controller *const one_controller[] = { &controller, NULL };

struct fixture {
	struct sim sim;
	struct deciding *deciding;
};

static void ignore(void *ctx, const void *response)
{
}

static void run(struct fixture *f, unsigned ms)
{
	for (unsigned i = 0; i < ms; i++) {
		deciding_turn(f->deciding);
		sim_run(&f->sim, 1000);
	}
}

static void create(struct fixture *f, const char *name, const char *what)
{
	writes_submit(f->sim.masters[0].writes,
		      sim_request(&f->sim, SAMPAN_MASTER__WRITE_REQUEST__VERB__CREATE, "configmaps",
				  "default", "",
				  arena_printf(&f->sim.arena,
					       "{'metadata':{'name':'%s'},'data':{'k':'%s'}}", name,
					       what)),
		      5000, ignore, NULL);
}

static int setup(void **state)
{
	static struct fixture f;

	sim_init(&f.sim, 3, &(struct sim_options){ .masters = 1 });
	sim_elect(&f.sim, 0);
	writes_submit(f.sim.masters[0].writes,
		      sim_request(&f.sim, SAMPAN_MASTER__WRITE_REQUEST__VERB__CREATE, "namespaces",
				  "", "", "{'metadata':{'name':'default'}}"),
		      5000, ignore, NULL);
	sim_run(&f.sim, 10000);
	slow = (struct slow_source){ .base = f.sim.masters[0].source.base,
				     .inner = &f.sim.masters[0].source.base };
	slow.base.monotonic_ns = slow_monotonic_ns;
	f.deciding = deciding_create(&(struct deciding_config){
		.store = f.sim.masters[0].store,
		.writes = f.sim.masters[0].writes,
		.source = &slow.base,
		.controllers = one_controller,
	});
	reconciles = refusals = 0;
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	deciding_destroy(f->deciding);
	sim_fini(&f->sim);
	return 0;
}

static void test_seeds_and_follows(void **state)
{
	struct fixture *f = *state;

	create(f, "a", "child");
	run(f, 20);
	assert_int_equal(reconciles, 0); /* It does not lead yet. */
	deciding_lead(f->deciding);
	run(f, 20);
	assert_non_null(sim_get(&f->sim, 0, "configmaps", "default", "a-child"));
	create(f, "b", "child");
	run(f, 20);
	assert_non_null(sim_get(&f->sim, 0, "configmaps", "default", "b-child"));
	assert_int_equal(deciding_deadline_ns(f->deciding), UINT64_MAX);

	unsigned before = reconciles;

	run(f, 5000);
	assert_int_equal(reconciles, before);
}

static void test_waits_for_its_plan(void **state)
{
	struct fixture *f = *state;

	create(f, "a", "child");
	sim_run(&f->sim, 20000);
	f->sim.options.commit_us_max = 50000;
	deciding_lead(f->deciding);
	deciding_turn(f->deciding);
	assert_int_equal(reconciles, 1);
	for (int i = 0; i < 10; i++) {
		deciding_mark(f->deciding, "test-controller", "default", "a");
		deciding_turn(f->deciding);
	}
	assert_int_equal(reconciles, 1);
	run(f, 100);
	/* Once for the marks, and for the child. */
	assert_true(reconciles >= 2);
	assert_true(reconciles <= 4);
	assert_non_null(sim_get(&f->sim, 0, "configmaps", "default", "a-child"));
}

static bool on_event(void *ctx, const struct object *o)
{
	*(const struct object **)ctx = o;
	return true;
}

static void test_backs_off_when_refused(void **state)
{
	const struct object *event = NULL;
	struct fixture *f = *state;
	const CoreV1__Event *e;

	deciding_lead(f->deciding);
	create(f, "a", "bad");
	run(f, 10000);
	/* 50 ms, doubling: after ten seconds about the eighth time; what the controller makes of
	 * the refusal (a-said is looked at, once) ends no back-off. */
	assert_true(refusals >= 6);
	assert_true(refusals <= 10);
	assert_int_equal(reconciles, refusals + 1);
	assert_non_null(sim_get(&f->sim, 0, "configmaps", "default", "a-said"));
	store_walk(f->sim.masters[0].store, kind_of_resource("events"), NULL, NULL, NULL, on_event,
		   &event);
	assert_non_null(event);
	e = unpack_stored(&core_v1__event__descriptor, event->packed, &f->sim.arena);
	assert_string_equal(e->reason, "FailedCreate");
	assert_string_equal(e->type, "Warning");
	assert_string_equal(e->involvedobject->name, "a");
	assert_int_equal(e->count, refusals);
	assert_non_null(strstr(e->message, "Error creating: "));
	assert_int_equal(store_count(f->sim.masters[0].store, kind_of_resource("events")), 1);
}

static void quota(struct fixture *f, SampanMaster__WriteRequest__Verb verb, const char *pods)
{
	bool deletes = verb == SAMPAN_MASTER__WRITE_REQUEST__VERB__DELETE;

	writes_submit(f->sim.masters[0].writes,
		      sim_request(&f->sim, verb, "resourcequotas", "default", deletes ? "q" : "",
				  deletes ? NULL
					  : arena_printf(&f->sim.arena,
							 "{'metadata':{'name':'q'},'spec':{"
							 "'hard':{'pods':'%s'}}}",
							 pods)),
		      5000, ignore, NULL);
}

static void test_tries_again_when_a_quota_goes(void **state)
{
	struct fixture *f = *state;
	unsigned before;

	deciding_lead(f->deciding);
	quota(f, SAMPAN_MASTER__WRITE_REQUEST__VERB__CREATE, "3");
	create(f, "a", "bad");
	run(f, 10000);
	before = refusals;
	quota(f, SAMPAN_MASTER__WRITE_REQUEST__VERB__DELETE, NULL);
	run(f, 20);
	assert_int_equal(refusals, before + 1);
	/* The back-off begins anew: 50, 100, 200 ms. */
	run(f, 500);
	assert_int_equal(refusals, before + 4);
}

static void test_looks_again(void **state)
{
	struct fixture *f = *state;

	deciding_lead(f->deciding);
	create(f, "a", "again");
	run(f, 4000);
	assert_int_equal(reconciles, 1);
	run(f, 2000);
	assert_int_equal(reconciles, 2);
	run(f, 15500);
	assert_int_equal(reconciles, 5);
}

/* Looks of 10 ms: with a change in every millisecond no more than a fifth of the time is theirs. */
static void test_rests_after_long_looks(void **state)
{
	struct fixture *f = *state;

	deciding_lead(f->deciding);
	create(f, "a", "nothing");
	run(f, 20);
	reconciles = 0;
	slow.look_ns = 10000000;
	for (int i = 0; i < 1000; i++) {
		deciding_mark(f->deciding, "test-controller", "default", "a");
		run(f, 1);
	}
	assert_in_range(reconciles, 20, 25);
	/* The last mark is not forgotten. */
	reconciles = 0;
	deciding_mark(f->deciding, "test-controller", "default", "a");
	run(f, 50);
	assert_int_equal(reconciles, 1);
}

static void test_stops(void **state)
{
	struct fixture *f = *state;

	f->sim.options.commit_us_max = 50000;
	deciding_lead(f->deciding);
	create(f, "a", "child");
	run(f, 60);
	deciding_stop(f->deciding);

	unsigned before = reconciles;

	run(f, 200);
	assert_int_equal(reconciles, before);
	deciding_lead(f->deciding);
	run(f, 200);
	assert_true(reconciles > before);
	assert_non_null(sim_get(&f->sim, 0, "configmaps", "default", "a-child"));
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_seeds_and_follows),
		CASE(test_waits_for_its_plan),
		CASE(test_backs_off_when_refused),
		CASE(test_tries_again_when_a_quota_goes),
		CASE(test_looks_again),
		CASE(test_rests_after_long_looks),
		CASE(test_stops),
	};

	log_init("test", LOG_ERROR);
	return cmocka_run_group_tests_name("deciding driver", tests, NULL, NULL);
}
