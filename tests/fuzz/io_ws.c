/* WebSocket frames: however the bytes are cut, the same messages come out. */
#include <stdlib.h>
#include <string.h>

#include "common/io/ws_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MESSAGE_MAX = 3000 };

static int feed(const uint8_t *data, size_t size, size_t step, struct buf *log)
{
	struct ws_parser p = { 0 };
	size_t at = 0;
	int rc = 0;

	while (at < size && rc >= 0) {
		size_t used, n = size - at < step ? size - at : step;

		rc = ws_parser_feed(&p, MESSAGE_MAX, data + at, n, &used);
		if (used > n || p.message.len > MESSAGE_MAX)
			abort();
		at += used;
		if (rc != 1)
			continue;
		if (p.op == WS_CONTINUATION || (p.op >= WS_CLOSE && p.payload.len > 125))
			abort();
		buf_printf(log, "%d:%zu:", p.op, p.payload.len);
		buf_put(log, p.payload.data, p.payload.len);
	}
	ws_parser_fini(&p);
	return rc < 0 ? rc : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf whole = { 0 }, pieces = { 0 };
	int rc = feed(data, size, size + 1, &whole);

	for (size_t step = 1; step <= 3; step++) {
		buf_clear(&pieces);
		if (feed(data, size, step, &pieces) != rc || pieces.len != whole.len ||
		    (whole.len > 0 && memcmp(pieces.data, whole.data, whole.len) != 0))
			abort();
	}
	buf_fini(&whole);
	buf_fini(&pieces);
	return 0;
}
