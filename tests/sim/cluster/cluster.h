/* Masters in one process on virtual time: store, door, controllers and scheduler
 * of each, over a log and a network that the test bends to its will.
 *
 * The log stands in for consensus and promises what consensus.h promises: entries
 * are applied in one order, a proposal ends with 0 or -EUNATCH, and whoever leads
 * has applied everything of earlier terms. Delays, losses, crashes and who wins an
 * election come from the seed. After every step the oracles of check() hold, or
 * the test fails with the seed. One thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/source.h"
#include "controlplane/deciding/deciding.h"
#include "controlplane/store/store.h"
#include "controlplane/writes/writes.h"

enum { SIM_MASTERS_MAX = 5 };

struct sim;

struct sim_master {
	struct sim *sim;
	uint64_t id; /* Its index plus 1. */
	bool up, leading;
	bool cut_off; /* From the other masters, not from clients and agents. */
	struct seeded_source source;
	struct log_link link;
	struct store *store;
	struct rpc *rpc;
	struct writes *writes;
	struct deciding *deciding; /* NULL without controllers. */
	size_t applied;            /* Entries. */
	/* Proposals that will end with -EUNATCH once it notices. */
	struct sim_doomed *doomed;
	size_t n_doomed, cap_doomed;
	/* Questions to a majority whether this one leads, by due time. */
	struct sim_confirm *confirms;
	size_t n_confirms, cap_confirms;
};

struct sim_confirm {
	uint64_t due_ns;
	log_propose_cb *cb;
	void *ctx;
};

struct sim_doomed {
	log_propose_cb *cb;
	void *ctx;
};

struct sim_entry {
	uint8_t *data;
	size_t n;
	unsigned proposer; /* Index. */
	uint64_t incarnation, commit_ns;
	log_propose_cb *cb;
	void *ctx;
	bool committed;
	/* The hash that every master must have after it; 0: nobody has applied it yet. */
	uint64_t hash;
};

struct sim_message {
	unsigned from, to;
	uint64_t deliver_ns;
	uint8_t *data;
	size_t n;
	struct sim_message *next;
};

struct sim_options {
	unsigned masters;
	bool controllers;
	unsigned loss_percent;  /* Of messages between masters. */
	uint64_t commit_us_max; /* From proposal to commit. */
	uint64_t message_us_max;
	uint64_t history_events; /* 0: the default. */
	/* While nothing happens, sleep as long as the masters say they can. */
	bool leap;
	/* What views show of nodes (view.h); NULL: nobody keeps track. master is the asking one's
	 * index. */
	int64_t (*node_silence_ms)(void *ctx, unsigned master, const char *node);
	void *node_silence_ctx;
};

struct sim {
	struct sim_options options;
	struct seeded_source source; /* The test's own. */
	uint64_t seed, now_ns;
	struct sim_master masters[SIM_MASTERS_MAX];
	uint64_t incarnations[SIM_MASTERS_MAX];
	struct cluster_config config;
	struct sim_entry *log;
	size_t n_log, cap_log, n_committed;
	int leader; /* Index, or -1. */
	struct sim_message *messages;
	struct arena arena;
	/* Where requests are built; NULL: in arena. */
	struct arena *requests;
	/* Set by a test while time passes: sim_run() comes back early. */
	bool interrupted;
};

void sim_init(struct sim *sim, uint64_t seed, const struct sim_options *options);
void sim_fini(struct sim *sim);

/* Let microseconds pass, in steps of at most one millisecond (longer with leap), or until
 * somebody interrupts. */
void sim_run(struct sim *sim, uint64_t us);
/* Until fn(ctx) or fail after virtual seconds. */
void sim_until(struct sim *sim, bool (*fn)(struct sim *sim, void *ctx), void *ctx, unsigned seconds,
	       const char *what);

/* Nobody leads any more. What is proposed and not committed survives in the log or not, by chance.
 */
void sim_depose(struct sim *sim);
/* The leader is cut off and does not know: it goes on taking proposals, which nobody hears. Another
 * may be elected. It steps down when it has not heard of the others for long enough. */
void sim_cut_off_leader(struct sim *sim);
void sim_step_down(struct sim *sim, unsigned master);
void sim_join(struct sim *sim, unsigned master);
/* A master that is up, and has a majority of the others up, leads. */
void sim_elect(struct sim *sim, unsigned master);
/* kill -9, and a start that restores a snapshot of another master or replays the log. */
void sim_crash(struct sim *sim, unsigned master);
void sim_restart(struct sim *sim, unsigned master);

unsigned sim_draw(struct sim *sim, unsigned below);
/* A request in the sim's arena of requests; json is the body (' for "), NULL: none. */
SampanMaster__WriteRequest *sim_request(struct sim *sim, SampanMaster__WriteRequest__Verb verb,
					const char *resource, const char *namespace,
					const char *name, const char *json);
/* A create of a subresource (eviction, binding). */
SampanMaster__WriteRequest *sim_request_of(struct sim *sim, const char *subresource,
					   const char *resource, const char *namespace,
					   const char *name, const char *json);
/* The object on a master, or NULL. */
const struct object *sim_get(struct sim *sim, unsigned master, const char *resource,
			     const char *namespace, const char *name);
