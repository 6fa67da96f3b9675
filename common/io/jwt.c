#include "common/io/jwt.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/io/tls_internal.h"

enum { HALF_BYTES = 32, SIGNATURE_BYTES = 2 * HALF_BYTES };

struct jwt_key {
	EVP_PKEY *key;
	char *id;
	char *header; /* The encoded header of every token it signs. */
};

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void base64url_put(struct buf *to, const void *data, size_t n)
{
	const uint8_t *from = data;
	uint32_t bits = 0;
	unsigned n_bits = 0;

	for (size_t i = 0; i < n; i++) {
		bits = bits << 8 | from[i];
		for (n_bits += 8; n_bits >= 6; n_bits -= 6)
			buf_put_byte(to, (uint8_t)alphabet[bits >> (n_bits - 6) & 63]);
	}
	if (n_bits > 0)
		buf_put_byte(to, (uint8_t)alphabet[bits << (6 - n_bits) & 63]);
}

int base64url_decode(const char *text, size_t n, struct buf *to)
{
	uint32_t bits = 0;
	unsigned n_bits = 0;

	for (size_t i = 0; i < n; i++) {
		const char *at = text[i] != '\0' ? strchr(alphabet, text[i]) : NULL;

		if (at == NULL)
			return -EINVAL;
		bits = bits << 6 | (uint32_t)(at - alphabet);
		n_bits += 6;
		if (n_bits >= 8) {
			n_bits -= 8;
			buf_put_byte(to, (uint8_t)(bits >> n_bits));
		}
	}
	/* What is left over must be less than a character, and zero: one text per value. */
	return n_bits >= 6 || (bits & ((1u << n_bits) - 1)) != 0 ? -EINVAL : 0;
}

static EVP_PKEY *read_key(const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	EVP_PKEY *key = strstr(pem, "PUBLIC KEY") != NULL
				? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL)
				: NULL;

	BIO_free(bio);
	if (key == NULL && tls_key_of_pem(pem, &key, NULL) < 0)
		return NULL;
	return key;
}

static bool is_p256(EVP_PKEY *key)
{
	char group[32];

	return EVP_PKEY_is_a(key, "EC") &&
	       EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) == 1 &&
	       strcmp(group, "prime256v1") == 0;
}

static void name_key(struct jwt_key *k)
{
	uint8_t digest[EVP_MAX_MD_SIZE], *der = NULL;
	struct buf id = { 0 }, header = { 0 };
	int n = i2d_PUBKEY(k->key, &der);

	if (n <= 0 || EVP_Digest(der, (size_t)n, digest, NULL, EVP_sha256(), NULL) != 1)
		abort();
	OPENSSL_free(der);
	base64url_put(&id, digest, 32);
	k->id = xstrdup(buf_cstr(&id));
	autofree char *json = xasprintf("{\"alg\":\"ES256\",\"kid\":\"%s\"}", k->id);
	base64url_put(&header, json, strlen(json));
	k->header = xstrdup(buf_cstr(&header));
	buf_fini(&id);
	buf_fini(&header);
}

int jwt_key_create(const char *pem, struct jwt_key **ret_key, struct status *st)
{
	EVP_PKEY *key = read_key(pem);

	ERR_clear_error();
	if (key == NULL || !is_p256(key)) {
		EVP_PKEY_free(key);
		return status_set(st, -EINVAL, "token key: not a P-256 key in PEM");
	}
	struct jwt_key *k = xcalloc(1, sizeof(*k));

	k->key = key;
	name_key(k);
	*ret_key = k;
	return 0;
}

void jwt_key_destroy(struct jwt_key *k)
{
	if (k == NULL)
		return;
	EVP_PKEY_free(k->key);
	free(k->id);
	free(k->header);
	free(k);
}

const char *jwt_key_id(const struct jwt_key *k)
{
	return k->id;
}

static void put_coordinate(const struct jwt_key *k, const char *param, struct buf *to)
{
	uint8_t bytes[HALF_BYTES];
	BIGNUM *n = NULL;

	if (EVP_PKEY_get_bn_param(k->key, param, &n) != 1 ||
	    BN_bn2binpad(n, bytes, sizeof(bytes)) != HALF_BYTES)
		abort();
	BN_free(n);
	base64url_put(to, bytes, sizeof(bytes));
}

void jwt_key_put_jwk(const struct jwt_key *k, struct buf *to)
{
	buf_printf(to,
		   "{\"use\":\"sig\",\"kty\":\"EC\",\"kid\":\"%s\",\"crv\":\"P-256\","
		   "\"alg\":\"ES256\",\"x\":\"",
		   k->id);
	put_coordinate(k, OSSL_PKEY_PARAM_EC_PUB_X, to);
	buf_put_str(to, "\",\"y\":\"");
	put_coordinate(k, OSSL_PKEY_PARAM_EC_PUB_Y, to);
	buf_put_str(to, "\"}");
}

/* OpenSSL's DER signature as the two numbers JWTs carry. */
static int put_signature(const uint8_t *der, size_t n, struct buf *to)
{
	ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)n);
	uint8_t bytes[SIGNATURE_BYTES];
	int rc = sig != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(sig), bytes, HALF_BYTES) > 0 &&
				 BN_bn2binpad(ECDSA_SIG_get0_s(sig), bytes + HALF_BYTES,
					      HALF_BYTES) > 0
			 ? 0
			 : -EIO;

	ECDSA_SIG_free(sig);
	if (rc == 0)
		base64url_put(to, bytes, sizeof(bytes));
	return rc;
}

int jwt_sign(const struct jwt_key *k, const char *claims_json, char **ret_token, struct status *st)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	struct buf token = { 0 };
	uint8_t der[128];
	size_t n = sizeof(der);

	buf_put_str(&token, k->header);
	buf_put_byte(&token, '.');
	base64url_put(&token, claims_json, strlen(claims_json));
	bool ok = EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, k->key) == 1 &&
		  EVP_DigestSign(ctx, der, &n, token.data, token.len) == 1;

	EVP_MD_CTX_free(ctx);
	buf_put_byte(&token, '.');
	if (!ok || put_signature(der, n, &token) < 0) {
		buf_fini(&token);
		return tls_openssl_failed(st, -EINVAL, "cannot sign the token");
	}
	*ret_token = xstrdup(buf_cstr(&token));
	buf_fini(&token);
	return 0;
}

static bool verify_signature(const struct jwt_key *k, const char *signed_text, size_t n,
			     const uint8_t *signature)
{
	ECDSA_SIG *sig = ECDSA_SIG_new();
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t *der = NULL;

	ECDSA_SIG_set0(sig, BN_bin2bn(signature, HALF_BYTES, NULL),
		       BN_bin2bn(signature + HALF_BYTES, HALF_BYTES, NULL));
	int n_der = i2d_ECDSA_SIG(sig, &der);
	bool ok = n_der > 0 && EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, k->key) == 1 &&
		  EVP_DigestVerify(ctx, der, (size_t)n_der, (const uint8_t *)signed_text, n) == 1;

	OPENSSL_free(der);
	ECDSA_SIG_free(sig);
	EVP_MD_CTX_free(ctx);
	ERR_clear_error();
	return ok;
}

/* The header must be ours to the letter, so it needs no parsing and offers no choice of algorithm.
 */
static const struct jwt_key *key_of(struct jwt_key *const *keys, size_t n_keys, const char *token,
				    size_t header_len)
{
	for (size_t i = 0; i < n_keys; i++) {
		if (strlen(keys[i]->header) == header_len &&
		    memcmp(keys[i]->header, token, header_len) == 0)
			return keys[i];
	}
	return NULL;
}

int jwt_verify(struct jwt_key *const *keys, size_t n_keys, const char *token,
	       struct buf *ret_claims, struct status *st)
{
	size_t n = strnlen(token, JWT_BYTES_MAX + 1);
	const char *dot = memchr(token, '.', n);
	const char *dot2 = dot != NULL ? memchr(dot + 1, '.', n - (size_t)(dot + 1 - token)) : NULL;

	if (n > JWT_BYTES_MAX || dot2 == NULL)
		return status_set(st, -EACCES, "the token is no signed JWT");

	const struct jwt_key *k = key_of(keys, n_keys, token, (size_t)(dot - token));

	if (k == NULL)
		return status_set(st, -EACCES, "the token is not signed by a key of this cluster");

	auto_with(buf_fini) struct buf signature = { 0 };
	size_t before = ret_claims->len;

	if (base64url_decode(dot2 + 1, n - (size_t)(dot2 + 1 - token), &signature) < 0 ||
	    signature.len != SIGNATURE_BYTES ||
	    !verify_signature(k, token, (size_t)(dot2 - token), signature.data))
		return status_set(st, -EACCES, "the token's signature is wrong");
	if (base64url_decode(dot + 1, (size_t)(dot2 - dot - 1), ret_claims) < 0) {
		ret_claims->len = before;
		return status_set(st, -EACCES, "the token's claims cannot be read");
	}
	return 0;
}
