/* One member of the cluster without threads, sockets or clocks: core, guard, log,
 * snapshots and linearizable reads, driven from outside through struct replica_host.
 *
 * The product's host (consensus.c) brings a disk thread, workers and TLS
 * connections; the simulator's brings virtual time and faults. One thread, except
 * where a work's run() says otherwise. The host calls replica_tick() every tick_ms,
 * or when replica_next_tick_ms() says, and replica_turn() after everything else it called. */
#pragma once

#include "controlplane/consensus/consensus.h"
#include "controlplane/consensus/guard.h"
#include "controlplane/consensus/wal.h"

struct replica;

struct replica_work {
	void (*run)(struct replica_work *w);  /* On a worker thread. */
	void (*done)(struct replica_work *w); /* On the loop thread, afterwards. */
	struct replica_work *next;            /* The host's. */
};

struct replica_host {
	struct source *source;
	struct wal_fs *fs;
	/* Inside replica_open(): the log is recovered, operations on it may follow. */
	void (*log_open)(struct replica_host *h, struct wal *w);
	/* Carry out op after those given before, then call op->done(op). Never inside the call. */
	void (*disk)(struct replica_host *h, struct wal_op *op);
	void (*work)(struct replica_host *h, struct replica_work *w);
	/* Where to append one frame for member id; NULL: no connection, or too much is queued. */
	struct buf *(*outbox)(struct replica_host *h, uint64_t id, const char *address);
	/* The frame is complete. */
	void (*posted)(struct replica_host *h, uint64_t id);
	bool (*connected)(struct replica_host *h, uint64_t id);
	/* The members changed: be connected to all of them. */
	void (*members_changed)(struct replica_host *h);
	/* Call replica_turn() soon. */
	void (*wake)(struct replica_host *h);
	/* The process must end. The simulator's returns; nothing is done for the replica any more. */
	void (*fatal)(struct replica_host *h, int exit_code, const char *why);
};

struct replica_config {
	uint64_t id;
	const char *address;
	const struct consensus_callbacks *callbacks;
	void *ctx;
	uint32_t election_ms, heartbeat_ms, tick_ms, read_timeout_ms;
	uint64_t segment_bytes, log_bytes, trailing_bytes, ballast_bytes, low_water_bytes;
	size_t append_bytes_max;     /* R14. */
	uint32_t guard_off;          /* Bit n: rule n is off; simulator only. */
	uint32_t snapshot_chunk_bytes;
};

int replica_bootstrap(struct wal_fs *fs, uint64_t segment_bytes, uint64_t id, const char *address,
		      struct status *st);
int replica_recover(struct wal_fs *fs, uint64_t segment_bytes, uint64_t id, const char *address,
		    struct status *st);
bool replica_exists(struct wal_fs *fs);

/* Defaults are filled in here. On failure *ret_r is not touched. */
int replica_open(const struct replica_config *config, struct replica_host *host,
		 struct replica **ret_r, struct status *st);
/* Take no further part. Calls cb once no operation of it is under way; frees it before. */
void replica_close(struct replica *r, void (*cb)(void *ctx), void *ctx);
/* After fatal() returned: free memory without completing anything (simulator). */
void replica_abandon(struct replica *r);

void replica_tick(struct replica *r);
/* In how many milliseconds the next tick is worth its while; at most 100. */
uint32_t replica_next_tick_ms(const struct replica *r);
void replica_turn(struct replica *r);
/* A whole frame from member id, which is reached at address. -EBADMSG: not understood, drop the connection. */
int replica_receive(struct replica *r, uint64_t id, const char *address, struct bytes frame);
/* The connection from member id came up, or ended without having been announced. */
void replica_connected(struct replica *r, uint64_t id);
void replica_lost(struct replica *r, uint64_t id);

int replica_propose(struct replica *r, void *data, size_t n, consensus_propose_cb cb, void *ctx);
int replica_read_index(struct replica *r, consensus_read_cb cb, void *ctx);
int replica_send(struct replica *r, uint64_t to_id, struct bytes message);
int replica_member_add(struct replica *r, uint64_t id, const char *address, consensus_change_cb cb,
		       void *ctx);
int replica_member_assign(struct replica *r, uint64_t id, enum consensus_member_role role,
			  consensus_change_cb cb, void *ctx);
int replica_member_remove(struct replica *r, uint64_t id, consensus_change_cb cb, void *ctx);
int replica_transfer(struct replica *r, uint64_t id, consensus_change_cb cb, void *ctx);

bool replica_leader(const struct replica *r, uint64_t *ret_id, const char **ret_address);
bool replica_leading(const struct replica *r);
size_t replica_entry_max(const struct replica *r);
size_t replica_members(const struct replica *r, struct consensus_member *ret_members, size_t cap);
void replica_stats(const struct replica *r, struct consensus_stats *ret_stats);

/* For the host's background work and the simulator's oracles. */
struct wal *replica_wal(struct replica *r);
struct raft *replica_core(struct replica *r);
struct guard *replica_guard(struct replica *r);
