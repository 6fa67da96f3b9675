#include "agent/pods/probes.h"

#include <stdlib.h>
#include <string.h>

#include "agent/pods/handler.h"
#include "common/api/make.h"
#include "common/base/alloc.h"

enum probe_kind { PROBE_STARTUP, PROBE_LIVENESS, PROBE_READINESS, PROBE_KINDS };

enum { TRIES_MAX = 3 };

static const char *const kind_names[] = { "Startup", "Liveness", "Readiness" };

struct probe {
	struct probes *all;
	enum probe_kind kind;
	const CoreV1__Probe *spec; /* Copied: the pod's message may be replaced meanwhile. */
	uv_timer_t timer;
	bool open; /* The timer is. */
	struct handler_run *run;
	struct probe_count count;
	int tries;
};

struct probes {
	struct container *container;
	struct arena arena;
	struct probe probe[PROBE_KINDS];
	int handles;
	bool stopped;
};

bool probe_count(struct probe_count *count, const CoreV1__Probe *spec, bool success)
{
	int need_ok = spec->has_successthreshold && spec->successthreshold > 0 ? spec->successthreshold : 1;
	int need_bad = spec->has_failurethreshold && spec->failurethreshold > 0 ? spec->failurethreshold : 3;

	count->successes = success ? count->successes + 1 : 0;
	count->failures = success ? 0 : count->failures + 1;
	if (success ? count->successes < need_ok : count->failures < need_bad)
		return false;
	if (count->known && count->ok == success)
		return false;
	count->known = true;
	count->ok = success;
	return true;
}

static uint64_t period_ms(const struct probe *p)
{
	return (uint64_t)(p->spec->has_periodseconds && p->spec->periodseconds > 0 ? p->spec->periodseconds : 10) * 1000;
}

static uint64_t timeout_ms(const struct probe *p)
{
	return (uint64_t)(p->spec->has_timeoutseconds && p->spec->timeoutseconds > 0 ? p->spec->timeoutseconds : 1) *
		1000;
}

static void on_closed(uv_handle_t *handle)
{
	struct probe *p = container_of((uv_timer_t *)handle, struct probe, timer);
	struct probes *all = p->all;

	if (--all->handles > 0)
		return;
	arena_fini(&all->arena);
	free(all);
}

static void stop_one(struct probe *p)
{
	if (p->run != NULL)
		handler_cancel(p->run);
	p->run = NULL;
	if (p->open) {
		p->open = false;
		uv_timer_stop(&p->timer);
		uv_close((uv_handle_t *)&p->timer, on_closed);
	}
}

void probes_stop(struct container *c)
{
	struct probes *all = c->probes;

	if (all == NULL)
		return;
	c->probes = NULL;
	all->stopped = true;
	all->handles++; /* Keeps it while its timers are closed one by one. */
	for (int i = 0; i < PROBE_KINDS; i++)
		stop_one(&all->probe[i]);
	if (--all->handles == 0) {
		arena_fini(&all->arena);
		free(all);
	}
}

static void start_one(struct probe *p, bool at_once);

static void settle_started(struct container *c)
{
	struct probes *all = c->probes;

	c->facts.started = true;
	for (int i = PROBE_LIVENESS; all != NULL && i < PROBE_KINDS; i++)
		start_one(&all->probe[i], false);
	if (all == NULL || all->probe[PROBE_READINESS].spec == NULL)
		c->ready = true;
}

static void apply(struct probe *p, const char *output)
{
	struct container *c = p->all->container;

	if (p->kind == PROBE_READINESS) {
		c->ready = p->count.ok;
	} else if (!p->count.ok) {
		int64_t grace_s = p->spec->has_terminationgraceperiodseconds ? p->spec->terminationgraceperiodseconds : -1;

		container_want_restart(c, grace_s,
			p->kind == PROBE_LIVENESS ? "failed liveness probe" : "failed startup probe");
	} else if (p->kind == PROBE_STARTUP) {
		stop_one(p);
		settle_started(c);
	}
	pod_tick(c->pod);
}

static void on_result(void *arg, enum handler_result result, const char *output)
{
	struct probe *p = arg;
	struct container *c = p->all->container;

	p->run = NULL;
	if (result == HANDLER_BROKEN && ++p->tries < TRIES_MAX) {
		start_one(p, true);
		return;
	}
	p->tries = 0;
	if (result != HANDLER_OK)
		pod_event(c->pod, c->spec->name, "Warning", "Unhealthy", "%s probe failed: %s", kind_names[p->kind],
			output);
	uint64_t next_ms = period_ms(p);
	struct probes *all = p->all;

	all->handles++; /* apply() may end all of them. */
	if (probe_count(&p->count, p->spec, result == HANDLER_OK))
		apply(p, output);
	bool stopped = all->stopped;

	if (--all->handles == 0) {
		arena_fini(&all->arena);
		free(all);
		return;
	}
	if (!stopped && p->open)
		uv_timer_set_repeat(&p->timer, next_ms);
}

static void on_due(uv_timer_t *timer)
{
	struct probe *p = container_of(timer, struct probe, timer);
	struct container *c = p->all->container;
	struct handler handler = handler_of_probe(p->spec);

	if (p->run == NULL && c->facts.phase == PHASE_RUNNING)
		p->run = handler_start(c, &handler, timeout_ms(p), on_result, p);
}

static void start_one(struct probe *p, bool at_once)
{
	struct container *c = p->all->container;

	if (p->spec == NULL)
		return;
	if (!p->open) {
		p->open = true;
		p->all->handles++;
		uv_timer_init(c->pod->pods->options.loop, &p->timer);
	}
	uint64_t delay_ms = (uint64_t)(p->spec->initialdelayseconds > 0 ? p->spec->initialdelayseconds : 0) * 1000;
	int64_t ran_ms = (pod_now_ns() - c->current.started_ns) / 1000000;

	/* Counted from the container's start, also when the agent was restarted meanwhile. */
	delay_ms = at_once || ran_ms >= (int64_t)delay_ms ? 0 : delay_ms - (uint64_t)(ran_ms > 0 ? ran_ms : 0);
	uv_timer_start(&p->timer, on_due, delay_ms, period_ms(p));
}

static const CoreV1__Probe *copy_spec(struct probes *all, const CoreV1__Probe *spec)
{
	return spec ? message_copy(spec, &all->arena) : NULL;
}

void probes_start(struct container *c)
{
	const CoreV1__Container *spec = c->spec;

	probes_stop(c);
	if (!spec->startupprobe && !spec->livenessprobe && !spec->readinessprobe) {
		settle_started(c);
		return;
	}
	struct probes *all = xcalloc(1, sizeof(*all));

	arena_init(&all->arena, 0);
	all->container = c;
	c->probes = all;
	for (int i = 0; i < PROBE_KINDS; i++) {
		all->probe[i].all = all;
		all->probe[i].kind = (enum probe_kind)i;
	}
	all->probe[PROBE_STARTUP].spec = copy_spec(all, spec->startupprobe);
	all->probe[PROBE_LIVENESS].spec = copy_spec(all, spec->livenessprobe);
	all->probe[PROBE_READINESS].spec = copy_spec(all, spec->readinessprobe);
	if (all->probe[PROBE_STARTUP].spec != NULL)
		start_one(&all->probe[PROBE_STARTUP], false);
	else
		settle_started(c);
}
