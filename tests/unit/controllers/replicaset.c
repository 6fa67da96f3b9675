/* ReplicaSets and ReplicationControllers: worlds and the intents expected of each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "common/base/cleanup.h"
#include "tests/unit/world/world.h"

extern const struct controller controller_replicaset, controller_replicationcontroller;

/* One existing pod, by a short notation: what it is made of. */
struct pod_case {
	const char *phase, *node;
	bool ready, deleting, orphan, other_labels;
	const char *cost;
	const char *owner; /* Another ReplicaSet than web. */
	int restarts;
	int ready_s, age_s; /* How long it has been ready, and there. */
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
	{ "unknown goes before running",
	  1,
	  { RUNNING("a"), { .phase = "Unknown", .node = "a" } },
	  "delete pods default/pod-1\n" },
	{ "pending goes before unknown",
	  1,
	  { { .phase = "Unknown", .node = "a" }, PENDING("a") },
	  "delete pods default/pod-1\n" },
	{ "the crowded node is thinned",
	  2,
	  { RUNNING("a"), RUNNING("b"), RUNNING("b") },
	  "delete pods default/pod-1\n" },
	{ "pods of the Deployment's other sets crowd a node",
	  1,
	  { RUNNING("a"), RUNNING("b"), RUNNING_AND("b", .owner = "web-old") },
	  "delete pods default/pod-1\n" },
	{ "pods of anybody else do not",
	  1,
	  { RUNNING("a"), RUNNING("b"), RUNNING_AND("b", .owner = "foreign") },
	  "delete pods default/pod-0\n" },
	{ "cost counts more than crowding",
	  2,
	  { RUNNING_AND("a", .cost = "-1"), RUNNING("b"), RUNNING("b") },
	  "delete pods default/pod-0\n" },
	{ "ready for a shorter time goes first",
	  1,
	  { RUNNING_AND("a", .ready = true, .ready_s = 1000, .age_s = 1000),
	    RUNNING_AND("b", .ready = true, .ready_s = 10, .age_s = 1000) },
	  "delete pods default/pod-1\n" },
	{ "about the same time is the same time: restarts decide",
	  1,
	  { RUNNING_AND("a", .ready = true, .ready_s = 600, .age_s = 1000),
	    RUNNING_AND("b", .ready = true, .ready_s = 900, .age_s = 1000, .restarts = 3) },
	  "delete pods default/pod-1\n" },
	{ "the newer goes first",
	  1,
	  { RUNNING_AND("a", .age_s = 1000), RUNNING_AND("b", .age_s = 10) },
	  "delete pods default/pod-1\n" },
	{ "of the same age the uid decides",
	  1,
	  { RUNNING_AND("a", .age_s = 600), RUNNING_AND("b", .age_s = 900) },
	  "delete pods default/pod-0\n" },
	{ "adopts an orphan",
	  1,
	  { RUNNING_AND("a", .orphan = true) },
	  "update pods default/pod-0\n" },
	{ "releases what no longer matches",
	  1,
	  { RUNNING_AND("a", .other_labels = true) },
	  "update pods default/pod-0\ncreate pods default/web-\n" },
	{ "a finished orphan is left alone",
	  1,
	  { { .phase = "Succeeded", .node = "a", .orphan = true } },
	  "create pods default/web-\n" },
	{ "an orphan on its way out is left alone",
	  1,
	  { RUNNING_AND("a", .orphan = true, .deleting = true) },
	  "create pods default/web-\n" },
	{ "an orphan with other labels is left alone",
	  1,
	  { RUNNING_AND("a", .orphan = true, .other_labels = true) },
	  "create pods default/web-\n" },
	{ "one on its way out is not released",
	  1,
	  { RUNNING("a"), RUNNING_AND("b", .other_labels = true, .deleting = true) },
	  "" },
	{ "scales to zero", 0, { RUNNING("a") }, "delete pods default/pod-0\n" },
};

static const char *timestamp(struct world *w, int ago_s)
{
	time_t at = (time_t)(w->now_ns / 1000000000) - ago_s;
	char text[32];
	struct tm tm;

	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&at, &tm));
	return arena_strdup(&w->arena, text);
}

static const char *owner_of(struct world *w, const struct pod_case *p, const char *kind)
{
	const char *name = p->owner ? p->owner : "web";

	if (p->orphan)
		return "";
	return arena_printf(&w->arena,
			    ",'ownerReferences':[{'apiVersion':'%s','kind':'%s','name':'%s',"
			    "'uid':'uid-%s','controller':true}]",
			    kind[7] == 'a' ? "apps/v1" : "v1", kind, name, name);
}

static void put_pod(struct world *w, size_t i, const struct pod_case *p, const char *kind)
{
	world_put(w,
		  arena_printf(
			  &w->arena,
			  "{'kind':'Pod','metadata':{'name':'pod-%zu','namespace':'default',"
			  "'creationTimestamp':'%s','labels':{'app':'%s'}%s%s%s%s%s},'spec':{"
			  "'containers':[]%s%s%s},'status':{'phase':'%s','conditions':[{'type':"
			  "'Ready','status':'%s','lastTransitionTime':'%s'}],'containerStatuses':[{"
			  "'name':'a','restartCount':%d}]}}",
			  i, timestamp(w, p->age_s), p->other_labels ? "db" : "web",
			  owner_of(w, p, kind),
			  p->deleting ? ",'deletionTimestamp':'2023-11-14T22:13:20Z'" : "",
			  p->cost ? ",'annotations':{'controller.kubernetes.io/pod-deletion-cost':'"
				  : "",
			  p->cost ? p->cost : "", p->cost ? "'}" : "",
			  p->node ? ",'nodeName':'" : "", p->node ? p->node : "",
			  p->node ? "'" : "", p->phase, p->ready ? "True" : "False",
			  timestamp(w, p->ready_s), p->restarts));
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

#define TEMPLATE                                                                                   \
	"'template':{'metadata':{'labels':{'app':'web'}},'spec':{'containers':[{'name':'a',"       \
	"'image':'b'}]}}"

/* web belongs to a Deployment, like web-old; foreign belongs to nobody. */
static void put_set(struct world *w, const char *name, int replicas, bool owned, const char *extra)
{
	world_put(w, arena_printf(&w->arena,
				  "{'apiVersion':'apps/v1','kind':'ReplicaSet','metadata':{'name':"
				  "'%s','namespace':'default','generation':3%s},'spec':{'replicas':"
				  "%d%s,'selector':{'matchLabels':{'app':'%s'}}," TEMPLATE "}}",
				  name,
				  owned ? ",'ownerReferences':[{'apiVersion':'apps/v1','kind':"
					  "'Deployment','name':'d','uid':'uid-d','controller':"
					  "true}]"
					: "",
				  replicas, extra, name[0] == 'f' ? "foreign" : "web"));
}

static void put_controller(struct world *w, int replicas)
{
	world_put(w, arena_printf(&w->arena,
				  "{'kind':'ReplicationController','metadata':{'name':'web',"
				  "'namespace':'default','generation':3},'spec':{'replicas':%d,"
				  "'selector':{'app':'web'}," TEMPLATE "}}",
				  replicas));
}

static void check(struct world *w, size_t i, const struct controller *c)
{
	char *got = essence(w, world_reconcile(w, c, "default", "web", false));

	if (strcmp(got, cases[i].intents) != 0)
		fail_msg("%s, %s: got\n%swanted\n%s", c->name, cases[i].name, got,
			 cases[i].intents);
}

static void worlds_and_intents(void **state)
{
	for (size_t i = 0; i < array_size(cases); i++) {
		auto_with(world_fini) struct world w = { 0 };

		world_init(&w);
		put_set(&w, "web", cases[i].replicas, true, "");
		put_set(&w, "web-old", 1, true, "");
		put_set(&w, "foreign", 1, false, "");
		for (size_t k = 0; k < array_size(cases[i].pods) && cases[i].pods[k].phase; k++)
			put_pod(&w, k, &cases[i].pods[k], "ReplicaSet");
		check(&w, i, &controller_replicaset);
	}
}

/* The same rules, one kind older; it has no family. */
static void controllers_do_the_same(void **state)
{
	for (size_t i = 0; i < array_size(cases); i++) {
		auto_with(world_fini) struct world w = { 0 };
		bool others = false;

		world_init(&w);
		put_controller(&w, cases[i].replicas);
		for (size_t k = 0; k < array_size(cases[i].pods) && cases[i].pods[k].phase; k++) {
			put_pod(&w, k, &cases[i].pods[k], "ReplicationController");
			others = others || cases[i].pods[k].owner != NULL;
		}
		if (!others)
			check(&w, i, &controller_replicationcontroller);
	}
}

static void setup(struct world *w)
{
	world_init(w);
	world_put(w, "{'kind':'Namespace','metadata':{'name':'default'}}");
	world_put(w, "{'kind':'ServiceAccount','metadata':{'name':'default',"
		     "'namespace':'default'}}");
	world_put(w, "{'kind':'Node','metadata':{'name':'a'}}");
}

static bool has(struct world *w, const char *resource, const char *part)
{
	const char *json = world_print(w, world_get(w, resource, "default", "web"));

	return strstr(json, world_json(w, part)) != NULL;
}

static void the_status_counts(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	static const struct pod_case ready = RUNNING_AND("a", .ready = true);
	static const struct pod_case pending = PENDING("a");
	static const struct pod_case leaving = RUNNING_AND("a", .ready = true, .deleting = true);

	setup(&w);
	put_set(&w, "web", 2, false, "");
	put_pod(&w, 0, &ready, "ReplicaSet");
	put_pod(&w, 1, &pending, "ReplicaSet");
	put_pod(&w, 2, &leaving, "ReplicaSet");
	world_settle(&w);
	assert_true(has(&w, "replicasets.apps",
			"'status':{'replicas':2,'fullyLabeledReplicas':2,'observedGeneration':3,"
			"'readyReplicas':1,'availableReplicas':1,'terminatingReplicas':1}"));
}

static void available_is_ready_for_a_while(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	static const struct pod_case ready = RUNNING_AND("a", .ready = true, .ready_s = 4);

	setup(&w);
	put_set(&w, "web", 1, false, ",'minReadySeconds':10");
	put_pod(&w, 0, &ready, "ReplicaSet");

	int64_t again_ns = world_settle(&w);

	assert_true(again_ns == w.now_ns + INT64_C(6000000000));
	assert_true(has(&w, "replicasets.apps", "'readyReplicas':1,'terminatingReplicas':0}"));
	w.now_ns = again_ns;
	world_settle(&w);
	assert_true(has(&w, "replicasets.apps", "'readyReplicas':1,'availableReplicas':1"));
}

static void a_refusal_is_reported(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	put_set(&w, "web", 5, false, "");

	char *got = essence(&w, world_refused(&w, &controller_replicaset, "default", "web", 3));

	assert_string_equal(got, "create pods default/web-\ncreate pods default/web-\n"
				 "create pods default/web-\n");
	w.quota_resource = "pods";
	w.quota = 3;
	world_settle(&w);
	assert_int_equal(world_count(&w, "pods"), 3);
	assert_true(has(&w, "replicasets.apps", "'type':'ReplicaFailure','status':'True'"));
	assert_true(has(&w, "replicasets.apps", "'reason':'FailedCreate','message':'pods "));
	assert_true(has(&w, "replicasets.apps", "is forbidden: exceeded quota: q'"));

	/* Tried again in vain it writes nothing. */
	size_t writes = w.writes;

	w.now_ns += INT64_C(5000000000);
	world_settle(&w);
	assert_int_equal(w.writes, writes);
	w.quota = 4;
	world_settle(&w);
	assert_int_equal(world_count(&w, "pods"), 4);
	assert_true(has(&w, "replicasets.apps", "ReplicaFailure"));
	w.quota = 100;
	world_settle(&w);
	assert_int_equal(world_count(&w, "pods"), 5);
	assert_false(has(&w, "replicasets.apps", "ReplicaFailure"));
}

static void a_controller_reports(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	put_controller(&w, 2);
	w.quota_resource = "pods";
	w.quota = 1;
	world_settle(&w);
	assert_int_equal(world_count(&w, "pods"), 1);
	assert_true(has(&w, "replicationcontrollers", "'type':'ReplicaFailure','status':'True'"));
	w.quota_resource = NULL;
	world_settle(&w);
	assert_true(has(&w, "replicationcontrollers",
			"'status':{'replicas':2,'fullyLabeledReplicas':2,'observedGeneration':3}"));
}

/* A thousand pods are not a thousand lines of "kubectl describe". */
static void events_are_combined(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	size_t created = 0, events = 0;

	world_init(&w);
	put_set(&w, "web", 1000, true, "");

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
		cmocka_unit_test(controllers_do_the_same),
		cmocka_unit_test(the_status_counts),
		cmocka_unit_test(available_is_ready_for_a_while),
		cmocka_unit_test(a_refusal_is_reported),
		cmocka_unit_test(a_controller_reports),
		cmocka_unit_test(events_are_combined),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
