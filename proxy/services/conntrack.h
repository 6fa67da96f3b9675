/* Connection tracking remembers where a UDP flow went for as long as the client goes on
 * sending, so a flow to an endpoint that is gone would never find a new one. TCP needs
 * nothing: such a connection is broken anyway. Blocking; one thread. */
#pragma once

#include "common/netlink/netlink.h"
#include "proxy/services/rules.h"

/* Forget the UDP flows through the changed frontends that lead to no present endpoint of theirs.
 * Best effort: a flow that is missed ends by its timeout. n: NETLINK_NETFILTER. */
void conntrack_forget_stale(struct netlink *n, const struct rules *rules,
			    const struct rules_change *changes, size_t n_changes);

struct conntrack_flow {
	uint8_t protocol;
	uint8_t to[4];   /* As the client sent it. */
	uint8_t from[4]; /* Who answers. */
	uint16_t to_port_be, from_port_be;
	const struct nlattr *original; /* The tuple, for deleting. */
};

/* EBADMSG: not an IPv4 flow with ports. Exported for fuzzing. */
int conntrack_parse(const struct nlmsghdr *message, struct conntrack_flow *ret);
