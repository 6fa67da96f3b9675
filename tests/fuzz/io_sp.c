/* SP messages: however the bytes are cut, the same requests come out. */
#include <stdlib.h>
#include <string.h>

#include "common/io/sp_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MESSAGE_MAX = 2000 };

static int feed(const uint8_t *data, size_t size, size_t step, struct buf *log)
{
	struct sp_parser p = { 0 };
	size_t at = 0;
	int rc = 0;

	while (at < size && rc >= 0) {
		size_t used, n = size - at < step ? size - at : step;

		rc = sp_parser_feed(&p, SP_PROTOCOL_REQ, MESSAGE_MAX, data + at, n, &used);
		if (used > n || p.message.len > MESSAGE_MAX)
			abort();
		at += used;
		if (rc != 1)
			continue;
		int stack = sp_stack_length(p.message.data, p.message.len);

		if (stack > SP_STACK_BYTES_MAX || (stack > 0 && (size_t)stack > p.message.len))
			abort();
		buf_printf(log, "%d:%zu:", stack, p.message.len);
		buf_put(log, p.message.data, p.message.len);
		buf_clear(&p.message);
	}
	sp_parser_fini(&p);
	return rc < 0 ? rc : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf whole = { 0 }, pieces = { 0 }, input = { 0 };

	/* The greeting is no secret; spare the fuzzer the guess in half of the runs. */
	if (size % 2 == 0)
		sp_put_greeting(&input, SP_PROTOCOL_REQ);
	buf_put(&input, data, size);

	int rc = feed(input.data, input.len, input.len + 1, &whole);

	for (size_t step = 1; step <= 3; step++) {
		buf_clear(&pieces);
		if (feed(input.data, input.len, step, &pieces) != rc || pieces.len != whole.len ||
		    (whole.len > 0 && memcmp(pieces.data, whole.data, whole.len) != 0))
			abort();
	}
	buf_fini(&whole);
	buf_fini(&pieces);
	buf_fini(&input);
	return 0;
}
