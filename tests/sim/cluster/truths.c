/* Writes whose fate is followed.
 *
 * Every ConfigMap of this kind carries a number of its own and lets the server choose
 * the name, so an executed repetition shows as a second object of that number.
 * Counters are changed by compare and swap: what was acknowledged is in the sum.
 * Switches are set to one of few values: what was acknowledged was in force at some
 * time after it was asked for. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/kinds.h"
#include "common/api/make.h"
#include "common/api/pack.h"
#include "common/base/alloc.h"
#include "proto/k8s/core_v1.pb-c.h"
#include "tests/sim/cluster/clients.h"

enum { WRITES_MAX = 600, COUNTERS = 3, SWITCHES = 3, SWITCH_VALUES = 3, SWITCH_CHANGES_MAX = 2048 };

/* A write whose fate a client follows: a ConfigMap with a label of its own. */
struct followed {
	bool acknowledged, delete_asked, delete_acknowledged;
	char *name; /* As acknowledged. */
};

struct counter {
	uint64_t acknowledged, unknown;
};

/* A ConfigMap that is set to one of few values, and when it had which. */
struct switched {
	struct {
		uint64_t since_ns;
		unsigned value;
	} changes[SWITCH_CHANGES_MAX];
	size_t n;
};

struct truths {
	struct followed writes[WRITES_MAX];
	unsigned n_writes;
	struct counter counters[COUNTERS];
	struct switched switches[SWITCHES];
};

void truths_init(struct chaos *c)
{
	c->truths = xcalloc(1, sizeof(*c->truths));
}

void truths_fini(struct chaos *c)
{
	free(c->truths);
}

/* --- Followed ---------------------------------------------------------------------------- */

static char *name_of_response(struct chaos *c, const SampanMaster__WriteResponse *r)
{
	CoreV1__ConfigMap *m;

	if (!r->has_object)
		return NULL; /* Told by a leader that no longer remembers the object. */
	m = unpack_stored(&core_v1__config_map__descriptor, bytes_of(r->object.data, r->object.len),
			  &c->sim.arena);
	return m->metadata != NULL ? m->metadata->name : NULL;
}

static void on_created(struct chaos *c, void *ctx, const SampanMaster__WriteResponse *r)
{
	struct followed *f = ctx;

	if (r->code == 201) {
		f->acknowledged = true;
		f->name = name_of_response(c, r);
	} else if (r->code != 504 && r->code != 429) {
		chaos_fail(c, "a followed write was answered with %d", r->code);
	}
}

static void create_followed(struct chaos *c)
{
	struct truths *t = c->truths;
	const char *json;

	if (t->n_writes == WRITES_MAX)
		return;
	json = arena_printf(
		&c->scratch,
		"{'metadata':{'generateName':'w-','labels':{'write':'%u'}},'data':{'k':'v'}}",
		t->n_writes);
	ask_with(c, chaos_master_up(c),
		 sim_request(&c->sim, VERB(CREATE), "configmaps", "default", "", json),
		 chaos_text(c, "create followed %u", t->n_writes), on_created,
		 &t->writes[t->n_writes]);
	t->n_writes++;
}

static void on_deleted(struct chaos *c, void *ctx, const SampanMaster__WriteResponse *r)
{
	struct followed *f = ctx;

	(void)c;
	if (r->code == 200)
		f->delete_acknowledged = true;
}

static void delete_followed(struct chaos *c)
{
	struct truths *t = c->truths;
	struct followed *f = t->n_writes > 0 ? &t->writes[sim_draw(&c->sim, t->n_writes)] : NULL;

	if (f == NULL || f->name == NULL || f->delete_asked)
		return;
	f->delete_asked = true;
	ask_with(c, chaos_master_up(c),
		 sim_request(&c->sim, VERB(DELETE), "configmaps", "default", f->name, NULL),
		 chaos_text(c, "delete followed %s", f->name), on_deleted, f);
}

/* --- Counters ---------------------------------------------------------------------------- */

static uint64_t count_of(struct chaos *c, const struct object *o)
{
	CoreV1__ConfigMap *m = unpack_stored(o->kind->descriptor, o->packed, &c->scratch);

	return m->n_data > 0 ? strtoull(m->data[0]->value, NULL, 10) : 0;
}

static void on_counted(struct chaos *c, void *ctx, const SampanMaster__WriteResponse *r)
{
	struct counter *counter = ctx;

	(void)c;
	counter->acknowledged += r->code == 200;
	counter->unknown -= r->code != 504;
}

/* Read anywhere, maybe something old; write only if it is still so. */
static void count(struct chaos *c)
{
	unsigned i = sim_draw(&c->sim, COUNTERS), master = chaos_master_up(c);
	const char *name = arena_printf(&c->scratch, "counter-%u", i);
	const struct object *o = sim_get(&c->sim, master, "configmaps", "default", name);
	SampanMaster__WriteRequest *request;

	if (o == NULL)
		return;
	request = sim_request(&c->sim, VERB(UPDATE), "configmaps", "default", name,
			      arena_printf(&c->scratch,
					   "{'metadata':{'name':'%s','resourceVersion':'%" PRIu64
					   "'},'data':{'count':'%" PRIu64 "'}}",
					   name, o->revision, count_of(c, o) + 1));
	c->truths->counters[i].unknown++;
	ask_with(c, chaos_master_up(c), request, chaos_text(c, "count %s", name), on_counted,
		 &c->truths->counters[i]);
}

/* --- Switches ---------------------------------------------------------------------------- */

void truths_switched(struct chaos *c, const struct object *config)
{
	struct switched *s = &c->truths->switches[config->name[strlen("switch-")] - '0'];

	if (s->n == SWITCH_CHANGES_MAX)
		chaos_fail(c, "%s changes too often", config->name);
	s->changes[s->n].since_ns = c->sim.now_ns;
	s->changes[s->n++].value = (unsigned)count_of(c, config);
}

struct turned {
	const struct switched *of;
	unsigned value; /* What it was to be set to. */
	uint64_t begin_ns;
};

static void on_turned(struct chaos *c, void *ctx, const SampanMaster__WriteResponse *r)
{
	const struct turned *t = ctx;
	const struct switched *s = t->of;

	if (r->code != 200)
		return;
	for (size_t i = 0; i < s->n; i++) {
		uint64_t until_ns = i + 1 < s->n ? s->changes[i + 1].since_ns : UINT64_MAX;

		if (s->changes[i].value == t->value && until_ns >= t->begin_ns)
			return;
	}
	chaos_fail(c, "acknowledged and never in force: switch %td to %u", s - c->truths->switches,
		   t->value);
}

static void turn_switch(struct chaos *c)
{
	unsigned i = sim_draw(&c->sim, SWITCHES), value = sim_draw(&c->sim, SWITCH_VALUES);
	const char *name = arena_printf(&c->scratch, "switch-%u", i);
	struct turned *t = arena_new(&c->sim.arena, struct turned);

	*t = (struct turned){ &c->truths->switches[i], value, c->sim.now_ns };
	ask_with(c, chaos_master_up(c),
		 sim_request(&c->sim, VERB(PATCH), "configmaps", "default", name,
			     arena_printf(&c->scratch, "{'data':{'v':'%u'}}", value)),
		 chaos_text(c, "set %s to %u", name, value), on_turned, t);
}

/* --- Turns ------------------------------------------------------------------------------- */

void truths_turn(struct chaos *c)
{
	unsigned what = sim_draw(&c->sim, 100);

	/* Two that lead at once is what these are about. */
	for (unsigned i = c->stale >= 0 ? 6 : 1; i > 0; i--)
		turn_switch(c);
	if (what < 20)
		create_followed(c);
	else if (what < 27)
		delete_followed(c);
	else if (what < 42)
		count(c);
}

void truths_begin(struct chaos *c)
{
	for (unsigned i = 0; i < SWITCHES; i++)
		ask(c, "create", "configmaps", "default", "",
		    arena_printf(&c->scratch, "{'metadata':{'name':'switch-%u'},'data':{'v':'0'}}",
				 i));
	for (unsigned i = 0; i < COUNTERS; i++)
		ask(c, "create", "configmaps", "default", "",
		    arena_printf(&c->scratch,
				 "{'metadata':{'name':'counter-%u'},'data':{'count':'0'}}", i));
}

/* --- What must have become of it --------------------------------------------------------- */

static bool on_config(void *ctx, const struct object *o)
{
	unsigned *times = ctx;
	const char *number = object_label(o, "write");

	if (number != NULL)
		times[strtoul(number, NULL, 10)]++;
	return true;
}

static void check_counter(struct chaos *c, unsigned i)
{
	const struct counter *counter = &c->truths->counters[i];
	const struct object *o = store_get(chaos_store(c), kind_of_resource("configmaps"),
					   "default", arena_printf(&c->scratch, "counter-%u", i));
	uint64_t n = o != NULL ? count_of(c, o) : 0;

	if (n < counter->acknowledged || n > counter->acknowledged + counter->unknown)
		chaos_fail(c,
			   "counter %u is %" PRIu64 " after %" PRIu64 " acknowledged and %" PRIu64
			   " unknown",
			   i, n, counter->acknowledged, counter->unknown);
}

void truths_check(struct chaos *c)
{
	unsigned times[WRITES_MAX] = { 0 };

	store_walk(chaos_store(c), kind_of_resource("configmaps"), "default", NULL, NULL, on_config,
		   times);
	for (unsigned i = 0; i < c->truths->n_writes; i++) {
		const struct followed *f = &c->truths->writes[i];

		if (times[i] > 1)
			chaos_fail(c, "write %u was executed %u times", i, times[i]);
		if (times[i] == 0 && f->acknowledged && !f->delete_asked)
			chaos_fail(c, "write %u was acknowledged and is lost", i);
		if (times[i] == 1 && f->delete_acknowledged)
			chaos_fail(c, "write %u was deleted, and is there again", i);
	}
	for (unsigned i = 0; i < COUNTERS; i++)
		check_counter(c, i);
}
