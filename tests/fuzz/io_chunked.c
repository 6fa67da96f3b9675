/* Chunked bodies: however the bytes are cut, the result is the same. */
#include <stdlib.h>
#include <string.h>

#include "common/io/h1_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OUT_MAX = 2000 };

static int feed(const uint8_t *data, size_t size, size_t step, struct buf *out, size_t *ret_used,
		int *ret_state)
{
	struct h1_chunked c = { 0 };
	size_t at = 0;
	int refused = 0;

	while (at < size && refused == 0 && c.state != H1_DONE) {
		size_t used, n = size - at < step ? size - at : step;

		refused = h1_chunked_feed(&c, data + at, n, &used, out, OUT_MAX);
		if (used > n || out->len > OUT_MAX)
			abort();
		at += used;
	}
	*ret_used = at;
	*ret_state = (int)c.state;
	return refused;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf whole = { 0 }, pieces = { 0 };
	size_t used, used2;
	int state, state2;
	int refused = feed(data, size, size + 1, &whole, &used, &state);

	for (size_t step = 1; step <= 3; step++) {
		buf_clear(&pieces);
		if (feed(data, size, step, &pieces, &used2, &state2) != refused || used2 != used ||
		    state2 != state || pieces.len != whole.len ||
		    (whole.len > 0 && memcmp(pieces.data, whole.data, whole.len) != 0))
			abort();
	}
	buf_fini(&whole);
	buf_fini(&pieces);
	return 0;
}
