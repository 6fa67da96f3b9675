/* What tls.c, tls_stream.c and pki.c share and nobody else includes: OpenSSL's types. */
#pragma once

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "common/io/tls.h"

struct tls_context {
	SSL_CTX *ssl;
	bool server, pinned;
	uint8_t pin_sha256[32];
	/* Kept for replacing the certificate. */
	char *ca_pem;
	enum tls_peer peer;
	bool http2;
};

/* NULL if the subject holds something no identity may hold (a NUL, more than 64 organizations). */
struct tls_identity *tls_identity_of_x509(X509 *cert);
/* The same without the digest, which a certificate that is not signed yet has not. */
struct tls_identity *tls_identity_of_x509_unsigned(X509 *cert);

/* Record OpenSSL's last complaint after our own words and empty its queue. Returns rc. */
int tls_openssl_failed(struct status *st, int rc, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Every certificate of the text, at most 64. *ret_certs is the caller's. */
int tls_certs_of_pem(const char *pem, STACK_OF(X509) * *ret_certs, struct status *st);
int tls_key_of_pem(const char *pem, EVP_PKEY **ret_key, struct status *st);
