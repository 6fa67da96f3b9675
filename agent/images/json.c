#include "agent/images/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 32

struct reader {
	const char *at, *end;
	struct arena *arena;
};

static int read_value(struct reader *r, unsigned depth, struct json **ret);

static void skip_space(struct reader *r)
{
	while (r->at < r->end &&
	       (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r'))
		r->at++;
}

static bool accept(struct reader *r, char c)
{
	if (r->at == r->end || *r->at != c)
		return false;
	r->at++;
	return true;
}

static int read_hex4(struct reader *r, unsigned *ret)
{
	unsigned value = 0;

	if (r->end - r->at < 4)
		return -EINVAL;
	for (int i = 0; i < 4; i++) {
		char c = *r->at++;

		value <<= 4;
		if (c >= '0' && c <= '9')
			value |= (unsigned)(c - '0');
		else if (c >= 'a' && c <= 'f')
			value |= (unsigned)(c - 'a' + 10);
		else if (c >= 'A' && c <= 'F')
			value |= (unsigned)(c - 'A' + 10);
		else
			return -EINVAL;
	}
	*ret = value;
	return 0;
}

static char *put_utf8(char *to, unsigned c)
{
	if (c < 0x80) {
		*to++ = (char)c;
	} else if (c < 0x800) {
		*to++ = (char)(0xc0 | c >> 6);
		*to++ = (char)(0x80 | (c & 0x3f));
	} else if (c < 0x10000) {
		*to++ = (char)(0xe0 | c >> 12);
		*to++ = (char)(0x80 | (c >> 6 & 0x3f));
		*to++ = (char)(0x80 | (c & 0x3f));
	} else {
		*to++ = (char)(0xf0 | c >> 18);
		*to++ = (char)(0x80 | (c >> 12 & 0x3f));
		*to++ = (char)(0x80 | (c >> 6 & 0x3f));
		*to++ = (char)(0x80 | (c & 0x3f));
	}
	return to;
}

static int read_unicode(struct reader *r, unsigned *ret)
{
	unsigned high, low;

	if (read_hex4(r, &high) < 0 || high == 0)
		return -EINVAL;
	if (high < 0xd800 || high > 0xdfff) {
		*ret = high;
		return 0;
	}
	if (high > 0xdbff || !accept(r, '\\') || !accept(r, 'u') || read_hex4(r, &low) < 0 ||
	    low < 0xdc00 || low > 0xdfff)
		return -EINVAL;
	*ret = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
	return 0;
}

static int read_escape(struct reader *r, unsigned *ret)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *known;

	if (r->at == r->end)
		return -EINVAL;
	char c = *r->at++;

	if (c == 'u')
		return read_unicode(r, ret);
	known = c != '\0' ? strchr(from, c) : NULL;
	if (known == NULL)
		return -EINVAL;
	*ret = (unsigned char)to[known - from];
	return 0;
}

/* After the opening quote. An escape is never shorter than what it stands for, so
 * the distance to the closing quote bounds the text. */
static int read_string(struct reader *r, const char **ret)
{
	const char *close = r->at;

	while (close < r->end && *close != '"')
		close += *close == '\\' ? 2 : 1;
	if (close >= r->end)
		return -EINVAL;

	char *text = arena_try_alloc(r->arena, (size_t)(close - r->at) + 1), *to = text;

	if (text == NULL)
		return -E2BIG;
	while (r->at < close) {
		unsigned c = (unsigned char)*r->at++;

		if (c < 0x20)
			return -EINVAL;
		if (c != '\\') {
			*to++ = (char)c;
			continue;
		}
		if (read_escape(r, &c) < 0)
			return -EINVAL;
		to = put_utf8(to, c);
	}
	*to = '\0';
	r->at++;
	*ret = text;
	return 0;
}

static size_t skip_digits(struct reader *r)
{
	const char *start = r->at;

	while (r->at < r->end && *r->at >= '0' && *r->at <= '9')
		r->at++;
	return (size_t)(r->at - start);
}

static int read_number(struct reader *r, const char **ret)
{
	const char *start = r->at;

	accept(r, '-');
	if (!accept(r, '0') && skip_digits(r) == 0)
		return -EINVAL;
	if (accept(r, '.') && skip_digits(r) == 0)
		return -EINVAL;
	if (r->at < r->end && (*r->at == 'e' || *r->at == 'E')) {
		r->at++;
		if (!accept(r, '+'))
			accept(r, '-');
		if (skip_digits(r) == 0)
			return -EINVAL;
	}

	size_t n = (size_t)(r->at - start);
	char *text = arena_try_alloc(r->arena, n + 1);

	if (text == NULL)
		return -E2BIG;
	memcpy(text, start, n);
	text[n] = '\0';
	*ret = text;
	return 0;
}

static int read_key(struct reader *r, const char **ret)
{
	int rc;

	skip_space(r);
	if (!accept(r, '"'))
		return -EINVAL;
	rc = read_string(r, ret);
	if (rc < 0)
		return rc;
	skip_space(r);
	return accept(r, ':') ? 0 : -EINVAL;
}

static int read_children(struct reader *r, struct json *parent, char close, unsigned depth)
{
	struct json **link = &parent->first;

	skip_space(r);
	if (accept(r, close))
		return 0;
	for (;;) {
		const char *key = NULL;
		int rc = parent->type == JSON_OBJECT ? read_key(r, &key) : 0;

		if (rc == 0)
			rc = read_value(r, depth + 1, link);
		if (rc < 0)
			return rc;
		(*link)->key = key;
		link = &(*link)->next;
		parent->n++;
		skip_space(r);
		if (accept(r, close))
			return 0;
		if (!accept(r, ','))
			return -EINVAL;
	}
}

static int read_word(struct reader *r, const char *word)
{
	size_t n = strlen(word);

	if ((size_t)(r->end - r->at) < n || memcmp(r->at, word, n) != 0)
		return -EINVAL;
	r->at += n;
	return 0;
}

static int read_typed(struct reader *r, struct json *value, unsigned depth)
{
	switch (*r->at) {
	case '{':
		r->at++;
		value->type = JSON_OBJECT;
		return read_children(r, value, '}', depth);
	case '[':
		r->at++;
		value->type = JSON_ARRAY;
		return read_children(r, value, ']', depth);
	case '"':
		r->at++;
		value->type = JSON_STRING;
		return read_string(r, &value->text);
	case 'n':
		return read_word(r, "null");
	case 't':
		value->type = JSON_TRUE;
		return read_word(r, "true");
	case 'f':
		value->type = JSON_FALSE;
		return read_word(r, "false");
	default:
		value->type = JSON_NUMBER;
		return read_number(r, &value->text);
	}
}

static int read_value(struct reader *r, unsigned depth, struct json **ret)
{
	struct json *value;

	if (depth > DEPTH_MAX)
		return -E2BIG;
	skip_space(r);
	if (r->at == r->end)
		return -EINVAL;
	value = arena_try_alloc(r->arena, sizeof(*value));
	if (value == NULL)
		return -E2BIG;
	memset(value, 0, sizeof(*value));
	*ret = value;
	return read_typed(r, value, depth);
}

int json_parse(struct arena *arena, struct bytes text, const struct json **ret)
{
	struct reader r = { (const char *)text.data, (const char *)text.data + text.len, arena };
	struct json *value = NULL;
	int rc;

	if (text.len == 0)
		return -EINVAL;
	rc = read_value(&r, 0, &value);
	if (rc < 0)
		return rc;
	skip_space(&r);
	if (r.at != r.end)
		return -EINVAL;
	*ret = value;
	return 0;
}

const struct json *json_member(const struct json *object, const char *key)
{
	if (object == NULL || object->type != JSON_OBJECT)
		return NULL;
	json_for_each(it, object)
	{
		if (strcmp(it->key, key) == 0)
			return it;
	}
	return NULL;
}

const char *json_text(const struct json *object, const char *key)
{
	const struct json *member = json_member(object, key);

	return member != NULL && member->type == JSON_STRING ? member->text : NULL;
}

bool json_u64(const struct json *object, const char *key, uint64_t *ret)
{
	const struct json *member = json_member(object, key);
	char *end;

	if (member == NULL || member->type != JSON_NUMBER || member->text[0] == '-')
		return false;
	errno = 0;
	unsigned long long value = strtoull(member->text, &end, 10);

	if (errno != 0 || *end != '\0')
		return false;
	*ret = value;
	return true;
}

void json_put_text(struct buf *to, const char *text)
{
	buf_put_byte(to, '"');
	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\') {
			buf_put_byte(to, '\\');
			buf_put_byte(to, c);
		} else if (c < 0x20) {
			buf_printf(to, "\\u%04x", c);
		} else {
			buf_put_byte(to, c);
		}
	}
	buf_put_byte(to, '"');
}
