#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"

static int fail(struct status *st, int rc, const char *what, const char *path)
{
	return status_set(st, rc, "%s %s: %s", what, path, strerror(-rc));
}

int file_read(const char *path, size_t max_bytes, struct buf *out, struct status *st)
{
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t start = out->len;

	if (fd < 0)
		return fail(st, -errno, "cannot open", path);
	for (;;) {
		ssize_t got = read(fd, buf_reserve(out, 4096), 4096);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return fail(st, -errno, "cannot read", path);
		if (got == 0)
			return 0;
		out->len += (size_t)got;
		if (out->len - start > max_bytes)
			return fail(st, -EFBIG, "cannot read", path);
	}
}

static int write_all(int fd, const char *data, size_t n)
{
	while (n > 0) {
		ssize_t put = write(fd, data, n);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		data += put;
		n -= (size_t)put;
	}
	return 0;
}

int file_write(const char *path, mode_t mode, const void *data, size_t n, struct status *st)
{
	autofree char *temp = xasprintf("%s.new", path);
	autoclose int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		return fail(st, -errno, "cannot create", temp);
	int rc = write_all(fd, data, n);
	if (rc == 0 && (fchmod(fd, mode) < 0 || fsync(fd) < 0 || rename(temp, path) < 0))
		rc = -errno;
	if (rc < 0) {
		unlink(temp);
		return fail(st, rc, "cannot write", path);
	}
	return 0;
}

int dir_make(const char *path, mode_t mode, struct status *st)
{
	autofree char *copy = xstrdup(path);

	for (char *slash = copy + 1;; slash++) {
		if (*slash != '/' && *slash != '\0')
			continue;
		char end = *slash;

		*slash = '\0';
		if (mkdir(copy, mode) < 0 && errno != EEXIST)
			return fail(st, -errno, "cannot make folder", copy);
		if (end == '\0')
			return 0;
		*slash = '/';
	}
}
