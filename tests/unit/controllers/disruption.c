/* PodDisruptionBudgets: what each world allows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/cleanup.h"
#include "proto/k8s/policy_v1.pb-c.h"
#include "tests/unit/world/world.h"

extern const struct controller controller_disruption;

#define BUDGETS "poddisruptionbudgets.policy"

/* Pods by one letter each: R ready, N not ready, D ready and on its way out, F failed; one that is
 * followed by ! has no controller. They belong to the ReplicaSet web of a Deployment web. */
static const struct {
	const char *name, *spec, *owner;
	int replicas;
	const char *pods;
	const char *status; /* allowed current/desired/expected reason */
} cases[] = {
	{ "enough", "'minAvailable':2", "Deployment", 3, "RRR", "1 3/2/3 SufficientPods" },
	{ "just enough", "'minAvailable':3", "Deployment", 3, "RRR", "0 3/3/3 InsufficientPods" },
	{ "too few", "'minAvailable':3", "Deployment", 3, "RRN", "0 2/3/3 InsufficientPods" },
	{ "a number counts the pods that there are", "'minAvailable':1", "Deployment", 9, "RR",
	  "1 2/1/2 SufficientPods" },
	{ "no pods", "'minAvailable':0", "Deployment", 3, "", "0 0/0/0 InsufficientPods" },
	{ "zero needed", "'minAvailable':0", "Deployment", 3, "RRR", "3 3/0/3 SufficientPods" },
	{ "half, rounded up", "'minAvailable':'50%'", "Deployment", 5, "RRRRR",
	  "2 5/3/5 SufficientPods" },
	{ "a share is of what is wanted", "'minAvailable':'50%'", "Deployment", 10, "RRRRR",
	  "0 5/5/10 InsufficientPods" },
	{ "all of them", "'minAvailable':'100%'", "Deployment", 2, "RR",
	  "0 2/2/2 InsufficientPods" },
	{ "one may be missing", "'maxUnavailable':1", "Deployment", 3, "RRR",
	  "1 3/2/3 SufficientPods" },
	{ "one is missing already", "'maxUnavailable':1", "Deployment", 3, "RRN",
	  "0 2/2/3 InsufficientPods" },
	{ "one was never made", "'maxUnavailable':1", "Deployment", 3, "RR",
	  "0 2/2/3 InsufficientPods" },
	{ "more than there are", "'maxUnavailable':7", "Deployment", 3, "RRR",
	  "3 3/0/3 SufficientPods" },
	{ "a third, rounded up", "'maxUnavailable':'34%'", "Deployment", 4, "RRRR",
	  "2 4/2/4 SufficientPods" },
	{ "nobody", "'maxUnavailable':0", "Deployment", 3, "RRR", "0 3/3/3 InsufficientPods" },
	{ "one on its way out is missing", "'maxUnavailable':1", "Deployment", 3, "RRD",
	  "0 2/2/3 InsufficientPods" },
	{ "a failed one is not healthy", "'minAvailable':1", "Deployment", 3, "RRF",
	  "1 2/1/3 SufficientPods" },
	{ "a ReplicaSet without a Deployment", "'maxUnavailable':1", "ReplicaSet", 3, "RRR",
	  "1 3/2/3 SufficientPods" },
	{ "a StatefulSet", "'maxUnavailable':1", "StatefulSet", 4, "RRRR",
	  "1 4/3/4 SufficientPods" },
	{ "a Job has no scale", "'maxUnavailable':1", "Job", 3, "RRR", "0 0/0/0 SyncFailed" },
	{ "a Job with a number", "'minAvailable':1", "Job", 3, "RRR", "2 3/1/3 SufficientPods" },
	{ "an owner that is gone", "'maxUnavailable':1", "", 3, "RRR", "0 0/0/0 SyncFailed" },
	{ "pods that nobody controls do not count", "'maxUnavailable':1", "Deployment", 2, "RRR!",
	  "2 3/1/2 SufficientPods" },
	{ "neither is said", "", "Deployment", 3, "RRR", "0 3/0/0 InsufficientPods" },
};

static void put_owner(struct world *w, const char *kind, int replicas)
{
	const char *group = strcmp(kind, "Job") == 0 ? "batch/v1" : "apps/v1";
	bool deployment = strcmp(kind, "Deployment") == 0;

	if (kind[0] == '\0')
		return;
	world_put(w, arena_printf(&w->arena,
				  "{'apiVersion':'%s','kind':'%s','metadata':{'name':'web',"
				  "'namespace':'default','uid':'uid-%s'},'spec':{%s%s}}",
				  group, kind, deployment ? "above" : "web",
				  strcmp(kind, "Job") == 0
					  ? "'parallelism':1"
					  : arena_printf(&w->arena, "'replicas':%d", replicas),
				  ""));
	if (deployment)
		world_put(w, "{'apiVersion':'apps/v1','kind':'ReplicaSet','metadata':{'name':'web',"
			     "'namespace':'default','uid':'uid-web','ownerReferences':[{"
			     "'apiVersion':'apps/v1','kind':'Deployment','name':'web','uid':"
			     "'uid-above','controller':true}]},'spec':{'replicas':77}}");
}

static void put_pod(struct world *w, size_t i, char letter, bool orphan, const char *owner)
{
	bool set = owner[0] == '\0' || strcmp(owner, "Deployment") == 0;

	world_put(w,
		  arena_printf(
			  &w->arena,
			  "{'kind':'Pod','metadata':{'name':'pod-%zu','namespace':'default',"
			  "'labels':{'app':'web'}%s%s},'spec':{'containers':[]},'status':{"
			  "'phase':'%s','conditions':[{'type':'Ready','status':'%s'}]}}",
			  i,
			  orphan ? ""
				 : arena_printf(&w->arena,
						",'ownerReferences':[{'apiVersion':'%s','kind':"
						"'%s','name':'web','uid':'uid-web','controller':"
						"true}]",
						strcmp(owner, "Job") == 0 ? "batch/v1" : "apps/v1",
						set ? "ReplicaSet" : owner),
			  letter == 'D' ? ",'deletionTimestamp':'2023-11-14T22:13:20Z'" : "",
			  letter == 'F' ? "Failed" : "Running",
			  letter == 'N' || letter == 'F' ? "False" : "True"));
}

static void put_pods(struct world *w, const char *pods, const char *owner)
{
	for (size_t i = 0; pods[i] != '\0'; i++)
		if (pods[i] != '!')
			put_pod(w, i, pods[i], pods[i + 1] == '!', owner);
}

static const struct object *put_budget(struct world *w, const char *spec)
{
	return world_create(w,
			    arena_printf(&w->arena,
					 "{'apiVersion':'policy/v1','kind':'PodDisruptionBudget',"
					 "'metadata':{'name':'b','namespace':'default'},'spec':{"
					 "'selector':{'matchLabels':{'app':'web'}}%s%s}}",
					 spec[0] ? "," : "", spec),
			    NULL);
}

static void setup(struct world *w)
{
	world_init(w);
	world_put(w, "{'kind':'Namespace','metadata':{'name':'default'}}");
}

/* One look, applied. */
static void look(struct world *w)
{
	struct view v = world_view(w);
	struct intents intents;

	intents_init(&intents, &w->arena);
	controller_disruption.reconcile(&v, (struct key){ "default", "b" }, &intents);
	assert_int_equal(world_apply(w, &intents, NULL), 0);
}

static const PolicyV1__PodDisruptionBudget *budget(struct world *w)
{
	return object_message(world_get(w, BUDGETS, "default", "b"), &w->arena);
}

static char *shown(struct world *w)
{
	const PolicyV1__PodDisruptionBudgetStatus *s = budget(w)->status;

	return arena_printf(&w->arena, "%d %d/%d/%d %s", s->disruptionsallowed, s->currenthealthy,
			    s->desiredhealthy, s->expectedpods, s->conditions[0]->reason);
}

static void worlds_and_what_they_allow(void **state)
{
	for (size_t i = 0; i < array_size(cases); i++) {
		auto_with(world_fini) struct world w = { 0 };

		setup(&w);
		put_owner(&w, cases[i].owner, cases[i].replicas);
		put_pods(&w, cases[i].pods, cases[i].owner);
		put_budget(&w, cases[i].spec);
		look(&w);
		if (strcmp(shown(&w), cases[i].status) != 0)
			fail_msg("%s: got %s, wanted %s", cases[i].name, shown(&w),
				 cases[i].status);
		assert_int_equal(budget(&w)->status->observedgeneration, 1);
		/* Nothing new: nothing to write. */
		assert_string_equal(
			world_reconcile(&w, &controller_disruption, "default", "b", true), "");
	}
}

static void evictions_that_nobody_saw_through(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	put_owner(&w, "Deployment", 3);
	put_pods(&w, "RRR", "Deployment");
	put_budget(&w, "'maxUnavailable':2");
	/* pod-0 was let go now, pod-9 does not exist. */
	world_update(&w,
		     "{'apiVersion':'policy/v1','kind':'PodDisruptionBudget','metadata':{'name':"
		     "'b','namespace':'default'},'status':{'disruptedPods':{'pod-0':"
		     "'2023-11-14T22:13:20Z','pod-9':'2023-11-14T22:13:20Z'}}}",
		     "status", NULL);
	look(&w);
	assert_string_equal(shown(&w), "1 2/1/3 SufficientPods");
	assert_int_equal(budget(&w)->status->n_disruptedpods, 1);

	/* Two minutes later it counts again, and that is told. */
	w.now_ns += INT64_C(121) * 1000000000;
	assert_non_null(strstr(world_reconcile(&w, &controller_disruption, "default", "b", true),
			       "NotDeleted"));
	look(&w);
	assert_string_equal(shown(&w), "2 3/1/3 SufficientPods");
	assert_int_equal(budget(&w)->status->n_disruptedpods, 0);
}

static const struct {
	const char *name, *spec, *pods, *event;
} events[] = {
	{ "no pods", "'minAvailable':1", "", "NoPods" },
	{ "unmanaged pods", "'maxUnavailable':1", "R!", "UnmanagedPods" },
	{ "no owner", "'maxUnavailable':1", "R", "CalculateExpectedPodCountFailed" },
};

static void what_is_told(void **state)
{
	for (size_t i = 0; i < array_size(events); i++) {
		auto_with(world_fini) struct world w = { 0 };
		char *text;

		setup(&w);
		put_pods(&w, events[i].pods, "");
		put_budget(&w, events[i].spec);
		text = world_reconcile(&w, &controller_disruption, "default", "b", true);
		if (strstr(text, events[i].event) == NULL)
			fail_msg("%s: %s", events[i].name, text);
	}
}

/* Selectors: none selects nothing, an empty one everything. */
static void selectors(void **state)
{
	static const struct {
		const char *selector;
		int current;
	} both[] = {
		{ "", 0 },
		{ ",'selector':{}", 2 },
		{ ",'selector':{'matchLabels':{'app':'db'}}", 0 },
		{ ",'selector':{'matchExpressions':[{'key':'app','operator':'Exists'}]}", 2 },
	};

	for (size_t i = 0; i < array_size(both); i++) {
		auto_with(world_fini) struct world w = { 0 };

		setup(&w);
		put_owner(&w, "Deployment", 2);
		put_pods(&w, "RR", "Deployment");
		assert_non_null(world_create(
			&w,
			arena_printf(&w.arena,
				     "{'apiVersion':'policy/v1','kind':'PodDisruptionBudget',"
				     "'metadata':{'name':'b','namespace':'default'},'spec':{"
				     "'minAvailable':1%s}}",
				     both[i].selector),
			NULL));
		look(&w);
		assert_int_equal(budget(&w)->status->currenthealthy, both[i].current);
	}
}

static const struct {
	const char *spec, *message;
} refusals[] = {
	{ "'minAvailable':1", NULL },
	{ "'minAvailable':-1",
	  "spec.minAvailable: Invalid value: -1: must be greater than or equal to 0" },
	{ "'maxUnavailable':'101%'",
	  "spec.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%" },
	{ "'maxUnavailable':'ten'",
	  "spec.maxUnavailable: Invalid value: \"ten\": a valid percent string must be a numeric "
	  "string followed by an ending '%'" },
	{ "'minAvailable':1,'maxUnavailable':1",
	  "minAvailable and maxUnavailable cannot be both set" },
	{ "'minAvailable':1,'unhealthyPodEvictionPolicy':'Maybe'",
	  "spec.unhealthyPodEvictionPolicy: Unsupported value: \"Maybe\": supported values: " },
	{ "'minAvailable':1,'selector':{'matchExpressions':[{'key':'a','operator':'In'}]}",
	  "spec.selector.matchExpressions[0].values: Required value" },
};

static void words_of_refusal(void **state)
{
	for (size_t i = 0; i < array_size(refusals); i++) {
		auto_with(world_fini) struct world w = { 0 };
		auto_with(status_fini) struct status st = { 0 };

		setup(&w);
		(void)world_create(&w,
				   arena_printf(&w.arena,
						"{'apiVersion':'policy/v1','kind':"
						"'PodDisruptionBudget','metadata':{'name':'b',"
						"'namespace':'default'},'spec':{%s}}",
						refusals[i].spec),
				   &st);
		if ((refusals[i].message == NULL) != (st.rc == 0) ||
		    (st.rc != 0 && strstr(st.message, refusals[i].message) == NULL))
			fail_msg("%s: got %s", refusals[i].spec, st.rc ? st.message : "nothing");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(worlds_and_what_they_allow),
		cmocka_unit_test(evictions_that_nobody_saw_through),
		cmocka_unit_test(what_is_told),
		cmocka_unit_test(selectors),
		cmocka_unit_test(words_of_refusal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
