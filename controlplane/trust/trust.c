#include "controlplane/trust/trust.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include "common/api/kinds.h"
#include "common/api/pack.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/io/cert_names.h"
#include "common/io/pki.h"
#include "controlplane/trust/internal.h"
#include "controlplane/trust/sealing.h"
#include "proto/k8s/core_v1.pb-c.h"

/* Clocks of machines that join may be behind. */
#define BACKDATE_S 300

struct trust {
	const struct store *store;
	uint8_t kek[TRUST_KEK_BYTES];
	/* Opened once per revision of its Secret. */
	uint8_t data_key[DATA_KEY_BYTES];
	uint64_t data_key_id, data_key_revision;
	char *ca_pem;
	uint64_t ca_revision;
};

struct trust *trust_create(const struct store *store, const uint8_t kek[TRUST_KEK_BYTES])
{
	struct trust *t = xcalloc(1, sizeof(*t));

	t->store = store;
	memcpy(t->kek, kek, TRUST_KEK_BYTES);
	return t;
}

void trust_destroy(struct trust *t)
{
	if (t == NULL)
		return;
	free(t->ca_pem);
	OPENSSL_cleanse(t, sizeof(*t));
	free(t);
}

const uint8_t *trust_kek(const struct trust *t)
{
	return t->kek;
}

const struct store *trust_store(const struct trust *t)
{
	return t->store;
}

int trust_kek_read(const char *path, uint8_t ret_kek[TRUST_KEK_BYTES], struct status *st)
{
	struct buf text = { 0 };
	struct stat sb;
	int rc = file_read(path, TRUST_KEK_BYTES, &text, st);

	if (rc == 0 && stat(path, &sb) == 0 && (sb.st_mode & 077) != 0)
		rc = status_set(st, -EPERM, "%s: others may read the key; chmod 600 it", path);
	else if (rc == 0 && text.len != TRUST_KEK_BYTES)
		rc = status_set(st, -EINVAL, "%s: a key-encryption key has %d bytes, not %zu", path,
				TRUST_KEK_BYTES, text.len);
	if (rc == 0)
		memcpy(ret_kek, text.data, TRUST_KEK_BYTES);
	if (text.len > 0)
		OPENSSL_cleanse(text.data, text.len);
	buf_fini(&text);
	return rc;
}

/* --- Keys in the state ------------------------------------------------------------ */

static const struct object *system_secret(const struct trust *t, const char *name)
{
	return store_get(t->store, kind_named("", "Secret"), "kube-system", name);
}

static int value_of(const CoreV1__Secret *secret, const char *key, struct bytes *ret)
{
	for (size_t i = 0; i < secret->n_data; i++) {
		if (strcmp(secret->data[i]->key, key) != 0)
			continue;
		*ret = bytes_of(secret->data[i]->value.data, secret->data[i]->value.len);
		return 0;
	}
	return -ENOKEY;
}

int trust_secret_value(const struct trust *t, const char *name, const char *key,
		       struct arena *arena, struct bytes *ret_value)
{
	const struct object *o = system_secret(t, name);

	if (o == NULL)
		return -ENOKEY;
	return value_of(unpack_stored(o->kind->descriptor, sealing_open(t, o, arena), arena), key,
			ret_value);
}

int trust_secret_text(const struct trust *t, const char *name, const char *key, char **ret_text,
		      struct status *st)
{
	struct arena arena;
	struct bytes value;

	arena_init(&arena, 0);
	int rc = trust_secret_value(t, name, key, &arena, &value);
	if (rc == 0)
		*ret_text = xstrndup((const char *)value.data, value.len);
	else
		status_set(st, rc, "the cluster's key %s is not there", name);
	arena_fini(&arena);
	return rc;
}

int trust_data_key(const struct trust *t, uint8_t ret_key[DATA_KEY_BYTES], uint64_t *ret_key_id)
{
	static const char aad[] = "kube-system/" TRUST_DATA_KEY_SECRET "/key";
	struct trust *cache = (struct trust *)t; /* What is remembered is not state of its own. */
	const struct object *o = system_secret(t, TRUST_DATA_KEY_SECRET);
	struct arena arena;
	struct bytes sealed, key;
	uint8_t digest[SHA256_DIGEST_LENGTH];

	if (o == NULL)
		return -ENOKEY;
	if (o->revision != cache->data_key_revision) {
		arena_init(&arena, 0);
		int rc = value_of(unpack_stored(o->kind->descriptor, o->packed, &arena), "key",
				  &sealed);
		if (rc == 0)
			rc = open_value(t->kek, 0, bytes_str(aad), sealed, &arena, &key);
		if (rc == 0 && key.len == DATA_KEY_BYTES) {
			memcpy(cache->data_key, key.data, DATA_KEY_BYTES);
			SHA256(key.data, key.len, digest);
			memcpy(&cache->data_key_id, digest, sizeof(cache->data_key_id));
			cache->data_key_revision = o->revision;
		} else {
			rc = -ENOKEY;
		}
		arena_fini(&arena);
		if (rc < 0)
			return rc;
	}
	memcpy(ret_key, cache->data_key, DATA_KEY_BYTES);
	*ret_key_id = cache->data_key_id;
	return 0;
}

const char *trust_ca_pem(const struct trust *t)
{
	struct trust *cache = (struct trust *)t;
	const struct object *o = system_secret(t, TRUST_CA_SECRET);

	if (o == NULL)
		return NULL;
	if (o->revision != cache->ca_revision) {
		char *pem;

		if (trust_secret_text(t, TRUST_CA_SECRET, "tls.crt", &pem, NULL) < 0)
			return NULL;
		free(cache->ca_pem);
		cache->ca_pem = pem;
		cache->ca_revision = o->revision;
	}
	return cache->ca_pem;
}

/* --- Signing ------------------------------------------------------------------------ */

static int sign(const struct trust *t, const char *csr_pem, const struct pki_subject *subject,
		unsigned usages, int64_t now_s, int64_t not_after_s, char **ret_cert_pem,
		struct status *st)
{
	const struct pki_terms terms = {
		.usages = usages,
		.not_before_s = now_s - BACKDATE_S,
		.not_after_s = not_after_s,
	};
	const char *ca = trust_ca_pem(t);
	char *key = NULL;

	if (ca == NULL)
		return status_set(st, -ENOKEY, "the cluster's CA is not there yet");
	int rc = trust_secret_text(t, TRUST_CA_SECRET, "tls.key", &key, st);
	if (rc < 0)
		return rc;
	rc = pki_csr_sign(ca, key, csr_pem, subject, &terms, ret_cert_pem, st);
	OPENSSL_cleanse(key, strlen(key));
	free(key);
	return rc;
}

int trust_sign_node(const struct trust *t, const char *csr_pem, const char *name, int64_t now_s,
		    char **ret_cert_pem, struct status *st)
{
	static const char *const orgs[] = { CERT_NODES_ORG };
	autofree char *cn = xasprintf(CERT_NODE_PREFIX "%s", name);
	const struct pki_subject subject = { .cn = cn, .orgs = orgs, .n_orgs = 1 };

	return sign(t, csr_pem, &subject, PKI_SERVER | PKI_CLIENT, now_s,
		    now_s + TRUST_CERTIFICATE_S, ret_cert_pem, st);
}

int trust_sign_master(const struct trust *t, const char *csr_pem, uint64_t member_id,
		      const char *const *sans, size_t n_sans, int64_t now_s, char **ret_cert_pem,
		      struct status *st)
{
	static const char *const orgs[] = { CERT_MASTERS_ORG };
	auto_with(arena_fini) struct arena arena = { 0 };

	arena_init(&arena, 0);
	const struct pki_subject subject = {
		.cn = cert_master_cn(&arena, member_id),
		.orgs = orgs,
		.n_orgs = 1,
		.sans = sans,
		.n_sans = n_sans,
	};

	return sign(t, csr_pem, &subject, PKI_SERVER | PKI_CLIENT, now_s,
		    now_s + TRUST_CERTIFICATE_S, ret_cert_pem, st);
}

int trust_sign_client(const struct trust *t, const char *csr_pem, int64_t not_after_s,
		      int64_t now_s, char **ret_cert_pem, struct status *st)
{
	struct tls_identity *asked;
	int rc = pki_csr_parse(csr_pem, &asked, st);

	if (rc < 0)
		return rc;
	const struct pki_subject subject = {
		.cn = asked->cn, .orgs = asked->orgs, .n_orgs = asked->n_orgs,
	};
	rc = sign(t, csr_pem, &subject, PKI_CLIENT, now_s, not_after_s, ret_cert_pem, st);
	tls_identity_unref(asked);
	return rc;
}
