/* One request and its response, the same over HTTP/1.1 and HTTP/2.
 *
 * The server hands an exchange to on_request once the request is complete, body
 * included. From then on it belongs to the handler, which may answer at once or
 * in any later turn, and which ends it by exactly one of exchange_respond(),
 * exchange_respond_buf(), exchange_end(), exchange_abort() and
 * exchange_upgrade(); the pointer is invalid after that call. Until then it stays
 * valid whatever the client does: when the client goes away first, on_gone tells
 * so, once, writing has no effect any more, and the handler still ends the
 * exchange in its own time. A handler that is not interested leaves on_gone NULL.
 *
 * Streaming: exchange_begin(), exchange_write() as often as wanted, then
 * exchange_end(). Who writes more than a little looks at exchange_pending(), stops
 * above EXCHANGE_HIGH_BYTES and goes on in on_drain; more than 64 MiB pending
 * ends the connection. Callbacks never come from inside a call. Loop thread only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/io/byte_stream.h"
#include "common/io/loop.h"
#include "common/io/tls.h"

enum { EXCHANGE_HIGH_BYTES = 64 * 1024 };

struct http_header {
	const char *name, *value;
};

struct exchange {
	const char *method; /* GET, ... */
	const char *path;  /* As sent, still percent-encoded, without the query; begins with '/'. */
	const char *query; /* As sent, without '?'; "" if there is none. */
	const struct http_header *headers;
	size_t n_headers;
	struct bytes body;
	const struct tls_identity *peer; /* Of a verified client certificate, or NULL. */
	const char *peer_problem; /* Why a certificate that was shown is not good, or NULL. */
	const char *remote;       /* The client's IP address. */
	int http_version;         /* 10, 11 or 20. */
	uint64_t started_ms;      /* When the request was complete, on the loop's clock. */

	/* The handler's. */
	void *data;
	void (*on_drain)(struct exchange *x);
	void (*on_gone)(struct exchange *x);
};

/* The value of the first header of that name, in any case, or NULL. */
const char *exchange_header(const struct exchange *x, const char *name);
/* The next value of a header that may come several times: *at starts at 0. NULL when there is none
 * left. */
const char *exchange_header_next(const struct exchange *x, const char *name, size_t *at);

/* Undo percent-encoding of n bytes, '+' too where plus is set (queries). ret_text has room for n
 * + 1. -EINVAL for a broken escape or an encoded NUL. */
int http_percent_decode(const char *text, size_t n, bool plus, char *ret_text);

/* A response header, before responding or beginning; name and value are copied. Content-Length,
 * Transfer-Encoding, Connection and Date are the server's own. CR, LF and NUL in a value are
 * replaced by spaces. */
void exchange_add_header(struct exchange *x, const char *name, const char *value);
/* content_type may be NULL. A HEAD request gets the headers only. */
void exchange_respond(struct exchange *x, int status, const char *content_type, const void *body,
		      size_t n);
/* Takes the buffer over; it is empty afterwards. */
void exchange_respond_buf(struct exchange *x, int status, const char *content_type,
			  struct buf *body);

void exchange_begin(struct exchange *x, int status, const char *content_type);
void exchange_write(struct exchange *x, const void *data, size_t n);
/* Bytes written that have not left yet. */
size_t exchange_pending(const struct exchange *x);
/* The response is complete. */
void exchange_end(struct exchange *x);
/* Break off so that the client notices: the stream is reset, or the connection closed. */
void exchange_abort(struct exchange *x);
/* Whether the client went away. */
bool exchange_is_gone(const struct exchange *x);
struct io_loop *exchange_loop(const struct exchange *x);

/* Whether the client asks to leave HTTP for this protocol (HTTP/1.1 only), compared without case.
 */
bool exchange_wants_upgrade(const struct exchange *x, const char *protocol);
/* Answer 101 with the headers added so far and carry on with bytes. NULL if the client has gone
 * meanwhile. The caller sets the stream's callbacks before it returns to the loop. */
struct byte_stream *exchange_upgrade(struct exchange *x, const char *protocol);
