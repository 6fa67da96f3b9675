/* Nodes. An agent asks the leader what it should run, brings its pods through
 *
 *   STARTING --> RUNNING --> READY <--> RUNNING (a probe fails)
 *       |           |          |
 *       +-> FAILED  +----------+--> STOPPING --> GONE (told to the leader)
 *
 * and reports what differs from what the leader shows. Questions and reports get
 * lost; machines fall silent, lose everything, or are only cut off. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/kinds.h"
#include "common/api/make.h"
#include "common/api/pack.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "proto/k8s/core_v1.pb-c.h"
#include "tests/sim/cluster/chaos.h"

#define MS 1000000ull
#define SILENCE_WAKE_NS (7000 * MS)

static struct agent *agent_named(struct chaos *c, const char *name)
{
	for (unsigned i = 0; i < NODES; i++)
		if (strcmp(c->agents[i].name, name) == 0)
			return &c->agents[i];
	return NULL;
}

void agents_init(struct chaos *c)
{
	for (unsigned i = 0; i < NODES; i++) {
		c->agents[i] = (struct agent){ .number = i, .up = true };
		snprintf(c->agents[i].name, sizeof(c->agents[i].name), "node-%u", i);
	}
}

void agents_fini(struct chaos *c)
{
	for (unsigned i = 0; i < NODES; i++)
		free(c->agents[i].pods);
}

/* --- Silence, as the leader counts it ---------------------------------------------------- */

void agents_leader_changed(struct chaos *c, unsigned master)
{
	c->leading_since_ns[master] = c->sim.now_ns;
	memset(c->silent, 0, sizeof(c->silent));
}

int64_t agents_silence_ms(void *ctx, unsigned master, const char *node)
{
	struct chaos *c = ctx;
	const struct agent *a = agent_named(c, node);
	uint64_t since;

	if (a == NULL)
		return -1;
	since = c->heard_ns[master][a->number];
	if (c->leading_since_ns[master] > since)
		since = c->leading_since_ns[master];
	return (int64_t)((c->sim.now_ns - since) / MS);
}

/* Silence changes nothing in the store, so whoever counts wakes the controller. */
static void wake_on_silence(struct chaos *c, const struct agent *a)
{
	unsigned leader = (unsigned)c->sim.leader;
	bool silent = (uint64_t)agents_silence_ms(c, leader, a->name) * MS >= SILENCE_WAKE_NS;

	if (silent == c->silent[a->number])
		return;
	c->silent[a->number] = silent;
	deciding_mark(c->sim.masters[leader].deciding, "node-controller", "", a->name);
}

/* --- Reports -------------------------------------------------------------------------------- */

struct report {
	uint64_t *asked_until_ns;
	struct agent *agent;
	char *uid; /* NULL: about the Node. */
};

static void on_reported(void *ctx, const void *response)
{
	struct report *r = ctx;

	if (r->uid == NULL)
		r->agent->asked_until_ns = 0;
	for (size_t i = 0; r->uid != NULL && i < r->agent->n_pods; i++)
		if (strcmp(r->agent->pods[i].uid, r->uid) == 0)
			r->agent->pods[i].asked_until_ns = 0;
}

static void report(struct chaos *c, struct agent *a, struct agent_pod *pod,
		   SampanMaster__WriteRequest *request)
{
	struct report *r = arena_new(&c->sim.arena, struct report);
	uint64_t until_ns = c->sim.now_ns + 5000 * MS;

	r->agent = a;
	if (pod != NULL) {
		r->uid = pod->uid;
		pod->asked_until_ns = until_ns;
	} else {
		a->asked_until_ns = until_ns;
	}
	/* Taken by the leader on the agent's behalf; lost with it, then asked again. */
	if (chaos_chance(c, c->agent_loss_percent)) {
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

static const char *phase_of(enum pod_life life)
{
	return life == LIFE_STARTING ? "Pending" : life == LIFE_FAILED ? "Failed" : "Running";
}

static bool shows(const struct object *o, const struct agent_pod *pod)
{
	enum pod_phase phase = pod->life == LIFE_STARTING ? PHASE_PENDING
			       : pod->life == LIFE_FAILED ? PHASE_FAILED
							  : PHASE_RUNNING;

	return o->facts.pod->phase == phase && o->facts.pod->ready == (pod->life == LIFE_READY) &&
	       (pod->ip == 0) == (o->facts.pod->ip[0] == '\0');
}

/* As controlplane/nodes makes it of an agent's report: the status replaced, others' conditions
 * kept. */
static void report_status(struct chaos *c, struct agent *a, struct agent_pod *pod,
			  const struct object *o)
{
	struct arena *arena = &c->sim.arena;
	CoreV1__Pod *message = unpack_stored(o->kind->descriptor, o->packed, arena);
	SampanMaster__WriteRequest *request;
	CoreV1__PodCondition *ready;
	struct bytes packed;

	if (message->status == NULL)
		message->status = make(arena, CoreV1__PodStatus, core_v1__pod_status);
	message->status->phase = arena_strdup(arena, phase_of(pod->life));
	message->status->podip = NULL;
	if (pod->ip != 0)
		message->status->podip = arena_printf(
			arena, "10.200.%u.%u", a->number * 60 + pod->ip / 250, pod->ip % 250 + 1);
	ready = condition_of(arena, message->status, "Ready");
	ready->status = arena_strdup(arena, pod->life == LIFE_READY ? "True" : "False");
	ready->reason = NULL;
	ready->lasttransitiontime =
		make_time(arena, writes_now_ns(c->sim.masters[a->leader].writes));
	packed = pack_message_in(arena, message);
	request = sim_request(&c->sim, VERB(UPDATE), "pods", o->namespace, o->name, NULL);
	request->subresource = (char *)"status";
	request->has_body = true;
	request->body = (ProtobufCBinaryData){ packed.len, (uint8_t *)packed.data };
	report(c, a, pod, request);
}

static void report_gone(struct chaos *c, struct agent *a, struct agent_pod *pod)
{
	struct arena *arena = &c->sim.arena;
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
	report(c, a, pod, request);
}

/* --- The Node ----------------------------------------------------------------------------------
 */

/* Nodes differ: every second one is small. */
static unsigned cores(const struct chaos *c, const struct agent *a)
{
	return c->healed ? 64 : a->number % 2 ? 1 : 2;
}

static void report_node(struct chaos *c, struct agent *a, const struct object *node)
{
	SampanMaster__WriteRequest *request;
	const char *json = arena_printf(
		&c->sim.arena,
		"{'metadata':{'name':'%s','labels':{'zone':'%c'}},'status':{'allocatable':{'cpu':'%u',"
		"'memory':'%uGi','pods':'%u'},'conditions':[{'type':'Ready','status':'True'}]}}",
		a->name, a->number % 2 ? 'b' : 'a', cores(c, a), cores(c, a),
		a->number % 2 && !c->healed ? 8 : 110);

	if (a->asked_until_ns > c->sim.now_ns)
		return;
	if (node == NULL) {
		request = sim_request(&c->sim, VERB(CREATE), "nodes", "", a->name, json);
	} else {
		request = sim_request(&c->sim, VERB(PATCH), "nodes", "", a->name, json);
		request->subresource = (char *)"status";
	}
	report(c, a, NULL, request);
}

/* --- Pods ----------------------------------------------------------------------------------------
 */

static void forget_pod(struct agent *a, size_t i)
{
	a->pods[i] = a->pods[--a->n_pods];
}

static struct agent_pod *pod_of(struct agent *a, const char *uid)
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

struct poll {
	struct chaos *chaos;
	struct agent *agent;
};

static bool on_assigned(void *ctx, const struct object *o)
{
	struct poll *poll = ctx;
	struct chaos *c = poll->chaos;
	struct agent *a = poll->agent;
	struct agent_pod *pod = pod_of(a, o->facts.uid);
	enum pod_phase phase = o->facts.pod->phase;

	if (pod == NULL) {
		array_grow(a->pods, a->n_pods, a->cap_pods);
		pod = &a->pods[a->n_pods++];
		*pod = (struct agent_pod){
			.namespace = arena_strdup(&c->sim.arena, o->namespace),
			.name = arena_strdup(&c->sim.arena, o->name),
			.uid = arena_strdup(&c->sim.arena, o->facts.uid),
			.next_ns = soon_ns(c, 1500),
		};
		/* What is over is not run again. */
		if (phase == PHASE_FAILED || phase == PHASE_SUCCEEDED)
			pod->life = LIFE_FAILED;
	}
	pod->seen = true;
	if (o->facts.deleted_ns != 0 && pod->life < LIFE_STOPPING) {
		pod->next_ns = pod->life == LIFE_FAILED ? c->sim.now_ns : soon_ns(c, 2000);
		pod->life = LIFE_STOPPING;
	}
	if (pod->life < LIFE_STOPPING && pod->asked_until_ns <= c->sim.now_ns && !shows(o, pod))
		report_status(c, a, pod, o);
	else if (pod->life == LIFE_GONE && pod->asked_until_ns <= c->sim.now_ns)
		report_gone(c, a, pod);
	return true;
}

/* The next stage of a pod's life. */
static void pod_next(struct chaos *c, struct agent *a, struct agent_pod *pod)
{
	switch (pod->life) {
	case LIFE_STARTING:
		pod->life = sim_draw(&c->sim, 40) == 0 ? LIFE_FAILED : LIFE_RUNNING;
		pod->ip = pod->life == LIFE_RUNNING ? ++a->ips : 0;
		pod->next_ns = soon_ns(c, 1000);
		break;
	case LIFE_RUNNING:
		pod->life = LIFE_READY;
		pod->next_ns = soon_ns(c, 30000);
		break;
	case LIFE_READY:
		if (sim_draw(&c->sim, 4) == 0 && c->agent_loss_percent > 0)
			pod->life = LIFE_RUNNING; /* A probe fails. */
		pod->next_ns = soon_ns(c, 30000);
		break;
	case LIFE_STOPPING:
		pod->life = LIFE_GONE;
		break;
	case LIFE_FAILED:
	case LIFE_GONE:
		pod->next_ns = UINT64_MAX;
		break;
	}
}

/* --- Turns
 * ------------------------------------------------------------------------------------------ */

static void heard(struct chaos *c, struct agent *a)
{
	uint64_t now = c->sim.now_ns;

	c->heard_ns[a->leader][a->number] = now;
	if (a->leader != (unsigned)c->sim.leader)
		return; /* One that nobody follows any more. */
	if (now - a->heard_ns > SILENCE_WAKE_NS)
		a->before_ns = a->heard_ns;
	else if (now - a->heard_ns > 0)
		a->before_ns = 0;
	a->heard_ns = now;
}

static void poll(struct chaos *c, struct agent *a)
{
	const struct store *s = c->sim.masters[a->leader].store;
	const struct object *node = store_get(s, kind_of_resource("nodes"), "", a->name);

	heard(c, a);
	if (node == NULL || node->facts.node->ready != 1 ||
	    node->facts.node->cpu_milli != 1000 * cores(c, a))
		report_node(c, a, node);
	for (size_t i = 0; i < a->n_pods; i++)
		a->pods[i].seen = false;
	store_walk_node_pods(s, a->name, on_assigned, &(struct poll){ c, a });
	for (size_t i = a->n_pods; i > 0; i--)
		if (!a->pods[i - 1].seen)
			forget_pod(a, i - 1);
}

/* Whoever says so, also when it is not true any more. */
static bool find_leader(struct chaos *c, struct agent *a)
{
	bool stale = c->stale >= 0 && c->sim.masters[c->stale].leading;

	if (stale && (c->sim.leader < 0 || sim_draw(&c->sim, 2) == 0))
		a->leader = (unsigned)c->stale;
	else if (c->sim.leader >= 0)
		a->leader = (unsigned)c->sim.leader;
	else
		return false;
	return true;
}

void agents_turn(struct chaos *c, uint64_t poll_us_max)
{
	uint64_t now = c->sim.now_ns;

	for (unsigned i = 0; i < NODES; i++) {
		struct agent *a = &c->agents[i];

		for (size_t k = 0; a->up && k < a->n_pods; k++)
			if (a->pods[k].next_ns <= now)
				pod_next(c, a, &a->pods[k]);
		if (a->up && a->next_poll_ns <= now) {
			a->next_poll_ns =
				now + (1 + sim_draw(&c->sim, (unsigned)poll_us_max)) * 1000ull;
			if (find_leader(c, a) && !a->cut_off &&
			    !chaos_chance(c, c->agent_loss_percent))
				poll(c, a);
			else
				c->figures.messages_lost++;
		}
		if (c->sim.leader >= 0)
			wake_on_silence(c, a);
	}
}

/* --- Faults
 * ------------------------------------------------------------------------------------------ */

static void come_back(struct chaos *c, struct agent *a)
{
	if (!a->up) {
		a->n_pods = 0; /* The machine was off: nothing runs there any more. */
		a->up = true;
	}
	a->cut_off = false;
	a->next_poll_ns = 0;
	a->asked_until_ns = 0;
}

void agents_fault(struct chaos *c)
{
	struct agent *a = &c->agents[sim_draw(&c->sim, NODES)];

	c->figures.node_faults++;
	if (!a->up || a->cut_off) {
		come_back(c, a);
		chaos_trace(c, "%s is back", a->name);
	} else if (sim_draw(&c->sim, 2) == 0) {
		a->up = false;
		chaos_trace(c, "%s loses power", a->name);
	} else {
		a->cut_off = true;
		chaos_trace(c, "%s is cut off", a->name);
	}
}

void agents_heal(struct chaos *c)
{
	for (unsigned i = 0; i < NODES; i++)
		come_back(c, &c->agents[i]);
	c->agent_loss_percent = 0;
	c->healed = true;
}
