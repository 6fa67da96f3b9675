/* Nodes under chaos. An agent asks the leader what it should run and brings its pods through
 *
 *   STARTING --> RUNNING --> READY <--> RUNNING (a probe fails, a container restarts)
 *       |           |          |
 *       +-----------+----------+--> STOPPING --> OVER (succeeded or failed)
 *
 * Pods that run to an end go from READY to OVER by themselves. What differs from what
 * the leader shows is reported; that a pod to be deleted is over ends it. Questions
 * and reports get lost; machines fall silent, lose power, or are only cut off, and
 * then still run what they ran. An agent's memory of what ended is on its disk.
 *
 * The agents are the truth: what a controller believes is checked against them.
 * agents.c has the machines, lives.c their pods. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/sim/cluster/cluster.h"

struct chaos;

enum { AGENTS_MAX = 9 };

enum pod_life { LIFE_STARTING, LIFE_RUNNING, LIFE_READY, LIFE_STOPPING, LIFE_OVER };

/* One pod as its agent knows it. */
struct agent_pod {
	char *namespace, *name, *uid; /* In the sim's arena. */
	enum pod_life life;
	bool succeeded; /* When it is over. */
	bool restarts_always, restarts_on_failure;
	unsigned fails_percent, runs_ms; /* runs_ms 0: it never ends by itself. */
	unsigned exit_code, restarts;
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
	int session;     /* Whose answers it builds upon; -1: nobody's. */
	uint64_t next_poll_ns;
	uint64_t asked_until_ns; /* Registration or a status of the Node is under way. */
	unsigned ips;
	struct agent_pod *pods;
	size_t n_pods, cap_pods;
	/* By any leader: the newest time, and the longest silence that ended within the last
	 * second. */
	uint64_t heard_ns, before_ns;
	bool silent; /* For the leader. */
};

struct agents {
	struct agent all[AGENTS_MAX];
	unsigned n;
	unsigned loss_percent;                 /* Of polls and reports. */
	unsigned crash_percent, probe_percent; /* Of starts, and of half a minute of a pod. */
	/* The leader's memory of heartbeats: each master's own, of its newest leadership. */
	uint64_t heard_ns[SIM_MASTERS_MAX][AGENTS_MAX], leading_since_ns[SIM_MASTERS_MAX];
};

void agents_init(struct chaos *c, unsigned n);
void agents_fini(struct chaos *c);
/* What is due, and when something will be. */
void agents_turn(struct chaos *c);
uint64_t agents_next_ns(const struct chaos *c);
/* A change that an agent would be told of. */
void agents_notice(struct chaos *c, const struct object *o);
/* Nobody may be able to speak with the leader from now on: what was heard until now is noted. */
void agents_note_heard(struct chaos *c);
/* A leader begins to count. */
void agents_leader_changed(struct chaos *c, unsigned master);
int64_t agents_silence_ms(void *ctx, unsigned master, const char *node);
struct agent *agents_named(struct chaos *c, const char *name);
/* Something happens to a node, or all nodes come back. */
void agents_fault(struct chaos *c);
void agents_come_back(struct chaos *c);

/* A poll within so many milliseconds. */
void agents_poll_again(struct chaos *c, struct agent *a, unsigned ms);

/* --- volumes.c: volumes of this node that are to go. */
void volumes_polled(struct chaos *c, struct agent *a);

/* --- lives.c ----------------------------------------------------------------------------- */
/* One pod of the answer to a poll. */
void lives_take(struct chaos *c, struct agent *a, const struct object *o);
/* Pods that were not in the answer are nobody's: they end without a word. */
void lives_polled(struct chaos *c, struct agent *a);
void lives_turn(struct chaos *c, struct agent *a);
/* The machine starts: what ran begins again, what was over stays so. */
void lives_reboot(struct chaos *c, struct agent *a);
struct agent_pod *lives_find(struct agent *a, const char *uid);
/* Its containers run, or may at any time. */
bool lives_runs(const struct agent_pod *pod);
