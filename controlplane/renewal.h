/* A master's own certificate is renewed at two thirds of its life: signed by the
 * cluster's CA, which every master can use, for the same key and names, written
 * over the old file, then shown to new connections. Looks once an hour. Loop
 * thread only. */
#pragma once

#include <uv.h>

#include "common/io/tls.h"
#include "controlplane/config.h"
#include "controlplane/trust/trust.h"
#include "controlplane/writes/writes.h"

struct renewal {
	const struct master_config *config;
	const struct trust *trust;
	const struct writes *writes; /* Knows the time. */
	const char *key_pem;
	uv_timer_t timer;
	/* The certificate in use was replaced by cert_pem (borrowed). */
	void (*renewed)(void *ctx, const char *cert_pem);
	void *ctx;
	struct tls_identity *id; /* Of the certificate in use. */
};

/* The members above id are the caller's to fill. -EBADMSG when cert_pem cannot be read. */
int renewal_start(struct renewal *r, uv_loop_t *loop, const char *cert_pem, struct status *st);
void renewal_stop(struct renewal *r);
/* Whether a certificate is due at that time. */
bool renewal_is_due(const struct tls_identity *id, int64_t now_s);
/* Renew now, due or not. On a failure the old certificate stays. */
int renewal_run(struct renewal *r, int64_t now_s, struct status *st);
