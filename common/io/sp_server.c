/* A connection reads one message after the other until it has outstanding_max
 * open requests or more replies pending than the high mark; then the rest of
 * what was read waits in `in`, and the socket is not read any more. */
#include "common/io/sp_server.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/list.h"
#include "common/io/listen.h"
#include "common/io/sp_frame.h"
#include "common/io/tls_stream.h"

struct sp_server {
	unsigned refs; /* One of the owner, one per request. */
	struct io_loop *loop;
	struct sp_server_config config;
	uv_tcp_t listener;
	uv_timer_t sweep;
	int handles;
	struct list conns;
	size_t n_conns;
	size_t all_bytes;
	uint64_t last_connection;
	bool closing;
	void (*on_closed)(void *arg);
	void *on_closed_arg;
};

struct sp_conn {
	struct tls_stream tls;
	struct sp_server *server;
	struct list link, requests;
	size_t n_requests;
	uint64_t number;
	struct tls_identity *peer; /* NULL until the handshake. */
	char remote[48];
	uint64_t deadline_ms; /* 0: none. */
	uint64_t n_messages;  /* That were complete. */
	struct sp_parser parser;
	size_t charged; /* Bytes of the message under way. */
	struct buf in;
	struct io_later next;
};

struct request {
	struct sp_request pub;
	struct sp_server *server; /* A reference. */
	struct sp_conn *conn;     /* NULL: gone. */
	struct list link;
	struct tls_identity *peer;
	char remote[48];
	struct buf message;
	size_t stack_bytes;
};

static void unref(struct sp_server *s)
{
	if (--s->refs == 0)
		free(s);
}

static void maybe_closed(struct sp_server *s)
{
	if (!s->closing || s->handles > 0 || s->n_conns > 0)
		return;
	s->closing = false;
	if (s->on_closed != NULL)
		s->on_closed(s->on_closed_arg);
	unref(s);
}

/* Requests */

static bool blocked(const struct sp_conn *c)
{
	return c->n_requests >= c->server->config.outstanding_max ||
	       tls_stream_pending(&c->tls) > TLS_HIGH_BYTES;
}

static void leave_conn(struct request *r)
{
	struct sp_conn *c = r->conn;

	if (c == NULL)
		return;
	list_remove(&r->link);
	c->n_requests--;
	r->conn = NULL;
	if (c->tls.paused && !blocked(c))
		io_later_add(c->tls.loop, &c->next);
}

static void request_destroy(struct request *r)
{
	leave_conn(r);
	r->server->all_bytes -= r->message.len;
	unref(r->server);
	tls_identity_unref(r->peer);
	buf_fini(&r->message);
	free(r);
}

void sp_request_reply_buf(struct sp_request *pub, struct buf *body)
{
	struct request *r = container_of(pub, struct request, pub);

	if (r->conn != NULL) {
		struct buf head = { 0 };

		sp_put_length(&head, r->stack_bytes + body->len);
		buf_put(&head, r->message.data, r->stack_bytes);
		tls_stream_write_buf(&r->conn->tls, &head);
		tls_stream_write_buf(&r->conn->tls, body);
	}
	buf_fini(body);
	request_destroy(r);
}

void sp_request_reply(struct sp_request *pub, const void *body, size_t n)
{
	struct buf copy = { 0 };

	buf_put(&copy, body, n);
	sp_request_reply_buf(pub, &copy);
}

void sp_request_drop(struct sp_request *pub)
{
	request_destroy(container_of(pub, struct request, pub));
}

/* Connections */

static void on_conn_closed(struct tls_stream *tls)
{
	struct sp_conn *c = container_of(tls, struct sp_conn, tls);
	struct sp_server *s = c->server;

	list_for_each (r, &c->requests, struct request, link) {
		leave_conn(r);
		if (r->pub.on_gone != NULL)
			r->pub.on_gone(&r->pub);
	}
	if (c->peer != NULL && s->config.on_lost != NULL)
		s->config.on_lost(c->number, c->peer, s->config.arg);
	io_later_cancel(&c->next);
	list_remove(&c->link);
	s->all_bytes -= c->charged;
	sp_parser_fini(&c->parser);
	buf_fini(&c->in);
	tls_identity_unref(c->peer);
	free(c);
	if (--s->n_conns == 0 && !s->closing)
		uv_timer_stop(&s->sweep);
	maybe_closed(s);
}

static void conn_close(struct sp_conn *c)
{
	tls_stream_close(&c->tls, on_conn_closed);
}

static void set_deadline(struct sp_conn *c, unsigned ms)
{
	c->deadline_ms = ms == 0 ? 0 : io_now_ms(c->tls.loop) + ms;
}

/* p->message is a whole request. Returns false if it breaks the protocol. */
static bool dispatch(struct sp_conn *c)
{
	struct buf message = c->parser.message;
	int stack_bytes = sp_stack_length(message.data, message.len);

	c->parser.message = (struct buf){ 0 };
	if (stack_bytes < 0) {
		buf_fini(&message);
		return false;
	}
	struct request *r = xcalloc(1, sizeof(*r));

	r->server = c->server;
	r->server->refs++;
	r->conn = c;
	list_push_back(&c->requests, &r->link);
	c->n_requests++;
	r->peer = tls_identity_ref(c->peer);
	memcpy(r->remote, c->remote, sizeof(r->remote));
	r->message = message;
	r->stack_bytes = (size_t)stack_bytes;
	c->charged -= message.len;
	c->n_messages++;
	r->pub.peer = r->peer;
	r->pub.remote = r->remote;
	r->pub.connection = c->number;
	r->pub.body = bytes_of(message.data + stack_bytes, message.len - r->stack_bytes);
	r->pub.started_ms = io_now_ms(c->tls.loop);
	c->server->config.on_request(&r->pub, c->server->config.arg);
	return true;
}

static bool charge(struct sp_conn *c)
{
	size_t grown = c->parser.message.len - c->charged;

	c->charged += grown;
	c->server->all_bytes += grown;
	return c->server->all_bytes <= c->server->config.all_bytes_max;
}

/* Takes as many messages as it may; returns the bytes used, or negative errno. */
static ssize_t feed(struct sp_conn *c, const uint8_t *data, size_t n)
{
	const struct sp_server_config *config = &c->server->config;
	size_t at = 0;

	while (at < n && !blocked(c) && c->tls.state == TLS_STREAM_OPEN) {
		size_t used;
		int rc = sp_parser_feed(&c->parser, SP_PROTOCOL_REQ, config->message_bytes_max,
					data + at, n - at, &used);

		at += used;
		if (rc < 0)
			return rc;
		if (!charge(c))
			return -ENOBUFS;
		if (rc == 1 && !dispatch(c))
			return -EPROTO;
	}
	return (ssize_t)at;
}

static void take(struct sp_conn *c, const uint8_t *data, size_t n)
{
	bool under_way = c->parser.left > 0 || c->parser.n_head > 0;
	uint64_t before = c->n_messages;
	ssize_t used = feed(c, data, n);

	if (c->tls.state != TLS_STREAM_OPEN)
		return;
	if (used < 0) {
		conn_close(c);
		return;
	}
	if ((size_t)used < n) {
		buf_put(&c->in, data + used, n - (size_t)used);
		tls_stream_pause(&c->tls);
	}
	if (c->parser.left == 0 && c->parser.n_head == 0 && c->parser.greeted)
		set_deadline(c, 0);
	else if (c->parser.greeted && (!under_way || c->n_messages != before))
		set_deadline(c, c->server->config.message_ms);
}

static void run_next(struct io_later *item)
{
	struct sp_conn *c = container_of(item, struct sp_conn, next);
	struct buf in = c->in;

	if (c->tls.state != TLS_STREAM_OPEN || blocked(c))
		return;
	c->in = (struct buf){ 0 };
	tls_stream_resume(&c->tls);
	take(c, in.data, in.len);
	buf_fini(&in);
}

static void on_open(struct tls_stream *tls)
{
	struct sp_conn *c = container_of(tls, struct sp_conn, tls);
	struct buf greeting = { 0 };
	const char *problem;

	c->peer = tls_stream_identity(tls, &problem);
	if (c->peer == NULL) {
		conn_close(c);
		return;
	}
	sp_put_greeting(&greeting, SP_PROTOCOL_REP);
	tls_stream_write_buf(tls, &greeting);
}

static void on_read(struct tls_stream *tls, const uint8_t *data, size_t n)
{
	take(container_of(tls, struct sp_conn, tls), data, n);
}

static void on_drain(struct tls_stream *tls)
{
	struct sp_conn *c = container_of(tls, struct sp_conn, tls);

	if (tls->paused)
		io_later_add(tls->loop, &c->next);
}

static void on_end(struct tls_stream *tls, int rc)
{
	(void)rc;
	conn_close(container_of(tls, struct sp_conn, tls));
}

static const struct tls_stream_ops conn_ops = {
	.on_open = on_open,
	.on_read = on_read,
	.on_drain = on_drain,
	.on_end = on_end,
};

static void on_sweep(uv_timer_t *timer)
{
	struct sp_server *s = container_of(timer, struct sp_server, sweep);
	uint64_t now = io_now_ms(s->loop);

	list_for_each (c, &s->conns, struct sp_conn, link) {
		bool stalled = tls_stream_pending(&c->tls) > 0 &&
			       now - c->tls.progress_ms > s->config.stall_ms;

		if (c->tls.state < TLS_STREAM_ENDED &&
		    (stalled || (c->deadline_ms != 0 && now > c->deadline_ms)))
			conn_close(c);
	}
}

static void on_connection(uv_stream_t *listener, int status)
{
	struct sp_server *s = container_of((uv_tcp_t *)listener, struct sp_server, listener);
	struct sp_conn *c;

	if (status < 0)
		return;
	c = xcalloc(1, sizeof(*c));
	c->server = s;
	c->number = ++s->last_connection;
	list_init(&c->requests);
	io_later_init(&c->next, run_next);
	list_push_back(&s->conns, &c->link);
	s->n_conns++;
	if (tls_stream_accept(&c->tls, s->loop, s->config.tls, listener, &conn_ops,
			      on_conn_closed) < 0)
		return;
	if (s->n_conns > s->config.connections_max) {
		conn_close(c);
		return;
	}
	tls_stream_remote(&c->tls, c->remote, sizeof(c->remote));
	set_deadline(c, s->config.handshake_ms);
	if (!uv_is_active((uv_handle_t *)&s->sweep))
		uv_timer_start(&s->sweep, on_sweep, 1000, 1000);
}

/* The server */

static void fill_defaults(struct sp_server_config *c)
{
#define DEFAULT(field, value) c->field = c->field != 0 ? c->field : (value)
	DEFAULT(connections_max, 20000);
	DEFAULT(outstanding_max, 64);
	DEFAULT(message_bytes_max, 16 * 1024 * 1024);
	DEFAULT(all_bytes_max, 256 * 1024 * 1024);
	DEFAULT(handshake_ms, 8000);
	DEFAULT(message_ms, 60000);
	DEFAULT(stall_ms, 60000);
#undef DEFAULT
}

static void on_handle_closed(uv_handle_t *h)
{
	struct sp_server *s = h->data;

	s->handles--;
	maybe_closed(s);
}

static void close_handles(struct sp_server *s)
{
	s->listener.data = s->sweep.data = s;
	uv_close((uv_handle_t *)&s->listener, on_handle_closed);
	uv_close((uv_handle_t *)&s->sweep, on_handle_closed);
}

int sp_server_create(struct io_loop *loop, const struct sp_server_config *config,
		     struct sp_server **ret_server, struct status *st)
{
	struct sp_server *s = xcalloc(1, sizeof(*s));

	s->refs = 1;
	s->loop = loop;
	s->config = *config;
	s->config.host = NULL; /* The caller's. */
	fill_defaults(&s->config);
	list_init(&s->conns);
	s->handles = 2;
	uv_tcp_init(loop->uv, &s->listener);
	uv_timer_init(loop->uv, &s->sweep);

	int rc = io_listen(&s->listener, config->host, config->port, config->fd, on_connection, st);

	if (rc < 0) {
		s->closing = true;
		close_handles(s);
		return rc;
	}
	*ret_server = s;
	return 0;
}

int sp_server_port(const struct sp_server *s)
{
	return io_listener_port(&s->listener);
}

size_t sp_server_connections(const struct sp_server *s)
{
	return s->n_conns;
}

void sp_server_close(struct sp_server *s, void (*on_closed)(void *arg), void *arg)
{
	assert(!s->closing);
	s->closing = true;
	s->on_closed = on_closed;
	s->on_closed_arg = arg;
	list_for_each (c, &s->conns, struct sp_conn, link)
		conn_close(c);
	close_handles(s);
}
