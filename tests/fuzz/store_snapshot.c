/* Bytes as a snapshot: refused with an empty store, or restored. The input is
 * packed into an LZ4 frame first, so that what lies behind the checksum is
 * reached; every other input goes in as it is. */
#include <lz4frame.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/status.h"
#include "controlplane/store/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct input {
	const uint8_t *data;
	size_t n, at;
};

static ssize_t read_input(void *ctx, void *to, size_t n)
{
	struct input *in = ctx;

	if (n > in->n - in->at)
		n = in->n - in->at;
	memcpy(to, in->data + in->at, n);
	in->at += n;
	return (ssize_t)n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct store *s = store_create(&store_limits_default);
	struct input in = { .data = data, .n = n };
	struct status st = { 0 };
	uint8_t *plain = NULL, *packed = NULL;

	if (n > 0 && data[0] != 4) {
		size_t max = LZ4F_compressFrameBound(n + 8, NULL);

		plain = malloc(n + 8);
		packed = malloc(max);
		memcpy(plain, "SAMPSNP1", 8);
		memcpy(plain + 8, data, n);
		in.n = LZ4F_compressFrame(packed, max, plain, n + 8, NULL);
		in.data = packed;
	}
	if (store_restore(s, read_input, &in, &st) < 0 && store_revision(s) != 0)
		abort();
	status_fini(&st);
	store_destroy(s);
	free(plain);
	free(packed);
	return 0;
}
