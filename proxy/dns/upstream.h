/* The servers that know every other name: those of the node's resolv.conf, or given ones. */
#pragma once

#include <netinet/in.h>
#include <stdint.h>

#include "proxy/world/world.h"

#define UPSTREAMS_MAX 4

struct upstreams {
	struct sockaddr_storage items[UPSTREAMS_MAX];
	size_t n;
	struct ip own[2]; /* Never asked, whatever the file says: that would be a loop. */
};

/* "1.2.3.4", "1.2.3.4:5353", "fd00::1", "[fd00::1]:53". False: not an address, one of ours, or
 * enough already. */
bool upstreams_add(struct upstreams *u, const char *address);
/* The nameserver lines of a resolv.conf replace what is there. A file that cannot be read changes
 * nothing. */
void upstreams_read(struct upstreams *u, const char *path);
