/* When usage is measured, and what the next poll tells of it.
 *
 * Nothing wakes up for it: the poll that is sent to the leader anyway brings it
 * along when the last measurement is a period old, and brings the last one again
 * to a leader that begins a session. */
#include "agent/agent.h"
#include "agent/pods/measure.h"
#include "common/base/source.h"

#define PERIOD_NS (INT64_C(15) * 1000000000)
/* The first look has nothing to compare with. */
#define FIRST_PERIOD_NS (INT64_C(5) * 1000000000)
/* Polls are three seconds apart: rather a little early than three seconds late. */
#define SLACK_NS (INT64_C(1) * 1000000000)

static void measure(struct agent *a, int64_t now_ns)
{
	struct usage_state *u = &a->usage;
	struct machine_counters now;
	int64_t window_ns = now_ns - u->measured_ns;

	arena_reset(&u->arena);
	u->message = arena_new(&u->arena, SampanNode__Usage);
	sampan_node__usage__init(u->message);
	machine_count(&now);
	if (u->count > 0 && now.cpu_ns >= u->counters.cpu_ns) {
		u->message->has_window_ms = u->message->has_cpu_nanocores = u->message->has_memory_bytes = true;
		u->message->window_ms = (uint32_t)(window_ns / 1000000);
		u->message->cpu_nanocores = usage_rate(now.cpu_ns - u->counters.cpu_ns, window_ns);
		u->message->memory_bytes = now.working_set_bytes;
	}
	u->counters = now;
	u->measured_ns = now_ns;
	u->count++;
	pods_measure(a->pods, now_ns, &u->arena, u->message);
}

SampanNode__Usage *agent_usage(void *ctx, bool again)
{
	struct agent *a = ctx;
	struct usage_state *u = &a->usage;
	int64_t now_ns = (int64_t)system_source.monotonic_ns(&system_source);
	int64_t period_ns = u->count < 2 ? FIRST_PERIOD_NS : PERIOD_NS;
	bool due = u->count == 0 || now_ns - u->measured_ns >= period_ns - SLACK_NS;

	if (due)
		measure(a, now_ns);
	if ((!due && !again) || u->message == NULL)
		return NULL;
	u->message->has_age_ms = true;
	u->message->age_ms = (uint32_t)((now_ns - u->measured_ns) / 1000000);
	return u->message;
}
