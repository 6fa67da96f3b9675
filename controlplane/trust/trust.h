/* The cluster's own authority: CA, ServiceAccount keys, tokens.
 *
 * Keys live as sealed Secrets of kube-system in the replicated state
 * (sampan-ca, sampan-service-accounts, sampan-data-key), so every master that
 * has the key-encryption key can sign, and none needs another for it. They are
 * read when asked for and kept until the Secret changes. Functions fail with
 * -ENOKEY while the state does not hold the key yet. Texts returned are
 * allocated for the caller unless said otherwise. Loop thread only. */
#pragma once

#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/status.h"
#include "controlplane/store/store.h"

#define TRUST_KEK_BYTES 32
#define TRUST_CA_SECRET "sampan-ca"
#define TRUST_SA_SECRET "sampan-service-accounts"
#define TRUST_DATA_KEY_SECRET "sampan-data-key"
/* Of node and master certificates; renewed at two thirds. */
#define TRUST_CERTIFICATE_S (365ll * 24 * 3600)

struct trust;

struct trust *trust_create(const struct store *store, const uint8_t kek[TRUST_KEK_BYTES]);
void trust_destroy(struct trust *t);
const uint8_t *trust_kek(const struct trust *t);
/* Read a key-encryption key: exactly 32 bytes, mode 0600. */
int trust_kek_read(const char *path, uint8_t ret_kek[TRUST_KEK_BYTES], struct status *st);

/* The CA certificate; valid until the next turn of the loop. NULL while unknown. */
const char *trust_ca_pem(const struct trust *t);

/* CN system:node:<name>, O system:nodes; client and server use. */
int trust_sign_node(const struct trust *t, const char *csr_pem, const char *name, int64_t now_s,
		    char **ret_cert_pem, struct status *st);
/* CN sampan:master:<id>, O sampan:masters, the names a master answers to. */
int trust_sign_master(const struct trust *t, const char *csr_pem, uint64_t member_id,
		      const char *const *sans, size_t n_sans, int64_t now_s, char **ret_cert_pem,
		      struct status *st);
/* A client certificate for the subject of the request (kubernetes.io/kube-apiserver-client). */
int trust_sign_client(const struct trust *t, const char *csr_pem, int64_t not_after_s,
		      int64_t now_s, char **ret_cert_pem, struct status *st);

enum trust_token_use {
	TRUST_TOKEN_NODE,   /* usage-bootstrap-authentication */
	TRUST_TOKEN_MASTER, /* usage-sampan-master */
};

/* "<id>.<secret>" against its Secret; time is the cluster's. -EACCES with a reason that does not
 * tell which part was wrong. */
int trust_token_check(const struct trust *t, const char *token, enum trust_token_use use,
		      int64_t now_s, struct status *st);

struct trust_sa_claims {
	const char *issuer; /* NULL: the cluster's own. */
	const char *namespace, *service_account, *uid;
	const char *pod, *pod_uid, *node; /* NULL: not bound to one. */
	const char *secret, *secret_uid;  /* The Secret that holds the token, or NULL. */
	const char *const *audiences;
	size_t n_audiences;
	int64_t issued_s, expires_s; /* expires_s 0: as long as its Secret exists. */
	const char *id; /* jti: a UUID. */
};

/* A ServiceAccount's JWT (ES256). */
int trust_sa_sign(const struct trust *t, const struct trust_sa_claims *claims, char **ret_token,
		  struct status *st);
/* Signature, times, issuer and audience, and that what the token is bound to still exists with
 * these uids. The strings of ret_claims live in the arena. -EACCES. */
int trust_sa_verify(const struct trust *t, const char *token, const char *audience, int64_t now_s,
		    struct arena *arena, struct trust_sa_claims *ret_claims, struct status *st);
/* The public keys as a JWKS document. */
int trust_sa_jwks(const struct trust *t, char **ret_json, struct status *st);
#define TRUST_ISSUER "https://kubernetes.default.svc"
