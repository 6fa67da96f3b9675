#include "controlplane/apiserver/path.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* NULL when an escape is broken or stands for NUL. In a query, '+' is a space. */
static char *percent_decode(struct arena *arena, const char *s, size_t n, bool plus)
{
	char *out = arena_alloc(arena, n + 1);
	size_t o = 0;

	for (size_t i = 0; i < n; i++) {
		char c = s[i];

		if (c == '%') {
			int high = n - i > 2 ? hex_digit(s[i + 1]) : -1;
			int low = n - i > 2 ? hex_digit(s[i + 2]) : -1;

			if (high < 0 || low < 0 || (high == 0 && low == 0))
				return NULL;
			c = (char)(high * 16 + low);
			i += 2;
		} else if (c == '+' && plus) {
			c = ' ';
		}
		out[o++] = c;
	}
	out[o] = 0;
	return out;
}

/* Split the path into decoded segments; empty ones (doubled and trailing slashes) are skipped. */
static int path_split(struct arena *arena, const char *s, size_t n,
		      const char *ret_segments[PATH_SEGMENTS_MAX], struct status *st)
{
	int count = 0;

	for (size_t at = 0; at < n;) {
		size_t end = at;

		while (end < n && s[end] != '/')
			end++;
		if (end > at) {
			const char *segment = percent_decode(arena, s + at, end - at, false);

			if (segment == NULL || strchr(segment, '/') != NULL)
				return status_set(st, -EBADMSG, "the path holds a broken escape");
			if (count == PATH_SEGMENTS_MAX)
				return status_set(st, -ENOENT, "404 page not found");
			ret_segments[count++] = segment;
		}
		at = end + 1;
	}
	return count;
}

static const char *path_join(struct arena *arena, const char *const *segments, int n)
{
	size_t len = 1;

	for (int i = 0; i < n; i++)
		len += 1 + strlen(segments[i]);

	char *text = arena_alloc(arena, len + 1), *at = text;

	for (int i = 0; i < n; i++) {
		*at++ = '/';
		at = stpcpy(at, segments[i]);
	}
	if (n == 0)
		*at++ = '/';
	*at = 0;
	return text;
}

/* What follows /api/v1 or /apis/GROUP/VERSION. */
static bool path_resource(const char *const *s, int n, struct api_path *p)
{
	p->type = PATH_RESOURCE;
	p->subresource = "";
	/* A namespace's own subresources look like resources inside of it. */
	bool own = n == 3 && (strcmp(s[2], "status") == 0 || strcmp(s[2], "finalize") == 0);

	if (n >= 3 && strcmp(s[0], "namespaces") == 0 && !own) {
		p->namespace = s[1];
		s += 2;
		n -= 2;
	}
	p->resource = s[0];
	if (n > 1)
		p->name = s[1];
	if (n > 2)
		p->subresource = s[2];
	return n <= 3;
}

int path_parse(struct arena *arena, const char *path, struct api_path *ret_path, struct status *st)
{
	const char *segments[PATH_SEGMENTS_MAX];
	int n = path_split(arena, path, strlen(path), segments, st);

	if (n < 0)
		return n;

	struct api_path p = { .type = PATH_OTHER, .text = path_join(arena, segments, n) };
	int rest = 0;

	if (n > 0 && strcmp(segments[0], "api") == 0) {
		p.group = "";
		p.version = n > 1 ? segments[1] : NULL;
		p.type = n == 1 ? PATH_API_VERSIONS : PATH_GROUP_VERSION;
		rest = 2;
	} else if (n > 0 && strcmp(segments[0], "apis") == 0) {
		p.group = n > 1 ? segments[1] : NULL;
		p.version = n > 2 ? segments[2] : NULL;
		p.type = n == 1 ? PATH_API_GROUPS : n == 2 ? PATH_GROUP : PATH_GROUP_VERSION;
		rest = 3;
	}
	if (rest > 0 && n > rest && !path_resource(segments + rest, n - rest, &p))
		p.type = PATH_OTHER;
	*ret_path = p;
	return 0;
}

int query_parse(struct arena *arena, const char *query, struct query *ret_query, struct status *st)
{
	struct query q = { 0 };
	size_t room = 1;

	for (const char *c = query; *c != 0; c++)
		room += *c == '&';
	if (room > QUERY_PAIRS_MAX)
		return status_set(st, -EBADMSG, "the query has more than %d parts",
				  QUERY_PAIRS_MAX);

	struct query_pair *pairs = arena_array(arena, struct query_pair, room);

	for (const char *at = query; *at != 0;) {
		size_t len = strcspn(at, "&"), name = strcspn(at, "=&");

		if (len > 0) {
			pairs[q.n].name = percent_decode(arena, at, name, true);
			pairs[q.n].value = name < len ? percent_decode(arena, at + name + 1,
								       len - name - 1, true)
						      : "";
			if (pairs[q.n].name == NULL || pairs[q.n].value == NULL)
				return status_set(st, -EBADMSG, "the query holds a broken escape");
			q.n++;
		}
		at += len + (at[len] == '&');
	}
	q.pairs = pairs;
	*ret_query = q;
	return 0;
}

const char *query_get(const struct query *q, const char *name)
{
	for (size_t i = 0; i < q->n; i++)
		if (strcmp(q->pairs[i].name, name) == 0)
			return q->pairs[i].value;
	return NULL;
}

int query_bool(const struct query *q, const char *name, bool otherwise, bool *ret_value,
	       struct status *st)
{
	static const char *const yes[] = { "", "1", "t", "T", "true", "TRUE", "True" };
	static const char *const no[] = { "0", "f", "F", "false", "FALSE", "False" };
	const char *value = query_get(q, name);

	if (value == NULL) {
		*ret_value = otherwise;
		return 0;
	}
	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
		if (strcmp(value, yes[i]) == 0) {
			*ret_value = true;
			return 0;
		}
	}
	for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
		if (strcmp(value, no[i]) == 0) {
			*ret_value = false;
			return 0;
		}
	}
	status_set(st, -EBADMSG, "the query parameter %s must be true or false, not \"%.64s\"",
		   name, value);
	return -EBADMSG;
}

int query_int(const struct query *q, const char *name, int64_t otherwise, int64_t *ret_value,
	      struct status *st)
{
	const char *value = query_get(q, name);
	char *end;

	if (value == NULL || *value == 0) {
		*ret_value = otherwise;
		return 0;
	}
	errno = 0;
	long long number = strtoll(value, &end, 10);

	if (errno != 0 || *end != 0 || *value == ' ' || *value == '+')
		return status_set(st, -EBADMSG,
				  "the query parameter %s must be a whole number, not \"%.64s\"",
				  name, value);
	*ret_value = number;
	return 0;
}
