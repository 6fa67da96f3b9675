#include "agent/runtime/dir_remove.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEPTH_MAX = 400 };

static int remove_at(int parent, const char *name, const dev_t *device, int depth)
{
	struct stat s;

	if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	if (depth == DEPTH_MAX)
		return -ELOOP;
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (fstat(fd, &s) < 0 || (device != NULL && s.st_dev != *device)) {
		close(fd);
		return -EXDEV;
	}
	DIR *d = fdopendir(fd);
	int rc = 0;

	for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		int one = remove_at(dirfd(d), e->d_name, &s.st_dev, depth + 1);

		rc = rc < 0 ? rc : one;
	}
	closedir(d);
	if (unlinkat(parent, name, AT_REMOVEDIR) < 0 && rc == 0 && errno != ENOENT)
		rc = -errno;
	return rc;
}

int dir_remove(const char *path)
{
	return remove_at(AT_FDCWD, path, NULL, 0);
}
