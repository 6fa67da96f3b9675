/* A small world for the tests of common/io: a loop, a CA with certificates, and
 * a raw TLS client that sends what it is told and keeps what it gets. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/io/loop.h"
#include "common/io/tls.h"
#include "common/io/tls_stream.h"

struct certs {
	char *ca_pem, *ca_key_pem;
	char *master_pem, *master_key_pem; /* TLS_MASTER_NAME, localhost, 127.0.0.1. */
	char *admin_pem, *admin_key_pem;   /* CN=admin, O=system:masters. */
	char *other_ca_pem, *foreign_pem, *foreign_key_pem;
};

struct world {
	uv_loop_t uv;
	struct io_loop loop;
	struct certs certs;
	struct tls_context *server_tls;                  /* Optional client certificates, h2. */
	struct tls_context *sp_tls;                      /* Client certificates required. */
	struct tls_context *anonymous, *admin, *foreign; /* Clients. */
};

/* A certificate with its key by the world's CA, and a client that shows it. */
void world_issue(struct world *w, const char *cn, unsigned usages, long not_after_s, char **ret_pem,
		 char **ret_key_pem);
struct tls_context *world_client(struct world *w, const char *cert_pem, const char *key_pem);

int world_setup(void **state);
int world_teardown(void **state);
/* Turn the loop until done(arg), at most 10 s. Fails the test when time is up. */
void world_run_until(struct world *w, bool (*done)(void *arg), void *arg);
/* Turn it as long as something happens at once. */
void world_settle(struct world *w);

/* For close functions that take (void (*)(void *), void *): sets the bool it is given. */
void world_set_true(void *arg);
/* Until the bool is true. */
void world_run_until_true(struct world *w, bool *flag);

struct client {
	struct world *world;
	struct tls_stream tls;
	bool open, ended, closed;
	int rc;
	struct buf got;
};

void client_connect(struct client *c, struct world *w, struct tls_context *tls, int port);
void client_send(struct client *c, const char *text);
void client_send_bytes(struct client *c, const void *data, size_t n);
/* Until the connection is open, or until the peer closed. */
void client_wait_open(struct client *c);
void client_wait_end(struct client *c);
/* Until what it got contains the text. */
void client_wait_for(struct client *c, const char *text);
void client_close(struct client *c);
