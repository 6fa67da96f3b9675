/* The pod network of one node: routed point-to-point veth pairs.
 *
 * A pod has eth0 with one /32 address of the node's podCIDR and its default
 * route over 169.254.1.1, which is a permanent neighbour with the MAC address
 * that the host end of every pair has. The host has a route to each address over
 * its pair. No bridge, no ARP, no CNI plugin. docs/pod-network.md.
 *
 * A namespace is made and pinned under a path; unpinning it is all that is needed to
 * take the pair and its routes away (the kernel does it in the background).
 * Calls take under a millisecond or two and block; they may run on any
 * thread, but an allocator belongs to one. A call that fails leaves nothing behind.
 * The thread's own network namespace is left only inside a call; if it cannot be entered again, the
 * process aborts. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/status.h"

/* Make a network namespace with lo up and pin it by a bind mount at path (made, must not be in
 * use). */
int netns_create(const char *path, struct status *st);
/* Unpin; it goes when the last process in it ends. 0 also when nothing is there. */
int netns_destroy(const char *path);
/* True if a namespace is pinned at path. */
bool netns_exists(const char *path);

struct pod_network {
	const char *uid;        /* Of the pod; names the host end. */
	const char *netns_path; /* Pinned already. */
	struct in_addr address;
	unsigned mtu; /* 0: the kernel's default, 1500. */
	/* name=value with dots, e.g. "net.core.somaxconn=1024"; set inside. */
	const char *const *sysctls;
	size_t n_sysctls;
};

/* Give the namespace its eth0 and the host its route. The node's forwarding must be on. A
 * pair left over from an earlier attempt for this uid is replaced. */
int network_setup_pod(const struct pod_network *pod, struct status *st);
/* Take the host end away now instead of when the namespace goes (slower, 20 ms). 0 also when there
 * is none. */
int network_remove_pod(const char *uid);
/* The name of the host end: "sp" and 12 characters made of uid. */
void network_host_interface(const char *uid, char ret_name[16]);
/* The IPv4 address that eth0 has in the namespace, e.g. after a restart. ENOENT: none. */
int network_pod_address(const char *netns_path, struct in_addr *ret);

/* Once at start: forwarding on, the link-local service address for DNS is left to the proxy. */
int network_setup_node(struct status *st);

/* Addresses of a podCIDR, walked in order so that one is not used again soon.
 *
 * The first two (network, gateway) and the last (broadcast) are never handed out. It keeps
 * nothing on disk itself except the place of the walk: mark what the pods found at start hold, then
 * allocate. */
struct address_pool;

/* cursor_path: a file that remembers the place across restarts; NULL: none. EINVAL: not an IPv4
 * CIDR with 4 addresses at least. */
int address_pool_create(const char *cidr, const char *cursor_path, struct address_pool **ret,
			struct status *st);
void address_pool_destroy(struct address_pool *pool);
/* The address is in use already (adopted pods). EEXIST: it was. ERANGE: not of this range. */
int address_pool_mark(struct address_pool *pool, struct in_addr address);
/* ENOSPC: all are in use. */
int address_pool_take(struct address_pool *pool, struct in_addr *ret);
void address_pool_give_back(struct address_pool *pool, struct in_addr address);
