/* HorizontalPodAutoscalers: every 15 s the replicas of a target follow what its
 * pods use.
 *
 *   metrics --> proposals --> the highest --> stabilised, limited --> the target
 *
 * Any kind with a scale subresource is a target; it is changed as a write of its
 * /scale would change it. What was recommended before is the leader's memory of
 * this key. The status tells of new measurements only when something else
 * changes or a number moved by a tenth of its target, so that a cluster at rest
 * writes nothing. */
#include <stdlib.h>
#include <string.h>

#include "common/api/pack.h"
#include "common/api/quantity.h"
#include "common/api/scale.h"
#include "common/base/cleanup.h"
#include "controlplane/controllers/hpa.h"

static const char resource[] = "horizontalpodautoscalers.autoscaling";
static const char component[] = "horizontal-pod-autoscaler";

typedef AutoscalingV2__HorizontalPodAutoscaler Autoscaler;
typedef AutoscalingV2__HorizontalPodAutoscalerCondition Condition;

struct run {
	struct view *view;
	struct intents *intents;
	struct arena *arena;
	const struct object *object;
	const Autoscaler *before;
	Autoscaler *hpa; /* To be changed. */
	AutoscalingV2__HorizontalPodAutoscalerStatus *status;
	const struct object *target;
	AutoscalingV1__Scale *scale;
	int32_t min, max, current;
};

/* --- Conditions and events
 * ------------------------------------------------------------------------------ */

static const Condition *find_condition(const AutoscalingV2__HorizontalPodAutoscalerStatus *s,
				       const char *type)
{
	for (size_t i = 0; s != NULL && i < s->n_conditions; i++)
		if (text_is(s->conditions[i]->type, type))
			return s->conditions[i];
	return NULL;
}

/* True when it says something new. */
static bool set_condition(struct run *r, const char *type, bool is, const char *reason,
			  const char *message)
{
	Condition *c = (Condition *)find_condition(r->status, type);
	const char *status = is ? "True" : "False";

	if (c == NULL) {
		c = make(r->arena, Condition, autoscaling_v2__horizontal_pod_autoscaler_condition);
		c->type = arena_strdup(r->arena, type);
		make_append(r->arena, r->status, conditions, c);
	}

	bool new = !text_is(c->status, status) || !text_is(c->reason, reason) ||
		   !text_is(c->message, message);

	if (!text_is(c->status, status))
		c->lasttransitiontime = make_time(r->arena, r->view->now_ns);
	c->status = arena_strdup(r->arena, status);
	c->reason = arena_strdup(r->arena, reason);
	c->message = arena_strdup(r->arena, message);
	return new;
}

/* A condition that is not well is told as an event, once. */
static void complain(struct run *r, const char *type, const char *reason, const char *event,
		     const char *prefix, const char *what)
{
	if (set_condition(r, type, false, reason, arena_printf(r->arena, "%s%s", prefix, what)))
		intend_event(r->intents, component, r->object, "Warning", event, "%s", what);
}

/* --- The target
 * --------------------------------------------------------------------------------------------- */

static const char *find_target(struct run *r)
{
	const AutoscalingV2__CrossVersionObjectReference *ref = r->hpa->spec->scaletargetref;
	const char *version = ref != NULL ? text_of(ref->apiversion) : "";
	const char *kind_name = ref != NULL ? text_of(ref->kind) : "";
	const struct kind *kind = kind_of_type(version, kind_name);
	const struct kind_subresource *sub = kind != NULL ? kind_subresource(kind, "scale") : NULL;

	if (kind == NULL || !(kind->flags & KIND_SERVED))
		return arena_printf(r->arena, "no matches for kind \"%s\" in version \"%s\"",
				    kind_name, version);
	if (sub == NULL || !sub->served)
		return arena_printf(r->arena, "%s have no scale", kind->resource);
	r->target = view_get(r->view, kind->resource, r->object->namespace, text_of(ref->name));
	if (r->target == NULL)
		return arena_printf(r->arena, "%s \"%s\" not found", kind->resource,
				    text_of(ref->name));
	r->scale = scale_from(kind, r->target->packed, 0, r->arena);
	if (r->scale == NULL)
		return arena_printf(r->arena, "%s \"%s\" has no replicas", kind->resource,
				    text_of(ref->name));
	r->current = r->scale->spec->replicas;
	return NULL;
}

/* Pods of a selector, by the index of as many of its labels as can be. */
static const struct pod_facts **pods_of(struct run *r, const struct label_selector *s,
					size_t *ret_n)
{
	struct label *labels = arena_array(r->arena, struct label, s->n_requirements + 1);
	size_t n_labels = 0, n_all, n = 0;

	for (size_t i = 0; i < s->n_requirements; i++)
		if (s->requirements[i].op == LABEL_IN && s->requirements[i].n_values == 1)
			labels[n_labels++] = (struct label){ s->requirements[i].key,
							     s->requirements[i].values[0] };

	const struct pod_facts *const *all =
		view_pods_matching(r->view, r->object->namespace, labels, n_labels, &n_all);
	const struct pod_facts **pods = arena_array(r->arena, const struct pod_facts *, n_all + 1);

	for (size_t i = 0; i < n_all; i++)
		if (selector_selects(s, all[i]->object))
			pods[n++] = all[i];
	*ret_n = n;
	return pods;
}

/* Another autoscaler of the namespace whose target has one of these pods, or NULL. */
static const char *rival(struct run *r, const struct pod_facts **pods, size_t n_pods)
{
	size_t n;
	const struct object *const *all = view_list(r->view, resource, r->object->namespace, &n);

	for (size_t i = 0; i < n; i++) {
		const Autoscaler *other;
		struct label_selector selector;
		struct run o = { .view = r->view, .arena = r->arena, .object = all[i] };

		if (all[i] == r->object || all[i]->facts.deleted_ns != 0)
			continue;
		other = view_message(r->view, all[i]);
		o.hpa = (Autoscaler *)other;
		if (other->spec == NULL || find_target(&o) != NULL ||
		    text_empty(o.scale->status->selector) ||
		    label_selector_parse(o.scale->status->selector, r->arena, &selector, NULL) < 0)
			continue;
		for (size_t k = 0; k < n_pods; k++)
			if (selector_selects(&selector, pods[k]->object))
				return all[i]->name;
	}
	return NULL;
}

/* False when the target cannot be measured; said already. */
static bool find_pods(struct run *r, struct hpa_look *look)
{
	const char *text = r->scale->status->selector, *other;
	struct label_selector selector;
	size_t n;

	if (text_empty(text)) {
		complain(r, "ScalingActive", "InvalidSelector", "SelectorRequired", "",
			 "the HPA target's scale is missing a selector");
		return false;
	}
	if (label_selector_parse(text, r->arena, &selector, NULL) < 0) {
		complain(r, "ScalingActive", "InvalidSelector", "InvalidSelector", "",
			 "couldn't convert selector into a corresponding internal selector object");
		return false;
	}

	const struct pod_facts **pods = pods_of(r, &selector, &n);

	other = rival(r, pods, n);
	if (other != NULL) {
		complain(r, "ScalingActive", "AmbiguousSelector", "AmbiguousSelector", "",
			 arena_printf(r->arena,
				      "pods by selector %s are controlled by multiple HPAs: [%s/%s "
				      "%s/%s]",
				      text, r->object->namespace, r->object->name,
				      r->object->namespace, other));
		return false;
	}
	*look = (struct hpa_look){ r->view, r->arena, pods, n, r->current };
	return true;
}

/* --- What the metrics ask for
 * ------------------------------------------------------------------------------- */

struct demand {
	bool known;
	int32_t replicas;
	const char *metric; /* That asked for the most. */
};

/* The highest of all metrics. One that fails counts as asking for no fewer than there are. */
static struct demand ask_metrics(struct run *r, const struct hpa_look *look)
{
	const AutoscalingV2__HorizontalPodAutoscalerSpec *spec = r->hpa->spec;
	struct hpa_proposal failed = { 0 };
	struct demand d = { 0 };
	size_t n_failed = 0;

	r->status->n_currentmetrics = 0;
	for (size_t i = 0; i < spec->n_metrics; i++) {
		struct hpa_proposal p = hpa_propose(look, spec->metrics[i]);

		make_append(r->arena, r->status, currentmetrics, p.status);
		if (p.error != NULL) {
			if (n_failed++ == 0)
				failed = p;
		} else if (d.metric == NULL || p.replicas > d.replicas) {
			d.replicas = p.replicas;
			d.metric = p.metric;
		}
	}
	d.known = spec->n_metrics > n_failed && (n_failed == 0 || d.replicas >= r->current);
	if (d.known) {
		set_condition(r, "ScalingActive", true, "ValidMetricFound",
			      arena_printf(r->arena,
					   "the HPA was able to successfully calculate a replica "
					   "count from %s",
					   d.metric));
		return d;
	}
	if (n_failed == 0)
		return d; /* No metrics at all: admission does not let that happen. */
	if (set_condition(r, "ScalingActive", false, failed.reason,
			  arena_printf(r->arena,
				       "the HPA was unable to compute the replica count: %s",
				       failed.error))) {
		intend_event(r->intents, component, r->object, "Warning", failed.reason, "%s",
			     failed.error);
		intend_event(r->intents, component, r->object, "Warning",
			     "FailedComputeMetricsReplicas",
			     "invalid metrics (%zu invalid out of %zu), first error is: failed to "
			     "get %s metric value: %s",
			     n_failed, spec->n_metrics, failed.kind, failed.error);
	}
	return d;
}

/* --- Scaling
 * ---------------------------------------------------------------------------------------------------
 */

/* How many there should be, and why; false when that is not known. */
static bool decide(struct run *r, struct hpa_memory *m, int32_t *ret_desired, const char **ret_why)
{
	struct hpa_limits limits = { r->hpa->spec->behavior, r->min, r->max, r->current,
				     r->view->now_ns };
	struct hpa_look look;

	*ret_desired = r->current;
	*ret_why = "";
	if (r->current == 0 && r->min != 0) {
		set_condition(r, "ScalingActive", false, "ScalingDisabled",
			      "scaling is disabled since the replica count of the target is zero");
		return true;
	}
	if (r->current > r->max) {
		*ret_why = "Current number of replicas above Spec.MaxReplicas";
		*ret_desired = r->max;
		return true;
	}
	if (r->current < r->min) {
		*ret_why = "Current number of replicas below Spec.MinReplicas";
		*ret_desired = r->min;
		return true;
	}
	if (!find_pods(r, &look))
		return false;

	struct demand d = ask_metrics(r, &look);

	if (!d.known)
		return false;

	struct hpa_verdict v = hpa_limit(&limits, m, d.replicas);

	set_condition(r, "AbleToScale", true, v.able_reason, v.able_message);
	set_condition(r, "ScalingLimited", v.limited, v.limited_reason, v.limited_message);
	*ret_desired = v.replicas;
	*ret_why = d.replicas > r->current ? arena_printf(r->arena, "%s above target", d.metric)
					   : "All metrics below target";
	return true;
}

static void scale(struct run *r, struct hpa_memory *m, int32_t desired, const char *why)
{
	ProtobufCMessage *message = changed(r->target, r->arena);

	r->scale->spec->replicas = desired;
	scale_to(r->scale, message, r->arena);
	intend_update(r->intents, r->target, message);
	intend_event(r->intents, component, r->object, "Normal", "SuccessfulRescale",
		     "New size: %d; reason: %s", desired, why);
	set_condition(r, "AbleToScale", true, "SucceededRescale",
		      arena_printf(r->arena,
				   "the HPA controller was able to update the target scale to %d",
				   desired));
	r->status->lastscaletime = make_time(r->arena, r->view->now_ns);
	m->pending_ns = r->hpa->spec->behavior != NULL ? r->view->now_ns : 0;
	m->pending_from = r->current;
	m->pending_to = desired;
}

/* --- Whether the status is worth a write
 * ------------------------------------------------------------------------ */

struct number {
	bool known;
	double value, target;
};

static struct number number_of(const AutoscalingV2__MetricSpec *m,
			       const AutoscalingV2__MetricStatus *s)
{
	const AutoscalingV2__MetricTarget *t = m->resource            ? m->resource->target
					       : m->containerresource ? m->containerresource->target
								      : NULL;
	const AutoscalingV2__MetricValueStatus *v = s->resource ? s->resource->current
						    : s->containerresource
							    ? s->containerresource->current
							    : NULL;

	if (t == NULL || v == NULL)
		return (struct number){ 0 };
	if (t->averagevalue == NULL)
		return (struct number){ v->has_averageutilization, v->averageutilization,
					t->averageutilization };
	return (struct number){
		v->averagevalue != NULL,
		(double)quantity_text_milli(v->averagevalue ? v->averagevalue->string : NULL),
		(double)quantity_text_milli(t->averagevalue->string),
	};
}

static bool moved(const struct run *r)
{
	const AutoscalingV2__HorizontalPodAutoscalerStatus *old = r->before->status;
	size_t n = r->status->n_currentmetrics;

	if (old == NULL || old->n_currentmetrics != n)
		return true;
	for (size_t i = 0; i < n && i < r->hpa->spec->n_metrics; i++) {
		struct number a = number_of(r->hpa->spec->metrics[i], old->currentmetrics[i]);
		struct number b = number_of(r->hpa->spec->metrics[i], r->status->currentmetrics[i]);
		double by = a.value > b.value ? a.value - b.value : b.value - a.value;

		if (!text_is(old->currentmetrics[i]->type,
			     text_of(r->status->currentmetrics[i]->type)) ||
		    a.known != b.known || (a.known && by * 10 >= b.target && by > 0))
			return true;
	}
	return false;
}

static void write_status(struct run *r)
{
	AutoscalingV2__HorizontalPodAutoscalerStatus with_old = *r->status;

	if (r->before->status != NULL && !moved(r)) {
		with_old.n_currentmetrics = r->before->status->n_currentmetrics;
		with_old.currentmetrics = r->before->status->currentmetrics;
		if (message_equal(&with_old, r->before->status))
			return;
	}
	intend_update_status(r->intents, r->object, &r->hpa->base);
}

/* --- The controller
 * -----------------------------------------------------------------------------------------------
 */

static bool begin(struct run *r, struct view *v, struct key key, struct intents *intents)
{
	const struct object *o = view_get(v, resource, key.namespace, key.name);

	if (o == NULL || o->facts.deleted_ns != 0)
		return false;
	*r = (struct run){
		.view = v,
		.intents = intents,
		.arena = intents->arena,
		.object = o,
		.before = view_message(v, o),
		.hpa = changed(o, intents->arena),
	};
	if (r->hpa->spec == NULL)
		return false;
	if (r->hpa->status == NULL)
		r->hpa->status = make(r->arena, AutoscalingV2__HorizontalPodAutoscalerStatus,
				      autoscaling_v2__horizontal_pod_autoscaler_status);
	r->status = r->hpa->status;
	r->min = r->hpa->spec->has_minreplicas ? r->hpa->spec->minreplicas : 1;
	r->max = r->hpa->spec->maxreplicas;
	return true;
}

static void reconcile(struct view *v, struct key key, struct intents *intents)
{
	struct hpa_memory *m;
	const char *error, *why;
	int32_t desired;
	struct run r;

	if (!begin(&r, v, key, intents))
		return;
	intend_again(intents, v->now_ns + HPA_PERIOD_NS);
	error = find_target(&r);
	if (error != NULL) {
		complain(
			&r, "AbleToScale", "FailedGetScale", "FailedGetScale",
			"the HPA controller was unable to get the target's current scale: ", error);
		write_status(&r);
		return;
	}
	m = arena_new(v->arena, struct hpa_memory);
	hpa_memory_read(m, v->memo, r.current, v->now_ns);
	set_condition(&r, "AbleToScale", true, "SucceededGetScale",
		      "the HPA controller was able to get the target's current scale");
	if (decide(&r, m, &desired, &why)) {
		make_set(r.status, desiredreplicas, desired);
		if (desired != r.current)
			scale(&r, m, desired, why);
	}
	make_set(r.status, currentreplicas, r.current);
	if (!r.status->has_desiredreplicas)
		make_set(r.status, desiredreplicas, 0);
	write_status(&r);
	intents->memo = hpa_memory_print(m, intents->arena);
}

/* The target did not take it (a quota, a webhook, a race): that much can be said. */
static void refused(struct view *v, struct key key, const struct refusal *refusal,
		    struct intents *intents)
{
	struct run r;

	if (refusal->intent == NULL || strcmp(refusal->intent->resource, resource) == 0 ||
	    !begin(&r, v, key, intents))
		return;
	complain(&r, "AbleToScale", "FailedUpdateScale", "FailedRescale",
		 "the HPA controller was unable to update the target scale: ", refusal->message);
	write_status(&r);
}

/* A status that was written is no news. */
static bool is_news(const struct view *v, const struct object *old, const struct object *new)
{
	const Autoscaler *a, *b;

	if (old == NULL || new == NULL || old->facts.deleted_ns != new->facts.deleted_ns)
		return true;
	a = object_message(old, v->arena);
	b = object_message(new, v->arena);
	return a->spec == NULL || b->spec == NULL || !message_equal(a->spec, b->spec);
}

static void on_change(const struct view *v, const struct object *old, const struct object *new,
		      struct keys *keys)
{
	if (change_is_of(old, new, resource) && is_news(v, old, new))
		keys_add_object(keys, old, new);
}

static void seed(const struct view *v, struct keys *keys)
{
	keys_add_all(keys, v, resource, NULL);
}

const struct controller controller_hpa = {
	.name = "horizontal-pod-autoscaler",
	.on_change = on_change,
	.seed = seed,
	.reconcile = reconcile,
	.refused = refused,
};
