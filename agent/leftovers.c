#include "agent/leftovers.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "agent/runtime/dir_remove.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"

/* What mountinfo escapes: blank, tab, newline and backslash as three octal digits. */
static void unescape(char *text)
{
	char *to = text;

	for (char *from = text; *from;) {
		if (from[0] == '\\' && from[1] && from[2] && from[3]) {
			*to++ = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
			from += 4;
		} else {
			*to++ = *from++;
		}
	}
	*to = '\0';
}

static bool is_below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return strncmp(path, dir, n) == 0 && path[n] == '/';
}

/* The mount points below dir, in the order they were mounted. */
static char **mounts_below(const char *dir, size_t *ret_n)
{
	FILE *info = fopen("/proc/self/mountinfo", "re");
	autofree char *line = NULL;
	char **mounts = NULL;
	size_t n = 0, cap = 0, size = 0;
	char point[4096];

	while (info != NULL && getline(&line, &size, info) > 0) {
		if (sscanf(line, "%*s %*s %*s %*s %4095s", point) != 1)
			continue;
		unescape(point);
		if (!is_below(point, dir))
			continue;
		array_grow(mounts, n, cap);
		mounts[n++] = xstrdup(point);
	}
	if (info != NULL)
		fclose(info);
	*ret_n = n;
	return mounts;
}

static int unmount_all(const char *dir)
{
	size_t n;
	char **mounts = mounts_below(dir, &n);
	int rc = 0;

	for (size_t i = n; i > 0; i--) {
		if (umount2(mounts[i - 1], MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL)
			rc = -errno;
		free(mounts[i - 1]);
	}
	free(mounts);
	return rc;
}

/* Volumes are not of the pods: a folder with something in it stays, and with it the directory. */
static int remove_all_but_volumes(const char *dir)
{
	autofree char *volumes = xasprintf("%s/local-path", dir);
	struct dirent *e;
	DIR *d;
	int rc = 0;

	if (rmdir(volumes) == 0 || errno != ENOTEMPTY)
		return dir_remove(dir);
	d = opendir(dir);
	while (d != NULL && (e = readdir(d)) != NULL) {
		autofree char *path = xasprintf("%s/%s", dir, e->d_name);

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
		    strcmp(e->d_name, "local-path") == 0)
			continue;
		int one = dir_remove(path);

		rc = rc < 0 ? rc : one;
	}
	if (d != NULL)
		closedir(d);
	return rc;
}

int leftovers_remove(const char *dir, const struct cgroups *cgroups, struct status *st)
{
	/* First the processes: what they have mounted and opened goes with them. */
	int rc = cgroup_remove(cgroups, cgroups->parent);

	if (rc < 0)
		return status_set(st, rc, "control group %s: %s", cgroups->parent, strerror(-rc));
	rc = unmount_all(dir);
	if (rc < 0)
		return status_set(st, rc, "a mount below %s cannot be taken away: %s", dir,
				  strerror(-rc));
	rc = remove_all_but_volumes(dir);
	if (rc < 0)
		return status_set(st, rc, "%s: %s", dir, strerror(-rc));
	return 0;
}
