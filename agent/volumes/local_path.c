#include "agent/volumes/local_path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/runtime/dir_remove.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"

/* What a PersistentVolume can be called: lower-case letters, digits, '-' and '.', and never a dot first. */
static bool name_is_safe(const char *name)
{
	size_t n = strlen(name);

	return n > 0 && n <= 253 && name[0] != '.' &&
		strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-.") == n;
}

static int open_root(const char *dir, struct status *st)
{
	int fd;

	if (mkdir(dir, 0711) < 0 && errno != EEXIST)
		return status_set(st, -errno, "cannot make %s: %s", dir, strerror(errno));
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? status_set(st, -errno, "cannot open %s: %s", dir, strerror(errno)) : fd;
}

int local_path_make(const char *dir, const char *name, char **ret_path, struct status *st)
{
	autoclose int root = -1, folder = -1;

	if (!name_is_safe(name))
		return status_set(st, -EINVAL, "\"%s\" is not the name of a volume", name);
	root = open_root(dir, st);
	if (root < 0)
		return root;
	bool made = mkdirat(root, name, 0777) == 0;

	if (!made && errno != EEXIST)
		return status_set(st, -errno, "cannot make %s/%s: %s", dir, name, strerror(errno));
	folder = openat(root, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (folder < 0)
		return status_set(st, -errno, "%s/%s is not a directory: %s", dir, name, strerror(errno));
	/* Whoever the containers run as; what is in use already stays as its users made it. */
	if (made && (fchmod(folder, 0777) < 0 || fsync(root) < 0))
		return status_set(st, -errno, "cannot prepare %s/%s: %s", dir, name, strerror(errno));
	*ret_path = xasprintf("%s/%s", dir, name);
	return 0;
}

int local_path_remove(const char *dir, const char *name, struct status *st)
{
	autofree char *path = xasprintf("%s/%s", dir, name);
	autoclose int root = -1;
	int rc;

	if (!name_is_safe(name))
		return status_set(st, -EINVAL, "\"%s\" is not the name of a volume", name);
	rc = dir_remove(path);
	if (rc < 0)
		return status_set(st, rc, "cannot remove %s: %s", path, strerror(-rc));
	/* It must not come back after a power cut: it is reported now. */
	root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root >= 0 && fsync(root) < 0)
		return status_set(st, -errno, "cannot sync %s: %s", dir, strerror(errno));
	return 0;
}
