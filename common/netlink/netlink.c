#include "common/netlink/netlink.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/cleanup.h"

#define SEND_BUFFER_BYTES (64 << 20)
#define RECEIVE_BUFFER_BYTES (8 << 20)
#define REPLY_BYTES 65536

int netlink_open(struct netlink *n, int protocol)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK };
	int one = 1, out = SEND_BUFFER_BYTES, in = RECEIVE_BUFFER_BYTES;

	*n = (struct netlink){ .fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol) };
	if (n->fd < 0)
		return -errno;
	/* The request is not repeated in its acknowledgement. Absent on old kernels, and not
	 * needed. */
	setsockopt(n->fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one));
	if (setsockopt(n->fd, SOL_SOCKET, SO_SNDBUFFORCE, &out, sizeof(out)) < 0)
		setsockopt(n->fd, SOL_SOCKET, SO_SNDBUF, &out, sizeof(out));
	if (setsockopt(n->fd, SOL_SOCKET, SO_RCVBUFFORCE, &in, sizeof(in)) < 0)
		setsockopt(n->fd, SOL_SOCKET, SO_RCVBUF, &in, sizeof(in));
	if (bind(n->fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		int rc = -errno;

		netlink_close(n);
		return rc;
	}
	return 0;
}

void netlink_close(struct netlink *n)
{
	if (n->fd >= 0)
		close(n->fd);
	n->fd = -1;
	buf_fini(&n->out);
}

static struct nlmsghdr *current(struct netlink *n)
{
	return (struct nlmsghdr *)(void *)(n->out.data + n->message);
}

static void put_padded(struct netlink *n, const void *data, size_t bytes)
{
	static const uint8_t zeros[NLMSG_ALIGNTO];

	if (bytes > 0)
		buf_put(&n->out, data, bytes);
	buf_put(&n->out, zeros, NLMSG_ALIGN(bytes) - bytes);
	current(n)->nlmsg_len = (uint32_t)(n->out.len - n->message);
}

void netlink_begin(struct netlink *n, uint16_t type, uint16_t flags, const void *header,
		   size_t header_bytes)
{
	struct nlmsghdr h = {
		.nlmsg_type = type,
		.nlmsg_flags = flags | NLM_F_REQUEST,
		.nlmsg_seq = ++n->seq,
	};

	if (n->out.len == 0)
		n->first_seq = n->seq;
	n->message = n->out.len;
	n->n_acks += (flags & NLM_F_ACK) != 0;
	buf_put(&n->out, &h, sizeof(h));
	put_padded(n, header, header_bytes);
}

void netlink_put(struct netlink *n, uint16_t type, const void *data, size_t bytes)
{
	struct nlattr a = { .nla_len = (uint16_t)(NLA_HDRLEN + bytes), .nla_type = type };

	assert(bytes <= UINT16_MAX - NLA_HDRLEN);
	buf_put(&n->out, &a, sizeof(a));
	put_padded(n, data, bytes);
}

void netlink_put_u32(struct netlink *n, uint16_t type, uint32_t value)
{
	netlink_put(n, type, &value, sizeof(value));
}

void netlink_put_be32(struct netlink *n, uint16_t type, uint32_t value)
{
	netlink_put_u32(n, type, htonl(value));
}

void netlink_put_str(struct netlink *n, uint16_t type, const char *text)
{
	netlink_put(n, type, text, strlen(text) + 1);
}

void netlink_put_raw(struct netlink *n, const void *data, size_t bytes)
{
	put_padded(n, data, bytes);
}

size_t netlink_nest(struct netlink *n, uint16_t type)
{
	size_t nest = n->out.len;

	netlink_put(n, type | NLA_F_NESTED, NULL, 0);
	return nest;
}

void netlink_nest_end(struct netlink *n, size_t nest)
{
	struct nlattr *a = (struct nlattr *)(void *)(n->out.data + nest);

	assert(n->out.len - nest <= UINT16_MAX);
	a->nla_len = (uint16_t)(n->out.len - nest);
}

static int send_all(struct netlink *n)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	ssize_t sent;

	do {
		sent = sendto(n->fd, n->out.data, n->out.len, 0, (struct sockaddr *)&kernel,
			      sizeof(kernel));
	} while (sent < 0 && errno == EINTR);
	int rc = sent < 0 ? -errno : (size_t)sent == n->out.len ? 0 : -EMSGSIZE;

	buf_clear(&n->out);
	return rc;
}

static ssize_t receive(struct netlink *n, void *to, int flags)
{
	ssize_t got;

	do {
		got = recv(n->fd, to, REPLY_BYTES, flags);
	} while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

/* Answers that were not waited for: errors of a batch that the caller gave up on. */
static void drain(struct netlink *n, void *space)
{
	while (receive(n, space, MSG_DONTWAIT) > 0)
		;
}

static int error_of(const struct nlmsghdr *h)
{
	const struct nlmsgerr *e = NLMSG_DATA(h);

	return h->nlmsg_len >= NLMSG_LENGTH(sizeof(e->error)) ? e->error : -EBADMSG;
}

/* A whole batch can fail without an acknowledgement of each message (nftables), hence
 * the first error also ends the wait, once nothing more is there to read. */
int netlink_transact(struct netlink *n)
{
	autofree uint8_t *space = malloc(REPLY_BYTES);
	unsigned waiting = n->n_acks;
	int result = 0;

	if (space == NULL)
		abort();
	n->n_acks = 0;
	drain(n, space);
	int rc = send_all(n);

	if (rc < 0)
		return rc;
	while (waiting > 0) {
		ssize_t got = receive(n, space, result < 0 ? MSG_DONTWAIT : 0);

		if (got == -EAGAIN)
			break;
		if (got < 0)
			return (int)got;
		unsigned left = (unsigned)got;

		for (struct nlmsghdr *h = (struct nlmsghdr *)(void *)space; NLMSG_OK(h, left);
		     h = NLMSG_NEXT(h, left)) {
			if (h->nlmsg_type != NLMSG_ERROR ||
			    (int32_t)(h->nlmsg_seq - n->first_seq) < 0)
				continue;
			if (result == 0)
				result = error_of(h);
			waiting -= waiting > 0;
		}
	}
	return result;
}

/* 1: done. */
static int take_part(uint8_t *space, unsigned left, uint32_t seq, netlink_message_fn *fn, void *arg)
{
	for (struct nlmsghdr *h = (struct nlmsghdr *)(void *)space; NLMSG_OK(h, left);
	     h = NLMSG_NEXT(h, left)) {
		if (h->nlmsg_seq != seq)
			continue;
		if ((h->nlmsg_flags & NLM_F_DUMP_INTR) != 0)
			return -EINTR;
		if (h->nlmsg_type == NLMSG_DONE)
			return 1;
		if (h->nlmsg_type == NLMSG_ERROR) {
			int rc = error_of(h);

			return rc < 0 ? rc : 1;
		}
		int rc = fn(arg, h);

		if (rc < 0)
			return rc;
	}
	return 0;
}

int netlink_dump(struct netlink *n, netlink_message_fn *fn, void *arg)
{
	autofree uint8_t *space = malloc(REPLY_BYTES);
	int rc;

	if (space == NULL)
		abort();
	n->n_acks = 0;
	drain(n, space);
	rc = send_all(n);
	while (rc == 0) {
		ssize_t got = receive(n, space, 0);

		if (got < 0)
			return (int)got;
		rc = take_part(space, (unsigned)got, n->seq, fn, arg);
	}
	return rc < 0 ? rc : 0;
}

int netlink_parse(const void *data, size_t bytes, const struct nlattr **table, unsigned max)
{
	const uint8_t *at = data;

	memset(table, 0, sizeof(*table) * (max + 1));
	while (bytes >= NLA_HDRLEN) {
		const struct nlattr *a = (const struct nlattr *)(const void *)at;
		unsigned type = a->nla_type & NLA_TYPE_MASK;
		size_t step = NLA_ALIGN(a->nla_len);

		if (a->nla_len < NLA_HDRLEN || a->nla_len > bytes)
			return -EBADMSG;
		if (type <= max)
			table[type] = a;
		if (step >= bytes)
			return 0;
		at += step;
		bytes -= step;
	}
	return bytes == 0 ? 0 : -EBADMSG;
}

int netlink_parse_message(const struct nlmsghdr *message, size_t header_bytes,
			  const struct nlattr **table, unsigned max)
{
	size_t skip = NLMSG_HDRLEN + NLMSG_ALIGN(header_bytes);

	memset(table, 0, sizeof(*table) * (max + 1));
	if (message->nlmsg_len < skip)
		return -EBADMSG;
	return netlink_parse((const uint8_t *)message + skip, message->nlmsg_len - skip, table,
			     max);
}

uint32_t netlink_u32(const struct nlattr *a)
{
	uint32_t value;

	if (a == NULL || netlink_bytes(a) != sizeof(value))
		return 0;
	memcpy(&value, netlink_data(a), sizeof(value));
	return value;
}
