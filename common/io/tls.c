#include "common/io/tls_internal.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"

enum { CERTS_MAX = 64, ORGS_MAX = 64, SANS_MAX = 256 };

int tls_openssl_failed(struct status *st, int rc, const char *fmt, ...)
{
	char why[256] = "no reason given";
	unsigned long e = ERR_peek_last_error();
	va_list args;

	if (e != 0)
		ERR_error_string_n(e, why, sizeof(why));
	ERR_clear_error();
	va_start(args, fmt);
	autofree char *what = NULL;
	if (vasprintf(&what, fmt, args) < 0)
		abort();
	va_end(args);
	return status_set(st, rc, "%s: %s", what, why);
}

/* Keys are never encrypted; without this OpenSSL would ask on the terminal. */
static int no_password(char *to, int size, int writing, void *arg)
{
	(void)to, (void)size, (void)writing, (void)arg;
	return -1;
}

int tls_certs_of_pem(const char *pem, STACK_OF(X509) * *ret_certs, struct status *st)
{
	STACK_OF(X509) *certs = sk_X509_new_null();
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509 *cert;

	assert(certs != NULL && bio != NULL);
	while (sk_X509_num(certs) < CERTS_MAX &&
	       (cert = PEM_read_bio_X509(bio, NULL, no_password, NULL)) != NULL)
		sk_X509_push(certs, cert);
	BIO_free(bio);
	if (sk_X509_num(certs) == 0) {
		sk_X509_free(certs);
		return tls_openssl_failed(st, -EINVAL, "no certificate in the PEM text");
	}
	ERR_clear_error();
	*ret_certs = certs;
	return 0;
}

int tls_key_of_pem(const char *pem, EVP_PKEY **ret_key, struct status *st)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);

	BIO_free(bio);
	if (key == NULL)
		return tls_openssl_failed(st, -EINVAL, "no private key in the PEM text");
	*ret_key = key;
	return 0;
}

static int use_own(SSL_CTX *ssl, const char *cert_pem, const char *key_pem, struct status *st)
{
	STACK_OF(X509) *certs = NULL;
	EVP_PKEY *key = NULL;
	int rc = tls_certs_of_pem(cert_pem, &certs, st);

	if (rc < 0)
		return rc;
	X509 *leaf = sk_X509_shift(certs);
	rc = tls_key_of_pem(key_pem, &key, st);
	if (rc == 0 && SSL_CTX_use_cert_and_key(ssl, leaf, key, certs, 1) != 1)
		rc = tls_openssl_failed(st, -EINVAL, "certificate and key cannot be used together");
	X509_free(leaf);
	EVP_PKEY_free(key);
	sk_X509_pop_free(certs, X509_free);
	return rc;
}

static int trust(SSL_CTX *ssl, const char *ca_pem, bool announce, struct status *st)
{
	STACK_OF(X509) *certs = NULL;
	int rc = tls_certs_of_pem(ca_pem, &certs, st);

	if (rc < 0)
		return rc;
	for (int i = 0; i < sk_X509_num(certs); i++) {
		X509_STORE_add_cert(SSL_CTX_get_cert_store(ssl), sk_X509_value(certs, i));
		if (announce)
			SSL_CTX_add_client_CA(ssl, sk_X509_value(certs, i));
	}
	sk_X509_pop_free(certs, X509_free);
	return 0;
}

static int on_alpn(SSL *ssl, const unsigned char **ret, unsigned char *ret_len,
		   const unsigned char *offered, unsigned int len, void *arg)
{
	static const unsigned char both[] = "\x02h2\x08http/1.1";
	const struct tls_context *context = arg;
	const unsigned char *ours = context->http2 ? both : both + 3;

	(void)ssl;
	if (SSL_select_next_proto((unsigned char **)ret, ret_len, ours,
				  (unsigned int)strlen((const char *)ours), offered,
				  len) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_NOACK;
	return SSL_TLSEXT_ERR_OK;
}

/* TLS_PEER_OPTIONAL: the connection goes on. The first complaint is kept with the connection, where
 * no later and happier step of the verification can overwrite it. */
static int on_verify_leniently(int ok, X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());

	if (!ok && SSL_get_app_data(ssl) == NULL)
		SSL_set_app_data(ssl, (void *)(intptr_t)X509_STORE_CTX_get_error(store));
	return 1;
}

/* Trust nothing but the pinned certificate, which must be part of what the server sent. */
static int on_verify_pinned(X509_STORE_CTX *store, void *arg)
{
	const struct tls_context *context = arg;
	STACK_OF(X509) *sent = X509_STORE_CTX_get0_untrusted(store);
	STACK_OF(X509) *trusted = sk_X509_new_null();
	uint8_t digest[EVP_MAX_MD_SIZE];
	int ok = 0;

	for (int i = 0; i < sk_X509_num(sent); i++) {
		if (X509_digest(sk_X509_value(sent, i), EVP_sha256(), digest, NULL) == 1 &&
		    CRYPTO_memcmp(digest, context->pin_sha256, 32) == 0)
			sk_X509_push(trusted, sk_X509_value(sent, i));
	}
	if (sk_X509_num(trusted) == 0) {
		X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_UNTRUSTED);
	} else {
		X509_STORE_CTX_set0_trusted_stack(store, trusted);
		ok = X509_verify_cert(store) == 1;
	}
	sk_X509_free(trusted);
	return ok;
}

static SSL_CTX *ssl_ctx_new(const SSL_METHOD *method)
{
	SSL_CTX *ssl = SSL_CTX_new(method);

	assert(ssl != NULL);
	SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION);
	SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
					 SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_num_tickets(ssl, 0);
	return ssl;
}

static int server_ssl(struct tls_context *c, const char *cert_pem, const char *key_pem,
		      SSL_CTX **ret_ssl, struct status *st)
{
	SSL_CTX *ssl = ssl_ctx_new(TLS_server_method());
	int rc = use_own(ssl, cert_pem, key_pem, st);

	if (rc == 0 && c->ca_pem != NULL)
		rc = trust(ssl, c->ca_pem, true, st);
	if (rc < 0) {
		SSL_CTX_free(ssl);
		return rc;
	}
	if (c->peer == TLS_PEER_OPTIONAL)
		SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, on_verify_leniently);
	else if (c->peer == TLS_PEER_REQUIRED)
		SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_verify_depth(ssl, 4);
	SSL_CTX_set_alpn_select_cb(ssl, on_alpn, c);
	*ret_ssl = ssl;
	return 0;
}

static int client_ssl(struct tls_context *c, const char *cert_pem, const char *key_pem,
		      SSL_CTX **ret_ssl, struct status *st)
{
	SSL_CTX *ssl = ssl_ctx_new(TLS_client_method());
	int rc = cert_pem != NULL ? use_own(ssl, cert_pem, key_pem, st) : 0;

	if (rc == 0 && !c->pinned)
		rc = trust(ssl, c->ca_pem, false, st);
	if (rc < 0) {
		SSL_CTX_free(ssl);
		return rc;
	}
	SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_verify_depth(ssl, 4);
	if (c->pinned)
		SSL_CTX_set_cert_verify_callback(ssl, on_verify_pinned, c);
	*ret_ssl = ssl;
	return 0;
}

int tls_server_context_create(const struct tls_server_config *config,
			      struct tls_context **ret_context, struct status *st)
{
	struct tls_context *c = xcalloc(1, sizeof(*c));

	assert(config->peer == TLS_PEER_NONE || config->ca_pem != NULL);
	c->server = true;
	c->peer = config->peer;
	c->http2 = config->http2;
	c->ca_pem = config->ca_pem != NULL ? xstrdup(config->ca_pem) : NULL;

	int rc = server_ssl(c, config->cert_pem, config->key_pem, &c->ssl, st);

	if (rc < 0) {
		tls_context_destroy(c);
		return rc;
	}
	*ret_context = c;
	return 0;
}

int tls_client_context_create(const struct tls_client_config *config,
			      struct tls_context **ret_context, struct status *st)
{
	struct tls_context *c = xcalloc(1, sizeof(*c));

	assert(config->ca_pem != NULL || config->pin_sha256 != NULL);
	if (config->pin_sha256 != NULL) {
		c->pinned = true;
		memcpy(c->pin_sha256, config->pin_sha256, 32);
	} else {
		c->ca_pem = xstrdup(config->ca_pem);
	}

	int rc = client_ssl(c, config->cert_pem, config->key_pem, &c->ssl, st);

	if (rc < 0) {
		tls_context_destroy(c);
		return rc;
	}
	*ret_context = c;
	return 0;
}

int tls_context_replace(struct tls_context *c, const char *cert_pem, const char *key_pem,
			struct status *st)
{
	SSL_CTX *ssl = NULL;
	int rc = c->server ? server_ssl(c, cert_pem, key_pem, &ssl, st)
			   : client_ssl(c, cert_pem, key_pem, &ssl, st);

	if (rc < 0)
		return rc;
	SSL_CTX_free(c->ssl);
	c->ssl = ssl;
	return 0;
}

void tls_context_destroy(struct tls_context *c)
{
	if (c == NULL)
		return;
	SSL_CTX_free(c->ssl);
	free(c->ca_pem);
	free(c);
}

/* The text of one name entry as UTF-8, or NULL if it cannot be a C string. */
static char *text_of(const ASN1_STRING *s)
{
	unsigned char *utf8 = NULL;
	int n = ASN1_STRING_to_UTF8(&utf8, s);
	char *text = n >= 0 && memchr(utf8, 0, (size_t)n) == NULL
			     ? xstrndup((char *)utf8, (size_t)n)
			     : NULL;

	OPENSSL_free(utf8);
	return text;
}

static char *text_of_san(const GENERAL_NAME *name)
{
	char ip[INET6_ADDRSTRLEN];

	if (name->type == GEN_DNS)
		return text_of(name->d.dNSName);
	if (name->type != GEN_IPADD)
		return NULL;

	int n = ASN1_STRING_length(name->d.iPAddress);
	const void *addr = ASN1_STRING_get0_data(name->d.iPAddress);

	if (n != 4 && n != 16)
		return NULL;
	return xstrdup(inet_ntop(n == 4 ? AF_INET : AF_INET6, addr, ip, sizeof(ip)));
}

static int64_t seconds_of(const ASN1_TIME *t)
{
	struct tm tm;

	return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static bool read_subject(X509 *cert, struct tls_identity *id)
{
	X509_NAME *name = X509_get_subject_name(cert);
	char **orgs = NULL;
	size_t cap = 0;

	for (int i = 0; i < X509_NAME_entry_count(name); i++) {
		X509_NAME_ENTRY *entry = X509_NAME_get_entry(name, i);
		int nid = OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry));

		if (nid != NID_commonName && nid != NID_organizationName)
			continue;
		char *text = text_of(X509_NAME_ENTRY_get_data(entry));

		if (text == NULL || id->n_orgs == ORGS_MAX) {
			free(text);
			return false;
		}
		if (nid == NID_commonName) {
			free((char *)id->cn);
			id->cn = text;
			continue;
		}
		array_grow(orgs, id->n_orgs, cap);
		orgs[id->n_orgs++] = text;
		id->orgs = (const char *const *)orgs;
	}
	return true;
}

static void read_sans(X509 *cert, struct tls_identity *id)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	char **sans = NULL;
	size_t cap = 0;

	for (int i = 0; i < sk_GENERAL_NAME_num(names) && id->n_sans < SANS_MAX; i++) {
		char *text = text_of_san(sk_GENERAL_NAME_value(names, i));

		if (text == NULL)
			continue;
		array_grow(sans, id->n_sans, cap);
		sans[id->n_sans++] = text;
		id->sans = (const char *const *)sans;
	}
	GENERAL_NAMES_free(names);
}

struct tls_identity *tls_identity_of_x509_unsigned(X509 *cert)
{
	struct tls_identity *id = xcalloc(1, sizeof(*id));

	id->refs = 1;
	if (!read_subject(cert, id)) {
		tls_identity_unref(id);
		return NULL;
	}
	if (id->cn == NULL)
		id->cn = xstrdup("");
	read_sans(cert, id);
	id->not_before_s = seconds_of(X509_get0_notBefore(cert));
	id->not_after_s = seconds_of(X509_get0_notAfter(cert));
	ERR_clear_error();
	return id;
}

struct tls_identity *tls_identity_of_x509(X509 *cert)
{
	struct tls_identity *id = tls_identity_of_x509_unsigned(cert);

	if (id != NULL && X509_digest(cert, EVP_sha256(), id->sha256, NULL) != 1)
		abort();
	return id;
}

struct tls_identity *tls_identity_ref(struct tls_identity *id)
{
	if (id != NULL)
		id->refs++;
	return id;
}

void tls_identity_unref(struct tls_identity *id)
{
	if (id == NULL)
		return;
	assert(id->refs > 0);
	if (--id->refs > 0)
		return;
	for (size_t i = 0; i < id->n_orgs; i++)
		free((char *)id->orgs[i]);
	for (size_t i = 0; i < id->n_sans; i++)
		free((char *)id->sans[i]);
	free((void *)id->orgs);
	free((void *)id->sans);
	free((char *)id->cn);
	free(id);
}

bool tls_identity_in_org(const struct tls_identity *id, const char *org)
{
	for (size_t i = 0; id != NULL && i < id->n_orgs; i++) {
		if (strcmp(id->orgs[i], org) == 0)
			return true;
	}
	return false;
}
