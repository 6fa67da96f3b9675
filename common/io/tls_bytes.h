/* A TLS connection as a byte stream (byte_stream.h), after HTTP was left behind.
 *
 * Embedded in whatever embeds the TLS stream: the server's connection or the
 * client's call. Two may outlive each other, the connection and the one who holds
 * the stream; the container is released when both are gone. Loop thread only. */
#pragma once

#include "common/base/buf.h"
#include "common/io/byte_stream.h"
#include "common/io/tls_stream.h"

struct tls_bytes {
	struct byte_stream stream;
	struct tls_stream *tls;
	struct buf early; /* Came before anybody could take it. */
	struct io_later deliver;
	bool held, ended, closed;
	void (*finish)(struct tls_bytes *b);
	void (*release)(struct tls_bytes *b);
};

/* Takes the callbacks of tls over, and early's bytes, which are delivered first. finish() is asked
 * to begin to close the connection; release() to free the container, once the connection was closed
 * while the stream was held and the holder let go. */
struct byte_stream *tls_bytes_init(struct tls_bytes *b, struct tls_stream *tls, struct buf *early,
				   void (*finish)(struct tls_bytes *b),
				   void (*release)(struct tls_bytes *b));
/* The connection is closed: tells the holder, if he does not know. Returns whether somebody still
 * holds the stream; release() then follows. */
bool tls_bytes_closed(struct tls_bytes *b);
