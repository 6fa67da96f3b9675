/* The log's format and recovery: what comes back, what is refused, what may be lost. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/alloc.h"
#include "controlplane/consensus/crc32c.h"
#include "controlplane/consensus/entry.h"
#include "controlplane/consensus/snapshot_file.h"
#include "controlplane/consensus/term_file.h"
#include "controlplane/consensus/wal.h"
#include "controlplane/consensus/wal_record.h"
#include "tests/sim/consensus/sim_fs.h"

#define SEGMENT 8192

struct disk {
	struct seeded_source source;
	struct sim_fs *fs;
	struct wal *wal;
	struct wal_loaded loaded;
};

static int setup(void **state)
{
	struct disk *d = xcalloc(1, sizeof(*d));

	seeded_source_init(&d->source, 42);
	d->fs = sim_fs_new(&d->source.base);
	*state = d;
	return 0;
}

static int teardown(void **state)
{
	struct disk *d = *state;

	wal_close(d->wal);
	wal_loaded_fini(&d->loaded);
	sim_fs_free(d->fs);
	free(d);
	return 0;
}

static int reopen(struct disk *d)
{
	struct status st = { 0 };
	int rc;

	wal_close(d->wal);
	d->wal = NULL;
	wal_loaded_fini(&d->loaded);
	rc = wal_open(sim_fs_table(d->fs), SEGMENT, &d->wal, &d->loaded, &st);
	status_fini(&st);
	return rc;
}

static int append(struct disk *d, uint64_t index, uint64_t term, size_t n, size_t bytes)
{
	struct wal_entry entries[64];
	char *data = xcalloc(1, bytes + 1);
	struct wal_op op = { .kind = WAL_OP_APPEND, .index = index, .entries = entries,
			     .n_entries = n };
	int rc;

	memset(data, (int)('a' + index % 26), bytes);
	for (size_t i = 0; i < n; i++)
		entries[i] = (struct wal_entry){ term, WAL_COMMAND, bytes, data };
	rc = wal_run(d->wal, &op);
	free(data);
	return rc;
}

static int run(struct disk *d, enum wal_op_kind kind, uint64_t index)
{
	struct wal_op op = { .kind = kind, .index = index };

	return wal_run(d->wal, &op);
}

static void expect(struct disk *d, uint64_t first, size_t n)
{
	assert_int_equal(reopen(d), 0);
	assert_int_equal(d->loaded.first_index, first);
	assert_int_equal(d->loaded.n_entries, n);
}

static void checksum_is_castagnoli(void **state)
{
	(void)state;
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283u);
	assert_int_equal(crc32c(crc32c(0, "1234", 4), "56789", 5), 0xe3069283u);
	assert_int_equal(crc32c(0, "", 0), 0);
}

static void entries_come_back_across_segments(void **state)
{
	struct disk *d = *state;

	expect(d, 1, 0);
	assert_true(d->loaded.fresh);
	for (uint64_t i = 1; i <= 40; i++)
		assert_int_equal(append(d, i, 3, 1, 700), 0);
	assert_true(wal_count_segments(sim_fs_table(d->fs)) > 2);
	expect(d, 1, 40);
	assert_false(d->loaded.fresh);
	assert_int_equal(d->loaded.entries[39].term, 3);
	assert_int_equal(d->loaded.entries[39].length, 700);
	assert_int_equal(((char *)d->loaded.entries[27].data)[699], 'a' + 28 % 26);
}

static void truncation_and_reset_are_records(void **state)
{
	struct disk *d = *state;

	expect(d, 1, 0);
	assert_int_equal(append(d, 1, 1, 10, 50), 0);
	assert_int_equal(run(d, WAL_OP_TRUNCATE, 6), 0);
	expect(d, 1, 5);
	assert_int_equal(append(d, 6, 2, 2, 50), 0);
	expect(d, 1, 7);
	assert_int_equal(d->loaded.entries[5].term, 2);
	assert_int_equal(run(d, WAL_OP_RESET, 101), 0);
	expect(d, 101, 0);
	assert_int_equal(append(d, 101, 2, 1, 50), 0);
	expect(d, 101, 1);
}

static void snapshots_release_segments(void **state)
{
	struct disk *d = *state;
	struct wal_fs *fs = sim_fs_table(d->fs);
	struct wal_op op = { .kind = WAL_OP_SNAPSHOT, .file = "s", .keep = 25 };
	struct wal_file *file;

	expect(d, 1, 0);
	for (uint64_t i = 1; i <= 40; i++)
		assert_int_equal(append(d, i, 3, 1, 700), 0);
	assert_int_equal(fs->open(fs, "s", true, &file), 0);
	fs->close(fs, file);
	assert_int_equal(wal_run(d->wal, &op), 0);
	assert_int_equal(reopen(d), 0);
	assert_true(d->loaded.first_index > 11);
	assert_true(d->loaded.first_index <= 26);
	assert_int_equal(d->loaded.first_index + d->loaded.n_entries, 41);
}

/* Every write of several records, cut short at every possible place, is either all there or a beginning. */
static void an_unfinished_write_is_no_damage(void **state)
{
	(void)state;
	for (unsigned seed = 0; seed < 300; seed++) {
		struct disk *d;
		void *s;

		setup(&s);
		d = s;
		seeded_source_init(&d->source, seed);
		assert_int_equal(reopen(d), 0);
		assert_int_equal(append(d, 1, 1, 3, 300), 0);
		/* The write itself, or its sync. */
		sim_fs_die_in(d->fs, 1 + seed % 2);
		assert_int_equal(append(d, 4, 1, 6, 300), -EIO);
		wal_close(d->wal);
		d->wal = NULL;
		sim_fs_power_cut(d->fs);
		assert_int_equal(reopen(d), 0);
		assert_in_range(d->loaded.n_entries, 3, 9);
		/* And once more, so that a remainder of the first cannot be taken for the second. */
		uint64_t next = 1 + d->loaded.n_entries;

		assert_int_equal(append(d, next, 2, 1, 300), 0);
		expect(d, 1, next);
		teardown(&s);
	}
}

/* Flip each bit's byte of what was stored before the last write: it is noticed, or lies in no record. */
static void damage_is_refused(void **state)
{
	char name[] = "wal-0000000000000001";
	unsigned refused = 0;

	(void)state;
	for (uint64_t at = 0; at < 1200; at += 3) {
		struct disk *d;
		void *s;
		int rc;

		setup(&s);
		d = s;
		assert_int_equal(reopen(d), 0);
		for (uint64_t i = 1; i <= 4; i++)
			assert_int_equal(append(d, i, 1, 1, 300), 0);
		assert_true(sim_fs_flip(d->fs, name, at, (unsigned)(at % 8)));
		rc = reopen(d);
		assert_true(rc == 0 || rc == -EUCLEAN);
		/* Header, then records of 352 bytes; the last one may pass for unfinished. */
		if (at < 48 + 3 * 352 && (at - 48) % 352 < 348)
			assert_int_equal(rc, -EUCLEAN);
		refused += rc == -EUCLEAN;
		teardown(&s);
	}
	assert_true(refused > 300);
}

static void a_missing_segment_is_refused(void **state)
{
	struct disk *d = *state;
	struct wal_fs *fs = sim_fs_table(d->fs);

	expect(d, 1, 0);
	for (uint64_t i = 1; i <= 40; i++)
		assert_int_equal(append(d, i, 3, 1, 700), 0);
	wal_close(d->wal);
	d->wal = NULL;
	assert_int_equal(fs->unlink(fs, "wal-0000000000000002"), 0);
	assert_int_equal(reopen(d), -EUCLEAN);
}

static void a_full_disk_gives_up_the_ballast(void **state)
{
	struct disk *d = *state;
	struct wal_fs *fs = sim_fs_table(d->fs);
	struct wal_file *file;
	struct wal_stats stats;

	expect(d, 1, 0);
	assert_int_equal(append(d, 1, 1, 1, 100), 0);
	assert_int_equal(fs->open(fs, WAL_BALLAST_NAME, true, &file), 0);
	assert_int_equal(fs->reserve(fs, file, 2 * SEGMENT), 0);
	fs->close(fs, file);
	sim_fs_set_capacity(d->fs, sim_fs_used(d->fs) + 100);
	for (uint64_t i = 2; i <= 12; i++)
		assert_int_equal(append(d, i, 1, 1, 1000), 0);
	wal_stats(d->wal, &stats);
	assert_true(stats.ballast_used);
	/* At the very end there is an error, and it stays. */
	uint64_t i = 13;

	while (append(d, i, 1, 1, 1000) == 0)
		i++;
	assert_int_equal(append(d, i, 1, 1, 10), -ENOSPC);
	expect(d, 1, i - 1);
}

static void term_survives_one_bad_slot(void **state)
{
	struct disk *d = *state;
	struct wal_fs *fs = sim_fs_table(d->fs);
	struct term_file t;

	assert_int_equal(term_file_open(&t, fs, NULL), -ENOENT);
	assert_int_equal(term_file_create(&t, fs, 7, 1, NULL), 0);
	assert_int_equal(term_file_store(&t, 2, 9), 0);
	assert_int_equal(term_file_store(&t, 3, 0), 0);
	term_file_close(&t);
	assert_int_equal(term_file_open(&t, fs, NULL), 0);
	assert_int_equal(t.id, 7);
	assert_int_equal(t.term, 3);
	term_file_close(&t);
	/* Version 3 is in the odd slot. */
	assert_true(sim_fs_flip(d->fs, TERM_FILE_NAME, 4096 + 24, 0));
	assert_int_equal(term_file_open(&t, fs, NULL), 0);
	assert_int_equal(t.term, 2);
	assert_int_equal(t.vote, 9);
	term_file_close(&t);
	assert_true(sim_fs_flip(d->fs, TERM_FILE_NAME, 24, 0));
	assert_int_equal(term_file_open(&t, fs, NULL), -EUCLEAN);
}

static void snapshots_come_back_or_are_refused(void **state)
{
	struct disk *d = *state;
	struct wal_fs *fs = sim_fs_table(d->fs);
	struct snapshot_meta meta = { 10, 3, 1, bytes_str("configuration") };
	struct snapshot_writer w;
	struct snapshot_reader r;
	uint64_t size;
	uint8_t byte;
	size_t n = 0;
	int64_t got;

	snapshot_writer_open(&w, fs, "s", &meta);
	for (size_t i = 0; i < 200000; i++) {
		byte = (uint8_t)(i * 2654435761u >> 13);
		assert_int_equal(snapshot_writer_put(&w, &byte, 1), 0);
	}
	assert_int_equal(snapshot_writer_finish(&w, 0, &size), 0);
	assert_int_equal(snapshot_reader_open(&r, fs, "s"), 0);
	assert_int_equal(r.meta.index, 10);
	assert_int_equal(r.meta.configuration.len, strlen("configuration"));
	while ((got = snapshot_reader_get(&r, &byte, 1)) == 1) {
		assert_int_equal(byte, (uint8_t)(n * 2654435761u >> 13));
		n++;
	}
	assert_int_equal(got, 0);
	assert_int_equal(n, 200000);
	snapshot_reader_close(&r);

	for (uint64_t at = 8; at < size; at += size / 50) {
		assert_true(sim_fs_flip(d->fs, "s", at, 3));
		got = snapshot_reader_open(&r, fs, "s");
		while (got == 0 && (got = snapshot_reader_get(&r, &byte, 1)) == 1)
			got = 0;
		if (got != -EUCLEAN)
			/* Only bytes that mean nothing: the zero field of a block. */
			assert_int_equal(got, 0);
		snapshot_reader_close(&r);
		assert_true(sim_fs_flip(d->fs, "s", at, 3));
	}
}

static void entries_are_packed_and_bounded(void **state)
{
	struct buf scratch = { 0 };
	struct bytes entry;
	size_t n;
	uint8_t *packed;

	(void)state;
	for (size_t size = 0; size < 5000; size += 499) {
		char *data = xcalloc(1, size + 1);

		memset(data, 'x', size);
		packed = entry_pack(data, size, &n);
		assert_true(size < 1024 ? n == size + 1 : n < size / 2);
		assert_int_equal(entry_unpack(bytes_of(packed, n), 5000, &scratch, &entry), 0);
		assert_int_equal(entry.len, size);
		if (size >= 1024)
			assert_int_equal(entry_unpack(bytes_of(packed, n), size - 1, &scratch, &entry),
					 -EBADMSG);
		free(packed);
	}
	assert_int_equal(entry_unpack(bytes_of("", 0), 10, &scratch, &entry), -EBADMSG);
	assert_int_equal(entry_unpack(bytes_of("x\7", 2), 10, &scratch, &entry), -EBADMSG);
	buf_fini(&scratch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(checksum_is_castagnoli),
		cmocka_unit_test_setup_teardown(entries_come_back_across_segments, setup, teardown),
		cmocka_unit_test_setup_teardown(truncation_and_reset_are_records, setup, teardown),
		cmocka_unit_test_setup_teardown(snapshots_release_segments, setup, teardown),
		cmocka_unit_test(an_unfinished_write_is_no_damage),
		cmocka_unit_test(damage_is_refused),
		cmocka_unit_test_setup_teardown(a_missing_segment_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(a_full_disk_gives_up_the_ballast, setup, teardown),
		cmocka_unit_test_setup_teardown(term_survives_one_bad_slot, setup, teardown),
		cmocka_unit_test_setup_teardown(snapshots_come_back_or_are_refused, setup, teardown),
		cmocka_unit_test(entries_are_packed_and_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
