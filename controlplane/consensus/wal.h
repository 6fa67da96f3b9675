/* The write-ahead log: entries in segments of fixed size, each record synced
 * before it is reported (docs/log-format.md).
 *
 * This is format and logic only: wal_run() carries out operations at once, on
 * whatever thread calls it, through the directory's table. disk_thread.h drives it
 * in the product, the simulator drives it on virtual time. One thread at a time,
 * except wal_prepare_spare() and wal_wants_spare(), which any thread may call.
 * After an error of wal_run() the log takes nothing any more: the process must end
 * and recover. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/status.h"
#include "controlplane/consensus/wal_fs.h"

struct wal;

struct wal_entry {
	uint64_t term;
	uint16_t type; /* enum wal_record_type, 1 to 3. */
	size_t length;
	const void *data;
};

enum wal_op_kind {
	WAL_OP_APPEND,   /* Entries from index on. */
	WAL_OP_TRUNCATE, /* Forget entries from index on. */
	WAL_OP_RESET,    /* Forget all entries; the next one has index. */
	WAL_OP_SNAPSHOT, /* Give file snapshot its name, then forget entries up to keep. */
	WAL_OP_INSTALL,  /* The same, and the log starts anew at index. */
};

struct wal_op {
	struct wal_op *next;
	enum wal_op_kind kind;
	uint64_t index;
	struct wal_entry *entries;
	size_t n_entries;
	const char *file;
	uint64_t keep;
	int rc; /* Out. */
	/* The driver's: called on the loop thread once rc is known. */
	void (*done)(struct wal_op *op);
};

/* What recovery found; entries and their data are malloc'ed, the caller's. */
struct wal_loaded {
	uint64_t first_index; /* Of entries[0], or of the next entry when there are none. */
	struct wal_loaded_entry {
		uint64_t term;
		uint16_t type;
		size_t length;
		void *data;
	} *entries;
	size_t n_entries;
	bool fresh; /* The directory held no log. */
};

void wal_loaded_fini(struct wal_loaded *l);

#define WAL_SNAPSHOT_NAME "snapshot"
#define WAL_BALLAST_NAME "ballast"

/* Recover what the directory holds, or start an empty log. -EUCLEAN: damage that no interrupted
 * write explains. segment_bytes holds for new segments. */
int wal_open(struct wal_fs *fs, uint64_t segment_bytes, struct wal **ret_w,
	     struct wal_loaded *ret_loaded, struct status *st);
void wal_close(struct wal *w);
/* Remove everything of a log from the directory (an interrupted bootstrap). */
int wal_wipe(struct wal_fs *fs);
/* How many segments the directory holds; decides nothing. */
int wal_count_segments(struct wal_fs *fs);

/* Carry out a list of operations in order with as few syncs as can be; sets each rc. Returns the first error. */
int wal_run(struct wal *w, struct wal_op *ops);

/* A segment should be prepared before the current one is full. */
bool wal_wants_spare(struct wal *w);
/* Write and sync one; an error only means that the log will do it itself later. */
int wal_prepare_spare(struct wal *w);

/* The longest entry a log with such segments takes. */
size_t wal_entry_max(uint64_t segment_bytes);

struct wal_stats {
	uint64_t bytes_written, syncs;
	bool ballast_used; /* The disk was full and the reserve was given up. */
};

/* The reserve was made again. Any thread. */
void wal_ballast_restored(struct wal *w);
void wal_stats(struct wal *w, struct wal_stats *ret_stats);
