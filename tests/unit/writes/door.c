/* The door on one and on three masters, case by case, on virtual time. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/api/kinds.h"
#include "common/api/message.h"
#include "common/api/pack.h"
#include "common/base/alloc.h"
#include "proto/k8s/apps_v1.pb-c.h"
#include "proto/k8s/core_v1.pb-c.h"
#include "tests/sim/cluster/cluster.h"

#define CREATE SAMPAN_MASTER__WRITE_REQUEST__VERB__CREATE
#define UPDATE SAMPAN_MASTER__WRITE_REQUEST__VERB__UPDATE
#define PATCH SAMPAN_MASTER__WRITE_REQUEST__VERB__PATCH
#define DELETE SAMPAN_MASTER__WRITE_REQUEST__VERB__DELETE

/* What came back; the sim's arena keeps the texts. */
struct reply {
	struct sim *sim;
	unsigned times;
	int code;
	bool deleted;
	uint64_t revision;
	const char *reason, *message;
	struct bytes object;
};

static void on_done(void *ctx, const void *write_response)
{
	const SampanMaster__WriteResponse *r = write_response;
	struct reply *reply = ctx;

	reply->times++;
	reply->code = r->code;
	reply->deleted = r->deleted;
	reply->revision = r->revision;
	reply->object = bytes_of(arena_memdup(&reply->sim->arena, r->object.data, r->object.len),
				 r->object.len);
	if (r->has_status) {
		const MetaV1__Status *st =
			unpack_stored(&meta_v1__status__descriptor,
				      bytes_of(r->status.data, r->status.len), &reply->sim->arena);

		reply->reason = st->reason;
		reply->message = st->message;
	}
}

static struct reply *submit(struct sim *sim, unsigned master, SampanMaster__WriteRequest *request)
{
	struct reply *reply = arena_new(&sim->arena, struct reply);

	reply->sim = sim;
	writes_submit(sim->masters[master].writes, request, 10000, on_done, reply);
	return reply;
}

static bool is_answered(struct sim *sim, void *ctx)
{
	return ((struct reply *)ctx)->times > 0;
}

static struct reply *ask(struct sim *sim, unsigned master, SampanMaster__WriteRequest *request)
{
	struct reply *reply = submit(sim, master, request);

	sim_until(sim, is_answered, reply, 20, "an answer");
	assert_int_equal(reply->times, 1);
	return reply;
}

static void expect(const struct reply *reply, int code, const char *reason)
{
	if (reply->code != code ||
	    (reason != NULL && (reply->reason == NULL || strcmp(reply->reason, reason) != 0)))
		fail_msg("expected %d %s, got %d %s: %s", code, reason != NULL ? reason : "",
			 reply->code, reply->reason != NULL ? reply->reason : "",
			 reply->message != NULL ? reply->message : "");
}

static void make_namespace(struct sim *sim)
{
	expect(ask(sim, 0,
		   sim_request(sim, CREATE, "namespaces", "", "default",
			       "{'metadata':{'name':'default'}}")),
	       201, NULL);
}

static int setup_one(void **state)
{
	static struct sim sim;

	sim_init(&sim, 1, &(struct sim_options){ .masters = 1, .commit_us_max = 2000 });
	sim_elect(&sim, 0);
	make_namespace(&sim);
	*state = &sim;
	return 0;
}

static int setup_three(void **state)
{
	static struct sim sim;

	sim_init(&sim, 2,
		 &(struct sim_options){
			 .masters = 3, .commit_us_max = 2000, .message_us_max = 500 });
	sim_elect(&sim, 0);
	make_namespace(&sim);
	*state = &sim;
	return 0;
}

static int teardown(void **state)
{
	sim_fini(*state);
	return 0;
}

static const char config_a[] = "{'metadata':{'name':'a'},'data':{'k':'1'}}";

static struct reply *create_a(struct sim *sim, unsigned master)
{
	return ask(sim, master, sim_request(sim, CREATE, "configmaps", "default", "", config_a));
}

/* --- One master ------------------------------------------------------------------------ */

static void test_create_get_delete(void **state)
{
	struct sim *sim = *state;
	struct reply *r = create_a(sim, 0);

	expect(r, 201, NULL);

	const struct object *o = sim_get(sim, 0, "configmaps", "default", "a");

	assert_non_null(o);
	assert_int_equal(o->revision, r->revision);
	assert_int_equal(o->packed.len, r->object.len);
	assert_string_not_equal(o->facts.uid, "");
	expect(create_a(sim, 0), 409, "AlreadyExists");
	r = ask(sim, 0, sim_request(sim, DELETE, "configmaps", "default", "a", NULL));
	expect(r, 200, NULL);
	assert_true(r->deleted);
	assert_null(sim_get(sim, 0, "configmaps", "default", "a"));
	expect(ask(sim, 0, sim_request(sim, DELETE, "configmaps", "default", "a", NULL)), 404,
	       "NotFound");
}

static void test_update_needs_the_version(void **state)
{
	struct sim *sim = *state;
	char json[256];
	uint64_t revision = create_a(sim, 0)->revision;

	snprintf(json, sizeof(json),
		 "{'metadata':{'name':'a','resourceVersion':'%llu'},'data':{'k':'2'}}",
		 (unsigned long long)revision);
	expect(ask(sim, 0, sim_request(sim, UPDATE, "configmaps", "default", "a", json)), 200,
	       NULL);
	expect(ask(sim, 0, sim_request(sim, UPDATE, "configmaps", "default", "a", json)), 409,
	       "Conflict");
	expect(ask(sim, 0,
		   sim_request(sim, UPDATE, "configmaps", "default", "b",
			       "{'metadata':{'name':'b'}}")),
	       404, "NotFound");
	expect(ask(sim, 0,
		   sim_request(sim, UPDATE, "configmaps", "default", "a",
			       "{'metadata':{'name':'b'}}")),
	       400, "BadRequest");
}

static void test_nothing_changes(void **state)
{
	struct sim *sim = *state;
	uint64_t revision = create_a(sim, 0)->revision;
	size_t entries = sim->n_log;
	struct reply *r =
		ask(sim, 0,
		    sim_request(sim, PATCH, "configmaps", "default", "a", "{'data':{'k':'1'}}"));

	expect(r, 200, NULL);
	assert_int_equal(r->revision, revision);
	assert_int_equal(store_revision(sim->masters[0].store), revision);
	assert_int_equal(sim->n_log, entries);
}

static void test_dry_run(void **state)
{
	struct sim *sim = *state;
	SampanMaster__WriteRequest *request =
		sim_request(sim, CREATE, "configmaps", "default", "", config_a);
	size_t entries = sim->n_log;

	request->has_dry_run = request->dry_run = true;

	struct reply *r = ask(sim, 0, request);

	expect(r, 201, NULL);
	assert_true(r->object.len > 0);
	assert_int_equal(sim->n_log, entries);
	assert_null(sim_get(sim, 0, "configmaps", "default", "a"));
	/* A dry run leaves nothing behind that a real one would trip over. */
	expect(create_a(sim, 0), 201, NULL);
}

/* Patches of one turn build on each other although none is applied yet. */
static void test_patches_of_one_turn(void **state)
{
	struct sim *sim = *state;
	struct reply *replies[20];
	size_t entries;

	(void)create_a(sim, 0);
	entries = sim->n_log;
	for (int i = 0; i < 20; i++) {
		char json[64];

		snprintf(json, sizeof(json), "{'data':{'x%d':'y'}}", i);
		replies[i] =
			submit(sim, 0, sim_request(sim, PATCH, "configmaps", "default", "a", json));
	}
	for (int i = 0; i < 20; i++) {
		sim_until(sim, is_answered, replies[i], 5, "a patch");
		expect(replies[i], 200, NULL);
	}
	assert_int_equal(sim->n_log, entries + 1);

	const CoreV1__ConfigMap *config =
		unpack_stored(&core_v1__config_map__descriptor,
			      sim_get(sim, 0, "configmaps", "default", "a")->packed, &sim->arena);

	assert_int_equal(config->n_data, 21);
}

/* Addresses and ports of one turn never collide, and the range is used up exactly. */
static void test_allocation_in_one_entry(void **state)
{
	struct sim *sim = *state;
	struct reply *replies[60];
	unsigned granted = 0;
	size_t entries = sim->n_log;

	for (int i = 0; i < 60; i++) {
		char json[256];

		snprintf(
			json, sizeof(json),
			"{'metadata':{'name':'s%d'},'spec':{'type':'NodePort','ports':[{'port':80}]}}",
			i);
		replies[i] =
			submit(sim, 0, sim_request(sim, CREATE, "services", "default", "", json));
	}
	for (int i = 0; i < 60; i++) {
		sim_until(sim, is_answered, replies[i], 5, "a Service");
		granted += replies[i]->code == 201;
	}
	/* 30000-30049 are fifty node ports. */
	assert_int_equal(granted, 50);
	assert_int_equal(sim->n_log, entries + 1);
}

static void test_status_and_scale(void **state)
{
	struct sim *sim = *state;
	static const char json[] =
		"{'metadata':{'name':'d'},'spec':{'replicas':2,'selector':{'matchLabels':{'a':'b'}},"
		"'template':{'metadata':{'labels':{'a':'b'}},'spec':{'containers':[{'name':'c',"
		"'image':'i'}]}}}}";
	SampanMaster__WriteRequest *request;

	expect(ask(sim, 0, sim_request(sim, CREATE, "deployments.apps", "default", "", json)), 201,
	       NULL);
	request = sim_request(sim, PATCH, "deployments.apps", "default", "d",
			      "{'spec':{'replicas':7}}");
	request->subresource = (char *)"scale";
	expect(ask(sim, 0, request), 200, NULL);
	request = sim_request(
		sim, PATCH, "deployments.apps", "default", "d",
		"{'spec':{'replicas':9},'status':{'observedGeneration':2,'replicas':1}}");
	request->subresource = (char *)"status";
	expect(ask(sim, 0, request), 200, NULL);

	const AppsV1__Deployment *d = unpack_stored(
		&apps_v1__deployment__descriptor,
		sim_get(sim, 0, "deployments.apps", "default", "d")->packed, &sim->arena);

	assert_int_equal(d->spec->replicas, 7);
	assert_int_equal(d->metadata->generation, 2);
	assert_int_equal(d->status->replicas, 1);
}

static void test_storage_low(void **state)
{
	struct sim *sim = *state;

	writes_storage_low(sim->masters[0].writes, true);
	expect(create_a(sim, 0), 507, "InsufficientStorage");
	writes_storage_low(sim->masters[0].writes, false);
	expect(create_a(sim, 0), 201, NULL);
}

/* --- Three masters ------------------------------------------------------------------------ */

static void test_followers_forward(void **state)
{
	struct sim *sim = *state;

	expect(create_a(sim, 1), 201, NULL);
	expect(create_a(sim, 2), 409, "AlreadyExists");
	expect(ask(sim, 2, sim_request(sim, DELETE, "configmaps", "default", "a", NULL)), 200,
	       NULL);
	assert_null(sim_get(sim, 0, "configmaps", "default", "a"));
}

static void test_nobody_leads(void **state)
{
	struct sim *sim = *state;
	struct reply *waits, *late;

	sim_depose(sim);
	late = submit(sim, 1, sim_request(sim, CREATE, "configmaps", "default", "", config_a));
	sim_run(sim, 12 * 1000000);
	assert_int_equal(late->times, 1);
	expect(late, 504, "Timeout");
	waits = submit(sim, 1, sim_request(sim, CREATE, "configmaps", "default", "", config_a));
	sim_run(sim, 2 * 1000000);
	assert_int_equal(waits->times, 0);
	sim_elect(sim, 2);
	sim_until(sim, is_answered, waits, 2, "an answer after the election");
	expect(waits, 201, NULL);
}

/* Whether the old leader's entry survives or not, the write happens exactly once. */
static void test_leadership_lost_in_flight(void **state)
{
	struct sim *sim = *state;

	for (int i = 0; i < 40; i++) {
		char json[64], name[16];
		unsigned client = (unsigned)i % 3, next = (unsigned)(sim->leader + 1) % 3;

		snprintf(name, sizeof(name), "c%d", i);
		snprintf(json, sizeof(json), "{'metadata':{'name':'%s'}}", name);

		struct reply *r = submit(
			sim, client, sim_request(sim, CREATE, "configmaps", "default", "", json));

		sim_run(sim, sim_draw(sim, 3000));
		sim_depose(sim);
		sim_run(sim, sim_draw(sim, 3000));
		sim_elect(sim, next);
		sim_until(sim, is_answered, r, 5, "an answer");
		expect(r, 201, NULL);
		assert_int_equal(r->times, 1);
		assert_non_null(sim_get(sim, (unsigned)sim->leader, "configmaps", "default", name));
	}
	assert_int_equal(
		store_count(sim->masters[sim->leader].store, kind_of_resource("configmaps")), 40);
}

static void test_session_ends_in_a_quiet_hour(void **state)
{
	struct sim *sim = *state;

	expect(create_a(sim, 1), 201, NULL);
	expect(ask(sim, 2, sim_request(sim, DELETE, "configmaps", "default", "a", NULL)), 200,
	       NULL);
	/* Nothing for longer than a session lives; then everybody writes again. */
	sim_run(sim, 11ull * 60 * 1000000);
	expect(create_a(sim, 1), 201, NULL);
	expect(ask(sim, 2, sim_request(sim, DELETE, "configmaps", "default", "a", NULL)), 200,
	       NULL);
	expect(create_a(sim, 0), 201, NULL);
}

static void test_one_wrong_clock(void **state)
{
	struct sim *sim = *state;
	int64_t before = writes_now_ns(sim->masters[0].writes), after;

	/* Master 1's wall clock is five hours ahead. */
	sim_elect(sim, 1);
	sim_run(sim, 2 * 1000000);
	expect(create_a(sim, 0), 201, NULL);
	after = writes_now_ns(sim->masters[1].writes);
	assert_true(after >= before);
	assert_true(after - before < 60ll * 1000000000);
}

/* Its leader is behind: the first two answers of three may be its own and a right one. */
static void test_slow_clock_of_the_first_leader(void **state)
{
	struct sim sim;
	int64_t before;

	sim_init(&sim, 3, &(struct sim_options){ .masters = 3, .message_us_max = 1500 });
	sim.masters[0].source.wall_offset_ns -= 5 * 3600 * 1000000000ll;
	sim.masters[1].source.wall_offset_ns = sim.source.wall_offset_ns;
	sim_elect(&sim, 0);
	make_namespace(&sim);
	before = writes_now_ns(sim.masters[0].writes);
	for (unsigned i = 1; i <= 6; i++) {
		sim_elect(&sim, i % 3);
		expect(ask(&sim, 0,
			   sim_request(&sim, CREATE, "configmaps", "default", "",
				       "{'metadata':{'generateName':'c-'}}")),
		       201, NULL);
		assert_true(writes_now_ns(sim.masters[i % 3].writes) - before < 60 * 1000000000ll);
	}
	sim_fini(&sim);
}

/* Who does not know that somebody else leads answers nothing from the state it has. */
static void test_cut_off_leader(void **state)
{
	static const char one[] = "{'data':{'k':'1'}}", two[] = "{'data':{'k':'2'}}";
	struct sim *sim = *state;
	struct reply *unchanged, *refused;

	expect(create_a(sim, 0), 201, NULL);
	sim_run(sim, 10000);
	sim_cut_off_leader(sim);
	sim_elect(sim, 1);
	expect(ask(sim, 1, sim_request(sim, PATCH, "configmaps", "default", "a", two)), 200, NULL);
	unchanged = submit(sim, 0, sim_request(sim, PATCH, "configmaps", "default", "a", one));
	refused = submit(sim, 0, sim_request(sim, CREATE, "configmaps", "default", "", config_a));
	sim_run(sim, 300000);
	assert_int_equal(unchanged->times, 0);
	assert_int_equal(refused->times, 0);
	sim_join(sim, 0);
	sim_until(sim, is_answered, unchanged, 5, "an answer");
	sim_until(sim, is_answered, refused, 5, "an answer");
	expect(unchanged, 200, NULL);
	expect(refused, 409, "AlreadyExists");

	const struct object *a = sim_get(sim, 1, "configmaps", "default", "a");
	const CoreV1__ConfigMap *m = unpack_stored(a->kind->descriptor, a->packed, &sim->arena);

	assert_string_equal(m->data[0]->value, "1");
}

int main(void)
{
#define ONE(test) cmocka_unit_test_setup_teardown(test, setup_one, teardown)
#define THREE(test) cmocka_unit_test_setup_teardown(test, setup_three, teardown)
	const struct CMUnitTest tests[] = {
		ONE(test_create_get_delete),
		ONE(test_update_needs_the_version),
		ONE(test_nothing_changes),
		ONE(test_dry_run),
		ONE(test_patches_of_one_turn),
		ONE(test_allocation_in_one_entry),
		ONE(test_status_and_scale),
		ONE(test_storage_low),
		THREE(test_followers_forward),
		THREE(test_nobody_leads),
		THREE(test_leadership_lost_in_flight),
		THREE(test_session_ends_in_a_quiet_hour),
		THREE(test_one_wrong_clock),
		THREE(test_cut_off_leader),
		cmocka_unit_test(test_slow_clock_of_the_first_leader),
	};

	return cmocka_run_group_tests_name("writes door", tests, NULL, NULL);
}
