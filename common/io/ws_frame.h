/* WebSocket framing (RFC 6455), the server's side, without any I/O.
 *
 * Frames from the client must be masked; reserved bits, unknown opcodes, long or
 * fragmented control frames and misplaced continuations are refused. Fragments of a
 * message are put together. Text is not checked for UTF-8: its bytes are passed on. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"

enum {
	WS_CONTINUATION = 0,
	WS_TEXT = 1,
	WS_BINARY = 2,
	WS_CLOSE = 8,
	WS_PING = 9,
	WS_PONG = 10,
};

/* Zero is the start. */
struct ws_parser {
	uint8_t head[14];
	size_t n_head;
	uint64_t left;
	uint64_t mask_at;
	bool in_payload;
	int message_op; /* Of the message under way; 0: none. */
	struct buf message, control;
	/* What was just completed: an opcode other than WS_CONTINUATION, and its bytes. */
	int op;
	struct bytes payload;
};

void ws_parser_fini(struct ws_parser *p);
/* Feed bytes; *ret_used is how many were taken. Returns 1 when a message or a control frame is
 * complete (p->op, p->payload, valid until the next call), 0 when more bytes are needed, -EPROTO,
 * or -EMSGSIZE for a message of more than message_max bytes. */
int ws_parser_feed(struct ws_parser *p, size_t message_max, const uint8_t *data, size_t n,
		   size_t *ret_used);
/* Append the head of an unmasked frame with n bytes of payload. */
void ws_put_head(struct buf *to, int op, uint64_t n);
