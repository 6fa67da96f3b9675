/* HorizontalPodAutoscalers of both versions: there and back, and annotations that lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/api/convert.h"
#include "common/api/json.h"
#include "common/api/make.h"
#include "common/base/cleanup.h"
#include "proto/k8s/autoscaling_v1.pb-c.h"
#include "proto/k8s/autoscaling_v2.pb-c.h"

static const struct kind *v1(void)
{
	return kind_of_type("autoscaling/v1", "HorizontalPodAutoscaler");
}

static const struct kind *v2(void)
{
	return kind_of_type("autoscaling/v2", "HorizontalPodAutoscaler");
}

/* ' stands for ". */
static void *hpa_of(struct arena *a, const struct kind *kind, const char *text)
{
	char *json = arena_strdup(a, text);
	struct status st = { 0 };
	void *message;

	for (char *p = json; *p != '\0'; p++)
		*p = *p == '\'' ? '"' : *p;
	if (json_read_message(kind->descriptor, bytes_str(json), a, NULL, &message, &st) < 0)
		fail_msg("%s: %s", json, st.message);
	return message;
}

static void there_and_back(void **state)
{
	static const char *const texts[] = {
		"{'metadata':{'name':'a','annotations':{'mine':'x'}},'spec':{'maxReplicas':3,"
		"'scaleTargetRef':{'kind':'Deployment','name':'web','apiVersion':'apps/v1'},"
		"'metrics':[{'type':'Resource','resource':{'name':'cpu','target':{'type':"
		"'Utilization','averageUtilization':50}}}]}}",
		"{'metadata':{'name':'a'},'spec':{'minReplicas':2,'maxReplicas':3,'metrics':["
		"{'type':'Resource','resource':{'name':'cpu','target':{'type':'Utilization',"
		"'averageUtilization':50}}},"
		"{'type':'Resource','resource':{'name':'memory','target':{'type':'AverageValue',"
		"'averageValue':'1Gi'}}},"
		"{'type':'ContainerResource','containerResource':{'name':'cpu','container':'c',"
		"'target':{'type':'Utilization','averageUtilization':70}}},"
		"{'type':'Object','object':{'describedObject':{'kind':'Service','name':'s'},"
		"'metric':{'name':'m','selector':{'matchLabels':{'a':'b'}}},'target':{'type':"
		"'Value','value':'10k'}}},"
		"{'type':'Pods','pods':{'metric':{'name':'m'},'target':{'type':'AverageValue',"
		"'averageValue':'3'}}},"
		"{'type':'External','external':{'metric':{'name':'m'},'target':{'type':"
		"'AverageValue','averageValue':'30'}}}],"
		"'behavior':{'scaleUp':{'selectPolicy':'Max','policies':[{'type':'Pods','value':4,"
		"'periodSeconds':60}]},'scaleDown':{'stabilizationWindowSeconds':0}}},"
		"'status':{'currentReplicas':2,'desiredReplicas':3,'lastScaleTime':"
		"'2026-01-02T03:04:05Z','currentMetrics':[{'type':'Resource','resource':{'name':"
		"'cpu','current':{'averageUtilization':44,'averageValue':'44m'}}},{'type':"
		"'ContainerResource','containerResource':{'name':'cpu','container':'c','current':{"
		"'averageUtilization':7,'averageValue':'7m'}}}],'conditions':[{'type':"
		"'AbleToScale','status':'True','lastTransitionTime':'2026-01-02T03:04:05Z',"
		"'reason':'r','message':'m'}]}}",
	};

	for (size_t i = 0; i < array_size(texts); i++) {
		auto_with(arena_fini) struct arena a = { 0 };
		AutoscalingV2__HorizontalPodAutoscaler *hpa = hpa_of(&a, v2(), texts[i]), *back;
		AutoscalingV1__HorizontalPodAutoscaler *old = convert_message(v2(), v1(), hpa, &a);

		back = convert_message(v1(), v2(), old, &a);
		if (!message_equal(hpa, back)) {
			auto_with(buf_fini) struct buf b = { 0 };

			json_put_message(&b, back, NULL);
			fail_msg("case %zu became %s", i, buf_cstr(&b));
		}
		assert_int_equal(old->spec->targetcpuutilizationpercentage, 50);
		/* What was given stays as it was. */
		assert_true(message_equal(hpa, hpa_of(&a, v2(), texts[i])));
	}
}

static void what_v1_says_by_itself(void **state)
{
	auto_with(arena_fini) struct arena a = { 0 };
	AutoscalingV2__HorizontalPodAutoscaler *hpa;

	hpa = convert_message(v1(), v2(),
			      hpa_of(&a, v1(),
				   "{'metadata':{'name':'a'},'spec':{'maxReplicas':3,"
				   "'targetCPUUtilizationPercentage':60},'status':{"
				   "'currentReplicas':1,'currentCPUUtilizationPercentage':33}}"),
			      &a);
	assert_int_equal(hpa->spec->n_metrics, 1);
	assert_int_equal(hpa->spec->metrics[0]->resource->target->averageutilization, 60);
	assert_int_equal(hpa->status->currentmetrics[0]->resource->current->averageutilization, 33);
}

static void annotations_that_lie(void **state)
{
	static const char *const lies[] = {
		"",     "[",
		"{}",   "7",
		"[7]",  "[{\\'type\\':7}]",
		"null", "[null]",
		"[[]]", "[{\\'resource\\':{\\'targetAverageValue\\':\\'x\\'}}]",
	};

	for (size_t i = 0; i < array_size(lies); i++) {
		auto_with(arena_fini) struct arena a = { 0 };
		AutoscalingV2__HorizontalPodAutoscaler *hpa;
		const char *text = arena_printf(
			&a,
			"{'metadata':{'name':'a','annotations':{"
			"'autoscaling.alpha.kubernetes.io/metrics':'%s',"
			"'autoscaling.alpha.kubernetes.io/current-metrics':'%s',"
			"'autoscaling.alpha.kubernetes.io/conditions':'%s',"
			"'autoscaling.alpha.kubernetes.io/behavior':'%s'}},'spec':{},'status':{}}",
			lies[i], lies[i], lies[i], lies[i]);

		hpa = convert_message(v1(), v2(), hpa_of(&a, v1(), text), &a);
		/* Not even an empty entry; and they are not carried along. */
		assert_int_equal(hpa->metadata->n_annotations, 0);
		assert_int_equal(hpa->status->n_conditions <= 1, true);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(what_v1_says_by_itself),
		cmocka_unit_test(annotations_that_lie),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
