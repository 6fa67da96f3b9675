/* What the pods' containers use, from their control groups.
 *
 * A cpu rate needs two looks at a counter. The first look at a container that
 * has just started takes its start for the other one, so that it has a number
 * at once; one that was found running (after a restart of the agent) has its
 * first number a period later. */
#include "agent/pods/measure.h"

#include <string.h>

#include "agent/pods/pod.h"
#include "agent/pods/qos.h"
#include "common/api/make.h"
#include "common/base/cleanup.h"

uint64_t usage_rate(uint64_t used_ns, int64_t window_ns)
{
	return (uint64_t)((__uint128_t)used_ns * 1000000000 / (uint64_t)window_ns);
}

/* How long the counter has been counting since it was last looked at; 0: no use can be made of it
 * yet. *ret_used_ns is by how much it went up. */
static int64_t window_of(struct container *c, const struct cgroup_stats *now, int64_t now_ns,
	uint64_t *ret_used_ns)
{
	struct measured *m = &c->measured;
	bool known = strcmp(m->id, text_of(c->current.id)) == 0 && now->cpu_ns >= m->cpu_ns && now_ns > m->at_ns;
	int64_t age_ns = pod_now_ns() - c->current.started_ns;
	int64_t window_ns = known ? now_ns - m->at_ns : age_ns;

	*ret_used_ns = known ? now->cpu_ns - m->cpu_ns : now->cpu_ns;
	snprintf(m->id, sizeof(m->id), "%s", text_of(c->current.id));
	m->cpu_ns = now->cpu_ns;
	m->at_ns = now_ns;
	if (!known && (age_ns < MEASURE_FRESH_MIN_NS || age_ns > MEASURE_FRESH_MAX_NS))
		return 0;
	return window_ns;
}

static bool measure_container(struct container *c, const char *pod_path, int64_t now_ns, struct arena *arena,
	SampanNode__PodUsage *pod)
{
	struct cgroup_stats stats;
	uint64_t used_ns;
	const char *path = arena_printf(arena, "%s/%s", pod_path, c->current.id);

	if (cgroup_read_stats(c->pod->pods->options.cgroups, path, &stats) < 0)
		return false;
	int64_t window_ns = window_of(c, &stats, now_ns, &used_ns);

	if (window_ns <= 0)
		return false;
	SampanNode__ContainerUsage *u = arena_new(arena, SampanNode__ContainerUsage);

	sampan_node__container_usage__init(u);
	u->name = arena_strdup(arena, c->spec->name);
	u->has_cpu_nanocores = u->has_memory_bytes = true;
	u->cpu_nanocores = usage_rate(used_ns, window_ns);
	u->memory_bytes = stats.working_set_bytes;
	if (window_ns / 1000000 > pod->window_ms)
		pod->window_ms = (uint32_t)(window_ns / 1000000);
	pod->containers[pod->n_containers++] = u;
	return true;
}

/* NULL when there is not yet a number for each container that runs: half a pod would look idle. */
static SampanNode__PodUsage *measure_pod(struct pod *pod, int64_t now_ns, struct arena *arena)
{
	autofree char *path = cgroup_pod_path(pod->pods->options.cgroups, pod_qos(pod->message->spec), pod->uid);
	SampanNode__PodUsage *u = arena_new(arena, SampanNode__PodUsage);
	bool complete = true;

	sampan_node__pod_usage__init(u);
	u->uid = arena_strdup(arena, pod->uid);
	u->has_window_ms = true;
	u->containers = arena_array(arena, SampanNode__ContainerUsage *, pod->n_containers + 1);
	for (size_t i = 0; i < pod->n_containers; i++) {
		struct container *c = &pod->containers[i];

		if (c->facts.phase == PHASE_RUNNING && !text_empty(c->current.id) &&
			!measure_container(c, path, now_ns, arena, u))
			complete = false;
	}
	return complete && u->n_containers > 0 ? u : NULL;
}

void pods_measure(struct pods *pods, int64_t now_ns, struct arena *arena, SampanNode__Usage *ret)
{
	size_t n = 0;

	list_for_each(pod, &pods->list, struct pod, link) n++;
	ret->pods = arena_array(arena, SampanNode__PodUsage *, n + 1);
	list_for_each(pod, &pods->list, struct pod, link) {
		SampanNode__PodUsage *u = pod->sandbox && !pod->released ? measure_pod(pod, now_ns, arena) : NULL;

		if (u != NULL)
			ret->pods[ret->n_pods++] = u;
	}
}
