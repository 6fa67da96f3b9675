/* What a registry says about an image: indexes and manifests of the OCI image
 * specification 1.0 and of Docker's schema 2. Pure; results live in the arena. */
#pragma once

#include <stdint.h>

#include "agent/images/reference.h"
#include "common/base/arena.h"
#include "common/base/buf.h"

#define MANIFEST_LAYERS_MAX 255
#define MANIFEST_INDEX_MAX 1024

/* What to ask a registry for, as an Accept header. */
#define MANIFEST_ACCEPT                                                                            \
	"application/vnd.oci.image.index.v1+json, "                                                \
	"application/vnd.docker.distribution.manifest.list.v2+json, "                              \
	"application/vnd.oci.image.manifest.v1+json, "                                             \
	"application/vnd.docker.distribution.manifest.v2+json"

struct blob {
	const char *digest;
	uint64_t size_bytes;
};

struct platform {
	const char *os, *architecture; /* In Go's words: linux, amd64. */
	const char *variant;           /* v7, v8, ...; "" for none. */
};

/* The platform of this machine. */
struct platform platform_of_machine(void);

struct manifest {
	bool is_index;
	struct blob chosen;  /* Index: the manifest for the platform. */
	struct blob config;  /* Manifest. */
	struct blob *layers; /* Manifest; bottom first. */
	size_t n_layers;
};

/* EINVAL: cannot be read; ENOENT: an index without our platform (several others in it). */
int manifest_parse(struct arena *arena, struct bytes text, struct platform platform,
		   struct manifest *ret, struct status *st);
