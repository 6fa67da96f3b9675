#include "controlplane/consensus/term_file.h"

#include <errno.h>
#include <string.h>

#include "controlplane/consensus/crc32c.h"
#include "controlplane/consensus/le.h"

/* Slot: 0 magic   8 version   16 id   24 term   32 vote   40 crc32c of 0..39   44 zero */
#define MAGIC 0x314d5245544d4153ull /* "SAMTERM1" */
#define SLOT_BYTES 48
#define SLOT_STRIDE 4096 /* No two slots share a sector. */

static void encode(const struct term_file *t, uint8_t slot[SLOT_BYTES])
{
	memset(slot, 0, SLOT_BYTES);
	le_put64(slot, MAGIC);
	le_put64(slot + 8, t->version);
	le_put64(slot + 16, t->id);
	le_put64(slot + 24, t->term);
	le_put64(slot + 32, t->vote);
	le_put32(slot + 40, crc32c(0, slot, 40));
}

static int write_slot(struct term_file *t)
{
	uint8_t slot[SLOT_BYTES];

	encode(t, slot);

	int rc = t->fs->write(t->fs, t->file, (t->version & 1) * SLOT_STRIDE, slot, sizeof(slot));

	return rc < 0 ? rc : t->fs->sync(t->fs, t->file, WAL_SYNC_TERM);
}

static void take_newer(struct term_file *t, const uint8_t slot[SLOT_BYTES])
{
	if (le_get64(slot) != MAGIC || le_get32(slot + 40) != crc32c(0, slot, 40))
		return;
	if (le_get64(slot + 8) <= t->version)
		return;
	t->version = le_get64(slot + 8);
	t->id = le_get64(slot + 16);
	t->term = le_get64(slot + 24);
	t->vote = le_get64(slot + 32);
}

int term_file_open(struct term_file *t, struct wal_fs *fs, struct status *st)
{
	*t = (struct term_file){ .fs = fs };

	int rc = fs->open(fs, TERM_FILE_NAME, false, &t->file);

	if (rc < 0)
		return rc;
	for (int i = 0; i < 2; i++) {
		uint8_t slot[SLOT_BYTES];
		int64_t n = fs->read(fs, t->file, (uint64_t)i * SLOT_STRIDE, slot, sizeof(slot));

		if (n == sizeof(slot))
			take_newer(t, slot);
	}
	/* It may be in memory only, left there by a process that died before its sync. */
	if (t->version > 0)
		rc = fs->sync(fs, t->file, WAL_SYNC_RECOVERED);
	if (t->version > 0 && rc == 0)
		return 0;
	term_file_close(t);
	if (rc < 0)
		return status_set(st, rc, "file %s: cannot be synced", TERM_FILE_NAME);
	return status_set(st, -EUCLEAN, "file %s: no slot can be read; remove this member, "
			  "wipe its directory and join again", TERM_FILE_NAME);
}

int term_file_create(struct term_file *t, struct wal_fs *fs, uint64_t id, uint64_t term,
		     struct status *st)
{
	static const char part[] = TERM_FILE_NAME ".new";

	*t = (struct term_file){ .fs = fs, .id = id, .term = term, .version = 1 };

	int rc = fs->open(fs, part, true, &t->file);

	if (rc == 0)
		rc = write_slot(t);
	if (rc == 0)
		rc = fs->rename(fs, part, TERM_FILE_NAME);
	if (rc == 0)
		rc = fs->sync_dir(fs, WAL_SYNC_TERM_NAME);
	if (rc == 0)
		return 0;
	term_file_close(t);
	return status_set(st, rc, "cannot write file %s", TERM_FILE_NAME);
}

int term_file_store(struct term_file *t, uint64_t term, uint64_t vote)
{
	t->version++;
	t->term = term;
	t->vote = vote;
	return write_slot(t);
}

void term_file_close(struct term_file *t)
{
	if (t->file != NULL)
		t->fs->close(t->fs, t->file);
	t->file = NULL;
}
