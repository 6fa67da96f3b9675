#include "agent/runtime/packet.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void put_bytes(struct packet *p, const char *data, size_t n)
{
	if (p->overflow || n > PACKET_MAX - p->len) {
		p->overflow = true;
		return;
	}
	memcpy(p->data + p->len, data, n);
	p->len += n;
}

void packet_begin(struct packet *p, const char *verb)
{
	p->len = 0;
	p->overflow = false;
	p->n_fds = 0;
	put_bytes(p, verb, strlen(verb) + 1);
}

void packet_put(struct packet *p, const char *key, const char *value)
{
	put_bytes(p, key, strlen(key));
	put_bytes(p, "=", 1);
	put_bytes(p, value, strlen(value) + 1);
}

void packet_putf(struct packet *p, const char *key, const char *fmt, ...)
{
	char value[1024];
	va_list args;

	va_start(args, fmt);
	int n = vsnprintf(value, sizeof(value), fmt, args);
	va_end(args);
	if (n < 0 || (size_t)n >= sizeof(value))
		p->overflow = true;
	else
		packet_put(p, key, value);
}

bool packet_check(const struct packet *p)
{
	if (p->len < 2 || p->len > PACKET_MAX || p->data[0] == '\0' || p->data[p->len - 1] != '\0')
		return false;

	for (const char *f = packet_next(p, NULL); f != NULL; f = packet_next(p, f)) {
		const char *equals = strchr(f, '=');

		if (equals == NULL || equals == f)
			return false;
	}
	return true;
}

const char *packet_verb(const struct packet *p)
{
	return p->data;
}

const char *packet_next(const struct packet *p, const char *field)
{
	const char *next = field ? field : p->data;

	next += strlen(next) + 1;
	return next < p->data + p->len ? next : NULL;
}

const char *packet_get(const struct packet *p, const char *key)
{
	size_t n = strlen(key);

	for (const char *f = packet_next(p, NULL); f != NULL; f = packet_next(p, f)) {
		if (strncmp(f, key, n) == 0 && f[n] == '=')
			return f + n + 1;
	}
	return NULL;
}

long long packet_get_number(const struct packet *p, const char *key, long long fallback)
{
	const char *value = packet_get(p, key);
	char *end;

	if (value == NULL || *value == '\0')
		return fallback;
	errno = 0;
	long long n = strtoll(value, &end, 10);

	return errno != 0 || *end != '\0' ? fallback : n;
}

int packet_send(int fd, const struct packet *p, const int *fds, size_t n_fds)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int) * PACKET_FDS_MAX)];
	} control = { 0 };
	struct iovec iov = { (void *)p->data, p->len };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (p->overflow || n_fds > PACKET_FDS_MAX)
		return -EMSGSIZE;
	if (n_fds > 0) {
		message.msg_control = control.space;
		message.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		struct cmsghdr *c = CMSG_FIRSTHDR(&message);

		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * n_fds);
	}
	for (;;) {
		if (sendmsg(fd, &message, MSG_NOSIGNAL) >= 0)
			return 0;
		if (errno != EINTR)
			return -errno;
	}
}

static void take_descriptors(struct packet *p, struct msghdr *message)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		for (size_t i = 0; i < n; i++) {
			int got;

			memcpy(&got, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (p->n_fds < PACKET_FDS_MAX)
				p->fds[p->n_fds++] = got;
			else
				close(got);
		}
	}
}

int packet_receive(int fd, struct packet *p)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int) * PACKET_FDS_MAX)];
	} control;
	struct iovec iov = { p->data, PACKET_MAX };
	struct msghdr message = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof(control.space) };
	ssize_t n;

	p->n_fds = 0;
	p->overflow = false;
	do
		n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (n == 0)
		return -ECONNRESET;
	take_descriptors(p, &message);
	p->len = (size_t)n;
	if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0 && packet_check(p))
		return 0;
	for (size_t i = 0; i < p->n_fds; i++)
		close(p->fds[i]);
	p->n_fds = 0;
	return -EPROTO;
}
