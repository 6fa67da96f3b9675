#include "tests/sim/cluster/agents.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/kinds.h"
#include "common/api/storage_names.h"
#include "common/base/alloc.h"
#include "tests/sim/cluster/chaos.h"
#include "tests/sim/cluster/clients.h"

#define MS 1000000ull
#define SILENCE_WAKE_NS (7000 * MS)

struct agent *agents_named(struct chaos *c, const char *name)
{
	for (unsigned i = 0; i < c->agents.n; i++)
		if (strcmp(c->agents.all[i].name, name) == 0)
			return &c->agents.all[i];
	return NULL;
}

void agents_init(struct chaos *c, unsigned n)
{
	c->agents.n = n;
	for (unsigned i = 0; i < n; i++) {
		c->agents.all[i] = (struct agent){ .number = i, .up = true, .session = -1 };
		snprintf(c->agents.all[i].name, sizeof(c->agents.all[i].name), "node-%u", i);
	}
}

void agents_fini(struct chaos *c)
{
	for (unsigned i = 0; i < c->agents.n; i++)
		free(c->agents.all[i].pods);
}

/* --- Silence, as the leader counts it ---------------------------------------------------- */

/* Every poll comes through, so there is no need to make those that change nothing. */
static bool is_attached(const struct chaos *c, const struct agent *a)
{
	return a->up && !a->cut_off && c->agents.loss_percent == 0 && c->sim.leader >= 0 &&
	       c->stale < 0;
}

static void poll_by(struct agent *a, uint64_t at_ns)
{
	if (at_ns < a->next_poll_ns)
		a->next_poll_ns = at_ns;
}

static void poll_within(struct chaos *c, struct agent *a, unsigned ms)
{
	poll_by(a, c->sim.now_ns + (1 + sim_draw(&c->sim, ms)) * MS);
}

void agents_leader_changed(struct chaos *c, unsigned master)
{
	c->agents.leading_since_ns[master] = c->sim.now_ns;
	for (unsigned i = 0; i < c->agents.n; i++) {
		c->agents.all[i].silent = false;
		poll_within(c, &c->agents.all[i], 300);
	}
}

static uint64_t heard_last_ns(const struct chaos *c, unsigned master, const struct agent *a)
{
	uint64_t since = c->agents.heard_ns[master][a->number];

	if ((int)master == c->sim.leader && is_attached(c, a))
		return c->sim.now_ns;
	return c->agents.leading_since_ns[master] > since ? c->agents.leading_since_ns[master]
							  : since;
}

int64_t agents_silence_ms(void *ctx, unsigned master, const char *node)
{
	struct chaos *c = ctx;
	const struct agent *a = agents_named(c, node);

	return a == NULL ? -1 : (int64_t)((c->sim.now_ns - heard_last_ns(c, master, a)) / MS);
}

/* Silence changes nothing in the store, so whoever counts wakes the controller. */
static void wake_on_silence(struct chaos *c, struct agent *a)
{
	unsigned leader = (unsigned)c->sim.leader;
	bool silent = c->sim.now_ns - heard_last_ns(c, leader, a) >= SILENCE_WAKE_NS;

	if (silent == a->silent)
		return;
	a->silent = silent;
	deciding_mark(c->sim.masters[leader].deciding, "node-controller", "", a->name);
}

static void heard(struct chaos *c, struct agent *a)
{
	uint64_t now = c->sim.now_ns;

	c->agents.heard_ns[a->leader][a->number] = now;
	if (a->leader != (unsigned)c->sim.leader)
		return; /* One that nobody follows any more. */
	if (now - a->heard_ns > SILENCE_WAKE_NS)
		a->before_ns = a->heard_ns;
	else if (now - a->heard_ns > 0)
		a->before_ns = 0;
	a->heard_ns = now;
}

void agents_note_heard(struct chaos *c)
{
	for (unsigned i = 0; i < c->agents.n; i++) {
		struct agent *a = &c->agents.all[i];

		if (!is_attached(c, a))
			continue;
		a->leader = (unsigned)c->sim.leader;
		a->heard_ns = c->sim.now_ns;
		a->before_ns = 0;
		c->agents.heard_ns[a->leader][i] = c->sim.now_ns;
		poll_within(c, a, 800);
	}
}

/* --- The Node ---------------------------------------------------------------------------- */

/* Nodes differ: every second one is small. */
static unsigned cores(const struct chaos *c, const struct agent *a)
{
	return c->healed ? 64 : a->number % 2 ? 1 : 2;
}

static void on_node_reported(void *ctx, const void *response)
{
	struct agent *a = ctx;

	(void)response;
	a->asked_until_ns = 0;
}

static void report_node(struct chaos *c, struct agent *a, const struct object *node)
{
	SampanMaster__WriteRequest *request;
	const char *json = arena_printf(
		&c->scratch,
		"{'metadata':{'name':'%s','labels':{'zone':'%c','kubernetes.io/hostname':'%s'}},"
		"'status':{'allocatable':{'cpu':'%u','memory':'%uGi','pods':'%u'},"
		"'conditions':[{'type':'Ready','status':'True'}]}}",
		a->name, a->number % 2 ? 'b' : 'a', a->name, cores(c, a), cores(c, a),
		a->number % 2 && !c->healed ? 8 : 110);

	if (a->asked_until_ns > c->sim.now_ns) {
		poll_by(a, a->asked_until_ns);
		return;
	}
	if (node == NULL) {
		request = sim_request(&c->sim, VERB(CREATE), "nodes", "", a->name, json);
	} else {
		request = sim_request(&c->sim, VERB(PATCH), "nodes", "", a->name, json);
		request->subresource = (char *)"status";
	}
	a->asked_until_ns = c->sim.now_ns + 5000 * MS;
	poll_by(a, a->asked_until_ns);
	if (chaos_chance(c, c->agents.loss_percent)) {
		c->figures.messages_lost++;
		return;
	}
	writes_submit(c->sim.masters[a->leader].writes, request, 4000, on_node_reported, a);
}

/* --- Turns ------------------------------------------------------------------------------- */

struct poll {
	struct chaos *chaos;
	struct agent *agent;
};

static bool on_assigned(void *ctx, const struct object *o)
{
	struct poll *poll = ctx;

	lives_take(poll->chaos, poll->agent, o);
	return true;
}

static void poll(struct chaos *c, struct agent *a)
{
	const struct store *s = c->sim.masters[a->leader].store;
	const struct object *node = store_get(s, kind_of_resource("nodes"), "", a->name);

	heard(c, a);
	a->session = (int)a->leader;
	if (node == NULL || node->facts.node->ready != 1 ||
	    node->facts.node->cpu_milli != 1000 * cores(c, a))
		report_node(c, a, node);
	for (size_t i = 0; i < a->n_pods; i++)
		a->pods[i].seen = false;
	store_walk_node_pods(s, a->name, on_assigned, &(struct poll){ c, a });
	lives_polled(c, a);
	volumes_polled(c, a);
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

static void agent_turn(struct chaos *c, struct agent *a)
{
	lives_turn(c, a);
	if (a->next_poll_ns > c->sim.now_ns)
		return;
	a->next_poll_ns =
		is_attached(c, a) ? UINT64_MAX : c->sim.now_ns + (1 + sim_draw(&c->sim, 800)) * MS;
	if (!find_leader(c, a))
		return;
	/* A session begins with a leader whom a majority follows. */
	if ((int)a->leader == c->stale && a->session != (int)a->leader)
		return;
	if (!a->cut_off && !chaos_chance(c, c->agents.loss_percent))
		poll(c, a);
	else
		c->figures.messages_lost++;
}

void agents_turn(struct chaos *c)
{
	for (unsigned i = 0; i < c->agents.n; i++) {
		struct agent *a = &c->agents.all[i];

		if (a->up)
			agent_turn(c, a);
		if (c->sim.leader >= 0)
			wake_on_silence(c, a);
	}
}

uint64_t agents_next_ns(const struct chaos *c)
{
	uint64_t next = UINT64_MAX;

	for (unsigned i = 0; i < c->agents.n; i++) {
		const struct agent *a = &c->agents.all[i];

		if (a->up && a->next_poll_ns < next)
			next = a->next_poll_ns;
		for (size_t k = 0; a->up && k < a->n_pods; k++)
			if (a->pods[k].next_ns < next)
				next = a->pods[k].next_ns;
		if (c->sim.leader < 0 || a->silent || is_attached(c, a))
			continue;

		uint64_t silent_ns = heard_last_ns(c, (unsigned)c->sim.leader, a) + SILENCE_WAKE_NS;

		next = silent_ns < next ? silent_ns : next;
	}
	return next;
}

void agents_notice(struct chaos *c, const struct object *o)
{
	const char *volume_node = object_label(o, LOCAL_PATH_NODE);
	const char *name = volume_node != NULL     ? volume_node
			   : o->facts.pod != NULL  ? o->facts.pod->node_name
			   : o->facts.node != NULL ? o->name
						   : "";
	struct agent *a = name[0] != '\0' ? agents_named(c, name) : NULL;

	if (a == NULL || !is_attached(c, a))
		return;
	poll_within(c, a, 250);
	c->sim.interrupted = true;
}

void agents_poll_again(struct chaos *c, struct agent *a, unsigned ms)
{
	poll_within(c, a, ms);
}

/* --- Faults ------------------------------------------------------------------------------ */

static void come_back(struct chaos *c, struct agent *a, bool heard_again)
{
	chaos_trace(c, "%s %s%s", a->name, a->up ? "is back" : "has power again",
		    heard_again ? "" : ", and nobody hears it");
	if (!a->up) {
		a->up = true;
		lives_reboot(c, a);
	}
	a->cut_off = !heard_again;
	a->next_poll_ns = 0;
	a->asked_until_ns = 0;
}

void agents_fault(struct chaos *c)
{
	struct agent *a = &c->agents.all[sim_draw(&c->sim, c->agents.n)];

	agents_note_heard(c);
	c->figures.node_faults++;
	if (!a->up || a->cut_off) {
		come_back(c, a, a->up || sim_draw(&c->sim, 3) != 0);
	} else if (sim_draw(&c->sim, 2) == 0) {
		a->up = false;
		chaos_trace(c, "%s loses power", a->name);
	} else {
		a->cut_off = true;
		chaos_trace(c, "%s is cut off", a->name);
	}
}

void agents_come_back(struct chaos *c)
{
	agents_note_heard(c);
	c->agents.loss_percent = 0;
	for (unsigned i = 0; i < c->agents.n; i++)
		if (!c->agents.all[i].up || c->agents.all[i].cut_off)
			come_back(c, &c->agents.all[i], true);
		else
			poll_within(c, &c->agents.all[i], 800);
}
