/* The control plane under chaos: what the parts of sim-cluster share.
 *
 *   cluster.h   masters over a simulated log
 *   agents.c    nodes: heartbeats, pods' lives, reports, registration
 *   clients.c   what people do, and what they were told became of it
 *   oracle.c    what must hold after every change
 *   settled.c   what must hold once the faults have stopped
 *   main.c      seeds, faults, figures
 *
 * Everything comes from one seed: a seed and a commit replay a failure. One thread. */
#pragma once

#include "common/base/map.h"
#include "tests/sim/cluster/cluster.h"

#define VERB(v) SAMPAN_MASTER__WRITE_REQUEST__VERB__##v

enum { MASTERS = 3, NODES = 4, NAMESPACES = 3, WRITES_MAX = 600, COUNTERS = 3 };
enum { SWITCHES = 3, SWITCH_VALUES = 3, SWITCH_CHANGES_MAX = 1024 };

enum pod_life { LIFE_STARTING, LIFE_RUNNING, LIFE_READY, LIFE_FAILED, LIFE_STOPPING, LIFE_GONE };

/* One pod as its agent knows it. */
struct agent_pod {
	char *namespace, *name, *uid; /* In the sim's arena. */
	enum pod_life life;
	uint64_t next_ns;        /* When it goes on to the next stage of its life. */
	uint64_t asked_until_ns; /* A report is under way until then. */
	unsigned ip;
	bool seen; /* In the answer to the newest poll. */
};

struct agent {
	char name[16];
	unsigned number;
	bool up;         /* The machine runs. */
	bool cut_off;    /* It runs and nobody hears it. */
	unsigned leader; /* Which it speaks with; good while it polls. */
	uint64_t next_poll_ns;
	uint64_t asked_until_ns; /* Registration or a status of the Node is under way. */
	unsigned ips;
	struct agent_pod *pods;
	size_t n_pods, cap_pods;
	/* By any leader: the newest time, and the longest silence that ended within the last
	 * second. */
	uint64_t heard_ns, before_ns;
};

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

struct figures {
	uint64_t decisions, entries, changes, pods, evictions, requests, refused, unknown;
	uint64_t crashes, depositions, partitions, node_faults, messages_lost, clock_jumps;
	uint64_t virtual_ns, settle_ns_max;
};

struct oracle;

struct chaos {
	struct sim sim;
	bool trace;
	/* Of this seed. */
	bool calm_nodes; /* Only masters fail: nothing may be evicted. */
	int64_t clock_off_ns[MASTERS];
	bool healed; /* Faults are over, and the machines are large enough for everything. */
	unsigned agent_loss_percent;
	struct agent agents[NODES];
	/* The leader's memory of heartbeats: each master's own, of its newest leadership. */
	uint64_t heard_ns[MASTERS][NODES], leading_since_ns[MASTERS];
	bool silent[NODES];
	struct followed writes[WRITES_MAX];
	unsigned n_writes;
	struct counter counters[COUNTERS];
	struct switched switches[SWITCHES];
	/* A master that leads nobody any more and does not know; -1: there is none. */
	int stale;
	uint64_t step_down_ns, join_ns;
	struct oracle *oracle;
	struct figures figures;
};

void chaos_fail(struct chaos *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3), noreturn));
void chaos_trace(struct chaos *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Let time pass: masters and agents. */
void chaos_run(struct chaos *c, uint64_t us);
/* Out of 100. */
bool chaos_chance(struct chaos *c, unsigned percent);
unsigned chaos_master_up(struct chaos *c);
void chaos_elect(struct chaos *c);

/* --- agents.c --- */
void agents_init(struct chaos *c);
void agents_fini(struct chaos *c);
void agents_turn(struct chaos *c, uint64_t poll_us_max);
/* A leader begins to count. */
void agents_leader_changed(struct chaos *c, unsigned master);
int64_t agents_silence_ms(void *ctx, unsigned master, const char *node);
/* Something happens to a node, or all nodes come back. */
void agents_fault(struct chaos *c);
void agents_heal(struct chaos *c);

/* --- clients.c --- */
void clients_turn(struct chaos *c);
/* Undo what keeps pods from being placed: cordons, taints. */
void clients_heal(struct chaos *c);
/* The first objects of a cluster. */
void clients_begin(struct chaos *c);
void clients_check(struct chaos *c);
/* A switch has a value from now on. */
void clients_switched(struct chaos *c, const struct object *config);
/* A request without a follower. */
void clients_submit(struct chaos *c, unsigned master, const char *verb, const char *resource,
		    const char *namespace, const char *name, const char *json);

/* --- oracle.c --- */
void oracle_init(struct chaos *c);
void oracle_fini(struct chaos *c);
/* After a start of the master: see its changes. */
void oracle_attach(struct chaos *c, unsigned master);

/* --- settled.c --- */
/* NULL, or what is not as wanted yet (in the sim's arena). */
const char *settled_why_not(struct chaos *c);
