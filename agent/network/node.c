#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "agent/network/network.h"
#include "common/base/cleanup.h"

static int write_proc(const char *path, const char *value)
{
	autoclose int fd = open(path, O_RDWR | O_CLOEXEC);
	char now[16];

	if (fd < 0)
		return -errno;
	/* The switch of forwarding resets other settings each time it is written. */
	ssize_t n = read(fd, now, sizeof(now));

	if (n > 0 && (size_t)n == strlen(value) + 1 && memcmp(now, value, strlen(value)) == 0)
		return 0;
	return pwrite(fd, value, strlen(value), 0) < 0 ? -errno : 0;
}

int network_setup_node(struct status *st)
{
	int rc = write_proc("/proc/sys/net/ipv4/ip_forward", "1");

	if (rc < 0)
		return status_set(st, rc, "cannot switch IPv4 forwarding on: %s", strerror(-rc));
	return 0;
}
