#include "controlplane/consensus/wal_record.h"

#include <stdbool.h>
#include <string.h>

#include "controlplane/consensus/crc32c.h"
#include "controlplane/consensus/le.h"

/*  0 crc32c of segment number and all that follows   4 length
 *  8 sequence   16 index   24 term   32 write   40 position   42 count   44 type   46 zero */

size_t wal_record_size(size_t length)
{
	return WAL_RECORD_HEADER + ((length + 7) & ~(size_t)7);
}

static uint32_t checksum(const uint8_t *p, uint64_t segment, size_t length)
{
	uint32_t crc = crc32c(0, &segment, sizeof(segment));

	return crc32c(crc, p + 4, WAL_RECORD_HEADER - 4 + length);
}

void wal_record_encode(uint8_t *p, const struct wal_record *r)
{
	size_t padded = wal_record_size(r->length);

	le_put32(p + 4, r->length);
	le_put64(p + 8, r->sequence);
	le_put64(p + 16, r->index);
	le_put64(p + 24, r->term);
	le_put64(p + 32, r->write);
	le_put16(p + 40, r->position);
	le_put16(p + 42, r->count);
	le_put16(p + 44, r->type);
	le_put16(p + 46, 0);
	if (r->length > 0)
		memcpy(p + WAL_RECORD_HEADER, r->payload, r->length);
	memset(p + WAL_RECORD_HEADER + r->length, 0, padded - WAL_RECORD_HEADER - r->length);
}

size_t wal_record_seal(uint8_t *p, uint64_t segment, uint16_t count)
{
	uint32_t length = le_get32(p + 4);

	le_put16(p + 42, count);
	le_put32(p, checksum(p, segment, length));
	return wal_record_size(length);
}

static bool is_type(uint16_t type)
{
	return (type >= WAL_COMMAND && type <= WAL_CHANGE) ||
	       (type >= WAL_TRUNCATE && type <= WAL_SEGMENT);
}

size_t wal_record_decode(const uint8_t *p, size_t n, uint64_t segment, struct wal_record *ret_r)
{
	if (n < WAL_RECORD_HEADER)
		return 0;

	uint32_t length = le_get32(p + 4);
	struct wal_record r = {
		.sequence = le_get64(p + 8),
		.index = le_get64(p + 16),
		.term = le_get64(p + 24),
		.write = le_get64(p + 32),
		.position = le_get16(p + 40),
		.count = le_get16(p + 42),
		.type = le_get16(p + 44),
		.length = length,
		.payload = p + WAL_RECORD_HEADER,
	};

	/* Cheap tests first: the search for stray records asks at every eighth byte. */
	if (!is_type(r.type) || le_get16(p + 46) != 0 || r.position >= r.count)
		return 0;
	if (length > n - WAL_RECORD_HEADER || wal_record_size(length) > n)
		return 0;
	if (le_get32(p) != checksum(p, segment, length))
		return 0;
	*ret_r = r;
	return wal_record_size(length);
}
