/* "smp1" | key id (8) | nonce (12) | AES-256-GCM ciphertext | tag (16)
 *
 * Two keys come from the one given: the cipher's, and the HMAC's whose head is
 * the nonce. The same plaintext under the same name gives the same bytes; that
 * equality is all that is told. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "controlplane/trust/internal.h"

#define MAGIC "smp1"
#define MAGIC_BYTES 4
#define ID_BYTES 8
#define NONCE_BYTES 12
#define TAG_BYTES 16
#define HEAD_BYTES (MAGIC_BYTES + ID_BYTES + NONCE_BYTES)

static void hmac(const uint8_t *key, const char *label, struct bytes a, struct bytes b,
		 uint8_t ret[32])
{
	uint64_t a_len = a.len; /* Keeps (a, b) apart from another split of the same bytes. */
	struct buf all = { 0 };
	unsigned n = 32;

	buf_put(&all, label, strlen(label));
	buf_put(&all, &a_len, sizeof(a_len));
	buf_put(&all, a.data, a.len);
	buf_put(&all, b.data, b.len);
	if (HMAC(EVP_sha256(), key, DATA_KEY_BYTES, all.data, all.len, ret, &n) == NULL)
		abort();
	OPENSSL_cleanse(all.data, all.len);
	buf_fini(&all);
}

static void cipher_key(const uint8_t *key, uint8_t ret[32])
{
	hmac(key, "sampan cipher", bytes_of(NULL, 0), bytes_of(NULL, 0), ret);
}

static void put_u64(uint8_t *to, uint64_t v)
{
	for (int i = 7; i >= 0; i--, v >>= 8)
		to[i] = (uint8_t)v;
}

bool value_is_sealed(struct bytes value)
{
	return value.len >= HEAD_BYTES + TAG_BYTES && memcmp(value.data, MAGIC, MAGIC_BYTES) == 0;
}

/* One pass of AES-256-GCM; encrypt writes the tag, decrypt checks it. */
static bool gcm(bool encrypt, const uint8_t key[32], const uint8_t *nonce, struct bytes aad,
		const uint8_t *in, size_t n, uint8_t *out, uint8_t *tag)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int len;

	if (ctx == NULL)
		abort();
	bool ok = EVP_CipherInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, nonce, encrypt) == 1 &&
		  EVP_CipherUpdate(ctx, NULL, &len, aad.data, (int)aad.len) == 1 &&
		  EVP_CipherUpdate(ctx, out, &len, in, (int)n) == 1;
	if (ok && !encrypt)
		ok = EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG_BYTES, tag) == 1;
	if (ok)
		ok = EVP_CipherFinal_ex(ctx, out + len, &len) == 1;
	if (ok && encrypt)
		ok = EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG_BYTES, tag) == 1;
	EVP_CIPHER_CTX_free(ctx);
	return ok;
}

struct bytes seal_value(const uint8_t key[DATA_KEY_BYTES], uint64_t key_id, struct bytes aad,
			struct bytes plain, struct arena *arena)
{
	uint8_t *out = arena_alloc(arena, HEAD_BYTES + plain.len + TAG_BYTES);
	uint8_t mac[32], cipher[32];
	uint8_t *nonce = out + MAGIC_BYTES + ID_BYTES;

	memcpy(out, MAGIC, MAGIC_BYTES);
	put_u64(out + MAGIC_BYTES, key_id);
	hmac(key, "sampan nonce", aad, plain, mac);
	memcpy(nonce, mac, NONCE_BYTES);
	cipher_key(key, cipher);
	if (!gcm(true, cipher, nonce, aad, plain.data, plain.len, out + HEAD_BYTES,
		 out + HEAD_BYTES + plain.len))
		abort();
	OPENSSL_cleanse(cipher, sizeof(cipher));
	return bytes_of(out, HEAD_BYTES + plain.len + TAG_BYTES);
}

int open_value(const uint8_t key[DATA_KEY_BYTES], uint64_t key_id, struct bytes aad,
	       struct bytes sealed, struct arena *arena, struct bytes *ret_plain)
{
	uint8_t id[ID_BYTES], cipher[32], tag[TAG_BYTES];

	if (!value_is_sealed(sealed))
		return -EBADMSG;
	put_u64(id, key_id);
	if (memcmp(sealed.data + MAGIC_BYTES, id, ID_BYTES) != 0)
		return -EBADMSG;

	size_t n = sealed.len - HEAD_BYTES - TAG_BYTES;
	uint8_t *plain = arena_alloc(arena, n);
	memcpy(tag, sealed.data + HEAD_BYTES + n, TAG_BYTES);
	cipher_key(key, cipher);
	bool ok = gcm(false, cipher, sealed.data + MAGIC_BYTES + ID_BYTES, aad,
		      sealed.data + HEAD_BYTES, n, plain, tag);
	OPENSSL_cleanse(cipher, sizeof(cipher));
	if (!ok)
		return -EBADMSG;
	*ret_plain = bytes_of(plain, n);
	return 0;
}
