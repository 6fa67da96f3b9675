#include "agent/pods/decide.h"

#include <assert.h>

enum { BACKOFF_FIRST_S = 10, BACKOFF_MAX_S = 300 };

#define NS_PER_S INT64_C(1000000000)

bool container_restarts(enum restart_policy policy, enum container_kind kind, int exit_code)
{
	if (kind == CONTAINER_SIDECAR)
		return true;
	if (kind == CONTAINER_INIT && exit_code == 0)
		return false;
	if (policy == RESTART_NEVER)
		return false;
	return exit_code != 0 || policy == RESTART_ALWAYS;
}

int64_t restart_backoff_ns(unsigned *backoff_s, int64_t ran_ns)
{
	if (ran_ns >= 2 * BACKOFF_MAX_S * NS_PER_S)
		*backoff_s = 0;
	int64_t delay = *backoff_s * NS_PER_S;

	*backoff_s = *backoff_s == 0 ? BACKOFF_FIRST_S : *backoff_s * 2;
	if (*backoff_s > BACKOFF_MAX_S)
		*backoff_s = BACKOFF_MAX_S;
	return delay;
}

static void order(struct pod_plan *plan, enum pod_step step, size_t container)
{
	assert(plan->n_orders <= POD_CONTAINERS_MAX);
	plan->orders[plan->n_orders++] = (struct pod_order){ step, container };
}

static void wake_at(struct pod_plan *plan, int64_t when_ns)
{
	if (when_ns < plan->wake_ns)
		plan->wake_ns = when_ns;
}

static bool is_up(const struct container_facts *c)
{
	return c->phase == PHASE_RUNNING || c->phase == PHASE_STARTING;
}

/* One step towards the end of a container that runs. */
static void stop_container(const struct pod_facts *f, struct pod_plan *plan, size_t i)
{
	const struct container_facts *c = &f->containers[i];

	if (c->phase != PHASE_RUNNING)
		return; /* Whoever starts it comes back here. */
	if (c->stop == STOP_NOT) {
		order(plan, STEP_STOP, i);
	} else if (c->stop != STOP_KILL) {
		if (f->now_ns >= c->kill_at_ns)
			order(plan, STEP_KILL, i);
		else
			wake_at(plan, c->kill_at_ns);
	} else if (f->now_ns >= c->kill_at_ns) {
		order(plan, STEP_KILL, i); /* Again: the first may have been lost. */
	} else {
		wake_at(plan, c->kill_at_ns);
	}
}

/* Main and init containers together, then the sidecars one after the other, last one first. */
static void stop_all(const struct pod_facts *f, struct pod_plan *plan)
{
	bool up = false;

	for (size_t i = 0; i < f->n_containers; i++) {
		if (f->containers[i].kind == CONTAINER_SIDECAR)
			continue;
		up = up || is_up(&f->containers[i]);
		stop_container(f, plan, i);
	}
	for (size_t i = f->n_containers; i > 0 && !up; i--) {
		if (f->containers[i - 1].kind != CONTAINER_SIDECAR || !is_up(&f->containers[i - 1]))
			continue;
		up = true;
		stop_container(f, plan, i - 1);
	}
	if (up)
		return;
	plan->over = true;
	if (!f->released && !f->busy)
		order(plan, STEP_RELEASE, 0);
}

/* Get a container going that should run and does not. */
static void start_container(const struct pod_facts *f, struct pod_plan *plan, size_t i)
{
	const struct container_facts *c = &f->containers[i];

	if (f->now_ns < c->not_before_ns)
		wake_at(plan, c->not_before_ns);
	else if (!c->image_ready)
		order(plan, STEP_PULL, i);
	else if (!f->busy)
		order(plan, STEP_START, i);
}

/* A container that should run: start it, stop it for a restart, or let it be. */
static void tend_container(const struct pod_facts *f, struct pod_plan *plan, size_t i)
{
	const struct container_facts *c = &f->containers[i];

	switch (c->phase) {
	case PHASE_NONE:
	case PHASE_ENDED:
		start_container(f, plan, i);
		break;
	case PHASE_RUNNING:
		if (c->kill || c->stop != STOP_NOT)
			stop_container(f, plan, i);
		break;
	case PHASE_STARTING:
		break;
	}
}

static bool main_was_started(const struct pod_facts *f)
{
	for (size_t i = 0; i < f->n_containers; i++) {
		if (f->containers[i].kind == CONTAINER_MAIN && f->containers[i].phase != PHASE_NONE)
			return true;
	}
	return false;
}

/* All main containers have ended and none of them comes back. */
static bool main_is_done(const struct pod_facts *f)
{
	for (size_t i = 0; i < f->n_containers; i++) {
		const struct container_facts *c = &f->containers[i];

		if (c->kind == CONTAINER_MAIN &&
			(c->phase != PHASE_ENDED || container_restarts(f->policy, c->kind, c->exit_code)))
			return false;
	}
	return true;
}

/* Init containers one after the other, sidecars as they come. Sets initialized when the main ones may run. */
static void tend_init(const struct pod_facts *f, struct pod_plan *plan)
{
	bool main_started = main_was_started(f);

	for (size_t i = 0; i < f->n_containers; i++) {
		const struct container_facts *c = &f->containers[i];

		if (c->kind == CONTAINER_SIDECAR) {
			tend_container(f, plan, i);
			if (!main_started && !(c->phase == PHASE_RUNNING && c->started))
				return;
		} else if (c->kind == CONTAINER_INIT && !main_started) {
			if (c->phase == PHASE_ENDED && c->exit_code == 0)
				continue;
			if (c->phase == PHASE_ENDED && !container_restarts(f->policy, c->kind, c->exit_code)) {
				plan->failed = true;
				return;
			}
			tend_container(f, plan, i);
			return;
		}
	}
	plan->initialized = true;
}

/* Every image that is still missing may be fetched right away: starting waits for its turn, pulling need not. */
static void pull_ahead(const struct pod_facts *f, struct pod_plan *plan)
{
	for (size_t i = 0; i < f->n_containers; i++) {
		const struct container_facts *c = &f->containers[i];
		bool ordered = false;

		for (size_t k = 0; k < plan->n_orders; k++)
			ordered = ordered || (plan->orders[k].step != STEP_SANDBOX && plan->orders[k].container == i);
		if (c->phase == PHASE_NONE && !c->image_ready && !ordered && f->now_ns >= c->not_before_ns)
			order(plan, STEP_PULL, i);
	}
}

void pod_decide(const struct pod_facts *f, struct pod_plan *plan)
{
	*plan = (struct pod_plan){ .wake_ns = INT64_MAX };
	assert(f->n_containers <= POD_CONTAINERS_MAX);

	if (f->released) {
		plan->over = true;
		plan->initialized = main_was_started(f);
		return;
	}
	if (f->stop) {
		plan->initialized = main_was_started(f);
		stop_all(f, plan);
		return;
	}
	if (main_is_done(f)) {
		plan->initialized = true;
		stop_all(f, plan); /* Sidecars still run. */
		return;
	}
	if (!f->sandbox) {
		if (f->now_ns < f->sandbox_not_before_ns)
			wake_at(plan, f->sandbox_not_before_ns);
		else if (!f->busy)
			order(plan, STEP_SANDBOX, 0);
		plan->initialized = main_was_started(f);
		pull_ahead(f, plan);
		return;
	}
	tend_init(f, plan);
	if (plan->failed) {
		plan->n_orders = 0;
		stop_all(f, plan);
		return;
	}
	for (size_t i = 0; plan->initialized && i < f->n_containers; i++) {
		const struct container_facts *c = &f->containers[i];

		if (c->kind == CONTAINER_MAIN &&
			(c->phase != PHASE_ENDED || container_restarts(f->policy, c->kind, c->exit_code)))
			tend_container(f, plan, i);
	}
	pull_ahead(f, plan);
}
