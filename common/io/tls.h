/* TLS contexts, and who the other side is.
 *
 * A context is made from PEM texts and is used for every connection of one
 * listener or one client. TLS 1.2 and 1.3 only, 1.3 preferred; no renegotiation,
 * no compression, no resumption. Its certificate may be replaced while it is in
 * use: connections that are open keep the old one. A context must outlive the
 * handshakes made with it. Loop thread only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/status.h"

/* The name in the certificate of every master, beside its addresses. Our own programs dial masters
 * by address and ask for this name, so a node's certificate can never pass for a master's. */
#define TLS_MASTER_NAME "sampan-master"

enum tls_peer {
	TLS_PEER_NONE, /* Clients are not asked for a certificate. */
	/* Asked for one. A certificate that does not verify leaves the connection open, without an
	 * identity and with an explanation, so that the API can answer 401. */
	TLS_PEER_OPTIONAL,
	TLS_PEER_REQUIRED, /* No connection without a certificate that verifies. */
};

struct tls_server_config {
	const char *cert_pem, *key_pem; /* The certificate may be followed by its chain. */
	const char *ca_pem; /* Verifies clients; several certificates may follow each other. */
	enum tls_peer peer;
	bool http2; /* Offer h2 beside http/1.1. */
};

struct tls_client_config {
	/* Trust: the CAs, or with pin_sha256 whichever certificate of the presented chain has
	 * this SHA-256 (32 bytes, over its DER); the rest of the chain must verify against it. */
	const char *ca_pem;
	const uint8_t *pin_sha256;
	const char *cert_pem, *key_pem; /* Our own; NULL: none. */
};

struct tls_context;

int tls_server_context_create(const struct tls_server_config *config,
			      struct tls_context **ret_context, struct status *st);
int tls_client_context_create(const struct tls_client_config *config,
			      struct tls_context **ret_context, struct status *st);
void tls_context_destroy(struct tls_context *context);
/* New connections show this certificate. On an error the old one stays. */
int tls_context_replace(struct tls_context *context, const char *cert_pem, const char *key_pem,
			struct status *st);

/* Who a verified certificate belongs to. Counted and never changed. */
struct tls_identity {
	unsigned refs;
	const char *cn;          /* The common name; "" when there is none. */
	const char *const *orgs; /* Organizations, in the order of the certificate. */
	size_t n_orgs;
	const char *const *sans; /* DNS names and IP addresses in text. */
	size_t n_sans;
	int64_t not_before_s, not_after_s; /* Seconds since 1970. */
	uint8_t sha256[32];                /* Of the certificate's DER. */
};

struct tls_identity *tls_identity_ref(struct tls_identity *id);
void tls_identity_unref(struct tls_identity *id);
bool tls_identity_in_org(const struct tls_identity *id, const char *org);
