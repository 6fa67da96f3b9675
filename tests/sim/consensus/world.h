/* A cluster on virtual time: real replicas, real log over sim_fs, real frames over a
 * network that loses, repeats, delays and cuts. One world per process. */
#pragma once

#include <setjmp.h>

#include "common/base/source.h"
#include "controlplane/consensus/frame.h"
#include "controlplane/consensus/replica.h"
#include "tests/sim/consensus/sim_fs.h"

#define NODES_MAX 7
#define VIOLATION_SIZE 300

struct world_options {
	uint64_t seed;
	unsigned nodes;
	bool membership, io_faults, harsh, snapshots;
	uint32_t chaos_ms;
	uint32_t guard_off;   /* Bit n: rule n. */
	int left_out_sync;    /* enum wal_sync, or -1. */
	int verbose;
};

struct world;

struct node {
	struct world *world;
	struct replica_host host;
	unsigned number; /* From 0; its id is number + 1. */
	struct sim_fs *fs;
	struct replica *replica; /* NULL: down. */
	unsigned incarnation;
	bool dying, power_lost;
	uint64_t next_tick_ns, slow_until_ns;

	/* Log operations: at most one batch is being worked on. */
	struct wal *wal;
	struct wal_op *waiting, **waiting_end;
	bool disk_busy;
	unsigned fail_next_append; /* Report an error without writing, for rule 6. */

	struct buf out[NODES_MAX]; /* One frame at a time. */
	uint64_t *applied; /* Commands, in order. */
	size_t n_applied, cap_applied;
	bool leading;

	/* What it promised: see oracle.c. */
	uint64_t *stored_terms; /* [index] */
	size_t n_stored, cap_stored;
	uint64_t promised_term, promised_vote, promised_snapshot;
};

struct event;

struct read_probe {
	struct world *world;
	struct node *node;
	size_t must_have;
};

struct world {
	struct seeded_source source;
	struct world_options options;
	struct node nodes[NODES_MAX];
	struct event **heap;
	size_t n_heap, cap_heap;
	uint64_t sequence;

	/* A process that must end does not return from where it noticed. */
	jmp_buf exit_jump;
	bool exit_jump_set;
	struct node *running;

	bool fifo;
	bool up[NODES_MAX][NODES_MAX];
	uint64_t last_delivery_ns[NODES_MAX][NODES_MAX];
	unsigned drop_percent, repeat_percent, latency_ms;
	/* Scenarios: may swallow a frame by returning true. */
	bool (*filter)(struct world *w, unsigned from, unsigned to, const struct frame *f);
	void *filter_ctx;
	uint64_t disk_ns; /* Not 0: every log operation takes exactly this. */
	uint64_t disk_ns_of[NODES_MAX];

	/* Truth. */
	uint64_t *order; /* The command at each position. */
	size_t n_order, cap_order;
	bool *acked; /* [command] */
	size_t n_acked, cap_acked;
	uint64_t *leader_of_term; /* [term] id */
	size_t cap_terms;
	uint64_t proposed; /* The last one, 0 if it was refused. */
	uint64_t n_commands, n_unknown, n_crashes, n_power_cuts, n_changes, n_reads, n_snapshots;
	size_t frame_max, acked_position, acked_checked;
	char violation[VIOLATION_SIZE];
};

void world_init(struct world *w, const struct world_options *options);
void world_fini(struct world *w);
uint64_t world_ms(const struct world *w);
unsigned world_random(struct world *w, unsigned below);
bool world_chance(struct world *w, unsigned one_in);
void world_violate(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void world_log(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Write the first configuration: all nodes voters. */
void world_bootstrap(struct world *w);
void node_start(struct node *n);
/* Without power nothing that was in doubt is sure. */
void node_crash(struct node *n, bool power);
/* Let time pass until it is at_ms, everything has stopped on a violation, or until() holds. */
void world_run(struct world *w, uint64_t at_ms);
bool world_until(struct world *w, uint64_t limit_ms, bool (*until)(struct world *w, void *ctx),
		 void *ctx);
struct node *world_leader(struct world *w);
bool node_runs(const struct node *n);
/* Propose one new command at n; returns its number, 0 if it was refused. */
uint64_t node_propose(struct node *n, size_t bytes);
bool world_is_acked(const struct world *w, uint64_t command);
void world_connect_all(struct world *w);
void world_cut(struct world *w, unsigned a, unsigned b);
void world_join(struct world *w, unsigned a, unsigned b);

/* oracle.c */
void oracle_applied(struct node *n, uint64_t index, struct bytes entry);
void oracle_restored(struct node *n);
void oracle_started(struct node *n);
void oracle_step(struct world *w);
void oracle_end(struct world *w);

/* chaos.c: one seed from beginning to end. */
void chaos_run(struct world *w);
