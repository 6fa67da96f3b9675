/* One image from a registry into the images directory. Blocking; one thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/images/reference.h"

struct pull_options {
	const char *dir;
	const char *work_dir; /* Exists, is empty and on the same file system as dir. */
	const char *auth;     /* base64(user:password), or NULL. */
	const char *ca_path;
	bool insecure;
	/* Called as bytes of layers arrive; may be NULL. */
	void (*on_progress)(uint64_t done_bytes, uint64_t total_bytes);
};

/* The digest of the manifest; its record and all its layers are in place then. Layers found
 * there already are not fetched again. */
int pull_image(const struct reference *ref, const struct pull_options *options,
	       char ret_digest[DIGEST_SIZE], struct status *st);
