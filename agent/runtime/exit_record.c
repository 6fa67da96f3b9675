#include "agent/runtime/exit_record.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

size_t exit_record_format(const struct exit_record *r, char *ret_text, size_t size)
{
	int n = snprintf(ret_text, size,
		"code=%d\nsignal=%d\noom=%d\nstarted_ns=%lld\nfinished_ns=%lld\n", r->code,
		r->signal, r->oom, (long long)r->started_ns, (long long)r->finished_ns);

	return n < 0 || (size_t)n >= size ? 0 : (size_t)n;
}

/* One line without its end; false if it is no "key=number". */
static bool parse_line(char *line, struct exit_record *r, bool *seen_code)
{
	char *equals = strchr(line, '='), *end;

	if (equals == NULL || equals == line || equals[1] == '\0')
		return false;
	*equals = '\0';
	errno = 0;
	long long n = strtoll(equals + 1, &end, 10);

	if (errno != 0 || *end != '\0')
		return false;
	if (strcmp(line, "code") == 0) {
		if (n < 0 || n > 255)
			return false;
		r->code = (int)n;
		*seen_code = true;
	} else if (strcmp(line, "signal") == 0) {
		if (n < 0 || n > 64)
			return false;
		r->signal = (int)n;
	} else if (strcmp(line, "oom") == 0) {
		r->oom = n != 0;
	} else if (strcmp(line, "started_ns") == 0) {
		r->started_ns = n;
	} else if (strcmp(line, "finished_ns") == 0) {
		r->finished_ns = n;
	}
	return true;
}

int exit_record_parse(const char *text, size_t len, struct exit_record *ret)
{
	struct exit_record r = { 0 };
	bool seen_code = false;
	char copy[1024];

	if (len == 0 || len >= sizeof(copy) || memchr(text, '\0', len) || text[len - 1] != '\n')
		return -EINVAL;
	memcpy(copy, text, len);
	copy[len] = '\0';
	for (char *line = copy; *line != '\0';) {
		char *end = strchr(line, '\n');

		*end = '\0';
		if (!parse_line(line, &r, &seen_code))
			return -EINVAL;
		line = end + 1;
	}
	if (!seen_code)
		return -EINVAL;
	*ret = r;
	return 0;
}

int exit_record_write(const char *path, const struct exit_record *r)
{
	char text[256], temporary[PATH_MAX];
	size_t n = exit_record_format(r, text, sizeof(text));

	if ((size_t)snprintf(temporary, sizeof(temporary), "%s.new", path) >= sizeof(temporary))
		return -ENAMETOOLONG;
	int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	ssize_t written = write(fd, text, n);
	int rc = written == (ssize_t)n ? 0 : written < 0 ? -errno : -ENOSPC;

	close(fd);
	if (rc == 0 && rename(temporary, path) < 0)
		rc = -errno;
	return rc;
}

int exit_record_read(const char *path, struct exit_record *ret)
{
	char text[1024];
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	ssize_t n = read(fd, text, sizeof(text));
	int rc = n < 0 ? -errno : 0;

	close(fd);
	return rc < 0 ? rc : exit_record_parse(text, (size_t)n, ret);
}
