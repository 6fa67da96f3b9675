#include "tests/sim/consensus/sim_fs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/buf.h"
#include "common/base/cleanup.h"

#define SECTOR 512
#define NAME_MAX_BYTES 40

struct doubt {
	uint64_t offset;
	size_t n;
	bool old; /* Of a process that has died since. */
	uint8_t *data;
};

struct inode {
	struct inode *next;
	struct buf now, safe; /* Content as read, and as after a power cut that kept nothing in doubt. */
	struct doubt *doubts;
	size_t n_doubts, cap_doubts;
};

struct name {
	char name[NAME_MAX_BYTES];
	struct inode *inode;
};

struct names {
	struct name *list;
	size_t n, cap;
};

enum change_kind { LINK, RENAME, UNLINK };

struct change {
	enum change_kind kind;
	char from[NAME_MAX_BYTES], to[NAME_MAX_BYTES];
	struct inode *inode;
};

struct wal_file {
	struct wal_file *next;
	struct inode *inode;
};

struct sim_fs {
	struct wal_fs base;
	struct source *chance;
	struct inode *inodes; /* All there ever were, until the end. */
	struct names now, safe;
	struct change *changes;
	size_t n_changes, cap_changes;
	struct wal_file *files;
	uint64_t capacity, n_calls;
	unsigned die_in, fail_in, late;
	int fail_rc;
	bool dead;
	uint32_t left_out;
};

static struct sim_fs *sim_of(struct wal_fs *fs)
{
	return container_of(fs, struct sim_fs, base);
}

/* --- names --------------------------------------------------------------------------- */

static struct name *find(struct names *names, const char *name)
{
	for (size_t i = 0; i < names->n; i++)
		if (strcmp(names->list[i].name, name) == 0)
			return &names->list[i];
	return NULL;
}

static void drop_name(struct names *names, const char *name)
{
	struct name *at = find(names, name);

	if (at != NULL)
		*at = names->list[--names->n];
}

static void put_name(struct names *names, const char *name, struct inode *inode)
{
	struct name *at = find(names, name);

	if (at == NULL) {
		array_grow(names->list, names->n, names->cap);
		at = &names->list[names->n++];
		memset(at->name, 0, sizeof(at->name));
		memcpy(at->name, name, strnlen(name, NAME_MAX_BYTES - 1));
	}
	at->inode = inode;
}

static void apply_change(struct names *names, const struct change *c)
{
	if (c->kind != LINK)
		drop_name(names, c->from);
	if (c->kind != UNLINK)
		put_name(names, c->to, c->inode);
}

static void change_names(struct sim_fs *fs, enum change_kind kind, const char *from, const char *to,
			 struct inode *inode)
{
	struct change *c;

	array_grow(fs->changes, fs->n_changes, fs->cap_changes);
	c = &fs->changes[fs->n_changes++];
	memset(c, 0, sizeof(*c));
	c->kind = kind;
	c->inode = inode;
	if (from != NULL)
		memcpy(c->from, from, strnlen(from, NAME_MAX_BYTES - 1));
	if (to != NULL)
		memcpy(c->to, to, strnlen(to, NAME_MAX_BYTES - 1));
	apply_change(&fs->now, c);
}

/* --- content ------------------------------------------------------------------------- */

static void write_at(struct buf *content, uint64_t offset, const void *data, size_t n)
{
	uint64_t end = offset + n;

	if (end > content->len) {
		size_t old = content->len;

		buf_reserve(content, end - old);
		memset(content->data + old, 0, end - old);
		content->len = end;
	}
	if (n > 0)
		memcpy(content->data + offset, data, n);
}

static void settle(struct inode *inode)
{
	for (size_t i = 0; i < inode->n_doubts; i++) {
		struct doubt *d = &inode->doubts[i];

		write_at(&inode->safe, d->offset, d->data, d->n);
		free(d->data);
	}
	inode->n_doubts = 0;
	/* A file made shorter is short on the disk as well. */
	if (inode->safe.len > inode->now.len)
		inode->safe.len = inode->now.len;
}

/* Which sectors of a write in doubt are there: none, all, some, and one may be torn. */
static void decide(struct sim_fs *fs, struct inode *inode, const struct doubt *d)
{
	uint64_t mood = source_random_below(fs->chance, 4);
	size_t at = 0;

	while (at < d->n) {
		size_t n = SECTOR - (d->offset + at) % SECTOR;

		if (n > d->n - at)
			n = d->n - at;
		if (mood == 1 || (mood >= 2 && source_random_below(fs->chance, 2) == 0)) {
			size_t part = n;

			if (mood == 3 && source_random_below(fs->chance, 8) == 0)
				part = (size_t)source_random_below(fs->chance, n);
			write_at(&inode->safe, d->offset + at, d->data + at, part);
		}
		at += n;
	}
}

void sim_fs_power_cut(struct sim_fs *fs)
{
	size_t kept = (size_t)source_random_below(fs->chance, fs->n_changes + 1);

	for (size_t i = 0; i < kept; i++)
		apply_change(&fs->safe, &fs->changes[i]);
	fs->n_changes = 0;
	fs->now.n = 0;
	for (size_t i = 0; i < fs->safe.n; i++)
		put_name(&fs->now, fs->safe.list[i].name, fs->safe.list[i].inode);
	for (struct inode *inode = fs->inodes; inode != NULL; inode = inode->next) {
		for (size_t i = 0; i < inode->n_doubts; i++) {
			decide(fs, inode, &inode->doubts[i]);
			free(inode->doubts[i].data);
		}
		inode->n_doubts = 0;
		buf_clear(&inode->now);
		buf_put(&inode->now, inode->safe.data, inode->safe.len);
	}
	sim_fs_process_died(fs);
}

void sim_fs_process_died(struct sim_fs *fs)
{
	while (fs->files != NULL) {
		struct wal_file *f = fs->files;

		fs->files = f->next;
		free(f);
	}
	for (struct inode *inode = fs->inodes; inode != NULL; inode = inode->next)
		for (size_t i = 0; i < inode->n_doubts; i++)
			inode->doubts[i].old = true;
	fs->dead = false;
	fs->die_in = fs->fail_in = 0;
}

/* --- the table ----------------------------------------------------------------------- */

/* 0, or why this change must not happen. */
static int change_allowed(struct sim_fs *fs)
{
	fs->n_calls++;
	if (fs->die_in > 0 && --fs->die_in == 0)
		fs->dead = true;
	return fs->dead ? -EIO : 0;
}

static int sim_open(struct wal_fs *base, const char *name, bool create, struct wal_file **ret_file)
{
	struct sim_fs *fs = sim_of(base);
	struct name *at = find(&fs->now, name);
	struct wal_file *file;

	if (at == NULL) {
		struct inode *inode;

		if (!create)
			return -ENOENT;
		if (change_allowed(fs) < 0)
			return -EIO;
		inode = xcalloc(1, sizeof(*inode));
		inode->next = fs->inodes;
		fs->inodes = inode;
		change_names(fs, LINK, NULL, name, inode);
		at = find(&fs->now, name);
	}
	file = xcalloc(1, sizeof(*file));
	file->inode = at->inode;
	file->next = fs->files;
	fs->files = file;
	*ret_file = file;
	return 0;
}

static void sim_close(struct wal_fs *base, struct wal_file *file)
{
	struct sim_fs *fs = sim_of(base);

	for (struct wal_file **at = &fs->files; *at != NULL; at = &(*at)->next)
		if (*at == file) {
			*at = file->next;
			free(file);
			return;
		}
}

static int64_t sim_size(struct wal_fs *base, struct wal_file *file)
{
	(void)base;
	return (int64_t)file->inode->now.len;
}

static int64_t sim_read(struct wal_fs *base, struct wal_file *file, uint64_t offset, void *data,
			size_t n)
{
	struct buf *content = &file->inode->now;

	(void)base;
	if (offset >= content->len)
		return 0;
	if (n > content->len - offset)
		n = content->len - offset;
	memcpy(data, content->data + offset, n);
	return (int64_t)n;
}

uint64_t sim_fs_used(const struct sim_fs *fs)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < fs->now.n; i++)
		sum += fs->now.list[i].inode->now.len;
	return sum;
}

static int room_for(struct sim_fs *fs, const struct inode *inode, uint64_t end)
{
	if (fs->capacity == 0 || end <= inode->now.len)
		return 0;
	return sim_fs_used(fs) + (end - inode->now.len) > fs->capacity ? -ENOSPC : 0;
}

static void put_in_doubt(struct inode *inode, uint64_t offset, const void *data, size_t n)
{
	struct doubt *d;

	write_at(&inode->now, offset, data, n);
	array_grow(inode->doubts, inode->n_doubts, inode->cap_doubts);
	d = &inode->doubts[inode->n_doubts++];
	*d = (struct doubt){ .offset = offset, .n = n, .data = xmemdup(data, n > 0 ? n : 1) };
}

static int sim_write(struct wal_fs *base, struct wal_file *file, uint64_t offset, const void *data,
		     size_t n)
{
	struct sim_fs *fs = sim_of(base);
	int rc = room_for(fs, file->inode, offset + n);

	if (rc == 0 && fs->fail_in > 0 && --fs->fail_in == 0)
		rc = fs->fail_rc;
	if (rc < 0)
		return rc;
	if (change_allowed(fs) < 0) {
		/* The write was under way when the lights went out. */
		if (fs->die_in == 0 && source_random_below(fs->chance, 2) == 0)
			put_in_doubt(file->inode, offset, data, n);
		return -EIO;
	}
	put_in_doubt(file->inode, offset, data, n);
	return 0;
}

static int sim_truncate(struct wal_fs *base, struct wal_file *file, uint64_t size)
{
	struct inode *inode = file->inode;

	if (change_allowed(sim_of(base)) < 0)
		return -EIO;
	if (size < inode->now.len)
		inode->now.len = size;
	if (size == 0) {
		/* The old content may come back after a power cut; new writes are in doubt beside it. */
		for (size_t i = 0; i < inode->n_doubts; i++)
			free(inode->doubts[i].data);
		inode->n_doubts = 0;
	}
	return 0;
}

static int sim_sync(struct wal_fs *base, struct wal_file *file, enum wal_sync why)
{
	struct sim_fs *fs = sim_of(base);
	unsigned fresh = 0;

	if (change_allowed(fs) < 0)
		return -EIO;
	if (fs->left_out & 1u << why)
		return 0;
	for (size_t i = 0; i < file->inode->n_doubts; i++)
		fresh += !file->inode->doubts[i].old;
	if (why == WAL_SYNC_ENTRIES && fresh > 1)
		fs->late++;
	settle(file->inode);
	return 0;
}

static int sim_rename(struct wal_fs *base, const char *from, const char *to)
{
	struct sim_fs *fs = sim_of(base);
	struct name *at = find(&fs->now, from);

	if (at == NULL)
		return -ENOENT;
	if (change_allowed(fs) < 0)
		return -EIO;
	change_names(fs, RENAME, from, to, at->inode);
	return 0;
}

static int sim_unlink(struct wal_fs *base, const char *name)
{
	struct sim_fs *fs = sim_of(base);

	if (find(&fs->now, name) == NULL)
		return -ENOENT;
	if (change_allowed(fs) < 0)
		return -EIO;
	change_names(fs, UNLINK, name, NULL, NULL);
	return 0;
}

static int sim_sync_dir(struct wal_fs *base, enum wal_sync why)
{
	struct sim_fs *fs = sim_of(base);

	if (change_allowed(fs) < 0)
		return -EIO;
	if (fs->left_out & 1u << why)
		return 0;
	for (size_t i = 0; i < fs->n_changes; i++)
		apply_change(&fs->safe, &fs->changes[i]);
	fs->n_changes = 0;
	return 0;
}

static int sim_list(struct wal_fs *base, void (*each)(void *ctx, const char *name), void *ctx)
{
	struct sim_fs *fs = sim_of(base);
	size_t n = fs->now.n;
	struct name *copy = xreallocarray(NULL, n + 1, sizeof(*copy));

	/* Whoever lists may unlink. */
	if (n > 0)
		memcpy(copy, fs->now.list, n * sizeof(*copy));
	for (size_t i = 0; i < n; i++)
		each(ctx, copy[i].name);
	free(copy);
	return 0;
}

static int64_t sim_free_bytes(struct wal_fs *base)
{
	struct sim_fs *fs = sim_of(base);
	uint64_t used = sim_fs_used(fs);

	if (fs->capacity == 0)
		return INT64_MAX / 2;
	return used >= fs->capacity ? 0 : (int64_t)(fs->capacity - used);
}

static int sim_reserve(struct wal_fs *base, struct wal_file *file, uint64_t n)
{
	int rc = room_for(sim_of(base), file->inode, n);

	if (rc < 0)
		return rc;
	if (change_allowed(sim_of(base)) < 0)
		return -EIO;
	/* Space and size, as fallocate gives them; part of what a sync makes last. */
	if (n > file->inode->now.len)
		put_in_doubt(file->inode, n, "", 0);
	return 0;
}

/* --- from outside -------------------------------------------------------------------- */

struct sim_fs *sim_fs_new(struct source *chance)
{
	struct sim_fs *fs = xcalloc(1, sizeof(*fs));

	fs->chance = chance;
	fs->base = (struct wal_fs){
		.open = sim_open,
		.close = sim_close,
		.size = sim_size,
		.read = sim_read,
		.write = sim_write,
		.truncate = sim_truncate,
		.sync = sim_sync,
		.rename = sim_rename,
		.unlink = sim_unlink,
		.sync_dir = sim_sync_dir,
		.list = sim_list,
		.free_bytes = sim_free_bytes,
		.reserve = sim_reserve,
	};
	return fs;
}

void sim_fs_free(struct sim_fs *fs)
{
	if (fs == NULL)
		return;
	sim_fs_process_died(fs);
	while (fs->inodes != NULL) {
		struct inode *inode = fs->inodes;

		fs->inodes = inode->next;
		settle(inode);
		free(inode->doubts);
		buf_fini(&inode->now);
		buf_fini(&inode->safe);
		free(inode);
	}
	free(fs->now.list);
	free(fs->safe.list);
	free(fs->changes);
	free(fs);
}

struct wal_fs *sim_fs_table(struct sim_fs *fs)
{
	return &fs->base;
}

void sim_fs_die_in(struct sim_fs *fs, unsigned n)
{
	fs->die_in = n;
}

bool sim_fs_is_dead(const struct sim_fs *fs)
{
	return fs->dead;
}

void sim_fs_fail_in(struct sim_fs *fs, unsigned n, int rc)
{
	fs->fail_in = n;
	fs->fail_rc = rc;
}

void sim_fs_set_capacity(struct sim_fs *fs, uint64_t bytes)
{
	fs->capacity = bytes;
}

void sim_fs_leave_out(struct sim_fs *fs, enum wal_sync why)
{
	fs->left_out |= 1u << why;
}

bool sim_fs_flip(struct sim_fs *fs, const char *name, uint64_t offset, unsigned bit)
{
	struct name *at = find(&fs->now, name);

	if (at == NULL || offset >= at->inode->now.len)
		return false;
	at->inode->now.data[offset] ^= (uint8_t)(1u << bit);
	if (offset < at->inode->safe.len)
		at->inode->safe.data[offset] ^= (uint8_t)(1u << bit);
	return true;
}

const uint8_t *sim_fs_content(struct sim_fs *fs, const char *name, uint64_t *ret_size)
{
	struct name *at = find(&fs->now, name);

	if (at == NULL)
		return NULL;
	*ret_size = at->inode->now.len;
	return at->inode->now.data;
}

unsigned sim_fs_late_bytes(const struct sim_fs *fs)
{
	return fs->late;
}

uint64_t sim_fs_changes(const struct sim_fs *fs)
{
	return fs->n_calls;
}

const char *wal_sync_name(enum wal_sync why)
{
	static const char *const names[] = {
		[WAL_SYNC_ENTRIES] = "entries",
		[WAL_SYNC_TERM] = "term",
		[WAL_SYNC_TERM_NAME] = "term-name",
		[WAL_SYNC_SPARE] = "spare",
		[WAL_SYNC_SEGMENT_NAME] = "segment-name",
		[WAL_SYNC_SNAPSHOT_DATA] = "snapshot-data",
		[WAL_SYNC_SNAPSHOT_NAME] = "snapshot-name",
		[WAL_SYNC_RECOVERED] = "recovered",
	};

	return names[why];
}
