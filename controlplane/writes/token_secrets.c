#include "controlplane/writes/token_secrets.h"

#include <stdlib.h>
#include <string.h>

#include "common/api/kinds.h"
#include "common/api/make.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "controlplane/trust/trust.h"
#include "proto/k8s/core_v1.pb-c.h"

static const char account_name[] = "kubernetes.io/service-account.name";
static const char account_uid[] = "kubernetes.io/service-account.uid";

static bool has(const CoreV1__Secret *s, const char *key)
{
	for (size_t i = 0; i < s->n_data; i++)
		if (text_is(s->data[i]->key, key) && s->data[i]->value.len > 0)
			return true;
	return false;
}

static void set(struct write_change *c, CoreV1__Secret *s, const char *key, const char *value)
{
	CoreV1__Secret__DataEntry *e =
		make(c->arena, CoreV1__Secret__DataEntry, core_v1__secret__data_entry);
	size_t kept = 0;

	for (size_t i = 0; i < s->n_data; i++)
		if (!text_is(s->data[i]->key, key))
			s->data[kept++] = s->data[i];
	s->n_data = kept;
	e->key = arena_strdup(c->arena, key);
	e->has_value = true;
	e->value = (ProtobufCBinaryData){ strlen(value), (uint8_t *)arena_strdup(c->arena, value) };
	make_append(c->arena, s, data, e);
}

static void sign(struct write_change *c, CoreV1__Secret *s, const struct object *account)
{
	static const char *const audiences[] = { TRUST_ISSUER };
	auto_with(status_fini) struct status st = { 0 };
	char id[37], *token;

	source_uuid(c->context->source, id);

	struct trust_sa_claims claims = {
		.namespace = account->namespace,
		.service_account = account->name,
		.uid = account->facts.uid,
		.secret = s->metadata->name,
		.secret_uid = s->metadata->uid,
		.audiences = audiences,
		.n_audiences = 1,
		.issued_s = c->context->now_ns / 1000000000,
		.id = id,
	};

	if (trust_sa_sign(c->context->trust, &claims, &token, &st) < 0) {
		log_error("a token cannot be signed", "namespace=%s account=%s why=%s",
			  account->namespace, account->name, log_quote(st.message));
		return;
	}
	set(c, s, "token", token);
	free(token);
}

void token_secret_fill(struct write_change *c, ProtobufCMessage *message)
{
	CoreV1__Secret *s = (CoreV1__Secret *)message;
	const struct object *account;
	const char *uid, *ca;

	if (c->context->trust == NULL || message->descriptor != &core_v1__secret__descriptor ||
	    !text_is(s->type, "kubernetes.io/service-account-token") ||
	    s->metadata->deletiontimestamp != NULL)
		return;
	account = overlay_get(c->context->overlay, kind_of_resource("serviceaccounts"),
			      text_of(s->metadata->namespace_),
			      text_of(meta_annotation(s->metadata, account_name)));
	uid = meta_annotation(s->metadata, account_uid);
	if (account == NULL || (!text_empty(uid) && strcmp(uid, account->facts.uid) != 0))
		return; /* The controller takes it away. */
	meta_set_annotation(c->arena, s->metadata, account_uid, account->facts.uid);
	if (!has(s, "namespace"))
		set(c, s, "namespace", account->namespace);
	ca = trust_ca_pem(c->context->trust);
	if (ca != NULL && !has(s, "ca.crt"))
		set(c, s, "ca.crt", ca);
	if (!has(s, "token"))
		sign(c, s, account);
}
