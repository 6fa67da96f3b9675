/* A container's log file in CRI form: "RFC3339Nano stdout|stderr F|P text\n".
 *
 * What a read returned is written at once; a piece that does not end in a
 * newline is a P line, and its rest follows. Files rotate by size: NAME becomes
 * NAME.1, NAME.1 becomes NAME.2, and so on. A file that cannot be written loses
 * the text but never stops the container. libc only; one thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct cri_log {
	char *path; /* NULL: nothing is kept. */
	int fd;
	int64_t size, max_size; /* 0: never rotates. */
	int files_max;          /* How many files in all, the current one included. */
};

enum cri_stream { CRI_STDOUT, CRI_STDERR };

/* Appends to what is there. 0 or a negative errno. */
int cri_log_open(struct cri_log *log, const char *path, int64_t max_size, int files_max);
void cri_log_close(struct cri_log *log);
/* now_ns: nanoseconds since 1970, UTC. */
void cri_log_write(struct cri_log *log, enum cri_stream stream, int64_t now_ns, const char *data,
	size_t n);
