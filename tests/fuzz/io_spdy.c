/* SPDY sessions over a stream that only counts what is written. */
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/io/spdy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t written;
static bool closed;

static void fake_write(struct byte_stream *s, const void *data, size_t n)
{
	(void)s, (void)data;
	written += n;
}

static size_t fake_pending(const struct byte_stream *s)
{
	(void)s;
	return 0;
}

static void fake_nothing(struct byte_stream *s)
{
	(void)s;
}

static void fake_close(struct byte_stream *s)
{
	(void)s;
	closed = true;
}

static const struct byte_stream_ops fake_ops = { fake_write, fake_pending, fake_nothing,
						 fake_nothing, fake_close };

/* Streams called "r" are reset, others accepted; what ends is answered with an end. */
static void on_stream(struct spdy *s, struct spdy_stream *stream, bool fin)
{
	const char *type = spdy_stream_header(stream, "streamtype");

	(void)s, (void)fin;
	if (type != NULL && type[0] == 'r')
		spdy_stream_reset(stream, SPDY_CANCEL);
	else
		spdy_stream_accept(stream);
}

static void on_data(struct spdy *s, struct spdy_stream *stream, const uint8_t *data, size_t n,
		    bool fin)
{
	(void)s;
	if (n > 0 && data[0] == 'r')
		spdy_stream_reset(stream, SPDY_CANCEL);
	else if (fin)
		spdy_stream_write(stream, data, n, true);
}

static void on_reset(struct spdy *s, struct spdy_stream *stream)
{
	(void)s, (void)stream;
}

static void on_end(struct spdy *s, int rc)
{
	(void)rc;
	spdy_close(s);
}

static const struct spdy_ops ops = { on_stream, on_data, on_reset, NULL, on_end };

static void put_be32(struct buf *to, uint32_t v)
{
	for (int shift = 24; shift >= 0; shift -= 8)
		buf_put_byte(to, (uint8_t)(v >> shift));
}

/* A SYN_STREAM around a header block made of the input, so that what lies behind zlib is reached.
 */
static void put_syn(struct buf *to, const uint8_t *block, size_t n)
{
	z_stream z = { 0 };
	unsigned dict_len;
	const uint8_t *dict = spdy_dictionary(&dict_len);
	uint8_t out[8192];

	if (deflateInit(&z, 1) != Z_OK || deflateSetDictionary(&z, dict, dict_len) != Z_OK)
		abort();
	z.next_in = (Bytef *)block;
	z.avail_in = (uInt)n;
	z.next_out = out;
	z.avail_out = sizeof(out);
	deflate(&z, Z_SYNC_FLUSH);
	deflateEnd(&z);
	put_be32(to, 0x80030001);
	put_be32(to, (uint32_t)(10 + sizeof(out) - z.avail_out));
	put_be32(to, 1);
	put_be32(to, 0);
	buf_put(to, "\0", 2);
	buf_put(to, out, sizeof(out) - z.avail_out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct byte_stream bytes = { .ops = &fake_ops };
	struct buf input = { 0 };
	size_t step = size > 0 ? 1 + data[0] % 64 : 1, block = 0;

	if (size > 2 && size < 4096 && data[0] % 2 == 0) {
		block = data[1] < size - 2 ? data[1] : size - 2;
		put_syn(&input, data + 2, block);
	}
	buf_put(&input, data + (block > 0 ? 2 + block : 0), size - (block > 0 ? 2 + block : 0));
	closed = false;
	struct spdy *s = spdy_create(&bytes, &ops, NULL);

	for (size_t at = 0; at < input.len && !closed; at += step)
		bytes.on_read(&bytes, input.data + at,
			      input.len - at < step ? input.len - at : step);
	if (!closed)
		spdy_close(s);
	buf_fini(&input);
	return 0;
}
