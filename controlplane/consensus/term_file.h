/* The member's id, its term and its vote: what it must never forget (docs/log-format.md).
 *
 * Two slots are written in turn and synced, so one interrupted write leaves the
 * other. Writes block the caller for a fraction of a millisecond; they happen in
 * elections only. One thread at a time. */
#pragma once

#include "common/base/status.h"
#include "controlplane/consensus/wal_fs.h"

#define TERM_FILE_NAME "term"

struct term_file {
	struct wal_fs *fs;
	struct wal_file *file;
	uint64_t version; /* Of the newest slot. */
	uint64_t id, term, vote;
};

/* -ENOENT when there is none; -EUCLEAN when neither slot can be read. */
int term_file_open(struct term_file *t, struct wal_fs *fs, struct status *st);
/* Make it; there must be none. */
int term_file_create(struct term_file *t, struct wal_fs *fs, uint64_t id, uint64_t term,
		     struct status *st);
/* On the disk when it returns 0. */
int term_file_store(struct term_file *t, uint64_t term, uint64_t vote);
void term_file_close(struct term_file *t);
