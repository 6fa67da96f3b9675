/* Netlink: building batches of messages, sending them, reading what comes back.
 *
 * Messages are appended to one buffer and sent by netlink_transact(), which waits for the
 * acknowledgement of each; the kernel applies them in order. What a dump returns
 * is handed to a callback. Parsing checks every length. Blocking; a struct netlink belongs to
 * one thread at a time, and its socket to the network namespace in which it was opened. */
#pragma once

#include <linux/netlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"

/* Who made a route, in rtm_protocol: an agent for a pod, a proxy for another node. */
enum { ROUTE_PROTOCOL_POD = 83, ROUTE_PROTOCOL_NODE = 84 };

struct netlink {
	int fd;
	uint32_t seq, first_seq; /* Of the last and the first message in out. */
	struct buf out;
	size_t message; /* Where the current message begins in out. */
	unsigned n_acks;
};

/* protocol: NETLINK_ROUTE, NETLINK_NETFILTER. */
int netlink_open(struct netlink *n, int protocol);
void netlink_close(struct netlink *n);

/* Begin a message; NLM_F_REQUEST is added. With NLM_F_ACK it is waited for. */
void netlink_begin(struct netlink *n, uint16_t type, uint16_t flags, const void *header,
		   size_t header_bytes);
void netlink_put(struct netlink *n, uint16_t type, const void *data, size_t bytes);
void netlink_put_u32(struct netlink *n, uint16_t type, uint32_t value);
void netlink_put_be32(struct netlink *n, uint16_t type, uint32_t value);
void netlink_put_str(struct netlink *n, uint16_t type, const char *text);
/* Bytes that belong to no attribute, inside a nest (the header of a veth's peer). */
void netlink_put_raw(struct netlink *n, const void *data, size_t bytes);
size_t netlink_nest(struct netlink *n, uint16_t type);
void netlink_nest_end(struct netlink *n, size_t nest);
/* Bytes of the nest so far: an attribute ends at 65,535. */
static inline size_t netlink_nest_bytes(const struct netlink *n, size_t nest)
{
	return n->out.len - nest;
}

/* Send everything and wait for the acknowledgements. The first error, a negative errno. The
 * buffer is empty afterwards. */
int netlink_transact(struct netlink *n);

typedef int netlink_message_fn(void *arg, const struct nlmsghdr *message);
/* Send one request with NLM_F_DUMP and hand out the answers. A negative return ends it. EINTR: the
 * tables changed meanwhile, ask again. */
int netlink_dump(struct netlink *n, netlink_message_fn *fn, void *arg);

/* Index the attributes in data by type; types above max are passed over, absent ones are NULL.
 * EBADMSG: lengths do not fit. table has max + 1 entries. */
int netlink_parse(const void *data, size_t bytes, const struct nlattr **table, unsigned max);
/* The attributes behind the family's header of a message. */
int netlink_parse_message(const struct nlmsghdr *message, size_t header_bytes,
			  const struct nlattr **table, unsigned max);
static inline const void *netlink_data(const struct nlattr *a)
{
	return (const char *)a + NLA_HDRLEN;
}
static inline size_t netlink_bytes(const struct nlattr *a)
{
	return (size_t)a->nla_len - NLA_HDRLEN;
}
/* 0 where the attribute is absent or of another size. */
uint32_t netlink_u32(const struct nlattr *a);
