/* Shared by the files of the replica; nobody else includes it.
 *
 *   replica.c            life, proposals, members, what the owner asks
 *   replica_io.c         libraft's raft_io: storing, sending, receiving
 *   replica_snapshot.c   own snapshots, and how much of the log stays in memory
 *   replica_transfer.c   snapshots on their way between members
 *   replica_read.c       linearizable reads */
#pragma once

#include "common/base/list.h"
#include "controlplane/consensus/frame.h"
#include "controlplane/consensus/replica.h"
#include "controlplane/consensus/snapshot_file.h"
#include "controlplane/consensus/term_file.h"

#define SNAPSHOT_PART_NAME "snapshot.part"
#define SNAPSHOT_RECEIVED_NAME "snapshot.received"
#define PEERS_MAX CORE_MEMBERS_MAX
#define READS_MAX 65536
#define PROPOSED_BYTES_MAX ((size_t)64 << 20)
#define TRANSFER_WINDOW 4 /* Chunks under way. */
#define TRANSFER_STALL_MS 10000

/* What we know of another member, from messages. */
struct peer_state {
	uint64_t id;
	uint64_t echo; /* Newest of our stamps that it returned in this term. */
	uint64_t seen, seen_term; /* Newest of its stamps as leader. */
	uint64_t contact_ms; /* 0: never. */
	uint64_t commit_sent;
};

/* Sizes of the entries in memory, to know when to compact. */
struct log_meter {
	uint32_t *sizes; /* Ring. */
	size_t cap, head, count;
	uint64_t first; /* Index of the oldest. */
	uint64_t bytes;
};

struct finished_send {
	struct raft_io_send *req;
	raft_io_send_cb cb;
	int status;
};

struct read {
	struct list link;
	consensus_read_cb cb;
	void *ctx;
	uint64_t deadline_ms;
	uint64_t index, term; /* Once confirmed. */
	uint64_t peer, request; /* peer != 0: answer goes there. */
};

struct outgoing {
	struct replica *replica;
	struct replica_work work;
	uint64_t id;
	char *address;
	uint64_t transfer; /* 0: free slot. */
	struct raft_io_send *req;
	raft_io_send_cb cb;
	struct wal_file *file;
	uint64_t index, term, size, sent, acked, progress_ms;
	bool reading, dead;
	uint8_t *chunk;
	int64_t chunk_n;
};

struct incoming_chunk {
	struct list link;
	size_t n;
	uint8_t data[];
};

struct incoming {
	struct replica_work work;
	uint64_t from;
	char *address;
	uint64_t transfer; /* 0: none. */
	uint64_t term, last_index, last_term, configuration_index, size;
	struct buf configuration;
	struct wal_file *file;
	uint64_t written, queued;
	struct list chunks;
	bool busy, verifying, abandoned;
	int rc;
};

struct replica {
	struct raft raft;
	struct guard guard;
	struct raft_fsm fsm;
	struct replica_host *host;
	struct replica_config config;
	char *address;
	struct term_file terms;
	struct wal *wal;
	struct wal_loaded loaded;
	bool core_ready; /* raft_init() succeeded. */

	raft_io_tick_cb tick;
	raft_io_recv_cb recv;
	raft_io_close_cb closed;
	uint64_t next_index; /* Of the next append. */
	uint64_t ticked_ms;  /* The last tick. */
	unsigned under_way;  /* Operations of host that will come back. */
	bool closing, dead, told_leading, in_turn;
	void (*close_cb)(void *ctx);
	void *close_ctx;

	struct finished_send *finished;
	size_t n_finished, cap_finished;
	struct peer_state peers[PEERS_MAX];
	size_t n_peers;
	uint64_t members_seen[3];
	struct buf scratch; /* One decompressed entry. */

	struct log_meter meter;
	struct {
		void *handle;
		struct buf configuration;
		uint64_t size; /* Of the last file. */
		uint64_t not_before_ms;
		bool holds_handle;
	} snapshot;

	struct outgoing outgoing[PEERS_MAX];
	struct incoming incoming;
	uint64_t next_transfer;

	struct {
		struct list waiting, asked, applying;
		size_t n;
		uint64_t request, stamp, index, term, asked_ms;
	} reads;

	struct replica_work spare_work;
	bool spare_busy;
	int spare_rc;
	uint64_t spare_not_before_ms;

	bool storage_low;
	uint64_t storage_checked_ms;
	size_t proposed_bytes;
	uint64_t elections, proposals, n_reads, sent, received, dropped;
};

uint64_t replica_now_ms(const struct replica *r);
struct peer_state *replica_peer(struct replica *r, uint64_t id);
/* Append a frame for id; -ENOTCONN when there is no way now. */
int replica_post(struct replica *r, uint64_t id, const char *address, struct frame *f);
void replica_work_start(struct replica *r, struct replica_work *w);
void replica_work_ended(struct replica *r);
/* Fire what send() promised; before anything new reaches the core. */
void replica_finish_sends(struct replica *r);
void replica_send_finished(struct replica *r, struct raft_io_send *req, raft_io_send_cb cb,
			   int status);
void replica_fatal(struct replica *r, int exit_code, const char *why);

/* replica_io.c */
void replica_io_fill(struct replica *r, struct raft_io *ret_io);
int replica_io_open(struct replica *r, struct status *st);
int replica_on_raft_frame(struct replica *r, uint64_t id, const char *address,
			  const struct frame *f);

/* replica_snapshot.c */
void replica_fsm_fill(struct replica *r);
void replica_snapshot_policy(struct replica *r);
void meter_push(struct log_meter *m, uint64_t index, size_t bytes);
void meter_truncate(struct log_meter *m, uint64_t index);
void meter_reset(struct log_meter *m, uint64_t index);
void meter_fini(struct log_meter *m);

/* replica_transfer.c */
void transfer_start(struct replica *r, uint64_t id, const char *address,
		    const struct raft_install_snapshot *args, struct raft_io_send *req,
		    raft_io_send_cb cb);
void transfer_tick(struct replica *r);
void transfer_lost(struct replica *r, uint64_t id);
void transfer_on_install(struct replica *r, uint64_t id, const char *address,
			 const struct frame *f);
void transfer_on_chunk(struct replica *r, uint64_t id, const struct frame *f);
void transfer_on_ack(struct replica *r, uint64_t id, const struct frame *f);
void transfer_close(struct replica *r);

/* replica_read.c */
void reads_init(struct replica *r);
void reads_turn(struct replica *r);
void reads_tick(struct replica *r);
void reads_leader_changed(struct replica *r);
void reads_on_read(struct replica *r, uint64_t id, const struct frame *f);
void reads_on_answer(struct replica *r, uint64_t id, const struct frame *f);
void reads_on_probe(struct replica *r, uint64_t id, const char *address, const struct frame *f);
void reads_on_echo(struct replica *r, uint64_t id, uint64_t term, uint64_t echo);
void reads_close(struct replica *r, int rc);
