/* Two readers in a row: the outer one undoes the compression, whatever it is, and
 * hands raw bytes on; they pass through the digest that must equal the diff id and
 * into the inner one, which reads tar. Neither ever sees more of the world than the
 * working directory, which unpack.c made the root. */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "agent/images/pull/digest.h"
#include "agent/images/pull/unpack.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"

#define READ_BLOCK_BYTES (256u << 10)

struct extraction {
	struct archive *blob, *tar, *disk;
	struct digest digest;
	uint64_t raw_bytes, file_bytes;
	unsigned entries;
	bool ended; /* No more raw bytes. */
};

static la_ssize_t read_raw(struct archive *tar, void *arg, const void **ret)
{
	struct extraction *x = arg;
	size_t n = 0;
	la_int64_t offset;
	int rc = x->ended ? ARCHIVE_EOF : archive_read_data_block(x->blob, ret, &n, &offset);

	if (rc == ARCHIVE_EOF) {
		x->ended = true;
		return 0;
	}
	if (rc < ARCHIVE_WARN) {
		archive_set_error(tar, EIO, "%s", archive_error_string(x->blob));
		return -1;
	}
	x->raw_bytes += n;
	if (x->raw_bytes > UNPACK_BYTES_MAX) {
		archive_set_error(tar, EFBIG, "the layer is larger than %llu bytes",
				  UNPACK_BYTES_MAX);
		return -1;
	}
	digest_add(&x->digest, *ret, n);
	return (la_ssize_t)n;
}

static int open_readers(struct extraction *x, int fd, struct status *st)
{
	struct archive_entry *entry;
	int rc;

	/* Not "all": some of those would run other programs. */
	archive_read_support_filter_gzip(x->blob);
	archive_read_support_filter_zstd(x->blob);
	archive_read_support_filter_xz(x->blob);
	archive_read_support_filter_bzip2(x->blob);
	archive_read_support_format_raw(x->blob);
	archive_read_support_format_empty(x->blob);
	archive_read_support_format_tar(x->tar);
	archive_read_support_format_empty(x->tar);
	if (archive_read_open_fd(x->blob, fd, READ_BLOCK_BYTES) < ARCHIVE_WARN)
		return status_set(st, -EIO, "%s", archive_error_string(x->blob));
	rc = archive_read_next_header(x->blob, &entry);
	if (rc < ARCHIVE_WARN)
		return status_set(st, -EIO, "%s", archive_error_string(x->blob));
	x->ended = rc == ARCHIVE_EOF;
	if (archive_read_open(x->tar, x, NULL, read_raw, NULL) < ARCHIVE_WARN)
		return status_set(st, -EIO, "%s", archive_error_string(x->tar));
	return 0;
}

static const char *without_leading_slashes(const char *path)
{
	while (*path == '/')
		path++;
	return path;
}

/* Attributes of the overlay itself must come from us alone. */
static void keep_harmless_xattrs(struct archive_entry *entry)
{
	struct {
		char *name;
		void *value;
		size_t n;
	} kept[64];
	size_t n_kept = 0, n;
	const char *name;
	const void *value;

	if (archive_entry_xattr_reset(entry) == 0)
		return;
	while (archive_entry_xattr_next(entry, &name, &value, &n) == ARCHIVE_OK) {
		if (n_kept == array_size(kept) ||
		    (strncmp(name, "user.", 5) != 0 && strcmp(name, "security.capability") != 0))
			continue;
		kept[n_kept].name = xstrdup(name);
		kept[n_kept].value = xmemdup(value, n);
		kept[n_kept++].n = n;
	}
	archive_entry_xattr_clear(entry);
	for (size_t i = 0; i < n_kept; i++) {
		archive_entry_xattr_add_entry(entry, kept[i].name, kept[i].value, kept[i].n);
		free(kept[i].name);
		free(kept[i].value);
	}
}

static int write_entry(struct extraction *x, struct archive_entry *entry, struct status *st)
{
	const char *path = archive_entry_pathname(entry);

	if (archive_write_header(x->disk, entry) < ARCHIVE_WARN)
		return status_set(st, -EIO, "%s: %s", path, archive_error_string(x->disk));
	return 0;
}

static int write_special(struct extraction *x, const char *path, bool whiteout, struct status *st)
{
	struct archive_entry *entry = archive_entry_new();
	int rc;

	archive_entry_set_pathname(entry, path);
	archive_entry_set_filetype(entry, whiteout ? AE_IFCHR : AE_IFDIR);
	archive_entry_set_perm(entry, whiteout ? 0 : 0755);
	archive_entry_set_rdev(entry, 0);
	archive_entry_set_size(entry, 0);
	rc = write_entry(x, entry, st);
	if (rc == 0 && archive_write_finish_entry(x->disk) < ARCHIVE_WARN)
		rc = status_set(st, -EIO, "%s: %s", path, archive_error_string(x->disk));
	archive_entry_free(entry);
	return rc;
}

static int open_directory(const char *path)
{
	struct open_how how = {
		.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
	};
	long fd = syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

/* Nothing of the layers below shows through this directory. */
static int make_opaque(struct extraction *x, const char *path, struct status *st)
{
	autoclose int fd = open_directory(path);

	if (fd == -ENOENT) {
		int rc = write_special(x, path, false, st);

		if (rc < 0)
			return rc;
		fd = open_directory(path);
	}
	if (fd < 0)
		return status_set(st, fd, "%s: cannot be opened to be made opaque: %s", path,
				  strerror(-fd));
	if (fsetxattr(fd, "trusted.overlay.opaque", "y", 1, 0) < 0)
		return status_set(st, -errno, "%s: cannot be made opaque: %s", path,
				  strerror(errno));
	return 0;
}

/* 1: the entry was a marker and is done. */
static int take_marker(struct extraction *x, const char *path, struct status *st)
{
	const char *slash = strrchr(path, '/'), *base = slash != NULL ? slash + 1 : path;
	size_t dir = (size_t)(base - path);
	autofree char *target = NULL;
	int rc;

	if (strncmp(base, ".wh.", 4) != 0)
		return 0;
	if (strcmp(base, ".wh..wh..opq") == 0) {
		target = dir > 0 ? xstrndup(path, dir) : xstrdup(".");
		rc = make_opaque(x, target, st);
	} else if (strncmp(base, ".wh..wh.", 8) == 0) {
		rc = 0; /* Bookkeeping of another file system. */
	} else if (base[4] == '\0' || strcmp(base + 4, ".") == 0 || strcmp(base + 4, "..") == 0) {
		return status_set(st, -EINVAL, "%s: a whiteout of nothing", path);
	} else {
		target = xasprintf("%.*s%s", (int)dir, path, base + 4);
		rc = write_special(x, target, true, st);
	}
	return rc < 0 ? rc : 1;
}

static int copy_data(struct extraction *x, const char *path, struct status *st)
{
	const void *data;
	size_t n;
	la_int64_t offset;
	int rc;

	while ((rc = archive_read_data_block(x->tar, &data, &n, &offset)) == ARCHIVE_OK) {
		if (archive_write_data_block(x->disk, data, n, offset) < ARCHIVE_WARN)
			return status_set(st, -EIO, "%s: %s", path, archive_error_string(x->disk));
		x->file_bytes += n;
	}
	if (rc < ARCHIVE_WARN)
		return status_set(st, -EIO, "%s: %s", path, archive_error_string(x->tar));
	if (archive_write_finish_entry(x->disk) < ARCHIVE_WARN)
		return status_set(st, -EIO, "%s: %s", path, archive_error_string(x->disk));
	return 0;
}

static int take_entry(struct extraction *x, struct archive_entry *entry, struct status *st)
{
	const char *name = archive_entry_pathname(entry), *link = archive_entry_hardlink(entry);

	if (name == NULL)
		return status_set(st, -EINVAL, "entry %u has a name that cannot be read",
				  x->entries);
	autofree char *path = xstrdup(without_leading_slashes(name));

	if (*path == '\0')
		return 0;
	int marker = take_marker(x, path, st);

	if (marker != 0)
		return marker < 0 ? marker : 0;
	archive_entry_set_pathname(entry, path);
	if (link != NULL) {
		autofree char *target = xstrdup(without_leading_slashes(link));

		archive_entry_set_hardlink(entry, target);
	}
	keep_harmless_xattrs(entry);
	int rc = write_entry(x, entry, st);

	return rc < 0 ? rc : copy_data(x, path, st);
}

/* Padding behind the end of the archive belongs to the digest too. */
static int drain(struct extraction *x, struct status *st)
{
	const void *data;

	for (;;) {
		la_ssize_t n = read_raw(x->tar, x, &data);

		if (n < 0)
			return status_set(st, -EIO, "%s", archive_error_string(x->tar));
		if (n == 0)
			return 0;
	}
}

/* An archive that simply stops where a header could begin is complete: some writers leave the
 * end marker out. libarchive reports that as EOF, too. */
static int extract(struct extraction *x, struct status *st)
{
	struct archive_entry *entry;
	int rc;

	while ((rc = archive_read_next_header(x->tar, &entry)) == ARCHIVE_OK ||
	       rc == ARCHIVE_WARN) {
		if (++x->entries > UNPACK_ENTRIES_MAX)
			return status_set(st, -EFBIG, "more than %u entries", UNPACK_ENTRIES_MAX);
		rc = take_entry(x, entry, st);
		if (rc < 0)
			return rc;
	}
	if (rc != ARCHIVE_EOF)
		return status_set(st, -EIO, "not a readable tar archive: %s",
				  archive_error_string(x->tar));
	if (archive_write_close(x->disk) < ARCHIVE_WARN)
		return status_set(st, -EIO, "%s", archive_error_string(x->disk));
	return drain(x, st);
}

int unpack_archive(int fd, char ret_diff_id[DIGEST_SIZE], uint64_t *ret_bytes, struct status *st)
{
	struct extraction x = { archive_read_new(),
				archive_read_new(),
				archive_write_disk_new(),
				{ 0 },
				0,
				0,
				0,
				false };
	int rc;

	digest_init(&x.digest);
	archive_write_disk_set_options(
		x.disk, ARCHIVE_EXTRACT_TIME | ARCHIVE_EXTRACT_PERM | ARCHIVE_EXTRACT_OWNER |
				ARCHIVE_EXTRACT_XATTR | ARCHIVE_EXTRACT_UNLINK |
				ARCHIVE_EXTRACT_SECURE_SYMLINKS | ARCHIVE_EXTRACT_SECURE_NODOTDOT |
				ARCHIVE_EXTRACT_SECURE_NOABSOLUTEPATHS);
	rc = open_readers(&x, fd, st);
	if (rc == 0)
		rc = extract(&x, st);
	if (rc == 0) {
		digest_end(&x.digest, ret_diff_id);
		*ret_bytes = x.file_bytes;
	}
	archive_read_free(x.tar);
	archive_read_free(x.blob);
	archive_write_free(x.disk);
	digest_fini(&x.digest);
	return rc;
}
