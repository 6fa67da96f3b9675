/* A snapshot as a file: what it stands for, then the state in checked, compressed
 * blocks (docs/log-format.md). Written and read as a stream through one block of
 * memory. One thread at a time. */
#pragma once

#include "common/base/buf.h"
#include "controlplane/consensus/wal_fs.h"

#define SNAPSHOT_BLOCK ((size_t)64 << 10)
#define SNAPSHOT_CONFIGURATION_MAX ((size_t)64 << 10)

struct snapshot_meta {
	uint64_t index, term; /* Of the last entry in it. */
	uint64_t configuration_index;
	struct bytes configuration; /* As libraft encodes it. */
};

struct snapshot_writer {
	struct wal_fs *fs;
	struct wal_file *file;
	uint64_t at;
	struct buf block, packed;
	uint64_t blocks;
	int rc; /* Sticky. */
};

/* Begin file name anew. Errors stay in the writer and come out of finish. */
void snapshot_writer_open(struct snapshot_writer *w, struct wal_fs *fs, const char *name,
			  const struct snapshot_meta *meta);
int snapshot_writer_put(struct snapshot_writer *w, const void *data, size_t n);
/* Everything is on the disk when it returns 0; *ret_size is the file's. Frees the writer. */
int snapshot_writer_finish(struct snapshot_writer *w, int rc, uint64_t *ret_size);

struct snapshot_reader {
	struct wal_fs *fs;
	struct wal_file *file;
	uint64_t at;
	struct snapshot_meta meta; /* Points into header. */
	struct buf header, block, packed;
	size_t used; /* Of block. */
	bool ended;
	uint64_t blocks;
};

/* -ENOENT no such file, -EUCLEAN damaged. */
int snapshot_reader_open(struct snapshot_reader *r, struct wal_fs *fs, const char *name);
/* Up to n bytes of the state, 0 at its end, -EUCLEAN when a block is damaged or the end is missing. */
int64_t snapshot_reader_get(struct snapshot_reader *r, void *data, size_t n);
void snapshot_reader_close(struct snapshot_reader *r);

/* Header of n bytes at p: 0 and how long it is with its configuration, -EAGAIN too few bytes, -EUCLEAN. */
int snapshot_header_decode(const uint8_t *p, size_t n, struct snapshot_meta *ret_meta,
			   size_t *ret_size);
/* Unpack one block, header included, into out (cleared first). Returns its size in the file, 0 for the
 * end mark, -EAGAIN too few bytes, -EUCLEAN. */
int64_t snapshot_block_decode(const uint8_t *p, size_t n, uint64_t number, struct buf *out);
