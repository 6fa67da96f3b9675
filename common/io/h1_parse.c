#include "common/io/h1_parse.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/alloc.h"

size_t h1_head_length(const uint8_t *data, size_t n, size_t seen)
{
	size_t from = seen < 3 ? 0 : seen - 3;
	const uint8_t *end = n > from ? memmem(data + from, n - from, "\r\n\r\n", 4) : NULL;

	return end != NULL ? (size_t)(end - data) + 4 : 0;
}

static bool is_token(unsigned char c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
	       (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool is_value(unsigned char c)
{
	return c == '\t' || (c >= 0x20 && c != 0x7f);
}

static bool is_target(unsigned char c)
{
	return c > 0x20 && c < 0x7f && c != '#';
}

static bool all(const char *s, const char *end, bool (*is)(unsigned char))
{
	while (s < end && is((unsigned char)*s))
		s++;
	return s == end;
}

bool http_list_has(const char *list, const char *token)
{
	size_t n = strlen(token);

	while (*list != '\0') {
		list += strspn(list, " \t,");
		size_t len = strcspn(list, ",");
		size_t trimmed = len;

		while (trimmed > 0 && (list[trimmed - 1] == ' ' || list[trimmed - 1] == '\t'))
			trimmed--;
		if (trimmed == n && strncasecmp(list, token, n) == 0)
			return true;
		list += len;
	}
	return false;
}

/* Digits only: no sign, no space, at most 18 of them. */
static int64_t content_length(const char *value)
{
	size_t n = strspn(value, "0123456789");

	if (n == 0 || n > 18 || value[n] != '\0')
		return -1;
	return strtoll(value, NULL, 10);
}

/* What the header means for where the message ends and what comes after it. */
static int note_header(struct h1_head *h, const char *name, const char *value)
{
	if (strcasecmp(name, "content-length") == 0) {
		if (h->content_length >= 0 || h->chunked)
			return 400;
		h->content_length = content_length(value);
		return h->content_length < 0 ? 400 : 0;
	}
	if (strcasecmp(name, "transfer-encoding") == 0) {
		if (h->chunked || h->content_length >= 0 || h->version == 10)
			return 400;
		h->chunked = true;
		return strcasecmp(value, "chunked") != 0 ? 501 : 0;
	}
	if (strcasecmp(name, "connection") == 0) {
		if (http_list_has(value, "close"))
			h->keep_alive = false;
		else if (h->version == 10 && http_list_has(value, "keep-alive"))
			h->keep_alive = true;
		if (http_list_has(value, "upgrade"))
			h->upgrade = true;
		return 0;
	}
	if (strcasecmp(name, "expect") == 0) {
		h->expect_continue = strcasecmp(value, "100-continue") == 0;
		return h->expect_continue ? 0 : 417;
	}
	return 0;
}

static int parse_header_line(struct h1_head *h, char *line, char *end)
{
	char *colon = memchr(line, ':', (size_t)(end - line));

	if (colon == NULL || colon == line || !all(line, colon, is_token))
		return 400; /* Folded lines and a space before the colon end here too. */
	if (h->n_headers == H1_HEADERS_MAX)
		return 431;

	char *value = colon + 1;

	while (value < end && (*value == ' ' || *value == '\t'))
		value++;
	while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	if (!all(value, end, is_value))
		return 400;
	*colon = *end = '\0';
	h->headers[h->n_headers++] = (struct http_header){ line, value };
	return note_header(h, line, value);
}

/* The lines after the first one; text ends with the empty line. */
static int parse_headers(struct h1_head *h, char *text, char *end)
{
	int hosts = 0;

	h->headers = xreallocarray(NULL, H1_HEADERS_MAX, sizeof(*h->headers));
	while (end - text > 2) {
		char *eol = memmem(text, (size_t)(end - text), "\r\n", 2);

		assert(eol != NULL);
		int refused = parse_header_line(h, text, eol);

		if (refused != 0)
			return refused;
		hosts += strcasecmp(h->headers[h->n_headers - 1].name, "host") == 0;
		text = eol + 2;
	}
	h->headers = xreallocarray(h->headers, h->n_headers + 1, sizeof(*h->headers));
	return h->method != NULL && (hosts > 1 || (hosts == 0 && h->version == 11)) ? 400 : 0;
}

static int parse_version(const char *s, struct h1_head *h)
{
	if (strncmp(s, "HTTP/", 5) != 0 || s[5] < '0' || s[5] > '9' || s[6] != '.' || s[7] < '0' ||
	    s[7] > '9')
		return 400;
	if (s[5] != '1')
		return 505;
	h->version = s[7] == '0' ? 10 : 11;
	h->keep_alive = h->version == 11;
	return 0;
}

/* Clients of proxies send http://host/path; only the path matters here. */
static char *origin_form(char *target)
{
	char *rest = strncasecmp(target, "https://", 8) == 0  ? target + 8
		     : strncasecmp(target, "http://", 7) == 0 ? target + 7
							      : NULL;

	if (rest == NULL)
		return target;
	rest += strcspn(rest, "/?");
	if (*rest == '/')
		return rest;
	/* There is room before it: the host is at least one byte, the scheme seven. */
	*--rest = '/';
	return rest;
}

int h1_parse_request(char *text, size_t n, struct h1_head *h)
{
	char *eol = memmem(text, n, "\r\n", 2);
	char *space = memchr(text, ' ', n), *space2;

	assert(eol != NULL);
	*h = (struct h1_head){ .content_length = -1 };
	if (space == NULL || space >= eol || space == text || !all(text, space, is_token))
		return 400;
	space2 = memchr(space + 1, ' ', (size_t)(eol - space - 1));
	if (space2 == NULL || space2 == space + 1 || !all(space + 1, space2, is_target) ||
	    eol - space2 != 9)
		return 400;
	*space = *space2 = *eol = '\0';
	int refused = parse_version(space2 + 1, h);

	if (refused != 0)
		return refused;
	h->method = text;
	h->target = origin_form(space + 1);
	if (h->target[0] != '/')
		return 400;
	return parse_headers(h, eol + 2, text + n);
}

int h1_parse_response(char *text, size_t n, struct h1_head *h)
{
	char *eol = memmem(text, n, "\r\n", 2);

	assert(eol != NULL);
	*h = (struct h1_head){ .content_length = -1 };
	if (eol - text < 12 || text[8] != ' ' || strspn(text + 9, "0123456789") != 3 ||
	    (eol - text > 12 && text[12] != ' ') || !all(text, eol, is_value))
		return 400;
	h->status = atoi(text + 9);

	int refused = parse_version(text, h);

	return refused != 0 ? refused : parse_headers(h, eol + 2, text + n);
}

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int size_digit(struct h1_chunked *c, uint8_t byte)
{
	int digit = hex_digit(byte);

	if (digit >= 0) {
		if (++c->digits > 15)
			return 400;
		c->left = c->left * 16 + (uint64_t)digit;
		return 0;
	}
	if (c->digits == 0)
		return 400;
	if (byte == '\r')
		c->state = H1_SIZE_LF;
	else if (byte == ';' || byte == ' ' || byte == '\t')
		c->state = H1_EXTENSION;
	else
		return 400;
	return 0;
}

/* Bytes that are checked and dropped until CR: extensions and trailer lines. */
static int skipped_byte(struct h1_chunked *c, uint8_t byte, int next)
{
	if (++c->other_bytes > H1_TRAILER_BYTES_MAX)
		return 431;
	if (byte == '\r')
		c->state = next;
	else if (!is_value(byte))
		return 400;
	return 0;
}

static int expect_byte(struct h1_chunked *c, uint8_t byte, uint8_t wanted, int next)
{
	if (byte != wanted)
		return 400;
	c->state = next;
	return 0;
}

static int framing_byte(struct h1_chunked *c, uint8_t byte)
{
	switch (c->state) {
	case H1_SIZE:
		return size_digit(c, byte);
	case H1_EXTENSION:
		return skipped_byte(c, byte, H1_SIZE_LF);
	case H1_SIZE_LF:
		return expect_byte(c, byte, '\n', c->left > 0 ? H1_DATA : H1_TRAILER);
	case H1_DATA_CR:
		return expect_byte(c, byte, '\r', H1_DATA_LF);
	case H1_DATA_LF:
		c->digits = 0;
		return expect_byte(c, byte, '\n', H1_SIZE);
	case H1_TRAILER:
		if (byte == '\r')
			return expect_byte(c, byte, '\r', H1_END_LF);
		if (!is_token(byte))
			return 400;
		c->state = H1_TRAILER_LINE;
		return skipped_byte(c, byte, H1_TRAILER_LF);
	case H1_TRAILER_LINE:
		return skipped_byte(c, byte, H1_TRAILER_LF);
	case H1_TRAILER_LF:
		return expect_byte(c, byte, '\n', H1_TRAILER);
	case H1_END_LF:
		return expect_byte(c, byte, '\n', H1_DONE);
	case H1_DATA:
	case H1_DONE:
		break;
	}
	abort();
}

int http_percent_decode(const char *text, size_t n, bool plus, char *ret_text)
{
	char *to = ret_text;

	for (size_t i = 0; i < n; i++) {
		if (text[i] != '%') {
			*to++ = plus && text[i] == '+' ? ' ' : text[i];
			continue;
		}
		int high = n - i > 2 ? hex_digit((uint8_t)text[i + 1]) : -1;
		int low = n - i > 2 ? hex_digit((uint8_t)text[i + 2]) : -1;

		if (high < 0 || low < 0 || high + low == 0)
			return -EINVAL;
		*to++ = (char)(high * 16 + low);
		i += 2;
	}
	*to = '\0';
	return 0;
}

int h1_chunked_feed(struct h1_chunked *c, const uint8_t *data, size_t n, size_t *ret_used,
		    struct buf *out, size_t out_max)
{
	size_t at = 0;
	int refused = 0;

	while (at < n && c->state != H1_DONE && refused == 0) {
		if (c->state != H1_DATA) {
			refused = framing_byte(c, data[at++]);
			/* Refuse a chunk that cannot fit before any of it arrives. */
			if (c->state == H1_DATA && c->left > out_max - out->len)
				refused = 413;
			continue;
		}
		size_t take = n - at < c->left ? n - at : (size_t)c->left;

		buf_put(out, data + at, take);
		at += take;
		c->left -= take;
		if (c->left == 0)
			c->state = H1_DATA_CR;
	}
	*ret_used = at;
	return refused;
}
