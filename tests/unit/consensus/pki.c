#include "tests/unit/consensus/pki.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"

static char *pem_text(BIO *bio)
{
	char *data, *text;
	long n = BIO_get_mem_data(bio, &data);

	text = xstrndup(data, (size_t)n);
	BIO_free(bio);
	return text;
}

static char *cert_text(X509 *x)
{
	BIO *bio = BIO_new(BIO_s_mem());

	PEM_write_bio_X509(bio, x);
	return pem_text(bio);
}

static X509 *make_cert(struct pki *p, EVP_PKEY *key, const char *cn, long valid_s)
{
	static long serial;
	X509 *x = X509_new();
	X509_NAME *name = X509_NAME_new();

	X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_ASC, (const unsigned char *)cn,
				   -1, -1, 0);
	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), ++serial);
	X509_gmtime_adj(X509_getm_notBefore(x), -3600);
	X509_gmtime_adj(X509_getm_notAfter(x), valid_s);
	X509_set_subject_name(x, name);
	X509_set_issuer_name(x, p->cert != NULL ? X509_get_subject_name(p->cert) : name);
	X509_set_pubkey(x, key);
	if (p->cert == NULL) {
		X509_EXTENSION *ca = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints,
							 "critical,CA:TRUE");

		X509_add_ext(x, ca, -1);
		X509_EXTENSION_free(ca);
	}
	X509_sign(x, p->cert != NULL ? p->key : key, EVP_sha256());
	X509_NAME_free(name);
	return x;
}

void pki_init(struct pki *p)
{
	*p = (struct pki){ 0 };
	p->key = EVP_EC_gen("P-256");
	p->cert = make_cert(p, p->key, "test authority", 86400);
	p->cert_pem = cert_text(p->cert);
}

void pki_fini(struct pki *p)
{
	EVP_PKEY_free(p->key);
	X509_free(p->cert);
	free(p->cert_pem);
}

void pki_issue(struct pki *p, const char *cn, long valid_s, char **ret_cert, char **ret_key)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = make_cert(p, key, cn, valid_s);
	BIO *bio = BIO_new(BIO_s_mem());

	PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
	*ret_key = pem_text(bio);
	*ret_cert = cert_text(x);
	X509_free(x);
	EVP_PKEY_free(key);
}
