#include "agent/pods/status.h"

#include <stdbool.h>
#include <string.h>

#include "agent/pods/qos.h"
#include "common/api/make.h"
#include "common/base/buf.h"
#include "common/base/cleanup.h"

struct building {
	const struct pod_report *report;
	struct arena *arena;
	CoreV1__PodStatus *status;
	bool succeeded;
};

static char *borrow(const char *text)
{
	return (char *)text;
}

static const char *end_reason(const struct container_run *run)
{
	if (run->reason != NULL)
		return run->reason;
	return run->oom ? "OOMKilled" : run->exit_code == 0 ? "Completed" : "Error";
}

static CoreV1__ContainerStateTerminated *terminated(struct arena *a, const struct container_run *run)
{
	CoreV1__ContainerStateTerminated *t = make(a, CoreV1__ContainerStateTerminated,
		core_v1__container_state_terminated);

	make_set(t, exitcode, run->exit_code);
	if (run->signal != 0)
		make_set(t, signal, run->signal);
	t->reason = borrow(end_reason(run));
	t->message = borrow(run->message);
	t->startedat = make_time(a, run->started_ns);
	t->finishedat = make_time(a, run->finished_ns);
	if (!text_empty(run->id))
		t->containerid = arena_printf(a, "crun://%s", run->id);
	return t;
}

static void set_waiting(struct building *b, CoreV1__ContainerState *state, const char *reason,
	const char *message)
{
	state->waiting = make(b->arena, CoreV1__ContainerStateWaiting, core_v1__container_state_waiting);
	state->waiting->reason = borrow(reason);
	state->waiting->message = borrow(message);
}

static const char *backoff_message(struct building *b, const struct container_report *c)
{
	const MetaV1__ObjectMeta *m = b->report->pod->metadata;
	long long s = c->backoff_ns / 1000000000;

	const char *delay = s >= 60 ? arena_printf(b->arena, "%lldm%llds", s / 60, s % 60)
				    : arena_printf(b->arena, "%llds", s);

	return arena_printf(b->arena, "back-off %s restarting failed container=%s pod=%s_%s(%s)", delay,
		c->spec->name, text_of(m->name), text_of(m->namespace_), text_of(m->uid));
}

/* The state of one container; last is filled when the present state is not the last end itself. */
static void fill_state(struct building *b, const struct container_report *c, CoreV1__ContainerState *state,
	CoreV1__ContainerState *last)
{
	const struct container_run *ended = NULL;
	bool has_init = b->report->pod->spec->n_initcontainers > 0;

	switch (c->facts->phase) {
	case PHASE_RUNNING:
		state->running = make(b->arena, CoreV1__ContainerStateRunning, core_v1__container_state_running);
		state->running->startedat = make_time(b->arena, c->current.started_ns);
		ended = c->last.finished_ns ? &c->last : NULL;
		break;
	case PHASE_ENDED:
		if (c->waiting_reason == NULL && !c->in_backoff) {
			state->terminated = terminated(b->arena, &c->current);
			ended = c->last.finished_ns ? &c->last : NULL;
			break;
		}
		if (c->waiting_reason != NULL)
			set_waiting(b, state, c->waiting_reason, c->waiting_message);
		else
			set_waiting(b, state, "CrashLoopBackOff", backoff_message(b, c));
		ended = &c->current;
		break;
	case PHASE_NONE:
	case PHASE_STARTING:
		if (c->waiting_reason != NULL)
			set_waiting(b, state, c->waiting_reason, c->waiting_message);
		else
			set_waiting(b, state, has_init ? "PodInitializing" : "ContainerCreating", NULL);
		ended = c->last.finished_ns ? &c->last : NULL;
		break;
	}
	if (ended != NULL)
		last->terminated = terminated(b->arena, ended);
}

static CoreV1__ContainerStatus *container_status(struct building *b, const struct container_report *c)
{
	CoreV1__ContainerStatus *s = make(b->arena, CoreV1__ContainerStatus, core_v1__container_status);
	bool running = c->facts->phase == PHASE_RUNNING;

	s->name = c->spec->name;
	s->state = make(b->arena, CoreV1__ContainerState, core_v1__container_state);
	s->laststate = make(b->arena, CoreV1__ContainerState, core_v1__container_state);
	fill_state(b, c, s->state, s->laststate);
	/* An init container is ready once it has done its work. */
	make_set(s, ready, c->facts->kind == CONTAINER_INIT
			? c->facts->phase == PHASE_ENDED && c->facts->exit_code == 0
			: running && c->ready);
	make_set(s, restartcount, c->current.attempt);
	make_set(s, started, running && c->facts->started);
	s->image = borrow(text_empty(c->current.image) ? c->spec->image : c->current.image);
	s->imageid = borrow(text_of(c->current.image_id));
	if (!text_empty(c->current.id) && c->facts->phase != PHASE_NONE)
		s->containerid = arena_printf(b->arena, "crun://%s", c->current.id);
	return s;
}

static const char *phase_of(struct building *b)
{
	const struct pod_report *r = b->report;
	bool waiting = false, failed = false;

	if (r->failed_reason != NULL)
		return r->plan->over ? "Failed" : "Running";
	for (size_t i = 0; i < r->facts->n_containers; i++) {
		const struct container_report *c = &r->containers[i];

		if (c->facts->kind != CONTAINER_MAIN) {
			failed = failed || (r->plan->failed && c->facts->kind == CONTAINER_INIT);
			continue;
		}
		failed = failed || (c->facts->phase == PHASE_ENDED && c->facts->exit_code != 0);
		waiting = waiting || c->facts->phase == PHASE_NONE ||
			(c->facts->phase == PHASE_STARTING && !c->last.finished_ns);
	}
	if (r->plan->over && !waiting)
		return failed ? "Failed" : "Succeeded";
	if (r->plan->over && (r->plan->failed || r->facts->stop))
		return "Failed";
	return waiting ? "Pending" : "Running";
}

static const CoreV1__PodCondition *find_before(const struct building *b, const char *type)
{
	const CoreV1__PodStatus *before = b->report->before;

	for (size_t i = 0; before && i < before->n_conditions; i++) {
		if (text_is(before->conditions[i]->type, type))
			return before->conditions[i];
	}
	return NULL;
}

static void add_condition(struct building *b, const char *type, bool is, const char *reason,
	const char *message)
{
	CoreV1__PodCondition *c = make(b->arena, CoreV1__PodCondition, core_v1__pod_condition);
	const CoreV1__PodCondition *before = find_before(b, type);

	c->type = borrow(type);
	c->status = borrow(is ? "True" : "False");
	c->reason = borrow(reason);
	c->message = borrow(message);
	c->lasttransitiontime = before && text_is(before->status, c->status) && before->lasttransitiontime
		? before->lasttransitiontime
		: make_time(b->arena, b->report->facts->now_ns);
	make_append(b->arena, b->status, conditions, c);
}

/* "prefix [a b]" of the containers for which wrong says so; NULL when there are none. */
static const char *name_list(struct building *b, const char *prefix, bool init,
	bool (*wrong)(const struct container_report *c))
{
	auto_with(buf_fini) struct buf text = { 0 };

	for (size_t i = 0; i < b->report->facts->n_containers; i++) {
		const struct container_report *c = &b->report->containers[i];

		if ((c->facts->kind == CONTAINER_INIT) != init && !(init && c->facts->kind == CONTAINER_SIDECAR))
			continue;
		if (wrong(c))
			buf_printf(&text, "%s%s", text.len ? " " : "", c->spec->name);
	}
	return text.len == 0 ? NULL : arena_printf(b->arena, "%s: [%s]", prefix, buf_cstr(&text));
}

static bool is_unready(const struct container_report *c)
{
	return c->facts->phase != PHASE_RUNNING || !c->ready;
}

static bool is_uninitialized(const struct container_report *c)
{
	if (c->facts->kind == CONTAINER_SIDECAR)
		return !(c->facts->phase == PHASE_RUNNING && c->facts->started);
	return !(c->facts->phase == PHASE_ENDED && c->facts->exit_code == 0);
}

static void fill_conditions(struct building *b)
{
	const struct pod_report *r = b->report;
	bool done = text_is(b->status->phase, "Succeeded") || text_is(b->status->phase, "Failed");
	const char *completed = text_is(b->status->phase, "Succeeded") ? "PodCompleted"
		: done						       ? "PodFailed"
								       : NULL;
	const char *unready = name_list(b, "containers with unready status", false, is_unready);
	const char *gate = NULL;

	add_condition(b, "PodReadyToStartContainers", r->facts->sandbox && !r->facts->released, NULL, NULL);
	if (r->plan->initialized)
		add_condition(b, "Initialized", true, text_is(b->status->phase, "Succeeded") ? completed : NULL, NULL);
	else
		add_condition(b, "Initialized", false, "ContainersNotInitialized",
			name_list(b, "containers with incomplete status", true, is_uninitialized));
	for (size_t i = 0; i < r->pod->spec->n_readinessgates && !gate; i++) {
		const char *type = text_of(r->pod->spec->readinessgates[i]->conditiontype);
		const CoreV1__PodCondition *c = find_before(b, type);

		if (c == NULL)
			gate = arena_printf(b->arena, "corresponding condition of pod readiness gate \"%s\" does not exist.",
				type);
		else if (!text_is(c->status, "True"))
			gate = arena_printf(b->arena, "the status of pod readiness gate \"%s\" is not \"True\", but %s",
				type, text_of(c->status));
	}
	if (completed != NULL) {
		add_condition(b, "Ready", false, completed, NULL);
		add_condition(b, "ContainersReady", false, completed, NULL);
	} else if (unready != NULL) {
		add_condition(b, "Ready", false, "ContainersNotReady", unready);
		add_condition(b, "ContainersReady", false, "ContainersNotReady", unready);
	} else {
		add_condition(b, "Ready", gate == NULL, gate ? "ReadinessGatesNotReady" : NULL, gate);
		add_condition(b, "ContainersReady", true, NULL, NULL);
	}
}

static void fill_addresses(struct building *b)
{
	const struct pod_report *r = b->report;

	b->status->hostip = borrow(r->host_ip);
	if (!text_empty(r->host_ip)) {
		CoreV1__HostIP *ip = make(b->arena, CoreV1__HostIP, core_v1__host_ip);

		ip->ip = borrow(r->host_ip);
		make_append(b->arena, b->status, hostips, ip);
	}
	if (!text_empty(r->pod_ip)) {
		CoreV1__PodIP *ip = make(b->arena, CoreV1__PodIP, core_v1__pod_ip);

		ip->ip = borrow(r->pod_ip);
		b->status->podip = borrow(r->pod_ip);
		make_append(b->arena, b->status, podips, ip);
	}
}

CoreV1__PodStatus *pod_status_build(const struct pod_report *report, struct arena *arena)
{
	struct building b = { .report = report,
		.arena = arena,
		.status = make(arena, CoreV1__PodStatus, core_v1__pod_status) };

	b.status->phase = borrow(phase_of(&b));
	if (report->failed_reason != NULL) {
		b.status->reason = borrow(report->failed_reason);
		b.status->message = borrow(report->failed_message);
	}
	b.status->qosclass = borrow(qos_name(pod_qos(report->pod->spec)));
	b.status->starttime = make_time(arena, report->started_ns);
	if (report->pod->metadata->has_generation)
		make_set(b.status, observedgeneration, report->pod->metadata->generation);
	fill_addresses(&b);
	for (size_t i = 0; i < report->facts->n_containers; i++) {
		CoreV1__ContainerStatus *s = container_status(&b, &report->containers[i]);

		if (report->containers[i].facts->kind == CONTAINER_MAIN)
			make_append(arena, b.status, containerstatuses, s);
		else
			make_append(arena, b.status, initcontainerstatuses, s);
	}
	fill_conditions(&b);
	return b.status;
}
