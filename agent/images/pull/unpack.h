/* One layer's bytes become a directory in overlayfs' form.
 *
 * A child process, locked into the target directory by chroot and stripped of
 * every capability it does not need, decompresses, checks and extracts, while the
 * caller downloads: hostile archives meet no file of the host, and both run at the same
 * time. Whiteouts become character devices 0:0, opaque markers trusted.overlay.opaque;
 * of extended attributes only user.* and security.capability are kept. One thread; SIGPIPE must be
 * ignored. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "agent/images/reference.h"

struct unpack {
	pid_t pid;
	int in, result;
};

#define UNPACK_ENTRIES_MAX 4000000u
#define UNPACK_BYTES_MAX (256ull << 30)

/* dir exists and is empty. */
int unpack_start(struct unpack *u, const char *dir, struct status *st);
/* The next bytes of the blob. EPIPE: it failed; unpack_finish() says why. */
int unpack_write(struct unpack *u, const void *data, size_t n);
/* No more bytes. The digest of the uncompressed archive and the bytes of its files. */
int unpack_finish(struct unpack *u, char ret_diff_id[DIGEST_SIZE], uint64_t *ret_bytes,
		  struct status *st);
/* Give up and take the child away; fine after finish. */
void unpack_abort(struct unpack *u);

/* What the child does: read a compressed archive from fd into the working directory. Exported for
 * tests. */
int unpack_archive(int fd, char ret_diff_id[DIGEST_SIZE], uint64_t *ret_bytes, struct status *st);
