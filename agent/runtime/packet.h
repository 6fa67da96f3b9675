/* Packets between the agent and a pod's shim, over a SOCK_SEQPACKET unix socket.
 *
 * A packet is a verb and fields "key=value", each ended by a NUL byte; a key may
 * come several times. At most PACKET_MAX bytes and PACKET_FDS_MAX descriptors.
 * docs/shim-protocol.md lists the verbs. libc only: the shim links nothing else.
 * Any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum { PACKET_MAX = 16384, PACKET_FDS_MAX = 3 };

struct packet {
	size_t len;
	bool overflow; /* Something did not fit; sending fails with EMSGSIZE. */
	int fds[PACKET_FDS_MAX];
	size_t n_fds;
	char data[PACKET_MAX];
};

void packet_begin(struct packet *p, const char *verb);
void packet_put(struct packet *p, const char *key, const char *value);
void packet_putf(struct packet *p, const char *key, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* True if the bytes are a packet: a verb, then fields with a key each. Everything else here
 * relies on it; packet_receive() has checked it. */
bool packet_check(const struct packet *p);
const char *packet_verb(const struct packet *p);
/* The first value of key, or NULL. */
const char *packet_get(const struct packet *p, const char *key);
/* A decimal number; fallback when the field is absent or no number. */
long long packet_get_number(const struct packet *p, const char *key, long long fallback);
/* Fields in order: start with NULL; returns "key=value", or NULL at the end. */
const char *packet_next(const struct packet *p, const char *field);

/* Descriptors are sent as they are and stay open here. 0 or a negative errno. */
int packet_send(int fd, const struct packet *p, const int *fds, size_t n_fds);
/* Descriptors that came are in p->fds, close-on-exec and the caller's. ECONNRESET at the end of the
 * connection, EPROTO for bytes that are no packet (its descriptors are closed). */
int packet_receive(int fd, struct packet *p);
