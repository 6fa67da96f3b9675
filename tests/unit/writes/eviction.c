/* Evictions at the door: decided in one order, never past a budget. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/api/kinds.h"
#include "common/api/pack.h"
#include "common/base/cleanup.h"
#include "proto/k8s/core_v1.pb-c.h"
#include "proto/k8s/policy_v1.pb-c.h"
#include "tests/sim/cluster/cluster.h"
#include "tests/unit/writes/ask.h"

#define BUDGETS "poddisruptionbudgets.policy"

static SampanMaster__WriteRequest *eviction_of(struct sim *sim, const char *pod, bool dry_run)
{
	SampanMaster__WriteRequest *r = sim_request(sim, CREATE, "pods", "default", pod, NULL);
	PolicyV1__Eviction eviction = POLICY_V1__EVICTION__INIT;
	MetaV1__DeleteOptions options = META_V1__DELETE_OPTIONS__INIT;
	char *all = (char *)"All";

	r->has_body = true;
	r->subresource = (char *)"eviction";
	if (dry_run) {
		options.n_dryrun = 1;
		options.dryrun = &all;
		eviction.deleteoptions = &options;
	}

	struct bytes packed = pack_message_in(&sim->arena, &eviction);

	r->body = (ProtobufCBinaryData){ packed.len, (uint8_t *)packed.data };
	return r;
}

/* A pod that is bound and says of itself what status has. */
static void run_pod(struct sim *sim, const char *name, const char *status)
{
	char json[256];
	SampanMaster__WriteRequest *r;

	snprintf(json, sizeof(json),
		 "{'metadata':{'name':'%s','labels':{'app':'web'}},'spec':{'nodeName':'n',"
		 "'containers':[{'name':'c','image':'i'}]}}",
		 name);
	create(sim, "pods", "default", json);
	r = sim_request(sim, PATCH, "pods", "default", name, status);
	r->subresource = (char *)"status";
	want(ask(sim, r), 200);
}

#define READY "{'status':{'phase':'Running','conditions':[{'type':'Ready','status':'True'}]}}"
#define UNREADY "{'status':{'phase':'Running','conditions':[{'type':'Ready','status':'False'}]}}"
#define PENDING "{'status':{'phase':'Pending'}}"
#define FAILED "{'status':{'phase':'Failed'}}"

static void budget(struct sim *sim, const char *name, const char *spec)
{
	char json[256];

	snprintf(json, sizeof(json),
		 "{'metadata':{'name':'%s'},'spec':{'selector':{'matchLabels':{'app':'web'}},%s}}",
		 name, spec);
	create(sim, BUDGETS, "default", json);
}

static struct sim *setup(void)
{
	static struct sim sim;

	sim_init(&sim, 1, &(struct sim_options){ .masters = 1, .commit_us_max = 2000 });
	sim_elect(&sim, 0);
	create(&sim, "namespaces", "", "{'metadata':{'name':'default'}}");
	create(&sim, "serviceaccounts", "default", "{'metadata':{'name':'default'}}");
	return &sim;
}

static const struct {
	const char *name, *victim; /* Its status. */
	const char *others[3], *spec;
	int code;
} cases[] = {
	{ "the budget lets it", READY, { READY, READY }, "'minAvailable':2", 201 },
	{ "the budget is used up", READY, { READY }, "'minAvailable':2", 429 },
	{ "others are missing", READY, { READY, UNREADY }, "'minAvailable':2", 429 },
	{ "a pending pod is not missed", PENDING, { READY }, "'minAvailable':2", 201 },
	{ "a failed pod is not missed", FAILED, { READY }, "'minAvailable':2", 201 },
	{ "one that is not ready may go while the others are enough",
	  UNREADY,
	  { READY, READY },
	  "'minAvailable':2",
	  201 },
	{ "but not when they are not", UNREADY, { READY }, "'minAvailable':2", 429 },
	{ "unless it is always allowed",
	  UNREADY,
	  { READY },
	  "'minAvailable':2,'unhealthyPodEvictionPolicy':'AlwaysAllow'",
	  201 },
	{ "which says nothing of those that are ready",
	  READY,
	  { READY },
	  "'minAvailable':2,'unhealthyPodEvictionPolicy':'AlwaysAllow'",
	  429 },
	{ "nothing is wanted of it", READY, { NULL }, "'minAvailable':0", 201 },
	{ "without a number that is known nobody goes",
	  READY,
	  { READY },
	  "'maxUnavailable':1",
	  429 },
};

static void who_may_go(void **state)
{
	for (size_t i = 0; i < array_size(cases); i++) {
		struct sim *sim;
		struct reply *r;

		sim = setup();
		run_pod(sim, "victim", cases[i].victim);
		for (size_t k = 0; k < array_size(cases[i].others) && cases[i].others[k]; k++)
			run_pod(sim, k == 0 ? "a" : k == 1 ? "b" : "c", cases[i].others[k]);
		budget(sim, "b", cases[i].spec);
		r = ask(sim, eviction_of(sim, "victim", false));
		if (r->code != cases[i].code)
			fail_msg("%s: got %d %s", cases[i].name, r->code,
				 r->message ? r->message : "");
		sim_fini(sim);
	}
}

/* Ten ask in one turn, before anything is applied. */
static void all_at_once(void **state)
{
	struct sim *sim;
	struct reply *replies[10];
	int granted = 0;

	sim = setup();
	for (int i = 0; i < 10; i++) {
		char name[16];

		snprintf(name, sizeof(name), "p%d", i);
		run_pod(sim, name, READY);
	}
	budget(sim, "b", "'minAvailable':7");
	for (int i = 0; i < 10; i++) {
		char name[16];

		snprintf(name, sizeof(name), "p%d", i);
		replies[i] = submit(sim, eviction_of(sim, name, false));
	}
	for (int i = 0; i < 10; i++) {
		sim_until(sim, is_answered, replies[i], 5, "an eviction");
		granted += replies[i]->code == 201;
		if (replies[i]->code == 201)
			continue;
		want(replies[i], 429);
		assert_string_equal(
			replies[i]->message,
			"Cannot evict pod as it would violate the pod's disruption budget.");
		assert_string_equal(replies[i]->cause, "DisruptionBudget");
		assert_string_equal(
			replies[i]->cause_message,
			"The disruption budget b needs 7 healthy pods and has 7 currently");
	}
	assert_int_equal(granted, 3);

	const PolicyV1__PodDisruptionBudget *b =
		unpack_stored(&policy_v1__pod_disruption_budget__descriptor,
			      sim_get(sim, 0, BUDGETS, "default", "b")->packed, &sim->arena);

	assert_int_equal(b->status->disruptionsallowed, 0);
	sim_fini(sim);
}

static void what_is_left_of_one(void **state)
{
	struct sim *sim;

	sim = setup();
	run_pod(sim, "a", READY);
	run_pod(sim, "b", READY);
	budget(sim, "b", "'minAvailable':1");

	/* A dry run says yes and changes nothing. */
	want(ask(sim, eviction_of(sim, "a", true)), 201);
	assert_true(sim_get(sim, 0, "pods", "default", "a")->facts.deleted_ns == 0);

	want(ask(sim, eviction_of(sim, "a", false)), 201);

	const CoreV1__Pod *pod =
		unpack_stored(&core_v1__pod__descriptor,
			      sim_get(sim, 0, "pods", "default", "a")->packed, &sim->arena);
	const CoreV1__PodCondition *c = pod->status->conditions[pod->status->n_conditions - 1];

	assert_non_null(pod->metadata->deletiontimestamp);
	assert_string_equal(c->type, "DisruptionTarget");
	assert_string_equal(c->status, "True");
	assert_string_equal(c->reason, "EvictionByEvictionAPI");
	assert_string_equal(c->message, "Eviction API: evicting");

	const PolicyV1__PodDisruptionBudget *b =
		unpack_stored(&policy_v1__pod_disruption_budget__descriptor,
			      sim_get(sim, 0, BUDGETS, "default", "b")->packed, &sim->arena);

	assert_int_equal(b->status->n_disruptedpods, 1);
	assert_string_equal(b->status->disruptedpods[0]->key, "a");
	/* Who goes already goes again without asking. */
	want(ask(sim, eviction_of(sim, "a", false)), 201);
	want(ask(sim, eviction_of(sim, "b", false)), 429);
	want(ask(sim, eviction_of(sim, "nobody", false)), 404);
	sim_fini(sim);
}

static void two_budgets_are_one_too_many(void **state)
{
	struct sim *sim;
	struct reply *r;

	sim = setup();
	run_pod(sim, "a", READY);
	budget(sim, "b", "'minAvailable':0");
	budget(sim, "c", "'minAvailable':0");
	r = ask(sim, eviction_of(sim, "a", false));
	want(r, 500);
	assert_string_equal(r->message, "This pod has more than one PodDisruptionBudget, which the "
					"eviction subresource does not support.");
	sim_fini(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_may_go),
		cmocka_unit_test(all_at_once),
		cmocka_unit_test(what_is_left_of_one),
		cmocka_unit_test(two_budgets_are_one_too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
