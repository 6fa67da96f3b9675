#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "agent/network/internal.h"
#include "agent/network/network.h"
#include "common/base/cleanup.h"
#include "common/netlink/netlink.h"

#define NETNS_SELF "/proc/thread-self/ns/net"

int netns_run(int netns_fd, int (*fn)(void *arg), void *arg)
{
	autoclose int home = open(NETNS_SELF, O_RDONLY | O_CLOEXEC);

	if (home < 0 || setns(netns_fd, CLONE_NEWNET) < 0)
		return -errno;
	int rc = fn(arg);

	if (setns(home, CLONE_NEWNET) < 0)
		abort();
	return rc;
}

static int raise_loopback(void)
{
	auto_with(netlink_close) struct netlink n = { .fd = -1 };
	struct ifinfomsg up = { .ifi_index = 1, .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
	int rc = netlink_open(&n, NETLINK_ROUTE);

	if (rc < 0)
		return rc;
	netlink_begin(&n, RTM_NEWLINK, NLM_F_ACK, &up, sizeof(up));
	return netlink_transact(&n);
}

/* In the new namespace. */
static int pin(const char *path)
{
	if (mount(NETNS_SELF, path, NULL, MS_BIND, NULL) < 0)
		return -errno;
	int rc = raise_loopback();

	if (rc < 0)
		umount2(path, MNT_DETACH);
	return rc;
}

int netns_create(const char *path, struct status *st)
{
	autoclose int home = open(NETNS_SELF, O_RDONLY | O_CLOEXEC);
	autoclose int file = -1;

	if (home < 0)
		return status_set(st, -errno, "no handle on our own network: %s", strerror(errno));
	if (netns_exists(path))
		return status_set(st, -EEXIST, "%s: a network namespace is pinned there already",
				  path);
	file = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
	if (file < 0)
		return status_set(st, -errno, "cannot make %s: %s", path, strerror(errno));
	int rc = unshare(CLONE_NEWNET) < 0 ? -errno : 0;

	if (rc == 0) {
		rc = pin(path);
		if (setns(home, CLONE_NEWNET) < 0)
			abort();
	}
	if (rc == 0)
		return 0;
	unlink(path);
	return status_set(st, rc, "cannot make a network namespace at %s: %s", path, strerror(-rc));
}

int netns_destroy(const char *path)
{
	if (umount2(path, MNT_DETACH) < 0 && errno != EINVAL && errno != ENOENT)
		return -errno;
	return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

bool netns_exists(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && fs.f_type == NSFS_MAGIC;
}
