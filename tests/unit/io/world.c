#include "world.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/io/pki.h"

static void issue_until(const char *ca_pem, const char *ca_key_pem,
			const struct pki_subject *subject, unsigned usages, int64_t not_after_s,
			char **ret_pem, char **ret_key_pem)
{
	struct pki_terms terms = { usages, time(NULL) - 60, not_after_s };

	assert_int_equal(pki_key_create(ret_key_pem, NULL), 0);
	assert_int_equal(
		pki_cert_create(ca_pem, ca_key_pem, *ret_key_pem, subject, &terms, ret_pem, NULL),
		0);
}

static void issue(const char *ca_pem, const char *ca_key_pem, const struct pki_subject *subject,
		  unsigned usages, char **ret_pem, char **ret_key_pem)
{
	issue_until(ca_pem, ca_key_pem, subject, usages, time(NULL) + 3600, ret_pem, ret_key_pem);
}

void world_issue(struct world *w, const char *cn, unsigned usages, long not_after_s, char **ret_pem,
		 char **ret_key_pem)
{
	struct pki_subject subject = { .cn = cn };

	issue_until(w->certs.ca_pem, w->certs.ca_key_pem, &subject, usages, not_after_s, ret_pem,
		    ret_key_pem);
}

static void make_certs(struct certs *c)
{
	static const char *const names[] = { TLS_MASTER_NAME, "localhost", "127.0.0.1" };
	static const char *const masters[] = { "system:masters" };
	struct pki_subject master = { .cn = "master-1", .sans = names, .n_sans = 3 };
	struct pki_subject admin = { .cn = "admin", .orgs = masters, .n_orgs = 1 };
	autofree char *other_key = NULL;
	int64_t now = time(NULL);

	pki_key_create(&c->ca_key_pem, NULL);
	pki_ca_create(c->ca_key_pem, "sampan-ca", now - 60, now + 3600, &c->ca_pem, NULL);
	pki_key_create(&other_key, NULL);
	pki_ca_create(other_key, "other-ca", now - 60, now + 3600, &c->other_ca_pem, NULL);
	issue(c->ca_pem, c->ca_key_pem, &master, PKI_SERVER | PKI_CLIENT, &c->master_pem,
	      &c->master_key_pem);
	issue(c->ca_pem, c->ca_key_pem, &admin, PKI_CLIENT, &c->admin_pem, &c->admin_key_pem);
	issue(c->other_ca_pem, other_key, &admin, PKI_CLIENT, &c->foreign_pem, &c->foreign_key_pem);
}

static struct tls_context *client_context(const struct certs *c, const char *cert, const char *key)
{
	struct tls_client_config config = { .ca_pem = c->ca_pem, .cert_pem = cert, .key_pem = key };
	struct tls_context *context;

	assert_int_equal(tls_client_context_create(&config, &context, NULL), 0);
	return context;
}

struct tls_context *world_client(struct world *w, const char *cert_pem, const char *key_pem)
{
	return client_context(&w->certs, cert_pem, key_pem);
}

static struct tls_context *server_context(const struct certs *c, enum tls_peer peer, bool http2)
{
	struct tls_server_config config = {
		.cert_pem = c->master_pem,
		.key_pem = c->master_key_pem,
		.ca_pem = c->ca_pem,
		.peer = peer,
		.http2 = http2,
	};
	struct tls_context *context;

	assert_int_equal(tls_server_context_create(&config, &context, NULL), 0);
	return context;
}

int world_setup(void **state)
{
	struct world *w = xcalloc(1, sizeof(*w));

	uv_loop_init(&w->uv);
	io_loop_init(&w->loop, &w->uv);
	make_certs(&w->certs);
	w->server_tls = server_context(&w->certs, TLS_PEER_OPTIONAL, true);
	w->sp_tls = server_context(&w->certs, TLS_PEER_REQUIRED, false);
	w->anonymous = client_context(&w->certs, NULL, NULL);
	w->admin = client_context(&w->certs, w->certs.admin_pem, w->certs.admin_key_pem);
	w->foreign = client_context(&w->certs, w->certs.foreign_pem, w->certs.foreign_key_pem);
	*state = w;
	return 0;
}

int world_teardown(void **state)
{
	struct world *w = *state;
	char **texts = (char **)&w->certs;

	io_loop_fini(&w->loop);
	uv_run(&w->uv, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&w->uv), 0);
	tls_context_destroy(w->server_tls);
	tls_context_destroy(w->sp_tls);
	tls_context_destroy(w->anonymous);
	tls_context_destroy(w->admin);
	tls_context_destroy(w->foreign);
	for (size_t i = 0; i < sizeof(w->certs) / sizeof(char *); i++)
		free(texts[i]);
	free(w);
	return 0;
}

static void on_time_up(uv_timer_t *timer)
{
	*(bool *)timer->data = true;
}

void world_run_until(struct world *w, bool (*done)(void *arg), void *arg)
{
	bool time_up = false;
	uv_timer_t timer;

	uv_timer_init(&w->uv, &timer);
	timer.data = &time_up;
	uv_timer_start(&timer, on_time_up, 10000, 0);
	while (!done(arg) && !time_up)
		uv_run(&w->uv, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&timer, NULL);
	uv_run(&w->uv, UV_RUN_NOWAIT);
	if (time_up && !done(arg))
		fail_msg("nothing happened for 10 s");
}

void world_settle(struct world *w)
{
	for (int i = 0; i < 10; i++)
		uv_run(&w->uv, UV_RUN_NOWAIT);
}

void world_set_true(void *arg)
{
	*(bool *)arg = true;
}

static bool is_true(void *arg)
{
	return *(bool *)arg;
}

void world_run_until_true(struct world *w, bool *flag)
{
	world_run_until(w, is_true, flag);
}

static void on_open(struct tls_stream *s)
{
	container_of(s, struct client, tls)->open = true;
}

static void on_read(struct tls_stream *s, const uint8_t *data, size_t n)
{
	buf_put(&container_of(s, struct client, tls)->got, data, n);
}

static void on_end(struct tls_stream *s, int rc)
{
	struct client *c = container_of(s, struct client, tls);

	c->ended = true;
	c->rc = rc;
}

void client_connect(struct client *c, struct world *w, struct tls_context *tls, int port)
{
	static const struct tls_stream_ops ops = { on_open, on_read, NULL, on_end };
	struct sockaddr_in addr;

	*c = (struct client){ .world = w };
	uv_ip4_addr("127.0.0.1", port, &addr);
	tls_stream_connect(&c->tls, &w->loop, tls, (struct sockaddr *)&addr, TLS_MASTER_NAME, &ops);
}

static bool is_open(void *arg)
{
	struct client *c = arg;

	return c->open || c->ended;
}

static bool is_ended(void *arg)
{
	return ((struct client *)arg)->ended;
}

static bool is_closed(void *arg)
{
	return ((struct client *)arg)->closed;
}

void client_wait_open(struct client *c)
{
	world_run_until(c->world, is_open, c);
}

void client_wait_end(struct client *c)
{
	world_run_until(c->world, is_ended, c);
}

void client_send_bytes(struct client *c, const void *data, size_t n)
{
	client_wait_open(c);
	tls_stream_write(&c->tls, data, n);
}

void client_send(struct client *c, const char *text)
{
	client_send_bytes(c, text, strlen(text));
}

struct expectation {
	struct client *client;
	const char *text;
};

static bool has_text(void *arg)
{
	struct expectation *e = arg;
	struct buf *got = &e->client->got;

	return got->len > 0 && memmem(got->data, got->len, e->text, strlen(e->text)) != NULL;
}

void client_wait_for(struct client *c, const char *text)
{
	struct expectation e = { c, text };

	world_run_until(c->world, has_text, &e);
}

static void on_closed(struct tls_stream *s)
{
	container_of(s, struct client, tls)->closed = true;
}

void client_close(struct client *c)
{
	tls_stream_close(&c->tls, on_closed);
	world_run_until(c->world, is_closed, c);
	buf_fini(&c->got);
}
