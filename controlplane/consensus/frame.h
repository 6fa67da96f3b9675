/* What masters say to each other, as bytes (docs/raft-messages.md).
 *
 * A frame is a header of 16 bytes and a body. Decoding trusts nothing and copies
 * nothing: what it returns points into the bytes given. Any thread. */
#pragma once

#include <stdbool.h>

#include "common/base/buf.h"

#define FRAME_HEADER 16
#define FRAME_MAX ((size_t)16 << 20)
#define FRAME_ADDRESS_MAX 255
#define FRAME_ENTRIES_MAX 65536
#define FRAME_VERSION 1

enum frame_type {
	FRAME_HELLO = 1, /* First on every connection, from who dialled. */
	FRAME_GOODBYE,   /* This connection ends by intention; draw no conclusion. */
	FRAME_APPEND,
	FRAME_APPEND_RESULT,
	FRAME_VOTE,
	FRAME_VOTE_RESULT,
	FRAME_TIMEOUT_NOW,
	FRAME_INSTALL,   /* A snapshot follows in chunks. */
	FRAME_CHUNK,
	FRAME_CHUNK_ACK,
	FRAME_PROBE,     /* Do you still follow me in this term? */
	FRAME_ECHO,
	FRAME_READ,      /* Up to where must I have applied to answer a read asked now? */
	FRAME_READ_ANSWER,
	FRAME_APP,       /* For the layer above. */
	FRAME_TYPES,
};

struct frame_entry {
	uint64_t term;
	uint8_t type;
	struct bytes data;
};

struct frame {
	enum frame_type type;
	uint64_t stamp; /* The sender's monotonic nanoseconds; results and echoes return the leader's. */
	union {
		struct {
			uint64_t id;
			struct bytes address;
		} hello;
		struct {
			uint64_t term, prev_index, prev_term, commit;
			uint32_t n;
			struct bytes entries; /* Checked; frame_next_entry() walks them. */
		} append;
		struct {
			uint64_t term, rejected, last_index, echo;
		} append_result;
		struct {
			uint64_t term, candidate, last_index, last_term;
			bool disrupt, pre_vote;
		} vote;
		struct {
			uint64_t term;
			bool granted;
			uint8_t pre_vote; /* libraft's tribool. */
		} vote_result;
		struct {
			uint64_t term, last_index, last_term;
		} timeout_now;
		struct {
			uint64_t transfer, term, last_index, last_term, configuration_index, size;
			struct bytes configuration;
		} install;
		struct {
			uint64_t transfer, offset;
			struct bytes data;
		} chunk;
		struct {
			uint64_t transfer, offset;
			bool failed;
		} chunk_ack;
		struct {
			uint64_t term, echo; /* echo in FRAME_ECHO only. */
		} probe;
		struct {
			uint64_t request;
		} read;
		struct {
			uint64_t request, index, term;
			bool failed;
		} read_answer;
		struct bytes app;
	};
};

/* How long the frame at p is; 0: not enough bytes to tell; -EBADMSG: nothing of ours. */
int64_t frame_size(const uint8_t *p, size_t n);
/* A whole frame of frame_size() bytes. 0 or -EBADMSG. */
int frame_decode(const uint8_t *p, size_t n, struct frame *ret_f);
/* Take the first entry off; only on what frame_decode() accepted. */
struct frame_entry frame_next_entry(struct bytes *entries);

/* Append f to out. Entries of FRAME_APPEND follow by frame_put_entry(), then frame_end(). */
void frame_put(struct buf *out, const struct frame *f);
/* For FRAME_APPEND: begin returns where the frame stands in out. */
size_t frame_begin_append(struct buf *out, const struct frame *f);
void frame_put_entry(struct buf *out, const struct frame_entry *e);
void frame_end_append(struct buf *out, size_t at);
