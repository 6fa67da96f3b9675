/* Stream frames: however the bytes are cut, each channel gets the same bytes and ends. */
#include <stdlib.h>
#include <string.h>

#include "common/io/stream_frames.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct channels {
	struct buf log[256];
};

static void on_piece(void *arg, uint8_t channel, const uint8_t *data, size_t n, bool end)
{
	struct channels *c = arg;

	if (n == 0 && !end)
		abort();
	buf_put(&c->log[channel], data, n);
	if (end)
		buf_put_str(&c->log[channel], "<end>");
}

static int feed(const uint8_t *data, size_t size, size_t step, struct channels *c)
{
	static const bool stop;
	struct frame_parser p = { 0 };
	int rc = 0;

	for (size_t at = 0; at < size && rc == 0; at += step)
		rc = frame_parser_feed(&p, data + at, size - at < step ? size - at : step, on_piece,
				       c, &stop);
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct channels whole, pieces;
	int rc = feed(data, size, size + 1, &whole);

	if (feed(data, size, 1, &pieces) != rc)
		abort();
	for (size_t i = 0; i < 256; i++) {
		struct buf *a = &whole.log[i], *b = &pieces.log[i];

		if (a->len != b->len || (a->len > 0 && memcmp(a->data, b->data, a->len) != 0))
			abort();
		buf_fini(a);
		buf_fini(b);
	}
	return 0;
}
