#include <stdlib.h>
#include <string.h>

#include "common/api/kinds.h"
#include "common/api/make.h"
#include "common/api/pack.h"
#include "common/base/alloc.h"
#include "proto/k8s/core_v1.pb-c.h"
#include "tests/sim/cluster/chaos.h"
#include "tests/sim/cluster/clients.h"
#include "tests/sim/cluster/oracle.h"

#define MS 1000000ull

bool lives_runs(const struct agent_pod *pod)
{
	return pod->life != LIFE_OVER;
}

struct agent_pod *lives_find(struct agent *a, const char *uid)
{
	for (size_t i = 0; i < a->n_pods; i++)
		if (strcmp(a->pods[i].uid, uid) == 0)
			return &a->pods[i];
	return NULL;
}

static uint64_t soon_ns(struct chaos *c, unsigned ms_max)
{
	return c->sim.now_ns + (1 + sim_draw(&c->sim, ms_max)) * MS;
}

static void poll_by(struct agent *a, uint64_t at_ns)
{
	if (at_ns < a->next_poll_ns)
		a->next_poll_ns = at_ns;
}

/* --- Reports ----------------------------------------------------------------------------- */

struct report {
	struct chaos *chaos;
	struct agent *agent;
	const char *uid;
	bool gone;
};

/* A pod that is over and stays, because of its finalizers, need not be told of at once again. */
static void on_reported(void *ctx, const void *response)
{
	const SampanMaster__WriteResponse *answer = response;
	struct report *r = ctx;
	struct agent_pod *pod = lives_find(r->agent, r->uid);

	if (pod == NULL)
		return;
	pod->asked_until_ns =
		r->gone && answer->code == 200 ? r->chaos->sim.now_ns + 10000 * MS : 0;
	poll_by(r->agent, pod->asked_until_ns != 0 ? pod->asked_until_ns : soon_ns(r->chaos, 200));
}

static void report(struct chaos *c, struct agent *a, struct agent_pod *pod,
		   SampanMaster__WriteRequest *request, bool gone)
{
	struct report *r = arena_new(&c->sim.arena, struct report);

	*r = (struct report){ c, a, pod->uid, gone };
	pod->asked_until_ns = c->sim.now_ns + 5000 * MS;
	poll_by(a, pod->asked_until_ns);
	/* Taken by the leader on the agent's behalf; lost with it, then asked again. */
	if (chaos_chance(c, c->agents.loss_percent)) {
		c->figures.messages_lost++;
		return;
	}
	writes_submit(c->sim.masters[a->leader].writes, request, 4000, on_reported, r);
}

static CoreV1__PodCondition *condition_of(struct arena *a, CoreV1__PodStatus *s, const char *type)
{
	CoreV1__PodCondition *condition;

	for (size_t i = 0; i < s->n_conditions; i++)
		if (text_is(s->conditions[i]->type, type))
			return s->conditions[i];
	condition = make(a, CoreV1__PodCondition, core_v1__pod_condition);
	condition->type = arena_strdup(a, type);
	make_append(a, s, conditions, condition);
	return condition;
}

static enum pod_phase phase_of(const struct agent_pod *pod)
{
	return pod->life == LIFE_STARTING ? PHASE_PENDING
	       : pod->life != LIFE_OVER   ? PHASE_RUNNING
	       : pod->succeeded           ? PHASE_SUCCEEDED
					  : PHASE_FAILED;
}

static bool shows(const struct object *o, const struct agent_pod *pod)
{
	const struct pod_facts *f = o->facts.pod;

	return f->phase == phase_of(pod) && f->ready == (pod->life == LIFE_READY) &&
	       (pod->ip == 0) == (f->ip[0] == '\0') && f->restarts == (int32_t)pod->restarts;
}

static void set_container_status(struct arena *arena, CoreV1__PodStatus *status,
				 const struct agent_pod *pod)
{
	CoreV1__ContainerStatus *s =
		make(arena, CoreV1__ContainerStatus, core_v1__container_status);

	s->name = (char *)"c";
	s->state = make(arena, CoreV1__ContainerState, core_v1__container_state);
	make_set(s, ready, pod->life == LIFE_READY);
	make_set(s, restartcount, (int32_t)pod->restarts);
	if (pod->life == LIFE_OVER) {
		s->state->terminated = make(arena, CoreV1__ContainerStateTerminated,
					    core_v1__container_state_terminated);
		make_set(s->state->terminated, exitcode, (int32_t)pod->exit_code);
	} else if (pod->life != LIFE_STARTING) {
		s->state->running = make(arena, CoreV1__ContainerStateRunning,
					 core_v1__container_state_running);
	}
	status->n_containerstatuses = 0;
	make_append(arena, status, containerstatuses, s);
}

/* As controlplane/nodes makes it of an agent's report: the status replaced, others' conditions
 * kept. */
static void report_status(struct chaos *c, struct agent *a, struct agent_pod *pod,
			  const struct object *o)
{
	static const char *const phases[] = { "Pending", "Running", "Succeeded", "Failed" };
	struct arena *arena = &c->scratch;
	CoreV1__Pod *message = unpack_stored(o->kind->descriptor, o->packed, arena);
	int64_t now_ns = writes_now_ns(c->sim.masters[a->leader].writes);
	SampanMaster__WriteRequest *request;
	CoreV1__PodCondition *ready;
	struct bytes packed;

	if (message->status == NULL)
		message->status = make(arena, CoreV1__PodStatus, core_v1__pod_status);
	message->status->phase = arena_strdup(arena, phases[phase_of(pod)]);
	message->status->podip = NULL;
	if (pod->ip != 0)
		message->status->podip = arena_printf(
			arena, "10.200.%u.%u", a->number * 25 + pod->ip / 250, pod->ip % 250 + 1);
	if (message->status->starttime == NULL)
		message->status->starttime = make_time(arena, now_ns);
	set_container_status(arena, message->status, pod);
	ready = condition_of(arena, message->status, "Ready");
	ready->status = arena_strdup(arena, pod->life == LIFE_READY ? "True" : "False");
	ready->reason = NULL;
	ready->lasttransitiontime = make_time(arena, now_ns);
	packed = pack_message_in(arena, message);
	request = sim_request(&c->sim, VERB(UPDATE), "pods", o->namespace, o->name, NULL);
	request->subresource = (char *)"status";
	request->has_body = true;
	request->body = (ProtobufCBinaryData){ packed.len, (uint8_t *)packed.data };
	report(c, a, pod, request, false);
}

static void report_gone(struct chaos *c, struct agent *a, struct agent_pod *pod)
{
	struct arena *arena = &c->scratch;
	MetaV1__DeleteOptions *options =
		make(arena, MetaV1__DeleteOptions, meta_v1__delete_options);
	struct bytes packed;
	SampanMaster__WriteRequest *request =
		sim_request(&c->sim, VERB(DELETE), "pods", pod->namespace, pod->name, NULL);

	options->preconditions = make(arena, MetaV1__Preconditions, meta_v1__preconditions);
	options->preconditions->uid = pod->uid;
	make_set(options, graceperiodseconds, 0);
	packed = pack_message_in(arena, options);
	request->has_delete_options = true;
	request->delete_options = (ProtobufCBinaryData){ packed.len, (uint8_t *)packed.data };
	report(c, a, pod, request, true);
}

/* --- Polls ------------------------------------------------------------------------------- */

static unsigned number_in(const CoreV1__Pod *message, const char *annotation)
{
	const char *text = meta_annotation(message->metadata, annotation);

	return text != NULL ? (unsigned)strtoul(text, NULL, 10) : 0;
}

static struct agent_pod *take_new(struct chaos *c, struct agent *a, const struct object *o)
{
	const CoreV1__Pod *message = unpack_stored(o->kind->descriptor, o->packed, &c->scratch);
	enum pod_phase phase = o->facts.pod->phase;
	struct agent_pod *pod;

	array_grow(a->pods, a->n_pods, a->cap_pods);
	pod = &a->pods[a->n_pods++];
	*pod = (struct agent_pod){
		.namespace = arena_strdup(&c->sim.arena, o->namespace),
		.name = arena_strdup(&c->sim.arena, o->name),
		.uid = arena_strdup(&c->sim.arena, o->facts.uid),
		.restarts_always = text_is(message->spec->restartpolicy, "Always"),
		.restarts_on_failure = text_is(message->spec->restartpolicy, "OnFailure"),
		.fails_percent = number_in(message, "fails"),
		.runs_ms = number_in(message, "runs"),
		.restarts = (unsigned)o->facts.pod->restarts,
		.next_ns = soon_ns(c, 1500),
	};
	/* What is over is not run again. */
	if (phase == PHASE_FAILED || phase == PHASE_SUCCEEDED) {
		pod->life = LIFE_OVER;
		pod->succeeded = phase == PHASE_SUCCEEDED;
		pod->next_ns = UINT64_MAX;
	} else {
		oracle_pod_taken(c, a, pod);
	}
	return pod;
}

void lives_take(struct chaos *c, struct agent *a, const struct object *o)
{
	struct agent_pod *pod = lives_find(a, o->facts.uid);

	if (pod == NULL)
		pod = take_new(c, a, o);
	pod->seen = true;
	if (o->facts.deleted_ns != 0 && pod->life < LIFE_STOPPING) {
		pod->life = LIFE_STOPPING;
		pod->next_ns = soon_ns(c, 2000);
	}
	if (pod->asked_until_ns > c->sim.now_ns) {
		poll_by(a, pod->asked_until_ns);
		return;
	}
	if (pod->life != LIFE_STOPPING && !shows(o, pod))
		report_status(c, a, pod, o);
	if (pod->life == LIFE_OVER && o->facts.deleted_ns != 0)
		report_gone(c, a, pod);
}

void lives_polled(struct chaos *c, struct agent *a)
{
	for (size_t i = a->n_pods; i > 0; i--) {
		struct agent_pod *pod = &a->pods[i - 1];

		if (pod->seen)
			continue;
		if (pod->life == LIFE_OVER) {
			*pod = a->pods[--a->n_pods];
		} else if (pod->life != LIFE_STOPPING) {
			pod->life = LIFE_STOPPING;
			pod->next_ns = soon_ns(c, 1000);
		}
	}
}

/* --- Lives ------------------------------------------------------------------------------- */

static void end(struct chaos *c, struct agent *a, struct agent_pod *pod, bool succeeded)
{
	pod->life = LIFE_OVER;
	pod->succeeded = succeeded;
	pod->exit_code = succeeded ? 0 : 1 + sim_draw(&c->sim, 3);
	pod->next_ns = UINT64_MAX;
	chaos_trace(c, "%s: pod %s/%s has %s", a->name, pod->namespace, pod->name,
		    succeeded ? "succeeded" : "failed");
}

static void start(struct chaos *c, struct agent *a, struct agent_pod *pod)
{
	if (chaos_chance(c, c->agents.crash_percent)) {
		end(c, a, pod, false); /* The machine did not want it. */
		return;
	}
	pod->life = LIFE_RUNNING;
	pod->ip = ++a->ips;
	pod->next_ns = soon_ns(c, 1000);
}

/* What runs to an end has come to it. */
static void finish(struct chaos *c, struct agent *a, struct agent_pod *pod)
{
	bool fails = chaos_chance(c, pod->fails_percent);

	if (fails && !pod->restarts_on_failure) {
		end(c, a, pod, false);
	} else if (fails) {
		pod->restarts++;
		pod->life = LIFE_RUNNING;
		pod->next_ns = soon_ns(c, 10000);
	} else {
		end(c, a, pod, true);
	}
}

static void go_on_running(struct chaos *c, struct agent *a, struct agent_pod *pod)
{
	if (pod->runs_ms > 0 && !pod->restarts_always) {
		finish(c, a, pod);
		return;
	}
	pod->next_ns = c->agents.probe_percent > 0 ? soon_ns(c, 30000) : UINT64_MAX;
	if (!chaos_chance(c, c->agents.probe_percent))
		return;
	/* A probe fails, or a container has to be begun again. */
	pod->life = LIFE_RUNNING;
	pod->next_ns = soon_ns(c, 5000);
	pod->restarts += sim_draw(&c->sim, 3) == 0;
}

static void next_stage(struct chaos *c, struct agent *a, struct agent_pod *pod)
{
	switch (pod->life) {
	case LIFE_STARTING:
		start(c, a, pod);
		break;
	case LIFE_RUNNING:
		pod->life = LIFE_READY;
		pod->next_ns = pod->runs_ms > 0 && !pod->restarts_always ? soon_ns(c, pod->runs_ms)
			       : c->agents.probe_percent > 0             ? soon_ns(c, 30000)
									 : UINT64_MAX;
		break;
	case LIFE_READY:
		go_on_running(c, a, pod);
		break;
	case LIFE_STOPPING:
		end(c, a, pod, sim_draw(&c->sim, 2) == 0);
		break;
	case LIFE_OVER:
		pod->next_ns = UINT64_MAX;
		break;
	}
}

void lives_turn(struct chaos *c, struct agent *a)
{
	bool any = false;

	for (size_t i = 0; i < a->n_pods; i++) {
		if (a->pods[i].next_ns > c->sim.now_ns)
			continue;
		next_stage(c, a, &a->pods[i]);
		any = true;
	}
	if (any)
		poll_by(a, soon_ns(c, 200));
}

void lives_reboot(struct chaos *c, struct agent *a)
{
	for (size_t i = 0; i < a->n_pods; i++) {
		struct agent_pod *pod = &a->pods[i];

		pod->asked_until_ns = 0;
		if (pod->life == LIFE_OVER)
			continue;
		if (pod->life != LIFE_STOPPING) {
			pod->life = LIFE_STARTING;
			pod->ip = 0;
		}
		pod->next_ns = soon_ns(c, 3000);
		oracle_pod_taken(c, a, pod);
	}
}
