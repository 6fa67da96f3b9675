/* The replicated log of the masters: propose bytes, get them applied in the same
 * order everywhere, know who leads.
 *
 * Behind it stand libraft's core under a guard (guard.h), our write-ahead log
 * (wal.h), mutually authenticated connections between masters (peers.h) and
 * snapshots streamed as files (snapshot.h). Nothing of these shows here.
 *
 * Everything happens on the thread of config.loop, except snapshot_write, which
 * runs on a worker thread. No callback runs inside a call that the owner makes,
 * except completions of consensus_propose() on a failed proposal, which are
 * reported by the return value instead. A storage error, a log that cannot be
 * trusted or a broken promise of the core ends the process (exit codes below):
 * restart is recovery. Functions return 0 or a negative errno. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "common/base/buf.h"
#include "common/base/source.h"
#include "common/base/status.h"

/* 70: a broken promise inside the process; restart.
 * 71: the disk failed or is full; restart when it is well again.
 * 72: the log or snapshot is damaged in a way no interrupted write explains. Do not
 *     restart: remove the member, wipe its directory, join as a new member. */
enum consensus_exit {
	CONSENSUS_EXIT_BROKEN_PROMISE = 70,
	CONSENSUS_EXIT_STORAGE = 71,
	CONSENSUS_EXIT_CORRUPT = 72,
};

enum consensus_role {
	CONSENSUS_FOLLOWER,
	CONSENSUS_CANDIDATE,
	CONSENSUS_LEADER, /* Elected; it leads only after leading(). */
};

/* What a member is to the others. SPARE: known, gets nothing. STANDBY: gets the
 * log, does not count. VOTER: counts. */
enum consensus_member_role {
	CONSENSUS_SPARE,
	CONSENSUS_STANDBY,
	CONSENSUS_VOTER,
};

struct consensus;

/* Put n bytes into the snapshot; 0 or a negative errno, after which snapshot_write gives up with it. */
typedef int (*consensus_write_fn)(void *write_ctx, const void *data, size_t n);
/* Up to n bytes of the snapshot; 0 at its end, or a negative errno. */
typedef int64_t (*consensus_read_fn)(void *read_ctx, void *data, size_t n);

/* All but snapshot_write on the loop thread; ctx is the config's. */
struct consensus_callbacks {
	/* A committed entry, in order, exactly once per start of the process. It must not fail.
	 * index grows but has gaps: the core's own entries lie between. */
	void (*apply)(void *ctx, uint64_t index, struct bytes entry);
	/* Any change of role, term or known leader (0: none). */
	void (*leader_changed)(void *ctx, enum consensus_role role, uint64_t term,
			       uint64_t leader_id);
	/* This member leads and everything of earlier terms is applied: from here to
	 * lost_leadership() proposals are taken. */
	void (*leading)(void *ctx, uint64_t term);
	void (*lost_leadership)(void *ctx);

	/* Take references to the state as it is now; NULL: not now, ask again later. */
	void *(*snapshot_begin)(void *ctx);
	/* Worker thread: stream what the handle holds. */
	int (*snapshot_write)(void *ctx, void *handle, consensus_write_fn write, void *write_ctx);
	/* Done, well or not. */
	void (*snapshot_end)(void *ctx, void *handle);
	/* Replace the state by a snapshot's, which holds everything up to index. A negative errno ends the process. */
	int (*restore)(void *ctx, uint64_t index, consensus_read_fn read, void *read_ctx);

	/* The disk fell below the low-water mark (leadership is handed over; refuse writes) or recovered. */
	void (*storage_low)(void *ctx, bool low);
	/* A message of the layer above from another master; valid during the call. */
	void (*app_message)(void *ctx, uint64_t from_id, struct bytes message);
	/* The log's members changed (committed or not yet); consensus_members() tells. May be NULL. */
	void (*members_changed)(void *ctx);
};

/* PEM text, not paths. The certificate's subject CN must be consensus_member_name(id). */
struct consensus_tls {
	struct bytes ca;   /* One or more certificates. */
	struct bytes cert; /* Own certificate first, then intermediates. */
	struct bytes key;
};

/* Zero in a number means the default in brackets. Everything is copied. */
struct consensus_config {
	uint64_t id;          /* Never 0, never reused once its disk is lost. */
	const char *dir;      /* Exists, belongs to this process alone. */
	const char *address;  /* How the others reach us: "host:port". */
	const char *listen;   /* Where we listen: "ip:port" or "[ip6]:port"; NULL: nowhere (a cluster of one). */
	struct consensus_tls tls; /* Unused when listen is NULL. */
	uv_loop_t *loop;
	struct source *source; /* NULL: system_source. */
	const struct consensus_callbacks *callbacks;
	void *ctx;

	uint32_t election_ms;    /* [500] */
	uint32_t heartbeat_ms;   /* [50] */
	uint32_t tick_ms;        /* [10] */
	uint32_t read_timeout_ms; /* [3000] consensus_read_index() gives up. */
	uint64_t segment_bytes;  /* [16 MiB] One file of the log. */
	uint64_t log_bytes;      /* [16 MiB] In memory; beyond it a snapshot is taken. */
	uint64_t trailing_bytes; /* [log_bytes / 2] Kept after a snapshot. */
	uint64_t ballast_bytes;  /* [two segments] Reserve given up when the disk is full. */
	uint64_t low_water_bytes; /* [64 MiB] Free space below which writes are refused. */
};

/* "sampan:master:<16 lower-case hex digits of id>": the CN of a member's certificate. */
#define CONSENSUS_NAME_SIZE 32
void consensus_member_name(uint64_t id, char ret_name[CONSENSUS_NAME_SIZE]);
/* The id in such a name, or 0. */
uint64_t consensus_member_id(const char *name);

/* Make a new cluster of one in an empty dir; it leads itself once opened. -EEXIST when there is a log already. */
int consensus_bootstrap(const char *dir, uint64_t id, const char *address,
			uint64_t segment_bytes, struct status *st);
/* Whether dir holds a member's log; a joining member opens an empty dir without bootstrap. */
bool consensus_exists(const char *dir);
/* Force a cluster of one out of what dir holds, after a majority is lost for good. Nothing may run on
 * it, and the other members' directories must be wiped before they join again. */
int consensus_recover(const char *dir, uint64_t id, const char *address, uint64_t segment_bytes,
		      struct status *st);

/* Recover the log, restore() the snapshot, listen, take part. Callbacks may run before it returns
 * (restore, apply for a cluster of one). Damage is reported here with -EUCLEAN, a full or failing
 * disk with its errno. */
int consensus_open(const struct consensus_config *config, struct consensus **ret_c,
		   struct status *st);
/* Hand leadership over (at most one election timeout), say goodbye, finish what the disk has begun,
 * free everything, call cb. Proposals in flight fail with -EUNATCH. */
void consensus_close(struct consensus *c, void (*cb)(void *ctx), void *ctx);
/* New certificates: connections are announced as ending, then made anew. */
int consensus_set_tls(struct consensus *c, const struct consensus_tls *tls, struct status *st);

/* 0: applied on this member. -EUNATCH: leadership was lost while it was under way; it may or may not
 * have been committed. */
typedef void (*consensus_propose_cb)(void *ctx, int rc);
/* Append data (malloc'ed, taken over whatever the result) to the log. Above 1 KiB it is compressed here (LZ4).
 * One call per turn of the loop is best: batch above. Immediate errors: -ESHUTDOWN not leading,
 * -EFBIG above consensus_entry_bytes_max(), -ENOBUFS too much in flight, -ENOSPC low water. */
int consensus_propose(struct consensus *c, void *data, size_t n, consensus_propose_cb cb, void *ctx);
size_t consensus_entry_bytes_max(const struct consensus *c);

/* rc 0: this member has applied everything that was committed anywhere when the call was made.
 * -ETIMEDOUT: no leader could confirm. -ECANCELED: closing. term is the confirming leader's. */
typedef void (*consensus_read_cb)(void *ctx, int rc, uint64_t term);
/* Works on every member, writes nothing to any disk. The callback never runs inside the call. */
int consensus_read_index(struct consensus *c, consensus_read_cb cb, void *ctx);

/* Send a message to another master (0: the current leader) at most once, in order while a
 * connection lasts. data is copied. -EHOSTUNREACH no such member or leader, -ENOTCONN, -ENOBUFS, -EFBIG. */
int consensus_send(struct consensus *c, uint64_t to_id, struct bytes message);
#define CONSENSUS_MESSAGE_MAX ((size_t)8 << 20)

/* The current leader; false when none is known. *ret_address is valid until the next turn. */
bool consensus_leader(const struct consensus *c, uint64_t *ret_id, const char **ret_address);
/* Between leading() and lost_leadership(). */
bool consensus_leading(const struct consensus *c);

/* 0, or -ESHUTDOWN not leading (any more), -EBUSY another change is under way, -EEXIST, -ENOENT,
 * -EALREADY the role is that already, -ENOTCONN the member did not catch up in time. */
typedef void (*consensus_change_cb)(void *ctx, int rc);
/* Leader only. A new member: add (a spare), standby, then voter when it has caught up. */
int consensus_member_add(struct consensus *c, uint64_t id, const char *address,
			 consensus_change_cb cb, void *ctx);
int consensus_member_assign(struct consensus *c, uint64_t id, enum consensus_member_role role,
			    consensus_change_cb cb, void *ctx);
int consensus_member_remove(struct consensus *c, uint64_t id, consensus_change_cb cb, void *ctx);

struct consensus_member {
	uint64_t id;
	const char *address;
	enum consensus_member_role role;
	bool self, connected;
	uint64_t match_index;     /* Known to be stored there; leader only. */
	uint64_t last_contact_ms; /* Since we last heard from it; UINT64_MAX: never. */
};

/* Fill up to cap members in id order; returns how many there are. Addresses are valid until the next turn. */
size_t consensus_members(const struct consensus *c, struct consensus_member *ret_members, size_t cap);

/* Hand leadership to id (0: whoever is most up to date). rc 0: it leads. -ETIMEDOUT: it does not yet. */
int consensus_transfer(struct consensus *c, uint64_t id, consensus_change_cb cb, void *ctx);

struct consensus_stats {
	uint64_t id, term, leader_id;
	enum consensus_role role;
	bool leading, storage_low;
	uint64_t last_index, stored_index, commit_index, applied_index, snapshot_index;
	uint64_t log_bytes, snapshot_bytes, disk_bytes_written, disk_syncs;
	uint64_t elections, proposals, reads;
	uint64_t messages_sent, messages_received, messages_dropped;
	uint64_t guard_repairs[20]; /* [n]: how often rule Rn changed something. */
};

void consensus_stats(const struct consensus *c, struct consensus_stats *ret_stats);
