/* Quotas at the door: never more than there is, however many ask at once. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/api/kinds.h"
#include "common/api/message.h"
#include "common/api/resources.h"
#include "common/base/cleanup.h"
#include "controlplane/store/intents.h"
#include "proto/k8s/core_v1.pb-c.h"
#include "tests/unit/writes/ask.h"

static struct sim *setup(unsigned masters)
{
	static struct sim sim;

	sim_init(&sim, 3,
		 &(struct sim_options){
			 .masters = masters, .commit_us_max = 2000, .message_us_max = 500 });
	sim_elect(&sim, 0);
	create(&sim, "namespaces", "", "{'metadata':{'name':'default'}}");
	create(&sim, "namespaces", "", "{'metadata':{'name':'free'}}");
	create(&sim, "serviceaccounts", "default", "{'metadata':{'name':'default'}}");
	return &sim;
}

static void quota(struct sim *sim, const char *name, const char *spec)
{
	char json[512];

	snprintf(json, sizeof(json), "{'metadata':{'name':'%s'},'spec':{%s}}", name, spec);
	create(sim, "resourcequotas", "default", json);
}

static const char *pod(struct sim *sim, const char *name, const char *resources)
{
	return arena_printf(&sim->arena,
			    "{'metadata':{'name':'%s'},'spec':{'containers':[{'name':'c','image':"
			    "'i','resources':{%s}}]}}",
			    name, resources);
}

static const char *used(struct sim *sim, unsigned master, const char *name, const char *resource)
{
	const CoreV1__ResourceQuota *q = unpack_stored(
		&core_v1__resource_quota__descriptor,
		sim_get(sim, master, "resourcequotas", "default", name)->packed, &sim->arena);

	return resource_text(q->status->used, q->status->n_used, resource);
}

static struct reply *ask_for(struct sim *sim, const char *resource, const char *json)
{
	return ask(sim, sim_request(sim, CREATE, resource, "default", "", json));
}

static void all_at_once(void **state)
{
	struct sim *sim = setup(1);
	struct reply *replies[20];
	int granted = 0;

	quota(sim, "q", "'hard':{'pods':'7','requests.cpu':'100'}");
	for (int i = 0; i < 20; i++)
		replies[i] = submit(sim, sim_request(sim, CREATE, "pods", "default", "",
						     pod(sim, arena_printf(&sim->arena, "p%d", i),
							 "'requests':{'cpu':'500m'}")));
	for (int i = 0; i < 20; i++) {
		sim_until(sim, is_answered, replies[i], 5, "a pod");
		granted += replies[i]->code == 201;
		if (replies[i]->code == 201)
			continue;
		want(replies[i], 403);
		assert_string_equal(
			replies[i]->message,
			arena_printf(&sim->arena,
				     "pods \"p%d\" is forbidden: exceeded quota: q, requested: "
				     "pods=1, used: pods=7, limited: pods=7",
				     i));
	}
	assert_int_equal(granted, 7);
	assert_string_equal(used(sim, 0, "q", "pods"), "7");
	assert_string_equal(used(sim, 0, "q", "requests.cpu"), "3500m");

	want(ask(sim, sim_request(sim, DELETE, "pods", "default", "p0", NULL)), 200);
	assert_string_equal(used(sim, 0, "q", "pods"), "6");
	replies[0] = ask_for(sim, "pods", pod(sim, "again", "'requests':{'cpu':'1'}"));
	want(replies[0], 201);
	/* The revision of an answer is the object's, not that of the quota beside it. */
	assert_int_equal(replies[0]->revision,
			 sim_get(sim, 0, "pods", "default", "again")->revision);
	assert_string_equal(used(sim, 0, "q", "requests.cpu"), "4");
	sim_fini(sim);
}

static void what_is_asked_for(void **state)
{
	struct sim *sim = setup(1);
	struct reply *r;

	quota(sim, "q",
	      "'hard':{'requests.cpu':'1','limits.memory':'1Gi','services.nodeports':'2',"
	      "'count/configmaps':'1'}");
	r = ask_for(sim, "pods", pod(sim, "p", ""));
	want(r, 403);
	assert_string_equal(r->message, "pods \"p\" is forbidden: failed quota: q: must specify "
					"limits.memory for: c; requests.cpu for: c");
	r = ask_for(
		sim, "pods",
		pod(sim, "p", "'requests':{'cpu':'2','memory':'1Mi'},'limits':{'memory':'2Gi'}"));
	want(r, 403);
	assert_string_equal(
		r->message,
		"pods \"p\" is forbidden: exceeded quota: q, requested: "
		"limits.memory=2Gi,requests.cpu=2, used: limits.memory=0,requests.cpu=0, "
		"limited: limits.memory=1Gi,requests.cpu=1");

	/* A Service that changes its type takes node ports, and gives them back. */
	want(ask_for(sim, "services", "{'metadata':{'name':'s'},'spec':{'ports':[{'port':80}]}}"),
	     201);
	want(ask(sim, sim_request(sim, PATCH, "services", "default", "s",
				  "{'spec':{'type':'NodePort'}}")),
	     200);
	assert_string_equal(used(sim, 0, "q", "services.nodeports"), "1");
	want(ask_for(sim, "services",
		     "{'metadata':{'name':'t'},'spec':{'type':'NodePort','ports':[{'name':'a',"
		     "'port':80},{'name':'b','port':81}]}}"),
	     403);
	want(ask(sim, sim_request(sim, PATCH, "services", "default", "s",
				  "{'spec':{'type':'ClusterIP','externalTrafficPolicy':null}}")),
	     200);
	assert_string_equal(used(sim, 0, "q", "services.nodeports"), "0");

	want(ask_for(sim, "configmaps", "{'metadata':{'name':'a'}}"), 201);
	want(ask_for(sim, "configmaps", "{'metadata':{'name':'b'}}"), 403);
	/* Updates of what is only counted are free, and so is another namespace. */
	want(ask(sim, sim_request(sim, PATCH, "configmaps", "default", "a", "{'data':{'k':'v'}}")),
	     200);
	want(ask(sim,
		 sim_request(sim, CREATE, "configmaps", "free", "", "{'metadata':{'name':'b'}}")),
	     201);
	sim_fini(sim);
}

static void a_finished_pod_gives_back(void **state)
{
	struct sim *sim = setup(1);
	SampanMaster__WriteRequest *r;

	quota(sim, "q", "'hard':{'pods':'1','count/pods':'5'}");
	quota(sim, "best", "'hard':{'pods':'9'},'scopes':['BestEffort']");
	want(ask_for(sim, "pods", pod(sim, "a", "")), 201);
	assert_string_equal(used(sim, 0, "best", "pods"), "1");
	want(ask_for(sim, "pods", pod(sim, "b", "")), 403);
	r = sim_request(sim, PATCH, "pods", "default", "a", "{'status':{'phase':'Succeeded'}}");
	r->subresource = (char *)"status";
	want(ask(sim, r), 200);
	assert_string_equal(used(sim, 0, "q", "pods"), "0");
	assert_string_equal(used(sim, 0, "q", "count/pods"), "1");
	assert_string_equal(used(sim, 0, "best", "pods"), "0");
	want(ask_for(sim, "pods", pod(sim, "b", "")), 201);
	/* Refused by one quota, it is charged to none. */
	want(ask_for(sim, "pods", pod(sim, "c", "")), 403);
	assert_string_equal(used(sim, 0, "best", "pods"), "1");
	sim_fini(sim);
}

static void dry_runs_and_quotas_themselves(void **state)
{
	struct sim *sim = setup(1);
	SampanMaster__WriteRequest *r;

	quota(sim, "q", "'hard':{'configmaps':'1','resourcequotas':'2'}");
	r = sim_request(sim, CREATE, "configmaps", "default", "", "{'metadata':{'name':'a'}}");
	r->has_dry_run = r->dry_run = true;
	want(ask(sim, r), 201);
	assert_string_equal(used(sim, 0, "q", "configmaps"), "0");
	assert_string_equal(used(sim, 0, "q", "resourcequotas"), "1");
	quota(sim, "second", "'hard':{'pods':'1'}");
	assert_string_equal(used(sim, 0, "q", "resourcequotas"), "2");
	want(ask_for(sim, "resourcequotas", "{'metadata':{'name':'third'},'spec':{}}"), 403);
	want(ask(sim, sim_request(sim, DELETE, "resourcequotas", "default", "second", NULL)), 200);
	assert_string_equal(used(sim, 0, "q", "resourcequotas"), "1");
	want(ask(sim, sim_request(sim, DELETE, "resourcequotas", "default", "q", NULL)), 200);
	sim_fini(sim);
}

/* --- A controller's plan ------------------------------------------------------------------ */

static void on_intents(void *ctx, int rc)
{
	*(int *)ctx = rc == 0 ? 1 : rc;
}

static bool is_done(struct sim *sim, void *ctx)
{
	(void)sim;
	return *(int *)ctx != 0;
}

static int make_maps(struct sim *sim, const char *prefix, int n, int *done, struct status *st)
{
	struct intents intents;
	const struct intent *refused;

	intents_init(&intents, &sim->arena);
	for (int i = 0; i < n; i++) {
		CoreV1__ConfigMap *map = make(&sim->arena, CoreV1__ConfigMap, core_v1__config_map);

		message_metadata_make(map, &sim->arena)->name =
			arena_printf(&sim->arena, "%s%d", prefix, i);
		intend_create(&intents, "configmaps", "default", &map->base);
	}
	return writes_submit_intents(sim->masters[0].writes, &intents, on_intents, done, &refused,
				     st);
}

static void a_plan_is_charged_once(void **state)
{
	auto_with(status_fini) struct status st = { 0 };
	struct sim *sim = setup(1);
	uint64_t before;
	int done = 0, second = 0;

	quota(sim, "q", "'hard':{'configmaps':'50'}");
	before = store_revision(sim->masters[0].store);
	assert_int_equal(make_maps(sim, "a", 40, &done, &st), 1);
	/* The next one sees what is in flight. */
	assert_int_equal(make_maps(sim, "b", 20, &second, &st), -EPERM);
	assert_string_equal(st.message,
			    "configmaps \"b10\" is forbidden: exceeded quota: q, requested: "
			    "configmaps=1, used: configmaps=50, limited: configmaps=50");
	sim_until(sim, is_done, &done, 5, "the plan");
	assert_int_equal(done, 1);
	assert_string_equal(used(sim, 0, "q", "configmaps"), "40");
	/* Forty objects and one quota. */
	assert_int_equal(store_revision(sim->masters[0].store) - before, 41);
	sim_fini(sim);
}

/* --- Leaders that go ------------------------------------------------------------------------ */

static void however_often_the_leader_changes(void **state)
{
	struct sim *sim = setup(3);
	struct reply *replies[60];
	unsigned granted = 0;
	size_t there = 0;

	quota(sim, "q", "'hard':{'configmaps':'25'}");
	for (unsigned i = 0; i < 60; i++) {
		const char *json = arena_printf(&sim->arena, "{'metadata':{'name':'c%u'}}", i);

		replies[i] = arena_new(&sim->arena, struct reply);
		replies[i]->sim = sim;
		writes_submit(sim->masters[i % 3].writes,
			      sim_request(sim, CREATE, "configmaps", "default", "", json), 10000,
			      on_done, replies[i]);
		sim_run(sim, 300 + sim_draw(sim, 1500));
		if (i % 10 == 9) {
			sim_depose(sim);
			sim_run(sim, 1000);
			sim_elect(sim, (i / 10 + 1) % 3);
		}
	}
	for (unsigned i = 0; i < 60; i++)
		sim_until(sim, is_answered, replies[i], 20, "an answer");
	for (unsigned i = 0; i < 60; i++)
		granted += replies[i]->code == 201;
	for (unsigned i = 0; i < 60; i++)
		there += sim_get(sim, 0, "configmaps", "default",
				 arena_printf(&sim->arena, "c%u", i)) != NULL;
	assert_int_equal(there, 25);
	assert_true(granted <= 25);
	assert_string_equal(used(sim, 0, "q", "configmaps"), "25");
	sim_fini(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_at_once),
		cmocka_unit_test(what_is_asked_for),
		cmocka_unit_test(a_finished_pod_gives_back),
		cmocka_unit_test(dry_runs_and_quotas_themselves),
		cmocka_unit_test(a_plan_is_charged_once),
		cmocka_unit_test(however_often_the_leader_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
