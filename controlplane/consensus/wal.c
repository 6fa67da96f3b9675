/* Writing the log.
 *
 *   segment 7                              segment 8 (current)
 *   [SEGMENT][entry][entry][TRUNCATE]...   [SEGMENT][entry][entry]<- used   stale or zero bytes
 *            |---- write 41 ----|
 *
 * Operations that came in together are gathered into one write and one sync, and
 * each record says which record of its write it is. So recovery can tell a write
 * that was cut short by a crash, which nobody was told about, from damage to one that
 * was promised (wal_recover.c).
 *
 * Truncation is a record: no file is ever shortened, so there is no moment at which
 * a crash could leave half of it. A segment that is not needed any more becomes a
 * spare; its old bytes are harmless because the checksum covers the new number.
 * Rejected: writing zeros behind each write to end the scan; it costs nothing
 * less and cannot tell torn from damaged. */
#include "controlplane/consensus/wal_internal.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "controlplane/consensus/wal_record.h"

#define WRITE_BYTES_MAX ((size_t)4 << 20)
#define ZERO_STEP ((size_t)256 << 10)

void wal_segment_name(char ret_name[WAL_NAME_SIZE], uint64_t number)
{
	snprintf(ret_name, WAL_NAME_SIZE, "wal-%016" PRIx64, number);
}

void wal_spare_name(char ret_name[WAL_NAME_SIZE], uint64_t number)
{
	snprintf(ret_name, WAL_NAME_SIZE, "spare-%016" PRIx64, number);
}

size_t wal_entry_max(uint64_t segment_bytes)
{
	return segment_bytes / 2;
}

/* --- segments ------------------------------------------------------------------------ */

/* The disk is full: give up the reserve, once. */
static bool release_ballast(struct wal *w)
{
	if (w->fs->unlink(w->fs, WAL_BALLAST_NAME) < 0)
		return false;
	atomic_store(&w->ballast_used, true);
	return true;
}

static int fill_with_zeros(struct wal *w, struct wal_file *file)
{
	uint64_t step = w->segment_bytes < ZERO_STEP ? w->segment_bytes : ZERO_STEP;
	autofree uint8_t *zeros = xcalloc(1, step);
	int rc = w->fs->reserve(w->fs, file, w->segment_bytes);

	if (rc == -EOPNOTSUPP || rc == -EINVAL)
		rc = 0; /* Writing will tell whether there is room. */
	for (uint64_t at = 0; rc == 0 && at < w->segment_bytes; at += step) {
		uint64_t n = w->segment_bytes - at < step ? w->segment_bytes - at : step;

		rc = w->fs->write(w->fs, file, at, zeros, n);
	}
	return rc < 0 ? rc : w->fs->sync(w->fs, file, WAL_SYNC_SPARE);
}

/* A zeroed segment under a name of its own; written in full, so that later writes need no new metadata. */
static int make_segment(struct wal *w, const char *name)
{
	struct wal_file *file;
	int rc = w->fs->open(w->fs, name, true, &file);

	if (rc < 0)
		return rc;
	rc = fill_with_zeros(w, file);
	w->fs->close(w->fs, file);
	if (rc < 0)
		w->fs->unlink(w->fs, name);
	return rc;
}

bool wal_wants_spare(struct wal *w)
{
	pthread_mutex_lock(&w->lock);

	bool wants = w->n_spares == 0 && !w->preparing && !atomic_load(&w->ballast_used);

	pthread_mutex_unlock(&w->lock);
	return wants;
}

static void add_spare(struct wal *w, const char *from)
{
	char name[WAL_NAME_SIZE];

	pthread_mutex_lock(&w->lock);
	wal_spare_name(name, w->next_spare);
	if (w->n_spares == WAL_SPARES_MAX)
		w->fs->unlink(w->fs, from);
	else if (w->fs->rename(w->fs, from, name) == 0)
		w->spares[w->n_spares++] = w->next_spare++;
	pthread_mutex_unlock(&w->lock);
}

int wal_prepare_spare(struct wal *w)
{
	static const char name[] = "spare.new";

	pthread_mutex_lock(&w->lock);

	bool mine = !w->preparing;

	w->preparing = true;
	pthread_mutex_unlock(&w->lock);
	if (!mine)
		return 0;

	int rc = make_segment(w, name);

	if (rc == 0)
		add_spare(w, name);
	pthread_mutex_lock(&w->lock);
	w->preparing = false;
	pthread_mutex_unlock(&w->lock);
	return rc;
}

/* The name of a segment that is ready for use. */
static int take_spare(struct wal *w, char ret_name[WAL_NAME_SIZE])
{
	bool have;

	pthread_mutex_lock(&w->lock);
	have = w->n_spares > 0;
	if (have)
		wal_spare_name(ret_name, w->spares[--w->n_spares]);
	pthread_mutex_unlock(&w->lock);
	if (have)
		return 0;

	snprintf(ret_name, WAL_NAME_SIZE, "spare.now");

	int rc = make_segment(w, ret_name);

	if (rc == -ENOSPC && release_ballast(w))
		rc = make_segment(w, ret_name);
	return rc;
}

static uint8_t *record_reserve(struct wal *w, size_t length)
{
	size_t size = wal_record_size(length);
	uint8_t *p = buf_reserve(&w->out, size);

	w->out.len += size;
	w->n_out++;
	return p;
}

/* Gather one record. Position, count and checksum follow in flush(). */
static void record_put(struct wal *w, uint16_t type, uint64_t index, uint64_t term,
		       const void *data, size_t length)
{
	uint8_t *p = record_reserve(w, length);

	wal_record_encode(p,
			  &(struct wal_record){ .sequence = w->next_sequence++,
						.index = index,
						.term = term,
						.write = w->next_write,
						.position = (uint16_t)(w->n_out - 1),
						.type = type,
						.length = (uint32_t)length,
						.payload = data });
}

static struct wal_segment *last_segment(struct wal *w)
{
	return &w->segments[w->n_segments - 1];
}

/* Start the next segment: name first, then content, so that no byte of it is ever found under an old name. */
static int roll(struct wal *w)
{
	char spare[WAL_NAME_SIZE], name[WAL_NAME_SIZE];
	uint64_t number = w->n_segments > 0 ? last_segment(w)->number + 1 : 1;

	assert(w->n_out == 0);

	int rc = take_spare(w, spare);

	if (rc < 0)
		return rc;
	wal_segment_name(name, number);
	rc = w->fs->rename(w->fs, spare, name);
	if (rc == 0)
		rc = w->fs->sync_dir(w->fs, WAL_SYNC_SEGMENT_NAME);
	if (rc < 0)
		return rc;

	w->fs->close(w->fs, w->current);
	w->current = NULL;
	rc = w->fs->open(w->fs, name, false, &w->current);
	if (rc < 0)
		return rc;
	w->used = 0;
	w->current_size = w->segment_bytes;
	w->must_roll = false;
	array_grow(w->segments, w->n_segments, w->cap_segments);
	w->segments[w->n_segments++] =
		(struct wal_segment){ .number = number, .first_sequence = w->next_sequence };
	record_put(w, WAL_SEGMENT, number, 0, NULL, 0);
	return 0;
}

/* Forget the oldest segments as long as they hold nothing above keep. */
static void drop_segments(struct wal *w, uint64_t keep)
{
	size_t n = 0;

	while (n + 1 < w->n_segments && w->segments[n].index_max <= keep) {
		char name[WAL_NAME_SIZE];
		struct wal_file *file;
		int64_t size = -1;

		wal_segment_name(name, w->segments[n].number);
		if (w->fs->open(w->fs, name, false, &file) == 0) {
			size = w->fs->size(w->fs, file);
			w->fs->close(w->fs, file);
		}
		if (size == (int64_t)w->segment_bytes)
			add_spare(w, name);
		else
			w->fs->unlink(w->fs, name);
		n++;
	}
	w->n_segments -= n;
	memmove(w->segments, w->segments + n, w->n_segments * sizeof(w->segments[0]));
}

/* --- writing ------------------------------------------------------------------------- */

/* Now that it is known how many records the write has, say so in each and seal it. */
static void seal(struct wal *w)
{
	uint64_t number = last_segment(w)->number;

	for (size_t at = 0; at < w->out.len;) {
		uint8_t *p = w->out.data + at;

		at += wal_record_seal(p, number, (uint16_t)w->n_out);
	}
}

static int flush(struct wal *w)
{
	if (w->n_out == 0)
		return 0;
	seal(w);

	int rc = w->fs->write(w->fs, w->current, w->used, w->out.data, w->out.len);

	if (rc == 0)
		rc = w->fs->sync(w->fs, w->current, WAL_SYNC_ENTRIES);
	if (rc < 0)
		return rc;
	w->used += w->out.len;
	atomic_fetch_add(&w->bytes_written, w->out.len);
	atomic_fetch_add(&w->syncs, 1);
	w->next_write++;
	w->n_out = 0;
	buf_clear(&w->out);
	if (w->out.cap > WRITE_BYTES_MAX)
		buf_fini(&w->out);
	return 0;
}

static int put(struct wal *w, uint16_t type, uint64_t index, uint64_t term, const void *data,
	       size_t length)
{
	size_t size = wal_record_size(length);
	bool full = w->used + w->out.len + size > w->current_size;
	int rc = 0;

	if (length > wal_entry_max(w->segment_bytes))
		return -EFBIG;
	if (full || w->out.len + size > WRITE_BYTES_MAX || w->n_out == WAL_WRITE_RECORDS_MAX)
		rc = flush(w);
	if (rc == 0 && (full || w->must_roll))
		rc = roll(w);
	if (rc < 0)
		return rc;
	record_put(w, type, index, term, data, length);
	return 0;
}

static int append(struct wal *w, const struct wal_op *op)
{
	for (size_t i = 0; i < op->n_entries; i++) {
		const struct wal_entry *e = &op->entries[i];
		int rc = put(w, e->type, op->index + i, e->term, e->data, e->length);

		if (rc < 0)
			return rc;
		if (last_segment(w)->index_max < op->index + i)
			last_segment(w)->index_max = op->index + i;
	}
	return 0;
}

static int reset(struct wal *w, uint64_t index)
{
	int rc = put(w, WAL_RESET, index, 0, NULL, 0);

	if (rc == 0)
		rc = flush(w);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < w->n_segments; i++)
		w->segments[i].index_max = 0;
	drop_segments(w, 0);
	return 0;
}

/* The file gets its name for good before anything it replaces goes. */
static int snapshot(struct wal *w, const struct wal_op *op)
{
	int rc = flush(w);

	if (rc == 0)
		rc = w->fs->rename(w->fs, op->file, WAL_SNAPSHOT_NAME);
	if (rc == 0)
		rc = w->fs->sync_dir(w->fs, WAL_SYNC_SNAPSHOT_NAME);
	if (rc < 0)
		return rc;
	if (op->kind == WAL_OP_INSTALL)
		return reset(w, op->index);
	drop_segments(w, op->keep);
	return 0;
}

static int run_one(struct wal *w, const struct wal_op *op)
{
	switch (op->kind) {
	case WAL_OP_APPEND:
		return append(w, op);
	case WAL_OP_TRUNCATE:
		return put(w, WAL_TRUNCATE, op->index, 0, NULL, 0);
	case WAL_OP_RESET:
		return reset(w, op->index);
	case WAL_OP_SNAPSHOT:
	case WAL_OP_INSTALL:
		return snapshot(w, op);
	}
	return -EINVAL;
}

int wal_run(struct wal *w, struct wal_op *ops)
{
	for (struct wal_op *op = ops; op != NULL && w->failed == 0; op = op->next)
		w->failed = run_one(w, op);
	if (w->failed == 0)
		w->failed = flush(w);
	/* Which of them reached the disk is not known: none may be reported. */
	for (struct wal_op *op = ops; op != NULL; op = op->next)
		op->rc = w->failed;
	return w->failed;
}

void wal_ballast_restored(struct wal *w)
{
	atomic_store(&w->ballast_used, false);
}

void wal_stats(struct wal *w, struct wal_stats *ret_stats)
{
	*ret_stats = (struct wal_stats){
		.bytes_written = atomic_load(&w->bytes_written),
		.syncs = atomic_load(&w->syncs),
		.ballast_used = atomic_load(&w->ballast_used),
	};
}

void wal_close(struct wal *w)
{
	if (w == NULL)
		return;
	w->fs->close(w->fs, w->current);
	buf_fini(&w->out);
	free(w->segments);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

void wal_loaded_fini(struct wal_loaded *l)
{
	for (size_t i = 0; i < l->n_entries; i++)
		free(l->entries[i].data);
	free(l->entries);
	*l = (struct wal_loaded){ 0 };
}
