/* One registry as seen by one pull: HTTP(S), who we are there, and its answers.
 *
 * Speaks the distribution API version 2. Plain HTTP is used only for registries on loopback and
 * those named insecure, and only after TLS found nobody who speaks it. A 401
 * is answered once with Basic credentials or a fresh Bearer token, whatever the registry asks for.
 * Blocking; one thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/images/reference.h"
#include "common/base/buf.h"

struct registry_options {
	const char *host;       /* host[:port] */
	const char *repository; /* The scope of tokens. */
	const char *auth;       /* base64(user:password), or NULL. */
	bool insecure;          /* Plain HTTP is allowed. */
	const char *ca_path;    /* NULL: the system's CAs only. */
	unsigned connect_timeout_s;
};

struct registry;

struct registry *registry_create(const struct registry_options *options);
void registry_destroy(struct registry *r);

/* GET /v2/<repository>/<path>; at most limit bytes. ENOENT: 404. EACCES: 401 or 403. ECONNREFUSED:
 * no registry there. */
int registry_get(struct registry *r, const char *path, const char *accept, size_t limit,
		 struct buf *ret, struct status *st);

/* Bytes as they arrive; a negative errno ends the transfer with it. */
typedef int registry_data_fn(void *arg, const void *data, size_t n);

/* A blob, in order, each byte once: a broken connection is continued where it
 * broke, at most 5 times without progress. size_bytes is what the manifest promised; more is an
 * error, and so is less. */
int registry_stream(struct registry *r, const char *digest, uint64_t size_bytes,
		    registry_data_fn *on_data, void *arg, struct status *st);

/* The scheme word and one parameter of a WWW-Authenticate header. Pure. NULL: not there; free() it.
 */
bool challenge_is(const char *header, const char *scheme);
char *challenge_parameter(const char *header, const char *name);
