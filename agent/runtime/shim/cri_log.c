#include "agent/runtime/shim/cri_log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

int cri_log_open(struct cri_log *log, const char *path, int64_t max_size, int files_max)
{
	struct stat st;

	*log = (struct cri_log){ .fd = -1, .max_size = max_size, .files_max = files_max };
	log->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
	if (log->fd < 0)
		return -errno;
	log->path = strdup(path);
	if (log->path == NULL)
		abort();
	log->size = fstat(log->fd, &st) == 0 ? st.st_size : 0;
	return 0;
}

void cri_log_close(struct cri_log *log)
{
	if (log->path != NULL && log->fd >= 0)
		close(log->fd);
	free(log->path);
	*log = (struct cri_log){ .fd = -1 };
}

static void rotate(struct cri_log *log)
{
	char from[PATH_MAX], to[PATH_MAX];

	for (int i = log->files_max - 1; i >= 1; i--) {
		if (i > 1)
			snprintf(from, sizeof(from), "%s.%d", log->path, i - 1);
		else
			snprintf(from, sizeof(from), "%s", log->path);
		snprintf(to, sizeof(to), "%s.%d", log->path, i);
		rename(from, to);
	}
	int flags = log->files_max > 1 ? 0 : O_TRUNC;
	int fd = open(log->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | flags, 0640);

	if (fd < 0)
		return; /* Goes on in the old file, which lost its name; tried again at the next line. */
	close(log->fd);
	log->fd = fd;
	log->size = 0;
}

static size_t format_prefix(char *to, size_t size, enum cri_stream stream, int64_t now_ns, char tag)
{
	time_t seconds = (time_t)(now_ns / 1000000000);
	struct tm tm;

	gmtime_r(&seconds, &tm);
	size_t n = strftime(to, size, "%Y-%m-%dT%H:%M:%S", &tm);

	return n + (size_t)snprintf(to + n, size - n, ".%09dZ %s %c ", (int)(now_ns % 1000000000),
			   stream == CRI_STDOUT ? "stdout" : "stderr", tag);
}

static void write_line(struct cri_log *log, enum cri_stream stream, int64_t now_ns, char tag,
	const char *text, size_t n)
{
	char prefix[64];
	struct iovec iov[3] = {
		{ prefix, format_prefix(prefix, sizeof(prefix), stream, now_ns, tag) },
		{ (void *)text, n },
		{ (void *)"\n", 1 },
	};
	size_t total = iov[0].iov_len + n + 1;

	if (log->max_size > 0 && log->size > 0 && log->size + (int64_t)total > log->max_size)
		rotate(log);
	ssize_t written = writev(log->fd, iov, 3);

	if (written > 0)
		log->size += written;
	if (written > 0 && (size_t)written < total && write(log->fd, "\n", 1) == 1)
		log->size++; /* The disk filled up inside a line: end it, so that the next can be read. */
}

void cri_log_write(struct cri_log *log, enum cri_stream stream, int64_t now_ns, const char *data,
	size_t n)
{
	if (log->path == NULL)
		return;
	while (n > 0) {
		const char *newline = memchr(data, '\n', n);
		size_t text = newline ? (size_t)(newline - data) : n;

		write_line(log, stream, now_ns, newline ? 'F' : 'P', data, text);
		text += newline != NULL;
		data += text;
		n -= text;
	}
}
