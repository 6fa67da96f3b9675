/* HTTP/1.1 on one connection.
 *
 *   HEAD -> BODY or CHUNKS -> BUSY -> HEAD ...      one request after the other
 *     |          |             |
 *     +----------+-------------+--> CLOSING         refused, or the last response is out
 *                              +--> UPGRADED        bytes until the stream is closed
 *
 * Everything received goes through `in`. While a request is BUSY, what the client
 * sends ahead (pipelining) waits there, up to 64 KiB; then the socket is not read
 * any more. Only advance() moves the parser, and it never runs inside itself. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/io/http_conn.h"

static void run_next(struct io_later *item);

void h1_conn_init(struct http_conn *c)
{
	io_later_init(&c->h1.next, run_next);
	http_conn_set_deadline(c, c->server->config.header_ms);
}

static size_t available(const struct h1_conn *h)
{
	return h->in.len - h->in_off;
}

static void take(struct h1_conn *h, size_t n)
{
	h->in_off += n;
	if (h->in_off == h->in.len) {
		buf_fini(&h->in);
		h->in_off = 0;
	}
}

static void put_head(struct buf *to, struct http_server *s, int status)
{
	buf_printf(to, "HTTP/1.1 %d %s\r\nDate: %s\r\n", status, http_reason(status),
		   http_server_date(s));
}

/* Answer what is not worth a handler, then close. What still arrives is dropped. */
static void refuse(struct http_conn *c, int status)
{
	auto_with(buf_fini) struct buf body = { 0 };
	auto_with(buf_fini) struct buf head = { 0 };

	exchange_refusal(&body, status);
	put_head(&head, c->server, status);
	buf_printf(&head,
		   "Content-Type: application/json\r\nContent-Length: %zu\r\n"
		   "Connection: close\r\n\r\n",
		   body.len);
	buf_put(&head, body.data, body.len);
	tls_stream_write_buf(&c->tls, &head);
	c->h1.phase = H1_CLOSING;
	http_conn_finish(c);
}

static void request_done(struct http_conn *c)
{
	struct exchange_core *x = c->h1.x;
	bool keep_alive = x->keep_alive && !c->server->shutting_down;

	c->h1.x = NULL;
	exchange_destroy(x);
	if (!keep_alive) {
		c->h1.phase = H1_CLOSING;
		http_conn_finish(c);
		return;
	}
	c->h1.phase = H1_IN_HEAD;
	c->h1.seen = 0;
	http_conn_set_deadline(c, c->server->config.idle_ms);
	tls_stream_resume(&c->tls);
	io_later_add(c->tls.loop, &c->h1.next);
}

static void dispatch(struct http_conn *c)
{
	struct exchange_core *x = c->h1.x;

	c->h1.phase = H1_BUSY;
	http_conn_set_deadline(c, 0);
	exchange_dispatch(x, x->pub.method, (char *)x->pub.path, x->pub.http_version);
}

/* The head is parsed: what comes next? */
static void begin_body(struct http_conn *c, const struct h1_head *head)
{
	static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";

	if (head->content_length > (int64_t)c->server->config.body_bytes_max) {
		refuse(c, 413);
		return;
	}
	if (!head->chunked && head->content_length <= 0) {
		dispatch(c);
		return;
	}
	if (head->expect_continue && head->version == 11)
		tls_stream_write(&c->tls, go_on, sizeof(go_on) - 1);
	http_conn_set_deadline(c, c->server->config.body_ms);
	c->h1.chunked = (struct h1_chunked){ 0 };
	c->h1.body_left = head->chunked ? 0 : (uint64_t)head->content_length;
	c->h1.phase = head->chunked ? H1_IN_CHUNKS : H1_IN_BODY;
}

static void parse_head(struct http_conn *c, size_t n)
{
	struct h1_conn *h = &c->h1;
	struct exchange_core *x = exchange_create(c);
	struct h1_head head;

	buf_put(&x->head, h->in.data + h->in_off, n);
	take(h, n);
	h->x = x;

	int refused = h1_parse_request((char *)x->head.data, x->head.len, &head);

	x->headers = head.headers;
	if (refused != 0) {
		refuse(c, refused);
		return;
	}
	x->keep_alive = head.keep_alive;
	x->pub.n_headers = head.n_headers;
	x->pub.headers = x->headers;
	x->pub.method = head.method;
	x->pub.path = head.target;
	x->pub.http_version = head.version;
	begin_body(c, &head);
}

static bool step_head(struct http_conn *c)
{
	struct h1_conn *h = &c->h1;
	const uint8_t *data = h->in.data + h->in_off;
	size_t n = available(h), head;

	if (h->seen == 0)
		http_conn_set_deadline(c, c->server->config.header_ms);
	/* One empty line before a request is tolerated, as the RFC asks. */
	if (h->seen == 0 && n >= 2 && memcmp(data, "\r\n", 2) == 0) {
		take(h, 2);
		h->seen = 0;
		return true;
	}
	head = h1_head_length(data, n, h->seen);
	h->seen = n;
	if (head > H1_HEAD_BYTES_MAX || (head == 0 && n > H1_HEAD_BYTES_MAX)) {
		refuse(c, 431);
		return false;
	}
	if (head == 0)
		return false;
	h->seen = 0;
	parse_head(c, head);
	return true;
}

static bool step_body(struct http_conn *c)
{
	struct h1_conn *h = &c->h1;
	size_t n = available(h) < h->body_left ? available(h) : (size_t)h->body_left;
	int refused = exchange_charge_body(h->x, n);

	if (refused != 0) {
		refuse(c, refused);
		return false;
	}
	buf_put(&h->x->body, h->in.data + h->in_off, n);
	take(h, n);
	h->body_left -= n;
	if (h->body_left == 0)
		dispatch(c);
	return true;
}

static bool step_chunks(struct http_conn *c)
{
	struct h1_conn *h = &c->h1;
	size_t used, before = h->x->body.len;
	int refused = h1_chunked_feed(&h->chunked, h->in.data + h->in_off, available(h), &used,
				      &h->x->body, c->server->config.body_bytes_max);

	if (refused == 0)
		refused = exchange_charge_body(h->x, h->x->body.len - before);
	if (refused != 0) {
		refuse(c, refused);
		return false;
	}
	take(h, used);
	if (h->chunked.state == H1_DONE)
		dispatch(c);
	return true;
}

static bool step(struct http_conn *c)
{
	switch (c->h1.phase) {
	case H1_IN_HEAD:
		return tls_stream_pending(&c->tls) <= TLS_HIGH_BYTES && step_head(c);
	case H1_IN_BODY:
		return step_body(c);
	case H1_IN_CHUNKS:
		return step_chunks(c);
	case H1_BUSY:
		if (available(&c->h1) > H1_HEAD_BYTES_MAX)
			tls_stream_pause(&c->tls);
		return false;
	case H1_CLOSING:
	case H1_UPGRADED: /* The bytes have gone to the stream. */
		buf_fini(&c->h1.in);
		c->h1.in_off = 0;
		return false;
	}
	abort();
}

static void advance(struct http_conn *c)
{
	struct h1_conn *h = &c->h1;

	if (h->advancing)
		return;
	h->advancing = true;
	while (available(h) > 0 && c->tls.state == TLS_STREAM_OPEN && step(c))
		;
	h->advancing = false;
	if (h->in_off > H1_HEAD_BYTES_MAX) {
		buf_consume(&h->in, h->in_off);
		h->in_off = 0;
	}
}

static void run_next(struct io_later *item)
{
	advance(container_of(item, struct http_conn, h1.next));
}

static void h1_read(struct http_conn *c, const uint8_t *data, size_t n)
{
	struct h1_conn *h = &c->h1;

	buf_put(&h->in, data, n);
	advance(c);
}

static void h1_drain(struct http_conn *c)
{
	struct h1_conn *h = &c->h1;

	if (h->phase == H1_BUSY && h->x->owned && h->x->pub.on_drain != NULL)
		h->x->pub.on_drain(&h->x->pub);
	io_later_add(c->tls.loop, &h->next);
}

static void h1_deadline(struct http_conn *c)
{
	struct h1_conn *h = &c->h1;

	/* Between requests there is nobody to answer. */
	if (h->phase == H1_IN_HEAD && available(h) == 0)
		http_conn_finish(c);
	else if (h->phase == H1_IN_HEAD || h->phase == H1_IN_BODY || h->phase == H1_IN_CHUNKS)
		refuse(c, 408);
}

static void h1_shutdown(struct http_conn *c)
{
	if (c->h1.phase == H1_IN_HEAD && available(&c->h1) == 0)
		http_conn_finish(c);
}

static void h1_fini(struct http_conn *c)
{
	io_later_cancel(&c->h1.next);
	buf_fini(&c->h1.in);
	c->h1.in_off = 0;
}

static bool has_body(int status)
{
	return status >= 200 && status != 204 && status != 304;
}

static void put_added(struct buf *to, const struct buf *added)
{
	const char *at = (const char *)added->data, *end = at + added->len;

	while (at < end) {
		const char *value = at + strlen(at) + 1;

		buf_printf(to, "%s: %s\r\n", at, value);
		at = value + strlen(value) + 1;
	}
}

static void h1_begin(struct exchange_core *x, int status, const char *content_type,
		     int64_t content_length, struct buf *body)
{
	struct http_conn *c = x->conn;
	auto_with(buf_fini) struct buf head = { 0 };

	put_head(&head, c->server, status);
	put_added(&head, &x->added);
	if (content_type != NULL)
		buf_printf(&head, "Content-Type: %s\r\n", content_type);
	if (content_length >= 0 && has_body(status))
		buf_printf(&head, "Content-Length: %lld\r\n", (long long)content_length);
	x->chunked = content_length < 0 && x->pub.http_version == 11 && has_body(status);
	if (x->chunked)
		buf_put_str(&head, "Transfer-Encoding: chunked\r\n");
	else if (content_length < 0)
		x->keep_alive = false;
	if (!x->keep_alive || c->server->shutting_down)
		buf_put_str(&head, "Connection: close\r\n");
	else if (x->pub.http_version == 10)
		buf_put_str(&head, "Connection: keep-alive\r\n");
	buf_put_str(&head, "\r\n");
	tls_stream_write_buf(&c->tls, &head);
	if (body == NULL)
		return;
	if (has_body(status) && !x->head_only)
		tls_stream_write_buf(&c->tls, body);
	request_done(c);
}

static void h1_write(struct exchange_core *x, const void *data, size_t n)
{
	struct tls_stream *tls = &x->conn->tls;
	char size[24];

	if (!x->chunked) {
		tls_stream_write(tls, data, n);
		return;
	}
	tls_stream_write(tls, size, (size_t)snprintf(size, sizeof(size), "%zx\r\n", n));
	tls_stream_write(tls, data, n);
	tls_stream_write(tls, "\r\n", 2);
}

static void h1_end(struct exchange_core *x)
{
	if (x->chunked && !x->head_only)
		tls_stream_write(&x->conn->tls, "0\r\n\r\n", 5);
	request_done(x->conn);
}

/* The handler broke off: the client must see a connection that ends in the middle. */
static void h1_abort(struct exchange_core *x)
{
	struct http_conn *c = x->conn;

	c->h1.phase = H1_CLOSING;
	c->h1.x = NULL;
	exchange_destroy(x);
	http_conn_close(c);
}

static size_t h1_pending(const struct exchange_core *x)
{
	return tls_stream_pending(&x->conn->tls);
}

const struct http_protocol http1_protocol = {
	.read = h1_read,
	.drain = h1_drain,
	.deadline = h1_deadline,
	.shutdown = h1_shutdown,
	.fini = h1_fini,
	.begin = h1_begin,
	.write = h1_write,
	.end = h1_end,
	.abort = h1_abort,
	.pending = h1_pending,
};

/* The bytes after 101. */

static void finish_upgraded(struct tls_bytes *b)
{
	http_conn_finish(container_of(b, struct http_conn, h1.bytes));
}

static void free_upgraded(struct tls_bytes *b)
{
	http_conn_free(container_of(b, struct http_conn, h1.bytes));
}

bool exchange_wants_upgrade(const struct exchange *x, const char *protocol)
{
	const char *connection, *upgrade = exchange_header(x, "upgrade");
	size_t at = 0;

	if (x->http_version != 11 || upgrade == NULL || !http_list_has(upgrade, protocol))
		return false;
	while ((connection = exchange_header_next(x, "connection", &at)) != NULL) {
		if (http_list_has(connection, "upgrade"))
			return true;
	}
	return false;
}

struct byte_stream *exchange_upgrade(struct exchange *pub, const char *protocol)
{
	struct exchange_core *x = container_of(pub, struct exchange_core, pub);
	struct http_conn *c = x->conn;
	auto_with(buf_fini) struct buf head = { 0 };

	assert(x->owned);
	assert(!x->began);
	x->owned = false;
	if (c == NULL) {
		exchange_destroy(x);
		return NULL;
	}
	assert(c->protocol == &http1_protocol);
	buf_printf(&head, "HTTP/1.1 101 %s\r\nUpgrade: %s\r\nConnection: Upgrade\r\n",
		   http_reason(101), protocol);
	put_added(&head, &x->added);
	buf_put_str(&head, "\r\n");
	tls_stream_write_buf(&c->tls, &head);
	c->h1.x = NULL;
	exchange_destroy(x);
	c->h1.phase = H1_UPGRADED;
	buf_consume(&c->h1.in, c->h1.in_off);
	c->h1.in_off = 0;
	return tls_bytes_init(&c->h1.bytes, &c->tls, &c->h1.in, finish_upgraded, free_upgraded);
}
