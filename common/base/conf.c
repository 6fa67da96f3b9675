#include "common/base/conf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"

#define CONF_BYTES_MAX (64 * 1024)

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static char *trimmed(const char *from, const char *end)
{
	while (from < end && is_blank(*from))
		from++;
	while (end > from && is_blank(end[-1]))
		end--;
	return xstrndup(from, (size_t)(end - from));
}

static int parse_line(struct conf *c, const char *line, const char *end, int number,
		      struct status *st)
{
	while (line < end && is_blank(*line))
		line++;
	if (line == end || *line == '#')
		return 0;

	const char *equals = memchr(line, '=', (size_t)(end - line));
	if (equals == NULL || equals == line)
		return status_set(st, -EINVAL, "%s:%d: not of the form key = value", c->path, number);
	if (memchr(line, '\0', (size_t)(end - line)) != NULL)
		return status_set(st, -EINVAL, "%s:%d: holds a NUL character", c->path, number);
	array_grow(c->lines, c->n_lines, c->cap_lines);
	c->lines[c->n_lines++] = (struct conf_line){
		.key = trimmed(line, equals),
		.value = trimmed(equals + 1, end),
		.number = number,
	};
	return 0;
}

int conf_parse(struct conf *c, const char *path, const char *text, size_t n, struct status *st)
{
	const char *end = text + n;

	*c = (struct conf){ .path = xstrdup(path) };
	if (n > CONF_BYTES_MAX)
		return status_set(st, -EFBIG, "%s: larger than %d bytes", path, CONF_BYTES_MAX);
	for (int number = 1; text < end; number++) {
		const char *eol = memchr(text, '\n', (size_t)(end - text));
		int rc = parse_line(c, text, eol ? eol : end, number, st);

		if (rc < 0)
			return rc;
		text = eol ? eol + 1 : end;
	}
	return 0;
}

int conf_read(struct conf *c, const char *path, struct status *st)
{
	static const size_t cap = CONF_BYTES_MAX + 1;
	autofree char *text = xmalloc(cap);
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t n = 0;

	*c = (struct conf){ 0 };
	if (fd < 0)
		return status_set(st, -errno, "%s: %s", path, strerror(errno));
	while (n < cap) {
		ssize_t got = read(fd, text + n, cap - n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return status_set(st, -errno, "%s: %s", path, strerror(errno));
		if (got == 0)
			break;
		n += (size_t)got;
	}
	return conf_parse(c, path, text, n, st);
}

void conf_fini(struct conf *c)
{
	for (size_t i = 0; i < c->n_lines; i++) {
		free(c->lines[i].key);
		free(c->lines[i].value);
	}
	free(c->lines);
	free(c->path);
	*c = (struct conf){ 0 };
}

static const struct conf_line *find_last(const struct conf *c, const char *key)
{
	for (size_t i = c->n_lines; i > 0; i--)
		if (strcmp(c->lines[i - 1].key, key) == 0)
			return &c->lines[i - 1];
	return NULL;
}

const char *conf_get(const struct conf *c, const char *key, const char *fallback)
{
	const struct conf_line *line = find_last(c, key);

	return line ? line->value : fallback;
}

const char *conf_get_nth(const struct conf *c, const char *key, size_t n)
{
	for (size_t i = 0; i < c->n_lines; i++)
		if (strcmp(c->lines[i].key, key) == 0 && n-- == 0)
			return c->lines[i].value;
	return NULL;
}

int conf_need(const struct conf *c, const char *key, const char **ret_value, struct status *st)
{
	const struct conf_line *line = find_last(c, key);

	if (line == NULL)
		return status_set(st, -ENOENT, "%s: the line \"%s = ...\" is missing", c->path, key);
	*ret_value = line->value;
	return 0;
}

int conf_number(const struct conf *c, const char *key, long long fallback, long long min,
		long long max, long long *ret_value, struct status *st)
{
	const struct conf_line *line = find_last(c, key);
	char *end;

	if (line == NULL) {
		*ret_value = fallback;
		return 0;
	}
	errno = 0;
	long long value = strtoll(line->value, &end, 10);
	if (errno != 0 || end == line->value || *end != '\0' || value < min || value > max)
		return status_set(st, -EINVAL, "%s:%d: %s must be a number from %lld to %lld",
				  c->path, line->number, key, min, max);
	*ret_value = value;
	return 0;
}

int conf_check_keys(const struct conf *c, const char *const *known, struct status *st)
{
	for (size_t i = 0; i < c->n_lines; i++) {
		size_t k = 0;

		while (known[k] != NULL && strcmp(known[k], c->lines[i].key) != 0)
			k++;
		if (known[k] == NULL)
			return status_set(st, -EINVAL, "%s:%d: there is no setting called %s", c->path,
					  c->lines[i].number, c->lines[i].key);
	}
	return 0;
}
