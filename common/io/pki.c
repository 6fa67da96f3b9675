#include "common/io/pki.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/io/tls_internal.h"

enum { PEM_MAX = 64 * 1024 };

static void free_x509(X509 **p)
{
	X509_free(*p);
}

static void free_req(X509_REQ **p)
{
	X509_REQ_free(*p);
}

static void free_key(EVP_PKEY **p)
{
	EVP_PKEY_free(*p);
}

static char *text_of_bio(BIO *bio)
{
	char *data;
	long n = BIO_get_mem_data(bio, &data);
	char *text = xstrndup(data, (size_t)n);

	BIO_free(bio);
	return text;
}

static char *pem_of_cert(X509 *cert)
{
	BIO *bio = BIO_new(BIO_s_mem());

	if (PEM_write_bio_X509(bio, cert) != 1)
		abort();
	return text_of_bio(bio);
}

static int first_cert(const char *pem, X509 **ret_cert, struct status *st)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);

	BIO_free(bio);
	if (cert == NULL)
		return tls_openssl_failed(st, -EINVAL, "no certificate in the PEM text");
	*ret_cert = cert;
	return 0;
}

int pki_key_create(char **ret_key_pem, struct status *st)
{
	auto_with(free_key) EVP_PKEY *key = EVP_EC_gen("P-256");

	if (key == NULL)
		return tls_openssl_failed(st, -EIO, "cannot make a P-256 key");

	BIO *bio = BIO_new(BIO_s_mem());

	if (PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1)
		abort();
	*ret_key_pem = text_of_bio(bio);
	return 0;
}

static int add_text(X509_NAME *name, const char *field, const char *text, struct status *st)
{
	if (X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, (const unsigned char *)text, -1,
				       -1, 0) != 1)
		return tls_openssl_failed(st, -EINVAL, "certificate subject %s=%s", field, text);
	return 0;
}

static int fill_name(X509_NAME *name, const struct pki_subject *subject, struct status *st)
{
	int rc = 0;

	for (size_t i = 0; i < subject->n_orgs && rc == 0; i++)
		rc = add_text(name, "O", subject->orgs[i], st);
	return rc == 0 ? add_text(name, "CN", subject->cn, st) : rc;
}

static GENERAL_NAME *general_name(const char *san)
{
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_OCTET_STRING *text = ASN1_OCTET_STRING_new();
	uint8_t addr[16];
	int n = inet_pton(AF_INET, san, addr) == 1    ? 4
		: inet_pton(AF_INET6, san, addr) == 1 ? 16
						      : 0;

	if (n > 0) {
		ASN1_OCTET_STRING_set(text, addr, n);
		GENERAL_NAME_set0_value(name, GEN_IPADD, text);
	} else {
		ASN1_STRING *ia5 = ASN1_IA5STRING_new();

		ASN1_OCTET_STRING_free(text);
		ASN1_STRING_set(ia5, san, -1);
		GENERAL_NAME_set0_value(name, GEN_DNS, ia5);
	}
	return name;
}

static GENERAL_NAMES *general_names(const struct pki_subject *subject)
{
	GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();

	for (size_t i = 0; i < subject->n_sans; i++)
		sk_GENERAL_NAME_push(names, general_name(subject->sans[i]));
	return names;
}

static int add_extension(X509 *cert, X509 *issuer, int nid, const char *value, struct status *st)
{
	X509V3_CTX ctx;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);

	if (ext == NULL)
		return tls_openssl_failed(st, -EINVAL, "certificate extension %s", OBJ_nid2sn(nid));
	X509_add_ext(cert, ext, -1);
	X509_EXTENSION_free(ext);
	return 0;
}

static X509 *blank_cert(EVP_PKEY *key, int64_t not_before_s, int64_t not_after_s)
{
	X509 *cert = X509_new();
	uint8_t serial[16];

	if (RAND_bytes(serial, sizeof(serial)) != 1)
		abort();
	serial[0] &= 0x7f;
	BIGNUM *n = BN_bin2bn(serial, sizeof(serial), NULL);
	BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert));
	BN_free(n);
	X509_set_version(cert, X509_VERSION_3);
	X509_set_pubkey(cert, key);
	ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)not_before_s);
	ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)not_after_s);
	return cert;
}

int pki_ca_create(const char *key_pem, const char *cn, int64_t not_before_s, int64_t not_after_s,
		  char **ret_cert_pem, struct status *st)
{
	auto_with(free_key) EVP_PKEY *key = NULL;
	auto_with(free_x509) X509 *cert = NULL;
	struct pki_subject subject = { .cn = cn };
	int rc = tls_key_of_pem(key_pem, &key, st);

	if (rc < 0)
		return rc;
	cert = blank_cert(key, not_before_s, not_after_s);
	rc = fill_name(X509_get_subject_name(cert), &subject, st);
	X509_set_issuer_name(cert, X509_get_subject_name(cert));
	rc = rc < 0 ? rc
		    : add_extension(cert, cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0",
				    st);
	rc = rc < 0 ? rc
		    : add_extension(cert, cert, NID_key_usage,
				    "critical,digitalSignature,keyCertSign,cRLSign", st);
	rc = rc < 0 ? rc : add_extension(cert, cert, NID_subject_key_identifier, "hash", st);
	if (rc < 0)
		return rc;
	if (X509_sign(cert, key, EVP_sha256()) == 0)
		return tls_openssl_failed(st, -EINVAL, "cannot sign the CA certificate");
	*ret_cert_pem = pem_of_cert(cert);
	return 0;
}

static int add_leaf_extensions(X509 *cert, X509 *ca, const struct pki_subject *subject,
			       unsigned usages, struct status *st)
{
	const char *extended = usages == (PKI_SERVER | PKI_CLIENT) ? "serverAuth,clientAuth"
			       : usages == PKI_SERVER              ? "serverAuth"
								   : "clientAuth";
	int rc = add_extension(cert, ca, NID_basic_constraints, "critical,CA:FALSE", st);

	rc = rc < 0 ? rc : add_extension(cert, ca, NID_key_usage, "critical,digitalSignature", st);
	rc = rc < 0 ? rc : add_extension(cert, ca, NID_ext_key_usage, extended, st);
	rc = rc < 0 ? rc : add_extension(cert, ca, NID_authority_key_identifier, "keyid", st);
	if (rc < 0 || subject->n_sans == 0)
		return rc;

	GENERAL_NAMES *names = general_names(subject);

	if (X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) != 1)
		rc = tls_openssl_failed(st, -EINVAL, "certificate alternative names of %s",
					subject->cn);
	GENERAL_NAMES_free(names);
	return rc;
}

static int sign_leaf(const char *ca_cert_pem, const char *ca_key_pem, EVP_PKEY *key,
		     const struct pki_subject *subject, const struct pki_terms *terms,
		     char **ret_cert_pem, struct status *st)
{
	auto_with(free_x509) X509 *ca = NULL;
	auto_with(free_x509) X509 *cert = NULL;
	auto_with(free_key) EVP_PKEY *ca_key = NULL;
	int rc = first_cert(ca_cert_pem, &ca, st);

	assert(terms->usages != 0);
	rc = rc < 0 ? rc : tls_key_of_pem(ca_key_pem, &ca_key, st);
	if (rc < 0)
		return status_prefix(st, "the CA");
	cert = blank_cert(key, terms->not_before_s, terms->not_after_s);
	X509_set_issuer_name(cert, X509_get_subject_name(ca));
	rc = fill_name(X509_get_subject_name(cert), subject, st);
	rc = rc < 0 ? rc : add_leaf_extensions(cert, ca, subject, terms->usages, st);
	if (rc < 0)
		return rc;
	if (X509_sign(cert, ca_key, EVP_sha256()) == 0)
		return tls_openssl_failed(st, -EINVAL, "cannot sign the certificate of %s",
					  subject->cn);
	*ret_cert_pem = pem_of_cert(cert);
	return 0;
}

int pki_cert_create(const char *ca_cert_pem, const char *ca_key_pem, const char *key_pem,
		    const struct pki_subject *subject, const struct pki_terms *terms,
		    char **ret_cert_pem, struct status *st)
{
	auto_with(free_key) EVP_PKEY *key = NULL;
	int rc = tls_key_of_pem(key_pem, &key, st);

	return rc < 0 ? rc
		      : sign_leaf(ca_cert_pem, ca_key_pem, key, subject, terms, ret_cert_pem, st);
}

int pki_csr_create(const char *key_pem, const struct pki_subject *subject, char **ret_csr_pem,
		   struct status *st)
{
	auto_with(free_key) EVP_PKEY *key = NULL;
	auto_with(free_req) X509_REQ *req = X509_REQ_new();
	int rc = tls_key_of_pem(key_pem, &key, st);

	rc = rc < 0 ? rc : fill_name(X509_REQ_get_subject_name(req), subject, st);
	if (rc < 0)
		return rc;
	X509_REQ_set_pubkey(req, key);
	if (subject->n_sans > 0) {
		STACK_OF(X509_EXTENSION) *exts = NULL;
		GENERAL_NAMES *names = general_names(subject);

		X509V3_add1_i2d(&exts, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT);
		X509_REQ_add_extensions(req, exts);
		sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);
		GENERAL_NAMES_free(names);
	}
	if (X509_REQ_sign(req, key, EVP_sha256()) == 0)
		return tls_openssl_failed(st, -EINVAL, "cannot sign the request of %s",
					  subject->cn);

	BIO *bio = BIO_new(BIO_s_mem());

	if (PEM_write_bio_X509_REQ(bio, req) != 1)
		abort();
	*ret_csr_pem = text_of_bio(bio);
	return 0;
}

/* A request whose signature shows that the sender holds the key. *ret_key is borrowed from it. */
static int read_csr(const char *csr_pem, X509_REQ **ret_req, EVP_PKEY **ret_key, struct status *st)
{
	if (strnlen(csr_pem, PEM_MAX + 1) > PEM_MAX)
		return status_set(st, -EFBIG, "certificate request of more than %d bytes", PEM_MAX);

	BIO *bio = BIO_new_mem_buf(csr_pem, -1);
	auto_with(free_req) X509_REQ *req = PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL);

	BIO_free(bio);
	if (req == NULL)
		return tls_openssl_failed(st, -EINVAL, "no certificate request in the PEM text");

	EVP_PKEY *key = X509_REQ_get0_pubkey(req);

	if (key == NULL || X509_REQ_verify(req, key) != 1)
		return tls_openssl_failed(st, -EINVAL,
					  "the certificate request's signature is wrong");
	*ret_key = key;
	*ret_req = steal_ptr(&req);
	return 0;
}

int pki_csr_parse(const char *csr_pem, struct tls_identity **ret_asked, struct status *st)
{
	auto_with(free_req) X509_REQ *req = NULL;
	auto_with(free_x509) X509 *shape = NULL;
	EVP_PKEY *key;
	int rc = read_csr(csr_pem, &req, &key, st);

	if (rc < 0)
		return rc;

	/* Read through a certificate of the same content, so that both are read by one function. */
	STACK_OF(X509_EXTENSION) *exts = X509_REQ_get_extensions(req);

	shape = X509_new();
	X509_set_subject_name(shape, X509_REQ_get_subject_name(req));
	for (int i = 0; i < sk_X509_EXTENSION_num(exts); i++)
		X509_add_ext(shape, sk_X509_EXTENSION_value(exts, i), -1);
	sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);
	ASN1_TIME_set(X509_getm_notBefore(shape), 0);
	ASN1_TIME_set(X509_getm_notAfter(shape), 0);

	struct tls_identity *id = tls_identity_of_x509_unsigned(shape);

	if (id == NULL)
		return status_set(st, -EINVAL, "the certificate request's subject cannot be read");
	*ret_asked = id;
	return 0;
}

int pki_csr_sign(const char *ca_cert_pem, const char *ca_key_pem, const char *csr_pem,
		 const struct pki_subject *subject, const struct pki_terms *terms,
		 char **ret_cert_pem, struct status *st)
{
	auto_with(free_req) X509_REQ *req = NULL;
	EVP_PKEY *key;
	int rc = read_csr(csr_pem, &req, &key, st);

	return rc < 0 ? rc
		      : sign_leaf(ca_cert_pem, ca_key_pem, key, subject, terms, ret_cert_pem, st);
}

int pki_cert_parse(const char *cert_pem, struct tls_identity **ret_id, struct status *st)
{
	auto_with(free_x509) X509 *cert = NULL;
	int rc = first_cert(cert_pem, &cert, st);

	if (rc < 0)
		return rc;
	*ret_id = tls_identity_of_x509(cert);
	if (*ret_id == NULL)
		return status_set(st, -EINVAL, "the certificate's subject cannot be read");
	return 0;
}

int pki_cert_verify(const char *cert_pem, const char *ca_pem, enum pki_usage usage, int64_t now_s,
		    struct status *st)
{
	auto_with(free_x509) X509 *cert = NULL;
	STACK_OF(X509) *cas = NULL;
	int rc = first_cert(cert_pem, &cert, st);

	rc = rc < 0 ? rc : tls_certs_of_pem(ca_pem, &cas, st);
	if (rc < 0)
		return rc;

	X509_STORE_CTX *ctx = X509_STORE_CTX_new();

	X509_STORE_CTX_init(ctx, NULL, cert, NULL);
	X509_STORE_CTX_set0_trusted_stack(ctx, cas);
	X509_STORE_CTX_set_purpose(ctx, usage == PKI_SERVER ? X509_PURPOSE_SSL_SERVER
							    : X509_PURPOSE_SSL_CLIENT);
	X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(ctx), (time_t)now_s);
	if (X509_verify_cert(ctx) != 1)
		rc = status_set(st, -EACCES, "certificate: %s",
				X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
	X509_STORE_CTX_free(ctx);
	sk_X509_pop_free(cas, X509_free);
	ERR_clear_error();
	return rc;
}

int pki_cert_sha256(const char *cert_pem, uint8_t ret_digest[32], struct status *st)
{
	auto_with(free_x509) X509 *cert = NULL;
	int rc = first_cert(cert_pem, &cert, st);

	if (rc < 0)
		return rc;
	if (X509_digest(cert, EVP_sha256(), ret_digest, NULL) != 1)
		return tls_openssl_failed(st, -EINVAL, "no digest of the certificate");
	return 0;
}

bool pki_key_matches(const char *cert_pem, const char *key_pem)
{
	auto_with(free_x509) X509 *cert = NULL;
	auto_with(free_key) EVP_PKEY *key = NULL;
	bool same = first_cert(cert_pem, &cert, NULL) == 0 &&
		    tls_key_of_pem(key_pem, &key, NULL) == 0 &&
		    X509_check_private_key(cert, key) == 1;

	ERR_clear_error();
	return same;
}
