#include "agent/images/pull/digest.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "common/base/cleanup.h"

void digest_init(struct digest *d)
{
	d->ctx = EVP_MD_CTX_new();
	assert(d->ctx != NULL);
	int ok = EVP_DigestInit_ex(d->ctx, EVP_sha256(), NULL);

	assert(ok == 1);
}

void digest_fini(struct digest *d)
{
	EVP_MD_CTX_free(d->ctx);
	d->ctx = NULL;
}

void digest_add(struct digest *d, const void *data, size_t n)
{
	int ok = EVP_DigestUpdate(d->ctx, data, n);

	assert(ok == 1);
}

void digest_end(struct digest *d, char ret[DIGEST_SIZE])
{
	unsigned char raw[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	int ok = EVP_DigestFinal_ex(d->ctx, raw, &n);

	assert(ok == 1);
	strcpy(ret, "sha256:");
	for (unsigned i = 0; i < n; i++)
		snprintf(ret + 7 + 2 * (size_t)i, 3, "%02x", raw[i]);
}

void digest_of(const void *data, size_t n, char ret[DIGEST_SIZE])
{
	auto_with(digest_fini) struct digest d = { 0 };

	digest_init(&d);
	digest_add(&d, data, n);
	digest_end(&d, ret);
}
