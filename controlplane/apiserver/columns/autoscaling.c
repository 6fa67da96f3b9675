/* HorizontalPodAutoscalers, and what nodes and pods use. */
#include <inttypes.h>

#include "common/api/quantity.h"
#include "common/api/times.h"
#include "controlplane/apiserver/columns/cells.h"
#include "proto/k8s/autoscaling_v2.pb-c.h"
#include "proto/k8s/metrics_v1beta1.pb-c.h"

/* --- HorizontalPodAutoscaler -------------------------------------------------------------- */

static const AutoscalingV2__HorizontalPodAutoscalerSpec *hpa_spec(const void *message)
{
	static const AutoscalingV2__HorizontalPodAutoscalerSpec none =
		AUTOSCALING_V2__HORIZONTAL_POD_AUTOSCALER_SPEC__INIT;
	const AutoscalingV2__HorizontalPodAutoscaler *hpa = message;

	return hpa->spec != NULL ? hpa->spec : &none;
}

static void hpa_reference(struct cells *c, const void *message)
{
	const AutoscalingV2__CrossVersionObjectReference *ref = hpa_spec(message)->scaletargetref;

	cell_printf(c, "%s/%s", ref ? text_of(ref->kind) : "", ref ? text_of(ref->name) : "");
}

static const char *quantity_text(const Resource__Quantity *q)
{
	return q != NULL && !text_empty(q->string) ? q->string : "<unknown>";
}

/* The target of a source and the current value that the status tells of it. */
struct target {
	const char *name; /* NULL: the source has none to show. */
	const AutoscalingV2__MetricTarget *target;
	const AutoscalingV2__MetricValueStatus *current; /* NULL: not known. */
	bool of_pods;                                    /* Always an average. */
};

static struct target target_of(const AutoscalingV2__MetricSpec *m,
			       const AutoscalingV2__MetricStatus *s)
{
	if (text_is(m->type, "Resource") && m->resource != NULL)
		return (struct target){ text_of(m->resource->name), m->resource->target,
					s && s->resource ? s->resource->current : NULL, false };
	if (text_is(m->type, "ContainerResource") && m->containerresource != NULL)
		return (struct target){
			text_of(m->containerresource->name), m->containerresource->target,
			s && s->containerresource ? s->containerresource->current : NULL, false
		};
	if (text_is(m->type, "Pods") && m->pods != NULL)
		return (struct target){ NULL, m->pods->target,
					s && s->pods ? s->pods->current : NULL, true };
	if (text_is(m->type, "Object") && m->object != NULL)
		return (struct target){ NULL, m->object->target,
					s && s->object ? s->object->current : NULL, false };
	if (text_is(m->type, "External") && m->external != NULL)
		return (struct target){ NULL, m->external->target,
					s && s->external ? s->external->current : NULL, false };
	return (struct target){ 0 };
}

static void put_target(struct buf *b, struct target t)
{
	if (t.target == NULL) {
		buf_put_str(b, "<unknown type>");
		return;
	}
	if (t.name != NULL && t.target->averagevalue == NULL) {
		buf_printf(b, "%s: ", t.name);
		if (t.current != NULL && t.current->has_averageutilization)
			buf_printf(b, "%d%%", t.current->averageutilization);
		else
			buf_put_str(b, "<unknown>");
		if (t.target->has_averageutilization)
			buf_printf(b, "/%d%%", t.target->averageutilization);
		else
			buf_put_str(b, "/<auto>");
	} else if (t.target->averagevalue != NULL) {
		if (t.name != NULL)
			buf_printf(b, "%s: ", t.name);
		buf_printf(b, "%s/%s", quantity_text(t.current ? t.current->averagevalue : NULL),
			   quantity_text(t.target->averagevalue));
		if (t.name == NULL && !t.of_pods)
			buf_put_str(b, " (avg)");
	} else {
		buf_printf(b, "%s/%s", quantity_text(t.current ? t.current->value : NULL),
			   quantity_text(t.target->value));
	}
}

static void hpa_targets(struct cells *c, const void *message)
{
	enum { SHOWN_MAX = 2 };
	const AutoscalingV2__HorizontalPodAutoscaler *hpa = message;
	const AutoscalingV2__HorizontalPodAutoscalerSpec *spec = hpa_spec(message);
	struct buf b = { 0 };

	for (size_t i = 0; i < spec->n_metrics && i < SHOWN_MAX; i++) {
		bool known = hpa->status != NULL && i < hpa->status->n_currentmetrics;

		if (i > 0)
			buf_put_str(&b, ", ");
		put_target(&b, target_of(spec->metrics[i],
					 known ? hpa->status->currentmetrics[i] : NULL));
	}
	if (spec->n_metrics > SHOWN_MAX)
		buf_printf(&b, " + %zu more...", spec->n_metrics - SHOWN_MAX);
	if (spec->n_metrics == 0)
		buf_put_str(&b, "<none>");
	cell_take(c, &b);
}

static void hpa_min(struct cells *c, const void *message)
{
	if (hpa_spec(message)->has_minreplicas)
		cell_printf(c, "%d", hpa_spec(message)->minreplicas);
	else
		cell_text(c, "<unset>");
}

static void hpa_max(struct cells *c, const void *message)
{
	cell_int(c, hpa_spec(message)->maxreplicas);
}

static void hpa_replicas(struct cells *c, const void *message)
{
	const AutoscalingV2__HorizontalPodAutoscaler *hpa = message;

	cell_int(c, hpa->status != NULL ? hpa->status->currentreplicas : 0);
}

/* --- Usage --------------------------------------------------------------------------------- */

/* The sum of a resource over maps of usage: of a node, or of a pod's containers. */
static void add_usage(struct quantity *sum, const char *resource, const char *key,
		      const Resource__Quantity *value)
{
	struct quantity q;

	if (text_is(key, resource) && value != NULL &&
	    quantity_parse(bytes_str(text_of(value->string)), &q) == 0)
		quantity_add(sum, &q);
}

static void cell_quantity(struct cells *c, const struct quantity *q)
{
	char text[QUANTITY_TEXT_MAX];

	quantity_print(q, text);
	cell_text(c, text);
}

static void node_usage(struct cells *c, const void *message, const char *resource)
{
	const MetricsV1beta1__NodeMetrics *m = message;
	struct quantity sum = { 0 };

	for (size_t i = 0; i < m->n_usage; i++)
		add_usage(&sum, resource, m->usage[i]->key, m->usage[i]->value);
	cell_quantity(c, &sum);
}

static void pod_usage(struct cells *c, const void *message, const char *resource)
{
	const MetricsV1beta1__PodMetrics *m = message;
	struct quantity sum = { 0 };

	for (size_t i = 0; i < m->n_containers; i++)
		for (size_t k = 0; k < m->containers[i]->n_usage; k++)
			add_usage(&sum, resource, m->containers[i]->usage[k]->key,
				  m->containers[i]->usage[k]->value);
	cell_quantity(c, &sum);
}

static void cell_window(struct cells *c, const MetaV1__Duration *window)
{
	char text[TIME_TEXT_MAX];

	duration_print(window != NULL ? window->duration : 0, text);
	cell_text(c, text);
}

static void node_cpu(struct cells *c, const void *message)
{
	node_usage(c, message, "cpu");
}

static void node_memory(struct cells *c, const void *message)
{
	node_usage(c, message, "memory");
}

static void node_window(struct cells *c, const void *message)
{
	cell_window(c, ((const MetricsV1beta1__NodeMetrics *)message)->window);
}

static void pod_cpu(struct cells *c, const void *message)
{
	pod_usage(c, message, "cpu");
}

static void pod_memory(struct cells *c, const void *message)
{
	pod_usage(c, message, "memory");
}

static void pod_window(struct cells *c, const void *message)
{
	cell_window(c, ((const MetricsV1beta1__PodMetrics *)message)->window);
}

/* clang-format off */
static const struct column hpa[] = {
	{ "Name", NAME, 0, cell_name, DESCRIBE_NAME },
	{ "Reference", TEXT, 0, hpa_reference, "What is scaled." },
	{ "Targets", TEXT, 0, hpa_targets, "Of each metric what is measured, and what is aimed at." },
	{ "MinPods", TEXT, 0, hpa_min, "The fewest replicas." },
	{ "MaxPods", TEXT, 0, hpa_max, "The most replicas." },
	{ "Replicas", TEXT, 0, hpa_replicas, "Replicas there are." },
	{ "Age", TEXT, 0, cell_created_age, DESCRIBE_AGE },
};
static const struct column node_metrics[] = {
	{ "Name", NAME, 0, cell_name, DESCRIBE_NAME },
	{ "cpu", TEXT, 0, node_cpu, "Processors in use, over the window." },
	{ "memory", TEXT, 0, node_memory, "The working set." },
	{ "window", TEXT, 0, node_window, "What the use of processors is the mean of." },
};
static const struct column pod_metrics[] = {
	{ "Name", NAME, 0, cell_name, DESCRIBE_NAME },
	{ "cpu", TEXT, 0, pod_cpu, "Processors in use by all containers, over the window." },
	{ "memory", TEXT, 0, pod_memory, "The working set of all containers." },
	{ "window", TEXT, 0, pod_window, "What the use of processors is the mean of." },
};

const struct table_columns columns_autoscaling[] = {
	COLUMNS(autoscaling_v2__horizontal_pod_autoscaler, hpa),
	COLUMNS(metrics_v1beta1__node_metrics, node_metrics),
	COLUMNS(metrics_v1beta1__pod_metrics, pod_metrics),
};
/* clang-format on */
const size_t n_columns_autoscaling = sizeof(columns_autoscaling) / sizeof(columns_autoscaling[0]);
