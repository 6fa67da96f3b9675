/* Files that change all at once: what configMap, secret, downwardAPI and projected volumes are.
 *
 * DIR/..data is a symbolic link to a directory named after the time, and every
 * top-level name is a link into ..data, so that one rename replaces all files.
 * A payload equal to what is there changes nothing. Blocking; worker threads only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/status.h"

struct volume_file {
	const char *path; /* Relative, below the volume; no "..". */
	const uint8_t *data;
	size_t len;
	unsigned mode;
	int64_t uid; /* -1: ours. */
};

struct volume_files {
	struct arena *arena;
	struct volume_file *items;
	size_t n, cap;
	size_t bytes;
};

/* Data is borrowed. The last file of a path wins. EINVAL for a path that could leave the volume. */
int volume_files_add(struct volume_files *files, const char *path, const void *data, size_t len,
	unsigned mode, struct status *st);
void volume_files_fini(struct volume_files *files);

/* gid -1: ours. */
int atomic_write(const char *dir, const struct volume_files *files, int64_t gid, struct status *st);
