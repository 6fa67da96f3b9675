#include "common/api/convert_hpa.h"

#include "common/api/json.h"
#include "common/api/make.h"
#include "common/api/value.h"
#include "common/base/cleanup.h"

static const char metrics_key[] = "autoscaling.alpha.kubernetes.io/metrics";
static const char current_key[] = "autoscaling.alpha.kubernetes.io/current-metrics";
static const char conditions_key[] = "autoscaling.alpha.kubernetes.io/conditions";
static const char behavior_key[] = "autoscaling.alpha.kubernetes.io/behavior";

/* For the trees of annotations, which come from outside. */
#define TREE_BUDGET_BYTES ((size_t)16 << 20)

typedef AutoscalingV1__MetricSpec Spec1;
typedef AutoscalingV2__MetricSpec Spec2;
typedef AutoscalingV1__MetricStatus Status1;
typedef AutoscalingV2__MetricStatus Status2;
typedef Resource__Quantity Quantity;

/* Presence and value of an optional scalar. */
#define copy_number(to, field_to, from, field_from)                                                \
	do {                                                                                       \
		(to)->has_##field_to = (from)->has_##field_from;                                   \
		(to)->field_to = (from)->field_from;                                               \
	} while (0)

/* --- References --------------------------------------------------------------------------------
 */

static AutoscalingV1__CrossVersionObjectReference *
ref1(const AutoscalingV2__CrossVersionObjectReference *from, struct arena *a)
{
	AutoscalingV1__CrossVersionObjectReference *to;

	if (from == NULL)
		return NULL;
	to = make(a, AutoscalingV1__CrossVersionObjectReference,
		  autoscaling_v1__cross_version_object_reference);
	to->kind = from->kind;
	to->name = from->name;
	to->apiversion = from->apiversion;
	return to;
}

static AutoscalingV2__CrossVersionObjectReference *
ref2(const AutoscalingV1__CrossVersionObjectReference *from, struct arena *a)
{
	AutoscalingV2__CrossVersionObjectReference *to;

	if (from == NULL)
		return NULL;
	to = make(a, AutoscalingV2__CrossVersionObjectReference,
		  autoscaling_v2__cross_version_object_reference);
	to->kind = from->kind;
	to->name = from->name;
	to->apiversion = from->apiversion;
	return to;
}

/* --- What is aimed at ----------------------------------------------------------------------------
 */

static const AutoscalingV2__MetricTarget *target_or_none(const AutoscalingV2__MetricTarget *t)
{
	static const AutoscalingV2__MetricTarget none = AUTOSCALING_V2__METRIC_TARGET__INIT;

	return t != NULL ? t : &none;
}

static const AutoscalingV2__MetricIdentifier *
metric_or_none(const AutoscalingV2__MetricIdentifier *m)
{
	static const AutoscalingV2__MetricIdentifier none = AUTOSCALING_V2__METRIC_IDENTIFIER__INIT;

	return m != NULL ? m : &none;
}

static AutoscalingV2__MetricIdentifier *make_metric(struct arena *a, char *name,
						    MetaV1__LabelSelector *selector)
{
	AutoscalingV2__MetricIdentifier *m =
		make(a, AutoscalingV2__MetricIdentifier, autoscaling_v2__metric_identifier);

	m->name = name;
	m->selector = selector;
	return m;
}

static AutoscalingV2__MetricTarget *make_target(struct arena *a, const char *type, Quantity *value,
						Quantity *average)
{
	AutoscalingV2__MetricTarget *t =
		make(a, AutoscalingV2__MetricTarget, autoscaling_v2__metric_target);

	t->type = arena_strdup(a, type);
	t->value = value;
	t->averagevalue = average;
	return t;
}

static void put_resource1(Spec1 *to, const AutoscalingV2__ResourceMetricSource *from,
			  struct arena *a)
{
	const AutoscalingV2__MetricTarget *t = target_or_none(from->target);

	to->resource = make(a, AutoscalingV1__ResourceMetricSource,
			    autoscaling_v1__resource_metric_source);
	to->resource->name = from->name;
	copy_number(to->resource, targetaverageutilization, t, averageutilization);
	to->resource->targetaveragevalue = t->averagevalue;
}

static void put_container1(Spec1 *to, const AutoscalingV2__ContainerResourceMetricSource *from,
			   struct arena *a)
{
	const AutoscalingV2__MetricTarget *t = target_or_none(from->target);

	to->containerresource = make(a, AutoscalingV1__ContainerResourceMetricSource,
				     autoscaling_v1__container_resource_metric_source);
	to->containerresource->name = from->name;
	to->containerresource->container = from->container;
	copy_number(to->containerresource, targetaverageutilization, t, averageutilization);
	to->containerresource->targetaveragevalue = t->averagevalue;
}

static void put_others1(Spec1 *to, const Spec2 *from, struct arena *a)
{
	if (from->object != NULL) {
		const AutoscalingV2__MetricTarget *t = target_or_none(from->object->target);
		const AutoscalingV2__MetricIdentifier *m = metric_or_none(from->object->metric);

		to->object = make(a, AutoscalingV1__ObjectMetricSource,
				  autoscaling_v1__object_metric_source);
		to->object->target = ref1(from->object->describedobject, a);
		to->object->metricname = m->name;
		to->object->selector = m->selector;
		to->object->targetvalue = t->value;
		to->object->averagevalue = t->averagevalue;
	}
	if (from->pods != NULL) {
		const AutoscalingV2__MetricIdentifier *m = metric_or_none(from->pods->metric);

		to->pods = make(a, AutoscalingV1__PodsMetricSource,
				autoscaling_v1__pods_metric_source);
		to->pods->metricname = m->name;
		to->pods->selector = m->selector;
		to->pods->targetaveragevalue = target_or_none(from->pods->target)->averagevalue;
	}
	if (from->external != NULL) {
		const AutoscalingV2__MetricTarget *t = target_or_none(from->external->target);
		const AutoscalingV2__MetricIdentifier *m = metric_or_none(from->external->metric);

		to->external = make(a, AutoscalingV1__ExternalMetricSource,
				    autoscaling_v1__external_metric_source);
		to->external->metricname = m->name;
		to->external->metricselector = m->selector;
		to->external->targetvalue = t->value;
		to->external->targetaveragevalue = t->averagevalue;
	}
}

static Spec1 *spec1(const Spec2 *from, struct arena *a)
{
	Spec1 *to = make(a, Spec1, autoscaling_v1__metric_spec);

	to->type = from->type;
	if (from->resource != NULL)
		put_resource1(to, from->resource, a);
	if (from->containerresource != NULL)
		put_container1(to, from->containerresource, a);
	put_others1(to, from, a);
	return to;
}

/* Of resources: a share of the request, or an amount. */
static AutoscalingV2__MetricTarget *resource_target(struct arena *a, bool has, int32_t utilization,
						    Quantity *average)
{
	AutoscalingV2__MetricTarget *t =
		make_target(a, has ? "Utilization" : "AverageValue", NULL, average);

	t->has_averageutilization = has;
	t->averageutilization = utilization;
	return t;
}

static void put_others2(Spec2 *to, const Spec1 *from, struct arena *a)
{
	if (from->object != NULL) {
		to->object = make(a, AutoscalingV2__ObjectMetricSource,
				  autoscaling_v2__object_metric_source);
		to->object->describedobject = ref2(from->object->target, a);
		to->object->metric =
			make_metric(a, from->object->metricname, from->object->selector);
		to->object->target =
			make_target(a, from->object->averagevalue ? "AverageValue" : "Value",
				    from->object->averagevalue ? NULL : from->object->targetvalue,
				    from->object->averagevalue);
	}
	if (from->pods != NULL) {
		to->pods = make(a, AutoscalingV2__PodsMetricSource,
				autoscaling_v2__pods_metric_source);
		to->pods->metric = make_metric(a, from->pods->metricname, from->pods->selector);
		to->pods->target =
			make_target(a, "AverageValue", NULL, from->pods->targetaveragevalue);
	}
	if (from->external != NULL) {
		to->external = make(a, AutoscalingV2__ExternalMetricSource,
				    autoscaling_v2__external_metric_source);
		to->external->metric =
			make_metric(a, from->external->metricname, from->external->metricselector);
		to->external->target = make_target(
			a, from->external->targetvalue ? "Value" : "AverageValue",
			from->external->targetvalue, from->external->targetaveragevalue);
	}
}

static Spec2 *spec2(const Spec1 *from, struct arena *a)
{
	Spec2 *to = make(a, Spec2, autoscaling_v2__metric_spec);

	to->type = from->type;
	if (from->resource != NULL) {
		to->resource = make(a, AutoscalingV2__ResourceMetricSource,
				    autoscaling_v2__resource_metric_source);
		to->resource->name = from->resource->name;
		to->resource->target =
			resource_target(a, from->resource->has_targetaverageutilization,
					from->resource->targetaverageutilization,
					from->resource->targetaveragevalue);
	}
	if (from->containerresource != NULL) {
		to->containerresource = make(a, AutoscalingV2__ContainerResourceMetricSource,
					     autoscaling_v2__container_resource_metric_source);
		to->containerresource->name = from->containerresource->name;
		to->containerresource->container = from->containerresource->container;
		to->containerresource->target =
			resource_target(a, from->containerresource->has_targetaverageutilization,
					from->containerresource->targetaverageutilization,
					from->containerresource->targetaveragevalue);
	}
	put_others2(to, from, a);
	return to;
}

/* --- What is measured
 * -------------------------------------------------------------------------------
 */

static const AutoscalingV2__MetricValueStatus *
value_or_none(const AutoscalingV2__MetricValueStatus *v)
{
	static const AutoscalingV2__MetricValueStatus none =
		AUTOSCALING_V2__METRIC_VALUE_STATUS__INIT;

	return v != NULL ? v : &none;
}

static AutoscalingV2__MetricValueStatus *make_value(struct arena *a, Quantity *value,
						    Quantity *average)
{
	AutoscalingV2__MetricValueStatus *v =
		make(a, AutoscalingV2__MetricValueStatus, autoscaling_v2__metric_value_status);

	v->value = value;
	v->averagevalue = average;
	return v;
}

static Status1 *status1(const Status2 *from, struct arena *a)
{
	Status1 *to = make(a, Status1, autoscaling_v1__metric_status);

	to->type = from->type;
	if (from->resource != NULL) {
		const AutoscalingV2__MetricValueStatus *v = value_or_none(from->resource->current);

		to->resource = make(a, AutoscalingV1__ResourceMetricStatus,
				    autoscaling_v1__resource_metric_status);
		to->resource->name = from->resource->name;
		copy_number(to->resource, currentaverageutilization, v, averageutilization);
		to->resource->currentaveragevalue = v->averagevalue;
	}
	if (from->containerresource != NULL) {
		const AutoscalingV2__MetricValueStatus *v =
			value_or_none(from->containerresource->current);

		to->containerresource = make(a, AutoscalingV1__ContainerResourceMetricStatus,
					     autoscaling_v1__container_resource_metric_status);
		to->containerresource->name = from->containerresource->name;
		to->containerresource->container = from->containerresource->container;
		copy_number(to->containerresource, currentaverageutilization, v,
			    averageutilization);
		to->containerresource->currentaveragevalue = v->averagevalue;
	}
	return to;
}

static Status2 *status2(const Status1 *from, struct arena *a)
{
	Status2 *to = make(a, Status2, autoscaling_v2__metric_status);

	to->type = from->type;
	if (from->resource != NULL) {
		to->resource = make(a, AutoscalingV2__ResourceMetricStatus,
				    autoscaling_v2__resource_metric_status);
		to->resource->name = from->resource->name;
		to->resource->current = make_value(a, NULL, from->resource->currentaveragevalue);
		copy_number(to->resource->current, averageutilization, from->resource,
			    currentaverageutilization);
	}
	if (from->containerresource != NULL) {
		to->containerresource = make(a, AutoscalingV2__ContainerResourceMetricStatus,
					     autoscaling_v2__container_resource_metric_status);
		to->containerresource->name = from->containerresource->name;
		to->containerresource->container = from->containerresource->container;
		to->containerresource->current =
			make_value(a, NULL, from->containerresource->currentaveragevalue);
		copy_number(to->containerresource->current, averageutilization,
			    from->containerresource, currentaverageutilization);
	}
	return to;
}

/* --- Annotations
 * ----------------------------------------------------------------------------------- */

static void put_list(MetaV1__ObjectMeta *meta, const char *key, void *const *messages, size_t n,
		     struct arena *a)
{
	auto_with(buf_fini) struct buf text = { 0 };

	if (n == 0)
		return;
	for (size_t i = 0; i < n; i++) {
		buf_put_byte(&text, i > 0 ? ',' : '[');
		json_put_message(&text, messages[i], NULL);
	}
	buf_put_byte(&text, ']');
	meta_set_annotation(a, meta, key, buf_cstr(&text));
}

/* The messages of a list in an annotation; none when it cannot be read. */
static void **get_list(const MetaV1__ObjectMeta *meta, const char *key,
		       const ProtobufCMessageDescriptor *descriptor, struct arena *a, size_t *ret_n)
{
	const char *text = meta != NULL ? meta_annotation(meta, key) : NULL;
	auto_with(arena_fini) struct arena scratch = { 0 };
	struct value *list;
	void **messages;

	*ret_n = 0;
	arena_init(&scratch, TREE_BUDGET_BYTES);
	if (text == NULL || value_parse(bytes_str(text), &scratch, &list, NULL) < 0 ||
	    list->type != VALUE_LIST)
		return NULL;
	messages = arena_array(a, void *, list->n + 1);
	for (uint32_t i = 0; i < list->n; i++) {
		auto_with(buf_fini) struct buf item = { 0 };

		value_print(&item, list->items[i]);
		if (json_read_message(descriptor, buf_bytes(&item), a, NULL, &messages[i], NULL) <
		    0)
			return NULL;
	}
	*ret_n = list->n;
	return messages;
}

static MetaV1__ObjectMeta *copy_meta(const MetaV1__ObjectMeta *meta, struct arena *a)
{
	MetaV1__ObjectMeta *copy = meta != NULL ? message_copy(meta, a)
						: make(a, MetaV1__ObjectMeta, meta_v1__object_meta);

	meta_set_annotation(a, copy, metrics_key, NULL);
	meta_set_annotation(a, copy, current_key, NULL);
	meta_set_annotation(a, copy, conditions_key, NULL);
	meta_set_annotation(a, copy, behavior_key, NULL);
	return copy;
}

/* --- Both ways
 * -------------------------------------------------------------------------------------- */

static bool is_cpu_utilization(const Spec2 *m)
{
	return text_is(m->type, "Resource") && m->resource != NULL &&
	       text_is(m->resource->name, "cpu") && m->resource->target != NULL &&
	       m->resource->target->has_averageutilization;
}

static void put_spec1(AutoscalingV1__HorizontalPodAutoscaler *to,
		      const AutoscalingV2__HorizontalPodAutoscalerSpec *from, struct arena *a)
{
	AutoscalingV1__HorizontalPodAutoscalerSpec *spec =
		make(a, AutoscalingV1__HorizontalPodAutoscalerSpec,
		     autoscaling_v1__horizontal_pod_autoscaler_spec);
	void **others = arena_array(a, void *, from->n_metrics + 1);
	size_t n = 0;

	to->spec = spec;
	spec->scaletargetref = ref1(from->scaletargetref, a);
	copy_number(spec, minreplicas, from, minreplicas);
	copy_number(spec, maxreplicas, from, maxreplicas);
	for (size_t i = 0; i < from->n_metrics; i++) {
		if (is_cpu_utilization(from->metrics[i]) &&
		    !spec->has_targetcpuutilizationpercentage)
			make_set(spec, targetcpuutilizationpercentage,
				 from->metrics[i]->resource->target->averageutilization);
		else
			others[n++] = spec1(from->metrics[i], a);
	}
	put_list(to->metadata, metrics_key, others, n, a);
	if (from->behavior != NULL) {
		auto_with(buf_fini) struct buf text = { 0 };

		json_put_message(&text, from->behavior, NULL);
		meta_set_annotation(a, to->metadata, behavior_key, buf_cstr(&text));
	}
}

static void put_status1(AutoscalingV1__HorizontalPodAutoscaler *to,
			const AutoscalingV2__HorizontalPodAutoscalerStatus *from, struct arena *a)
{
	AutoscalingV1__HorizontalPodAutoscalerStatus *status =
		make(a, AutoscalingV1__HorizontalPodAutoscalerStatus,
		     autoscaling_v1__horizontal_pod_autoscaler_status);
	void **current = arena_array(a, void *, from->n_currentmetrics + 1);

	to->status = status;
	copy_number(status, observedgeneration, from, observedgeneration);
	copy_number(status, currentreplicas, from, currentreplicas);
	copy_number(status, desiredreplicas, from, desiredreplicas);
	status->lastscaletime = from->lastscaletime;
	for (size_t i = 0; i < from->n_currentmetrics; i++) {
		const Status2 *m = from->currentmetrics[i];

		if (text_is(m->type, "Resource") && m->resource != NULL &&
		    text_is(m->resource->name, "cpu") && m->resource->current != NULL &&
		    m->resource->current->has_averageutilization)
			make_set(status, currentcpuutilizationpercentage,
				 m->resource->current->averageutilization);
		current[i] = status1(m, a);
	}
	put_list(to->metadata, current_key, current, from->n_currentmetrics, a);
	put_list(to->metadata, conditions_key, (void *const *)from->conditions, from->n_conditions,
		 a);
}

AutoscalingV1__HorizontalPodAutoscaler *
hpa_v1_of_v2(const AutoscalingV2__HorizontalPodAutoscaler *from, struct arena *a)
{
	AutoscalingV1__HorizontalPodAutoscaler *to =
		make(a, AutoscalingV1__HorizontalPodAutoscaler,
		     autoscaling_v1__horizontal_pod_autoscaler);

	to->metadata = copy_meta(from->metadata, a);
	if (from->spec != NULL)
		put_spec1(to, from->spec, a);
	if (from->status != NULL)
		put_status1(to, from->status, a);
	return to;
}

static Spec2 *cpu_utilization(struct arena *a, int32_t percent)
{
	Spec2 *m = make(a, Spec2, autoscaling_v2__metric_spec);

	m->type = arena_strdup(a, "Resource");
	m->resource = make(a, AutoscalingV2__ResourceMetricSource,
			   autoscaling_v2__resource_metric_source);
	m->resource->name = arena_strdup(a, "cpu");
	m->resource->target = resource_target(a, true, percent, NULL);
	return m;
}

static void put_spec2(AutoscalingV2__HorizontalPodAutoscaler *to,
		      const AutoscalingV1__HorizontalPodAutoscaler *from, struct arena *a)
{
	AutoscalingV2__HorizontalPodAutoscalerSpec *spec =
		make(a, AutoscalingV2__HorizontalPodAutoscalerSpec,
		     autoscaling_v2__horizontal_pod_autoscaler_spec);
	const char *behavior =
		from->metadata != NULL ? meta_annotation(from->metadata, behavior_key) : NULL;
	size_t n;
	void **others = get_list(from->metadata, metrics_key,
				 &autoscaling_v1__metric_spec__descriptor, a, &n);

	to->spec = spec;
	spec->scaletargetref = ref2(from->spec->scaletargetref, a);
	copy_number(spec, minreplicas, from->spec, minreplicas);
	copy_number(spec, maxreplicas, from->spec, maxreplicas);
	if (from->spec->has_targetcpuutilizationpercentage)
		make_append(a, spec, metrics,
			    cpu_utilization(a, from->spec->targetcpuutilizationpercentage));
	for (size_t i = 0; i < n; i++)
		make_append(a, spec, metrics, spec2(others[i], a));
	if (behavior != NULL)
		(void)json_read_message(
			&autoscaling_v2__horizontal_pod_autoscaler_behavior__descriptor,
			bytes_str(behavior), a, NULL, &spec->behavior, NULL);
}

static void put_status2(AutoscalingV2__HorizontalPodAutoscaler *to,
			const AutoscalingV1__HorizontalPodAutoscaler *from, struct arena *a)
{
	AutoscalingV2__HorizontalPodAutoscalerStatus *status =
		make(a, AutoscalingV2__HorizontalPodAutoscalerStatus,
		     autoscaling_v2__horizontal_pod_autoscaler_status);
	size_t n;
	void **current = get_list(from->metadata, current_key,
				  &autoscaling_v1__metric_status__descriptor, a, &n);

	to->status = status;
	copy_number(status, observedgeneration, from->status, observedgeneration);
	copy_number(status, currentreplicas, from->status, currentreplicas);
	copy_number(status, desiredreplicas, from->status, desiredreplicas);
	status->lastscaletime = from->status->lastscaletime;
	for (size_t i = 0; i < n; i++)
		make_append(a, status, currentmetrics, status2(current[i], a));
	if (n == 0 && from->status->has_currentcpuutilizationpercentage) {
		Status1 cpu = AUTOSCALING_V1__METRIC_STATUS__INIT;
		AutoscalingV1__ResourceMetricStatus of =
			AUTOSCALING_V1__RESOURCE_METRIC_STATUS__INIT;

		cpu.type = (char *)"Resource";
		of.name = (char *)"cpu";
		copy_number(&of, currentaverageutilization, from->status,
			    currentcpuutilizationpercentage);
		cpu.resource = &of;
		make_append(a, status, currentmetrics, status2(&cpu, a));
	}

	void **conditions =
		get_list(from->metadata, conditions_key,
			 &autoscaling_v2__horizontal_pod_autoscaler_condition__descriptor, a, &n);

	for (size_t i = 0; i < n; i++)
		make_append(a, status, conditions, conditions[i]);
}

AutoscalingV2__HorizontalPodAutoscaler *
hpa_v2_of_v1(const AutoscalingV1__HorizontalPodAutoscaler *from, struct arena *a)
{
	AutoscalingV2__HorizontalPodAutoscaler *to =
		make(a, AutoscalingV2__HorizontalPodAutoscaler,
		     autoscaling_v2__horizontal_pod_autoscaler);

	to->metadata = copy_meta(from->metadata, a);
	if (from->spec != NULL)
		put_spec2(to, from, a);
	if (from->status != NULL)
		put_status2(to, from, a);
	return to;
}
