/* Several byte channels over one upgraded connection, the same at both ends.
 *
 * Between agents and masters it carries exec, attach, logs and port-forward: the
 * agent dials the master's HTTPS port, asks for the path STREAM_PATH "<token>" with
 * `Upgrade: sampan-stream`, and both sides send frames (docs/http.md):
 *
 *     u8 channel   u8 flags (1: the channel ends with this frame)   u32 length, big-endian   bytes
 *
 * Channels share the connection's back-pressure: whoever pauses reading holds all of
 * them. Contract as byte_stream.h: the holder closes exactly once, what is pending is
 * sent, and nothing is called afterwards. Loop thread only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/io/byte_stream.h"

#define STREAM_PROTOCOL "sampan-stream"
#define STREAM_PATH "/sampan/v1/streams/"

enum {
	FRAME_HEADER_BYTES = 6,
	FRAME_BYTES_MAX = 64 * 1024, /* Payload of one frame; writers split. */
	FRAME_END = 1,
};

struct frame_stream;

struct frame_stream_ops {
	/* Bytes as they come, a frame may come in pieces; n may be 0 when the channel ends. */
	void (*on_data)(struct frame_stream *s, uint8_t channel, const uint8_t *data, size_t n,
			bool end);
	/* Pending bytes have been above TLS_HIGH_BYTES and are at or below TLS_LOW_BYTES. May be
	 * NULL. */
	void (*on_drain)(struct frame_stream *s);
	/* The other side closed (0), or the connection failed (negative errno; -EPROTO: bad
	 * frames). */
	void (*on_end)(struct frame_stream *s, int rc);
};

/* Takes the connection over. ops must stay valid; data is the holder's. */
struct frame_stream *frame_stream_create(struct byte_stream *bytes,
					 const struct frame_stream_ops *ops, void *data);
void *frame_stream_data(const struct frame_stream *s);
/* Copied; end closes the channel in this direction. */
void frame_stream_write(struct frame_stream *s, uint8_t channel, const void *data, size_t n,
			bool end);
size_t frame_stream_pending(const struct frame_stream *s);
void frame_stream_pause(struct frame_stream *s);
void frame_stream_resume(struct frame_stream *s);
void frame_stream_close(struct frame_stream *s);

/* The parser alone. Zero is the start. */
struct frame_parser {
	uint8_t header[FRAME_HEADER_BYTES];
	size_t n_header;
	uint32_t left; /* Of the payload. */
};

typedef void frame_piece_fn(void *arg, uint8_t channel, const uint8_t *data, size_t n, bool end);

/* Feed bytes; pieces are handed to fn until *stop (which fn may set). -EPROTO for an unknown flag
 * or a frame that is too large. */
int frame_parser_feed(struct frame_parser *p, const uint8_t *data, size_t n, frame_piece_fn *fn,
		      void *arg, const bool *stop);
