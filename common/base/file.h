/* Whole small files, read and replaced. Blocking; any thread. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "common/base/buf.h"
#include "common/base/status.h"

/* Append the content of path. -EFBIG above max_bytes; otherwise the errno, with a sentence in st. */
int file_read(const char *path, size_t max_bytes, struct buf *out, struct status *st);
/* Replace path's content at once: a temporary file beside it, synced, then renamed. Mode applies to
 * the new file whatever the umask. */
int file_write(const char *path, mode_t mode, const void *data, size_t n, struct status *st);
/* Make dir and its missing parents. An existing folder is fine and keeps its mode. */
int dir_make(const char *path, mode_t mode, struct status *st);
