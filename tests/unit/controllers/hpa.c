/* HorizontalPodAutoscalers: what pods use, in; replicas, conditions and memory, out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "common/api/make.h"
#include "common/base/cleanup.h"
#include "proto/k8s/apps_v1.pb-c.h"
#include "proto/k8s/autoscaling_v2.pb-c.h"
#include "tests/unit/world/world.h"

extern const struct controller controller_hpa;

#define S INT64_C(1000000000)
enum { PODS_MAX = 32 };

/* What the pods use, as the view tells it. */
struct usages {
	struct pod_usage pods[PODS_MAX];
	struct container_usage containers[PODS_MAX][2];
	size_t n;
};

static const struct pod_usage *usage_of(void *ctx, const struct pod_facts *pod)
{
	const struct usages *u = ctx;

	for (size_t i = 0; i < u->n; i++)
		if (strcmp(u->pods[i].uid, pod->object->facts.uid) == 0)
			return &u->pods[i];
	return NULL;
}

/* --- Worlds ------------------------------------------------------------------------------------------ */

static char *when(struct world *w, int64_t ago_s)
{
	time_t t = (time_t)(w->now_ns / S - ago_s);
	struct tm tm;
	char text[32];

	gmtime_r(&t, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return arena_strdup(&w->arena, text);
}

/* One word per pod: a letter, and the thousandths of a processor it uses.
 *
 *   R ready for long        P pending             M ready, no sample
 *   N started a minute ago, not ready             S the same, ready after its sample
 *   Y old, never ready      X old, ready once     F failed    D being deleted
 */
static void put_pod(struct world *w, struct usages *u, size_t i, const char *word,
		    const char *resources)
{
	char type = word[0];
	const char *phase = type == 'P' ? "Pending" : type == 'F' ? "Failed" : "Running";
	const char *ready = strchr("PNYXF", type) != NULL ? "False" : "True";
	bool young = type == 'N' || type == 'S' || type == 'P';
	int64_t start_ago = young ? 60 : 3600;
	int64_t ready_ago = type == 'S' ? 5 : young ? 55 : type == 'X' ? 1000 : 3590;
	const char *uid = arena_printf(&w->arena, "uid-p%zu", i);

	world_put(w, arena_printf(&w->arena,
				  "{'kind':'Pod','metadata':{'name':'p%zu','namespace':'default',"
				  "'labels':{'app':'web'}%s},'spec':{'nodeName':'n','containers':"
				  "[{'name':'a','image':'b','resources':{%s}}]},'status':{'phase':"
				  "'%s','startTime':'%s','conditions':[{'type':'Ready','status':"
				  "'%s','lastTransitionTime':'%s'}]}}",
				  i,
				  type == 'D' ? ",'deletionTimestamp':'2026-01-01T00:00:00Z'" : "",
				  resources, phase, when(w, start_ago), ready,
				  when(w, ready_ago)));
	if (word[1] == '\0')
		return;
	u->containers[i][0] = (struct container_usage){ "a", strtoull(word + 1, NULL, 10) * 1000000,
							strtoull(word + 1, NULL, 10) << 20 };
	u->pods[u->n++] = (struct pod_usage){ uid, w->now_ns - 10 * S, 15 * S, u->containers[i], 1 };
}

static void put_target(struct world *w, int replicas)
{
	world_put(w, "{'kind':'Namespace','metadata':{'name':'default'}}");
	world_put(w, arena_printf(&w->arena,
				  "{'apiVersion':'apps/v1','kind':'Deployment','metadata':{'name':"
				  "'web','namespace':'default'},'spec':{'replicas':%d,'selector':{"
				  "'matchLabels':{'app':'web'}},'template':{'metadata':{'labels':{"
				  "'app':'web'}},'spec':{'containers':[{'name':'a','image':'b'}]}}"
				  "},'status':{'replicas':%d}}",
				  replicas, replicas));
}

static void put_autoscaler(struct world *w, const char *name, const char *spec)
{
	struct status st = { 0 };
	const char *text = arena_printf(
		&w->arena,
		"{'apiVersion':'autoscaling/v2','kind':'HorizontalPodAutoscaler','metadata':{"
		"'name':'%s','namespace':'default'},'spec':{'scaleTargetRef':{'apiVersion':"
		"'apps/v1','kind':'Deployment','name':'web'},%s}}",
		name, spec);

	if (world_create(w, text, &st) == NULL)
		fail_msg("%s: %s", name, st.message);
}

/* --- What comes out ------------------------------------------------------------------------------------ */

/* "scale 4; Able ReadyForNewScale; Active ValidMetricFound; Limited no" */
static char *look(struct world *w, struct usages *u, const char *memo, char **ret_memo)
{
	struct view v = world_view(w);
	struct intents intents;
	auto_with(buf_fini) struct buf b = { 0 };

	v.pod_usage = usage_of;
	v.pod_usage_ctx = u;
	v.memo = memo;
	intents_init(&intents, &w->arena);
	controller_hpa.reconcile(&v, (struct key){ "default", "web" }, &intents);
	*ret_memo = (char *)intents.memo;
	for (const struct intent *i = intents.first; i != NULL; i = i->next) {
		const AutoscalingV2__HorizontalPodAutoscaler *hpa;

		if (i->type == INTENT_UPDATE)
			buf_printf(&b, "scale %d ",
				   ((const AppsV1__Deployment *)i->message)->spec->replicas);
		if (i->type != INTENT_UPDATE_STATUS)
			continue;
		hpa = (const AutoscalingV2__HorizontalPodAutoscaler *)i->message;
		for (size_t k = 0; k < hpa->status->n_conditions; k++)
			buf_printf(&b, "%s%s ",
				   text_is(hpa->status->conditions[k]->status, "True") ? "" : "!",
				   hpa->status->conditions[k]->reason);
	}
	if (b.len > 0)
		b.len--;
	return arena_strndup(&w->arena, b.data != NULL ? (char *)b.data : "", b.len);
}

static void put_pods(struct world *w, struct usages *u, const char *words, const char *resources)
{
	char *copy = arena_strdup(&w->arena, words), *save;
	size_t i = 0;

	for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
		put_pod(w, u, i++, word, resources);
}

#define ASKS "'requests':{'cpu':'100m','memory':'100Mi'}"
#define CPU(n) "{'type':'Resource','resource':{'name':'cpu','target':{'type':'Utilization',"     \
	       "'averageUtilization':" #n "}}}"
#define CPU_VALUE(v) "{'type':'Resource','resource':{'name':'cpu','target':{'type':"             \
		     "'AverageValue','averageValue':'" v "'}}}"
#define MEMORY(n) "{'type':'Resource','resource':{'name':'memory','target':{'type':"             \
		  "'Utilization','averageUtilization':" #n "}}}"
#define BOUNDS(min, max) "'minReplicas':" #min ",'maxReplicas':" #max
#define HPA(metrics) BOUNDS(1, 20) ",'metrics':[" metrics "]"
/* Without a behavior at most twice as many or 4. */
#define FINE "ReadyForNewScale ValidMetricFound !DesiredWithinRange"
#define SCALED "SucceededRescale ValidMetricFound !DesiredWithinRange"

static const struct {
	const char *name, *spec;
	int replicas;
	const char *pods, *resources, *result;
} cases[] = {
	/* Utilization. */
	{ "as wanted", HPA(CPU(50)), 2, "R50 R50", ASKS, FINE },
	{ "a tenth more is no reason", HPA(CPU(50)), 2, "R55 R55", ASKS, FINE },
	{ "a tenth less is no reason", HPA(CPU(50)), 10, "R45 R45 R45 R45 R45 R45 R45 R45 R45 R45",
	  ASKS, FINE },
	{ "more: up", HPA(CPU(50)), 2, "R75 R75", ASKS, "scale 3 " SCALED },
	{ "rounded up", HPA(CPU(50)), 3, "R60 R60 R60", ASKS, "scale 4 " SCALED },
	{ "the mean counts", HPA(CPU(50)), 2, "R100 R50", ASKS, "scale 3 " SCALED },
	{ "at most to 4 at once", HPA(CPU(10)), 1, "R100", ASKS,
	  "scale 4 SucceededRescale ValidMetricFound ScaleUpLimit" },
	{ "at most to twice as many", HPA(CPU(10)), 3, "R100 R100 R100", ASKS,
	  "scale 6 SucceededRescale ValidMetricFound ScaleUpLimit" },
	{ "at most to the maximum", BOUNDS(1, 3) ",'metrics':[" CPU(10) "]", 2, "R100 R100", ASKS,
	  "scale 3 SucceededRescale ValidMetricFound TooManyReplicas" },
	{ "at least the minimum, whatever is measured", BOUNDS(3, 5), 2, "R1 R1", ASKS,
	  "scale 3 SucceededRescale" },
	{ "above the maximum", BOUNDS(1, 2), 4, "", ASKS, "scale 2 SucceededRescale" },
	{ "zero switches it off", BOUNDS(1, 2), 0, "", ASKS, "SucceededGetScale !ScalingDisabled" },
	/* Less is held back: a new leader knows only what there is. */
	{ "down: not at once", HPA(CPU(50)), 4, "R5 R5 R5 R5", ASKS,
	  "ScaleDownStabilized ValidMetricFound !DesiredWithinRange" },
	/* Pods that do not count. */
	{ "pods being deleted and failed ones are ignored", HPA(CPU(50)), 2, "R75 R75 D1 F1", ASKS,
	  "scale 3 " SCALED },
	{ "pending ones use nothing when it goes up", HPA(CPU(50)), 4, "R100 R100 P P", ASKS, FINE },
	{ "but still up", HPA(CPU(50)), 4, "R200 R200 P P", ASKS,
	  "scale 8 " SCALED },
	{ "young and not ready", HPA(CPU(50)), 3, "R100 R100 N900", ASKS, "scale 4 " SCALED },
	{ "young, its sample from before it was ready", HPA(CPU(50)), 3, "R100 R100 S900", ASKS,
	  "scale 4 " SCALED },
	{ "old and never ready", HPA(CPU(50)), 3, "R100 R100 Y900", ASKS, "scale 4 " SCALED },
	{ "old and not ready any more counts", HPA(CPU(50)), 3, "R50 R50 X140", ASKS,
	  "scale 5 " SCALED },
	{ "memory does not care who is ready", HPA(MEMORY(50)), 2, "R50 N150", ASKS,
	  "scale 4 " SCALED },
	{ "no sample: nothing when it goes up", HPA(CPU(50)), 2, "R100 M", ASKS, FINE },
	{ "no sample: everything when it goes down", HPA(CPU(50)), 4, "R1 R1 M M", ASKS, FINE },
	{ "no sample at all", HPA(CPU(50)), 2, "M M", ASKS,
	  "SucceededGetScale !FailedGetResourceMetric" },
	{ "no pods", HPA(CPU(50)), 2, "", ASKS, "SucceededGetScale !FailedGetResourceMetric" },
	{ "only pods that are not ready", HPA(CPU(50)), 2, "N90 N90", ASKS,
	  "SucceededGetScale !FailedGetResourceMetric" },
	{ "no request", HPA(CPU(50)), 2, "R50 R50", "'requests':{'memory':'1Mi'}",
	  "SucceededGetScale !FailedGetResourceMetric" },
	/* Amounts need no requests. */
	{ "an amount", HPA(CPU_VALUE("50m")), 2, "R75 R75", "", "scale 3 " SCALED },
	{ "an amount within a tenth", HPA(CPU_VALUE("50m")), 2, "R54 R54", "", FINE },
	{ "an amount, one without a sample", HPA(CPU_VALUE("50m")), 3, "R100 R100 M", "",
	  "scale 4 " SCALED },
	/* Containers. */
	{ "of a container",
	  HPA("{'type':'ContainerResource','containerResource':{'name':'cpu','container':'a',"
	      "'target':{'type':'Utilization','averageUtilization':50}}}"),
	  2, "R75 R75", ASKS, "scale 3 " SCALED },
	{ "of a container there is not",
	  HPA("{'type':'ContainerResource','containerResource':{'name':'cpu','container':'z',"
	      "'target':{'type':'Utilization','averageUtilization':50}}}"),
	  2, "R75 R75", ASKS, "SucceededGetScale !FailedGetContainerResourceMetric" },
	/* Several. */
	{ "the highest of two", HPA(CPU(50) "," MEMORY(25)), 2, "R75 R75", ASKS,
	  "scale 4 SucceededRescale ValidMetricFound ScaleUpLimit" },
	{ "one fails: up all the same",
	  HPA("{'type':'Pods','pods':{'metric':{'name':'x'},'target':{'type':'AverageValue',"
	      "'averageValue':'1'}}}," CPU(50)),
	  2, "R75 R75", ASKS, "scale 3 " SCALED },
	{ "one fails: not down",
	  HPA(CPU(50) ",{'type':'External','external':{'metric':{'name':'x'},'target':{'type':"
		      "'Value','value':'1'}}}"),
	  4, "R5 R5 R5 R5", ASKS, "SucceededGetScale !FailedGetExternalMetric" },
	{ "an object's metric is served by nobody",
	  HPA("{'type':'Object','object':{'describedObject':{'kind':'Service','name':'s'},'metric':"
	      "{'name':'x'},'target':{'type':'Value','value':'1'}}}"),
	  1, "R5", ASKS, "SucceededGetScale !FailedGetObjectMetric" },
	{ "an unknown resource", HPA("{'type':'Resource','resource':{'name':'gpu','target':{'type':"
				     "'AverageValue','averageValue':'1'}}}"),
	  1, "R5", ASKS, "SucceededGetScale !FailedGetResourceMetric" },
};

static void test_cases(void **state)
{
	for (size_t i = 0; i < array_size(cases); i++) {
		auto_with(world_fini) struct world w = { 0 };
		struct usages u = { .n = 0 };
		char *memo, *result;

		world_init(&w);
		put_target(&w, cases[i].replicas);
		put_pods(&w, &u, cases[i].pods, cases[i].resources);
		put_autoscaler(&w, "web", cases[i].spec);
		result = look(&w, &u, NULL, &memo);
		/* "200% of 50%" doubles the ready pods only: limits are the rates of the rules. */
		if (strcmp(result, cases[i].result) != 0)
			fail_msg("%s:\n got    %s\n wanted %s", cases[i].name, result,
				 cases[i].result);
	}
}

/* --- Over time --------------------------------------------------------------------------------------- */

/* Times of a memory are seconds before now; "r-30 5" becomes a line of it. */
static char *memory(struct world *w, const char *text)
{
	auto_with(buf_fini) struct buf b = { 0 };
	char *copy = arena_strdup(&w->arena, text), *save;

	for (char *item = strtok_r(copy, ",", &save); item; item = strtok_r(NULL, ",", &save)) {
		char type;
		int ago, value, to = 0, n = sscanf(item, " %c -%d %d %d", &type, &ago, &value, &to);

		assert_true(n >= 3);
		buf_printf(&b, "%c %lld %d", type, (long long)(w->now_ns - ago * S), value);
		if (n == 4)
			buf_printf(&b, " %d", to);
		buf_put_byte(&b, '\n');
	}
	return arena_strdup(&w->arena, buf_cstr(&b));
}

#define RULES(up, down)                                                                            \
	HPA(CPU(50)) ",'behavior':{'scaleUp':{" up "},'scaleDown':{" down "}}"
#define POLICY(type, value, period)                                                                \
	"'policies':[{'type':'" type "','value':" #value ",'periodSeconds':" #period "}]"

static const struct {
	const char *name, *spec;
	int replicas;
	const char *pods, *memory, *result;
} past_cases[] = {
	{ "down after five minutes", HPA(CPU(50)), 4, "R5 R5 R5 R5", "r -301 4,r -290 1",
	  "scale 1 " SCALED },
	{ "down to the highest of five minutes", HPA(CPU(50)), 4, "R5 R5 R5 R5", "r -301 4,r -290 2",
	  "scale 2 " SCALED },
	{ "never below the minimum", BOUNDS(2, 9) ",'metrics':[" CPU(50) "]", 4, "R5 R5 R5 R5",
	  "r -290 1", "scale 2 SucceededRescale ValidMetricFound TooFewReplicas" },
	/* Windows. */
	{ "its own window down", RULES("", "'stabilizationWindowSeconds':30"), 4, "R5 R5 R5 R5",
	  "r -31 4,r -29 1", "scale 1 " SCALED },
	{ "inside of it", RULES("", "'stabilizationWindowSeconds':60"), 4, "R5 R5 R5 R5",
	  "r -31 4,r -29 1", "ScaleDownStabilized ValidMetricFound !DesiredWithinRange" },
	{ "a window up: the lowest of it", RULES("'stabilizationWindowSeconds':60", ""), 2,
	  "R150 R150", "r -50 3,r -20 5", "scale 3 " SCALED },
	{ "up at once without one", RULES("", ""), 2, "R150 R150", "r -50 3", "scale 6 " SCALED },
	/* Rates. */
	{ "pods per period", RULES(POLICY("Pods", 1, 60), ""), 2, "R150 R150", "r -1 2",
	  "scale 3 SucceededRescale ValidMetricFound ScaleUpLimit" },
	{ "what was added counts", RULES(POLICY("Pods", 3, 60), ""), 4, "R150 R150 R150 R150",
	  "r -1 2,u -30 2", "scale 5 SucceededRescale ValidMetricFound ScaleUpLimit" },
	{ "not any more", RULES(POLICY("Pods", 3, 60), ""), 4, "R150 R150 R150 R150",
	  "r -1 2,u -61 2", "scale 7 SucceededRescale ValidMetricFound ScaleUpLimit" },
	{ "all of it used up", RULES(POLICY("Pods", 2, 60), ""), 4, "R150 R150 R150 R150",
	  "r -1 2,u -30 2", "ReadyForNewScale ValidMetricFound ScaleUpLimit" },
	{ "percent", RULES(POLICY("Percent", 50, 60), ""), 3, "R150 R150 R150", "r -1 3",
	  "scale 5 SucceededRescale ValidMetricFound ScaleUpLimit" },
	{ "the default: 4 or as many again", RULES("", ""), 2, "R900 R900", "r -1 2",
	  "scale 6 SucceededRescale ValidMetricFound ScaleUpLimit" },
	{ "the smaller of two",
	  RULES("'selectPolicy':'Min','policies':[{'type':'Pods','value':4,'periodSeconds':15},{"
		"'type':'Percent','value':50,'periodSeconds':15}]",
		""),
	  2, "R900 R900", "r -1 2", "scale 3 SucceededRescale ValidMetricFound ScaleUpLimit" },
	{ "never up", RULES("'selectPolicy':'Disabled'", ""), 2, "R900 R900", "r -1 2",
	  "ReadyForNewScale ValidMetricFound ScaleUpLimit" },
	{ "down by percent, rounded down",
	  RULES("", "'stabilizationWindowSeconds':0," POLICY("Percent", 50, 60)), 5,
	  "R1 R1 R1 R1 R1", "r -1 5", "scale 2 SucceededRescale ValidMetricFound ScaleDownLimit" },
	{ "down by pods",
	  RULES("", "'stabilizationWindowSeconds':0," POLICY("Pods", 1, 60)), 5, "R1 R1 R1 R1 R1",
	  "r -1 5", "scale 4 SucceededRescale ValidMetricFound ScaleDownLimit" },
	{ "what was taken away counts",
	  RULES("", "'stabilizationWindowSeconds':0," POLICY("Pods", 2, 60)), 4, "R1 R1 R1 R1",
	  "r -1 5,d -30 1", "scale 3 SucceededRescale ValidMetricFound ScaleDownLimit" },
	{ "never down",
	  RULES("", "'stabilizationWindowSeconds':0,'selectPolicy':'Disabled'"), 4, "R1 R1 R1 R1",
	  "r -1 5", "ReadyForNewScale ValidMetricFound ScaleDownLimit" },
	/* What was decided counts only when it was done. */
	{ "decided and done", RULES(POLICY("Pods", 2, 60), ""), 4, "R150 R150 R150 R150",
	  "r -20 4,p -20 2 4", "ReadyForNewScale ValidMetricFound ScaleUpLimit" },
	{ "decided and refused", RULES(POLICY("Pods", 2, 60), ""), 2, "R150 R150",
	  "r -20 4,p -20 2 4", "scale 4 SucceededRescale ValidMetricFound ScaleUpLimit" },
	{ "rubbish is not remembered", RULES("", ""), 2, "R150 R150", "x -20 4", "scale 6 " SCALED },
};

static void test_past(void **state)
{
	for (size_t i = 0; i < array_size(past_cases); i++) {
		auto_with(world_fini) struct world w = { 0 };
		struct usages u = { .n = 0 };
		char *memo, *result;

		world_init(&w);
		put_target(&w, past_cases[i].replicas);
		put_pods(&w, &u, past_cases[i].pods, ASKS);
		put_autoscaler(&w, "web", past_cases[i].spec);
		result = look(&w, &u, memory(&w, past_cases[i].memory), &memo);
		if (strcmp(result, past_cases[i].result) != 0)
			fail_msg("%s:\n got    %s\n wanted %s", past_cases[i].name, result,
				 past_cases[i].result);
	}
}

static void test_memory_of_looks(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	struct usages u = { .n = 0 };
	char *memo = NULL;

	world_init(&w);
	put_target(&w, 2);
	put_pods(&w, &u, "R150 R150", ASKS);
	put_autoscaler(&w, "web", RULES(POLICY("Pods", 1, 60), ""));
	look(&w, &u, NULL, &memo);
	assert_string_equal(memo, memory(&w, "r -0 2,r -0 6,p -0 2 3"));
	/* An hour of looks that change nothing is one line. */
	put_target(&w, 3);
	for (int i = 0; i < 240; i++) {
		w.now_ns += 15 * S;
		for (size_t k = 0; k < u.n; k++)
			u.pods[k].measured_ns = w.now_ns;
		look(&w, &u, memo, &memo);
	}
	assert_int_equal(strlen(memo) < 100, true);
	/* The target is gone: so is the memory. */
	world_delete(&w, "deployments.apps", "default", "web", -1, NULL);
	assert_string_equal(look(&w, &u, memo, &memo), "!FailedGetScale");
	assert_null(memo);
}

static void test_bad_targets(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	struct usages u = { .n = 0 };
	char *memo;

	world_init(&w);
	put_target(&w, 2);
	put_pods(&w, &u, "R50 R50", ASKS);
	put_autoscaler(&w, "web", BOUNDS(1, 4));
	put_autoscaler(&w, "other", BOUNDS(1, 4));
	assert_string_equal(look(&w, &u, NULL, &memo), "SucceededGetScale !AmbiguousSelector");
	world_delete(&w, "horizontalpodautoscalers.autoscaling", "default", "other", -1, NULL);
	world_update(&w,
		     "{'apiVersion':'autoscaling/v2','kind':'HorizontalPodAutoscaler','metadata':{"
		     "'name':'web','namespace':'default'},'spec':{'scaleTargetRef':{'apiVersion':"
		     "'v1','kind':'ConfigMap','name':'web'},'maxReplicas':2}}",
		     "", NULL);
	assert_string_equal(look(&w, &u, NULL, &memo), "!FailedGetScale");
}

/* A cluster at rest writes nothing, although numbers never stand still. */
static void test_jitter_is_not_written(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	struct usages u = { .n = 0 };
	struct intents intents;
	struct view v;
	char *memo = NULL;

	world_init(&w);
	put_target(&w, 2);
	put_pods(&w, &u, "R50 R50", ASKS);
	put_autoscaler(&w, "web", HPA(CPU(50)));
	v = world_view(&w);
	v.pod_usage = usage_of;
	v.pod_usage_ctx = &u;
	intents_init(&intents, &w.arena);
	controller_hpa.reconcile(&v, (struct key){ "default", "web" }, &intents);
	assert_int_equal(world_apply(&w, &intents, NULL), 0);
	u.containers[0][0].cpu_nanocores += 4000000;
	assert_string_equal(look(&w, &u, intents.memo, &memo), "");
	u.containers[0][0].cpu_nanocores += 6000000;
	assert_string_equal(look(&w, &u, memo, &memo), FINE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_past),
		cmocka_unit_test(test_memory_of_looks),
		cmocka_unit_test(test_bad_targets),
		cmocka_unit_test(test_jitter_is_not_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
