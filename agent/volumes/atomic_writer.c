#include "agent/volumes/atomic_writer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"

enum { FILES_MAX = 10000, BYTES_MAX = 64 * 1024 * 1024 };

static bool path_is_safe(const char *path)
{
	if (*path == '\0' || *path == '/' || strlen(path) >= PATH_MAX / 2)
		return false;
	for (const char *p = path; *p;) {
		size_t n = strcspn(p, "/");

		if (n == 0 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
			return false;
		p += n + (p[n] == '/');
	}
	/* The names that the writer itself uses. */
	return strncmp(path, "..", 2) != 0;
}

int volume_files_add(struct volume_files *files, const char *path, const void *data, size_t len,
	unsigned mode, struct status *st)
{
	struct volume_file *f = NULL;

	if (!path_is_safe(path))
		return status_set(st, -EINVAL, "\"%s\" is not a path inside a volume", path);
	for (size_t i = 0; i < files->n; i++) {
		if (strcmp(files->items[i].path, path) == 0)
			f = &files->items[i];
	}
	if (f == NULL) {
		if (files->n == FILES_MAX)
			return status_set(st, -EFBIG, "more than %d files in one volume", FILES_MAX);
		array_grow(files->items, files->n, files->cap);
		f = &files->items[files->n++];
	}
	files->bytes += len;
	if (files->bytes > BYTES_MAX)
		return status_set(st, -EFBIG, "more than %d bytes in one volume", BYTES_MAX);
	*f = (struct volume_file){ .path = arena_strdup(files->arena, path),
		.data = data,
		.len = len,
		.mode = mode,
		.uid = -1 };
	return 0;
}

void volume_files_fini(struct volume_files *files)
{
	free(files->items);
	files->items = NULL;
	files->n = files->cap = 0;
}

/* The file there has these bytes, this mode and this group. */
static bool same_file(int dir, const struct volume_file *f, int64_t gid)
{
	struct stat st;
	autoclose int fd = openat(dir, f->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size != (off_t)f->len ||
		(st.st_mode & 07777) != f->mode || (gid >= 0 && st.st_gid != (gid_t)gid))
		return false;
	autofree uint8_t *data = xmalloc(f->len + 1);

	return read(fd, data, f->len) == (ssize_t)f->len && (f->len == 0 || memcmp(data, f->data, f->len) == 0);
}

static size_t count_files(int dir)
{
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	size_t n = 0;

	if (d == NULL)
		return 0;
	for (struct dirent *e; (e = readdir(d)) != NULL;) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		int child = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		if (child < 0) {
			n++;
			continue;
		}
		n += count_files(child);
		close(child);
	}
	closedir(d);
	return n;
}

static bool is_current(int volume, const struct volume_files *files, int64_t gid)
{
	autoclose int data = openat(volume, "..data", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (data < 0 || count_files(data) != files->n)
		return false;
	for (size_t i = 0; i < files->n; i++) {
		if (!same_file(data, &files->items[i], gid))
			return false;
	}
	return true;
}

static int make_parents(int dir, const char *path, int64_t gid)
{
	autofree char *copy = xstrdup(path);

	for (char *slash = strchr(copy, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdirat(dir, copy, 0755) < 0) {
			if (errno != EEXIST)
				return -errno;
		} else if (gid >= 0 && fchownat(dir, copy, (uid_t)-1, (gid_t)gid, 0) < 0) {
			return -errno;
		}
		*slash = '/';
	}
	return 0;
}

static int write_one(int dir, const struct volume_file *f, int64_t gid)
{
	int rc = make_parents(dir, f->path, gid);

	if (rc < 0)
		return rc;
	autoclose int fd = openat(dir, f->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	for (size_t done = 0; done < f->len;) {
		ssize_t n = write(fd, f->data + done, f->len - done);

		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	if ((gid >= 0 || f->uid >= 0) &&
		fchown(fd, f->uid >= 0 ? (uid_t)f->uid : (uid_t)-1, gid >= 0 ? (gid_t)gid : (gid_t)-1) < 0)
		return -errno;
	return fchmod(fd, f->mode) < 0 ? -errno : 0;
}

static void remove_below(int parent, const char *name)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (d != NULL) {
		for (struct dirent *e; (e = readdir(d)) != NULL;) {
			if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
				continue;
			if (unlinkat(dirfd(d), e->d_name, 0) < 0)
				remove_below(dirfd(d), e->d_name);
		}
		closedir(d);
	}
	unlinkat(parent, name, AT_REMOVEDIR);
}

static bool is_top_level(const struct volume_files *files, const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < files->n; i++) {
		if (strncmp(files->items[i].path, name, n) == 0 &&
			(files->items[i].path[n] == '/' || files->items[i].path[n] == '\0'))
			return true;
	}
	return false;
}

/* Links of names that are new, none for names that are gone, no directory but the current one. */
static int settle_links(int volume, const char *current, const struct volume_files *files)
{
	for (size_t i = 0; i < files->n; i++) {
		autofree char *name = xstrdup(files->items[i].path);

		name[strcspn(name, "/")] = '\0';
		autofree char *to = xasprintf("..data/%s", name);

		if (symlinkat(to, volume, name) < 0 && errno != EEXIST)
			return -errno;
	}
	int copy = openat(volume, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);

	if (d == NULL)
		return -errno;
	for (struct dirent *e; (e = readdir(d)) != NULL;) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
			strcmp(e->d_name, "..data") == 0 || strcmp(e->d_name, current) == 0)
			continue;
		if (strncmp(e->d_name, "..", 2) == 0)
			remove_below(volume, e->d_name);
		else if (!is_top_level(files, e->d_name))
			unlinkat(volume, e->d_name, 0);
	}
	closedir(d);
	return 0;
}

static void name_of_now(char *to, size_t size)
{
	struct timespec now;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	size_t n = strftime(to, size, "..%Y_%m_%d_%H_%M_%S", &tm);

	snprintf(to + n, size - n, ".%09ld", now.tv_nsec);
}

int atomic_write(const char *dir, const struct volume_files *files, int64_t gid, struct status *st)
{
	autoclose int volume = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char name[64];
	int rc = 0;

	if (volume < 0)
		return status_set(st, -errno, "cannot open %s: %s", dir, strerror(errno));
	if (is_current(volume, files, gid))
		return 0;
	name_of_now(name, sizeof(name));
	if (mkdirat(volume, name, 0755) < 0)
		return status_set(st, -errno, "cannot make %s/%s: %s", dir, name, strerror(errno));
	autoclose int fresh = openat(volume, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fresh < 0 || fchmod(fresh, 0755) < 0 || (gid >= 0 && fchown(fresh, (uid_t)-1, (gid_t)gid) < 0))
		rc = -errno;
	for (size_t i = 0; rc == 0 && i < files->n; i++)
		rc = write_one(fresh, &files->items[i], gid);
	unlinkat(volume, "..data_tmp", 0);
	if (rc == 0 && (symlinkat(name, volume, "..data_tmp") < 0 ||
			       renameat(volume, "..data_tmp", volume, "..data") < 0))
		rc = -errno;
	if (rc < 0) {
		remove_below(volume, name);
		return status_set(st, rc, "cannot write into %s: %s", dir, strerror(-rc));
	}
	rc = settle_links(volume, name, files);
	return rc < 0 ? status_set(st, rc, "cannot link the files of %s: %s", dir, strerror(-rc)) : 0;
}
