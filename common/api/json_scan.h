/* The one tokenizer of JSON text; everything that reads JSON is built on it.
 *
 * Strict: UTF-8 without surrogates, no NUL in strings (C strings carry them), no
 * leading zeros, no comments, nothing after the top-level value. A function that
 * fails returns false and leaves the reason in error, in the words a Go client
 * expects. Strings without escapes are borrowed from the text. For use inside
 * common/api. One thread per scan. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/status.h"

struct json_scan {
	const char *p, *start, *end;
	struct arena *arena;
	int depth;
	int rc; /* -EBADMSG, or -EFBIG when the arena's budget is used up. */
	char error[512];
};

struct json_string {
	const char *p;
	size_t len;
	bool owned; /* In the arena and terminated. */
};

void json_scan_init(struct json_scan *s, struct bytes text, struct arena *a);
/* Record a failure; the first one stays. Always false. */
bool json_fail(struct json_scan *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* "invalid character 'x' <where>", or the end of input. */
bool json_unexpected(struct json_scan *s, const char *where);
bool json_out_of_memory(struct json_scan *s);
/* The failure as 400 (or 413) in st. Returns its rc. */
int json_scan_status(const struct json_scan *s, struct status *st);

bool json_scan_string(struct json_scan *s, struct json_string *ret);
/* A string value: terminated, in the arena. */
char *json_own(struct json_scan *s, const struct json_string *str);
/* The text of a number. */
bool json_scan_number(struct json_scan *s, struct json_string *ret);
/* Any value, checked and dropped. */
bool json_skip(struct json_scan *s);
/* Any value, appended without white space. */
bool json_copy(struct json_scan *s, struct buf *to);
/* Nothing but white space may be left. */
bool json_scan_end(struct json_scan *s);
bool json_enter(struct json_scan *s);

static inline void json_space(struct json_scan *s)
{
	while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\t' || *s->p == '\r'))
		s->p++;
}

/* The next significant character, or 0 at the end. */
static inline char json_peek(struct json_scan *s)
{
	json_space(s);
	return s->p < s->end ? *s->p : '\0';
}

static inline bool json_literal(struct json_scan *s, const char *word, size_t n)
{
	if ((size_t)(s->end - s->p) < n || __builtin_memcmp(s->p, word, n) != 0)
		return false;
	s->p += n;
	return true;
}

#define json_take_null(s) json_literal((s), "null", 4)

/* Containers: enter, then call next() until it returns false; ok tells whether it ended well.
 *
 *     for (bool more = json_object_first(s); more; more = json_object_next(s)) { key... value... }
 *     if (s->rc < 0) return false; */
static inline bool json_first(struct json_scan *s, char close)
{
	s->p++;
	if (!json_enter(s))
		return false;
	if (json_peek(s) != close)
		return true;
	s->p++;
	s->depth--;
	return false;
}

static inline bool json_next(struct json_scan *s, char close, const char *where)
{
	char c = json_peek(s);

	if (c == ',') {
		s->p++;
		return true;
	}
	if (c == close) {
		s->p++;
		s->depth--;
		return false;
	}
	return json_unexpected(s, where);
}

static inline bool json_object_first(struct json_scan *s)
{
	return json_first(s, '}');
}

static inline bool json_object_next(struct json_scan *s)
{
	return json_next(s, '}', "after object key:value pair");
}

static inline bool json_array_first(struct json_scan *s)
{
	return json_first(s, ']');
}

static inline bool json_array_next(struct json_scan *s)
{
	return json_next(s, ']', "after array element");
}

/* A key and its colon; the scan then stands before the value. */
static inline bool json_scan_key(struct json_scan *s, struct json_string *ret)
{
	if (json_peek(s) != '"')
		return json_unexpected(s, "looking for beginning of object key string");
	if (!json_scan_string(s, ret))
		return false;
	if (json_peek(s) != ':')
		return json_unexpected(s, "after object key");
	s->p++;
	json_space(s);
	return true;
}
