/* Whom a container runs as: names looked up in the image's own etc/passwd and etc/group.
 *
 * Files are opened below the root without ever leaving it, whatever links the
 * image holds, and at most 1 MiB of each is read. Blocking; any thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/status.h"

enum { USER_GROUPS_MAX = 256 };

struct user {
	uint32_t uid, gid;
	uint32_t groups[USER_GROUPS_MAX]; /* Supplementary; gid is not among them. */
	size_t n_groups;
	char home[256]; /* "/" when unknown. */
};

/* text: "", "name", "uid", "name:group", "uid:gid" as in an image's config. A uid that the image does
 * not know is allowed, a name is not (ENOENT). */
int user_resolve(const char *rootfs, const char *text, struct user *ret, struct status *st);
/* For a uid given from outside: primary group, groups and home as the image says. */
int user_resolve_uid(const char *rootfs, uint32_t uid, struct user *ret, struct status *st);
void user_add_group(struct user *u, uint32_t gid);

/* A file below root, opened as if root were "/". Negative errno on failure. */
int open_in_root(const char *root, const char *path, int flags, unsigned mode);
