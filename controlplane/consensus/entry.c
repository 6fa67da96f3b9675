#include "controlplane/consensus/entry.h"

#include <errno.h>
#include <lz4.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "controlplane/consensus/le.h"

/* [payload][0]   or   [LZ4 block][u32 payload length][1] */
enum packing { PACKED_RAW = 0, PACKED_LZ4 = 1 };

#define COMPRESS_FROM 1024

void *entry_pack(void *data, size_t n, size_t *ret_n)
{
	size_t worth = n - n / 8;
	uint8_t *packed;

	if (n >= COMPRESS_FROM) {
		packed = xmalloc(worth + 5);

		int got = LZ4_compress_default(data, (char *)packed, (int)n, (int)worth);

		if (got > 0) {
			free(data);
			le_put32(packed + got, (uint32_t)n);
			packed[got + 4] = PACKED_LZ4;
			*ret_n = (size_t)got + 5;
			return xrealloc(packed, *ret_n);
		}
		free(packed);
	}
	packed = xrealloc(data, n + 1);
	packed[n] = PACKED_RAW;
	*ret_n = n + 1;
	return packed;
}

int entry_unpack(struct bytes packed, size_t max, struct buf *scratch, struct bytes *ret_entry)
{
	size_t n = packed.len, raw;

	if (n == 0)
		return -EBADMSG;
	if (packed.data[n - 1] == PACKED_RAW) {
		*ret_entry = bytes_of(packed.data, n - 1);
		return 0;
	}
	if (packed.data[n - 1] != PACKED_LZ4 || n < 5)
		return -EBADMSG;
	raw = le_get32(packed.data + n - 5);
	if (raw > max)
		return -EBADMSG;
	buf_clear(scratch);
	buf_reserve(scratch, raw);
	if (LZ4_decompress_safe((const char *)packed.data, (char *)scratch->data, (int)(n - 5),
				(int)raw) != (int)raw)
		return -EBADMSG;
	scratch->len = raw;
	*ret_entry = buf_bytes(scratch);
	return 0;
}
