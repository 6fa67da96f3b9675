/* What we keep of an image: DIR/images/<hex digits of the manifest digest>.json.
 *
 * A record has the shape of an OCI image configuration reduced to what a node uses, plus our own
 * members, so that one reader serves the registry's configuration and our records:
 *
 *     {"digest": "sha256:...", "sizes": [123], "rootfs": {"diff_ids": ["sha256:..."]},
 *      "config": {"Entrypoint": [], "Cmd": [], "Env": [], "User": "", ...}}
 *
 * Pure; everything lives in the arena. */
#pragma once

#include <stdint.h>

#include "agent/images/manifest.h"

#define RECORD_BUDGET_BYTES (16u << 20)

struct record {
	const char *digest;    /* NULL in a registry's configuration. */
	const char **diff_ids; /* Bottom first. */
	uint64_t *sizes;       /* Unpacked bytes; zeros in a registry's configuration. */
	size_t n_layers;
	/* End with NULL. */
	const char **entrypoint, **cmd, **env, **exposed_ports;
	const char *user, *workdir, *stop_signal;
};

int record_parse(struct arena *arena, struct bytes text, struct record *ret, struct status *st);
void record_put(struct buf *to, const struct record *record);

/* Names below the images directory; free() them. */
char *record_path(const char *dir, const char *digest);
char *layer_path(const char *dir, const char *diff_id);
