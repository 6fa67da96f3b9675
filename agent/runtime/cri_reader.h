/* Reading container logs in CRI form: "2026-01-02T03:04:05.000000006Z stdout F text".
 * Any thread; log_tail_text() blocks for a read. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cri_line {
	const char *time; /* As written. */
	size_t time_len;
	bool is_stderr;
	bool partial; /* The next line of its stream goes on with it. */
	const char *text;
	size_t text_len;
};

/* line has no newline at its end. EINVAL: not such a line. Pointers are into it. */
int cri_line_parse(const char *line, size_t len, struct cri_line *ret);
/* Its time in nanoseconds since 1970. EINVAL: none. */
int cri_line_time(const struct cri_line *line, int64_t *ret_ns);

/* The last lines of a log without its decoration, at most max_bytes. Never NULL; the caller frees. */
char *log_tail_text(const char *path, size_t max_lines, size_t max_bytes);
