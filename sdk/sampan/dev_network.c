#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/magic.h>

#include "common/base/alloc.h"
#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "sdk/sampan/dev.h"

static char *netns_path(const char *dir, const char *name)
{
	return xasprintf("%s/netns/%s", dir, name);
}

static bool is_pinned(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && fs.f_type == NSFS_MAGIC;
}

/* Run fn in a child and wait; its exit code 0 is success. */
static int in_child(int (*fn)(void *ctx), void *ctx)
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (pid == 0)
		_exit(fn(ctx) == 0 ? 0 : 1);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}

static int pin_new(void *ctx)
{
	if (unshare(CLONE_NEWNET) < 0)
		return -1;
	return mount("/proc/self/ns/net", ctx, NULL, MS_BIND, NULL);
}

int dev_netns_make(const char *dir, const char *name, struct status *st)
{
	autofree char *path = netns_path(dir, name);

	if (is_pinned(path))
		return 0;
	autoclose int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || in_child(pin_new, path) < 0)
		return status_set(st, -EPERM, "%s: cannot make a network namespace (root is needed)",
				  path);
	return 0;
}

int dev_netns_enter(const char *dir, const char *name, struct status *st)
{
	autofree char *path = netns_path(dir, name);
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
		return status_set(st, -errno, "%s: %s", path, strerror(errno));
	return 0;
}

/* --- The ip command inside a namespace ------------------------------------------------- */

struct batch {
	const char *dir, *netns;
	int input; /* Commands, one a line. */
};

static int run_batch(void *ctx)
{
	struct batch *b = ctx;
	int null = open("/dev/null", O_WRONLY);

	if (dev_netns_enter(b->dir, b->netns, NULL) < 0)
		return -1;
	dup2(b->input, STDIN_FILENO);
	dup2(null, STDERR_FILENO);
	/* -force: what is there already stays. */
	execlp("ip", "ip", "-force", "-batch", "-", (char *)NULL);
	return -1;
}

static int ip_batch(const char *dir, const char *netns, const struct buf *commands)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	/* A pipe holds 64 KiB; our batches are a fraction of that. */
	ssize_t put = write(fds[1], commands->data, commands->len);
	close(fds[1]);
	int rc = put == (ssize_t)commands->len
			 ? in_child(run_batch, &(struct batch){ dir, netns, fds[0] })
			 : -EIO;
	close(fds[0]);
	return rc;
}

int dev_lan_set_up(const char *dir, int masters, struct status *st)
{
	struct buf commands = { 0 };
	int rc = dev_netns_make(dir, "lan", st);

	if (rc < 0)
		return rc;
	buf_put_str(&commands, "link set lo up\nlink add br0 type bridge\nlink set br0 up\n");
	buf_put_str(&commands, "addr add " DEV_BRIDGE_IP "/24 dev br0\n");
	for (int i = 1; i <= masters; i++)
		buf_printf(&commands, "addr add 172.30.0.%d/24 dev br0\n", 10 + i);
	ip_batch(dir, "lan", &commands); /* Fails where something is there already. */
	buf_fini(&commands);
	return 0;
}

static int sit_in(void *ctx)
{
	const char *const *where = ctx;

	if (dev_netns_enter(where[0], where[1], NULL) < 0)
		return -1;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pause();
	return 0;
}

static void wait_for_netns_of(pid_t pid)
{
	autofree char *link = xasprintf("/proc/%d/ns/net", (int)pid);
	struct stat own, its;

	for (int i = 0; i < 1000; i++) {
		if (stat("/proc/self/ns/net", &own) < 0 || stat(link, &its) < 0 ||
		    own.st_ino != its.st_ino)
			return;
		usleep(1000);
	}
}

/* The other end of a veth is named by a process in its namespace: a child sits there meanwhile. */
static int veth_pair(const char *dir, const char *node)
{
	const char *where[] = { dir, "lan" };
	struct buf commands = { 0 };
	pid_t pid = fork();

	if (pid == 0)
		_exit(sit_in(where));
	if (pid < 0)
		return -errno;
	wait_for_netns_of(pid);
	buf_printf(&commands, "link add eth0 type veth peer name %s netns %d\n", node, (int)pid);
	int rc = ip_batch(dir, node, &commands);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	buf_fini(&commands);
	return rc;
}

int dev_node_set_up(const char *dir, int node, struct status *st)
{
	struct buf commands = { 0 };
	char name[DEV_NAME_MAX];

	snprintf(name, sizeof(name), "node-%d", node);
	autofree char *path = netns_path(dir, name);
	if (is_pinned(path))
		return 0;
	int rc = dev_netns_make(dir, name, st);
	if (rc < 0)
		return rc;
	if (veth_pair(dir, name) < 0)
		return status_set(st, -EIO, "%s: cannot make its link (is iproute2 installed?)", name);

	buf_printf(&commands, "link set %s master br0\nlink set %s up\n", name, name);
	rc = ip_batch(dir, "lan", &commands);
	buf_clear(&commands);
	buf_printf(&commands,
		   "link set lo up\nlink set eth0 up\naddr add 172.30.0.%d/24 dev eth0\n"
		   "route add default via " DEV_BRIDGE_IP "\n",
		   100 + node);
	if (rc == 0)
		rc = ip_batch(dir, name, &commands);
	buf_fini(&commands);
	return rc < 0 ? status_set(st, rc, "%s: cannot set up its network", name) : 0;
}

void dev_netns_remove_all(const char *dir)
{
	autofree char *folder = xasprintf("%s/netns", dir);
	DIR *d = opendir(folder);
	struct dirent *entry;

	while (d != NULL && (entry = readdir(d)) != NULL) {
		autofree char *path = netns_path(dir, entry->d_name);

		if (entry->d_name[0] == '.')
			continue;
		umount2(path, MNT_DETACH);
		unlink(path);
	}
	if (d != NULL)
		closedir(d);
	rmdir(folder);
}
