/* SPDY/3.1, the server's side, as far as Kubernetes' clients use it: streams that the
 * client opens, data in both directions, half-close, reset, ping and goaway.
 *
 * Windows are neither kept nor enforced, as those clients keep none: back-pressure
 * is TCP's, for all streams together. The session follows the contract of
 * byte_stream.h: the holder closes exactly once and nothing is called afterwards.
 * A stream lives until both sides ended it or one reset it, or the session is
 * closed: after on_data with fin and an own write with fin, or after on_reset or
 * an own reset, the pointer is invalid. Loop thread only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/io/byte_stream.h"

struct spdy;
struct spdy_stream;

enum {
	SPDY_STREAMS_MAX = 512, /* Open at once; further ones are refused. */
	SPDY_PROTOCOL_ERROR = 1,
	SPDY_REFUSED_STREAM = 3,
	SPDY_CANCEL = 5,
};

struct spdy_ops {
	/* The client opens a stream; headers by spdy_stream_header() during this call only. Answer
	 * here with spdy_stream_accept() or spdy_stream_reset(). fin: the client will send nothing
	 * on it. */
	void (*on_stream)(struct spdy *s, struct spdy_stream *stream, bool fin);
	/* n may be 0 when fin. */
	void (*on_data)(struct spdy *s, struct spdy_stream *stream, const uint8_t *data, size_t n,
			bool fin);
	void (*on_reset)(struct spdy *s, struct spdy_stream *stream);
	/* Pending bytes have been above TLS_HIGH_BYTES and are at or below TLS_LOW_BYTES. May be
	 * NULL. */
	void (*on_drain)(struct spdy *s);
	/* The client closed (0), or the connection or the protocol failed (negative errno). */
	void (*on_end)(struct spdy *s, int rc);
};

/* Takes the connection over. ops must stay valid. */
struct spdy *spdy_create(struct byte_stream *bytes, const struct spdy_ops *ops, void *data);
void *spdy_data(const struct spdy *s);
size_t spdy_pending(const struct spdy *s);
void spdy_pause(struct spdy *s);
void spdy_resume(struct spdy *s);
/* Streams go with it, without on_reset. */
void spdy_close(struct spdy *s);

/* The value of a header of the stream being opened (names are lower case), or NULL. */
const char *spdy_stream_header(const struct spdy_stream *stream, const char *name);
void spdy_stream_accept(struct spdy_stream *stream);
void spdy_stream_reset(struct spdy_stream *stream, uint32_t status);
void spdy_stream_write(struct spdy_stream *stream, const void *data, size_t n, bool fin);
void spdy_stream_set_data(struct spdy_stream *stream, void *data);
void *spdy_stream_data(const struct spdy_stream *stream);

/* The dictionary both zlib streams begin with (1,423 bytes), for those who speak the other side. */
const uint8_t *spdy_dictionary(unsigned *ret_len);
