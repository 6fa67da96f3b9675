/* A throw-away certificate authority in memory, for tests and benchmarks. */
#pragma once

#include <stdint.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "controlplane/consensus/consensus.h"

struct pki {
	EVP_PKEY *key;
	X509 *cert;
	char *cert_pem;
};

void pki_init(struct pki *p);
void pki_fini(struct pki *p);
/* A certificate for cn, valid from now - 1 h to now + valid_s. PEM texts are malloc'ed. */
void pki_issue(struct pki *p, const char *cn, long valid_s, char **ret_cert, char **ret_key);
