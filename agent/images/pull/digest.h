/* A running SHA-256 that ends as "sha256:<hex>". Zero it, then add; fini frees. One thread. */
#pragma once

#include <openssl/evp.h>
#include <stddef.h>

#include "agent/images/reference.h"

struct digest {
	EVP_MD_CTX *ctx;
};

void digest_init(struct digest *d);
void digest_fini(struct digest *d);
void digest_add(struct digest *d, const void *data, size_t n);
/* Once. */
void digest_end(struct digest *d, char ret[DIGEST_SIZE]);
void digest_of(const void *data, size_t n, char ret[DIGEST_SIZE]);
