#include "agent/runtime/cri_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/api/times.h"
#include "common/base/alloc.h"
#include "common/base/buf.h"
#include "common/base/cleanup.h"

enum { TIME_MAX = 64 };

int cri_line_parse(const char *line, size_t len, struct cri_line *ret)
{
	const char *end = line + len, *space = memchr(line, ' ', len);
	struct cri_line l = { .time = line };

	if (space == NULL || space == line || space - line > TIME_MAX)
		return -EINVAL;
	l.time_len = (size_t)(space - line);
	line = space + 1;
	if (end - line >= 7 && memcmp(line, "stderr ", 7) == 0)
		l.is_stderr = true;
	else if (end - line < 7 || memcmp(line, "stdout ", 7) != 0)
		return -EINVAL;
	line += 7;
	/* Tags are separated by colons; the first says whether the line is whole. */
	space = memchr(line, ' ', (size_t)(end - line));
	if (space == NULL)
		space = end;
	if (space == line || (*line != 'F' && *line != 'P') || (space - line > 1 && line[1] != ':'))
		return -EINVAL;
	l.partial = *line == 'P';
	l.text = space < end ? space + 1 : end;
	l.text_len = (size_t)(end - l.text);
	*ret = l;
	return 0;
}

int cri_line_time(const struct cri_line *line, int64_t *ret_ns)
{
	int64_t seconds;
	int32_t nanos;
	int rc = time_parse(bytes_of(line->time, line->time_len), &seconds, &nanos);

	if (rc == 0)
		*ret_ns = seconds * 1000000000 + nanos;
	return rc;
}

static void append_plain(struct buf *out, const char *text, size_t n)
{
	while (n > 0) {
		const char *newline = memchr(text, '\n', n);
		size_t len = newline ? (size_t)(newline - text) : n;
		struct cri_line line;

		if (cri_line_parse(text, len, &line) == 0) {
			buf_put(out, line.text, line.text_len);
			if (!line.partial)
				buf_put_str(out, "\n");
		}
		len += newline != NULL;
		text += len;
		n -= len;
	}
}

char *log_tail_text(const char *path, size_t max_lines, size_t max_bytes)
{
	auto_with(buf_fini) struct buf plain = { 0 };
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t window = max_bytes * 8 + 65536;
	struct stat s;

	if (fd < 0 || fstat(fd, &s) < 0)
		return xstrdup("");
	autofree char *raw = xmalloc(window);
	off_t from = s.st_size > (off_t)window ? s.st_size - (off_t)window : 0;
	ssize_t n = pread(fd, raw, window, from);

	if (n > 0)
		append_plain(&plain, raw, (size_t)n);
	size_t start = plain.len > max_bytes ? plain.len - max_bytes : 0, lines = 0;

	for (size_t i = plain.len; i > start; i--) {
		if (plain.data[i - 1] == '\n' && i < plain.len && ++lines == max_lines) {
			start = i;
			break;
		}
	}
	return plain.len == 0 ? xstrdup("") : xstrndup((const char *)plain.data + start, plain.len - start);
}
