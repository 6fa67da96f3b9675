/* Shared by wal.c (writing) and wal_recover.c (reading); nobody else includes it. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "common/base/buf.h"
#include "controlplane/consensus/wal.h"

#define WAL_NAME_SIZE 32
#define WAL_SPARES_MAX 2

struct wal_segment {
	uint64_t number;
	uint64_t first_sequence; /* Of its header record. */
	uint64_t index_max;      /* Of any entry in it, forgotten or not. */
};

struct wal {
	struct wal_fs *fs;
	uint64_t segment_bytes;

	struct wal_segment *segments; /* Oldest first; the last one is written to. */
	size_t n_segments, cap_segments;
	struct wal_file *current;
	uint64_t current_size, used;
	bool must_roll; /* The current segment ends in an unfinished write: start another one. */

	uint64_t next_sequence, next_write;
	struct buf out; /* Records of the write being gathered. */
	size_t n_out;
	int failed; /* Sticky. */

	pthread_mutex_t lock; /* The spares. */
	uint64_t spares[WAL_SPARES_MAX];
	size_t n_spares;
	uint64_t next_spare;
	bool preparing;

	atomic_uint_least64_t bytes_written, syncs;
	atomic_bool ballast_used;
};

void wal_segment_name(char ret_name[WAL_NAME_SIZE], uint64_t number);
void wal_spare_name(char ret_name[WAL_NAME_SIZE], uint64_t number);
/* The number in "prefix-<16 hex digits>". */
bool wal_name_number(const char *name, const char *prefix, uint64_t *ret_number);
