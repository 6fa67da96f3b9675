#include "controlplane/consensus/snapshot_file.h"

#include <errno.h>
#include <lz4.h>
#include <string.h>

#include "controlplane/consensus/crc32c.h"
#include "controlplane/consensus/le.h"

/* Header: 0 magic   8 index   16 term   24 configuration index   32 configuration length
 *         36 crc32c of 0..35 and the configuration   40 configuration
 * Block:  0 stored length   4 raw length (equal: not compressed)   8 block number   16 crc32c
 *         of 0..15 and the data   20 zero   24 data
 * End:    a block of length 0 with the number of blocks before it. */
#define MAGIC 0x31504e534d415353ull /* "SSAMSNP1" */
#define HEADER_BYTES 40
#define BLOCK_HEADER 24

/* --- writing ------------------------------------------------------------------------- */

static void out(struct snapshot_writer *w, const void *data, size_t n)
{
	if (w->rc == 0)
		w->rc = w->fs->write(w->fs, w->file, w->at, data, n);
	w->at += n;
}

void snapshot_writer_open(struct snapshot_writer *w, struct wal_fs *fs, const char *name,
			  const struct snapshot_meta *meta)
{
	uint8_t header[HEADER_BYTES] = { 0 };
	uint32_t crc;

	*w = (struct snapshot_writer){ .fs = fs };
	w->rc = fs->open(fs, name, true, &w->file);
	if (w->rc == 0)
		w->rc = fs->truncate(fs, w->file, 0);
	le_put64(header, MAGIC);
	le_put64(header + 8, meta->index);
	le_put64(header + 16, meta->term);
	le_put64(header + 24, meta->configuration_index);
	le_put32(header + 32, (uint32_t)meta->configuration.len);
	crc = crc32c(0, header, 36);
	le_put32(header + 36, crc32c(crc, meta->configuration.data, meta->configuration.len));
	out(w, header, sizeof(header));
	out(w, meta->configuration.data, meta->configuration.len);
}

static void put_block(struct snapshot_writer *w, const void *data, size_t stored, size_t raw,
		      uint64_t number)
{
	uint8_t header[BLOCK_HEADER] = { 0 };

	le_put32(header, (uint32_t)stored);
	le_put32(header + 4, (uint32_t)raw);
	le_put64(header + 8, number);
	le_put32(header + 16, crc32c(crc32c(0, header, 16), data, stored));
	out(w, header, sizeof(header));
	out(w, data, stored);
}

static void flush_block(struct snapshot_writer *w)
{
	size_t raw = w->block.len;

	if (raw == 0)
		return;

	int bound = LZ4_compressBound((int)raw);
	uint8_t *to = buf_reserve(&w->packed, (size_t)bound);
	int n = LZ4_compress_default((const char *)w->block.data, (char *)to, (int)raw, bound);

	if (n > 0 && (size_t)n < raw)
		put_block(w, to, (size_t)n, raw, w->blocks);
	else
		put_block(w, w->block.data, raw, raw, w->blocks);
	w->blocks++;
	buf_clear(&w->block);
}

int snapshot_writer_put(struct snapshot_writer *w, const void *data, size_t n)
{
	const uint8_t *p = data;

	while (n > 0 && w->rc == 0) {
		size_t room = SNAPSHOT_BLOCK - w->block.len, take = n < room ? n : room;

		buf_put(&w->block, p, take);
		p += take;
		n -= take;
		if (w->block.len == SNAPSHOT_BLOCK)
			flush_block(w);
	}
	return w->rc;
}

int snapshot_writer_finish(struct snapshot_writer *w, int rc, uint64_t *ret_size)
{
	if (w->rc == 0)
		w->rc = rc;
	if (w->rc == 0) {
		flush_block(w);
		put_block(w, "", 0, 0, w->blocks);
	}
	if (w->rc == 0)
		w->rc = w->fs->sync(w->fs, w->file, WAL_SYNC_SNAPSHOT_DATA);
	if (w->file != NULL)
		w->fs->close(w->fs, w->file);
	buf_fini(&w->block);
	buf_fini(&w->packed);
	if (w->rc == 0 && ret_size != NULL)
		*ret_size = w->at;
	return w->rc;
}

/* --- reading ------------------------------------------------------------------------- */

int snapshot_header_decode(const uint8_t *p, size_t n, struct snapshot_meta *ret_meta,
			   size_t *ret_size)
{
	if (n < HEADER_BYTES)
		return -EAGAIN;

	size_t length = le_get32(p + 32);

	if (le_get64(p) != MAGIC || length > SNAPSHOT_CONFIGURATION_MAX)
		return -EUCLEAN;
	if (n < HEADER_BYTES + length)
		return -EAGAIN;
	if (le_get32(p + 36) != crc32c(crc32c(0, p, 36), p + HEADER_BYTES, length))
		return -EUCLEAN;
	*ret_meta = (struct snapshot_meta){
		.index = le_get64(p + 8),
		.term = le_get64(p + 16),
		.configuration_index = le_get64(p + 24),
		.configuration = bytes_of(p + HEADER_BYTES, length),
	};
	*ret_size = HEADER_BYTES + length;
	return 0;
}

int64_t snapshot_block_decode(const uint8_t *p, size_t n, uint64_t number, struct buf *to)
{
	buf_clear(to);
	if (n < BLOCK_HEADER)
		return -EAGAIN;

	size_t stored = le_get32(p), raw = le_get32(p + 4);

	if (raw > SNAPSHOT_BLOCK || stored > raw || (stored == 0) != (raw == 0) ||
	    le_get64(p + 8) != number)
		return -EUCLEAN;
	if (n < BLOCK_HEADER + stored)
		return -EAGAIN;
	if (le_get32(p + 16) != crc32c(crc32c(0, p, 16), p + BLOCK_HEADER, stored))
		return -EUCLEAN;
	if (raw == 0)
		return 0;
	buf_reserve(to, raw);
	if (stored == raw)
		memcpy(to->data, p + BLOCK_HEADER, raw);
	else if (LZ4_decompress_safe((const char *)p + BLOCK_HEADER, (char *)to->data, (int)stored,
				     (int)raw) != (int)raw)
		return -EUCLEAN;
	to->len = raw;
	return (int64_t)(BLOCK_HEADER + stored);
}

int snapshot_reader_open(struct snapshot_reader *r, struct wal_fs *fs, const char *name)
{
	size_t size = HEADER_BYTES + SNAPSHOT_CONFIGURATION_MAX;

	*r = (struct snapshot_reader){ .fs = fs };

	int rc = fs->open(fs, name, false, &r->file);

	if (rc < 0)
		return rc;

	int64_t n = fs->read(fs, r->file, 0, buf_reserve(&r->header, size), size);

	if (n < 0)
		rc = (int)n;
	else
		rc = snapshot_header_decode(r->header.data, (size_t)n, &r->meta, &size);
	if (rc == 0)
		r->at = size;
	else
		snapshot_reader_close(r);
	return rc == -EAGAIN ? -EUCLEAN : rc;
}

static int64_t next_block(struct snapshot_reader *r)
{
	uint8_t *p = buf_reserve(&r->packed, BLOCK_HEADER + SNAPSHOT_BLOCK);
	int64_t n = r->fs->read(r->fs, r->file, r->at, p, BLOCK_HEADER + SNAPSHOT_BLOCK);

	if (n < 0)
		return n;
	n = snapshot_block_decode(p, (size_t)n, r->blocks, &r->block);
	if (n < 0)
		return -EUCLEAN;
	r->at += (uint64_t)n;
	r->blocks++;
	r->used = 0;
	r->ended = n == 0;
	return n;
}

int64_t snapshot_reader_get(struct snapshot_reader *r, void *data, size_t n)
{
	if (r->used == r->block.len && !r->ended) {
		int64_t rc = next_block(r);

		if (rc <= 0)
			return rc;
	}

	size_t left = r->block.len - r->used, take = n < left ? n : left;

	if (take > 0)
		memcpy(data, r->block.data + r->used, take);
	r->used += take;
	return (int64_t)take;
}

void snapshot_reader_close(struct snapshot_reader *r)
{
	if (r->file != NULL)
		r->fs->close(r->fs, r->file);
	buf_fini(&r->header);
	buf_fini(&r->block);
	buf_fini(&r->packed);
	r->file = NULL;
}
