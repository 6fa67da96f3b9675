#include "proxy/routes/routes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/netlink/netlink.h"

struct routes {
	struct route *items;
	size_t n, cap;
};

static void routes_fini(struct routes *r)
{
	free(r->items);
}

int route_compare(const struct route *a, const struct route *b)
{
	if (a->base_be != b->base_be)
		return ntohl(a->base_be) < ntohl(b->base_be) ? -1 : 1;
	if (a->bits != b->bits)
		return a->bits < b->bits ? -1 : 1;
	if (a->gateway_be != b->gateway_be)
		return ntohl(a->gateway_be) < ntohl(b->gateway_be) ? -1 : 1;
	return 0;
}

static int compare_items(const void *a, const void *b)
{
	return route_compare(a, b);
}

static bool parse_range(const char *cidr, uint32_t *ret_base_be, uint8_t *ret_bits)
{
	char address[INET_ADDRSTRLEN];
	struct in_addr in;
	unsigned bits;
	int end = 0;

	if (cidr == NULL || sscanf(cidr, "%15[0-9.]/%2u%n", address, &bits, &end) != 2 ||
	    cidr[end] != '\0' || bits < 8 || bits > 32 || inet_pton(AF_INET, address, &in) != 1)
		return false;
	*ret_base_be = in.s_addr & htonl(UINT32_MAX << (32 - bits));
	*ret_bits = (uint8_t)bits;
	return true;
}

size_t routes_wanted(const struct world *w, const char *node, struct route **ret)
{
	struct route *routes = xcalloc(w->nodes.count + 1, sizeof(*routes));
	size_t n = 0;

	tree_for_each (it, &w->nodes, struct node, node) {
		struct route *r = &routes[n];

		if (strcmp(it->name, node) == 0 || it->address.len != 4 ||
		    !parse_range(it->pod_cidr, &r->base_be, &r->bits))
			continue;
		memcpy(&r->gateway_be, it->address.bytes, 4);
		n++;
	}
	qsort(routes, n, sizeof(*routes), compare_items);
	*ret = routes;
	return n;
}

/* --- The kernel ------------------------------------------------------------- */

static int on_route(void *arg, const struct nlmsghdr *message)
{
	const struct nlattr *attrs[RTA_GATEWAY + 1];
	const struct rtmsg *m = NLMSG_DATA(message);
	struct routes *found = arg;

	if (message->nlmsg_type != RTM_NEWROUTE ||
	    netlink_parse_message(message, sizeof(*m), attrs, RTA_GATEWAY) < 0 ||
	    m->rtm_protocol != ROUTE_PROTOCOL_NODE || m->rtm_family != AF_INET ||
	    m->rtm_table != RT_TABLE_MAIN || attrs[RTA_GATEWAY] == NULL)
		return 0;
	array_grow(found->items, found->n, found->cap);
	found->items[found->n++] = (struct route){
		.base_be = netlink_u32(attrs[RTA_DST]),
		.gateway_be = netlink_u32(attrs[RTA_GATEWAY]),
		.bits = m->rtm_dst_len,
	};
	return 0;
}

static int read_routes(struct netlink *n, struct routes *found)
{
	struct rtmsg want = { .rtm_family = AF_INET };
	int rc = -EINTR;

	for (int i = 0; i < 5 && rc == -EINTR; i++) {
		found->n = 0;
		netlink_begin(n, RTM_GETROUTE, NLM_F_DUMP, &want, sizeof(want));
		rc = netlink_dump(n, on_route, found);
	}
	if (found->n > 0)
		qsort(found->items, found->n, sizeof(*found->items), compare_items);
	return rc;
}

static int change_route(struct netlink *n, const struct route *r, bool add)
{
	struct rtmsg m = {
		.rtm_family = AF_INET,
		.rtm_dst_len = r->bits,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = ROUTE_PROTOCOL_NODE,
		.rtm_scope = RT_SCOPE_UNIVERSE,
		.rtm_type = RTN_UNICAST,
	};

	netlink_begin(n, add ? RTM_NEWROUTE : RTM_DELROUTE,
		      NLM_F_ACK | (add ? NLM_F_CREATE | NLM_F_REPLACE : 0), &m, sizeof(m));
	netlink_put_u32(n, RTA_DST, r->base_be);
	netlink_put_u32(n, RTA_GATEWAY, r->gateway_be);
	int rc = netlink_transact(n);

	if (!add && rc == -ESRCH)
		return 0;
	if (rc < 0) {
		char range[INET_ADDRSTRLEN], gateway[INET_ADDRSTRLEN];

		inet_ntop(AF_INET, &r->base_be, range, sizeof(range));
		inet_ntop(AF_INET, &r->gateway_be, gateway, sizeof(gateway));
		log_warn(add ? "cannot add a route to a node's pods" : "cannot remove a route",
			 "range=%s/%u node=%s error=%s", range, r->bits, gateway,
			 log_quote(strerror(-rc)));
	}
	return rc;
}

static bool in_list(const struct route *r, const struct route *list, size_t n)
{
	return n > 0 && bsearch(r, list, n, sizeof(*list), compare_items) != NULL;
}

/* Old ones go first: a range that moved to another node has the same destination. */
int routes_sync(const struct world *w, const char *node)
{
	auto_with(netlink_close) struct netlink n = { .fd = -1 };
	auto_with(routes_fini) struct routes found = { 0 };
	autofree struct route *wanted = NULL;
	size_t n_wanted = routes_wanted(w, node, &wanted);
	bool failed = false;
	int rc = netlink_open(&n, NETLINK_ROUTE);

	if (rc == 0)
		rc = read_routes(&n, &found);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < found.n; i++) {
		if (!in_list(&found.items[i], wanted, n_wanted))
			failed |= change_route(&n, &found.items[i], false) < 0;
	}
	for (size_t i = 0; i < n_wanted; i++) {
		if (!in_list(&wanted[i], found.items, found.n))
			failed |= change_route(&n, &wanted[i], true) < 0;
	}
	return failed ? -EIO : 0;
}

int routes_set_service_range(const char *cidr, const char *node_address, struct status *st)
{
	auto_with(netlink_close) struct netlink n = { .fd = -1 };
	struct rtmsg m = {
		.rtm_family = AF_INET,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = ROUTE_PROTOCOL_NODE,
		.rtm_scope = RT_SCOPE_LINK,
		.rtm_type = RTN_UNICAST,
	};
	struct in_addr source;
	uint32_t base_be;
	int rc;

	if (!parse_range(cidr, &base_be, &m.rtm_dst_len) ||
	    inet_pton(AF_INET, node_address, &source) != 1)
		return status_set(st, -EINVAL, "\"%s\" and \"%s\" are not a range and an address",
				  cidr, node_address);
	rc = netlink_open(&n, NETLINK_ROUTE);
	if (rc == 0) {
		netlink_begin(&n, RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, &m,
			      sizeof(m));
		netlink_put_u32(&n, RTA_DST, base_be);
		netlink_put_u32(&n, RTA_OIF, if_nametoindex("lo"));
		netlink_put_u32(&n, RTA_PREFSRC, source.s_addr);
		rc = netlink_transact(&n);
	}
	if (rc < 0)
		return status_set(st, rc, "cannot add a route for the service range %s from %s: %s",
				  cidr, node_address, strerror(-rc));
	return 0;
}

int routes_add_loopback_address(const char *address, struct status *st)
{
	auto_with(netlink_close) struct netlink n = { .fd = -1 };
	struct ifaddrmsg a = {
		.ifa_family = AF_INET,
		.ifa_prefixlen = 32,
		.ifa_scope = RT_SCOPE_LINK,
		.ifa_index = if_nametoindex("lo"),
	};
	struct in_addr in;
	int rc;

	if (inet_pton(AF_INET, address, &in) != 1)
		return status_set(st, -EINVAL, "\"%s\" is not an IPv4 address", address);
	rc = netlink_open(&n, NETLINK_ROUTE);
	if (rc == 0) {
		netlink_begin(&n, RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, &a,
			      sizeof(a));
		netlink_put_u32(&n, IFA_LOCAL, in.s_addr);
		netlink_put_u32(&n, IFA_ADDRESS, in.s_addr);
		rc = netlink_transact(&n);
	}
	if (rc < 0)
		return status_set(st, rc, "cannot give lo the address %s: %s", address,
				  strerror(-rc));
	return 0;
}
