/* A call: resolve, connect, send, read the head, read the body, answer.
 *
 * complete() ends it, once: it calls back and then closes what is open. The memory
 * goes when the timer, the resolver and the connection are closed and, after an
 * upgrade, the stream is let go. */
#include "common/io/http_client.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/io/h1_parse.h"
#include "common/io/tls_bytes.h"
#include "common/io/tls_stream.h"

struct http_call {
	struct tls_stream tls;
	struct tls_bytes bytes;
	struct io_loop *loop;
	struct tls_context *context;
	uv_timer_t timer;
	uv_getaddrinfo_t resolve;
	int parts;      /* Of timer, resolver, connection and held stream: not gone yet. */
	bool connected; /* tls is in use. */
	bool done;
	int timer_rc; /* What the timer means. */
	char *host, *server_name, *upgrade;
	int port;
	bool head_only;
	size_t body_bytes_max;
	void (*on_data)(void *arg, const uint8_t *data, size_t n);
	http_response_cb *cb;
	void *arg;
	struct buf out;

	enum { IN_HEAD, IN_BODY, IN_CHUNKS, IN_REST } phase;
	struct buf in;
	size_t seen;
	struct buf head_text;
	struct h1_head head;
	struct h1_chunked chunked;
	uint64_t body_left;
	struct buf body;
};

static void part_gone(struct http_call *c)
{
	if (--c->parts > 0)
		return;
	free(c->host);
	free(c->server_name);
	free(c->upgrade);
	free(c->head.headers);
	buf_fini(&c->out);
	buf_fini(&c->in);
	buf_fini(&c->head_text);
	buf_fini(&c->body);
	free(c);
}

static void on_timer_closed(uv_handle_t *h)
{
	part_gone(container_of((uv_timer_t *)h, struct http_call, timer));
}

static void on_tls_closed(struct tls_stream *tls)
{
	struct http_call *c = container_of(tls, struct http_call, tls);

	if (tls->bytes != NULL && tls_bytes_closed(tls->bytes))
		return; /* release_bytes() follows. */
	part_gone(c);
}

static void release_bytes(struct tls_bytes *b)
{
	part_gone(container_of(b, struct http_call, bytes));
}

static void finish_bytes(struct tls_bytes *b)
{
	tls_stream_finish(b->tls, on_tls_closed);
}

/* Close what is open, except a connection that became the holder's stream. */
static void let_go(struct http_call *c)
{
	c->done = true;
	if (c->connected && c->tls.bytes == NULL)
		tls_stream_finish(&c->tls, on_tls_closed);
	uv_cancel((uv_req_t *)&c->resolve);
	uv_close((uv_handle_t *)&c->timer, on_timer_closed);
}

static void complete(struct http_call *c, int rc, struct byte_stream *stream)
{
	struct http_response response = { 0 };

	if (c->done)
		return;
	if (rc == 0)
		response = (struct http_response){ c->head.status, c->head.headers,
						   c->head.n_headers, buf_bytes(&c->body) };
	let_go(c);
	c->cb(c->arg, rc, rc == 0 ? &response : NULL, stream);
}

void http_call_cancel(struct http_call *c)
{
	assert(!c->done);
	let_go(c);
}

static void on_time_up(uv_timer_t *timer)
{
	struct http_call *c = container_of(timer, struct http_call, timer);

	complete(c, c->timer_rc, NULL);
}

const char *http_response_header(const struct http_response *r, const char *name)
{
	for (size_t i = 0; i < r->n_headers; i++) {
		if (strcasecmp(r->headers[i].name, name) == 0)
			return r->headers[i].value;
	}
	return NULL;
}

/* The response */

/* Returns false when nothing but the head belongs to the response. */
static bool begin_body(struct http_call *c)
{
	const struct h1_head *h = &c->head;

	if (c->head_only || h->status == 204 || h->status == 304 || h->content_length == 0)
		return false;
	c->phase = h->chunked ? IN_CHUNKS : h->content_length >= 0 ? IN_BODY : IN_REST;
	c->body_left = h->content_length > 0 ? (uint64_t)h->content_length : UINT64_MAX;
	if (c->on_data != NULL)
		uv_timer_stop(&c->timer);
	return true;
}

static void head_complete(struct http_call *c, size_t n)
{
	buf_clear(&c->head_text);
	buf_put(&c->head_text, c->in.data, n);
	buf_consume(&c->in, n);
	c->seen = 0;
	free(c->head.headers);
	if (h1_parse_response((char *)c->head_text.data, c->head_text.len, &c->head) != 0) {
		complete(c, -EPROTO, NULL);
		return;
	}
	if (c->head.status == 101 && c->upgrade != NULL) {
		complete(c, 0,
			 tls_bytes_init(&c->bytes, &c->tls, &c->in, finish_bytes, release_bytes));
		return;
	}
	if (c->head.status < 200)
		return; /* Another head follows. */
	if (!begin_body(c))
		complete(c, 0, NULL);
}

static bool read_head(struct http_call *c)
{
	size_t n = h1_head_length(c->in.data, c->in.len, c->seen);

	c->seen = c->in.len;
	if (n > H1_HEAD_BYTES_MAX || (n == 0 && c->in.len > H1_HEAD_BYTES_MAX))
		complete(c, -EMSGSIZE, NULL);
	else if (n > 0)
		head_complete(c, n);
	return n > 0;
}

static void hand_on(struct http_call *c)
{
	if (c->on_data == NULL || c->body.len == 0)
		return;
	struct buf body = c->body;

	c->body = (struct buf){ 0 };
	c->on_data(c->arg, body.data, body.len);
	buf_fini(&body);
}

static void read_plain(struct http_call *c)
{
	size_t n = c->in.len < c->body_left ? c->in.len : (size_t)c->body_left;

	if (c->on_data == NULL && n > c->body_bytes_max - c->body.len) {
		complete(c, -EMSGSIZE, NULL);
		return;
	}
	buf_put(&c->body, c->in.data, n);
	buf_consume(&c->in, n);
	c->body_left -= n;
	hand_on(c);
	if (c->body_left == 0)
		complete(c, 0, NULL);
}

static void read_chunks(struct http_call *c)
{
	size_t used;
	int refused = h1_chunked_feed(&c->chunked, c->in.data, c->in.len, &used, &c->body,
				      c->on_data != NULL ? SIZE_MAX : c->body_bytes_max);

	if (refused != 0) {
		complete(c, refused == 413 ? -EMSGSIZE : -EPROTO, NULL);
		return;
	}
	buf_consume(&c->in, used);
	hand_on(c);
	if (!c->done && c->chunked.state == H1_DONE)
		complete(c, 0, NULL);
}

static void on_read(struct tls_stream *tls, const uint8_t *data, size_t n)
{
	struct http_call *c = container_of(tls, struct http_call, tls);

	buf_put(&c->in, data, n);
	while (!c->done && c->in.len > 0) {
		if (c->phase == IN_HEAD && !read_head(c))
			return;
		if (c->done || c->in.len == 0)
			return;
		if (c->phase == IN_CHUNKS)
			read_chunks(c);
		else if (c->phase != IN_HEAD)
			read_plain(c);
	}
}

static void on_end(struct tls_stream *tls, int rc)
{
	struct http_call *c = container_of(tls, struct http_call, tls);
	bool complete_at_end = rc == 0 && c->phase == IN_REST;

	complete(c, complete_at_end ? 0 : rc < 0 ? rc : -ECONNRESET, NULL);
}

/* The request */

static void on_open(struct tls_stream *tls)
{
	struct http_call *c = container_of(tls, struct http_call, tls);

	tls_stream_write_buf(tls, &c->out);
}

static const struct tls_stream_ops call_ops = {
	.on_open = on_open,
	.on_read = on_read,
	.on_end = on_end,
};

static void connect_to(struct http_call *c, const struct sockaddr *addr)
{
	c->connected = true;
	c->parts++;
	tls_stream_connect(&c->tls, c->loop, c->context, addr, c->server_name, &call_ops);
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *info)
{
	struct http_call *c = container_of(req, struct http_call, resolve);

	if (!c->done && status < 0)
		complete(c, status == UV_EAI_NONAME ? -ENOENT : -EHOSTUNREACH, NULL);
	else if (!c->done)
		connect_to(c, info->ai_addr);
	uv_freeaddrinfo(info);
	part_gone(c);
}

static void resolve(struct http_call *c)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG };
	struct sockaddr_storage addr;
	char service[12];

	if (uv_ip4_addr(c->host, c->port, (struct sockaddr_in *)&addr) == 0 ||
	    uv_ip6_addr(c->host, c->port, (struct sockaddr_in6 *)&addr) == 0) {
		connect_to(c, (struct sockaddr *)&addr);
		return;
	}
	snprintf(service, sizeof(service), "%d", c->port);
	if (uv_getaddrinfo(c->loop->uv, &c->resolve, on_resolved, c->host, service, &hints) == 0) {
		c->parts++;
		return;
	}
	c->timer_rc = -EINVAL; /* Not even a name; told in the next turn. */
	uv_timer_start(&c->timer, on_time_up, 0, 0);
}

static void put_request(struct http_call *c, const struct http_request *r)
{
	const char *method = r->method != NULL ? r->method : "GET";
	bool v6 = strchr(r->host, ':') != NULL;

	buf_printf(&c->out, "%s %s HTTP/1.1\r\nHost: %s%s%s:%d\r\n", method, r->target,
		   v6 ? "[" : "", r->host, v6 ? "]" : "", r->port);
	for (size_t i = 0; i < r->n_headers; i++)
		buf_printf(&c->out, "%s: %s\r\n", r->headers[i].name, r->headers[i].value);
	if (r->body.len > 0 || strcmp(method, "GET") != 0)
		buf_printf(&c->out, "Content-Length: %zu\r\n", r->body.len);
	if (r->upgrade != NULL)
		buf_printf(&c->out, "Connection: Upgrade\r\nUpgrade: %s\r\n\r\n", r->upgrade);
	else
		buf_put_str(&c->out, "Connection: close\r\n\r\n");
	buf_put(&c->out, r->body.data, r->body.len);
	c->head_only = strcmp(method, "HEAD") == 0;
}

struct http_call *http_client_send(struct io_loop *loop, const struct http_request *r,
				   http_response_cb *cb, void *arg)
{
	struct http_call *c = xcalloc(1, sizeof(*c));

	c->loop = loop;
	c->context = r->tls;
	c->host = xstrdup(r->host);
	c->port = r->port;
	c->server_name = xstrdup(r->server_name != NULL ? r->server_name : r->host);
	c->upgrade = r->upgrade != NULL ? xstrdup(r->upgrade) : NULL;
	c->body_bytes_max = r->body_bytes_max != 0 ? r->body_bytes_max : 16 * 1024 * 1024;
	c->on_data = r->on_data;
	c->cb = cb;
	c->arg = arg;
	put_request(c, r);
	c->parts = 1;
	c->timer_rc = -ETIMEDOUT;
	uv_timer_init(loop->uv, &c->timer);
	uv_timer_start(&c->timer, on_time_up, r->timeout_ms != 0 ? r->timeout_ms : 30000, 0);
	resolve(c);
	return c;
}
