/* A segment of the log, a snapshot and an entry as a disk might give them back. */
#include <string.h>

#include "controlplane/consensus/entry.h"
#include "controlplane/consensus/snapshot_file.h"
#include "controlplane/consensus/wal.h"
#include "tests/sim/consensus/sim_fs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put_file(struct wal_fs *fs, const char *name, const uint8_t *data, size_t size)
{
	struct wal_file *file;

	if (fs->open(fs, name, true, &file) < 0)
		return;
	fs->write(fs, file, 0, data, size);
	fs->close(fs, file);
}

static void recover(struct wal_fs *fs)
{
	struct wal_loaded loaded = { 0 };
	struct wal *w;

	if (wal_open(fs, 65536, &w, &loaded, NULL) < 0)
		return;
	wal_close(w);
	wal_loaded_fini(&loaded);
}

static void read_snapshot(struct wal_fs *fs)
{
	struct snapshot_reader r;
	uint8_t some[512];

	if (snapshot_reader_open(&r, fs, "snapshot") < 0)
		return;
	while (snapshot_reader_get(&r, some, sizeof(some)) > 0)
		;
	snapshot_reader_close(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seeded_source source;
	struct sim_fs *fs;
	struct buf scratch = { 0 };
	struct bytes entry;

	seeded_source_init(&source, 1);
	fs = sim_fs_new(&source.base);
	put_file(sim_fs_table(fs), "wal-0000000000000001", data, size);
	put_file(sim_fs_table(fs), "snapshot", data, size);
	recover(sim_fs_table(fs));
	read_snapshot(sim_fs_table(fs));
	entry_unpack(bytes_of(data, size), 1 << 20, &scratch, &entry);
	buf_fini(&scratch);
	sim_fs_free(fs);
	return 0;
}
