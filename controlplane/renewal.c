#include "controlplane/renewal.h"

#include <errno.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/io/pki.h"

#define FIRST_MS (60u * 1000)
#define PERIOD_MS (3600u * 1000)

bool renewal_is_due(const struct tls_identity *id, int64_t now_s)
{
	return now_s >= id->not_before_s + (id->not_after_s - id->not_before_s) / 3 * 2;
}

int renewal_run(struct renewal *r, int64_t now_s, struct status *st)
{
	const struct pki_subject subject = {
		.cn = r->id->cn,
		.orgs = r->id->orgs,
		.n_orgs = r->id->n_orgs,
	};
	autofree char *csr = NULL, *cert = NULL;
	struct tls_identity *id;
	int rc = pki_csr_create(r->key_pem, &subject, &csr, st);

	if (rc == 0)
		rc = trust_sign_master(r->trust, csr, r->config->id, r->id->sans, r->id->n_sans,
				       now_s, &cert, st);
	if (rc == 0)
		rc = file_write(r->config->cert_file, 0644, cert, strlen(cert), st);
	if (rc == 0)
		rc = pki_cert_parse(cert, &id, st);
	if (rc < 0)
		return rc;
	tls_identity_unref(r->id);
	r->id = id;
	r->renewed(r->ctx, cert);
	return 0;
}

static void on_timer(uv_timer_t *timer)
{
	struct renewal *r = timer->data;
	int64_t now_s = writes_now_ns(r->writes) / 1000000000;
	struct status st = { 0 };

	if (!renewal_is_due(r->id, now_s))
		return;
	if (renewal_run(r, now_s, &st) < 0)
		log_warn("this master's certificate could not be renewed", "error=%s",
			 log_quote(st.message));
	else
		log_info("this master's certificate is renewed", "file=%s",
			 log_quote(r->config->cert_file));
	status_fini(&st);
}

int renewal_start(struct renewal *r, uv_loop_t *loop, const char *cert_pem, struct status *st)
{
	int rc = pki_cert_parse(cert_pem, &r->id, st);

	if (rc < 0)
		return rc;
	uv_timer_init(loop, &r->timer);
	r->timer.data = r;
	uv_timer_start(&r->timer, on_timer, FIRST_MS, PERIOD_MS);
	uv_unref((uv_handle_t *)&r->timer);
	return 0;
}

void renewal_stop(struct renewal *r)
{
	uv_timer_stop(&r->timer);
	tls_identity_unref(r->id);
	r->id = NULL;
}
