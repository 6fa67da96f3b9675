/* A directory that behaves like a disk at its worst.
 *
 * Reads see every write at once, as from a page cache. What was not synced is in
 * doubt until a power cut: each of its sectors may then be there, not be there, or be
 * torn, independently; of the names that changed since the last sync of the directory, only
 * a first part is there. A process that merely died leaves everything as it was. */
#pragma once

#include "common/base/source.h"
#include "controlplane/consensus/wal_fs.h"

struct sim_fs;

struct sim_fs *sim_fs_new(struct source *chance);
void sim_fs_free(struct sim_fs *fs);
struct wal_fs *sim_fs_table(struct sim_fs *fs);

/* The process is gone: all files are closed. */
void sim_fs_process_died(struct sim_fs *fs);
/* The power is gone: what was in doubt is decided. */
void sim_fs_power_cut(struct sim_fs *fs);
/* The n-th change from now, and all after it, does not happen; sim_fs_is_dead() then. */
void sim_fs_die_in(struct sim_fs *fs, unsigned n);
bool sim_fs_is_dead(const struct sim_fs *fs);
/* The n-th write from now fails with rc, once. */
void sim_fs_fail_in(struct sim_fs *fs, unsigned n, int rc);
/* No file grows beyond this many bytes in sum; 0: no bound. */
void sim_fs_set_capacity(struct sim_fs *fs, uint64_t bytes);
uint64_t sim_fs_used(const struct sim_fs *fs);
/* Syncs of this kind do nothing. */
void sim_fs_leave_out(struct sim_fs *fs, enum wal_sync why);
/* Flip one bit of a file's content; false when it is shorter. */
bool sim_fs_flip(struct sim_fs *fs, const char *name, uint64_t offset, unsigned bit);
/* Content as it is now; NULL when there is no such file. */
const uint8_t *sim_fs_content(struct sim_fs *fs, const char *name, uint64_t *ret_size);
/* How often a sync of log entries had to carry what should have been synced before. */
unsigned sim_fs_late_bytes(const struct sim_fs *fs);
uint64_t sim_fs_changes(const struct sim_fs *fs);

const char *wal_sync_name(enum wal_sync why);
