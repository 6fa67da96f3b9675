#include "agent/pods/qos.h"

#include <stdbool.h>
#include <string.h>

#include "agent/volumes/fields.h"
#include "common/api/quantity.h"

static const char *const counted[] = { "cpu", "memory" };

struct tally {
	bool any, all_limited;
};

static void look_at(const CoreV1__Container *c, struct tally *t)
{
	for (int i = 0; i < 2; i++) {
		const char *limit = container_limit(c, counted[i]), *request = container_request(c, counted[i]);
		bool cpu = i == 0;
		int64_t l = limit ? cpu ? quantity_text_milli(limit) : quantity_text_value(limit) : 0;
		int64_t r = request ? cpu ? quantity_text_milli(request) : quantity_text_value(request) : l;

		t->any = t->any || l > 0 || r > 0;
		t->all_limited = t->all_limited && l > 0 && l == r;
	}
}

enum qos_class pod_qos(const CoreV1__PodSpec *spec)
{
	struct tally t = { .all_limited = true };

	for (size_t i = 0; i < spec->n_containers; i++)
		look_at(spec->containers[i], &t);
	for (size_t i = 0; i < spec->n_initcontainers; i++)
		look_at(spec->initcontainers[i], &t);
	return !t.any ? QOS_BEST_EFFORT : t.all_limited ? QOS_GUARANTEED : QOS_BURSTABLE;
}

const char *qos_name(enum qos_class qos)
{
	static const char *const names[] = { "Guaranteed", "Burstable", "BestEffort" };

	return names[qos];
}

static uint64_t shares_of(int64_t milli)
{
	uint64_t shares = milli > 0 ? (uint64_t)milli * 1024 / 1000 : 0;

	return shares < 2 ? 2 : shares > 262144 ? 262144 : shares;
}

static int64_t quota_of(int64_t milli)
{
	int64_t quota = milli * 100; /* Per 100,000 us. */

	return milli <= 0 ? 0 : quota < 1000 ? 1000 : quota;
}

static int64_t request_of(const CoreV1__Container *c, const char *resource)
{
	const char *text = container_request(c, resource);
	bool cpu = strcmp(resource, "cpu") == 0;

	if (text == NULL)
		text = container_limit(c, resource);
	return cpu ? quantity_text_milli(text) : quantity_text_value(text);
}

void container_limits(const CoreV1__Container *c, struct cgroup_limits *ret)
{
	*ret = (struct cgroup_limits){ .cpu_shares = shares_of(request_of(c, "cpu")),
		.cpu_quota_us = quota_of(quantity_text_milli(container_limit(c, "cpu"))),
		.memory_bytes = quantity_text_value(container_limit(c, "memory")) };
}

/* The pod's own limits hold only if every container has one: what is unlimited in it is unlimited. */
void pod_limits(const CoreV1__PodSpec *spec, int64_t pids_max, struct cgroup_limits *ret)
{
	int64_t cpu = 0, request = 0, memory = 0, init_cpu = 0, init_memory = 0;
	bool cpu_limited = true, memory_limited = true;

	for (size_t i = 0; i < spec->n_containers + spec->n_initcontainers; i++) {
		bool init = i >= spec->n_containers;
		const CoreV1__Container *c =
			init ? spec->initcontainers[i - spec->n_containers] : spec->containers[i];
		int64_t c_cpu = quantity_text_milli(container_limit(c, "cpu"));
		int64_t c_memory = quantity_text_value(container_limit(c, "memory"));

		cpu_limited = cpu_limited && c_cpu > 0;
		memory_limited = memory_limited && c_memory > 0;
		if (init && !(c->restartpolicy && strcmp(c->restartpolicy, "Always") == 0)) {
			init_cpu = c_cpu > init_cpu ? c_cpu : init_cpu;
			init_memory = c_memory > init_memory ? c_memory : init_memory;
			continue;
		}
		cpu += c_cpu;
		memory += c_memory;
		request += request_of(c, "cpu");
	}
	cpu = init_cpu > cpu ? init_cpu : cpu;
	memory = init_memory > memory ? init_memory : memory;
	*ret = (struct cgroup_limits){ .cpu_shares = shares_of(request),
		.cpu_quota_us = cpu_limited ? quota_of(cpu) : 0,
		.memory_bytes = memory_limited ? memory : 0,
		.pids = pids_max };
}

int container_oom_score_adj(const CoreV1__PodSpec *spec, const CoreV1__Container *c, enum qos_class qos,
	int64_t node_memory_bytes)
{
	bool critical = spec->has_priority && spec->priority >= 2000000000;

	if (qos == QOS_GUARANTEED || critical)
		return -997;
	if (qos == QOS_BEST_EFFORT || node_memory_bytes <= 0)
		return 1000;
	int64_t adj = 1000 - 1000 * request_of(c, "memory") / node_memory_bytes;

	return (int)(adj < 3 ? 3 : adj > 999 ? 999 : adj);
}
