#include "agent/volumes/host_path.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"

static int make_all_dirs(const char *path, mode_t mode)
{
	autofree char *copy = xstrdup(path);

	for (char *p = copy + 1;; p++) {
		if (*p != '/' && *p != '\0')
			continue;
		char saved = *p;

		*p = '\0';
		if (mkdir(copy, mode) < 0 && errno != EEXIST)
			return -errno;
		*p = saved;
		if (saved == '\0')
			return 0;
	}
}

int host_path_check(const CoreV1__HostPathVolumeSource *h, struct status *st)
{
	const char *path = h->path ? h->path : "", *type = h->type ? h->type : "";
	static const struct {
		const char *type;
		mode_t format;
	} checks[] = { { "Directory", S_IFDIR }, { "File", S_IFREG }, { "Socket", S_IFSOCK },
		{ "CharDevice", S_IFCHR }, { "BlockDevice", S_IFBLK }, { "DirectoryOrCreate", S_IFDIR },
		{ "FileOrCreate", S_IFREG } };
	struct stat s;

	if (*path != '/' || strstr(path, "..") != NULL)
		return status_set(st, -EINVAL, "hostPath.path \"%s\" is not an absolute path without \"..\"", path);
	if (strcmp(type, "DirectoryOrCreate") == 0) {
		int rc = make_all_dirs(path, 0755);

		if (rc < 0)
			return status_set(st, rc, "hostPath: cannot make %s: %s", path, strerror(-rc));
	} else if (strcmp(type, "FileOrCreate") == 0) {
		int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

		if (fd < 0)
			return status_set(st, -errno, "hostPath: cannot make %s: %s", path, strerror(errno));
		close(fd);
	} else if (*type == '\0') {
		/* No check; a missing directory is made as Docker did. */
		if (stat(path, &s) < 0 && errno == ENOENT)
			make_all_dirs(path, 0755);
		return 0;
	}
	for (size_t i = 0; i < array_size(checks); i++) {
		if (strcmp(type, checks[i].type) != 0)
			continue;
		if (stat(path, &s) < 0 || (s.st_mode & S_IFMT) != checks[i].format)
			return status_set(st, -ENOENT, "hostPath type check failed: %s is not a %s", path, type);
		return 0;
	}
	return status_set(st, -EINVAL, "hostPath.type \"%s\" is unknown", type);
}
