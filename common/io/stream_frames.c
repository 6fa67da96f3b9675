#include "common/io/stream_frames.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"

struct frame_stream {
	struct byte_stream *bytes;
	const struct frame_stream_ops *ops;
	void *data;
	struct frame_parser parser;
	bool stop; /* Closed, perhaps while the parser is calling back, or ended. */
	bool parsing, closed;
};

static uint32_t payload_length(const uint8_t *h)
{
	return (uint32_t)h[2] << 24 | (uint32_t)h[3] << 16 | (uint32_t)h[4] << 8 | h[5];
}

int frame_parser_feed(struct frame_parser *p, const uint8_t *data, size_t n, frame_piece_fn *fn,
		      void *arg, const bool *stop)
{
	while (n > 0 && !*stop) {
		if (p->n_header < FRAME_HEADER_BYTES) {
			p->header[p->n_header++] = *data++;
			n--;
			if (p->n_header < FRAME_HEADER_BYTES)
				continue;
			p->left = payload_length(p->header);
			if (p->left > FRAME_BYTES_MAX || (p->header[1] & ~FRAME_END) != 0)
				return -EPROTO;
			if (p->left > 0)
				continue;
		}
		size_t take = n < p->left ? n : p->left;
		uint8_t channel = p->header[0];
		bool end = take == p->left && (p->header[1] & FRAME_END) != 0;

		p->left -= (uint32_t)take;
		if (p->left == 0)
			p->n_header = 0;
		if (take > 0 || end)
			fn(arg, channel, data, take, end);
		data += take;
		n -= take;
	}
	return 0;
}

static void on_piece(void *arg, uint8_t channel, const uint8_t *data, size_t n, bool end)
{
	struct frame_stream *s = arg;

	s->ops->on_data(s, channel, data, n, end);
}

static void on_read(struct byte_stream *bytes, const uint8_t *data, size_t n)
{
	struct frame_stream *s = bytes->data;

	s->parsing = true;
	int rc = frame_parser_feed(&s->parser, data, n, on_piece, s, &s->stop);
	s->parsing = false;
	if (s->closed) {
		free(s);
	} else if (rc < 0 && !s->stop) {
		s->stop = true;
		s->ops->on_end(s, rc);
	}
}

static void on_drain(struct byte_stream *bytes)
{
	struct frame_stream *s = bytes->data;

	if (s->ops->on_drain != NULL && !s->stop)
		s->ops->on_drain(s);
}

static void on_end(struct byte_stream *bytes, int rc)
{
	struct frame_stream *s = bytes->data;

	if (s->stop)
		return;
	s->stop = true;
	s->ops->on_end(s, rc);
}

struct frame_stream *frame_stream_create(struct byte_stream *bytes,
					 const struct frame_stream_ops *ops, void *data)
{
	struct frame_stream *s = xcalloc(1, sizeof(*s));

	s->bytes = bytes;
	s->ops = ops;
	s->data = data;
	bytes->data = s;
	bytes->on_read = on_read;
	bytes->on_drain = on_drain;
	bytes->on_end = on_end;
	return s;
}

void *frame_stream_data(const struct frame_stream *s)
{
	return s->data;
}

void frame_stream_write(struct frame_stream *s, uint8_t channel, const void *data, size_t n,
			bool end)
{
	const uint8_t *at = data;

	while (n > 0 || end) {
		size_t take = n < FRAME_BYTES_MAX ? n : FRAME_BYTES_MAX;
		bool last = take == n;
		uint8_t header[FRAME_HEADER_BYTES] = {
			channel,
			last && end ? FRAME_END : 0,
			(uint8_t)(take >> 24),
			(uint8_t)(take >> 16),
			(uint8_t)(take >> 8),
			(uint8_t)take,
		};

		byte_stream_write(s->bytes, header, sizeof(header));
		if (take > 0)
			byte_stream_write(s->bytes, at, take);
		at += take;
		n -= take;
		end = end && !last;
	}
}

size_t frame_stream_pending(const struct frame_stream *s)
{
	return byte_stream_pending(s->bytes);
}

void frame_stream_pause(struct frame_stream *s)
{
	byte_stream_pause(s->bytes);
}

void frame_stream_resume(struct frame_stream *s)
{
	byte_stream_resume(s->bytes);
}

void frame_stream_close(struct frame_stream *s)
{
	s->stop = s->closed = true;
	byte_stream_close(s->bytes);
	if (!s->parsing)
		free(s);
}
