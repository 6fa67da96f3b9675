/* JSON Web Tokens signed with ES256 (P-256, SHA-256), as ServiceAccount tokens are.
 *
 * Only tokens of this one shape are made and accepted; what the claims say, times
 * and audience among them, is the caller's to check. Keys may be used by any
 * thread, one at a time. */
#pragma once

#include <stddef.h>

#include "common/base/buf.h"
#include "common/base/status.h"

enum { JWT_BYTES_MAX = 16 * 1024 };

struct jwt_key;

/* From a PEM text: a private key, or a public one that only verifies. */
int jwt_key_create(const char *pem, struct jwt_key **ret_key, struct status *st);
void jwt_key_destroy(struct jwt_key *key);
/* Its id ("kid"): base64url of the SHA-256 over the public key's DER, as Kubernetes has it. */
const char *jwt_key_id(const struct jwt_key *key);
/* Append the public key as a JWK, one JSON object. */
void jwt_key_put_jwk(const struct jwt_key *key, struct buf *to);

int jwt_sign(const struct jwt_key *key, const char *claims_json, char **ret_token,
	     struct status *st);
/* Append the claims of a token that one of the keys signed. -EACCES for any other. */
int jwt_verify(struct jwt_key *const *keys, size_t n_keys, const char *token,
	       struct buf *ret_claims, struct status *st);

/* Base64url without padding, as JWTs use it. */
void base64url_put(struct buf *to, const void *data, size_t n);
/* Append the decoded bytes; -EINVAL if the text is not canonical base64url. */
int base64url_decode(const char *text, size_t n, struct buf *to);
