/* The days of one cluster.
 *
 * First chaos, some minutes: people in a hurry, every fault, small machines. Then the
 * faults stop, machines get large, and everything must become as wanted; leaders change
 * and nothing may be evicted. Then ordinary days, hours each: somebody does something now
 * and then, a node or a master fails, and everybody has time to put it right. In the
 * end there must be silence. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/alloc.h"
#include "tests/sim/cluster/chaos.h"
#include "tests/sim/cluster/clients.h"
#include "tests/sim/cluster/oracle.h"

#define S 1000000ull
#define HOUR (3600 * S)

/* --- Telling ----------------------------------------------------------------------------- */

static double seconds(const struct chaos *c)
{
	return (double)(c->sim.now_ns - c->begin_ns) / 1e9;
}

void chaos_fail(struct chaos *c, const char *fmt, ...)
{
	va_list args;
	char text[1024];

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	fflush(stdout);
	fail_msg("seed %" PRIu64 " at %.3f s: %s; again with --from %" PRIu64 " --to %" PRIu64
		 " --trace",
		 c->sim.seed, seconds(c), text, c->sim.seed, c->sim.seed);
	abort();
}

void chaos_trace(struct chaos *c, const char *fmt, ...)
{
	va_list args;

	if (!c->trace)
		return;
	printf("# %9.3f ", seconds(c));
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
}

char *chaos_text(struct chaos *c, const char *fmt, ...)
{
	va_list args;
	char *text;

	va_start(args, fmt);
	text = arena_vprintf(&c->sim.arena, fmt, args);
	va_end(args);
	return text;
}

/* --- Chance and time --------------------------------------------------------------------- */

unsigned chaos_draw(struct chaos *c, unsigned below)
{
	return sim_draw(&c->sim, below);
}

bool chaos_chance(struct chaos *c, unsigned percent)
{
	return percent > 0 && sim_draw(&c->sim, 100) < percent;
}

unsigned chaos_master_up(struct chaos *c)
{
	unsigned i;

	do
		i = sim_draw(&c->sim, MASTERS);
	while (!c->sim.masters[i].up);
	return i;
}

const struct store *chaos_store(const struct chaos *c)
{
	return c->sim.masters[c->sim.leader].store;
}

const struct store *chaos_any_store(const struct chaos *c)
{
	unsigned i = 0;

	while (!c->sim.masters[i].up)
		i++;
	return c->sim.masters[i].store;
}

/* Until something is due somewhere; masters leap by themselves. */
static uint64_t step_us(struct chaos *c, uint64_t end_ns)
{
	uint64_t now_ns = c->sim.now_ns, next_ns = agents_next_ns(c);
	uint64_t faults_ns = faults_next_ns(c);
	uint64_t step = 1000 * (5 + sim_draw(&c->sim, 60)), left = (end_ns - now_ns + 999) / 1000;

	next_ns = faults_ns < next_ns ? faults_ns : next_ns;
	next_ns = end_ns < next_ns ? end_ns : next_ns;
	if (next_ns > now_ns && (next_ns - now_ns) / 1000 > step)
		step = (next_ns - now_ns + 999) / 1000;
	return step < left ? step : left;
}

void chaos_run(struct chaos *c, uint64_t us)
{
	uint64_t end_ns = c->sim.now_ns + us * 1000;

	while (c->sim.now_ns < end_ns) {
		sim_run(&c->sim, step_us(c, end_ns));
		arena_reset(&c->scratch);
		faults_due(c);
		agents_turn(c);
	}
}

/* --- Days -------------------------------------------------------------------------------- */

static struct chaos *cluster_create(uint64_t seed, bool trace)
{
	struct chaos *c = xcalloc(1, sizeof(*c));

	sim_init(&c->sim, seed,
		 &(struct sim_options){ .masters = MASTERS,
					.controllers = true,
					.loss_percent = (unsigned)(seed % 3) * 5,
					.commit_us_max = 3000,
					.message_us_max = 1500,
					.leap = true,
					.node_silence_ms = agents_silence_ms,
					.node_silence_ctx = c });
	arena_init(&c->scratch, 0);
	c->sim.requests = &c->scratch;
	c->trace = trace;
	c->stale = -1;
	c->begin_ns = c->sim.now_ns;
	c->calm_nodes = seed % 4 == 0;
	agents_init(c, 3 + sim_draw(&c->sim, AGENTS_MAX - 2));
	c->agents.loss_percent = c->calm_nodes ? 0 : 5 * sim_draw(&c->sim, 5);
	c->agents.crash_percent = 3;
	c->agents.probe_percent = c->agents.loss_percent > 0 ? 25 : 0;
	oracle_init(c);
	truths_init(c);
	faults_set_clocks(c);
	faults_elect(c, 0);
	clients_begin(c);
	chaos_run(c, 2 * S);
	return c;
}

static void cluster_destroy(struct chaos *c)
{
	oracle_fini(c);
	sim_fini(&c->sim);
	truths_fini(c);
	agents_fini(c);
	arena_fini(&c->scratch);
	free(c);
}

static void chaos(struct chaos *c, unsigned rounds)
{
	for (unsigned i = 0; i < rounds; i++) {
		clients_turn(c);
		faults_turn(c, 23);
		chaos_run(c, 1000ull * (1 + sim_draw(&c->sim, c->stale >= 0               ? 60
							      : sim_draw(&c->sim, 8) != 0 ? 200
											  : 5000)));
	}
}

static void heal(struct chaos *c)
{
	chaos_trace(c, "the faults are over");
	faults_heal(c);
	c->healed = true;
	c->agents.crash_percent = c->agents.probe_percent = 0;
	chaos_run(c, 1 * S);
	clients_heal(c);
}

/* Refused plans back off for five minutes at most, and so do pods that found no node. */
static void settle(struct chaos *c)
{
	uint64_t begin_ns = c->sim.now_ns, now_ns = begin_ns, pause_us = 200000;
	const char *why = "";

	while (now_ns - begin_ns < 1500ull * 1000000000) {
		chaos_run(c, pause_us);
		now_ns = c->sim.now_ns;
		why = settled_why_not(c);
		if (why == NULL)
			break;
		pause_us += pause_us / 8;
	}
	if (why != NULL)
		chaos_fail(c, "not as wanted %" PRIu64 " s after the faults: %s",
			   (now_ns - begin_ns) / 1000000000, why);
	chaos_trace(c, "everything is as wanted");
	if (now_ns - begin_ns > c->figures.settle_ns_max)
		c->figures.settle_ns_max = now_ns - begin_ns;
}

/* Leaders come and go, some for longer than silence is borne; every node is well. */
static void change_leaders(struct chaos *c)
{
	uint64_t evictions = c->figures.evictions;
	bool calm = c->calm_nodes;

	c->calm_nodes = true;
	for (unsigned i = 0; i < 6; i++) {
		faults_depose(c);
		chaos_run(c, 1000ull * sim_draw(&c->sim, i % 3 == 0 ? 12000 : 300));
		faults_elect_any(c);
		chaos_run(c, 1000ull * (1 + sim_draw(&c->sim, 9000)));
	}
	settle(c);
	if (c->figures.evictions != evictions)
		chaos_fail(c, "changes of leaders evicted %" PRIu64 " pods",
			   c->figures.evictions - evictions);
	c->calm_nodes = calm;
}

/* Somebody does something every quarter of an hour or so; now and then something breaks, and is
 * put right some minutes later. */
static void ordinary_day(struct chaos *c, unsigned hours)
{
	uint64_t end_ns = c->sim.now_ns + hours * HOUR * 1000;

	chaos_trace(c, "an ordinary day of %u h", hours);
	while (c->sim.now_ns < end_ns) {
		for (unsigned i = sim_draw(&c->sim, 4); i > 0; i--) {
			clients_turn(c);
			chaos_run(c, S * (1 + sim_draw(&c->sim, 20)));
		}
		for (unsigned i = sim_draw(&c->sim, 3); i > 0; i--) {
			faults_turn(c, 60);
			chaos_run(c, S * (1 + sim_draw(&c->sim, 600)));
		}
		heal(c);
		chaos_run(c, S * 60 * (1 + sim_draw(&c->sim, 30)));
	}
}

/* An hour later nothing is left to expire, and from then on there is nothing to write. */
static void be_silent(struct chaos *c)
{
	size_t entries;

	clients_rest(c);
	settle(c);
	chaos_run(c, 66 * 60 * S);
	entries = c->sim.n_log;
	chaos_run(c, HOUR);
	if (c->sim.n_log != entries)
		chaos_fail(c, "%zu entries in an idle hour", c->sim.n_log - entries);
	for (unsigned i = 1; i < MASTERS; i++)
		if (store_hash(c->sim.masters[i].store) != store_hash(c->sim.masters[0].store))
			chaos_fail(c, "master %u differs from the first", i + 1);
}

void seed_run(uint64_t seed, unsigned rounds, bool trace, struct figures *ret_figures)
{
	struct chaos *c = cluster_create(seed, trace);

	chaos(c, rounds);
	heal(c);
	settle(c);
	truths_check(c);
	change_leaders(c);
	ordinary_day(c, 1 + sim_draw(&c->sim, 6));
	be_silent(c);
	truths_check(c);
	faults_count_decisions(c);
	c->figures.seeds = 1;
	c->figures.entries = c->sim.n_log;
	c->figures.virtual_ns = c->sim.now_ns - c->begin_ns;
	*ret_figures = c->figures;
	cluster_destroy(c);
}

/* --- Figures ----------------------------------------------------------------------------- */

void figures_add(struct figures *sum, const struct figures *f)
{
	const uint64_t *from = (const uint64_t *)f;
	uint64_t *to = (uint64_t *)sum;
	uint64_t longest =
		f->settle_ns_max > sum->settle_ns_max ? f->settle_ns_max : sum->settle_ns_max;

	for (size_t i = 0; i < sizeof(*f) / sizeof(uint64_t); i++)
		to[i] += from[i];
	sum->settle_ns_max = longest;
}

void figures_print(const char *what, const struct figures *f)
{
	printf("# %s: %.2f virtual hours, %" PRIu64 " decisions, %" PRIu64 " entries, %" PRIu64
	       " changes, %" PRIu64 " pods placed, %" PRIu64 " evicted by taints, %" PRIu64
	       " by drains (%" PRIu64 " withheld), %" PRIu64 " successes of jobs; %" PRIu64
	       " requests (%" PRIu64 " refused, %" PRIu64 " unknown)\n"
	       "# faults: %" PRIu64 " kills, %" PRIu64 " depositions, %" PRIu64
	       " leaders cut off, %" PRIu64 " of nodes, %" PRIu64
	       " polls and reports lost, %" PRIu64 " wrong clocks, %" PRIu64
	       " pods ended by force; settled after %.1f s at most\n",
	       what, (double)f->virtual_ns / 3.6e12, f->decisions, f->entries, f->changes, f->pods,
	       f->evictions, f->drained, f->withheld, f->successes, f->requests, f->refused,
	       f->unknown, f->crashes, f->depositions, f->partitions, f->node_faults,
	       f->messages_lost, f->clock_jumps, f->forced, (double)f->settle_ns_max / 1e9);
	fflush(stdout);
}
