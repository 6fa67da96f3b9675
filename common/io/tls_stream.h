/* One TLS connection over TCP, on the loop, embedded in the thing it serves.
 *
 * Life: tls_stream_accept() or tls_stream_connect(), then on_open after the
 * handshake, then reads and writes, then exactly one of tls_stream_close() (now)
 * and tls_stream_finish() (send what is pending, say goodbye, wait a little for
 * the peer, then close). After either of them nothing is called but on_closed,
 * and only then may the memory go. A connection that fails or ends tells so by
 * on_end, once, and still has to be closed.
 *
 * Writing only appends; the bytes are encrypted and sent at the end of the turn,
 * as many as the socket takes, with one write request at most. Writers who can
 * wait stop above TLS_HIGH_BYTES and go on in on_drain. No callback is ever
 * called from inside a call of the owner. Loop thread only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "common/base/buf.h"
#include "common/io/loop.h"
#include "common/io/tls.h"

enum {
	TLS_HIGH_BYTES = 64 * 1024, /* Producers stop above this, */
	TLS_LOW_BYTES = 16 * 1024,  /* and hear on_drain at or below this. */
	TLS_FINISH_MS = 5000,       /* How long a finishing connection may take. */
};

struct tls_stream;

struct tls_stream_ops {
	void (*on_open)(struct tls_stream *s); /* The handshake is done. */
	/* n > 0 bytes of plain text, valid during the call. */
	void (*on_read)(struct tls_stream *s, const uint8_t *data, size_t n);
	/* Pending bytes have been above the high mark and are at or below the low one. May be NULL.
	 */
	void (*on_drain)(struct tls_stream *s);
	/* The peer closed (0), or it failed: negative errno, -EPROTO for what TLS refused. */
	void (*on_end)(struct tls_stream *s, int rc);
};

enum tls_stream_state {
	TLS_STREAM_CONNECTING,
	TLS_STREAM_HANDSHAKE,
	TLS_STREAM_OPEN,
	TLS_STREAM_ENDED,
	TLS_STREAM_FINISHING,
	TLS_STREAM_CLOSED,
};

struct tls_stream {
	uv_tcp_t tcp;
	struct io_loop *loop;
	const struct tls_stream_ops *ops;
	struct ssl_st *ssl;
	enum tls_stream_state state;
	bool paused, reading, was_high, notify_sent, fin_sent, peer_done;
	int end_rc;         /* What on_end will say. */
	unsigned rounds;    /* Synchronous writes in a row; see flush(). */
	size_t pending_max; /* More than this ends the connection with -ENOBUFS; default 64 MiB. */
	uint64_t progress_ms; /* When bytes last left or nothing was pending. */
	/* Cipher text of the read under way, and what is left of it while paused. */
	const uint8_t *in;
	size_t in_len;
	struct buf held;
	/* Plain text not yet encrypted (from plain_off), cipher text, and cipher text being
	 * written. */
	struct buf plain, out, writing;
	size_t plain_off, writing_off;
	uv_write_t write;
	union {
		uv_connect_t connect;
		uv_shutdown_t shutdown;
	} req;
	struct io_later flush, resume, end;
	struct list finishing;
	uint64_t finish_by_ms;
	void (*on_closed)(struct tls_stream *s);
	struct tls_bytes *bytes; /* Set while tls_bytes.h serves the connection. */
};

/* Accept a connection that waits at the listener. On an error nothing stays behind but the handle,
 * which closes by itself and then calls on_closed. */
int tls_stream_accept(struct tls_stream *s, struct io_loop *loop, struct tls_context *context,
		      uv_stream_t *listener, const struct tls_stream_ops *ops,
		      void (*on_closed)(struct tls_stream *s));
/* Connect and ask for a certificate that carries server_name (a DNS name or an IP address). Failing
 * to connect is told by on_end. */
void tls_stream_connect(struct tls_stream *s, struct io_loop *loop, struct tls_context *context,
			const struct sockaddr *addr, const char *server_name,
			const struct tls_stream_ops *ops);

/* Nothing happens unless the connection is open. */
void tls_stream_write(struct tls_stream *s, const void *data, size_t n);
/* Takes the buffer's memory instead of copying it where that is possible; b is empty afterwards. */
void tls_stream_write_buf(struct tls_stream *s, struct buf *b);
/* Bytes that the socket has not taken yet. */
size_t tls_stream_pending(const struct tls_stream *s);
/* No on_read until resume; TCP then holds the peer back. */
void tls_stream_pause(struct tls_stream *s);
void tls_stream_resume(struct tls_stream *s);

void tls_stream_close(struct tls_stream *s, void (*on_closed)(struct tls_stream *s));
void tls_stream_finish(struct tls_stream *s, void (*on_closed)(struct tls_stream *s));

/* After on_open. The identity is a new reference, NULL without a certificate that verifies;
 * *ret_problem then says what is wrong with the one that was shown, or is NULL. */
struct tls_identity *tls_stream_identity(const struct tls_stream *s, const char **ret_problem);
/* Whether ALPN chose h2. */
bool tls_stream_is_http2(const struct tls_stream *s);
/* The peer's IP address, without port. */
void tls_stream_remote(const struct tls_stream *s, char *ret_text, size_t size);
