#include "common/api/json_scan.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/api/json.h"
#include "common/api/utf8.h"

void json_scan_init(struct json_scan *s, struct bytes text, struct arena *a)
{
	const char *p = text.len > 0 ? (const char *)text.data : "";

	*s = (struct json_scan){ .p = p, .start = p, .end = p + text.len, .arena = a };
}

bool json_fail(struct json_scan *s, const char *fmt, ...)
{
	va_list args;

	if (s->rc < 0)
		return false;
	s->rc = -EBADMSG;
	va_start(args, fmt);
	vsnprintf(s->error, sizeof(s->error), fmt, args);
	va_end(args);
	return false;
}

bool json_unexpected(struct json_scan *s, const char *where)
{
	if (s->p >= s->end)
		return json_fail(s, "unexpected end of JSON input");
	unsigned char c = (unsigned char)*s->p;
	if (c == '\'' || c == '\\')
		return json_fail(s, "invalid character '\\%c' %s", c, where);
	if (c < 0x20 || c >= 0x7F)
		return json_fail(s, "invalid character '\\x%02x' %s", c, where);
	return json_fail(s, "invalid character '%c' %s", c, where);
}

bool json_out_of_memory(struct json_scan *s)
{
	json_fail(s, "the request needs too much memory to be read");
	s->rc = -EFBIG;
	return false;
}

bool json_enter(struct json_scan *s)
{
	if (++s->depth > JSON_DEPTH_MAX)
		return json_fail(s, "exceeded max depth");
	return true;
}

int json_scan_status(const struct json_scan *s, struct status *st)
{
	return status_set(st, s->rc, "%s", s->error);
}

/* Bytes that end the fast part of a string: quote, backslash, control characters, and all that is
 * not ASCII and must be checked. */
static inline bool is_special(uint8_t c)
{
	return c < 0x20 || c >= 0x80 || c == '"' || c == '\\';
}

static inline const char *skip_plain(const char *p, const char *end)
{
	/* Eight at once: a byte is special when one of these differences borrows its top bit. */
	for (; end - p >= 8; p += 8) {
		uint64_t v, ones = 0x0101010101010101ull, tops = 0x8080808080808080ull;

		memcpy(&v, p, 8);
		uint64_t quote = v ^ (ones * '"'), slash = v ^ (ones * '\\');
		uint64_t hit = v | (v - ones * 0x20) | (quote - ones) | (slash - ones);

		if (hit & tops)
			break;
	}
	while (p < end && !is_special((uint8_t)*p))
		p++;
	return p;
}

static int hex4(const char *p)
{
	int v = 0;

	for (int i = 0; i < 4; i++) {
		int c = p[i], d = c >= '0' && c <= '9'                 ? c - '0'
				  : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
								       : -1;

		if (d < 0)
			return -1;
		v = v << 4 | d;
	}
	return v;
}

/* \uXXXX, with its second half when it is a surrogate; s->p stands after the u. */
static bool scan_unicode(struct json_scan *s, char **to)
{
	int c = s->end - s->p >= 4 ? hex4(s->p) : -1;

	if (c < 0)
		return json_fail(s, "invalid character in \\u hexadecimal character escape");
	s->p += 4;
	if (c >= 0xD800 && c < 0xDC00) {
		int low = s->end - s->p >= 6 && s->p[0] == '\\' && s->p[1] == 'u' ? hex4(s->p + 2)
										  : -1;

		if (low < 0xDC00 || low > 0xDFFF)
			return json_fail(s, "unpaired surrogate in string literal");
		s->p += 6;
		c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
	} else if (c >= 0xDC00 && c < 0xE000) {
		return json_fail(s, "unpaired surrogate in string literal");
	}
	if (c == 0)
		return json_fail(s, "invalid character '\\x00' in string literal");
	*to += utf8_put(*to, (uint32_t)c);
	return true;
}

static bool scan_escape(struct json_scan *s, char **to)
{
	static const char from[] = "\"\\/bfnrt", into[] = "\"\\/\b\f\n\r\t";
	const char *at;

	if (++s->p >= s->end)
		return json_unexpected(s, "in string literal");
	if (*s->p == 'u') {
		s->p++;
		return scan_unicode(s, to);
	}
	at = *s->p ? strchr(from, *s->p) : NULL;
	if (at == NULL)
		return json_unexpected(s, "in string escape code");
	*(*to)++ = into[at - from];
	s->p++;
	return true;
}

/* Where the string that s->p is in ends, or NULL. */
static const char *find_close(const struct json_scan *s)
{
	for (const char *p = s->p; p < s->end; p++) {
		if (*p == '"')
			return p;
		if (*p == '\\')
			p++;
	}
	return NULL;
}

/* The rest of a string that has escapes or is not ASCII; start is its first byte. */
static bool scan_string_slow(struct json_scan *s, const char *start, struct json_string *ret)
{
	const char *close = find_close(s);

	if (close == NULL) {
		s->p = s->end;
		return json_unexpected(s, "in string literal");
	}
	char *copy = arena_try_alloc(s->arena, (size_t)(close - start) + 1), *to = copy;
	if (copy == NULL)
		return json_out_of_memory(s);
	memcpy(to, start, (size_t)(s->p - start));
	to += s->p - start;
	while (s->p < close) {
		const char *from = s->p;
		size_t n;

		s->p = skip_plain(s->p, close);
		memcpy(to, from, (size_t)(s->p - from));
		to += s->p - from;
		if (s->p >= close)
			break;
		if (*s->p == '\\') {
			if (!scan_escape(s, &to))
				return false;
		} else if ((uint8_t)*s->p < 0x20) {
			return json_unexpected(s, "in string literal");
		} else if ((n = utf8_check((const uint8_t *)s->p, (size_t)(close - s->p))) > 0) {
			memcpy(to, s->p, n);
			to += n;
			s->p += n;
		} else {
			return json_fail(s, "invalid UTF-8 in string literal");
		}
	}
	*to = '\0';
	*ret = (struct json_string){ copy, (size_t)(to - copy), true };
	s->p = close + 1;
	return true;
}

bool json_scan_string(struct json_scan *s, struct json_string *ret)
{
	const char *start = ++s->p;

	s->p = skip_plain(start, s->end);
	if (s->p < s->end && *s->p == '"') {
		*ret = (struct json_string){ start, (size_t)(s->p - start), false };
		s->p++;
		return true;
	}
	return scan_string_slow(s, start, ret);
}

char *json_own(struct json_scan *s, const struct json_string *str)
{
	if (str->owned)
		return (char *)str->p;
	char *copy = arena_try_alloc(s->arena, str->len + 1);
	if (copy == NULL) {
		json_out_of_memory(s);
		return NULL;
	}
	memcpy(copy, str->p, str->len);
	copy[str->len] = '\0';
	return copy;
}

static bool scan_digits(struct json_scan *s, const char *where)
{
	if (s->p >= s->end || *s->p < '0' || *s->p > '9')
		return json_unexpected(s, where);
	while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
		s->p++;
	return true;
}

bool json_scan_number(struct json_scan *s, struct json_string *ret)
{
	const char *start = s->p;

	if (*s->p == '-')
		s->p++;
	if (s->p < s->end && *s->p == '0') {
		s->p++;
		if (s->p < s->end && *s->p >= '0' && *s->p <= '9')
			return json_unexpected(s, "after a leading zero of a number");
	} else if (!scan_digits(s, "in numeric literal")) {
		return false;
	}
	if (s->p < s->end && *s->p == '.') {
		s->p++;
		if (!scan_digits(s, "after decimal point in numeric literal"))
			return false;
	}
	if (s->p < s->end && (*s->p | 32) == 'e') {
		s->p++;
		if (s->p < s->end && (*s->p == '+' || *s->p == '-'))
			s->p++;
		if (!scan_digits(s, "in exponent of numeric literal"))
			return false;
	}
	*ret = (struct json_string){ start, (size_t)(s->p - start), false };
	return true;
}

/* One value; to may be NULL. Strings are copied as they are written. */
static bool walk(struct json_scan *s, struct buf *to);

static bool walk_string(struct json_scan *s, struct buf *to)
{
	const char *start = s->p;
	struct json_string text;

	if (!json_scan_string(s, &text))
		return false;
	if (to != NULL)
		buf_put(to, start, (size_t)(s->p - start));
	return true;
}

static bool walk_object(struct json_scan *s, struct buf *to)
{
	char before = '{';

	for (bool more = json_object_first(s); more; more = json_object_next(s)) {
		if (json_peek(s) != '"')
			return json_unexpected(s, "looking for beginning of object key string");
		if (to != NULL)
			buf_put_byte(to, (uint8_t)before);
		before = ',';
		if (!walk_string(s, to))
			return false;
		if (json_peek(s) != ':')
			return json_unexpected(s, "after object key");
		s->p++;
		if (to != NULL)
			buf_put_byte(to, ':');
		if (!walk(s, to))
			return false;
	}
	if (to != NULL)
		buf_put_str(to, before == ',' ? "}" : "{}");
	return s->rc == 0;
}

static bool walk_array(struct json_scan *s, struct buf *to)
{
	char before = '[';

	for (bool more = json_array_first(s); more; more = json_array_next(s)) {
		if (to != NULL)
			buf_put_byte(to, (uint8_t)before);
		before = ',';
		if (!walk(s, to))
			return false;
	}
	if (to != NULL)
		buf_put_str(to, before == ',' ? "]" : "[]");
	return s->rc == 0;
}

static bool walk(struct json_scan *s, struct buf *to)
{
	const char *start;
	struct json_string number;
	char c = json_peek(s);

	if (c == '{')
		return walk_object(s, to);
	if (c == '[')
		return walk_array(s, to);
	if (c == '"')
		return walk_string(s, to);
	start = s->p;
	if (c == '-' || (c >= '0' && c <= '9')) {
		if (!json_scan_number(s, &number))
			return false;
	} else if (!json_literal(s, "true", 4) && !json_literal(s, "false", 5) &&
		   !json_take_null(s)) {
		return json_unexpected(s, "looking for beginning of value");
	}
	if (to != NULL)
		buf_put(to, start, (size_t)(s->p - start));
	return true;
}

bool json_skip(struct json_scan *s)
{
	return walk(s, NULL);
}

bool json_copy(struct json_scan *s, struct buf *to)
{
	return walk(s, to);
}

bool json_scan_end(struct json_scan *s)
{
	json_space(s);
	return s->p == s->end || json_unexpected(s, "after top-level value");
}
