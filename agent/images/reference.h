/* Names of images: [domain[:port]/]repository[:tag][@digest].
 *
 * A name without a domain is one of docker.io, and one of a single word there is
 * library/<word>. A tag is kept beside a digest but the digest decides. Pure. */
#pragma once

#include <stdbool.h>

#include "common/base/status.h"

#define REFERENCE_MAX 255 /* Of domain and repository together. */
#define DIGEST_SIZE 72    /* "sha256:", 64 hex digits, a terminator. */

struct reference {
	char domain[REFERENCE_MAX + 1];
	char repository[REFERENCE_MAX + 1];
	char tag[129]; /* "latest" where neither tag nor digest was named; "" with a digest only. */
	char digest[DIGEST_SIZE]; /* "" for none. */
};

/* EINVAL with the reason InvalidImageName. */
int reference_parse(const char *name, struct reference *ret, struct status *st);
/* domain/repository[:tag][@digest]; free() it. */
char *reference_text(const struct reference *ref);
/* host[:port] of the registry's API. */
const char *reference_registry(const struct reference *ref);
/* "sha256:" and 64 lower-case hex digits. */
bool digest_is_valid(const char *text);
