/* The one directory a member keeps its files in, behind a table.
 *
 * The log, the term file and snapshots reach the disk only through it, so the
 * simulator can run the very same code over files that lose, reorder and tear
 * what was not synced. Names are plain, without a slash. Functions return 0 (or
 * a count) or a negative errno. Any thread, but one file belongs to one thread
 * at a time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Each place that syncs, by name, so that the simulator can leave out one and show what breaks. */
enum wal_sync {
	WAL_SYNC_ENTRIES,       /* Records of the log, before they are reported as stored. */
	WAL_SYNC_TERM,          /* Term and vote, before a message can show them. */
	WAL_SYNC_TERM_NAME,     /* The term file's name, when it is made. */
	WAL_SYNC_SPARE,         /* A zeroed segment, before it is used (keeps the cost out of the log's path). */
	WAL_SYNC_SEGMENT_NAME,  /* A segment's name, before anything is written into it. */
	WAL_SYNC_SNAPSHOT_DATA, /* A snapshot's content, before it gets its name. */
	WAL_SYNC_SNAPSHOT_NAME, /* A snapshot's name, before the log it replaces goes. */
	WAL_SYNC_RECOVERED,     /* What recovery found, before it counts as stored. */
	WAL_SYNC_COUNT,
};

struct wal_file;

struct wal_fs {
	/* Open for reading and writing; create makes it empty if it is not there. */
	int (*open)(struct wal_fs *fs, const char *name, bool create, struct wal_file **ret_file);
	void (*close)(struct wal_fs *fs, struct wal_file *file);
	int64_t (*size)(struct wal_fs *fs, struct wal_file *file);
	/* Up to n bytes; fewer only at the end of the file. */
	int64_t (*read)(struct wal_fs *fs, struct wal_file *file, uint64_t offset, void *data,
			size_t n);
	/* All n bytes. */
	int (*write)(struct wal_fs *fs, struct wal_file *file, uint64_t offset, const void *data,
		     size_t n);
	int (*truncate)(struct wal_fs *fs, struct wal_file *file, uint64_t size);
	/* Content and size are on the disk when it returns. */
	int (*sync)(struct wal_fs *fs, struct wal_file *file, enum wal_sync why);
	/* Replaces to, if there is one; open files stay what they are. */
	int (*rename)(struct wal_fs *fs, const char *from, const char *to);
	int (*unlink)(struct wal_fs *fs, const char *name);
	/* All names are on the disk as they are now when it returns. */
	int (*sync_dir)(struct wal_fs *fs, enum wal_sync why);
	int (*list)(struct wal_fs *fs, void (*each)(void *ctx, const char *name), void *ctx);
	/* What the disk still takes. */
	int64_t (*free_bytes)(struct wal_fs *fs);
	/* Give the file n bytes of real space. */
	int (*reserve)(struct wal_fs *fs, struct wal_file *file, uint64_t n);
};

/* The real one. dir must exist; it is locked against a second process (-EBUSY). */
int wal_fs_open(const char *dir, struct wal_fs **ret_fs);
void wal_fs_close(struct wal_fs *fs);
