/* sim-cluster: the whole deciding control plane under chaos.
 *
 * One seed is one cluster: three masters, four nodes, people who work on it. For some
 * minutes of virtual time leaders are deposed and killed, messages between masters
 * and from agents are lost, one master's clock is hours off, nodes lose power or are
 * cut off, are cordoned, tainted and deleted. Then the faults stop, and everything
 * must become as wanted; after that leaders change and nothing may be evicted; after
 * that there must be silence. docs/simulators.md. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "common/base/alloc.h"
#include "common/base/log.h"
#include "tests/sim/cluster/chaos.h"

static struct {
	uint64_t from, to;
	unsigned rounds;
	bool trace, verbose;
} options = { .from = 1, .to = 10, .rounds = 150 };

static struct figures totals;

/* --- Telling --------------------------------------------------------------------------- */

static double seconds(const struct chaos *c)
{
	return (double)(c->sim.now_ns - c->figures.virtual_ns) / 1e9;
}

void chaos_fail(struct chaos *c, const char *fmt, ...)
{
	va_list args;
	char text[1024];

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
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

/* --- Chance and time --------------------------------------------------------------------- */

bool chaos_chance(struct chaos *c, unsigned percent)
{
	return sim_draw(&c->sim, 100) < percent;
}

unsigned chaos_master_up(struct chaos *c)
{
	unsigned i;

	do
		i = sim_draw(&c->sim, MASTERS);
	while (!c->sim.masters[i].up);
	return i;
}

/* A leader without followers notices after half a second, and is back some time later. */
static void stale_turn(struct chaos *c)
{
	if (c->stale < 0)
		return;
	if (c->step_down_ns <= c->sim.now_ns)
		sim_step_down(&c->sim, (unsigned)c->stale);
	if (c->join_ns <= c->sim.now_ns) {
		chaos_trace(c, "master %d is back", c->stale + 1);
		sim_join(&c->sim, (unsigned)c->stale);
		c->stale = -1;
	}
}

void chaos_run(struct chaos *c, uint64_t us)
{
	uint64_t end_ns = c->sim.now_ns + us * 1000;

	while (c->sim.now_ns < end_ns) {
		uint64_t step_us = 1000 * (5 + sim_draw(&c->sim, 60));
		uint64_t left_us = (end_ns - c->sim.now_ns + 999) / 1000;

		sim_run(&c->sim, step_us < left_us ? step_us : left_us);
		stale_turn(c);
		agents_turn(c, 800000);
	}
}

/* --- Masters ------------------------------------------------------------------------------- */

static void count_decisions(struct chaos *c)
{
	struct deciding_stats stats;

	if (c->sim.leader < 0)
		return;
	deciding_stats(c->sim.masters[c->sim.leader].deciding, &stats);
	c->figures.decisions += stats.reconciles;
}

void chaos_elect(struct chaos *c)
{
	unsigned master, able = 0;

	for (unsigned i = 0; i < MASTERS; i++)
		able += c->sim.masters[i].up && !c->sim.masters[i].cut_off;
	if (able < 2)
		return;
	do
		master = chaos_master_up(c);
	while (c->sim.masters[master].cut_off);

	chaos_trace(c, "master %u leads", master + 1);
	/* Known before the election: whoever decides in it already counts from it. */
	agents_leader_changed(c, master);
	sim_elect(&c->sim, master);
}

static void depose(struct chaos *c)
{
	chaos_trace(c, "the leader is deposed");
	c->figures.depositions++;
	sim_depose(&c->sim);
}

static void cut_off(struct chaos *c)
{
	for (unsigned i = 0; i < MASTERS; i++)
		if (!c->sim.masters[i].up)
			return;
	if (c->sim.leader < 0 || c->stale >= 0)
		return;
	chaos_trace(c, "master %d is cut off", c->sim.leader + 1);
	count_decisions(c);
	c->figures.partitions++;
	c->stale = c->sim.leader;
	c->step_down_ns = c->sim.now_ns + 1000000ull * (1 + sim_draw(&c->sim, 600));
	c->join_ns = c->sim.now_ns + 1000000ull * (1 + sim_draw(&c->sim, 1500));
	sim_cut_off_leader(&c->sim);
}

/* A crash takes the requests of its clients with it: nobody is told, the outcome is unknown. */
static void crash(struct chaos *c, unsigned master)
{
	unsigned others = 0;

	for (unsigned i = 0; i < MASTERS; i++)
		others += i != master && c->sim.masters[i].up && !c->sim.masters[i].cut_off;
	if (others < 2 || !c->sim.masters[master].up)
		return;
	chaos_trace(c, "master %u is killed", master + 1);
	if (c->sim.leader == (int)master)
		count_decisions(c);
	c->figures.crashes++;
	if (c->stale == (int)master)
		c->stale = -1;
	sim_crash(&c->sim, master);
}

static void set_clock(struct chaos *c, unsigned master)
{
	c->sim.masters[master].source.wall_offset_ns =
		c->sim.source.wall_offset_ns + c->clock_off_ns[master];
}

static void restart(struct chaos *c, unsigned master)
{
	if (c->sim.masters[master].up)
		return;
	chaos_trace(c, "master %u starts", master + 1);
	sim_restart(&c->sim, master);
	set_clock(c, master);
	oracle_attach(c, master);
}

/* One clock may be wrong, by hours and in any direction; the others' by less than a second. */
static void set_clocks(struct chaos *c)
{
	unsigned wrong = sim_draw(&c->sim, MASTERS);

	for (unsigned i = 0; i < MASTERS; i++) {
		int64_t off_ms =
			i == wrong ? (int64_t)sim_draw(&c->sim, 40 * 3600) * 1000 - 20 * 3600000ll
				   : (int64_t)sim_draw(&c->sim, 500);

		c->clock_off_ns[i] = off_ms * 1000000;
		if (c->sim.masters[i].up)
			set_clock(c, i);
	}
	chaos_trace(c, "the clock of master %u is wrong", wrong + 1);
	c->figures.clock_jumps++;
}

/* --- One seed -------------------------------------------------------------------------------- */

static struct chaos *cluster_create(uint64_t seed)
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
	c->trace = options.trace;
	c->stale = -1;
	c->figures.virtual_ns = c->sim.now_ns; /* Its beginning, until the end. */
	c->calm_nodes = seed % 4 == 0;
	c->agent_loss_percent = c->calm_nodes ? 0 : 5 * sim_draw(&c->sim, 5);
	agents_init(c);
	oracle_init(c);
	set_clocks(c);
	agents_leader_changed(c, 0);
	sim_elect(&c->sim, 0);
	clients_begin(c);
	chaos_run(c, 2000000);
	return c;
}

static void cluster_destroy(struct chaos *c)
{
	sim_fini(&c->sim);
	oracle_fini(c);
	agents_fini(c);
	free(c);
}

static void fault(struct chaos *c)
{
	unsigned what = sim_draw(&c->sim, 100);

	if (what < 5)
		crash(c, sim_draw(&c->sim, MASTERS));
	else if (what < 11)
		restart(c, sim_draw(&c->sim, MASTERS));
	else if (what < 14) {
		count_decisions(c);
		depose(c);
	} else if (what < 18)
		cut_off(c);
	else if (what < 19)
		set_clocks(c);
	else if (what < 23 && !c->calm_nodes)
		agents_fault(c);
	if (c->sim.leader < 0 && sim_draw(&c->sim, 3) == 0)
		chaos_elect(c);
}

static void chaos(struct chaos *c)
{
	for (unsigned i = 0; i < options.rounds; i++) {
		clients_turn(c);
		fault(c);
		chaos_run(c, 1000ull * (1 + sim_draw(&c->sim, c->stale >= 0               ? 60
							      : sim_draw(&c->sim, 8) != 0 ? 200
											  : 5000)));
	}
}

static void heal(struct chaos *c)
{
	if (c->stale >= 0) {
		sim_join(&c->sim, (unsigned)c->stale);
		c->stale = -1;
	}
	for (unsigned i = 0; i < MASTERS; i++)
		restart(c, i);
	if (c->sim.leader < 0)
		chaos_elect(c);
	c->sim.options.loss_percent = 0;
	agents_heal(c);
	chaos_run(c, 1000000);
	clients_heal(c);
}

/* Refused plans back off for five minutes at most, and so do pods that found no node. */
static void settle(struct chaos *c)
{
	uint64_t begin_ns = c->sim.now_ns, now_ns = begin_ns;
	const char *why = "";

	chaos_trace(c, "the faults are over");
	while (now_ns - begin_ns < 700ull * 1000000000) {
		chaos_run(c, 200000);
		now_ns = c->sim.now_ns;
		why = settled_why_not(c);
		if (why == NULL)
			break;
	}
	if (why != NULL)
		chaos_fail(c, "not as wanted %" PRIu64 " s after the faults: %s",
			   (now_ns - begin_ns) / 1000000000, why);
	if (now_ns - begin_ns > c->figures.settle_ns_max)
		c->figures.settle_ns_max = now_ns - begin_ns;
}

/* Leaders come and go, some for longer than silence is borne; every node is well. */
static void change_leaders(struct chaos *c)
{
	uint64_t evictions = c->figures.evictions;

	c->calm_nodes = true;
	for (unsigned i = 0; i < 6; i++) {
		count_decisions(c);
		depose(c);
		chaos_run(c, 1000ull * sim_draw(&c->sim, i % 3 == 0 ? 12000 : 300));
		chaos_elect(c);
		chaos_run(c, 1000ull * (1 + sim_draw(&c->sim, 9000)));
	}
	settle(c);
	if (c->figures.evictions != evictions)
		chaos_fail(c, "changes of leaders evicted %" PRIu64 " pods",
			   c->figures.evictions - evictions);
}

static void be_silent(struct chaos *c)
{
	size_t entries;

	chaos_run(c, 3000000);
	entries = c->sim.n_log;
	chaos_run(c, 60000000);
	if (c->sim.n_log != entries)
		chaos_fail(c, "%zu entries in an idle minute", c->sim.n_log - entries);
	for (unsigned i = 1; i < MASTERS; i++)
		if (store_hash(c->sim.masters[i].store) != store_hash(c->sim.masters[0].store))
			chaos_fail(c, "master %u differs from the first", i + 1);
}

static void add(struct figures *sum, const struct figures *f)
{
	const uint64_t *from = (const uint64_t *)f;
	uint64_t *to = (uint64_t *)sum;
	uint64_t longest =
		f->settle_ns_max > sum->settle_ns_max ? f->settle_ns_max : sum->settle_ns_max;

	for (size_t i = 0; i < sizeof(*f) / sizeof(uint64_t); i++)
		to[i] += from[i];
	sum->settle_ns_max = longest;
}

static void print(const char *what, const struct figures *f)
{
	printf("# %s: %.2f virtual hours, %" PRIu64 " decisions, %" PRIu64 " entries, %" PRIu64
	       " changes, %" PRIu64 " pods placed, %" PRIu64 " evicted; %" PRIu64
	       " requests (%" PRIu64 " refused, %" PRIu64 " unknown); faults: %" PRIu64
	       " kills, %" PRIu64 " depositions, %" PRIu64 " leaders cut off, %" PRIu64
	       " of nodes, %" PRIu64 " polls and reports lost, %" PRIu64
	       " wrong clocks; settled after %.1f s at most\n",
	       what, (double)f->virtual_ns / 3.6e12, f->decisions, f->entries, f->changes, f->pods,
	       f->evictions, f->requests, f->refused, f->unknown, f->crashes, f->depositions,
	       f->partitions, f->node_faults, f->messages_lost, f->clock_jumps,
	       (double)f->settle_ns_max / 1e9);
	fflush(stdout);
}

static void run_seed(uint64_t seed)
{
	struct chaos *c = cluster_create(seed);
	char what[32];

	chaos(c);
	heal(c);
	settle(c);
	clients_check(c);
	change_leaders(c);
	be_silent(c);
	clients_check(c);
	count_decisions(c);
	c->figures.entries = c->sim.n_log;
	c->figures.virtual_ns = c->sim.now_ns - c->figures.virtual_ns;
	snprintf(what, sizeof(what), "seed %" PRIu64, seed);
	if (options.verbose || options.trace)
		print(what, &c->figures);
	add(&totals, &c->figures);
	cluster_destroy(c);
}

static void test_seeds(void **state)
{
	for (uint64_t seed = options.from; seed <= options.to; seed++)
		run_seed(seed);
}

static int usage(void)
{
	fprintf(stderr,
		"usage: sim-cluster [--from SEED] [--to SEED] [--rounds N] [--verbose] [--trace]\n");
	return 2;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_seeds) };
	char what[64];
	clock_t begin;
	int failed;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--from") == 0 && i + 1 < argc)
			options.from = strtoull(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--to") == 0 && i + 1 < argc)
			options.to = strtoull(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--rounds") == 0 && i + 1 < argc)
			options.rounds = (unsigned)strtoul(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--verbose") == 0)
			options.verbose = true;
		else if (strcmp(argv[i], "--trace") == 0)
			options.trace = true;
		else
			return usage();
	}
	log_init("sim", options.trace ? LOG_INFO : LOG_ERROR);
	begin = clock();
	failed = cmocka_run_group_tests_name("cluster under chaos", tests, NULL, NULL);
	if (failed == 0) {
		double cpu_s = (double)(clock() - begin) / CLOCKS_PER_SEC;
		uint64_t seeds = options.to - options.from + 1;

		snprintf(what, sizeof(what), "%" PRIu64 " seeds in %.1f s of CPU (%.1f/s)", seeds,
			 cpu_s, (double)seeds / (cpu_s > 0 ? cpu_s : 1));
		print(what, &totals);
	}
	return failed;
}
