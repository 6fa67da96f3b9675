/* The images of this node: what a name stands for, unpacked and ready to mount.
 *
 * DIR/layers/<diff id>/ holds each layer once, in overlayfs form; an entry is
 * complete or absent. DIR/images/<manifest digest>.json describes an image; the file
 * DIR/refs maps names to digests; DIR/tmp/ is emptied by images_open(). Pulling is
 * done by the program sampan-pull, one short-lived process per pull, so the agent
 * links neither an HTTP client nor an archive library. Formats: docs/images.md.
 *
 * Loop thread only. At most IMAGES_PULLS_MAX pulls run at once, the others wait
 * in order; requests for the same name with the same credentials share one. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "common/base/status.h"

#define IMAGES_PULLS_MAX 3

/* Lists of strings end with NULL and are never NULL themselves; absent text is "". */
struct image {
	char *name;     /* As normalised: docker.io/library/busybox:1.36. */
	char *digest;   /* Of the manifest: sha256:<64 hex digits>; unique per image. */
	char *image_id; /* What a pod's status shows: docker.io/library/busybox@sha256:... */
	/* Absolute directories, topmost layer first, which is the order of overlayfs' lowerdir. */
	char **layers;
	size_t n_layers;
	char **entrypoint, **cmd;
	char **env; /* NAME=value. */
	char *user; /* "", "1000", "app", "1000:1000", ... */
	char *workdir;
	char *stop_signal;    /* "", "SIGQUIT", "3", ... */
	char **exposed_ports; /* "80/tcp". */
	uint64_t size_bytes;  /* Of its layers, unpacked. */
};

struct image *image_ref(struct image *image);
void image_unref(struct image *image);

struct images;

struct images_options {
	const char *dir;       /* Made if it is missing. */
	const char *pull_path; /* The program sampan-pull. */
	/* Registries (host[:port]) that may be spoken to over plain HTTP besides those on
	 * loopback; ends with NULL; may be NULL. */
	const char *const *insecure_registries;
	const char *ca_path; /* More CA certificates for registries; NULL: the system's only. */
};

int images_open(uv_loop_t *loop, const struct images_options *options, struct images **ret,
		struct status *st);
/* Ends running pulls; their callbacks come with ECANCELED before cb. */
void images_close(struct images *images, void (*cb)(void *arg), void *arg);

enum image_policy { IMAGE_IF_NOT_PRESENT, IMAGE_ALWAYS, IMAGE_NEVER };

/* Kubernetes' default: Always for the tag latest (or none), IfNotPresent for any other. */
enum image_policy image_policy_default(const char *name);

struct image_request {
	const char *name; /* As the pod says it. */
	enum image_policy policy;
	/* Contents of .dockerconfigjson (or .dockercfg) of each pull secret, in order; the
	 * first entry that fits the registry is used. */
	const char *const *docker_configs;
	size_t n_docker_configs;
};

/* image is valid during the call, image_ref() keeps it; NULL on failure. st then has a reason
 * of ErrImagePull, ErrImageNeverPull, InvalidImageName or RegistryUnavailable, and a sentence
 * for the user. */
typedef void images_resolve_cb(void *arg, struct image *image, const struct status *st);

struct image_pull;

/* What request->name stands for, pulled if the policy says so. cb is called exactly once: during
 * this call when nothing has to be pulled (NULL is returned then), or later on the loop. The
 * request is copied. */
struct image_pull *images_resolve(struct images *images, const struct image_request *request,
				  images_resolve_cb *cb, void *arg);
/* The callback is not called any more; a pull that nobody waits for is stopped, its finished
 * layers stay. Accepts NULL. */
void image_pull_cancel(struct image_pull *pull);
/* Bytes received so far and expected (0: not known yet). */
void image_pull_progress(const struct image_pull *pull, uint64_t *ret_done, uint64_t *ret_total);

/* The image with this digest if it is here whole, else NULL; disk only. The caller unrefs. */
struct image *images_get(struct images *images, const char *digest);
/* Names in Node.status.images: one call per image. */
typedef void images_visit_cb(void *arg, const char *const *names, uint64_t size_bytes);
void images_visit(struct images *images, images_visit_cb *cb, void *arg);

/* What to do about a disk this full. Pure. */
struct images_watermarks {
	unsigned high_percent, low_percent; /* 85 and 80 with the kubelet. */
};
/* Bytes to free so that use falls to the low mark; 0 while use is below the high one. */
uint64_t images_bytes_to_free(uint64_t used_bytes, uint64_t capacity_bytes,
			      struct images_watermarks marks);
/* Remove images that are not in in_use (digests), least recently resolved first, until want_bytes
 * are freed or none is left, and every layer no image refers to. Returns the bytes freed; the
 * files go in the background. Does nothing while a pull runs. */
uint64_t images_collect(struct images *images, const char *const *in_use, size_t n_in_use,
			uint64_t want_bytes);
