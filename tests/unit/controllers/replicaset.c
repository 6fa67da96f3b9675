/* ReplicaSets: worlds and the intents expected of each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/cleanup.h"
#include "tests/unit/world/world.h"

extern const struct controller controller_replicaset;

/* One existing pod, by a short notation: what it is made of. */
struct pod_case {
	const char *phase, *node;
	bool ready, deleting, orphan, other_labels;
	const char *cost;
};

#define RUNNING_AND(n, ...)                                                                        \
	{                                                                                          \
		.phase = "Running", .node = (n), __VA_ARGS__                                       \
	}
#define RUNNING(n) RUNNING_AND(n, .ready = false)
#define PENDING(n)                                                                                 \
	{                                                                                          \
		.phase = "Pending", .node = (n)                                                    \
	}
#define FAILED(n)                                                                                  \
	{                                                                                          \
		.phase = "Failed", .node = (n)                                                     \
	}

static const struct {
	const char *name;
	int replicas;
	struct pod_case pods[5]; /* Oldest first: pod-0, pod-1, ... */
	const char *intents;     /* Without events and without the status. */
} cases[] = {
	{ "nothing to do", 2, { RUNNING("a"), PENDING("a") }, "" },
	{ "creates only what is missing", 2, { RUNNING("a") }, "create pods default/web-\n" },
	{ "a finished pod does not count", 1, { FAILED("a") }, "create pods default/web-\n" },
	{ "a pod on its way out does not count",
	  1,
	  { RUNNING_AND("a", .deleting = true) },
	  "create pods default/web-\n" },
	{ "unassigned goes before assigned",
	  1,
	  { RUNNING("a"), PENDING(NULL) },
	  "delete pods default/pod-1\n" },
	{ "pending goes before running",
	  1,
	  { PENDING("a"), RUNNING("b") },
	  "delete pods default/pod-0\n" },
	{ "not ready goes before ready",
	  1,
	  { RUNNING("a"), RUNNING_AND("b", .ready = true) },
	  "delete pods default/pod-0\n" },
	{ "the cheaper one goes first",
	  1,
	  { RUNNING_AND("a", .cost = "5"), RUNNING_AND("b", .cost = "-5") },
	  "delete pods default/pod-1\n" },
	{ "the crowded node is thinned",
	  2,
	  { RUNNING("a"), RUNNING("b"), RUNNING("b") },
	  "delete pods default/pod-1\n" },
	{ "adopts an orphan",
	  1,
	  { RUNNING_AND("a", .orphan = true) },
	  "update pods default/pod-0\n" },
	{ "releases what no longer matches",
	  1,
	  { RUNNING_AND("a", .other_labels = true) },
	  "update pods default/pod-0\ncreate pods default/web-\n" },
	{ "scales to zero", 0, { RUNNING("a") }, "delete pods default/pod-0\n" },
};

static void put_pod(struct world *w, size_t i, const struct pod_case *p)
{
	world_put(
		w,
		arena_printf(
			&w->arena,
			"{'kind':'Pod','metadata':{'name':'pod-%zu','namespace':'default',"
			"'labels':{'app':'%s'}%s%s%s%s%s},'spec':{'containers':[]%s%s%s},'status':"
			"{'phase':'%s','conditions':[{'type':'Ready','status':'%s'}]}}",
			i, p->other_labels ? "db" : "web",
			p->orphan ? ""
				  : ",'ownerReferences':[{'apiVersion':'apps/v1','kind':"
				    "'ReplicaSet','name':'web','uid':'uid-web','controller':true}]",
			p->deleting ? ",'deletionTimestamp':'2023-11-14T22:13:20Z'" : "",
			p->cost ? ",'annotations':{'controller.kubernetes.io/pod-deletion-cost':'"
				: "",
			p->cost ? p->cost : "", p->cost ? "'}" : "", p->node ? ",'nodeName':'" : "",
			p->node ? p->node : "", p->node ? "'" : "", p->phase,
			p->ready ? "True" : "False"));
}

/* The intents as text, with generated suffixes and the report left out. */
static char *essence(struct world *w, const char *intents)
{
	char *text = arena_strdup(&w->arena, ""), *copy = arena_strdup(&w->arena, intents);

	for (char *save = NULL, *line = strtok_r(copy, "\n", &save); line != NULL;
	     line = strtok_r(NULL, "\n", &save)) {
		if (strncmp(line, "status ", 7) == 0)
			continue;
		if (strncmp(line, "create pods ", 12) == 0)
			*(strrchr(line, '-') + 1) = '\0';
		text = arena_printf(&w->arena, "%s%s\n", text, line);
	}
	return text;
}

static void worlds_and_intents(void **state)
{
	for (size_t i = 0; i < array_size(cases); i++) {
		auto_with(world_fini) struct world w = { 0 };

		world_init(&w);
		world_put(&w,
			  arena_printf(&w.arena,
				       "{'apiVersion':'apps/v1','kind':'ReplicaSet','metadata':{"
				       "'name':'web','namespace':'default'},'spec':{'replicas':%d,"
				       "'selector':{'matchLabels':{'app':'web'}},'template':{"
				       "'metadata':{'labels':{'app':'web'}},'spec':{'containers':["
				       "{'name':'a','image':'b'}]}}}}",
				       cases[i].replicas));
		for (size_t k = 0; k < array_size(cases[i].pods) && cases[i].pods[k].phase; k++)
			put_pod(&w, k, &cases[i].pods[k]);

		char *got = essence(
			&w, world_reconcile(&w, &controller_replicaset, "default", "web", false));

		if (strcmp(got, cases[i].intents) != 0)
			fail_msg("%s: got\n%swanted\n%s", cases[i].name, got, cases[i].intents);
	}
}

static void the_status_counts(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	static const struct pod_case ready = RUNNING_AND("a", .ready = true);
	static const struct pod_case pending = PENDING("a");

	world_init(&w);
	world_put(&w, "{'kind':'Namespace','metadata':{'name':'default'}}");
	world_put(&w, "{'kind':'Node','metadata':{'name':'a'}}");
	world_put(&w,
		  "{'apiVersion':'apps/v1','kind':'ReplicaSet','metadata':{'name':'web',"
		  "'namespace':'default','generation':3},'spec':{'replicas':2,'selector':{"
		  "'matchLabels':{'app':'web'}},'template':{'metadata':{'labels':{'app':'web'}},"
		  "'spec':{'containers':[{'name':'a','image':'b'}]}}}}");
	put_pod(&w, 0, &ready);
	put_pod(&w, 1, &pending);
	world_settle(&w);
	assert_non_null(strstr(world_print(&w, world_get(&w, "replicasets.apps", "default", "web")),
			       "\"status\":{\"replicas\":2,\"fullyLabeledReplicas\":2,"
			       "\"observedGeneration\":3,\"readyReplicas\":1,"
			       "\"availableReplicas\":1}"));
}

/* A thousand pods are not a thousand lines of "kubectl describe". */
static void events_are_combined(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	size_t created = 0, events = 0;

	world_init(&w);
	world_put(&w, "{'apiVersion':'apps/v1','kind':'ReplicaSet','metadata':{'name':'web',"
		      "'namespace':'default'},'spec':{'replicas':1000,'selector':{'matchLabels':{"
		      "'app':'web'}},'template':{'metadata':{'labels':{'app':'web'}},'spec':{"
		      "'containers':[{'name':'a','image':'b'}]}}}}");

	char *text = world_reconcile(&w, &controller_replicaset, "default", "web", true);

	for (char *save = NULL, *line = strtok_r(text, "\n", &save); line != NULL;
	     line = strtok_r(NULL, "\n", &save)) {
		created += strncmp(line, "create pods ", 12) == 0;
		events += strncmp(line, "event ", 6) == 0;
	}
	assert_int_equal(created, 500);
	assert_int_equal(events, 11);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(worlds_and_intents),
		cmocka_unit_test(the_status_counts),
		cmocka_unit_test(events_are_combined),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
