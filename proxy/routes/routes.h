/* Routes to the pods of the other nodes, over the nodes' own addresses (host-gw).
 *
 * Only routes that carry our protocol number are ever touched, so an administrator's
 * stay. Routes stay when the proxy ends. They need all nodes on one link; docs/pod-network.md.
 * Blocking; one thread. */
#pragma once

#include "common/base/status.h"
#include "proxy/world/world.h"

struct route {
	uint32_t base_be, gateway_be; /* Network order. */
	uint8_t bits;
};

/* The routes the world asks for, sorted; node is our own name, which gets none. Pure. free() *ret.
 */
size_t routes_wanted(const struct world *w, const char *node, struct route **ret);
int route_compare(const struct route *a, const struct route *b);

/* Make the kernel's routes of ours equal to what is wanted. A route that the kernel refuses is
 * logged and does not keep the others back; then -EIO, and the call is to be repeated later. */
int routes_sync(const struct world *w, const char *node);
/* Unknown addresses of the service range must find some route, or a node without a default route
 * cannot even try to connect to a Service: a route over lo with the node's address as source. */
int routes_set_service_range(const char *cidr, const char *node_address, struct status *st);
/* The address that DNS listens on, on lo; fine if it is there. */
int routes_add_loopback_address(const char *address, struct status *st);
