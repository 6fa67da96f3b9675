/* DaemonSets: worlds and the intents and status expected of each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/api/make.h"
#include "common/base/cleanup.h"
#include "controlplane/controllers/keys.h"
#include "proto/k8s/core_v1.pb-c.h"
#include "tests/unit/world/world.h"

extern const struct controller controller_daemonset;

#define NS_PER_S INT64_C(1000000000)

/* Nodes are written NAME[:FLAGS...]: l has the label disk=ssd, s taint x:NoSchedule, e taint
 * x:NoExecute, r taint not-ready (both effects), u taint unschedulable.
 * Pods are written NAME@NODE[:FLAGS...]: n of the new template (else of an old one), r ready since
 * an hour, R ready since 5 s, p not assigned yet, d being deleted, f failed, c succeeded, o an
 * orphan, xN the failures before it, sN ended N seconds ago (an hour unless given). Older ones come
 * first. */
static const struct {
	const char *name, *spec, *nodes, *pods;
	const char *intents; /* Without events and revisions. */
	const char *says;    /* Texts in the status, with | between; !TEXT is not there. */
} cases[] = {
	{ "one on every node", "", "a b", "p@a:n:r", "create b\nstatus\n",
	  "'desiredNumberScheduled':2|'currentNumberScheduled':1|'numberReady':1|"
	  "'numberAvailable':1|'numberUnavailable':1|'updatedNumberScheduled':1|"
	  "'numberMisscheduled':0" },
	{ "on nodes of the selector", "'nodeSelector':{'disk':'ssd'}", "a b:l", "",
	  "create b\nstatus\n", "'desiredNumberScheduled':1" },
	{ "on nodes of the affinity",
	  "'affinity':{'nodeAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':{"
	  "'nodeSelectorTerms':[{'matchExpressions':[{'key':'disk','operator':'DoesNotExist'}]}]}}}",
	  "a b:l", "", "create a\nstatus\n", "" },
	{ "on the node it names", "'nodeName':'b'", "a b", "", "create b\nstatus\n", "" },
	{ "not where a taint forbids", "", "a:s b:e c:r d:u", "", "create c\ncreate d\nstatus\n",
	  "'desiredNumberScheduled':2" },
	{ "unless it is tolerated", "'tolerations':[{'key':'x','operator':'Exists'}]", "a:s b:e",
	  "", "create a\ncreate b\nstatus\n", "" },
	{ "NoSchedule lets stay, NoExecute does not", "", "a:s b:e", "p@a:n q@b:n",
	  "delete q\nstatus\n", "'numberMisscheduled':2|'desiredNumberScheduled':0" },
	{ "a label that goes takes the pod along", "'nodeSelector':{'disk':'ssd'}", "a", "p@a:n",
	  "delete p\nstatus\n", "'numberMisscheduled':1" },
	{ "a node that is gone", "", "b", "p@a:n q@b:n:r", "status\n",
	  "'desiredNumberScheduled':1|'currentNumberScheduled':1" },
	{ "before its pod was assigned", "", "b", "p@a:n:p q@b:n:r", "delete p\nstatus\n", "" },
	{ "one that is on its way counts", "", "a", "p@a:n:p", "status\n",
	  "'currentNumberScheduled':1|'numberReady':0" },
	{ "of two the assigned and oldest stays", "", "a", "p@a:n:p q@a:n s@a:n",
	  "delete s\ndelete p\nstatus\n", "" },
	{ "one on its way out is waited for", "", "a", "p@a:n:d", "status\n", "" },
	{ "an orphan is adopted first", "", "a b", "p@a:n:o", "update p\n", "" },
	/* --- Failures --------------------------------------------------------------- */
	{ "a failed pod is replaced after a second", "", "a", "p@a:n:f:s1",
	  "delete p\ncreate a\nstatus\n", "" },
	{ "not before", "", "a", "p@a:n:f:s0", "again +1\nstatus\n", "" },
	{ "doubling with each", "", "a", "p@a:n:f:s3:x3", "again +5\nstatus\n", "" },
	{ "a quarter of an hour at most", "", "a", "p@a:n:f:s899:x18", "again +1\nstatus\n", "" },
	{ "one that succeeded, at once", "", "a", "p@a:n:c:s0", "delete p\ncreate a\nstatus\n",
	  "" },
	{ "who is gone for long does not stand in the way", "", "a", "p@a:n:f:d",
	  "create a\nstatus\n", "" },
	/* --- Rolling update ---------------------------------------------------------- */
	{ "one at a time", "", "a b c", "p@a:r q@b:r s@c:r", "delete p\nstatus\n",
	  "!'updatedNumberScheduled'|'numberAvailable':3" },
	{ "the next when the first is available", "", "a b c", "p@a:n:r q@b:r s@c:r",
	  "delete q\nstatus\n", "'updatedNumberScheduled':1" },
	{ "not while it is not", "", "a b c", "p@a:n q@b:r s@c:r", "status\n", "" },
	{ "nor while one is missing", "", "a b", "q@b:r", "create a\nstatus\n", "" },
	{ "who is not available may always be replaced", "", "a b c", "p@a:r q@b s@c",
	  "delete q\ndelete s\nstatus\n", "" },
	{ "a node in trouble counts, too", "", "a:s b c", "p@a:n q@b:r s@c:r", "status\n", "" },
	{ "unless its pod is well", "", "a:s b c", "p@a:n:r q@b:r s@c:r", "delete q\nstatus\n",
	  "" },
	{ "a share of the nodes, rounded up",
	  "/'updateStrategy':{'type':'RollingUpdate','rollingUpdate':{'maxUnavailable':'40%'}}",
	  "a b c", "p@a:r q@b:r s@c:r", "delete p\ndelete q\nstatus\n", "" },
	{ "minReadySeconds are waited for", "/'minReadySeconds':10", "a b", "p@a:n:R q@b:r",
	  "again +5\nstatus\n", "'numberReady':2|'numberAvailable':1" },
	{ "OnDelete waits for somebody else", "/'updateStrategy':{'type':'OnDelete'}", "a b",
	  "p@a:r", "create b\nstatus\n", "" },
	/* --- Surge -------------------------------------------------------------------- */
	{ "with surge the new one comes first",
	  "/'updateStrategy':{'type':'RollingUpdate','rollingUpdate':{'maxSurge':1,'maxUnavailable'"
	  ":0}}",
	  "a b", "p@a:r q@b:r", "create a\nstatus\n", "'numberAvailable':2" },
	{ "and the old one goes when it is available",
	  "/'updateStrategy':{'type':'RollingUpdate','rollingUpdate':{'maxSurge':1,'maxUnavailable'"
	  ":0}}",
	  "a b", "p@a:r t@a:n:r q@b:r", "delete p\ncreate b\nstatus\n", "" },
	{ "not before",
	  "/'updateStrategy':{'type':'RollingUpdate','rollingUpdate':{'maxSurge':1,'maxUnavailable'"
	  ":0}}",
	  "a b", "p@a:r t@a:n q@b:r", "status\n", "" },
	{ "beside one that is not available, at once",
	  "/'updateStrategy':{'type':'RollingUpdate','rollingUpdate':{'maxSurge':1,'maxUnavailable'"
	  ":0}}",
	  "a b c", "p@a q@b:r s@c", "create a\ncreate b\ncreate c\nstatus\n", "" },
	{ "two of one template are one too many",
	  "/'updateStrategy':{'type':'RollingUpdate','rollingUpdate':{'maxSurge':1,'maxUnavailable'"
	  ":0}}",
	  "a", "p@a:r q@a t@a:n", "delete q\nstatus\n", "" },
};

static void put_node(struct world *w, char *text)
{
	char *save = NULL, *name = strtok_r(text, ":", &save);
	const char *labels = "", *taints = "";

	for (char *f; (f = strtok_r(NULL, ":", &save)) != NULL;) {
		if (f[0] == 'l')
			labels = "'disk':'ssd'";
		else if (f[0] == 's')
			taints = "{'key':'x','effect':'NoSchedule'}";
		else if (f[0] == 'e')
			taints = "{'key':'x','effect':'NoExecute'}";
		else if (f[0] == 'r')
			taints = "{'key':'node.kubernetes.io/not-ready','effect':'NoExecute'}";
		else
			taints = "{'key':'node.kubernetes.io/unschedulable','effect':'NoSchedule'}";
	}
	world_put(w, arena_printf(&w->arena,
				  "{'kind':'Node','metadata':{'name':'%s','labels':{%s}},'spec':{"
				  "'taints':[%s]}}",
				  name, labels, taints));
}

static void put_pod(struct world *w, char *text, int number, const char *hash)
{
	char *save = NULL, *name = strtok_r(text, "@", &save), *node = strtok_r(NULL, ":", &save);
	const char *of = "old", *phase = "Running", *ready = "", *deleted = "", *before = "";
	const char *owner = ",'ownerReferences':[{'apiVersion':'apps/v1','kind':'DaemonSet','name':"
			    "'d','uid':'uid-d','controller':true}]";
	bool pending = false;
	long ago_s = 3600;

	for (char *f; (f = strtok_r(NULL, ":", &save)) != NULL;) {
		switch (f[0]) {
		case 'n':
			of = hash;
			break;
		case 'r':
			ready = "{'type':'Ready','status':'True','lastTransitionTime':"
				"'2023-11-14T21:13:20Z'}";
			break;
		case 'R':
			ready = "{'type':'Ready','status':'True','lastTransitionTime':"
				"'2023-11-14T22:13:15Z'}";
			break;
		case 'p':
			pending = true;
			break;
		case 'd':
			deleted = ",'deletionTimestamp':'2023-11-14T22:13:00Z','finalizers':["
				  "'x.io/y']";
			break;
		case 'f':
			phase = "Failed";
			break;
		case 'c':
			phase = "Succeeded";
			break;
		case 'o':
			owner = "";
			break;
		case 'x':
			before = arena_printf(&w->arena,
					      ",'annotations':{'sampan.io/daemon-failures':'%s'}",
					      f + 1);
			break;
		case 's':
			ago_s = strtol(f + 1, NULL, 10);
			break;
		default:
			fail_msg("flag %s", f);
		}
	}

	long at = 22 * 3600 + 13 * 60 + 20 - ago_s;

	world_put(w,
		  arena_printf(
			  &w->arena,
			  "{'kind':'Pod','metadata':{'name':'%s','namespace':'default',"
			  "'creationTimestamp':'2023-11-14T22:%02d:00Z','labels':{'app':'d',"
			  "'controller-revision-hash':'%s'}%s%s%s},'spec':{%s%s'restartPolicy':"
			  "'Always','dnsPolicy':'ClusterFirst','schedulerName':'default-scheduler',"
			  "'terminationGracePeriodSeconds':30,'securityContext':{},"
			  "'enableServiceLinks':true,'containers':[{'name':'c','image':'i',"
			  "'imagePullPolicy':'Always','resources':{},'terminationMessagePath':"
			  "'/dev/termination-log','terminationMessagePolicy':'File'}]},'status':{"
			  "'phase':'%s','conditions':[%s],'containerStatuses':[{'name':'c'%s}]}}",
			  name, number, of, owner, deleted, before,
			  pending ? "'affinity':{'nodeAffinity':{"
				    "'requiredDuringSchedulingIgnoredDuringExecution':{"
				    "'nodeSelectorTerms':[{'matchFields':[{'key':'metadata.name',"
				    "'operator':'In','values':['"
				  : "'nodeName':'",
			  pending ? arena_printf(&w->arena, "%s']}]}]}}},", node)
				  : arena_printf(&w->arena, "%s',", node),
			  pending ? "Pending" : phase, ready,
			  phase[0] == 'R'
				  ? ""
				  : arena_printf(&w->arena,
						 ",'state':{'terminated':{'exitCode':1,"
						 "'finishedAt':'2023-11-14T%02ld:%02ld:%02ldZ"
						 "'}}",
						 at / 3600, at / 60 % 60, at % 60)));
}

/* What begins with a slash is beside the template, the rest in its spec. */
static void put_set(struct world *w, const char *spec)
{
	bool beside = spec[0] == '/';

	world_put(w, arena_printf(
			     &w->arena,
			     "{'apiVersion':'apps/v1','kind':'DaemonSet','metadata':{'name':'d',"
			     "'namespace':'default','generation':2,'annotations':{"
			     "'deprecated.daemonset.template.generation':'7'}},'spec':{'selector':{"
			     "'matchLabels':{'app':'d'}},'template':{'metadata':{'labels':{'app':"
			     "'d'}},'spec':{%s%s'containers':[{'name':'c','image':'i'}]}}%s%s%s}}",
			     beside ? "" : spec, beside || spec[0] == '\0' ? "" : ",",
			     beside ? "," : "", beside ? spec + 1 : "",
			     strstr(spec, "updateStrategy")
				     ? ""
				     : ",'updateStrategy':{'type':'RollingUpdate','rollingUpdate':{"
				       "'maxUnavailable':1,'maxSurge':0}}"));
}

static char *look(struct world *w, struct intents *intents)
{
	struct view v = world_view(w);
	char *text, *essence = arena_strdup(&w->arena, "");

	intents_init(intents, &w->arena);
	controller_daemonset.reconcile(&v, (struct key){ "default", "d" }, intents);
	if (intents->again_ns != 0)
		essence = arena_printf(&w->arena, "again +%lld\n",
				       (long long)((intents->again_ns - w->now_ns) / NS_PER_S));
	for (struct intent *i = intents->first; i != NULL; i = i->next) {
		if (i->type == INTENT_EVENT || strcmp(i->resource, "controllerrevisions.apps") == 0)
			continue;
		if (i->type == INTENT_UPDATE_STATUS) {
			essence = arena_printf(&w->arena, "%sstatus\n", essence);
			continue;
		}
		text = (char *)i->name;
		if (i->type == INTENT_CREATE) {
			const CoreV1__Pod *pod = (const CoreV1__Pod *)i->message;

			text = pod->spec->affinity->nodeaffinity
				       ->requiredduringschedulingignoredduringexecution
				       ->nodeselectorterms[0]
				       ->matchfields[0]
				       ->values[0];
		}
		essence = arena_printf(&w->arena, "%s%s %s\n", essence,
				       i->type == INTENT_CREATE   ? "create"
				       : i->type == INTENT_DELETE ? "delete"
								  : "update",
				       text);
	}
	return essence;
}

static void init_world(struct world *w)
{
	world_init(w);
	world_put(w, "{'kind':'Namespace','metadata':{'name':'default'}}");
	world_put(w,
		  "{'kind':'ServiceAccount','metadata':{'name':'default','namespace':'default'}}");
}

/* The hash of the template: what the first look calls its revision. */
static const char *hash_of(struct world *w)
{
	struct intents intents;

	look(w, &intents);
	for (struct intent *i = intents.first; i != NULL; i = i->next)
		if (strcmp(i->resource, "controllerrevisions.apps") == 0)
			return i->name + strlen("d-");
	fail_msg("no revision is made");
	return NULL;
}

static void expect_status(struct world *w, const char *name, const char *says)
{
	const char *text = world_print(w, world_get(w, "daemonsets.apps", "default", "d"));
	const char *status = strstr(text, "\"status\":{");
	char *save = NULL, *copy = world_json(w, says);

	for (char *part = strtok_r(copy, "|", &save); part != NULL;
	     part = strtok_r(NULL, "|", &save)) {
		bool not = part[0] == '!';

		if (status == NULL || (strstr(status, part + not ) != NULL) == not )
			fail_msg("%s: %s%s\nin %s", name, not ? "there is " : "no ", part + not,
				 status ? status : "(none)");
	}
}

static void worlds_and_intents(void **state)
{
	for (size_t i = 0; i < array_size(cases); i++) {
		auto_with(world_fini) struct world w = { 0 };
		struct intents intents;
		struct status st = { 0 };
		char *save = NULL, *copy, *got;
		const char *hash;
		int n = 0;

		init_world(&w);
		put_set(&w, cases[i].spec);
		hash = hash_of(&w);
		copy = arena_strdup(&w.arena, cases[i].nodes);
		for (char *t = strtok_r(copy, " ", &save); t; t = strtok_r(NULL, " ", &save))
			put_node(&w, t);
		copy = arena_strdup(&w.arena, cases[i].pods);
		for (char *t = strtok_r(copy, " ", &save); t; t = strtok_r(NULL, " ", &save))
			put_pod(&w, t, n++, hash);
		got = look(&w, &intents);
		if (strcmp(got, cases[i].intents) != 0)
			fail_msg("%s: got\n%swanted\n%s", cases[i].name, got, cases[i].intents);
		if (world_apply(&w, &intents, &st) < 0)
			fail_msg("%s: %s", cases[i].name, st.message);
		expect_status(&w, cases[i].name, cases[i].says);
	}
}

static void the_pod_that_is_made(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	struct intents intents;
	const char *pod = NULL;

	init_world(&w);
	put_set(&w, "'hostNetwork':true,'tolerations':[{'key':'mine','operator':'Exists'}]");
	put_node(&w, (char[]){ "a" });
	look(&w, &intents);
	assert_int_equal(world_apply(&w, &intents, NULL), 0);
	for (struct intent *i = intents.first; i != NULL; i = i->next)
		if (i->type == INTENT_CREATE && strcmp(i->resource, "pods") == 0)
			pod = world_print(&w, world_get(&w, "pods", "default", i->name));
	assert_non_null(pod);
	static const char *const parts[] = {
		"\"generateName\":\"d-\"",
		"\"controller-revision-hash\":\"",
		"\"pod-template-generation\":\"7\"",
		"\"nodeSelectorTerms\":[{\"matchFields\":[{\"key\":\"metadata.name\",\"operator\":"
		"\"In\",\"values\":[\"a\"]}]}]",
		"{\"key\":\"mine\",\"operator\":\"Exists\"}",
		"{\"key\":\"node.kubernetes.io/not-ready\",\"operator\":\"Exists\",\"effect\":"
		"\"NoExecute\"}",
		"{\"key\":\"node.kubernetes.io/unreachable\",\"operator\":\"Exists\",\"effect\":"
		"\"NoExecute\"}",
		"{\"key\":\"node.kubernetes.io/disk-pressure\",\"operator\":\"Exists\",\"effect\":"
		"\"NoSchedule\"}",
		"{\"key\":\"node.kubernetes.io/memory-pressure\"",
		"{\"key\":\"node.kubernetes.io/pid-pressure\"",
		"{\"key\":\"node.kubernetes.io/unschedulable\"",
		"{\"key\":\"node.kubernetes.io/network-unavailable\"",
	};

	for (size_t i = 0; i < array_size(parts); i++)
		if (strstr(pod, parts[i]) == NULL)
			fail_msg("no %s in %s", parts[i], pod);
}

/* A failure is counted on, from pod to pod. */
static void failures_are_carried_on(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	struct intents intents;

	init_world(&w);
	put_set(&w, "");
	put_node(&w, (char[]){ "a" });
	put_pod(&w, (char[]){ "p@a:f:x2" }, 0, "h");
	look(&w, &intents);
	for (struct intent *i = intents.first; i != NULL; i = i->next)
		if (i->type == INTENT_CREATE && strcmp(i->resource, "pods") == 0) {
			assert_string_equal(meta_annotation(((CoreV1__Pod *)i->message)->metadata,
							    "sampan.io/daemon-failures"),
					    "3");
			return;
		}
	fail_msg("no pod is made");
}

/* Only what decides where pods go wakes it. */
static void what_wakes_it(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	const struct object *was, *is;
	struct view v;
	struct keys keys = { 0 };

	init_world(&w);
	put_set(&w, "");
	v = world_view(&w);
	was = object_ref(world_put(&w, "{'kind':'Node','metadata':{'name':'a'}}"));
	is = world_put(&w, "{'kind':'Node','metadata':{'name':'a'},'status':{'conditions':[{'type':"
			   "'Ready','status':'True'}]}}");
	controller_daemonset.on_change(&v, was, is, &keys);
	assert_int_equal(keys_count(&keys), 0);
	is = world_put(&w, "{'kind':'Node','metadata':{'name':'a','labels':{'x':'y'}}}");
	controller_daemonset.on_change(&v, was, is, &keys);
	assert_int_equal(keys_count(&keys), 1);
	keys_fini(&keys);
	object_unref((struct object *)was);
}

/* 2,000 nodes: 250 pods a look, and a look over all of them stays short. */
static void many_nodes(void **state)
{
	enum { NODES = 2000, LOOKS_MAX = 12 };
	auto_with(world_fini) struct world w = { 0 };
	struct intents intents;
	int looks = 0;

	init_world(&w);
	put_set(&w, "");
	/* Its first status completes it. */
	look(&w, &intents);
	assert_int_equal(world_apply(&w, &intents, NULL), 0);
	for (int i = 0; i < NODES; i++)
		put_node(&w, arena_printf(&w.arena, "n%04d", i));
	do {
		look(&w, &intents);
		assert_int_equal(world_apply(&w, &intents, NULL), 0);
	} while (intents.count > 0 && ++looks < LOOKS_MAX);
	assert_int_equal(world_count(&w, "pods"), NODES);
	/* One more writes the status. */
	assert_int_equal(looks, NODES / 250 + 1);
	expect_status(&w, "many", "'desiredNumberScheduled':2000|'currentNumberScheduled':2000");
}

static void old_revisions_are_trimmed(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	struct intents intents;
	size_t deleted = 0;

	init_world(&w);
	put_set(&w, "/'revisionHistoryLimit':1");
	for (int i = 1; i <= 3; i++)
		world_put(&w, arena_printf(
				      &w.arena,
				      "{'apiVersion':'apps/v1','kind':'ControllerRevision',"
				      "'metadata':{'name':'d-h%d','namespace':'default','labels':{"
				      "'controller-revision-hash':'h%d'},'ownerReferences':[{"
				      "'apiVersion':'apps/v1','kind':'DaemonSet','name':'d','uid':"
				      "'uid-d','controller':true}]},'revision':%d,'data':{'x':%d}}",
				      i, i, i, i));
	put_node(&w, (char[]){ "a" });
	/* The oldest is in use. */
	put_pod(&w, (char[]){ "p@a:n:r" }, 0, "h1");
	look(&w, &intents);
	for (struct intent *i = intents.first; i != NULL; i = i->next)
		if (i->type == INTENT_DELETE &&
		    strcmp(i->resource, "controllerrevisions.apps") == 0) {
			assert_string_equal(i->name, "d-h2");
			deleted++;
		}
	assert_int_equal(deleted, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(worlds_and_intents),
		cmocka_unit_test(the_pod_that_is_made),
		cmocka_unit_test(failures_are_carried_on),
		cmocka_unit_test(what_wakes_it),
		cmocka_unit_test(many_nodes),
		cmocka_unit_test(old_revisions_are_trimmed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
