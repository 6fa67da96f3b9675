#include "common/io/exchange.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/io/http_conn.h"

static struct exchange_core *core_of(const struct exchange *x)
{
	return container_of((struct exchange *)x, struct exchange_core, pub);
}

const char *http_reason(int status)
{
	static const struct {
		int status;
		const char *text;
	} known[] = {
		{ 100, "Continue" },
		{ 101, "Switching Protocols" },
		{ 200, "OK" },
		{ 201, "Created" },
		{ 202, "Accepted" },
		{ 204, "No Content" },
		{ 301, "Moved Permanently" },
		{ 302, "Found" },
		{ 304, "Not Modified" },
		{ 400, "Bad Request" },
		{ 401, "Unauthorized" },
		{ 403, "Forbidden" },
		{ 404, "Not Found" },
		{ 405, "Method Not Allowed" },
		{ 406, "Not Acceptable" },
		{ 408, "Request Timeout" },
		{ 409, "Conflict" },
		{ 410, "Gone" },
		{ 413, "Payload Too Large" },
		{ 414, "URI Too Long" },
		{ 415, "Unsupported Media Type" },
		{ 417, "Expectation Failed" },
		{ 422, "Unprocessable Entity" },
		{ 426, "Upgrade Required" },
		{ 429, "Too Many Requests" },
		{ 431, "Request Header Fields Too Large" },
		{ 500, "Internal Server Error" },
		{ 501, "Unsupported Transfer Coding" },
		{ 502, "Bad Gateway" },
		{ 503, "Service Unavailable" },
		{ 504, "Gateway Timeout" },
		{ 505, "HTTP Version Not Supported" },
	};

	for (size_t i = 0; i < array_size(known); i++) {
		if (known[i].status == status)
			return known[i].text;
	}
	return "Status";
}

/* The words Kubernetes has for what the server itself refuses. */
void exchange_refusal(struct buf *to, int status)
{
	static const struct {
		int status;
		const char *reason, *message;
	} known[] = {
		{ 400, "BadRequest", "the request is not valid HTTP" },
		{ 408, "Timeout", "the request did not arrive in time" },
		{ 413, "RequestEntityTooLarge", "the request body is too large" },
		{ 417, "BadRequest", "the only expectation served is 100-continue" },
		{ 431, "BadRequest", "the request header is too large" },
		{ 501, "BadRequest", "the only transfer coding served is chunked" },
		{ 503, "ServiceUnavailable", "too many request bodies at once, try again" },
		{ 505, "BadRequest", "the HTTP versions served are 1.0, 1.1 and 2" },
	};
	const char *reason = "InternalError", *message = "the request cannot be served";

	for (size_t i = 0; i < array_size(known); i++) {
		if (known[i].status == status) {
			reason = known[i].reason;
			message = known[i].message;
		}
	}
	buf_printf(to,
		   "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":"
		   "\"Failure\",\"message\":\"%s\",\"reason\":\"%s\",\"code\":%d}\n",
		   message, reason, status);
}

struct exchange_core *exchange_create(struct http_conn *c)
{
	struct exchange_core *x = xcalloc(1, sizeof(*x));

	x->conn = c;
	x->server = c->server;
	x->server->refs++;
	x->peer = tls_identity_ref(c->peer);
	memcpy(x->remote, c->remote, sizeof(x->remote));
	x->pub.peer = x->peer;
	x->pub.peer_problem = c->peer_problem;
	x->pub.remote = x->remote;
	list_push_back(&c->exchanges, &x->link);
	c->n_exchanges++;
	return x;
}

static void leave_conn(struct exchange_core *x)
{
	if (x->conn == NULL)
		return;
	list_remove(&x->link);
	x->conn->n_exchanges--;
	x->conn = NULL;
}

void exchange_destroy(struct exchange_core *x)
{
	assert(!x->owned);
	leave_conn(x);
	x->server->all_body_bytes -= x->body_charged;
	http_server_unref(x->server);
	tls_identity_unref(x->peer);
	buf_fini(&x->head);
	buf_fini(&x->body);
	buf_fini(&x->added);
	buf_fini(&x->h2.out);
	if (x->h2.drain.run != NULL)
		io_later_cancel(&x->h2.drain);
	free(x->h2.fields);
	free(x->headers);
	free(x);
}

int exchange_charge_body(struct exchange_core *x, size_t n)
{
	const struct http_server_config *config = &x->server->config;

	if (x->body_charged + n > config->body_bytes_max)
		return 413;
	if (x->server->all_body_bytes + n > config->all_body_bytes_max)
		return 503;
	x->body_charged += n;
	x->server->all_body_bytes += n;
	return 0;
}

void exchange_dispatch(struct exchange_core *x, const char *method, char *target, int version)
{
	char *query = strchr(target, '?');

	if (query != NULL)
		*query++ = '\0';
	x->pub.method = method;
	x->pub.path = target;
	x->pub.query = query != NULL ? query : "";
	x->pub.headers = x->headers;
	x->pub.body = buf_bytes(&x->body);
	x->pub.http_version = version;
	x->pub.started_ms = io_now_ms(x->server->loop);
	x->head_only = strcmp(method, "HEAD") == 0;
	x->owned = true;
	x->server->config.on_request(&x->pub, x->server->config.arg);
}

void exchange_detach(struct exchange_core *x)
{
	leave_conn(x);
	if (!x->owned)
		exchange_destroy(x);
	else if (x->pub.on_gone != NULL)
		x->pub.on_gone(&x->pub);
}

const char *exchange_header_next(const struct exchange *x, const char *name, size_t *at)
{
	while (*at < x->n_headers) {
		const struct http_header *h = &x->headers[(*at)++];

		if (strcasecmp(h->name, name) == 0)
			return h->value;
	}
	return NULL;
}

const char *exchange_header(const struct exchange *x, const char *name)
{
	size_t at = 0;

	return exchange_header_next(x, name, &at);
}

void exchange_add_header(struct exchange *x, const char *name, const char *value)
{
	struct exchange_core *core = core_of(x);

	assert(!core->began);
	buf_put(&core->added, name, strlen(name) + 1);
	for (; *value != '\0'; value++)
		buf_put_byte(&core->added,
			     *value == '\r' || *value == '\n' ? ' ' : (uint8_t)*value);
	buf_put_byte(&core->added, 0);
}

bool exchange_is_gone(const struct exchange *x)
{
	return core_of(x)->conn == NULL;
}

struct io_loop *exchange_loop(const struct exchange *x)
{
	return core_of(x)->server->loop;
}

void exchange_respond_buf(struct exchange *x, int status, const char *content_type,
			  struct buf *body)
{
	struct exchange_core *core = core_of(x);

	assert(core->owned);
	assert(!core->began);
	core->owned = false;
	core->began = true;
	if (core->conn == NULL)
		exchange_destroy(core);
	else
		core->conn->protocol->begin(core, status, content_type, (int64_t)body->len, body);
	buf_fini(body);
}

void exchange_respond(struct exchange *x, int status, const char *content_type, const void *body,
		      size_t n)
{
	struct buf copy = { 0 };

	buf_put(&copy, body, n);
	exchange_respond_buf(x, status, content_type, &copy);
}

void exchange_begin(struct exchange *x, int status, const char *content_type)
{
	struct exchange_core *core = core_of(x);

	assert(core->owned);
	assert(!core->began);
	core->began = true;
	if (core->conn != NULL)
		core->conn->protocol->begin(core, status, content_type, -1, NULL);
}

void exchange_write(struct exchange *x, const void *data, size_t n)
{
	struct exchange_core *core = core_of(x);

	assert(core->owned);
	assert(core->began);
	if (core->conn != NULL && n > 0 && !core->head_only)
		core->conn->protocol->write(core, data, n);
}

size_t exchange_pending(const struct exchange *x)
{
	const struct exchange_core *core = core_of(x);

	return core->conn != NULL ? core->conn->protocol->pending(core) : 0;
}

void exchange_end(struct exchange *x)
{
	struct exchange_core *core = core_of(x);

	assert(core->owned);
	core->owned = false;
	if (core->conn == NULL)
		exchange_destroy(core);
	else if (core->began)
		core->conn->protocol->end(core);
	else
		core->conn->protocol->abort(core);
}

void exchange_abort(struct exchange *x)
{
	struct exchange_core *core = core_of(x);

	assert(core->owned);
	core->owned = false;
	if (core->conn == NULL)
		exchange_destroy(core);
	else
		core->conn->protocol->abort(core);
}
