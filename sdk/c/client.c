#include "sdk/c/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <uv.h>

#include "common/api/value.h"
#include "common/base/alloc.h"
#include "common/base/arena.h"
#include "common/base/cleanup.h"
#include "common/io/http_client.h"
#include "common/io/loop.h"
#include "common/io/tls.h"

struct client {
	uv_loop_t uv;
	struct io_loop io;
	struct tls_context *tls;
	char *host, *server_name, *authorization;
	int port;
};

static struct client *client_new(const char *host, int port)
{
	struct client *c = xcalloc(1, sizeof(*c));

	if (uv_loop_init(&c->uv) < 0)
		abort();
	io_loop_init(&c->io, &c->uv);
	c->host = xstrdup(host);
	c->port = port;
	return c;
}

int client_open(const struct kubeconfig *k, struct client **ret_client, struct status *st)
{
	struct client *c = client_new(k->host, k->port);
	const struct tls_client_config tls = {
		.ca_pem = k->ca_pem, .cert_pem = k->cert_pem, .key_pem = k->key_pem,
	};
	int rc = tls_client_context_create(&tls, &c->tls, st);

	if (rc < 0) {
		client_close(c);
		return rc;
	}
	if (k->server_name != NULL)
		c->server_name = xstrdup(k->server_name);
	if (k->token != NULL)
		c->authorization = xasprintf("Bearer %s", k->token);
	*ret_client = c;
	return 0;
}

int client_open_pinned(const char *host, int port, const uint8_t ca_sha256[32],
		       struct client **ret_client, struct status *st)
{
	struct client *c = client_new(host, port);
	const struct tls_client_config tls = { .pin_sha256 = ca_sha256 };
	int rc = tls_client_context_create(&tls, &c->tls, st);

	if (rc < 0) {
		client_close(c);
		return rc;
	}
	c->server_name = xstrdup(TLS_MASTER_NAME);
	*ret_client = c;
	return 0;
}

void client_close(struct client *c)
{
	if (c == NULL)
		return;
	uv_run(&c->uv, UV_RUN_NOWAIT);
	io_loop_fini(&c->io);
	uv_run(&c->uv, UV_RUN_DEFAULT);
	uv_loop_close(&c->uv);
	if (c->tls != NULL)
		tls_context_destroy(c->tls);
	free(c->host);
	free(c->server_name);
	free(c->authorization);
	free(c);
}

struct waiting {
	bool done;
	int rc, code;
	struct buf *body;
};

static void on_response(void *arg, int rc, const struct http_response *response,
			struct byte_stream *stream)
{
	struct waiting *w = arg;

	(void)stream;
	w->done = true;
	w->rc = rc;
	if (rc == 0) {
		w->code = response->status;
		buf_put(w->body, response->body.data, response->body.len);
	}
}

int client_call(struct client *c, const struct client_request *request, int *ret_code,
		struct buf *ret_body, struct status *st)
{
	struct http_header headers[4];
	size_t n = 0;
	autofree char *bearer = request->bearer ? xasprintf("Bearer %s", request->bearer) : NULL;
	const char *authorization = bearer ? bearer : c->authorization;
	struct waiting w = { .body = ret_body };

	headers[n++] = (struct http_header){ "Accept",
					     request->accept ? request->accept : "application/json" };
	if (request->body.len > 0)
		headers[n++] = (struct http_header){ "Content-Type", request->content_type
									     ? request->content_type
									     : "application/json" };
	if (authorization != NULL)
		headers[n++] = (struct http_header){ "Authorization", authorization };
	const struct http_request r = {
		.host = c->host,
		.port = c->port,
		.tls = c->tls,
		.server_name = c->server_name,
		.method = request->method,
		.target = request->path,
		.headers = headers,
		.n_headers = n,
		.body = request->body,
		.timeout_ms = request->timeout_ms,
	};
	http_client_send(&c->io, &r, on_response, &w);
	while (!w.done)
		uv_run(&c->uv, UV_RUN_ONCE);
	if (w.rc < 0)
		return status_set(st, w.rc, "%s:%d: %s", c->host, c->port, strerror(-w.rc));
	*ret_code = w.code;
	return 0;
}

/* The message of a Status, or the beginning of whatever came. */
static int refusal(int code, struct buf *body, struct status *st)
{
	auto_with(arena_fini) struct arena arena = { 0 };
	struct value *status;
	const char *message = NULL;

	arena_init(&arena, 0);
	if (value_parse(buf_bytes(body), &arena, &status, NULL) == 0)
		message = value_get_string(status, "message");
	status_set(st, code == 404 ? -ENOENT : code == 409 ? -EEXIST : -EREMOTEIO, "%s",
		   message ? message : arena_strndup(&arena, buf_cstr(body), 200));
	status_http(st, code, "");
	return st ? st->rc : -EREMOTEIO;
}

int client_must(struct client *c, const struct client_request *request, struct buf *ret_body,
		struct status *st)
{
	struct buf own = { 0 }, *body = ret_body ? ret_body : &own;
	int code = 0, rc = client_call(c, request, &code, body, st);

	if (rc == 0 && code >= 300)
		rc = refusal(code, body, st);
	buf_fini(&own);
	return rc;
}
