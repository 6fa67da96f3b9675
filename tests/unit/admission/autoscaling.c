/* HorizontalPodAutoscalers at the door: defaults, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/cleanup.h"
#include "tests/unit/world/world.h"

#define HPA(spec)                                                                                  \
	"{'apiVersion':'autoscaling/v2','kind':'HorizontalPodAutoscaler','metadata':{'name':'a',"  \
	"'namespace':'default'},'spec':{" spec "}}"
#define REF "'scaleTargetRef':{'kind':'Deployment','name':'web'},"
#define ONE(metric) HPA(REF "'maxReplicas':2,'metrics':[{" metric "}]")
#define CPU(target) "'type':'Resource','resource':{'name':'cpu','target':{" target "}}"
#define RULES(rules) HPA(REF "'maxReplicas':2,'behavior':{'scaleUp':{" rules "}}")

static const struct {
	const char *name, *text,
		*part; /* part: in the object, or in the refusal with '!' before. */
} cases[] = {
	{ "cpu at 80 % by default", HPA(REF "'maxReplicas':2"),
	  "'minReplicas':1,'maxReplicas':2,'metrics':[{'type':'Resource','resource':{'name':'cpu',"
	  "'target':{'type':'Utilization','averageUtilization':80}}}]" },
	{ "a behavior is completed", HPA(REF "'maxReplicas':2,'behavior':{'scaleDown':{}}"),
	  "'behavior':{'scaleUp':{'selectPolicy':'Max','policies':[{'type':'Pods','value':4,"
	  "'periodSeconds':15},{'type':'Percent','value':100,'periodSeconds':15}],"
	  "'stabilizationWindowSeconds':0},'scaleDown':{'selectPolicy':'Max','policies':[{"
	  "'type':'Percent',"
	  "'value':100,'periodSeconds':15}]}}" },
	{ "no reference", HPA("'maxReplicas':2"), "!spec.scaleTargetRef.kind: Required value" },
	{ "no maximum", HPA(REF "'minReplicas':1"),
	  "!spec.maxReplicas: Invalid value: 0: must be greater than 0" },
	{ "upside down", HPA(REF "'minReplicas':3,'maxReplicas':2"),
	  "!spec.maxReplicas: Invalid value: 2: must be greater than or equal to `minReplicas`" },
	{ "zero", HPA(REF "'minReplicas':0,'maxReplicas':2"),
	  "!spec.minReplicas: Invalid value: 0: must be greater than or equal to 1" },
	{ "unknown source", ONE("'type':'Wish'"),
	  "!spec.metrics[0].type: Unsupported value: 'Wish': supported values: "
	  "'ContainerResource', 'External', 'Object', 'Pods', 'Resource'" },
	{ "no source", ONE("'type':'Resource'"),
	  "!spec.metrics[0].resource: Required value: must populate information for the given "
	  "metric source" },
	{ "both", ONE(CPU("'type':'Utilization','averageUtilization':5,'averageValue':'1'")),
	  "!spec.metrics[0].resource.target.averageValue: Forbidden: may not set both" },
	{ "neither", ONE(CPU("'type':'Utilization'")),
	  "!spec.metrics[0].resource.target.averageUtilization: Required value: must set either" },
	{ "a target of no type", ONE(CPU("'averageValue':'1'")),
	  "!spec.metrics[0].resource.target.type: Required value: must specify a metric target "
	  "type" },
	{ "a target of another type", ONE(CPU("'type':'Luck','averageValue':'1'")),
	  "!must be either Utilization, Value, or AverageValue" },
	{ "nothing as an aim", ONE(CPU("'type':'AverageValue','averageValue':'0'")),
	  "!averageValue: Invalid value: '0': must be positive" },
	{ "a container without a name",
	  ONE("'type':'ContainerResource','containerResource':{'name':'cpu','target':{'type':"
	      "'Utilization','averageUtilization':5}}"),
	  "!containerResource.container: Required value: must specify a container" },
	{ "an external one with two aims",
	  ONE("'type':'External','external':{'metric':{'name':'m'},'target':{'type':'Value',"
	      "'value':'1','averageValue':'1'}}"),
	  "!external.target.value: Forbidden: may not set both a target value for metric and a "
	  "per-pod target" },
	{ "an object of nothing",
	  ONE("'type':'Object','object':{'metric':{'name':'m'},'target':{'type':'Value',"
	      "'value':'1'}}"),
	  "!object.describedObject.kind: Required value" },
	{ "pods without a metric",
	  ONE("'type':'Pods','pods':{'target':{'type':'AverageValue','averageValue':'1'}}"),
	  "!pods.metric.name: Required value: must specify a metric name" },
	{ "too long a window", RULES("'stabilizationWindowSeconds':3601"),
	  "!stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600" },
	{ "an unknown policy", RULES("'policies':[{'type':'All','value':1,'periodSeconds':1}]"),
	  "!policies[0].type: Unsupported value: 'All': supported values: 'Percent', 'Pods'" },
	{ "an unknown choice", RULES("'selectPolicy':'Any'"), "!selectPolicy: Unsupported value" },
	{ "too long a period", RULES("'policies':[{'type':'Pods','value':1,'periodSeconds':1801}]"),
	  "!periodSeconds: Invalid value: 1801: must be less than or equal to 1800" },
	{ "no change", RULES("'policies':[{'type':'Pods','value':0,'periodSeconds':1}]"),
	  "!value: Invalid value: 0: must be greater than zero" },
};

static void test_cases(void **state)
{
	for (size_t i = 0; i < array_size(cases); i++) {
		auto_with(world_fini) struct world w = { 0 };
		auto_with(status_fini) struct status st = { 0 };
		bool refused = cases[i].part[0] == '!';
		const struct object *o;
		const char *got;

		world_init(&w);
		world_put(&w, "{'kind':'Namespace','metadata':{'name':'default'}}");
		o = world_create(&w, cases[i].text, &st);
		got = o != NULL ? world_print(&w, o) : st.message;
		if ((o == NULL) != refused ||
		    strstr(got, world_json(&w, cases[i].part + refused)) == NULL)
			fail_msg("%s: %s", cases[i].name, got);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_cases) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
