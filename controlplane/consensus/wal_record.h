/* One record of the log as bytes (docs/log-format.md).
 *
 * A record is a header of 48 bytes and a payload padded to 8. Its checksum also
 * covers the number of the segment it stands in, so what an earlier use left in a
 * recycled segment never passes for a record. Decoding trusts nothing. Any thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define WAL_RECORD_HEADER 48
/* Of one write; position and count are 16 bits. */
#define WAL_WRITE_RECORDS_MAX 60000

enum wal_record_type {
	WAL_COMMAND = 1, /* 1 to 3 are libraft's entry types. */
	WAL_BARRIER = 2,
	WAL_CHANGE = 3,
	WAL_TRUNCATE = 16, /* Entries from index on are gone. */
	WAL_RESET = 17,    /* All entries are gone; the next one has index. */
	WAL_SEGMENT = 18,  /* First in every segment; index is the segment's number. */
};

struct wal_record {
	uint64_t sequence; /* Counts records, across segments, without gaps. */
	uint64_t index, term;
	uint64_t write;           /* Counts writes; all records of one are synced together. */
	uint16_t position, count; /* Which record of its write this is, of how many. */
	uint16_t type;
	uint32_t length;
	const uint8_t *payload;
};

size_t wal_record_size(size_t length);
/* p has room for wal_record_size(). Valid only once it is sealed. */
void wal_record_encode(uint8_t *p, const struct wal_record *r);
/* Complete an encoded record with the count of its write and its checksum; returns its size. */
size_t wal_record_seal(uint8_t *p, uint64_t segment, uint16_t count);
/* The record at p, or 0 when there is none; returns its size. payload points into p. */
size_t wal_record_decode(const uint8_t *p, size_t n, uint64_t segment, struct wal_record *ret_r);
