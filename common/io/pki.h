/* Keys, certificates and requests, all as PEM text.
 *
 * Keys are P-256. Every text a function returns is allocated for the caller, who
 * frees it. Time comes from outside, in seconds since 1970. Serial numbers and
 * keys come from OpenSSL's random generator. Nothing here keeps state; any thread.
 *
 * Conventions of the cluster: every master's server certificate carries the DNS
 * name TLS_MASTER_NAME (tls.h) beside its addresses, because our own programs
 * dial masters by address and ask for that name. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/status.h"
#include "common/io/tls.h"

enum pki_usage {
	PKI_SERVER = 1,
	PKI_CLIENT = 2,
};

struct pki_subject {
	const char *cn;
	const char *const *orgs;
	size_t n_orgs;
	/* DNS names and IP addresses; told apart by their form. */
	const char *const *sans;
	size_t n_sans;
};

struct pki_terms {
	unsigned usages; /* Of enum pki_usage, or-ed. */
	int64_t not_before_s, not_after_s;
};

int pki_key_create(char **ret_key_pem, struct status *st);
/* A self-signed CA that may sign leaf certificates only. */
int pki_ca_create(const char *key_pem, const char *cn, int64_t not_before_s, int64_t not_after_s,
		  char **ret_cert_pem, struct status *st);
int pki_csr_create(const char *key_pem, const struct pki_subject *subject, char **ret_csr_pem,
		   struct status *st);
/* What a request asks for, after checking that it is signed by the key it names; the caller drops
 * the reference. Validity and digest of the identity are zero. */
int pki_csr_parse(const char *csr_pem, struct tls_identity **ret_asked, struct status *st);
/* A certificate for the key of the request; subject and terms are the signer's choice alone. */
int pki_csr_sign(const char *ca_cert_pem, const char *ca_key_pem, const char *csr_pem,
		 const struct pki_subject *subject, const struct pki_terms *terms,
		 char **ret_cert_pem, struct status *st);
/* The same for a key at hand. */
int pki_cert_create(const char *ca_cert_pem, const char *ca_key_pem, const char *key_pem,
		    const struct pki_subject *subject, const struct pki_terms *terms,
		    char **ret_cert_pem, struct status *st);
/* Who the first certificate of the text belongs to; the caller drops the reference. */
int pki_cert_parse(const char *cert_pem, struct tls_identity **ret_id, struct status *st);
/* Whether the first certificate is good for the usage at that time, by one of the CAs. */
int pki_cert_verify(const char *cert_pem, const char *ca_pem, enum pki_usage usage, int64_t now_s,
		    struct status *st);
/* SHA-256 over the DER of the first certificate: what join tokens pin. */
int pki_cert_sha256(const char *cert_pem, uint8_t ret_digest[32], struct status *st);
/* Whether certificate and key belong together. */
bool pki_key_matches(const char *cert_pem, const char *key_pem);
