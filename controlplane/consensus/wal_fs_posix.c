#include "controlplane/consensus/wal_fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"

struct posix_fs {
	struct wal_fs base;
	int dir_fd;
	int lock_fd;
};

struct wal_file {
	int fd;
};

static struct posix_fs *posix_of(struct wal_fs *fs)
{
	return container_of(fs, struct posix_fs, base);
}

static int posix_open(struct wal_fs *fs, const char *name, bool create, struct wal_file **ret_file)
{
	int fd = openat(posix_of(fs)->dir_fd, name, O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0600);

	if (fd < 0)
		return -errno;

	struct wal_file *file = xmalloc(sizeof(*file));

	file->fd = fd;
	*ret_file = file;
	return 0;
}

static void posix_close(struct wal_fs *fs, struct wal_file *file)
{
	(void)fs;
	if (file == NULL)
		return;
	close(file->fd);
	free(file);
}

static int64_t posix_size(struct wal_fs *fs, struct wal_file *file)
{
	struct stat st;

	(void)fs;
	return fstat(file->fd, &st) < 0 ? -errno : (int64_t)st.st_size;
}

static int64_t posix_read(struct wal_fs *fs, struct wal_file *file, uint64_t offset, void *data,
			  size_t n)
{
	size_t got = 0;

	(void)fs;
	while (got < n) {
		ssize_t r = pread(file->fd, (char *)data + got, n - got, (off_t)(offset + got));

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			break;
		got += (size_t)r;
	}
	return (int64_t)got;
}

static int posix_write(struct wal_fs *fs, struct wal_file *file, uint64_t offset, const void *data,
		       size_t n)
{
	size_t done = 0;

	(void)fs;
	while (done < n) {
		ssize_t r = pwrite(file->fd, (const char *)data + done, n - done,
				   (off_t)(offset + done));

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		done += (size_t)r;
	}
	return 0;
}

static int posix_truncate(struct wal_fs *fs, struct wal_file *file, uint64_t size)
{
	(void)fs;
	return ftruncate(file->fd, (off_t)size) < 0 ? -errno : 0;
}

static int posix_sync(struct wal_fs *fs, struct wal_file *file, enum wal_sync why)
{
	(void)fs;
	(void)why;
	return fdatasync(file->fd) < 0 ? -errno : 0;
}

static int posix_rename(struct wal_fs *fs, const char *from, const char *to)
{
	int dir = posix_of(fs)->dir_fd;

	return renameat(dir, from, dir, to) < 0 ? -errno : 0;
}

static int posix_unlink(struct wal_fs *fs, const char *name)
{
	return unlinkat(posix_of(fs)->dir_fd, name, 0) < 0 ? -errno : 0;
}

static int posix_sync_dir(struct wal_fs *fs, enum wal_sync why)
{
	(void)why;
	return fsync(posix_of(fs)->dir_fd) < 0 ? -errno : 0;
}

static int posix_list(struct wal_fs *fs, void (*each)(void *ctx, const char *name), void *ctx)
{
	int fd = openat(posix_of(fs)->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;

	DIR *dir = fdopendir(fd);

	if (dir == NULL) {
		close(fd);
		return -errno;
	}
	errno = 0;
	for (struct dirent *e; (e = readdir(dir)) != NULL; errno = 0)
		if (e->d_name[0] != '.')
			each(ctx, e->d_name);

	int rc = -errno;

	closedir(dir);
	return rc;
}

static int64_t posix_free_bytes(struct wal_fs *fs)
{
	struct statvfs st;

	if (fstatvfs(posix_of(fs)->dir_fd, &st) < 0)
		return -errno;
	return (int64_t)(st.f_bavail * st.f_frsize);
}

static int posix_reserve(struct wal_fs *fs, struct wal_file *file, uint64_t n)
{
	(void)fs;
	return -posix_fallocate(file->fd, 0, (off_t)n);
}

static const struct wal_fs posix_table = {
	.open = posix_open,
	.close = posix_close,
	.size = posix_size,
	.read = posix_read,
	.write = posix_write,
	.truncate = posix_truncate,
	.sync = posix_sync,
	.rename = posix_rename,
	.unlink = posix_unlink,
	.sync_dir = posix_sync_dir,
	.list = posix_list,
	.free_bytes = posix_free_bytes,
	.reserve = posix_reserve,
};

int wal_fs_open(const char *dir, struct wal_fs **ret_fs)
{
	autoclose int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir_fd < 0)
		return -errno;

	autoclose int lock_fd = openat(dir_fd, ".lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (lock_fd < 0)
		return -errno;
	if (flock(lock_fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;

	struct posix_fs *fs = xmalloc(sizeof(*fs));

	*fs = (struct posix_fs){ posix_table, steal_fd(&dir_fd), steal_fd(&lock_fd) };
	*ret_fs = &fs->base;
	return 0;
}

void wal_fs_close(struct wal_fs *base)
{
	if (base == NULL)
		return;

	struct posix_fs *fs = posix_of(base);

	close(fs->lock_fd);
	close(fs->dir_fd);
	free(fs);
}
