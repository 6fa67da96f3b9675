/* Strict parsing of HTTP/1.x heads and chunked bodies (RFC 9112), without any I/O.
 *
 * Whatever two parsers could read differently is refused: bare LF, folded lines,
 * NUL and other controls, space before a colon, both Content-Length and
 * Transfer-Encoding, more than one of either, and anything but plain `chunked`.
 * Functions return 0 or the HTTP status code of the refusal. No state, any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/buf.h"
#include "common/io/exchange.h"

enum {
	H1_HEAD_BYTES_MAX = 64 * 1024,
	H1_HEADERS_MAX = 128,
	H1_TRAILER_BYTES_MAX = 8 * 1024,
};

struct h1_head {
	/* Requests. */
	char *method, *target;
	/* Responses. */
	int status;

	int version; /* 10 or 11. */
	struct http_header *headers;
	size_t n_headers;
	bool chunked;
	int64_t content_length; /* -1: none given. */
	bool keep_alive;        /* Version and Connection allow another request. */
	bool expect_continue;
	bool upgrade; /* Connection names Upgrade. */
};

/* The number of bytes of the head (through its empty line) once it is complete, else 0. Looks only
 * at bytes from `seen` on, which is how many were looked at before. */
size_t h1_head_length(const uint8_t *data, size_t n, size_t seen);
/* Take a complete head apart in place; head->headers is the caller's to free, also on refusal. The
 * strings live in text. */
int h1_parse_request(char *text, size_t n, struct h1_head *head);
int h1_parse_response(char *text, size_t n, struct h1_head *head);
/* Whether a comma-separated list holds the token, compared without case. */
bool http_list_has(const char *list, const char *token);

/* A chunked body, fed piece by piece. Zero is the start. */
struct h1_chunked {
	enum {
		H1_SIZE,
		H1_EXTENSION,
		H1_SIZE_LF,
		H1_DATA,
		H1_DATA_CR,
		H1_DATA_LF,
		H1_TRAILER,
		H1_TRAILER_LINE,
		H1_TRAILER_LF,
		H1_END_LF,
		H1_DONE,
	} state;
	uint64_t left;
	unsigned digits, other_bytes; /* Of the size; of extensions and trailers together. */
};

/* Feed n bytes: decoded ones are appended to out, *ret_used is how many were taken (all of them
 * unless the body ended). Stops with 413 when out would exceed out_max. */
int h1_chunked_feed(struct h1_chunked *c, const uint8_t *data, size_t n, size_t *ret_used,
		    struct buf *out, size_t out_max);
