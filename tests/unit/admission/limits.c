/* LimitRanges: what pods get from them, what they allow, and what they must be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/cleanup.h"
#include "tests/unit/world/world.h"

static void setup(struct world *w)
{
	world_init(w);
	world_put(w, "{'kind':'Namespace','metadata':{'name':'default'}}");
	world_put(w, "{'kind':'ServiceAccount','metadata':{'name':'default',"
		     "'namespace':'default'}}");
}

#define RANGE(limits)                                                                                  \
	"{'kind':'LimitRange','metadata':{'name':'l','namespace':'default'},'spec':{'limits':[" limits \
	"]}}"
#define CONTAINER(rest) "{'type':'Container'," rest "}"
#define POD(resources)                                                                             \
	"{'kind':'Pod','metadata':{'name':'p','namespace':'default'},'spec':{'containers':[{"      \
	"'name':'a','image':'b','resources':{" resources "}}]}}"
#define TWO(a, b)                                                                                  \
	"{'kind':'Pod','metadata':{'name':'p','namespace':'default'},'spec':{'containers':[{"      \
	"'name':'a','image':'b','resources':{" a "}},{'name':'b','image':'b','resources':{" b      \
	"}}]}}"
#define CLAIM(size)                                                                                \
	"{'kind':'PersistentVolumeClaim','metadata':{'name':'p','namespace':'default'},'spec':{"   \
	"'accessModes':['ReadWriteOnce'],'resources':{'requests':{'storage':'" size "'}}}}"
#define NO_POD "pods \"p\" is forbidden: "

static const struct {
	const char *name, *range, *object, *message; /* NULL: accepted. */
} cases[] = {
	{ "within", RANGE(CONTAINER("'min':{'cpu':'100m'},'max':{'cpu':'1'}")),
	  POD("'requests':{'cpu':'200m'},'limits':{'cpu':'1'}"), NULL },
	{ "a maximum is the limit of who has none", RANGE(CONTAINER("'max':{'cpu':'1'}")), POD(""),
	  NULL },
	{ "too little", RANGE(CONTAINER("'min':{'cpu':'100m'}")),
	  POD("'requests':{'cpu':'50m'},'limits':{'cpu':'1'}"),
	  NO_POD "minimum cpu usage per Container is 100m, but request is 50m" },
	{ "too much", RANGE(CONTAINER("'max':{'memory':'1Gi'}")),
	  POD("'requests':{'memory':'1Gi'},'limits':{'memory':'2Gi'}"),
	  NO_POD "maximum memory usage per Container is 1Gi, but limit is 2Gi" },
	{ "the limits say how much more", RANGE(CONTAINER("'maxLimitRequestRatio':{'cpu':'2'}")),
	  POD("'requests':{'cpu':'500m'},'limits':{'cpu':'1'}"), NULL },
	{ "too far apart", RANGE(CONTAINER("'maxLimitRequestRatio':{'cpu':'2'}")),
	  POD("'requests':{'cpu':'250m'},'limits':{'cpu':'1'}"),
	  NO_POD "cpu max limit to request ratio per Container is 2, but provided ratio is "
		 "4.000000" },
	{ "no limit to compare", RANGE(CONTAINER("'maxLimitRequestRatio':{'cpu':'2'}")),
	  POD("'requests':{'cpu':'250m'}"),
	  NO_POD "cpu max limit to request ratio per Container is 2, but no limit is specified or "
		 "limit is 0" },
	{ "two complaints are a list", RANGE(CONTAINER("'max':{'cpu':'1','memory':'1Gi'}")),
	  POD("'limits':{'cpu':'2','memory':'2Gi'}"),
	  NO_POD "[maximum cpu usage per Container is 1, but limit is 2, maximum memory usage per "
		 "Container is 1Gi, but limit is 2Gi]" },
	{ "a pod is the sum of its containers", RANGE("{'type':'Pod','max':{'cpu':'1'}}"),
	  TWO("'limits':{'cpu':'600m'}", "'limits':{'cpu':'600m'}"),
	  NO_POD "maximum cpu usage per Pod is 1, but limit is 1200m" },
	{ "each for itself", RANGE(CONTAINER("'max':{'cpu':'1'}")),
	  TWO("'limits':{'cpu':'600m'}", "'limits':{'cpu':'600m'}"), NULL },
	{ "a pod must say its limit", RANGE("{'type':'Pod','max':{'cpu':'1'}}"),
	  POD("'requests':{'cpu':'100m'}"),
	  NO_POD "maximum cpu usage per Pod is 1.  No limit is specified" },
	{ "and its request", RANGE("{'type':'Pod','min':{'cpu':'1'}}"), POD(""),
	  NO_POD "minimum cpu usage per Pod is 1.  No request is specified" },
	{ "a claim within",
	  RANGE("{'type':'PersistentVolumeClaim','min':{'storage':'1Gi'},'max':{'storage':'2Gi'}}"),
	  CLAIM("1Gi"), NULL },
	{ "a small claim", RANGE("{'type':'PersistentVolumeClaim','min':{'storage':'1Gi'}}"),
	  CLAIM("1Mi"),
	  "persistentvolumeclaims \"p\" is forbidden: minimum storage usage per "
	  "PersistentVolumeClaim is 1Gi, but request is 1Mi" },
	{ "a large claim", RANGE("{'type':'PersistentVolumeClaim','max':{'storage':'2Gi'}}"),
	  CLAIM("3Gi"),
	  "persistentvolumeclaims \"p\" is forbidden: maximum storage usage per "
	  "PersistentVolumeClaim is 2Gi, but limit is 3Gi" },
	/* The ranges themselves. */
	{ "the wrong way round", NULL, RANGE(CONTAINER("'min':{'cpu':'2'},'max':{'cpu':'1'}")),
	  "LimitRange \"l\" is invalid: [spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 "
	  "is greater than max value 1" },
	{ "a default beyond the maximum", NULL,
	  RANGE(CONTAINER("'default':{'cpu':'2'},'max':{'cpu':'1'}")),
	  "spec.limits[0].default[cpu]: Invalid value: \"2\": default value 2 is greater than max "
	  "value 1" },
	{ "a request beyond the limit", NULL,
	  RANGE(CONTAINER("'default':{'cpu':'1'},'defaultRequest':{'cpu':'2'}")),
	  "spec.limits[0].defaultRequest[cpu]: Invalid value: \"2\": default request value 2 is "
	  "greater than default limit value 1" },
	{ "a ratio below one", NULL, RANGE(CONTAINER("'maxLimitRequestRatio':{'cpu':'500m'}")),
	  "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"500m\": ratio 500m is less "
	  "than 1" },
	{ "pods have no defaults", NULL, RANGE("{'type':'Pod','default':{'cpu':'1'}}"),
	  "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'" },
	{ "claims need a bound", NULL, RANGE("{'type':'PersistentVolumeClaim'}"),
	  "spec.limits[0]: Required value: either minimum or maximum storage value is required, but "
	  "neither was provided" },
	{ "a type twice", NULL,
	  RANGE(CONTAINER("'max':{'cpu':'1'}") "," CONTAINER("'max':{'cpu':'2'}")),
	  "spec.limits[1].type: Duplicate value: \"Container\"" },
};

static void what_is_allowed(void **state)
{
	for (size_t i = 0; i < array_size(cases); i++) {
		auto_with(world_fini) struct world w = { 0 };
		auto_with(status_fini) struct status st = { 0 };

		setup(&w);
		if (cases[i].range != NULL && world_create(&w, cases[i].range, &st) == NULL)
			fail_msg("%s: %s", cases[i].name, st.message);
		(void)world_create(&w, cases[i].object, &st);
		if ((cases[i].message == NULL) != (st.rc == 0) ||
		    (st.rc != 0 && strstr(st.message, cases[i].message) == NULL))
			fail_msg("%s: got %s", cases[i].name, st.rc ? st.message : "nothing");
	}
}

static const struct {
	const char *name, *range, *pod, *shows[4];
} gifts[] = {
	{ "what is not said is given",
	  RANGE(CONTAINER("'default':{'cpu':'1','memory':'1Gi'},'defaultRequest':{'cpu':'100m'}")),
	  POD(""),
	  { "'limits':{'cpu':'1','memory':'1Gi'},'requests':{'cpu':'100m','memory':'1Gi'}",
	    "'kubernetes.io/limit-ranger':'LimitRanger plugin set: cpu, memory request for container "
	    "a; cpu, memory limit for container a'",
	    "'qosClass':'Burstable'" } },
	{ "what is said stays",
	  RANGE(CONTAINER("'default':{'cpu':'1'},'defaultRequest':{'cpu':'100m'}")),
	  POD("'limits':{'cpu':'2'}"),
	  { "'resources':{'limits':{'cpu':'2'},'requests':{'cpu':'2'}}" } },
	{ "a maximum is a default, and that a request",
	  RANGE(CONTAINER("'max':{'cpu':'3'}")),
	  POD(""),
	  { "'limits':{'cpu':'3'},'requests':{'cpu':'3'}" } },
	{ "another namespace's says nothing",
	  "{'kind':'LimitRange','metadata':{'name':'l','namespace':'other'},'spec':{'limits':[{"
	  "'type':'Container','max':{'cpu':'1'}}]}}",
	  POD(""),
	  { "'resources':{}", "'qosClass':'BestEffort'" } },
};

static void what_is_given(void **state)
{
	for (size_t i = 0; i < array_size(gifts); i++) {
		auto_with(world_fini) struct world w = { 0 };
		auto_with(status_fini) struct status st = { 0 };
		char *text;

		setup(&w);
		world_put(&w, "{'kind':'Namespace','metadata':{'name':'other'}}");
		if (world_create(&w, gifts[i].range, &st) == NULL ||
		    world_create(&w, gifts[i].pod, &st) == NULL)
			fail_msg("%s: %s", gifts[i].name, st.message);
		text = world_print(&w, world_get(&w, "pods", "default", "p"));
		for (size_t k = 0; k < array_size(gifts[i].shows) && gifts[i].shows[k]; k++)
			if (strstr(text, world_json(&w, gifts[i].shows[k])) == NULL)
				fail_msg("%s: no %s in %s", gifts[i].name, gifts[i].shows[k], text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_allowed),
		cmocka_unit_test(what_is_given),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
