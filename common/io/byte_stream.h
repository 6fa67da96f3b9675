/* A connection that has left HTTP behind: bytes in both directions, with back-pressure.
 *
 * Who holds a stream sets data and the callbacks, and calls byte_stream_close()
 * exactly once, at any time; what is still pending is then sent, and no callback
 * comes any more. When the other side goes first, on_end tells so, once; writes
 * are ignored from then on, and the stream stays valid until it is closed.
 * Callbacks never come from inside a call. Loop thread only. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct byte_stream;

struct byte_stream_ops {
	void (*write)(struct byte_stream *s, const void *data, size_t n);
	size_t (*pending)(const struct byte_stream *s);
	void (*pause)(struct byte_stream *s);
	void (*resume)(struct byte_stream *s);
	void (*close)(struct byte_stream *s);
};

struct byte_stream {
	const struct byte_stream_ops *ops;
	void *data;
	/* n > 0 bytes, valid during the call. */
	void (*on_read)(struct byte_stream *s, const uint8_t *data, size_t n);
	/* Pending bytes have been above TLS_HIGH_BYTES and are at or below TLS_LOW_BYTES. May be
	 * NULL. */
	void (*on_drain)(struct byte_stream *s);
	/* The other side closed (0) or the connection failed (negative errno). */
	void (*on_end)(struct byte_stream *s, int rc);
};

static inline void byte_stream_write(struct byte_stream *s, const void *data, size_t n)
{
	s->ops->write(s, data, n);
}

/* Bytes written that the socket has not taken yet. */
static inline size_t byte_stream_pending(const struct byte_stream *s)
{
	return s->ops->pending(s);
}

/* No on_read (and no on_end) until resume; TCP then holds the other side back. */
static inline void byte_stream_pause(struct byte_stream *s)
{
	s->ops->pause(s);
}

static inline void byte_stream_resume(struct byte_stream *s)
{
	s->ops->resume(s);
}

static inline void byte_stream_close(struct byte_stream *s)
{
	s->ops->close(s);
}
