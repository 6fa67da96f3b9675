/* ResourceQuotas: what objects take, who is meant, what is refused and in which words. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/api/kinds.h"
#include "common/base/cleanup.h"
#include "controlplane/budgets/quota.h"
#include "tests/unit/world/world.h"

extern const struct controller controller_quota;

static void setup(struct world *w)
{
	world_init(w);
	world_put(w, "{'kind':'Namespace','metadata':{'name':'default'}}");
	world_put(w, "{'kind':'ServiceAccount','metadata':{'name':'default',"
		     "'namespace':'default'}}");
}

static char *quota_text(struct world *w, const char *name, const char *spec)
{
	return arena_printf(&w->arena,
			    "{'kind':'ResourceQuota','metadata':{'name':'%s','namespace':"
			    "'default'},'spec':{%s}}",
			    name, spec);
}

#define POD(rest) "{'kind':'Pod','metadata':{'name':'p','namespace':'default'}," rest "}"
#define SPEC(rest) POD("'spec':{" rest "}")
#define C(name, rest) "{'name':'" name "','image':'b','resources':{" rest "}}"
#define CPU_MEMORY "'requests':{'cpu':'500m','memory':'1Gi'},'limits':{'cpu':'1','memory':'2Gi'}"
#define SERVICE(rest)                                                                              \
	"{'kind':'Service','metadata':{'name':'s','namespace':'default'},'spec':{" rest "}}"
#define CLAIM(rest)                                                                                   \
	"{'kind':'PersistentVolumeClaim','metadata':{'name':'c','namespace':'default'},'spec':{" rest \
	"'resources':{'requests':{'storage':'3Gi'}}}}"
#define ALL_COMPUTE                                                                                 \
	"'hard':{'pods':1,'count/pods':1,'cpu':1,'requests.cpu':1,'limits.cpu':1,'memory':1,"       \
	"'requests.memory':1,'limits.memory':1,'ephemeral-storage':1,'requests.ephemeral-storage':" \
	"1,'limits.ephemeral-storage':1,'hugepages-2Mi':1,'requests.hugepages-2Mi':1,"              \
	"'requests.example.com/gpu':1}"
#define AFFINITY(kind, rest)                                                                       \
	"'affinity':{'" kind "':{'requiredDuringSchedulingIgnoredDuringExecution':[{'topologyKey'" \
	":'k'" rest "}]}}"

static const struct {
	const char *name, *quota, *object, *takes;
} takes[] = {
	{ "a pod", ALL_COMPUTE, SPEC("'containers':[" C("a", CPU_MEMORY) "]"),
	  "count/pods=1,cpu=500m,limits.cpu=1,limits.memory=2Gi,memory=1Gi,pods=1,"
	  "requests.cpu=500m,requests.memory=1Gi" },
	{ "only what is limited", "'hard':{'cpu':9}", SPEC("'containers':[" C("a", CPU_MEMORY) "]"),
	  "cpu=500m" },
	{ "a finished pod still exists", ALL_COMPUTE,
	  POD("'spec':{'containers':[" C("a", CPU_MEMORY) "]},'status':{'phase':'Succeeded'}"),
	  "count/pods=1" },
	{ "so does a failed one", ALL_COMPUTE,
	  POD("'spec':{'containers':[" C("a", CPU_MEMORY) "]},'status':{'phase':'Failed'}"),
	  "count/pods=1" },
	{ "the dearest moment", "'hard':{'cpu':9}",
	  SPEC("'initContainers':[" C("i", "'requests':{'cpu':'3'}") "],'containers':[" C(
		  "a", CPU_MEMORY) "," C("b", CPU_MEMORY) "]"),
	  "cpu=3" },
	{ "a sidecar runs along", "'hard':{'cpu':9}",
	  SPEC("'initContainers':[{'name':'s','image':'i','restartPolicy':'Always','resources':{"
	       "'requests':{'cpu':'200m'}}}],'containers':[" C("a", CPU_MEMORY) "]"),
	  "cpu=700m" },
	{ "overhead", "'hard':{'cpu':9,'limits.cpu':9}",
	  SPEC("'overhead':{'cpu':'100m'},'containers':[" C("a", CPU_MEMORY) "]"),
	  "cpu=600m,limits.cpu=1100m" },
	{ "storage, pages and extended resources", ALL_COMPUTE,
	  SPEC("'containers':[" C("a", "'requests':{'ephemeral-storage':'1Gi','hugepages-2Mi':"
				       "'4Mi','example.com/gpu':2},'limits':{'ephemeral-storage':"
				       "'2Gi','hugepages-2Mi':'4Mi','example.com/gpu':2}") "]"),
	  "count/pods=1,ephemeral-storage=1Gi,hugepages-2Mi=4Mi,limits.ephemeral-storage=2Gi,"
	  "pods=1,requests.ephemeral-storage=1Gi,requests.example.com/gpu=2,"
	  "requests.hugepages-2Mi=4Mi" },
	{ "a plain service",
	  "'hard':{'services':1,'count/services':1,'services.nodeports':1,"
	  "'services.loadbalancers':1}",
	  SERVICE("'ports':[{'port':80},{'port':81}]"), "count/services=1,services=1" },
	{ "its node ports", "'hard':{'services':1,'services.nodeports':1}",
	  SERVICE("'type':'NodePort','ports':[{'port':80},{'port':81}]"),
	  "services=1,services.nodeports=2" },
	{ "a balancer has both", "'hard':{'services.loadbalancers':1,'services.nodeports':1}",
	  SERVICE("'type':'LoadBalancer','ports':[{'port':80},{'port':81}]"),
	  "services.loadbalancers=1,services.nodeports=2" },
	{ "unless it wants no node ports",
	  "'hard':{'services.loadbalancers':1,'services.nodeports':1}",
	  SERVICE("'type':'LoadBalancer','allocateLoadBalancerNodePorts':false,'ports':[{'port':80},"
		  "{'port':81,'nodePort':30000}]"),
	  "services.loadbalancers=1,services.nodeports=1" },
	{ "a claim",
	  "'hard':{'requests.storage':1,'persistentvolumeclaims':1,"
	  "'fast.storageclass.storage.k8s.io/requests.storage':1,"
	  "'fast.storageclass.storage.k8s.io/persistentvolumeclaims':1,"
	  "'slow.storageclass.storage.k8s.io/requests.storage':1}",
	  CLAIM("'storageClassName':'fast',"),
	  "fast.storageclass.storage.k8s.io/persistentvolumeclaims=1,"
	  "fast.storageclass.storage.k8s.io/requests.storage=3Gi,persistentvolumeclaims=1,"
	  "requests.storage=3Gi" },
	{ "any kind by its count", "'hard':{'count/deployments.apps':1,'count/secrets':1}",
	  "{'apiVersion':'apps/v1','kind':'Deployment','metadata':{'name':'d','namespace':"
	  "'default'},'spec':{}}",
	  "count/deployments.apps=1" },
	{ "the old names", "'hard':{'configmaps':1,'count/configmaps':1}",
	  "{'kind':'ConfigMap','metadata':{'name':'c','namespace':'default'}}",
	  "configmaps=1,count/configmaps=1" },
	{ "quotas", "'hard':{'resourcequotas':1}",
	  "{'kind':'ResourceQuota','metadata':{'name':'c','namespace':'default'}}",
	  "resourcequotas=1" },
	/* Scopes. */
	{ "Terminating", "'hard':{'pods':1},'scopes':['Terminating']",
	  SPEC("'activeDeadlineSeconds':5"), "pods=1" },
	{ "Terminating, another pod", "'hard':{'pods':1},'scopes':['Terminating']", SPEC(""), "" },
	{ "NotTerminating", "'hard':{'pods':1},'scopes':['NotTerminating']", SPEC(""), "pods=1" },
	{ "NotTerminating, another pod", "'hard':{'pods':1},'scopes':['NotTerminating']",
	  SPEC("'activeDeadlineSeconds':5"), "" },
	{ "BestEffort", "'hard':{'pods':1},'scopes':['BestEffort']",
	  SPEC("'containers':[" C("a", "") "]"), "pods=1" },
	{ "BestEffort, another pod", "'hard':{'pods':1},'scopes':['BestEffort']",
	  SPEC("'containers':[" C("a", CPU_MEMORY) "]"), "" },
	{ "NotBestEffort", "'hard':{'pods':1},'scopes':['NotBestEffort']",
	  SPEC("'containers':[" C("a", CPU_MEMORY) "]"), "pods=1" },
	{ "both of two scopes", "'hard':{'pods':1},'scopes':['NotBestEffort','Terminating']",
	  SPEC("'containers':[" C("a", CPU_MEMORY) "]"), "" },
	{ "scopes are for pods", "'hard':{'configmaps':1},'scopes':['NotTerminating']",
	  "{'kind':'ConfigMap','metadata':{'name':'c','namespace':'default'}}", "" },
#define CLASS_IS(op, values)                                                                       \
	"'hard':{'pods':1},'scopeSelector':{'matchExpressions':[{'scopeName':'PriorityClass',"     \
	"'operator':'" op "'" values "}]}"
	{ "a class that is listed", CLASS_IS("In", ",'values':['high','low']"),
	  SPEC("'priorityClassName':'low'"), "pods=1" },
	{ "a class that is not", CLASS_IS("In", ",'values':['high']"),
	  SPEC("'priorityClassName':'low'"), "" },
	{ "no class among those", CLASS_IS("In", ",'values':['high']"), SPEC(""), "" },
	{ "NotIn", CLASS_IS("NotIn", ",'values':['high']"), SPEC("'priorityClassName':'low'"),
	  "pods=1" },
	{ "Exists", CLASS_IS("Exists", ""), SPEC("'priorityClassName':'low'"), "pods=1" },
	{ "Exists, without", CLASS_IS("Exists", ""), SPEC(""), "" },
	{ "DoesNotExist", CLASS_IS("DoesNotExist", ""), SPEC(""), "pods=1" },
	{ "affinity within the namespace",
	  "'hard':{'pods':1},'scopes':['CrossNamespacePodAffinity']",
	  SPEC(AFFINITY("podAffinity", "")), "" },
	{ "affinity to others", "'hard':{'pods':1},'scopes':['CrossNamespacePodAffinity']",
	  SPEC(AFFINITY("podAffinity", ",'namespaces':['x']")), "pods=1" },
	{ "anti-affinity to all", "'hard':{'pods':1},'scopes':['CrossNamespacePodAffinity']",
	  SPEC(AFFINITY("podAntiAffinity", ",'namespaceSelector':{}")), "pods=1" },
};

static void what_objects_take(void **state)
{
	for (size_t i = 0; i < array_size(takes); i++) {
		auto_with(world_fini) struct world w = { 0 };
		const struct kind *kind, *ignored;

		setup(&w);

		const CoreV1__ResourceQuota *quota = (CoreV1__ResourceQuota *)world_message(
			&w, quota_text(&w, "q", takes[i].quota), &ignored);
		const void *object = world_message(&w, takes[i].object, &kind);
		struct amounts more = { .arena = &w.arena }, less = more, none = more;

		quota_difference(quota, kind, NULL, object, &more);
		if (strcmp(amounts_print(&more), takes[i].takes) != 0)
			fail_msg("%s: takes %s", takes[i].name, amounts_print(&more));
		/* What it took is given back, and a change of nothing takes nothing. */
		quota_difference(quota, kind, object, NULL, &less);
		assert_int_equal(less.n, more.n);
		for (size_t k = 0; k < more.n; k++)
			assert_true(less.items[k].quantity.nano == -more.items[k].quantity.nano);
		quota_difference(quota, kind, object, object, &none);
		assert_int_equal(none.n, 0);
	}
}

static void the_objects_there_are(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	const char *text;

	setup(&w);
	world_put(&w, "{'kind':'Namespace','metadata':{'name':'other'}}");
	world_put(&w, SPEC("'containers':[" C("a", CPU_MEMORY) "]"));
	world_put(&w, "{'kind':'Pod','metadata':{'name':'p2','namespace':'default'},'spec':{"
		      "'containers':[{'name':'a','resources':{'requests':{'cpu':'250m'}}}]}}");
	world_put(&w, "{'kind':'Pod','metadata':{'name':'p','namespace':'other'},'spec':{"
		      "'containers':[{'name':'a','resources':{'requests':{'cpu':'7'}}}]}}");
	world_put(&w, "{'kind':'ConfigMap','metadata':{'name':'c','namespace':'default'}}");
	assert_non_null(
		world_create(&w,
			     quota_text(&w, "q",
					"'hard':{'pods':'5','requests.cpu':'2','configmaps':'4',"
					"'resourcequotas':'1','count/jobs.batch':'3'}"),
			     NULL));
	text = world_print(&w, world_get(&w, "resourcequotas", "default", "q"));
	assert_non_null(strstr(text, "\"used\":{\"configmaps\":\"1\",\"count/jobs.batch\":\"0\","
				     "\"pods\":\"2\",\"requests.cpu\":\"750m\","
				     "\"resourcequotas\":\"1\"}"));
	/* Nothing is odd, so there is nothing to write. */
	assert_string_equal(world_reconcile(&w, &controller_quota, "default", "q", true), "");
	/* Another limit counts anew. */
	assert_int_equal(
		world_update(&w, quota_text(&w, "q", "'hard':{'limits.cpu':'9'}"), "", NULL), 0);
	text = world_print(&w, world_get(&w, "resourcequotas", "default", "q"));
	assert_non_null(
		strstr(text, "\"status\":{\"hard\":{\"limits.cpu\":\"9\"},\"used\":{\"limits.cpu\":"
			     "\"1\"}}"));
}

/* Somebody wrote nonsense into the status: it is counted again. */
static void a_status_that_is_wrong(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	world_put(&w, SPEC("'containers':[" C("a", CPU_MEMORY) "]"));
	world_create(&w, quota_text(&w, "q", "'hard':{'pods':'5'}"), NULL);
	world_update(&w,
		     "{'kind':'ResourceQuota','metadata':{'name':'q','namespace':'default'},"
		     "'status':{'hard':{'pods':'77'},'used':{'pods':'33'}}}",
		     "status", NULL);
	assert_string_equal(world_reconcile(&w, &controller_quota, "default", "q", true),
			    "status resourcequotas default/q\n");
	world_settle(&w);
	assert_non_null(strstr(world_print(&w, world_get(&w, "resourcequotas", "default", "q")),
			       "\"hard\":{\"pods\":\"5\"},\"used\":{\"pods\":\"1\"}"));
}

static const struct {
	const char *name, *spec, *message; /* NULL: accepted. */
} refusals[] = {
	{ "the usual", "'hard':{'pods':'4','requests.cpu':'1','count/widgets.example.com':'2'}",
	  NULL },
	{ "an extended resource", "'hard':{'requests.nvidia.com/gpu':'4'}", NULL },
	{ "no such resource", "'hard':{'gold':'4'}",
	  "spec.hard[gold]: Invalid value: \"gold\": must be a standard resource for quota" },
	{ "less than nothing", "'hard':{'pods':'-1'}",
	  "spec.hard[pods]: Invalid value: \"-1\": must be greater than or equal to 0" },
	{ "half a pod", "'hard':{'pods':'500m'}",
	  "spec.hard[pods]: Invalid value: \"500m\": must be an integer" },
	{ "a scope that does not narrow it", "'hard':{'services':'4'},'scopes':['Terminating']",
	  "spec.scopes: Invalid value: [\"Terminating\"]: unsupported scope applied to resource" },
	{ "BestEffort asks for nothing", "'hard':{'cpu':'4'},'scopes':['BestEffort']",
	  "unsupported scope applied to resource" },
	{ "opposites", "'hard':{'pods':'4'},'scopes':['BestEffort','NotBestEffort']",
	  "spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: conflicting scopes" },
	{ "an unknown scope", "'hard':{'pods':'4'},'scopes':['Sunny']",
	  "spec.scopes[0]: Unsupported value: \"Sunny\": supported values: " },
	{ "In without values", CLASS_IS("In", ""),
	  "spec.scopeSelector.matchExpressions[0].values: Required value: must be at least one "
	  "value when `operator` is 'In' or 'NotIn' for scope selector" },
	{ "Exists with values", CLASS_IS("Exists", ",'values':['a']"),
	  "spec.scopeSelector.matchExpressions[0].values: Forbidden: must be no value when "
	  "`operator` is 'Exist' or 'DoesNotExist' for scope selector" },
};

static void words_of_refusal(void **state)
{
	for (size_t i = 0; i < array_size(refusals); i++) {
		auto_with(world_fini) struct world w = { 0 };
		auto_with(status_fini) struct status st = { 0 };

		setup(&w);
		(void)world_create(&w, quota_text(&w, "q", refusals[i].spec), &st);
		if ((refusals[i].message == NULL) != (st.rc == 0) ||
		    (st.rc != 0 && strstr(st.message, refusals[i].message) == NULL))
			fail_msg("%s: got %s", refusals[i].name, st.rc ? st.message : "nothing");
	}
}

static void scopes_stay(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	auto_with(status_fini) struct status st = { 0 };

	setup(&w);
	world_create(&w, quota_text(&w, "q", "'hard':{'pods':'4'},'scopes':['Terminating']"), NULL);
	assert_int_equal(world_update(&w, quota_text(&w, "q", "'hard':{'pods':'4'}"), "", &st),
			 -EINVAL);
	assert_non_null(strstr(st.message, "spec.scopes: Invalid value: []: field is immutable"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_objects_take),
		cmocka_unit_test(the_objects_there_are),
		cmocka_unit_test(a_status_that_is_wrong),
		cmocka_unit_test(words_of_refusal),
		cmocka_unit_test(scopes_stay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
