/* Reading the log back after a stop, planned or not.
 *
 * Nothing after the first invalid record of the last segment counts. That is right
 * only if this record belongs to a write that was never finished, and so was never
 * promised to anybody: such a write is the last one there is. A valid record of a
 * *later* write behind it proves that it was finished once and is damaged now; to
 * carry on then would shorten a log that others count on, so we refuse (-EUCLEAN).
 *
 * A segment ends where its successor begins: the successor's header says with which
 * sequence number. What stands behind that is the rest of an unfinished write. */
#include "controlplane/consensus/wal_internal.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "controlplane/consensus/wal_record.h"

struct recovery {
	struct wal *w;
	struct wal_loaded *out;
	size_t cap;
	bool started; /* out->first_index is known. */
	uint64_t write; /* Of the last valid record. */
	bool write_complete;
	struct status *st;
	uint8_t *image; /* Of one segment. */
	size_t image_cap;
};

bool wal_name_number(const char *name, const char *prefix, uint64_t *ret_number)
{
	size_t n = strlen(prefix);
	char *end;

	if (strncmp(name, prefix, n) != 0 || strlen(name) != n + 16)
		return false;
	*ret_number = strtoull(name + n, &end, 16);
	return *end == '\0';
}

static int damaged(struct recovery *r, uint64_t segment, uint64_t offset, const char *what)
{
	return status_set(r->st, -EUCLEAN,
			  "log: segment %" PRIx64 " offset %" PRIu64
			  ": %s; remove this member, wipe its directory and join again",
			  segment, offset, what);
}

/* --- entries ------------------------------------------------------------------------- */

static void drop_from(struct recovery *r, uint64_t index)
{
	struct wal_loaded *l = r->out;

	while (l->n_entries > 0 && l->first_index + l->n_entries > index)
		free(l->entries[--l->n_entries].data);
	if (l->n_entries == 0)
		l->first_index = index;
}

static int take_entry(struct recovery *r, const struct wal_record *rec)
{
	struct wal_loaded *l = r->out;

	if (!r->started)
		l->first_index = rec->index;
	r->started = true;
	if (rec->index != l->first_index + l->n_entries)
		return -EUCLEAN;
	array_grow(l->entries, l->n_entries, r->cap);
	l->entries[l->n_entries++] = (struct wal_loaded_entry){
		.term = rec->term,
		.type = rec->type,
		.length = rec->length,
		.data = xmemdup(rec->payload, rec->length > 0 ? rec->length : 1),
	};
	return 0;
}

static int take(struct recovery *r, struct wal_segment *s, const struct wal_record *rec)
{
	switch (rec->type) {
	case WAL_SEGMENT:
		return 0;
	case WAL_TRUNCATE:
		if (!r->started || rec->index < r->out->first_index + r->out->n_entries)
			drop_from(r, rec->index);
		r->started = true;
		return 0;
	case WAL_RESET:
		drop_from(r, 0);
		r->out->first_index = rec->index;
		r->started = true;
		return 0;
	default:
		if (s->index_max < rec->index)
			s->index_max = rec->index;
		return take_entry(r, rec);
	}
}

/* --- segments ------------------------------------------------------------------------ */

static int read_image(struct recovery *r, struct wal_file *file, size_t limit, size_t *ret_n)
{
	struct wal *w = r->w;
	int64_t size = w->fs->size(w->fs, file);

	if (size < 0)
		return (int)size;
	if ((size_t)size > limit)
		size = (int64_t)limit;
	if ((size_t)size > r->image_cap) {
		/* Not from the heap, which would keep it for good. */
		if (r->image != NULL)
			munmap(r->image, r->image_cap);
		r->image = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (r->image == MAP_FAILED)
			abort();
		r->image_cap = (size_t)size;
	}

	int64_t got = w->fs->read(w->fs, file, 0, r->image, (size_t)size);

	if (got < 0)
		return (int)got;
	*ret_n = (size_t)got;
	return 0;
}

/* Whether rec may follow what has been read: the next in sequence, and of the same write or the first of a later one. */
static bool follows(const struct recovery *r, const struct wal_record *rec, uint16_t position)
{
	if (rec->sequence != r->w->next_sequence)
		return false;
	if (rec->position == 0)
		return r->write_complete && rec->write > r->write;
	return !r->write_complete && rec->write == r->write && rec->position == position + 1;
}

/* The highest write of any valid record behind offset that is not part of an earlier write; 0: none. */
static uint64_t stray_write(const struct recovery *r, uint64_t number, size_t offset, size_t n)
{
	uint64_t highest = 0;
	struct wal_record rec;

	for (size_t at = offset; at + WAL_RECORD_HEADER <= n; at += 8)
		if (wal_record_decode(r->image + at, n - at, number, &rec) > 0 &&
		    rec.sequence >= r->w->next_sequence && rec.write > highest)
			highest = rec.write;
	return highest;
}

/* The end of the last segment: decide between unfinished and damaged. */
static int settle_end(struct recovery *r, uint64_t number, size_t offset, size_t n)
{
	struct wal *w = r->w;
	uint64_t stray = stray_write(r, number, offset, n);
	uint64_t unfinished = r->write_complete ? r->write + 1 : r->write;

	if (stray > unfinished)
		return damaged(r, number, offset, "a record that was stored is damaged");
	w->must_roll = stray > 0 || !r->write_complete;
	w->used = offset;
	/* Whoever recovers after the next crash must come to the same number. */
	w->next_write = w->must_roll ? unfinished + 1 : unfinished;
	r->write_complete = true;
	return 0;
}

/* Read segment i up to where its successor (0: none) begins. */
static int replay(struct recovery *r, size_t i, uint64_t end_sequence)
{
	struct wal *w = r->w;
	struct wal_segment *s = &w->segments[i];
	char name[WAL_NAME_SIZE];
	size_t n = 0, at = 0;
	uint16_t position = 0;
	struct wal_file *file;

	wal_segment_name(name, s->number);

	int rc = w->fs->open(w->fs, name, false, &file);

	if (rc == 0)
		rc = read_image(r, file, SIZE_MAX, &n);
	if (rc < 0)
		return status_set(r->st, rc, "log: cannot read %s", name);

	while (end_sequence == 0 || w->next_sequence < end_sequence) {
		struct wal_record rec;
		size_t size = wal_record_decode(r->image + at, n - at, s->number, &rec);

		if (size == 0 || !follows(r, &rec, position))
			break;
		if (take(r, s, &rec) < 0)
			return damaged(r, s->number, at, "an entry has the wrong index");
		position = rec.position;
		r->write = rec.write;
		r->write_complete = rec.position + 1 == rec.count;
		w->next_sequence++;
		at += size;
	}

	if (end_sequence == 0) {
		w->current = file;
		w->current_size = n;
		return settle_end(r, s->number, at, n);
	}
	w->fs->close(w->fs, file);
	if (w->next_sequence != end_sequence)
		return damaged(r, s->number, at, "records are missing");
	r->write_complete = true; /* What it did not finish, its successor cut off. */
	return 0;
}

/* The header of segment i: with which sequence number it begins. 0: it has none yet. */
static int read_header(struct recovery *r, size_t i)
{
	struct wal *w = r->w;
	struct wal_segment *s = &w->segments[i];
	char name[WAL_NAME_SIZE];
	struct wal_file *file;
	struct wal_record rec;
	size_t n = 0;

	wal_segment_name(name, s->number);

	int rc = w->fs->open(w->fs, name, false, &file);

	if (rc == 0) {
		rc = read_image(r, file, WAL_RECORD_HEADER, &n);
		w->fs->close(w->fs, file);
	}
	if (rc < 0)
		return status_set(r->st, rc, "log: cannot read %s", name);
	s->first_sequence = 0;
	if (wal_record_decode(r->image, n, s->number, &rec) > 0 && rec.type == WAL_SEGMENT &&
	    rec.index == s->number)
		s->first_sequence = rec.sequence;
	return 0;
}

/* The last segment got its name but its first write was never finished. It goes, and so does its number's past:
 * a recycled file under the same number could show records of that write again. */
static int discard_unfinished(struct recovery *r)
{
	struct wal *w = r->w;
	uint64_t number = w->segments[w->n_segments].number;
	char name[WAL_NAME_SIZE];
	struct wal_file *file;
	size_t n = 0;

	wal_segment_name(name, number);

	int rc = w->fs->open(w->fs, name, false, &file);

	if (rc == 0) {
		rc = read_image(r, file, SIZE_MAX, &n);
		w->fs->close(w->fs, file);
	}
	if (rc < 0)
		return status_set(r->st, rc, "log: cannot read %s", name);

	/* Only its first write can be the one that was not finished. */
	if (stray_write(r, number, 0, n) > w->next_write)
		return damaged(r, number, 0, "the header is damaged");
	w->must_roll = true;
	return w->fs->unlink(w->fs, name);
}

static int recover_segments(struct recovery *r)
{
	struct wal *w = r->w;
	bool unfinished;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < w->n_segments; i++)
		rc = read_header(r, i);
	if (rc < 0)
		return rc;
	unfinished = w->segments[w->n_segments - 1].first_sequence == 0;
	if (unfinished)
		w->n_segments--;

	r->write_complete = true;
	if (w->n_segments > 0)
		w->next_sequence = w->segments[0].first_sequence;
	for (size_t i = 0; rc == 0 && i < w->n_segments; i++) {
		bool last = i + 1 == w->n_segments;

		if (w->segments[i].first_sequence == 0)
			return damaged(r, w->segments[i].number, 0, "the header is damaged");
		rc = replay(r, i, last ? 0 : w->segments[i + 1].first_sequence);
	}
	if (rc == 0 && unfinished)
		rc = discard_unfinished(r);
	return rc;
}

/* --- the directory ------------------------------------------------------------------- */

struct listing {
	struct wal *w;
	char (*unknown)[WAL_NAME_SIZE];
	size_t n_unknown, cap_unknown;
	uint64_t *spares;
	size_t n_spares, cap_spares;
};

static void on_name(void *ctx, const char *name)
{
	struct listing *l = ctx;
	struct wal *w = l->w;
	uint64_t number;

	if (wal_name_number(name, "wal-", &number)) {
		array_grow(w->segments, w->n_segments, w->cap_segments);
		w->segments[w->n_segments++] = (struct wal_segment){ .number = number };
	} else if (wal_name_number(name, "spare-", &number)) {
		array_grow(l->spares, l->n_spares, l->cap_spares);
		l->spares[l->n_spares++] = number;
	} else if (strncmp(name, "spare.", 6) == 0 && strlen(name) < WAL_NAME_SIZE) {
		array_grow(l->unknown, l->n_unknown, l->cap_unknown);
		snprintf(l->unknown[l->n_unknown++], WAL_NAME_SIZE, "%s", name);
	}
}

static int compare_segments(const void *a, const void *b)
{
	uint64_t x = ((const struct wal_segment *)a)->number,
		 y = ((const struct wal_segment *)b)->number;

	return x < y ? -1 : x > y;
}

static bool is_whole_spare(struct wal *w, const char *name)
{
	struct wal_file *file;

	if (w->fs->open(w->fs, name, false, &file) < 0)
		return false;

	bool whole = w->fs->size(w->fs, file) == (int64_t)w->segment_bytes;

	w->fs->close(w->fs, file);
	return whole;
}

static void keep_spares(struct wal *w, const struct listing *l)
{
	for (size_t i = 0; i < l->n_spares; i++) {
		char name[WAL_NAME_SIZE];

		wal_spare_name(name, l->spares[i]);
		if (w->next_spare <= l->spares[i])
			w->next_spare = l->spares[i] + 1;
		if (w->n_spares < WAL_SPARES_MAX && is_whole_spare(w, name))
			w->spares[w->n_spares++] = l->spares[i];
		else
			w->fs->unlink(w->fs, name);
	}
	for (size_t i = 0; i < l->n_unknown; i++)
		w->fs->unlink(w->fs, l->unknown[i]);
}

static int list_files(struct wal *w)
{
	struct listing l = { .w = w };
	int rc = w->fs->list(w->fs, on_name, &l);

	if (rc == 0 && w->n_segments > 0)
		qsort(w->segments, w->n_segments, sizeof(w->segments[0]), compare_segments);
	if (rc == 0)
		keep_spares(w, &l);
	free(l.spares);
	free(l.unknown);
	return rc;
}

static struct wal *create(struct wal_fs *fs, uint64_t segment_bytes)
{
	struct wal *w = xcalloc(1, sizeof(*w));

	w->fs = fs;
	w->segment_bytes = segment_bytes;
	w->next_sequence = w->next_write = 1;
	pthread_mutex_init(&w->lock, NULL);
	return w;
}

/* What was read may come from memory only, left there by a process that died between a write and its
 * sync. From now on it counts as stored: make it so. */
static int sync_recovered(struct wal *w, struct status *st)
{
	int rc = w->current == NULL ? 0 : w->fs->sync(w->fs, w->current, WAL_SYNC_RECOVERED);

	if (rc == 0)
		rc = w->fs->sync_dir(w->fs, WAL_SYNC_RECOVERED);
	return rc < 0 ? status_set(st, rc, "log: cannot be synced") : 0;
}

int wal_open(struct wal_fs *fs, uint64_t segment_bytes, struct wal **ret_w,
	     struct wal_loaded *ret_loaded, struct status *st)
{
	struct wal *w = create(fs, segment_bytes);
	struct wal_loaded loaded = { .first_index = 1 };
	struct recovery r = { .w = w, .out = &loaded, .st = st };
	int rc = list_files(w);

	loaded.fresh = w->n_segments == 0;
	if (rc < 0)
		status_set(st, rc, "log: cannot read the directory");
	if (rc == 0 && !loaded.fresh)
		rc = recover_segments(&r);
	else
		w->must_roll = true;
	if (rc == 0 && !loaded.fresh)
		rc = sync_recovered(w, st);
	if (r.image != NULL)
		munmap(r.image, r.image_cap);
	if (rc < 0) {
		wal_loaded_fini(&loaded);
		wal_close(w);
		return rc;
	}
	*ret_loaded = loaded;
	*ret_w = w;
	return 0;
}

static void unlink_name(void *ctx, const char *name)
{
	struct wal_fs *fs = ctx;

	if (strncmp(name, "wal-", 4) == 0 || strncmp(name, "spare", 5) == 0 ||
	    strncmp(name, "snapshot", 8) == 0)
		fs->unlink(fs, name);
}

int wal_wipe(struct wal_fs *fs)
{
	return fs->list(fs, unlink_name, fs);
}

static void count_name(void *ctx, const char *name)
{
	uint64_t number;

	*(int *)ctx += wal_name_number(name, "wal-", &number);
}

int wal_count_segments(struct wal_fs *fs)
{
	int n = 0, rc = fs->list(fs, count_name, &n);

	return rc < 0 ? rc : n;
}
