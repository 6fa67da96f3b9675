/* Frames (docs/http.md):
 *
 *     control   1 | version 3 (15 bits) | type (16) | flags (8) | length (24)
 *     data      0 | stream (31)                     | flags (8) | length (24)
 *
 * Control payloads are collected, data is handed on as it comes. Header blocks go
 * through one zlib stream per direction, both begun with SPDY's dictionary; what
 * a block inflates to is bounded, for a block is chosen by the client. */
#include "common/io/spdy.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "common/base/alloc.h"
#include "common/base/buf.h"
#include "common/base/list.h"
#include "common/io/tls_stream.h"

enum {
	SYN_STREAM = 1,
	SYN_REPLY = 2,
	RST_STREAM = 3,
	SETTINGS = 4,
	PING = 6,
	GOAWAY = 7,
	HEADERS = 8,
	WINDOW_UPDATE = 9,
	FLAG_FIN = 1,
	HEAD_BYTES = 8,
	CONTROL_BYTES_MAX = 32 * 1024,
	BLOCK_BYTES_MAX = 32 * 1024,
	BLOCK_HEADERS_MAX = 64,
	DATA_BYTES_MAX = 16 * 1024 * 1024 - 1,
};

struct spdy_stream {
	struct spdy *session;
	struct list link;
	uint32_t id;
	bool opening, ended_here, ended_there;
	void *data;
};

struct spdy {
	struct byte_stream *bytes;
	const struct spdy_ops *ops;
	void *data;
	struct list streams;
	size_t n_streams;
	uint32_t last_id;
	z_stream inflate, deflate;
	uint8_t head[HEAD_BYTES];
	size_t n_head;
	uint32_t left; /* Of the frame's payload. */
	struct buf control;
	struct buf block; /* Of the stream being opened: count, then length and text in turn. */
	bool parsing, closed, ended;
};

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put_be32(struct buf *to, uint32_t v)
{
	for (int shift = 24; shift >= 0; shift -= 8)
		buf_put_byte(to, (uint8_t)(v >> shift));
}

static void send_control(struct spdy *s, uint32_t type, uint32_t flags, const struct buf *payload)
{
	struct buf frame = { 0 };

	put_be32(&frame, 0x80030000u | type);
	put_be32(&frame, flags << 24 | (uint32_t)payload->len);
	buf_put(&frame, payload->data, payload->len);
	byte_stream_write(s->bytes, frame.data, frame.len);
	buf_fini(&frame);
}

static void send_rst(struct spdy *s, uint32_t id, uint32_t status)
{
	struct buf payload = { 0 };

	put_be32(&payload, id);
	put_be32(&payload, status);
	send_control(s, RST_STREAM, 0, &payload);
	buf_fini(&payload);
}

static void stream_free(struct spdy_stream *stream)
{
	list_remove(&stream->link);
	stream->session->n_streams--;
	free(stream);
}

static struct spdy_stream *find(struct spdy *s, uint32_t id)
{
	list_for_each (stream, &s->streams, struct spdy_stream, link) {
		if (stream->id == id)
			return stream;
	}
	return NULL;
}

static void end(struct spdy *s, int rc)
{
	if (s->ended || s->closed)
		return;
	s->ended = true;
	s->ops->on_end(s, rc);
}

/* Inflate a block into s->block. */
static int inflate_block(struct spdy *s, const uint8_t *data, size_t n)
{
	unsigned dict_len;
	const uint8_t *dict = spdy_dictionary(&dict_len);

	buf_clear(&s->block);
	s->inflate.next_in = (Bytef *)data;
	s->inflate.avail_in = (uInt)n;
	do {
		uint8_t *room = buf_reserve(&s->block, 1024);

		s->inflate.next_out = room;
		s->inflate.avail_out = 1024;
		int rc = inflate(&s->inflate, Z_SYNC_FLUSH);

		if (rc == Z_NEED_DICT)
			rc = inflateSetDictionary(&s->inflate, dict, dict_len);
		if (rc != Z_OK && rc != Z_BUF_ERROR)
			return -EPROTO;
		s->block.len += 1024 - s->inflate.avail_out;
		if (s->block.len > BLOCK_BYTES_MAX)
			return -EPROTO;
		if (rc == Z_BUF_ERROR)
			break;
	} while (s->inflate.avail_in > 0 || s->inflate.avail_out == 0);
	return s->inflate.avail_in == 0 ? 0 : -EPROTO;
}

/* The next length-prefixed text of a block, or NULL when it is broken. */
static const uint8_t *next_text(const struct buf *block, size_t *at, uint32_t *ret_len)
{
	if (block->len - *at < 4)
		return NULL;
	*ret_len = be32(block->data + *at);
	*at += 4;
	if (*ret_len > block->len - *at)
		return NULL;
	const uint8_t *text = block->data + *at;

	*at += *ret_len;
	return text;
}

/* The block's form: as many pairs as it says, and texts without NUL. */
static int check_block(struct spdy *s)
{
	struct buf *block = &s->block;
	size_t at = 4;
	uint32_t n, count;

	if (block->len < 4)
		return -EPROTO;
	count = be32(block->data);
	if (count > BLOCK_HEADERS_MAX)
		return -EPROTO;
	for (uint32_t i = 0; i < 2 * count; i++) {
		uint8_t *text = (uint8_t *)next_text(block, &at, &n);

		if (text == NULL || memchr(text, 0, n) != NULL)
			return -EPROTO;
	}
	return 0;
}

const char *spdy_stream_header(const struct spdy_stream *stream, const char *name)
{
	static char value[256]; /* Loop thread only, valid until the next call. */
	const struct buf *block = &stream->session->block;
	size_t at = 4;
	uint32_t name_len, value_len;

	assert(stream->opening);
	for (uint32_t count = be32(block->data); count > 0; count--) {
		const uint8_t *n = next_text(block, &at, &name_len);
		const uint8_t *v = next_text(block, &at, &value_len);

		if (n == NULL || v == NULL)
			break; /* check_block() has seen to it that there are none. */
		if (name_len != strlen(name) || memcmp(n, name, name_len) != 0 ||
		    value_len >= sizeof(value))
			continue;
		memcpy(value, v, value_len);
		value[value_len] = '\0';
		return value;
	}
	return NULL;
}

static int syn_stream(struct spdy *s, uint8_t flags, const uint8_t *p, size_t n)
{
	struct spdy_stream *stream;
	uint32_t id;

	if (n < 10)
		return -EPROTO;
	id = be32(p) & 0x7fffffff;
	if (id % 2 == 0 || id <= s->last_id)
		return -EPROTO;
	s->last_id = id;
	/* The block is inflated in any case: the zlib stream goes on. */
	if (inflate_block(s, p + 10, n - 10) < 0 || check_block(s) < 0)
		return -EPROTO;
	if (s->n_streams >= SPDY_STREAMS_MAX) {
		send_rst(s, id, SPDY_REFUSED_STREAM);
		return 0;
	}
	stream = xcalloc(1, sizeof(*stream));
	stream->session = s;
	stream->id = id;
	stream->opening = true;
	stream->ended_there = (flags & FLAG_FIN) != 0;
	list_push_back(&s->streams, &stream->link);
	s->n_streams++;
	s->ops->on_stream(s, stream, stream->ended_there);
	if (!s->closed && find(s, id) == stream)
		stream->opening = false;
	buf_fini(&s->block);
	return 0;
}

static int rst_stream(struct spdy *s, const uint8_t *p, size_t n)
{
	struct spdy_stream *stream;

	if (n < 8)
		return -EPROTO;
	stream = find(s, be32(p) & 0x7fffffff);
	if (stream == NULL)
		return 0;
	s->ops->on_reset(s, stream);
	if (!s->closed)
		stream_free(stream);
	return 0;
}

static int ping(struct spdy *s, const uint8_t *p, size_t n)
{
	struct buf payload = { 0 };

	if (n < 4)
		return -EPROTO;
	/* Odd ones are the client's, even ones would answer ours. */
	if ((p[3] & 1) != 0 && byte_stream_pending(s->bytes) < TLS_HIGH_BYTES) {
		buf_put(&payload, p, 4);
		send_control(s, PING, 0, &payload);
		buf_fini(&payload);
	}
	return 0;
}

static int headers(struct spdy *s, const uint8_t *p, size_t n)
{
	if (n < 4)
		return -EPROTO;
	return inflate_block(s, p + 4, n - 4);
}

static int control_frame(struct spdy *s)
{
	uint32_t type = be32(s->head) & 0xffff;
	const uint8_t *p = s->control.data;
	size_t n = s->control.len;

	switch (type) {
	case SYN_STREAM:
		return syn_stream(s, s->head[4], p, n);
	case RST_STREAM:
		return rst_stream(s, p, n);
	case PING:
		return ping(s, p, n);
	case HEADERS:
		return headers(s, p, n);
	case SETTINGS:
	case GOAWAY: /* No new streams; the open ones go on. */
	case WINDOW_UPDATE:
		return 0;
	default:
		return -EPROTO;
	}
}

/* Both directions are over: the stream is no more. */
static void maybe_gone(struct spdy_stream *stream)
{
	if (stream->ended_here && stream->ended_there)
		stream_free(stream);
}

static void data_piece(struct spdy *s, const uint8_t *data, size_t n, bool fin)
{
	struct spdy_stream *stream = find(s, be32(s->head));

	/* Late data for a stream that was reset is dropped. */
	if (stream == NULL || stream->ended_there)
		return;
	uint32_t id = stream->id;

	stream->ended_there = fin;
	if (n > 0 || fin)
		s->ops->on_data(s, stream, data, n, fin);
	if (fin && !s->closed && find(s, id) == stream)
		maybe_gone(stream);
}

static int head_complete(struct spdy *s)
{
	bool control = (s->head[0] & 0x80) != 0;

	s->left = be32(s->head + 4) & 0xffffff;
	if (!control)
		return 0;
	if ((be32(s->head) >> 16) != 0x8003 || s->left > CONTROL_BYTES_MAX)
		return -EPROTO;
	buf_clear(&s->control);
	return 0;
}

/* Some of the payload, perhaps none when it is empty. */
static int payload(struct spdy *s, const uint8_t *data, size_t n)
{
	bool last;

	s->left -= (uint32_t)n;
	last = s->left == 0;
	if (last)
		s->n_head = 0;
	if ((s->head[0] & 0x80) == 0) {
		data_piece(s, data, n, last && (s->head[4] & FLAG_FIN) != 0);
		return 0;
	}
	buf_put(&s->control, data, n);
	return last ? control_frame(s) : 0;
}

static void on_read(struct byte_stream *bytes, const uint8_t *data, size_t n)
{
	struct spdy *s = bytes->data;
	int rc = 0;

	s->parsing = true;
	while (n > 0 && rc == 0 && !s->closed && !s->ended) {
		if (s->n_head < HEAD_BYTES) {
			s->head[s->n_head++] = *data++;
			n--;
			if (s->n_head < HEAD_BYTES)
				continue;
			rc = head_complete(s);
			if (rc < 0 || s->left > 0)
				continue;
			rc = payload(s, data, 0);
			continue;
		}
		size_t take = n < s->left ? n : s->left;

		rc = payload(s, data, take);
		data += take;
		n -= take;
	}
	s->parsing = false;
	if (s->closed)
		free(s);
	else if (rc < 0)
		end(s, rc);
}

static void on_drain(struct byte_stream *bytes)
{
	struct spdy *s = bytes->data;

	if (s->ops->on_drain != NULL && !s->ended)
		s->ops->on_drain(s);
}

static void on_end(struct byte_stream *bytes, int rc)
{
	end(bytes->data, rc);
}

struct spdy *spdy_create(struct byte_stream *bytes, const struct spdy_ops *ops, void *data)
{
	struct spdy *s = xcalloc(1, sizeof(*s));
	unsigned dict_len;
	const uint8_t *dict = spdy_dictionary(&dict_len);

	s->bytes = bytes;
	s->ops = ops;
	s->data = data;
	list_init(&s->streams);
	/* Our few replies need no more than the smallest window. */
	if (inflateInit(&s->inflate) != Z_OK ||
	    deflateInit2(&s->deflate, Z_BEST_SPEED, Z_DEFLATED, 11, 1, Z_DEFAULT_STRATEGY) !=
		    Z_OK ||
	    deflateSetDictionary(&s->deflate, dict, dict_len) != Z_OK)
		abort();
	bytes->data = s;
	bytes->on_read = on_read;
	bytes->on_drain = on_drain;
	bytes->on_end = on_end;
	return s;
}

void *spdy_data(const struct spdy *s)
{
	return s->data;
}

size_t spdy_pending(const struct spdy *s)
{
	return byte_stream_pending(s->bytes);
}

void spdy_pause(struct spdy *s)
{
	byte_stream_pause(s->bytes);
}

void spdy_resume(struct spdy *s)
{
	byte_stream_resume(s->bytes);
}

static void send_goaway(struct spdy *s)
{
	struct buf payload = { 0 };

	put_be32(&payload, s->last_id);
	put_be32(&payload, 0);
	send_control(s, GOAWAY, 0, &payload);
	buf_fini(&payload);
}

void spdy_close(struct spdy *s)
{
	assert(!s->closed);
	send_goaway(s);
	s->closed = true;
	list_for_each (stream, &s->streams, struct spdy_stream, link)
		stream_free(stream);
	inflateEnd(&s->inflate);
	deflateEnd(&s->deflate);
	buf_fini(&s->control);
	buf_fini(&s->block);
	byte_stream_close(s->bytes);
	if (!s->parsing)
		free(s);
}

void spdy_stream_accept(struct spdy_stream *stream)
{
	struct spdy *s = stream->session;
	struct buf payload = { 0 };
	uint8_t none[4] = { 0 };

	assert(stream->opening);
	put_be32(&payload, stream->id);
	uint8_t *room = buf_reserve(&payload, 256);

	s->deflate.next_in = none;
	s->deflate.avail_in = sizeof(none);
	s->deflate.next_out = room;
	s->deflate.avail_out = 256;
	if (deflate(&s->deflate, Z_SYNC_FLUSH) != Z_OK || s->deflate.avail_in != 0)
		abort();
	payload.len += 256 - s->deflate.avail_out;
	send_control(s, SYN_REPLY, 0, &payload);
	buf_fini(&payload);
}

void spdy_stream_reset(struct spdy_stream *stream, uint32_t status)
{
	send_rst(stream->session, stream->id, status);
	stream_free(stream);
}

void spdy_stream_write(struct spdy_stream *stream, const void *data, size_t n, bool fin)
{
	struct spdy *s = stream->session;
	const uint8_t *at = data;

	assert(!stream->ended_here);
	do {
		size_t take = n < DATA_BYTES_MAX ? n : DATA_BYTES_MAX;
		bool last = take == n;
		struct buf head = { 0 };

		put_be32(&head, stream->id);
		put_be32(&head, (last && fin ? (uint32_t)FLAG_FIN << 24 : 0) | (uint32_t)take);
		byte_stream_write(s->bytes, head.data, head.len);
		buf_fini(&head);
		if (take > 0)
			byte_stream_write(s->bytes, at, take);
		at += take;
		n -= take;
	} while (n > 0);
	stream->ended_here = fin;
	if (fin)
		maybe_gone(stream);
}

void spdy_stream_set_data(struct spdy_stream *stream, void *data)
{
	stream->data = data;
}

void *spdy_stream_data(const struct spdy_stream *stream)
{
	return stream->data;
}
