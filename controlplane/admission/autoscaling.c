/* HorizontalPodAutoscalers: bounds, what is measured and aimed at, how fast. Pure. */
#include <string.h>

#include "common/api/quantity.h"
#include "common/base/cleanup.h"
#include "controlplane/admission/defaults.h"
#include "controlplane/admission/strategy.h"
#include "proto/k8s/autoscaling_v2.pb-c.h"

enum { WINDOW_MAX_S = 3600, PERIOD_MAX_S = 1800, CPU_PERCENT = 80 };

/* --- Defaults
 * --------------------------------------------------------------------------------------- */

void default_autoscaler(struct arena *arena, ProtobufCMessage *message)
{
	AutoscalingV2__HorizontalPodAutoscalerSpec *spec =
		(AutoscalingV2__HorizontalPodAutoscalerSpec *)message;
	AutoscalingV2__MetricSpec *m;

	if (!spec->has_minreplicas)
		make_set(spec, minreplicas, 1);
	if (spec->n_metrics > 0)
		return;
	m = make(arena, AutoscalingV2__MetricSpec, autoscaling_v2__metric_spec);
	m->type = arena_strdup(arena, "Resource");
	m->resource = make(arena, AutoscalingV2__ResourceMetricSource,
			   autoscaling_v2__resource_metric_source);
	m->resource->name = arena_strdup(arena, "cpu");
	m->resource->target =
		make(arena, AutoscalingV2__MetricTarget, autoscaling_v2__metric_target);
	m->resource->target->type = arena_strdup(arena, "Utilization");
	make_set(m->resource->target, averageutilization, CPU_PERCENT);
	make_append(arena, spec, metrics, m);
}

static void add_policy(struct arena *a, AutoscalingV2__HPAScalingRules *rules, const char *type,
		       int32_t value)
{
	AutoscalingV2__HPAScalingPolicy *p =
		make(a, AutoscalingV2__HPAScalingPolicy, autoscaling_v2__hpascaling_policy);

	p->type = arena_strdup(a, type);
	make_set(p, value, value);
	make_set(p, periodseconds, 15);
	make_append(a, rules, policies, p);
}

static AutoscalingV2__HPAScalingRules *rules_or_new(struct arena *a,
						    AutoscalingV2__HPAScalingRules *rules)
{
	if (rules == NULL)
		rules = make(a, AutoscalingV2__HPAScalingRules, autoscaling_v2__hpascaling_rules);
	if (rules->selectpolicy == NULL)
		rules->selectpolicy = arena_strdup(a, "Max");
	return rules;
}

/* Each part that was left out alone; the window of scaling down is the controller's to choose. */
void default_autoscaler_behavior(struct arena *arena, ProtobufCMessage *message)
{
	AutoscalingV2__HorizontalPodAutoscalerBehavior *b =
		(AutoscalingV2__HorizontalPodAutoscalerBehavior *)message;

	b->scaleup = rules_or_new(arena, b->scaleup);
	if (!b->scaleup->has_stabilizationwindowseconds)
		make_set(b->scaleup, stabilizationwindowseconds, 0);
	if (b->scaleup->n_policies == 0) {
		add_policy(arena, b->scaleup, "Pods", 4);
		add_policy(arena, b->scaleup, "Percent", 100);
	}
	b->scaledown = rules_or_new(arena, b->scaledown);
	if (b->scaledown->n_policies == 0)
		add_policy(arena, b->scaledown, "Percent", 100);
}

/* --- References
 * ---------------------------------------------------------------------------------------- */

static void check_segment(struct checks *c, const struct field *f, const char *text)
{
	const char *wrong;

	if (text_empty(text))
		check_required(c, f, "");
	else if ((wrong = name_is_path_segment(text)) != NULL)
		check_invalid(c, f, text, "%s", wrong);
}

static void check_reference(struct checks *c, const struct field *f,
			    const AutoscalingV2__CrossVersionObjectReference *ref)
{
	const char *slash = ref != NULL ? strchr(text_of(ref->apiversion), '/') : NULL;

	check_segment(c, FIELD(f, "kind"), ref != NULL ? ref->kind : NULL);
	check_segment(c, FIELD(f, "name"), ref != NULL ? ref->name : NULL);
	if (slash != NULL && strchr(slash + 1, '/') != NULL)
		check_invalid(c, FIELD(f, "apiVersion"), ref->apiversion,
			      "unexpected GroupVersion string: %s", ref->apiversion);
}

static void check_metric(struct checks *c, const struct field *f,
			 const AutoscalingV2__MetricIdentifier *m)
{
	const char *wrong;

	if (m == NULL || text_empty(m->name))
		check_required(c, FIELD(f, "name"), "must specify a metric name");
	else if ((wrong = name_is_path_segment(m->name)) != NULL)
		check_invalid(c, FIELD(f, "name"), m->name, "%s", wrong);
	if (m != NULL && m->selector != NULL)
		check_label_selector(c, FIELD(f, "selector"), m->selector);
}

/* --- Targets
 * ------------------------------------------------------------------------------------------- */

static bool is_positive(const Resource__Quantity *q)
{
	struct quantity value = { 0 };

	return quantity_parse(bytes_str(text_of(q->string)), &value) == 0 && value.nano > 0;
}

static const AutoscalingV2__MetricTarget *target_or_none(const AutoscalingV2__MetricTarget *t)
{
	static const AutoscalingV2__MetricTarget none = AUTOSCALING_V2__METRIC_TARGET__INIT;

	return t != NULL ? t : &none;
}

static void check_target(struct checks *c, const struct field *f,
			 const AutoscalingV2__MetricTarget *t)
{
	static const char *const types[] = { "Utilization", "Value", "AverageValue", NULL };
	bool known = false;

	for (size_t i = 0; types[i] != NULL; i++)
		known = known || text_is(t->type, types[i]);
	if (text_empty(t->type))
		check_required(c, FIELD(f, "type"), "must specify a metric target type");
	else if (!known)
		check_invalid(c, FIELD(f, "type"), t->type,
			      "must be either Utilization, Value, or AverageValue");
	if (t->value != NULL && !is_positive(t->value))
		check_invalid(c, FIELD(f, "value"), text_of(t->value->string), "must be positive");
	if (t->averagevalue != NULL && !is_positive(t->averagevalue))
		check_invalid(c, FIELD(f, "averageValue"), text_of(t->averagevalue->string),
			      "must be positive");
	if (t->has_averageutilization && t->averageutilization < 1)
		check_invalid_int(c, FIELD(f, "averageUtilization"), t->averageutilization,
				  "must be greater than 0");
}

static void check_resource_target(struct checks *c, const struct field *f,
				  const AutoscalingV2__MetricTarget *t)
{
	check_target(c, f, t);
	if (!t->has_averageutilization && t->averagevalue == NULL)
		check_required(c, FIELD(f, "averageUtilization"),
			       "must set either a target raw value or a target utilization");
	if (t->has_averageutilization && t->averagevalue != NULL)
		check_forbidden(c, FIELD(f, "averageValue"),
				"may not set both a target raw value and a target utilization");
}

/* --- Sources
 * ------------------------------------------------------------------------------------------- */

static void check_resource(struct checks *c, const struct field *f,
			   const AutoscalingV2__MetricSpec *m)
{
	if (text_empty(m->resource->name))
		check_required(c, FIELD(f, "name"), "must specify a resource name");
	check_resource_target(c, FIELD(f, "target"), target_or_none(m->resource->target));
}

static void check_container_resource(struct checks *c, const struct field *f,
				     const AutoscalingV2__MetricSpec *m)
{
	if (text_empty(m->containerresource->name))
		check_required(c, FIELD(f, "name"), "must specify a resource name");
	if (text_empty(m->containerresource->container))
		check_required(c, FIELD(f, "container"), "must specify a container");
	check_resource_target(c, FIELD(f, "target"), target_or_none(m->containerresource->target));
}

static void check_object(struct checks *c, const struct field *f,
			 const AutoscalingV2__MetricSpec *m)
{
	const AutoscalingV2__MetricTarget *t = target_or_none(m->object->target);

	check_reference(c, FIELD(f, "describedObject"), m->object->describedobject);
	check_metric(c, FIELD(f, "metric"), m->object->metric);
	check_target(c, FIELD(f, "target"), t);
	if (t->value == NULL && t->averagevalue == NULL)
		check_required(c, FIELD(FIELD(f, "target"), "averageValue"),
			       "must set either a target value or averageValue");
}

static void check_pods(struct checks *c, const struct field *f, const AutoscalingV2__MetricSpec *m)
{
	const AutoscalingV2__MetricTarget *t = target_or_none(m->pods->target);

	check_metric(c, FIELD(f, "metric"), m->pods->metric);
	check_target(c, FIELD(f, "target"), t);
	if (t->averagevalue == NULL)
		check_required(c, FIELD(FIELD(f, "target"), "averageValue"),
			       "must specify a positive target averageValue");
}

static void check_external(struct checks *c, const struct field *f,
			   const AutoscalingV2__MetricSpec *m)
{
	const AutoscalingV2__MetricTarget *t = target_or_none(m->external->target);

	check_metric(c, FIELD(f, "metric"), m->external->metric);
	check_target(c, FIELD(f, "target"), t);
	if (t->value == NULL && t->averagevalue == NULL)
		check_required(c, FIELD(FIELD(f, "target"), "averageValue"),
			       "must set either a target value for metric or a per-pod target");
	if (t->value != NULL && t->averagevalue != NULL)
		check_forbidden(c, FIELD(FIELD(f, "target"), "value"),
				"may not set both a target value for metric and a per-pod target");
}

static void check_metric_spec(struct checks *c, const struct field *f,
			      const AutoscalingV2__MetricSpec *m)
{
	static const char *const types[] = { "ContainerResource", "External", "Object", "Pods",
					     "Resource",          NULL };
	const struct {
		const char *type, *name;
		bool set;
		void (*check)(struct checks *c, const struct field *f,
			      const AutoscalingV2__MetricSpec *m);
	} sources[] = {
		{ "Object", "object", m->object != NULL, check_object },
		{ "External", "external", m->external != NULL, check_external },
		{ "Pods", "pods", m->pods != NULL, check_pods },
		{ "Resource", "resource", m->resource != NULL, check_resource },
		{ "ContainerResource", "containerResource", m->containerresource != NULL,
		  check_container_resource },
	};

	if (text_empty(m->type)) {
		check_required(c, FIELD(f, "type"), "must specify a metric source type");
		return;
	}
	if (!check_one_of(c, FIELD(f, "type"), m->type, types))
		return;
	for (size_t i = 0; i < array_size(sources); i++) {
		const struct field *at = FIELD(f, sources[i].name);
		bool meant = text_is(m->type, sources[i].type);

		if (sources[i].set)
			sources[i].check(c, at, m);
		if (meant && !sources[i].set)
			check_required(c, at,
				       "must populate information for the given metric source");
		if (!meant && sources[i].set)
			check_forbidden(c, at, "must populate the given metric source only");
	}
}

/* --- Behavior
 * ------------------------------------------------------------------------------------------- */

static void check_bounds(struct checks *c, const struct field *f, int32_t value, int32_t max,
			 bool zero_is_fine)
{
	if (value < 0 || (value == 0 && !zero_is_fine))
		check_invalid_int(c, f, value,
				  zero_is_fine ? "must be greater than or equal to zero"
					       : "must be greater than zero");
	else if (value > max)
		check_invalid_int(c, f, value, "must be less than or equal to %d", max);
}

static void check_scaling(struct checks *c, const struct field *f,
			  const AutoscalingV2__HPAScalingRules *rules)
{
	static const char *const selections[] = { "Disabled", "Max", "Min", NULL };
	static const char *const types[] = { "Percent", "Pods", NULL };
	const struct field *policies = FIELD(f, "policies");

	if (rules == NULL)
		return;
	if (rules->has_stabilizationwindowseconds)
		check_bounds(c, FIELD(f, "stabilizationWindowSeconds"),
			     rules->stabilizationwindowseconds, WINDOW_MAX_S, true);
	check_one_of(c, FIELD(f, "selectPolicy"), text_of(rules->selectpolicy), selections);
	if (rules->n_policies == 0)
		check_required(c, policies, "must specify at least one Policy");
	for (size_t i = 0; i < rules->n_policies; i++) {
		const struct field *at = AT(policies, i);

		check_one_of(c, FIELD(at, "type"), text_of(rules->policies[i]->type), types);
		check_bounds(c, FIELD(at, "value"), rules->policies[i]->value, INT32_MAX, false);
		check_bounds(c, FIELD(at, "periodSeconds"), rules->policies[i]->periodseconds,
			     PERIOD_MAX_S, false);
	}
}

/* --- The object
 * ----------------------------------------------------------------------------------------- */

static void validate(struct checks *c, ProtobufCMessage *message, ProtobufCMessage *old)
{
	const AutoscalingV2__HorizontalPodAutoscaler *hpa =
		(AutoscalingV2__HorizontalPodAutoscaler *)message;
	static const AutoscalingV2__HorizontalPodAutoscalerSpec none =
		AUTOSCALING_V2__HORIZONTAL_POD_AUTOSCALER_SPEC__INIT;
	const AutoscalingV2__HorizontalPodAutoscalerSpec *spec = hpa->spec ? hpa->spec : &none;
	const struct field *f = FIELD(NULL, "spec");

	(void)old;
	if (spec->has_minreplicas && spec->minreplicas < 1)
		check_invalid_int(c, FIELD(f, "minReplicas"), spec->minreplicas,
				  "must be greater than or equal to 1");
	if (spec->maxreplicas < 1)
		check_invalid_int(c, FIELD(f, "maxReplicas"), spec->maxreplicas,
				  "must be greater than 0");
	if (spec->has_minreplicas && spec->maxreplicas < spec->minreplicas)
		check_invalid_int(c, FIELD(f, "maxReplicas"), spec->maxreplicas,
				  "must be greater than or equal to `minReplicas`");
	check_reference(c, FIELD(f, "scaleTargetRef"), spec->scaletargetref);
	for (size_t i = 0; i < spec->n_metrics; i++)
		check_metric_spec(c, AT(FIELD(f, "metrics"), i), spec->metrics[i]);
	if (spec->behavior != NULL) {
		check_scaling(c, FIELD(FIELD(f, "behavior"), "scaleUp"), spec->behavior->scaleup);
		check_scaling(c, FIELD(FIELD(f, "behavior"), "scaleDown"),
			      spec->behavior->scaledown);
	}
}

static void validate_status(struct checks *c, ProtobufCMessage *message, ProtobufCMessage *old)
{
	const AutoscalingV2__HorizontalPodAutoscaler *hpa =
		(AutoscalingV2__HorizontalPodAutoscaler *)message;

	(void)old;
	if (hpa->status == NULL)
		return;
	check_not_negative(c, FIELD(FIELD(NULL, "status"), "currentReplicas"),
			   hpa->status->currentreplicas);
	check_not_negative(c, FIELD(FIELD(NULL, "status"), "desiredReplicas"),
			   hpa->status->desiredreplicas);
}

const struct strategy strategy_autoscaler = {
	.descriptor = &autoscaling_v2__horizontal_pod_autoscaler__descriptor,
	.validate = validate,
	.validate_status = validate_status,
};
