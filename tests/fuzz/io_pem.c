/* Certificates, requests and keys in PEM, and the same as bare DER. */
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "common/base/alloc.h"
#include "common/base/buf.h"
#include "common/io/jwt.h"
#include "common/io/pki.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_all(const char *pem)
{
	struct tls_identity *id;
	struct jwt_key *key;
	uint8_t digest[32];

	if (pki_cert_parse(pem, &id, NULL) == 0) {
		tls_identity_in_org(id, "system:masters");
		if (strlen(id->cn) > 65536)
			abort();
		tls_identity_unref(id);
	}
	if (pki_csr_parse(pem, &id, NULL) == 0)
		tls_identity_unref(id);
	if (jwt_key_create(pem, &key, NULL) == 0)
		jwt_key_destroy(key);
	pki_cert_sha256(pem, digest, NULL);
	pki_cert_verify(pem, pem, PKI_CLIENT, 1700000000, NULL);
	pki_key_matches(pem, pem);
}

static void wrap(const char *label, const uint8_t *der, size_t n)
{
	struct buf pem = { 0 };
	unsigned char *text = xmalloc(n * 4 / 3 + 8);

	EVP_EncodeBlock(text, der, (int)n);
	buf_printf(&pem, "-----BEGIN %s-----\n", label);
	for (size_t at = 0, len = strlen((char *)text); at < len; at += 64)
		buf_printf(&pem, "%.64s\n", text + at);
	buf_printf(&pem, "-----END %s-----\n", label);
	read_all(buf_cstr(&pem));
	buf_fini(&pem);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = xstrndup((const char *)data, size);

	read_all(text);
	if (size < 8192) {
		wrap("CERTIFICATE", data, size);
		wrap("CERTIFICATE REQUEST", data, size);
	}
	free(text);
	return 0;
}
