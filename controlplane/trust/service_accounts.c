/* Tokens of ServiceAccounts: signed here, and believed only while what they are
 * bound to exists. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "common/api/json_text.h"
#include "common/api/kinds.h"
#include "common/api/value.h"
#include "common/base/cleanup.h"
#include "common/io/jwt.h"
#include "controlplane/trust/internal.h"

static int signing_key(const struct trust *t, struct jwt_key **ret_key, struct status *st)
{
	char *pem;
	int rc = trust_secret_text(t, TRUST_SA_SECRET, "key.pem", &pem, st);

	if (rc < 0)
		return rc;
	rc = jwt_key_create(pem, ret_key, st);
	OPENSSL_cleanse(pem, strlen(pem));
	free(pem);
	return rc;
}

/* --- Signing ----------------------------------------------------------------------- */

static void put_member(struct buf *out, const char *name, const char *value)
{
	buf_printf(out, ",\"%s\":", name);
	json_put_cstring(out, value);
}

static void put_reference(struct buf *out, const char *kind, const char *name, const char *uid)
{
	buf_printf(out, ",\"%s\":{\"name\":", kind);
	json_put_cstring(out, name);
	if (uid != NULL)
		put_member(out, "uid", uid);
	buf_put_byte(out, '}');
}

static void put_claims(struct buf *out, const struct trust_sa_claims *c)
{
	buf_put_str(out, "{\"aud\":[");
	for (size_t i = 0; i < c->n_audiences; i++) {
		if (i > 0)
			buf_put_byte(out, ',');
		json_put_cstring(out, c->audiences[i]);
	}
	buf_put_str(out, "]");
	if (c->expires_s != 0)
		buf_printf(out, ",\"exp\":%" PRId64, c->expires_s);
	buf_printf(out, ",\"iat\":%" PRId64 ",\"nbf\":%" PRId64, c->issued_s, c->issued_s);
	put_member(out, "iss", c->issuer ? c->issuer : TRUST_ISSUER);
	put_member(out, "jti", c->id);
	buf_put_str(out, ",\"kubernetes.io\":{\"namespace\":");
	json_put_cstring(out, c->namespace);
	if (c->node != NULL)
		put_reference(out, "node", c->node, NULL);
	if (c->pod != NULL)
		put_reference(out, "pod", c->pod, c->pod_uid);
	if (c->secret != NULL)
		put_reference(out, "secret", c->secret, c->secret_uid);
	put_reference(out, "serviceaccount", c->service_account, c->uid);
	buf_put_byte(out, '}');
	buf_printf(out, ",\"sub\":\"system:serviceaccount:%s:%s\"}", c->namespace,
		   c->service_account);
}

int trust_sa_sign(const struct trust *t, const struct trust_sa_claims *claims, char **ret_token,
		  struct status *st)
{
	struct jwt_key *key;
	struct buf json = { 0 };
	int rc = signing_key(t, &key, st);

	if (rc < 0)
		return rc;
	put_claims(&json, claims);
	rc = jwt_sign(key, buf_cstr(&json), ret_token, st);
	buf_fini(&json);
	jwt_key_destroy(key);
	return rc;
}

int trust_sa_jwks(const struct trust *t, char **ret_json, struct status *st)
{
	struct jwt_key *key;
	struct buf json = { 0 };
	int rc = signing_key(t, &key, st);

	if (rc < 0)
		return rc;
	buf_put_str(&json, "{\"keys\":[");
	jwt_key_put_jwk(key, &json);
	buf_put_str(&json, "]}");
	buf_cstr(&json);
	*ret_json = (char *)buf_steal(&json, NULL);
	jwt_key_destroy(key);
	return 0;
}

/* --- Verifying ---------------------------------------------------------------------- */

static int refuse(struct status *st, const char *why)
{
	return status_set(st, -EACCES, "%s", why);
}

static int64_t number_at(const struct value *object, const char *key)
{
	const struct value *v = value_get(object, key);

	return v != NULL && v->type == VALUE_NUMBER ? strtoll(v->text, NULL, 10) : 0;
}

static bool has_audience(const struct value *claims, const char *audience)
{
	const struct value *aud = value_get(claims, "aud");

	if (aud == NULL)
		return false;
	if (aud->type == VALUE_STRING)
		return strcmp(aud->text, audience) == 0;
	for (size_t i = 0; aud->type == VALUE_LIST && i < aud->n; i++)
		if (aud->items[i]->type == VALUE_STRING && strcmp(aud->items[i]->text, audience) == 0)
			return true;
	return false;
}

static bool lives(const struct trust *t, const char *resource, const char *namespace,
		  const char *name, const char *uid)
{
	const struct object *o = store_get(trust_store(t), kind_of_resource(resource), namespace, name);

	return o != NULL && uid != NULL && strcmp(o->facts.uid, uid) == 0;
}

static int check_bound(const struct trust *t, const struct value *k, struct trust_sa_claims *c,
		       struct status *st)
{
	const struct value *account = value_get(k, "serviceaccount"), *pod = value_get(k, "pod");
	const struct value *secret = value_get(k, "secret");

	c->namespace = value_get_string(k, "namespace");
	c->service_account = value_get_string(account, "name");
	c->uid = value_get_string(account, "uid");
	if (c->namespace == NULL || c->service_account == NULL ||
	    !lives(t, "serviceaccounts", c->namespace, c->service_account, c->uid))
		return refuse(st, "the token's ServiceAccount does not exist (any more)");
	c->pod = value_get_string(pod, "name");
	c->pod_uid = value_get_string(pod, "uid");
	c->node = value_get_string(value_get(k, "node"), "name");
	if (pod != NULL && (c->pod == NULL || !lives(t, "pods", c->namespace, c->pod, c->pod_uid)))
		return refuse(st, "the token's pod does not exist (any more)");
	c->secret = value_get_string(secret, "name");
	c->secret_uid = value_get_string(secret, "uid");
	if (secret != NULL &&
	    (c->secret == NULL || !lives(t, "secrets", c->namespace, c->secret, c->secret_uid)))
		return refuse(st, "the token's Secret does not exist (any more)");
	if (secret == NULL && c->expires_s == 0)
		return refuse(st, "the token has expired");
	return 0;
}

static int check_claims(const struct trust *t, const struct value *claims, const char *audience,
			int64_t now_s, struct trust_sa_claims *c, struct status *st)
{
	const struct value *k = value_get(claims, "kubernetes.io");

	c->issuer = value_get_string(claims, "iss");
	c->id = value_get_string(claims, "jti");
	c->issued_s = number_at(claims, "iat");
	c->expires_s = number_at(claims, "exp");
	if (c->issuer == NULL || strcmp(c->issuer, TRUST_ISSUER) != 0)
		return refuse(st, "the token is of another issuer");
	if (c->expires_s != 0 && c->expires_s <= now_s)
		return refuse(st, "the token has expired");
	/* A minute for clocks that differ between masters. */
	if (number_at(claims, "nbf") > now_s + 60)
		return refuse(st, "the token is not valid yet");
	if (audience != NULL && !has_audience(claims, audience))
		return refuse(st, "the token is for another audience");
	if (k == NULL || k->type != VALUE_MAP)
		return refuse(st, "the token is not a ServiceAccount's");
	return check_bound(t, k, c, st);
}

int trust_sa_verify(const struct trust *t, const char *token, const char *audience, int64_t now_s,
		    struct arena *arena, struct trust_sa_claims *ret_claims, struct status *st)
{
	struct jwt_key *key;
	struct buf json = { 0 };
	struct value *claims;
	int rc = signing_key(t, &key, st);

	if (rc < 0)
		return rc;
	*ret_claims = (struct trust_sa_claims){ 0 };
	rc = jwt_verify(&key, 1, token, &json, st);
	if (rc == 0)
		rc = value_parse(buf_bytes(&json), arena, &claims, st);
	if (rc == 0)
		rc = check_claims(t, claims, audience, now_s, ret_claims, st);
	buf_fini(&json);
	jwt_key_destroy(key);
	return rc;
}
