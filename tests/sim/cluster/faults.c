/* What happens to masters: they are deposed, killed, cut off without knowing it, and
 * one clock at a time is wrong by hours. */
#include "tests/sim/cluster/chaos.h"
#include "tests/sim/cluster/oracle.h"

void faults_count_decisions(struct chaos *c)
{
	struct deciding_stats stats;

	if (c->sim.leader < 0)
		return;
	deciding_stats(c->sim.masters[c->sim.leader].deciding, &stats);
	c->figures.decisions += stats.reconciles;
}

/* --- Leaders ----------------------------------------------------------------------------- */

void faults_elect(struct chaos *c, unsigned master)
{
	chaos_trace(c, "master %u leads", master + 1);
	agents_note_heard(c);
	/* Known before the election: whoever decides in it already counts from it. */
	agents_leader_changed(c, master);
	sim_elect(&c->sim, master);
}

void faults_elect_any(struct chaos *c)
{
	unsigned master, able = 0;

	for (unsigned i = 0; i < MASTERS; i++)
		able += c->sim.masters[i].up && !c->sim.masters[i].cut_off;
	if (able < 2)
		return;
	do
		master = chaos_master_up(c);
	while (c->sim.masters[master].cut_off);
	faults_elect(c, master);
}

void faults_depose(struct chaos *c)
{
	chaos_trace(c, "the leader is deposed");
	agents_note_heard(c);
	faults_count_decisions(c);
	c->figures.depositions++;
	sim_depose(&c->sim);
}

/* A leader without followers notices after half a second, and is back some time later. */
static void cut_off(struct chaos *c)
{
	for (unsigned i = 0; i < MASTERS; i++)
		if (!c->sim.masters[i].up)
			return;
	if (c->sim.leader < 0 || c->stale >= 0)
		return;
	chaos_trace(c, "master %d is cut off", c->sim.leader + 1);
	agents_note_heard(c);
	faults_count_decisions(c);
	c->figures.partitions++;
	c->stale = c->sim.leader;
	c->step_down_ns = c->sim.now_ns + 1000000ull * (1 + sim_draw(&c->sim, 600));
	c->join_ns = c->sim.now_ns + 1000000ull * (1 + sim_draw(&c->sim, 1500));
	sim_cut_off_leader(&c->sim);
}

void faults_due(struct chaos *c)
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

uint64_t faults_next_ns(const struct chaos *c)
{
	if (c->stale < 0)
		return UINT64_MAX;
	return c->sim.masters[c->stale].leading && c->step_down_ns < c->join_ns ? c->step_down_ns
										: c->join_ns;
}

/* --- Processes --------------------------------------------------------------------------- */

/* A crash takes the requests of its clients with it: nobody is told, the outcome is unknown. */
static void crash(struct chaos *c, unsigned master)
{
	unsigned others = 0;

	for (unsigned i = 0; i < MASTERS; i++)
		others += i != master && c->sim.masters[i].up && !c->sim.masters[i].cut_off;
	if (others < 2 || !c->sim.masters[master].up)
		return;
	chaos_trace(c, "master %u is killed", master + 1);
	agents_note_heard(c);
	if (c->sim.leader == (int)master)
		faults_count_decisions(c);
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
void faults_set_clocks(struct chaos *c)
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
	chaos_trace(c, "the clock of master %u is wrong by %.1f h", wrong + 1,
		    (double)c->clock_off_ns[wrong] / 3.6e12);
	c->figures.clock_jumps++;
}

/* --- Chance ------------------------------------------------------------------------------ */

void faults_turn(struct chaos *c, unsigned percent)
{
	unsigned what = sim_draw(&c->sim, 23 * 100 / percent);

	if (what < 5)
		crash(c, sim_draw(&c->sim, MASTERS));
	else if (what < 11)
		restart(c, sim_draw(&c->sim, MASTERS));
	else if (what < 14 && c->sim.leader >= 0)
		faults_depose(c);
	else if (what < 18)
		cut_off(c);
	else if (what < 19)
		faults_set_clocks(c);
	else if (what < 23 && !c->calm_nodes)
		agents_fault(c);
	if (c->sim.leader < 0 && sim_draw(&c->sim, 3) == 0)
		faults_elect_any(c);
}

void faults_heal(struct chaos *c)
{
	agents_note_heard(c);
	if (c->stale >= 0) {
		sim_join(&c->sim, (unsigned)c->stale);
		c->stale = -1;
	}
	for (unsigned i = 0; i < MASTERS; i++)
		restart(c, i);
	if (c->sim.leader < 0)
		faults_elect_any(c);
	c->sim.options.loss_percent = 0;
	agents_come_back(c);
}
