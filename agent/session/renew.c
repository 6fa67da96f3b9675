/* The node's certificate is renewed at two thirds of its life, for the same key, so that one rename
 * replaces it; the program then executes itself anew, because libnng cannot exchange certificates. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/session/internal.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/io/pki.h"

enum { AGAIN_MS = 60000 };

static int64_t due_s(const struct tls_identity *id)
{
	return id->not_before_s + (id->not_after_s - id->not_before_s) / 3 * 2;
}

static void on_due(uv_timer_t *timer)
{
	session_turn(container_of(timer, struct session, renewal));
}

int renew_start(struct session *s, struct status *st)
{
	struct tls_identity *id;
	int rc = pki_cert_parse(s->cert_pem, &id, st);

	if (rc < 0)
		return rc;
	int64_t in_s = due_s(id) - time(NULL);

	tls_identity_unref(id);
	/* Longer than the timer can say: looked at once a day. */
	in_s = in_s < 1 ? 1 : in_s > 86400 ? 86400 : in_s;
	uv_timer_start(&s->renewal, on_due, (uint64_t)in_s * 1000, (uint64_t)in_s * 1000);
	return 0;
}

static void on_renewed(struct node_call *call, int rc, const SampanNode__Reply *reply)
{
	struct session *s = call->session;
	struct status st = { 0 };

	if (s->stopping)
		return;
	if (rc == 0 && (reply->certificate == NULL || reply->certificate->certificate_pem == NULL))
		rc = -EBADMSG;
	if (rc == 0 && !pki_key_matches(reply->certificate->certificate_pem, s->key_pem))
		rc = -EKEYREJECTED;
	if (rc == 0)
		rc = file_write(s->options.cert_file, 0644, reply->certificate->certificate_pem,
			strlen(reply->certificate->certificate_pem), &st);
	if (rc < 0) {
		log_warn("certificate not renewed", "error=%s", log_quote(st.message ? st.message : strerror(-rc)));
		uv_timer_start(&s->renewal, on_due, AGAIN_MS, AGAIN_MS);
	} else {
		log_info("certificate renewed", "file=%s", log_quote(s->options.cert_file));
		s->options.callbacks.renewed(s->options.callbacks.ctx);
	}
	status_fini(&st);
}

void renew_due(struct session *s)
{
	struct tls_identity *id;
	autofree char *csr = NULL;
	SampanNode__Request request = SAMPAN_NODE__REQUEST__INIT;
	SampanNode__CertificateRequest body = SAMPAN_NODE__CERTIFICATE_REQUEST__INIT;

	if (s->renewing != NULL || pki_cert_parse(s->cert_pem, &id, NULL) < 0)
		return;
	bool due = time(NULL) >= due_s(id);
	struct pki_subject subject = { .cn = id->cn, .orgs = id->orgs, .n_orgs = id->n_orgs };

	if (due && uv_timer_get_repeat(&s->renewal) != AGAIN_MS &&
		pki_csr_create(s->key_pem, &subject, &csr, NULL) == 0) {
		body.csr_pem = csr;
		request.certificate = &body;
		uv_timer_start(&s->renewal, on_due, AGAIN_MS, AGAIN_MS);
		link_call(s, s->leader, &request, CALL_TIMEOUT_MS, on_renewed, NULL, &s->renewing);
	}
	tls_identity_unref(id);
}
