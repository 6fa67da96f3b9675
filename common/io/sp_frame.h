/* The wire format of SP messages over a stream (docs/sp.md), without any I/O.
 *
 * First 8 bytes that name the protocol, then messages: a 64-bit big-endian
 * length and so many bytes. A request begins with a stack of 32-bit words of
 * which the last one, the request's id, has the top bit set; the reply carries the
 * same stack. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"

enum {
	SP_GREETING_BYTES = 8,
	SP_PROTOCOL_REQ = 0x30,
	SP_PROTOCOL_REP = 0x31,
	SP_HOPS_MAX = 8,
	SP_STACK_BYTES_MAX = 4 * (SP_HOPS_MAX + 1),
};

void sp_put_greeting(struct buf *to, uint8_t protocol);
void sp_put_length(struct buf *to, uint64_t length);

/* Zero is the start. */
struct sp_parser {
	bool greeted;
	uint8_t head[8];
	size_t n_head;
	uint64_t left; /* Of the message under way. */
	struct buf message;
};

void sp_parser_fini(struct sp_parser *p);
/* Feed bytes; *ret_used is how many were taken. Returns 1 when p->message is complete (the caller
 * takes it, or clears it, before the next call), 0 when more bytes are needed, -EPROTO for a peer
 * that does not speak this protocol, -EMSGSIZE for a message of more than message_max bytes. */
int sp_parser_feed(struct sp_parser *p, uint8_t protocol, size_t message_max, const uint8_t *data,
		   size_t n, size_t *ret_used);
/* The length of the stack in front of a request's body, or -EPROTO. */
int sp_stack_length(const uint8_t *message, size_t n);
