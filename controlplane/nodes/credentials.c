/* What lets a node and its pods prove who they are. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/kinds.h"
#include "common/api/pack.h"
#include "common/base/source.h"
#include "controlplane/nodes/internal.h"
#include "controlplane/trust/trust.h"
#include "proto/k8s/core_v1.pb-c.h"

#define TOKEN_S_MIN 600
#define TOKEN_S_DEFAULT 3600
#define TOKEN_S_MAX (24 * 3600)
#define AUDIENCES_MAX 8

static int64_t now_s(const struct nodes *nodes)
{
	struct source *source = nodes->config.source;

	return source->wall_ns(source) / 1000000000;
}

/* The pod the token is for, when it runs on the caller's node under that account. */
static const struct object *token_pod(struct call *c, const SampanNode__TokenRequest *t)
{
	const struct object *o;

	if (t->namespace_ == NULL || t->pod == NULL || t->pod_uid == NULL ||
	    t->service_account == NULL)
		return NULL;
	o = store_get(c->nodes->config.store, kind_of_resource("pods"), t->namespace_, t->pod);
	if (o == NULL || strcmp(o->facts.uid, t->pod_uid) != 0 ||
	    strcmp(o->facts.pod->node_name, c->node) != 0)
		return NULL;
	const CoreV1__Pod *pod = unpack_stored(o->kind->descriptor, o->packed, &c->arena);
	if (pod->spec == NULL || pod->spec->serviceaccountname == NULL ||
	    strcmp(pod->spec->serviceaccountname, t->service_account) != 0)
		return NULL;
	return o;
}

static int64_t lifetime_s(const SampanNode__TokenRequest *t)
{
	int64_t s = t->has_expiration_s ? t->expiration_s : TOKEN_S_DEFAULT;

	return s < TOKEN_S_MIN ? TOKEN_S_MIN : s > TOKEN_S_MAX ? TOKEN_S_MAX : s;
}

void credentials_token(struct call *c)
{
	const SampanNode__TokenRequest *t = c->request->token;
	static const char *const own[] = { TRUST_ISSUER };
	struct nodes *nodes = c->nodes;
	struct status st = { 0 };
	char id[37], *token;

	const struct object *pod = token_pod(c, t);
	const struct object *account =
		pod ? store_get(nodes->config.store, kind_of_resource("serviceaccounts"),
				t->namespace_, t->service_account)
		    : NULL;
	if (account == NULL || t->n_audiences > AUDIENCES_MAX) {
		call_fail(c, -EPERM, "no token for a pod or ServiceAccount that is not on this node");
		return;
	}
	source_uuid(nodes->config.source, id);
	struct trust_sa_claims claims = {
		.namespace = t->namespace_,
		.service_account = t->service_account,
		.uid = account->facts.uid,
		.pod = t->pod,
		.pod_uid = t->pod_uid,
		.node = c->node,
		.audiences = t->n_audiences ? (const char *const *)t->audiences : own,
		.n_audiences = t->n_audiences ? t->n_audiences : 1,
		.issued_s = now_s(nodes),
		.id = id,
	};
	claims.expires_s = claims.issued_s + lifetime_s(t);
	if (trust_sa_sign(nodes->config.trust, &claims, &token, &st) < 0) {
		call_fail(c, st.rc, "%s", st.message);
		status_fini(&st);
		return;
	}

	SampanNode__Reply reply = SAMPAN_NODE__REPLY__INIT;
	SampanNode__TokenReply answer = SAMPAN_NODE__TOKEN_REPLY__INIT;
	answer.token = token;
	answer.has_expires_ns = true;
	answer.expires_ns = claims.expires_s * 1000000000;
	reply.token = &answer;
	call_reply(c, &reply);
	free(token);
}

void credentials_certificate(struct call *c)
{
	const SampanNode__CertificateRequest *request = c->request->certificate;
	struct nodes *nodes = c->nodes;
	struct status st = { 0 };
	char *cert;

	if (request->csr_pem == NULL ||
	    trust_sign_node(nodes->config.trust, request->csr_pem, c->node, now_s(nodes), &cert,
			    &st) < 0) {
		call_fail(c, -EINVAL, "%s", st.message ? st.message : "the request is missing");
		status_fini(&st);
		return;
	}

	SampanNode__Reply reply = SAMPAN_NODE__REPLY__INIT;
	SampanNode__CertificateReply answer = SAMPAN_NODE__CERTIFICATE_REPLY__INIT;
	answer.certificate_pem = cert;
	answer.ca_pem = (char *)trust_ca_pem(nodes->config.trust);
	reply.certificate = &answer;
	call_reply(c, &reply);
	free(cert);
}
