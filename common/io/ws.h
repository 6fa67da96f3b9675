/* The server's end of a WebSocket.
 *
 * Contract as byte_stream.h: who holds it closes exactly once, what is pending is
 * sent, and nothing is called afterwards; when the client goes first, on_end tells
 * so, once. Pings are answered here. Messages of at most 16 MiB. Loop thread only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/io/byte_stream.h"
#include "common/io/exchange.h"

enum {
	WS_MESSAGE_BYTES_MAX = 16 * 1024 * 1024,
	WS_NORMAL_CLOSURE = 1000,
	WS_GOING_AWAY = 1001,
	WS_PROTOCOL_ERROR = 1002,
	WS_MESSAGE_TOO_BIG = 1009,
	WS_INTERNAL_ERROR = 1011,
};

struct ws;

struct ws_ops {
	/* One message, put together from its fragments; valid during the call. */
	void (*on_message)(struct ws *ws, bool text, const uint8_t *data, size_t n);
	/* Pending bytes have been above TLS_HIGH_BYTES and are at or below TLS_LOW_BYTES. May be
	 * NULL. */
	void (*on_drain)(struct ws *ws);
	/* The client closed (0), or the connection or the protocol failed (negative errno). */
	void (*on_end)(struct ws *ws, int rc);
};

/* Whether the request asks for a WebSocket. */
bool ws_is_wanted(const struct exchange *x);
/* Accept with the first protocol of the client's list that is among ours; "" among ours accepts a
 * client that names none. Ends the exchange in any case: where it cannot be accepted the client
 * gets 400, 403 or 426, and NULL is returned, as it is when the client has gone. ops must stay
 * valid. */
struct ws *ws_accept(struct exchange *x, const char *const *protocols, size_t n_protocols,
		     const struct ws_ops *ops, void *data);
void *ws_data(const struct ws *ws);
/* The protocol agreed on, "" for none; one of the strings given. */
const char *ws_protocol(const struct ws *ws);
/* One message from two pieces, of which either may be empty. */
void ws_send(struct ws *ws, bool text, const void *head, size_t n_head, const void *data, size_t n);
size_t ws_pending(const struct ws *ws);
void ws_pause(struct ws *ws);
void ws_resume(struct ws *ws);
/* Send a close frame with this code and let go. */
void ws_close(struct ws *ws, int code, const char *reason);

/* Accept a WebSocket that carries nothing but bytes, as binary messages of any size, and make a
 * byte stream of it. NULL as above. */
struct byte_stream *ws_accept_tunnel(struct exchange *x, const char *protocol);
