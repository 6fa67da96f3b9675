#include "common/api/json_text.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* As Go's encoder with HTML escaping off: quote, backslash and control characters, and the two
 * line separators that JavaScript cannot bear are left as they are. */
static inline bool needs_escape(uint8_t c)
{
	return c < 0x20 || c == '"' || c == '\\';
}

static const uint8_t *skip_plain(const uint8_t *p, const uint8_t *end)
{
	const uint64_t ones = 0x0101010101010101ull, tops = 0x8080808080808080ull;

	for (; end - p >= 8; p += 8) {
		uint64_t v;

		memcpy(&v, p, 8);
		uint64_t quote = v ^ (ones * '"'), slash = v ^ (ones * '\\');
		/* The top bit of a byte that is special; bytes above 0x7F are not. */
		if (((v - ones * 0x20) | (quote - ones) | (slash - ones)) & ~v & tops)
			break;
	}
	while (p < end && !needs_escape(*p))
		p++;
	return p;
}

static void put_escape(struct buf *out, uint8_t c)
{
	static const char hex[] = "0123456789abcdef";
	static const char short_form[0x20] = {
		['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'
	};

	buf_put_byte(out, '\\');
	if (c >= 0x20 || short_form[c]) {
		buf_put_byte(out, c >= 0x20 ? c : (uint8_t)short_form[c]);
		return;
	}
	buf_put(out, "u00", 3);
	buf_put_byte(out, (uint8_t)hex[c >> 4]);
	buf_put_byte(out, (uint8_t)hex[c & 15]);
}

void json_put_string(struct buf *out, const char *s, size_t n)
{
	const uint8_t *p = (const uint8_t *)s, *end = p + n;
	uint8_t *to = buf_reserve(out, n + 2);

	const uint8_t *stop = skip_plain(p, end);
	if (stop == end) {
		to[0] = '"';
		if (n > 0)
			memcpy(to + 1, p, n);
		to[n + 1] = '"';
		out->len += n + 2;
		return;
	}
	buf_put_byte(out, '"');
	for (;;) {
		buf_put(out, p, (size_t)(stop - p));
		if (stop == end)
			break;
		put_escape(out, *stop);
		p = stop + 1;
		stop = skip_plain(p, end);
	}
	buf_put_byte(out, '"');
}

void json_put_cstring(struct buf *out, const char *s)
{
	json_put_string(out, s, strlen(s));
}

void json_put_int(struct buf *out, int64_t v)
{
	char text[24], *p = text + sizeof(text);
	uint64_t u = v < 0 ? -(uint64_t)v : (uint64_t)v;

	do {
		*--p = (char)('0' + u % 10);
		u /= 10;
	} while (u != 0);
	if (v < 0)
		*--p = '-';
	buf_put(out, p, (size_t)(text + sizeof(text) - p));
}

/* The shortest text that reads back as the same number. */
void json_put_double(struct buf *out, double v)
{
	char text[40];

	for (int digits = 15; digits <= 17; digits++) {
		snprintf(text, sizeof(text), "%.*g", digits, v);
		if (strtod(text, NULL) == v)
			break;
	}
	if (strpbrk(text, "ni") != NULL) /* JSON has no infinity and no NaN. */
		strcpy(text, "0");
	buf_put_str(out, text);
}

void json_put_base64(struct buf *out, const uint8_t *data, size_t n)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint8_t *to = buf_reserve(out, (n + 2) / 3 * 4 + 2);
	size_t i = 0;

	*to++ = '"';
	for (; i + 3 <= n; i += 3) {
		uint32_t v = (uint32_t)data[i] << 16 | (uint32_t)data[i + 1] << 8 | data[i + 2];

		*to++ = (uint8_t)digits[v >> 18];
		*to++ = (uint8_t)digits[v >> 12 & 63];
		*to++ = (uint8_t)digits[v >> 6 & 63];
		*to++ = (uint8_t)digits[v & 63];
	}
	if (i < n) {
		uint32_t v = (uint32_t)data[i] << 16 | (i + 1 < n ? (uint32_t)data[i + 1] << 8 : 0);

		*to++ = (uint8_t)digits[v >> 18];
		*to++ = (uint8_t)digits[v >> 12 & 63];
		*to++ = i + 1 < n ? (uint8_t)digits[v >> 6 & 63] : '=';
		*to++ = '=';
	}
	*to++ = '"';
	out->len = (size_t)(to - out->data);
}
