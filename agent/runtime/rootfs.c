/* With fsopen() a layer is one option of its own, so that the page which mount(2) gives to all of
 * them does not bound their number. lowerdir+ came with Linux 6.5; before it, the
 * options of one mount(2) call must fit, as short paths through descriptors. */
#include "agent/runtime/rootfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/buf.h"
#include "common/base/cleanup.h"

enum { LAYERS_MAX = 500, OPTIONS_MAX = 4000 };

static int set_string(int fs, const char *key, const char *value)
{
	return fsconfig(fs, FSCONFIG_SET_STRING, key, value, 0) < 0 ? -errno : 0;
}

static int mount_by_parts(const char *rootfs, const char *upper, const char *work, char *const *layers,
	size_t n_layers)
{
	autoclose int fs = fsopen("overlay", FSOPEN_CLOEXEC);
	int rc = fs < 0 ? -errno : 0;

	for (size_t i = 0; rc == 0 && i < n_layers; i++)
		rc = set_string(fs, "lowerdir+", layers[i]);
	if (rc == 0)
		rc = set_string(fs, "upperdir", upper);
	if (rc == 0)
		rc = set_string(fs, "workdir", work);
	if (rc == 0 && fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		rc = -errno;
	if (rc < 0)
		return rc;

	autoclose int tree = fsmount(fs, FSMOUNT_CLOEXEC, 0);

	if (tree < 0 || move_mount(tree, "", AT_FDCWD, rootfs, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return -errno;
	return 0;
}

static int mount_at_once(const char *rootfs, const char *upper, const char *work, char *const *layers,
	size_t n_layers)
{
	auto_with(buf_fini) struct buf options = { 0 };
	int fds[64], rc = 0;
	size_t n = 0;

	if (n_layers > array_size(fds))
		return -E2BIG;
	buf_put_str(&options, "lowerdir=");
	for (; n < n_layers; n++) {
		fds[n] = open(layers[n], O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (fds[n] < 0) {
			rc = -errno;
			break;
		}
		buf_printf(&options, "%s/proc/self/fd/%d", n ? ":" : "", fds[n]);
	}
	buf_printf(&options, ",upperdir=%s,workdir=%s", upper, work);
	if (rc == 0 && options.len > OPTIONS_MAX)
		rc = -E2BIG;
	if (rc == 0 && mount("overlay", rootfs, "overlay", 0, buf_cstr(&options)) < 0)
		rc = -errno;
	while (n > 0)
		close(fds[--n]);
	return rc;
}

int rootfs_mount(const char *dir, char *const *layers, size_t n_layers, struct status *st)
{
	autofree char *rootfs = xasprintf("%s/rootfs", dir), *upper = xasprintf("%s/upper", dir);
	autofree char *work = xasprintf("%s/work", dir);
	struct stat top = { .st_mode = 0755 };

	if (n_layers == 0 || n_layers > LAYERS_MAX)
		return status_set(st, -EINVAL, "the image has %zu layers, 1 to %d are possible", n_layers,
			LAYERS_MAX);
	if (mkdir(rootfs, 0755) < 0 && errno != EEXIST)
		return status_set(st, -errno, "cannot make %s: %s", rootfs, strerror(errno));
	if (mkdir(work, 0700) < 0 && errno != EEXIST)
		return status_set(st, -errno, "cannot make %s: %s", work, strerror(errno));
	if (mkdir(upper, 0755) < 0 && errno != EEXIST)
		return status_set(st, -errno, "cannot make %s: %s", upper, strerror(errno));
	/* The upper directory's owner and mode are what the container sees of "/". */
	if (stat(layers[0], &top) == 0 &&
		(chown(upper, top.st_uid, top.st_gid) < 0 || chmod(upper, top.st_mode & 07777) < 0))
		return status_set(st, -errno, "cannot set the owner of %s: %s", upper, strerror(errno));

	int rc = mount_by_parts(rootfs, upper, work, layers, n_layers);

	if (rc == -EINVAL || rc == -ENOSYS)
		rc = mount_at_once(rootfs, upper, work, layers, n_layers);
	if (rc < 0)
		return status_set(st, rc, "cannot mount the container's root on %s: %s", rootfs,
			strerror(-rc));
	return 0;
}

int rootfs_unmount(const char *dir)
{
	autofree char *rootfs = xasprintf("%s/rootfs", dir);

	if (umount2(rootfs, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL && errno != ENOENT)
		return -errno;
	return 0;
}
