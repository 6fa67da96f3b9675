/* The control plane under chaos: what the parts of sim-cluster share.
 *
 *   cluster.h   masters over a simulated log
 *   agents.h    nodes: heartbeats, pods' lives, reports, registration
 *   clients.h   what people do, and what they were told became of it
 *   oracle.h    what must hold after every change, and once the faults have stopped
 *   seed.c      the days of one cluster
 *   faults.c    what happens to masters
 *   campaign.c  many seeds on many cores
 *
 * Everything comes from one seed: a seed and a commit replay a failure. One thread. */
#pragma once

#include "common/base/map.h"
#include "tests/sim/cluster/agents.h"
#include "tests/sim/cluster/cluster.h"

enum { MASTERS = 3 };

struct figures {
	uint64_t seeds, decisions, entries, changes, pods, evictions, requests, refused, unknown;
	uint64_t crashes, depositions, partitions, node_faults, messages_lost, clock_jumps;
	uint64_t forced, drained, withheld, successes;
	uint64_t virtual_ns, settle_ns_max;
};

struct oracle;
struct truths;

struct chaos {
	struct sim sim;
	struct arena scratch; /* Requests, until time passes. */
	bool trace;
	uint64_t begin_ns;
	/* Of this seed. */
	bool calm_nodes; /* Only masters fail: nothing may be evicted. */
	int64_t clock_off_ns[MASTERS];
	bool healed; /* Faults are over, and the machines are large enough for everything. */
	struct agents agents;
	/* A master that leads nobody any more and does not know; -1: there is none. */
	int stale;
	uint64_t step_down_ns, join_ns;
	/* A node that somebody empties, until when; NULL: none. */
	const char *draining;
	uint64_t drain_until_ns;
	struct truths *truths;
	struct oracle *oracle;
	struct figures figures;
};

void chaos_fail(struct chaos *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3), noreturn));
void chaos_trace(struct chaos *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Text that lives as long as the seed. */
char *chaos_text(struct chaos *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Let time pass: masters and agents. */
void chaos_run(struct chaos *c, uint64_t us);
/* Out of 100. */
bool chaos_chance(struct chaos *c, unsigned percent);
unsigned chaos_draw(struct chaos *c, unsigned below);
unsigned chaos_master_up(struct chaos *c);
/* The store of the leader; there must be one. */
const struct store *chaos_store(const struct chaos *c);
/* Of some master that is up. */
const struct store *chaos_any_store(const struct chaos *c);

/* --- seed.c ------------------------------------------------------------------------------ */
/* One cluster from its birth to its end; fails the test when an oracle does. */
void seed_run(uint64_t seed, unsigned rounds, bool trace, struct figures *ret_figures);
void figures_add(struct figures *sum, const struct figures *f);
void figures_print(const char *what, const struct figures *f);

/* --- faults.c ---------------------------------------------------------------------------- */
void faults_elect(struct chaos *c, unsigned master);
/* A master that can lead, leads; none if there is no majority. */
void faults_elect_any(struct chaos *c);
void faults_depose(struct chaos *c);
/* Now and then something happens to a master or a clock; percent says how often. */
void faults_turn(struct chaos *c, unsigned percent);
/* What is due of earlier faults, and when. */
void faults_due(struct chaos *c);
uint64_t faults_next_ns(const struct chaos *c);
void faults_set_clocks(struct chaos *c);
void faults_heal(struct chaos *c);
/* Before a leader goes: what it decided is counted. */
void faults_count_decisions(struct chaos *c);

/* --- campaign.c -------------------------------------------------------------------------- */
/* Seeds from the first on, until seconds have passed, in jobs processes. Returns the number of
 * seeds that failed. */
uint64_t campaign_run(uint64_t from, unsigned seconds, unsigned jobs, unsigned rounds);
