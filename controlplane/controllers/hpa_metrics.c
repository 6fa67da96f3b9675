/* From what pods use and ask for to a number of replicas.
 *
 * Pods fall into four groups: those that count; those not ready (a pod that
 * starts burns cpu and serves nothing); those without a sample; and those on
 * their way out, which are ignored. What is unknown is taken as whatever
 * dampens the change: nothing when it would be up, everything when down. */
#include <math.h>
#include <string.h>

#include "common/api/quantity.h"
#include "common/api/resources.h"
#include "controlplane/controllers/hpa.h"

#define TOLERANCE 0.1
#define CPU_START_NS (300 * NS_PER_S)
#define READINESS_DELAY_NS (30 * NS_PER_S)

typedef quantity_int milli_int;

enum group { GROUP_COUNTS, GROUP_UNREADY, GROUP_MISSING, GROUP_IGNORED };

struct sample {
	const struct pod_facts *pod;
	enum group group;
	bool known;
	milli_int used, asked; /* Thousandths. */
};

struct samples {
	const struct hpa_look *look;
	const char *resource, *container; /* container NULL: all. */
	struct sample *items;
	size_t n, n_counting, n_unready, n_missing;
	const char *error;
};

/* --- Samples
 * --------------------------------------------------------------------------------------- */

static milli_int milli_of(const char *resource, const struct container_usage *c)
{
	if (strcmp(resource, "cpu") == 0)
		return ((milli_int)c->cpu_nanocores + 999999) / 1000000;
	return (milli_int)c->memory_bytes * 1000;
}

static bool is_measured(const char *resource)
{
	return strcmp(resource, "cpu") == 0 || strcmp(resource, "memory") == 0;
}

/* False when the pod has no such container. */
static bool add_up(struct samples *s, struct sample *x, const struct pod_usage *u)
{
	bool found = s->container == NULL;

	for (size_t i = 0; i < u->n_containers; i++) {
		if (s->container != NULL && strcmp(u->containers[i].name, s->container) != 0)
			continue;
		found = true;
		x->used += milli_of(s->resource, &u->containers[i]);
	}
	x->known = found;
	return found;
}

static bool cpu_is_unready(const struct pod_facts *p, const struct pod_usage *u, int64_t now_ns)
{
	/* ready_since_ns is when the condition last changed, whichever way. */
	if (p->ready_since_ns == 0 || p->start_ns == 0)
		return true;
	if (p->start_ns + CPU_START_NS > now_ns)
		return !p->ready || u->measured_ns < p->ready_since_ns + u->window_ns;
	return !p->ready && p->start_ns + READINESS_DELAY_NS > p->ready_since_ns;
}

static enum group group_of(const struct samples *s, const struct sample *x,
			   const struct pod_usage *u)
{
	const struct pod_facts *p = x->pod;

	if (p->object->facts.deleted_ns != 0 || p->phase == PHASE_FAILED)
		return GROUP_IGNORED;
	if (p->phase == PHASE_PENDING)
		return GROUP_UNREADY;
	if (!x->known)
		return GROUP_MISSING;
	if (strcmp(s->resource, "cpu") == 0 && cpu_is_unready(p, u, s->look->view->now_ns))
		return GROUP_UNREADY;
	return GROUP_COUNTS;
}

static void collect(struct samples *s)
{
	const struct view *v = s->look->view;
	size_t n_known = 0;

	s->items = arena_array(s->look->arena, struct sample, s->look->n_pods + 1);
	for (size_t i = 0; i < s->look->n_pods; i++) {
		struct sample *x = &s->items[s->n++];
		const struct pod_usage *u = NULL;

		x->pod = s->look->pods[i];
		if (v->pod_usage != NULL && is_measured(s->resource))
			u = v->pod_usage(v->pod_usage_ctx, x->pod);
		if (u != NULL && !add_up(s, x, u)) {
			s->error = arena_printf(
				s->look->arena, "container %s not present in metrics for pod %s/%s",
				s->container, x->pod->object->namespace, x->pod->object->name);
			return;
		}
		n_known += u != NULL;
		x->group = group_of(s, x, u);
		s->n_counting += x->group == GROUP_COUNTS;
		s->n_unready += x->group == GROUP_UNREADY;
		s->n_missing += x->group == GROUP_MISSING;
	}
	if (n_known == 0)
		s->error =
			arena_printf(s->look->arena,
				     "unable to get metrics for resource %s: no metrics returned "
				     "from resource metrics API",
				     s->resource);
	else if (s->n == 0)
		s->error = "no pods returned by selector while calculating replica count";
	else if (s->n_counting == 0)
		s->error = "did not receive metrics for targeted pods (pods might be unready)";
}

/* --- Requests
 * --------------------------------------------------------------------------------------- */

static bool add_requests(struct samples *s, struct sample *x, CoreV1__Container *const *list,
			 size_t n, bool sidecars)
{
	for (size_t i = 0; i < n; i++) {
		const CoreV1__Container *c = list[i];
		const char *text = NULL;

		if ((sidecars && !text_is(c->restartpolicy, "Always")) ||
		    (s->container != NULL && !text_is(c->name, s->container)))
			continue;
		if (c->resources != NULL)
			text = resource_text(c->resources->requests, c->resources->n_requests,
					     s->resource);
		if (text == NULL) {
			s->error = arena_printf(
				s->look->arena, "missing request for %s in container %s of Pod %s",
				s->resource, text_of(c->name), x->pod->object->name);
			return false;
		}
		x->asked += quantity_text_milli(text);
	}
	return true;
}

static void collect_requests(struct samples *s)
{
	for (size_t i = 0; i < s->n && s->error == NULL; i++) {
		const CoreV1__Pod *pod = view_message(s->look->view, s->items[i].pod->object);

		if (pod->spec == NULL)
			continue;
		if (add_requests(s, &s->items[i], pod->spec->containers, pod->spec->n_containers,
				 false))
			add_requests(s, &s->items[i], pod->spec->initcontainers,
				     pod->spec->n_initcontainers, true);
	}
}

/* --- The calculation
 * ---------------------------------------------------------------------------------- */

/* What is aimed at: a share of the requests in percent, or an amount per pod in thousandths. */
struct aim {
	bool utilization;
	int64_t target;
};

struct ratio {
	double ratio;
	int64_t percent, average_milli;
	size_t n; /* Pods in it. */
	bool known;
};

static struct ratio ratio_of(const struct samples *s, const struct aim *aim)
{
	milli_int used = 0, asked = 0;
	struct ratio r = { 0 };

	for (size_t i = 0; i < s->n; i++) {
		if (s->items[i].group != GROUP_COUNTS)
			continue;
		used += s->items[i].used;
		asked += s->items[i].asked;
		r.n++;
	}
	if (r.n == 0 || (aim->utilization && asked == 0))
		return r;
	r.known = true;
	r.average_milli = (int64_t)(used / (milli_int)r.n);
	if (aim->utilization) {
		r.percent = (int64_t)(used * 100 / asked);
		r.ratio = (double)r.percent / (double)aim->target;
	} else {
		r.ratio = (double)r.average_milli / (double)aim->target;
	}
	return r;
}

static bool is_within(double ratio)
{
	return 1.0 - TOLERANCE <= ratio && ratio <= 1.0 + TOLERANCE;
}

/* Pods of the group count from here on, as using so much of what they ask for. */
static void count_group(struct samples *s, enum group group, const struct aim *aim, bool as_full)
{
	int64_t percent = aim->utilization && aim->target > 100 ? aim->target : 100;

	for (size_t i = 0; i < s->n; i++) {
		struct sample *x = &s->items[i];

		if (x->group != group)
			continue;
		x->group = GROUP_COUNTS;
		x->used = !as_full           ? 0
			  : aim->utilization ? x->asked * percent / 100
					     : (milli_int)aim->target;
	}
}

static int32_t replicas_of(double ratio, size_t n)
{
	double replicas = ceil(ratio * (double)n);

	return replicas > INT32_MAX ? INT32_MAX : (int32_t)replicas;
}

static int32_t replicas_for(struct samples *s, const struct aim *aim, const struct ratio *first)
{
	bool up_with_unready = s->n_unready > 0 && first->ratio > 1.0;
	int32_t current = s->look->current;

	if (!up_with_unready && s->n_missing == 0)
		return is_within(first->ratio) ? current : replicas_of(first->ratio, s->n_counting);
	if (s->n_missing > 0 && first->ratio != 1.0)
		count_group(s, GROUP_MISSING, aim, first->ratio < 1.0);
	if (up_with_unready)
		count_group(s, GROUP_UNREADY, aim, false);

	struct ratio now = ratio_of(s, aim);
	int32_t wanted = replicas_of(now.ratio, now.n);

	/* What was guessed must not turn the direction round. */
	if (!now.known || is_within(now.ratio) || (first->ratio < 1.0 && now.ratio > 1.0) ||
	    (first->ratio > 1.0 && now.ratio < 1.0) || (now.ratio < 1.0 && wanted > current) ||
	    (now.ratio > 1.0 && wanted < current))
		return current;
	return wanted;
}

static AutoscalingV2__MetricValueStatus *value_of(struct arena *a, const struct aim *aim,
						  const struct ratio *r)
{
	AutoscalingV2__MetricValueStatus *v =
		make(a, AutoscalingV2__MetricValueStatus, autoscaling_v2__metric_value_status);
	char text[QUANTITY_TEXT_MAX];
	struct quantity q;

	quantity_set_milli(&q, r->average_milli);
	q.format = QUANTITY_DECIMAL;
	quantity_print(&q, text);
	v->averagevalue = make(a, Resource__Quantity, resource__quantity);
	v->averagevalue->string = arena_strdup(a, text);
	if (aim->utilization)
		make_set(v, averageutilization,
			 r->percent > INT32_MAX ? INT32_MAX : (int32_t)r->percent);
	return v;
}

/* One resource of the pods, or of one of their containers. NULL when there is no number. */
static AutoscalingV2__MetricValueStatus *
measure(struct samples *s, const AutoscalingV2__MetricTarget *target, struct hpa_proposal *p)
{
	struct arena *a = s->look->arena;
	struct aim aim = {
		.utilization = target != NULL && target->averagevalue == NULL,
		.target = target == NULL || target->averagevalue == NULL
				  ? (target != NULL ? target->averageutilization : 0)
				  : quantity_text_milli(target->averagevalue->string),
	};
	struct ratio first = { 0 };

	p->metric = arena_printf(a, "%s resource%s", s->resource,
				 aim.utilization ? " utilization (percentage of request)" : "");
	if (aim.target <= 0)
		s->error = "invalid metric source: neither a utilization target nor a value target "
			   "was set";
	else
		collect(s);
	if (s->error == NULL && aim.utilization)
		collect_requests(s);
	if (s->error == NULL) {
		first = ratio_of(s, &aim);
		if (!first.known)
			s->error = "no metrics returned matched known pods";
	}
	if (s->error != NULL) {
		p->error = arena_printf(a, "failed to get %s %s: %s", s->resource,
					aim.utilization ? "utilization" : "usage", s->error);
		return NULL;
	}
	p->replicas = replicas_for(s, &aim, &first);
	return value_of(a, &aim, &first);
}

/* --- Kinds of metrics
 * -------------------------------------------------------------------------------- */

static void propose_resource(const struct hpa_look *look,
			     const AutoscalingV2__ResourceMetricSource *m, struct hpa_proposal *p)
{
	struct samples s = { .look = look, .resource = text_of(m->name) };
	AutoscalingV2__MetricValueStatus *value = measure(&s, m->target, p);
	struct arena *a = look->arena;

	p->reason = "FailedGetResourceMetric";
	p->kind = arena_printf(a, "%s resource", s.resource);
	if (value == NULL)
		return;
	p->status->resource = make(a, AutoscalingV2__ResourceMetricStatus,
				   autoscaling_v2__resource_metric_status);
	p->status->resource->name = m->name;
	p->status->resource->current = value;
}

static void propose_container(const struct hpa_look *look,
			      const AutoscalingV2__ContainerResourceMetricSource *m,
			      struct hpa_proposal *p)
{
	struct samples s = {
		.look = look,
		.resource = text_of(m->name),
		.container = text_of(m->container),
	};
	AutoscalingV2__MetricValueStatus *value = measure(&s, m->target, p);
	struct arena *a = look->arena;

	p->reason = "FailedGetContainerResourceMetric";
	p->kind = arena_printf(a, "%s container", s.resource);
	if (value == NULL)
		return;
	p->status->containerresource = make(a, AutoscalingV2__ContainerResourceMetricStatus,
					    autoscaling_v2__container_resource_metric_status);
	p->status->containerresource->name = m->name;
	p->status->containerresource->container = m->container;
	p->status->containerresource->current = value;
}

static void refuse(struct hpa_proposal *p, struct arena *a, const char *reason, const char *kind,
		   const AutoscalingV2__MetricIdentifier *metric, const char *api)
{
	p->reason = reason;
	p->kind = kind;
	p->error = arena_printf(a, "unable to get metric %s: this cluster does not serve %s",
				metric != NULL ? text_of(metric->name) : "", api);
}

struct hpa_proposal hpa_propose(const struct hpa_look *look, const AutoscalingV2__MetricSpec *spec)
{
	static const char custom[] = "custom.metrics.k8s.io",
			  external[] = "external.metrics.k8s.io";
	struct arena *a = look->arena;
	struct hpa_proposal p = {
		.status = make(a, AutoscalingV2__MetricStatus, autoscaling_v2__metric_status),
		.kind = "",
	};

	p.status->type = spec->type;
	if (text_is(spec->type, "Resource") && spec->resource != NULL)
		propose_resource(look, spec->resource, &p);
	else if (text_is(spec->type, "ContainerResource") && spec->containerresource != NULL)
		propose_container(look, spec->containerresource, &p);
	else if (text_is(spec->type, "Object") && spec->object != NULL)
		refuse(&p, a, "FailedGetObjectMetric", "object", spec->object->metric, custom);
	else if (text_is(spec->type, "Pods") && spec->pods != NULL)
		refuse(&p, a, "FailedGetPodsMetric", "pods", spec->pods->metric, custom);
	else if (text_is(spec->type, "External") && spec->external != NULL)
		refuse(&p, a, "FailedGetExternalMetric", "external", spec->external->metric,
		       external);
	else {
		p.reason = "InvalidMetricSourceType";
		p.error = arena_printf(a, "unknown metric source type %s", text_of(spec->type));
	}
	return p;
}
