/* NodeMetrics and PodMetrics from numbers. */
#include <inttypes.h>

#include "common/api/make.h"
#include "common/api/quantity.h"
#include "controlplane/apiserver/usage.h"

static Resource__Quantity *quantity_of(struct arena *a, quantity_int nano,
				       enum quantity_format format)
{
	Resource__Quantity *q = make(a, Resource__Quantity, resource__quantity);
	struct quantity value = { nano, format };
	char text[QUANTITY_TEXT_MAX];

	quantity_print(&value, text);
	q->string = arena_strdup(a, text);
	return q;
}

/* The two entries of a map of usage, in key order. */
#define put_usage(a, message, entry_type, entry_prefix, cpu_nanocores, memory_bytes)               \
	do {                                                                                       \
		entry_type *cpu_ = make(a, entry_type, entry_prefix);                              \
		entry_type *memory_ = make(a, entry_type, entry_prefix);                           \
                                                                                                   \
		cpu_->key = arena_strdup(a, "cpu");                                                \
		cpu_->value = quantity_of(a, (quantity_int)(cpu_nanocores), QUANTITY_DECIMAL);     \
		memory_->key = arena_strdup(a, "memory");                                          \
		memory_->value =                                                                   \
			quantity_of(a, (quantity_int)(memory_bytes)*1000000000, QUANTITY_BINARY);  \
		make_append(a, message, usage, cpu_);                                              \
		make_append(a, message, usage, memory_);                                           \
	} while (0)

static MetaV1__ObjectMeta *make_meta(struct arena *a, const struct object *o, int64_t now_ns)
{
	MetaV1__ObjectMeta *meta = make(a, MetaV1__ObjectMeta, meta_v1__object_meta);

	meta->name = arena_strdup(a, o->name);
	if (o->namespace[0] != '\0')
		meta->namespace_ = arena_strdup(a, o->namespace);
	meta->creationtimestamp = make_time(a, now_ns);
	for (size_t i = 0; i < o->facts.n_labels; i++)
		meta_set_label(a, meta, o->facts.labels[i].key, o->facts.labels[i].value);
	return meta;
}

static MetaV1__Duration *make_duration(struct arena *a, int64_t ns)
{
	MetaV1__Duration *d = make(a, MetaV1__Duration, meta_v1__duration);

	make_set(d, duration, ns);
	return d;
}

MetricsV1beta1__NodeMetrics *node_metrics(struct arena *a, const struct object *node,
					  const struct node_usage *usage, int64_t now_ns)
{
	MetricsV1beta1__NodeMetrics *m =
		make(a, MetricsV1beta1__NodeMetrics, metrics_v1beta1__node_metrics);

	m->metadata = make_meta(a, node, now_ns);
	m->timestamp = make_time(a, usage->measured_ns);
	m->window = make_duration(a, usage->window_ns);
	put_usage(a, m, MetricsV1beta1__NodeMetrics__UsageEntry,
		  metrics_v1beta1__node_metrics__usage_entry, usage->cpu_nanocores,
		  usage->memory_bytes);
	return m;
}

MetricsV1beta1__PodMetrics *pod_metrics(struct arena *a, const struct object *pod,
					const struct pod_usage *usage, int64_t now_ns)
{
	MetricsV1beta1__PodMetrics *m =
		make(a, MetricsV1beta1__PodMetrics, metrics_v1beta1__pod_metrics);

	m->metadata = make_meta(a, pod, now_ns);
	m->timestamp = make_time(a, usage->measured_ns);
	m->window = make_duration(a, usage->window_ns);
	for (size_t i = 0; i < usage->n_containers; i++) {
		const struct container_usage *c = &usage->containers[i];
		MetricsV1beta1__ContainerMetrics *container = make(
			a, MetricsV1beta1__ContainerMetrics, metrics_v1beta1__container_metrics);

		container->name = arena_strdup(a, c->name);
		put_usage(a, container, MetricsV1beta1__ContainerMetrics__UsageEntry,
			  metrics_v1beta1__container_metrics__usage_entry, c->cpu_nanocores,
			  c->memory_bytes);
		make_append(a, m, containers, container);
	}
	return m;
}
