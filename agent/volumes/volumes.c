#include "agent/volumes/volumes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/runtime/dir_remove.h"
#include "agent/volumes/claims.h"
#include "agent/volumes/host_path.h"
#include "agent/volumes/payload.h"
#include "common/api/quantity.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"

static const char *volume_dir(const struct pod_view *view, const char *name)
{
	return arena_printf(view->arena, "%s/volumes/%s", view->dir, name);
}

static int64_t fs_group(const struct pod_view *view)
{
	const CoreV1__PodSecurityContext *sc = view->pod->spec->securitycontext;

	return sc && sc->has_fsgroup ? sc->fsgroup : -1;
}

static int make_dir(const char *path, mode_t mode, struct status *st)
{
	if (mkdir(path, mode) < 0 && errno != EEXIST)
		return status_set(st, -errno, "cannot make %s: %s", path, strerror(errno));
	return 0;
}

static bool is_mount(const char *path)
{
	struct stat own, parent;
	autofree char *above = xasprintf("%s/..", path);

	return stat(path, &own) == 0 && stat(above, &parent) == 0 && own.st_dev != parent.st_dev;
}

static int mount_tmpfs(const char *path, const char *options, struct status *st)
{
	if (is_mount(path))
		return 0;
	if (mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, options) < 0)
		return status_set(st, -errno, "cannot mount a tmpfs on %s: %s", path, strerror(errno));
	return 0;
}

static int setup_empty_dir(const struct pod_view *view, const char *path,
	const CoreV1__EmptyDirVolumeSource *e, struct status *st)
{
	int64_t group = fs_group(view);
	int64_t limit = e->sizelimit && e->sizelimit->string ? quantity_text_value(e->sizelimit->string) : 0;
	const char *medium = e->medium ? e->medium : "";
	int rc = 0;

	if (strcmp(medium, "Memory") == 0) {
		const char *options = limit > 0 ? arena_printf(view->arena, "mode=0777,size=%lld", (long long)limit)
						: "mode=0777";

		rc = mount_tmpfs(path, options, st);
	} else if (*medium != '\0') {
		return status_set(st, -EOPNOTSUPP, "emptyDir.medium \"%s\" is not available here: use \"\" or Memory",
			medium);
	}
	if (rc == 0 && group >= 0 && chown(path, (uid_t)-1, (gid_t)group) < 0)
		rc = -errno;
	if (rc == 0 && chmod(path, group >= 0 ? 02777 : 0777) < 0)
		rc = -errno;
	return rc < 0 ? status_set(st, rc, "cannot prepare %s: %s", path, strerror(-rc)) : 0;
}

static int write_payload(const struct pod_view *view, const char *path, const CoreV1__VolumeSource *source,
	struct status *st)
{
	struct volume_files files = { .arena = view->arena };
	int64_t group = fs_group(view);
	int rc = payload_build(view, source, &files, st);

	/* With fsGroup its members may read, whatever the mode says. */
	for (size_t i = 0; group >= 0 && i < files.n; i++)
		files.items[i].mode |= 0440;
	if (rc == 0)
		rc = atomic_write(path, &files, group, st);
	volume_files_fini(&files);
	return rc;
}

static int setup_volume(const struct pod_view *view, const CoreV1__Volume *v, struct status *st)
{
	const CoreV1__VolumeSource *source = v->volumesource;
	const char *path = volume_dir(view, v->name);
	static const CoreV1__EmptyDirVolumeSource plain = CORE_V1__EMPTY_DIR_VOLUME_SOURCE__INIT;

	if (source != NULL && source->hostpath)
		return host_path_check(source->hostpath, st);
	if (claim_is(source))
		return claim_setup(view, v, st);
	int rc = make_dir(path, 0755, st);

	if (rc < 0)
		return rc;
	if (source == NULL || source->emptydir)
		return setup_empty_dir(view, path, source ? source->emptydir : &plain, st);
	if (!payload_is(source))
		return status_set(st, -EOPNOTSUPP,
			"this kind of volume is not supported: use emptyDir, configMap, secret, downwardAPI, "
			"projected, hostPath, persistentVolumeClaim or ephemeral");
	if (payload_is_secret(source))
		rc = mount_tmpfs(path, "mode=0755", st);
	return rc < 0 ? rc : write_payload(view, path, source, st);
}

int volumes_setup(const struct pod_view *view, struct status *st)
{
	int rc = make_dir(arena_printf(view->arena, "%s/volumes", view->dir), 0755, st);

	for (size_t i = 0; i < view->pod->spec->n_volumes && rc == 0; i++) {
		const CoreV1__Volume *v = view->pod->spec->volumes[i];

		if (v->name == NULL || *v->name == '\0' || strchr(v->name, '/') || v->name[0] == '.')
			return status_set(st, -EINVAL, "a volume has no proper name");
		rc = setup_volume(view, v, st);
		if (rc < 0)
			return status_prefix(st, "MountVolume.SetUp failed for volume \"%s\"", v->name);
	}
	return rc;
}

int volumes_refresh(const struct pod_view *view, struct status *st)
{
	int result = 0;

	for (size_t i = 0; i < view->pod->spec->n_volumes; i++) {
		const CoreV1__Volume *v = view->pod->spec->volumes[i];

		if (v->volumesource == NULL || !payload_is(v->volumesource))
			continue;
		int rc = write_payload(view, volume_dir(view, v->name), v->volumesource, result ? NULL : st);

		result = result < 0 ? result : rc;
	}
	return result;
}

static void unmount_all_below(const char *dir)
{
	DIR *d = opendir(dir);

	if (d == NULL)
		return;
	for (struct dirent *e; (e = readdir(d)) != NULL;) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		autofree char *path = xasprintf("%s/%s", dir, e->d_name);

		for (int i = 0; i < 16 && umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0; i++)
			;
	}
	closedir(d);
}

void volumes_unpin(const char *dir)
{
	autofree char *path = xasprintf("%s/subpaths", dir);

	unmount_all_below(path);
}

int volumes_teardown(const char *dir)
{
	static const char *const names[] = { "subpaths", "volumes" };
	int rc = 0;

	for (size_t i = 0; i < array_size(names); i++) {
		autofree char *path = xasprintf("%s/%s", dir, names[i]);

		unmount_all_below(path);
		int one = dir_remove(path);

		rc = rc < 0 ? rc : one;
	}
	return rc;
}

/* O_PATH descriptors cannot be changed; what they stand for can. */
static void set_mode(int fd, mode_t mode)
{
	autofree char *path = xasprintf("/proc/self/fd/%d", fd);

	chmod(path, mode);
}

/* The part of a volume that a subPath names, pinned by a mount of its own: what the container then
 * gets cannot be exchanged for a link that leads elsewhere. */
static int pin_subpath(const struct pod_view *view, const char *volume, const char *subpath,
	const char *container, size_t index, const char **ret_path, struct status *st)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
	autoclose int root = open(volume, O_PATH | O_DIRECTORY | O_CLOEXEC);
	const char *target = arena_printf(view->arena, "%s/subpaths/%s-%zu", view->dir, container, index);
	struct stat s;

	if (root < 0 || fstat(root, &s) < 0)
		return status_set(st, -errno, "subPath: cannot open the volume: %s", strerror(errno));
	mode_t mode = s.st_mode & 07777;
	autoclose int fd = (int)syscall(SYS_openat2, root, subpath, &how, sizeof(how));

	if (fd < 0 && errno == ENOENT) {
		/* A directory is made, one level after the other, never through a link. */
		char *copy = arena_strdup(view->arena, subpath), *save;
		int at = dup(root);

		for (char *name = strtok_r(copy, "/", &save); name && at >= 0; name = strtok_r(NULL, "/", &save)) {
			bool made = mkdirat(at, name, 0700) == 0;
			int next = (int)syscall(SYS_openat2, at, name, &how, sizeof(how));

			/* Whoever may write to the volume may write to it, whatever our umask is. */
			if (made && next >= 0)
				set_mode(next, mode);
			close(at);
			at = next;
		}
		fd = at;
	}
	if (fd < 0 || fstat(fd, &s) < 0)
		return status_set(st, -errno, "subPath \"%s\": %s", subpath, strerror(errno));
	mkdir(arena_printf(view->arena, "%s/subpaths", view->dir), 0755);
	while (umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		;
	if (S_ISDIR(s.st_mode)) {
		unlink(target);
		mkdir(target, 0755);
	} else {
		rmdir(target);
		close(open(target, O_RDONLY | O_CREAT | O_CLOEXEC, 0644));
	}
	autoclose int tree = open_tree(fd, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (tree < 0 || move_mount(tree, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return status_set(st, -errno, "subPath \"%s\": cannot mount it: %s", subpath, strerror(errno));
	*ret_path = target;
	return 0;
}

static const CoreV1__Volume *find_volume(const struct pod_view *view, const char *name)
{
	for (size_t i = 0; i < view->pod->spec->n_volumes; i++) {
		if (strcmp(view->pod->spec->volumes[i]->name, name) == 0)
			return view->pod->spec->volumes[i];
	}
	return NULL;
}

static const char *propagation_option(const CoreV1__VolumeMount *m)
{
	const char *p = m->mountpropagation ? m->mountpropagation : "None";

	return strcmp(p, "Bidirectional") == 0 ? "rshared" : strcmp(p, "HostToContainer") == 0 ? "rslave" : "rprivate";
}

int volumes_mounts(const struct pod_view *view, const CoreV1__Container *container,
	const char *const *subpaths, struct oci_mount **ret_mounts, const char **ret_propagation,
	struct status *st)
{
	struct oci_mount *mounts = arena_array(view->arena, struct oci_mount, container->n_volumemounts + 1);

	*ret_propagation = NULL;
	for (size_t i = 0; i < container->n_volumemounts; i++) {
		const CoreV1__VolumeMount *m = container->volumemounts[i];
		const CoreV1__Volume *v = find_volume(view, m->name ? m->name : "");

		if (v == NULL)
			return status_set(st, -EINVAL, "volumeMounts[%zu]: the pod has no volume \"%s\"", i,
				m->name ? m->name : "");
		const CoreV1__VolumeSource *source = v->volumesource;
		struct claim_volume claim = { .path = volume_dir(view, v->name) };
		int found = claim_is(source) ? claim_find(view, v, &claim, st) : 0;

		if (found < 0)
			return found;
		const char *path = source && source->hostpath ? source->hostpath->path : claim.path;
		bool readonly = m->readonly || claim.readonly || (source && payload_is(source));
		const char *propagation = propagation_option(m);
		const char *ro = !readonly ? "rw"
			: m->recursivereadonly && strcmp(m->recursivereadonly, "Enabled") == 0 ? "rro"
											       : "ro";

		if (subpaths[i] != NULL && *subpaths[i] != '\0') {
			int rc = pin_subpath(view, path, subpaths[i], container->name, i, &path, st);

			if (rc < 0)
				return rc;
		}
		if (strcmp(propagation, "rshared") == 0 || (strcmp(propagation, "rslave") == 0 && !*ret_propagation))
			*ret_propagation = propagation;
		mounts[i] = (struct oci_mount){ path, m->mountpath, "bind",
			arena_printf(view->arena, "rbind,%s,%s", propagation, ro) };
	}
	*ret_mounts = mounts;
	return 0;
}

static int64_t disk_usage(int parent, const char *name, int depth)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	int64_t sum = 0;
	struct stat s;

	for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
		if (strcmp(e->d_name, "..") == 0 || fstatat(dirfd(d), e->d_name, &s, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		sum += (int64_t)s.st_blocks * 512;
		if (S_ISDIR(s.st_mode) && strcmp(e->d_name, ".") != 0 && depth < 128)
			sum += disk_usage(dirfd(d), e->d_name, depth + 1);
	}
	if (d != NULL)
		closedir(d);
	return sum;
}

const char *volumes_over_limit(const struct pod_view *view)
{
	for (size_t i = 0; i < view->pod->spec->n_volumes; i++) {
		const CoreV1__Volume *v = view->pod->spec->volumes[i];
		const CoreV1__EmptyDirVolumeSource *e = v->volumesource ? v->volumesource->emptydir : NULL;

		if (e == NULL || e->sizelimit == NULL || (e->medium && *e->medium))
			continue;
		if (disk_usage(AT_FDCWD, volume_dir(view, v->name), 0) > quantity_text_value(e->sizelimit->string))
			return v->name;
	}
	return NULL;
}
