#include "agent/runtime/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"

#define NSFS_MAGIC 0x6e736673

bool sandbox_sysctl_is_ipc(const char *name)
{
	return strncmp(name, "kernel.shm", 10) == 0 || strncmp(name, "kernel.msg", 10) == 0 ||
		strncmp(name, "kernel.sem", 10) == 0 || strncmp(name, "fs.mqueue.", 10) == 0;
}

static int write_sysctl(const char *assignment, struct status *st)
{
	autofree char *path = xasprintf("/proc/sys/%s", assignment);
	char *equals = strchr(path, '=');

	if (equals == NULL || strstr(path, "..") != NULL || strchr(assignment, '/') != NULL)
		return status_set(st, -EINVAL, "sysctl \"%s\" is not name=value", assignment);
	*equals = '\0';
	for (char *p = path + strlen("/proc/sys/"); *p; p++)
		*p = *p == '.' ? '/' : *p;
	autoclose int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, equals + 1, strlen(equals + 1)) < 0)
		return status_set(st, -errno, "cannot set the sysctl %s: %s", assignment, strerror(errno));
	return 0;
}

static int pin(const char *dir, const char *name, struct status *st)
{
	autofree char *to = xasprintf("%s/ns/%s", dir, name);
	autofree char *from = xasprintf("/proc/thread-self/ns/%s", name);
	autoclose int fd = open(to, O_RDONLY | O_CREAT | O_CLOEXEC, 0400);

	if (fd < 0)
		return status_set(st, -errno, "cannot make %s: %s", to, strerror(errno));
	if (mount(from, to, NULL, MS_BIND, NULL) < 0)
		return status_set(st, -errno, "cannot pin a namespace on %s: %s", to, strerror(errno));
	return 0;
}

/* In the new namespaces already. */
static int fill(const struct sandbox_options *o, struct status *st)
{
	int rc = 0;

	if (o->hostname != NULL) {
		if (sethostname(o->hostname, strlen(o->hostname)) < 0)
			return status_set(st, -errno, "cannot set the host name %s: %s", o->hostname, strerror(errno));
		rc = pin(o->dir, "uts", st);
	}
	for (size_t i = 0; rc == 0 && !o->host_ipc && i < o->n_sysctls; i++)
		rc = write_sysctl(o->sysctls[i], st);
	if (rc == 0 && !o->host_ipc)
		rc = pin(o->dir, "ipc", st);
	return rc;
}

static int make_shm(const struct sandbox_options *o, struct status *st)
{
	autofree char *path = xasprintf("%s/shm", o->dir);
	autofree char *data = xasprintf("mode=1777,size=%s", o->shm_size);

	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return status_set(st, -errno, "cannot make %s: %s", path, strerror(errno));
	if (mount("shm", path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, data) < 0)
		return status_set(st, -errno, "cannot mount the pod's /dev/shm: %s", strerror(errno));
	return 0;
}

int sandbox_create(const struct sandbox_options *o, struct status *st)
{
	autofree char *ns = xasprintf("%s/ns", o->dir);
	autoclose int home_uts = open("/proc/thread-self/ns/uts", O_RDONLY | O_CLOEXEC);
	autoclose int home_ipc = open("/proc/thread-self/ns/ipc", O_RDONLY | O_CLOEXEC);
	int flags = (o->hostname ? CLONE_NEWUTS : 0) | (o->host_ipc ? 0 : CLONE_NEWIPC);

	if (home_uts < 0 || home_ipc < 0)
		return status_set(st, -errno, "no handle on our own namespaces: %s", strerror(errno));
	if (mkdir(ns, 0700) < 0 && errno != EEXIST)
		return status_set(st, -errno, "cannot make %s: %s", ns, strerror(errno));
	if (flags == 0)
		return 0;
	if (unshare(flags) < 0)
		return status_set(st, -errno, "cannot make the pod's namespaces: %s", strerror(errno));

	int rc = fill(o, st);

	if (setns(home_uts, CLONE_NEWUTS) < 0 || setns(home_ipc, CLONE_NEWIPC) < 0)
		abort();
	if (rc == 0 && !o->host_ipc)
		rc = make_shm(o, st);
	if (rc < 0)
		sandbox_destroy(o->dir);
	return rc;
}

static void unpin(const char *path)
{
	/* More than once if earlier attempts stacked up. */
	for (int i = 0; i < 16 && umount2(path, MNT_DETACH) == 0; i++)
		;
}

int sandbox_destroy(const char *dir)
{
	static const char *const names[] = { "ns/ipc", "ns/uts", "ns/net" };
	autofree char *shm = xasprintf("%s/shm", dir);

	for (size_t i = 0; i < array_size(names); i++) {
		autofree char *path = xasprintf("%s/%s", dir, names[i]);

		unpin(path);
		if (unlink(path) < 0 && errno != ENOENT)
			return -errno;
	}
	unpin(shm);
	return rmdir(shm) < 0 && errno != ENOENT ? -errno : 0;
}

static bool is_namespace(const char *dir, const char *name)
{
	autofree char *path = xasprintf("%s/ns/%s", dir, name);
	struct statfs fs;

	return statfs(path, &fs) == 0 && fs.f_type == NSFS_MAGIC;
}

bool sandbox_exists(const char *dir, bool host_ipc, bool host_network)
{
	return (host_ipc || is_namespace(dir, "ipc")) &&
		(host_network || (is_namespace(dir, "net") && is_namespace(dir, "uts")));
}
