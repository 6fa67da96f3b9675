/* Three batches per pod: the pair, then the host's route in the node's namespace, then
 * address, neighbour and routes in the pod's. Interface numbers are looked up by name:
 * the kernel honours a wish for the far end's number only together with one for the near end's. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/network/internal.h"
#include "agent/network/network.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/map.h"
#include "common/netlink/netlink.h"

#define POD_INTERFACE "eth0"
#define GATEWAY 0xa9fe0101u /* 169.254.1.1 */

static const uint8_t host_mac[6] = { 0xee, 0xee, 0xee, 0xee, 0xee, 0xee };

void network_host_interface(const char *uid, char ret_name[16])
{
	static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
	uint64_t hash = hash_bytes(uid, strlen(uid));

	/* 36^12 is a little less than 2^63: two pods of a node do not meet. */
	memcpy(ret_name, "sp", 2);
	for (int i = 0; i < 12; i++) {
		ret_name[2 + i] = digits[hash % 36];
		hash /= 36;
	}
	ret_name[14] = '\0';
}

static void put_pair(struct netlink *n, const char *name, int netns_fd, unsigned mtu)
{
	struct ifinfomsg near = { .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
	struct ifinfomsg far = { 0 };

	netlink_begin(n, RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &near, sizeof(near));
	netlink_put_str(n, IFLA_IFNAME, name);
	netlink_put(n, IFLA_ADDRESS, host_mac, sizeof(host_mac));
	if (mtu != 0)
		netlink_put_u32(n, IFLA_MTU, mtu);
	size_t info = netlink_nest(n, IFLA_LINKINFO);

	netlink_put_str(n, IFLA_INFO_KIND, "veth");
	size_t data = netlink_nest(n, IFLA_INFO_DATA);
	size_t peer = netlink_nest(n, VETH_INFO_PEER);

	netlink_put_raw(n, &far, sizeof(far));
	netlink_put_str(n, IFLA_IFNAME, POD_INTERFACE);
	netlink_put_u32(n, IFLA_NET_NS_FD, (uint32_t)netns_fd);
	if (mtu != 0)
		netlink_put_u32(n, IFLA_MTU, mtu);
	netlink_nest_end(n, peer);
	netlink_nest_end(n, data);
	netlink_nest_end(n, info);
}

static void begin_route(struct netlink *n, uint8_t bits, uint8_t scope)
{
	struct rtmsg route = {
		.rtm_family = AF_INET,
		.rtm_dst_len = bits,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = ROUTE_PROTOCOL_POD,
		.rtm_scope = scope,
		.rtm_type = RTN_UNICAST,
	};

	netlink_begin(n, RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, &route,
		      sizeof(route));
}

static int setup_host(const struct pod_network *pod, const char *name, int netns_fd)
{
	auto_with(netlink_close) struct netlink n = { .fd = -1 };
	int rc = netlink_open(&n, NETLINK_ROUTE);

	if (rc < 0)
		return rc;
	put_pair(&n, name, netns_fd, pod->mtu);
	rc = netlink_transact(&n);
	if (rc < 0)
		return rc;
	begin_route(&n, 32, RT_SCOPE_LINK);
	netlink_put(&n, RTA_DST, &pod->address, sizeof(pod->address));
	netlink_put_u32(&n, RTA_OIF, if_nametoindex(name));
	return netlink_transact(&n);
}

static void put_address(struct netlink *n, int index, struct in_addr address)
{
	struct ifaddrmsg a = { .ifa_family = AF_INET, .ifa_prefixlen = 32 };
	struct ifinfomsg up = { .ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP };

	a.ifa_index = (unsigned)index;
	netlink_begin(n, RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, &a, sizeof(a));
	netlink_put(n, IFA_LOCAL, &address, sizeof(address));
	netlink_put(n, IFA_ADDRESS, &address, sizeof(address));
	netlink_begin(n, RTM_NEWLINK, NLM_F_ACK, &up, sizeof(up));
}

static void put_gateway(struct netlink *n, int index)
{
	struct ndmsg neighbour = {
		.ndm_family = AF_INET,
		.ndm_ifindex = index,
		.ndm_state = NUD_PERMANENT,
	};

	begin_route(n, 32, RT_SCOPE_LINK);
	netlink_put_be32(n, RTA_DST, GATEWAY);
	netlink_put_u32(n, RTA_OIF, (uint32_t)index);
	netlink_begin(n, RTM_NEWNEIGH, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, &neighbour,
		      sizeof(neighbour));
	netlink_put_be32(n, NDA_DST, GATEWAY);
	netlink_put(n, NDA_LLADDR, host_mac, sizeof(host_mac));
	begin_route(n, 0, RT_SCOPE_UNIVERSE);
	netlink_put_be32(n, RTA_GATEWAY, GATEWAY);
	netlink_put_u32(n, RTA_OIF, (uint32_t)index);
}

struct inside {
	const struct pod_network *pod;
	struct status *st;
};

/* In the pod's namespace. */
static int setup_inside(void *arg)
{
	const struct inside *in = arg;
	auto_with(netlink_close) struct netlink n = { .fd = -1 };
	int index = (int)if_nametoindex(POD_INTERFACE);
	int rc = index == 0 ? -errno : netlink_open(&n, NETLINK_ROUTE);

	if (rc < 0)
		return rc;
	put_address(&n, index, in->pod->address);
	put_gateway(&n, index);
	return netlink_transact(&n);
}

/* --- sysctls ---------------------------------------------------------------- */

/* "net.ipv4.x=1" becomes the file below /proc/sys; only what belongs to the namespace may be set.
 */
static int write_sysctl(const char *assignment)
{
	autofree char *path = xasprintf("/proc/sys/%s", assignment);
	char *value = strchr(path, '=');

	if (value == NULL || strncmp(assignment, "net.", 4) != 0)
		return -EINVAL;
	*value++ = '\0';
	for (char *c = path + strlen("/proc/sys/"); *c != '\0'; c++) {
		if (*c == '/')
			return -EINVAL;
		if (*c == '.')
			*c = '/';
	}
	/* Empty components were dots in a row. */
	if (strstr(path, "//") != NULL)
		return -EINVAL;
	autoclose int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return write(fd, value, strlen(value)) < 0 ? -errno : 0;
}

static int write_sysctls(void *arg)
{
	struct inside *s = arg;

	for (size_t i = 0; i < s->pod->n_sysctls; i++) {
		int rc = write_sysctl(s->pod->sysctls[i]);

		if (rc < 0)
			return status_set(s->st, rc, "cannot set the sysctl %s: %s",
					  s->pod->sysctls[i], strerror(-rc));
	}
	return 0;
}

/* --- The pod as a whole ----------------------------------------------------- */

int network_remove_pod(const char *uid)
{
	auto_with(netlink_close) struct netlink n = { .fd = -1 };
	struct ifinfomsg link = { 0 };
	char name[16];

	network_host_interface(uid, name);
	link.ifi_index = (int)if_nametoindex(name);
	if (link.ifi_index == 0)
		return 0;
	int rc = netlink_open(&n, NETLINK_ROUTE);

	if (rc < 0)
		return rc;
	netlink_begin(&n, RTM_DELLINK, NLM_F_ACK, &link, sizeof(link));
	rc = netlink_transact(&n);
	return rc == -ENODEV ? 0 : rc;
}

int network_setup_pod(const struct pod_network *pod, struct status *st)
{
	autoclose int netns = open(pod->netns_path, O_RDONLY | O_CLOEXEC);
	struct inside in = { pod, st };
	char name[16];
	int rc;

	if (netns < 0)
		return status_set(st, -errno, "cannot open the network namespace %s: %s",
				  pod->netns_path, strerror(errno));
	network_host_interface(pod->uid, name);
	rc = network_remove_pod(pod->uid);
	if (rc == 0)
		rc = setup_host(pod, name, netns);
	if (rc == 0)
		rc = netns_run(netns, setup_inside, &in);
	if (rc < 0)
		status_set(st, rc, "cannot set up %s for the address %s: %s", name,
			   inet_ntoa(pod->address), strerror(-rc));
	if (rc == 0 && pod->n_sysctls > 0)
		rc = netns_run(netns, write_sysctls, &in);
	if (rc < 0)
		network_remove_pod(pod->uid);
	return rc;
}

struct address_search {
	unsigned index;
	struct in_addr found;
};

static int on_address(void *arg, const struct nlmsghdr *message)
{
	const struct nlattr *attrs[IFA_LOCAL + 1];
	const struct ifaddrmsg *a = NLMSG_DATA(message);
	struct address_search *search = arg;

	if (message->nlmsg_type != RTM_NEWADDR ||
	    netlink_parse_message(message, sizeof(*a), attrs, IFA_LOCAL) < 0)
		return 0;
	if (a->ifa_index == search->index && a->ifa_family == AF_INET)
		search->found.s_addr = netlink_u32(attrs[IFA_LOCAL]);
	return 0;
}

/* In the pod's namespace. */
static int search_address(void *arg)
{
	struct address_search *search = arg;
	auto_with(netlink_close) struct netlink n = { .fd = -1 };
	struct ifaddrmsg want = { .ifa_family = AF_INET };
	int rc = netlink_open(&n, NETLINK_ROUTE);

	if (rc < 0)
		return rc;
	search->index = if_nametoindex(POD_INTERFACE);
	netlink_begin(&n, RTM_GETADDR, NLM_F_DUMP, &want, sizeof(want));
	return netlink_dump(&n, on_address, search);
}

int network_pod_address(const char *netns_path, struct in_addr *ret)
{
	autoclose int netns = open(netns_path, O_RDONLY | O_CLOEXEC);
	struct address_search search = { 0 };
	int rc = netns < 0 ? -errno : netns_run(netns, search_address, &search);

	if (rc < 0)
		return rc;
	if (search.found.s_addr == 0)
		return -ENOENT;
	*ret = search.found;
	return 0;
}
