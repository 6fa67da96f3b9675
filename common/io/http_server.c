#include "common/io/http_server.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/io/http_conn.h"
#include "common/io/listen.h"

static const struct tls_stream_ops conn_ops;

const char *http_server_date(struct http_server *s)
{
	uint64_t now = io_now_ms(s->loop);

	if (s->date[0] == '\0' || now - s->date_ms >= 500) {
		time_t t = time(NULL);
		struct tm tm;

		strftime(s->date, sizeof(s->date), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&t, &tm));
		s->date_ms = now;
	}
	return s->date;
}

void http_server_unref(struct http_server *s)
{
	if (--s->refs == 0)
		free(s);
}

void http_conn_set_deadline(struct http_conn *c, unsigned ms)
{
	c->deadline_ms = ms == 0 ? 0 : io_now_ms(c->tls.loop) + ms;
}

void http_conn_free(struct http_conn *c)
{
	tls_identity_unref(c->peer);
	free(c);
}

static void maybe_closed(struct http_server *s)
{
	if (!s->closing || s->handles > 0 || s->n_conns > 0)
		return;
	s->closing = false;
	if (s->on_closed != NULL)
		s->on_closed(s->on_closed_arg);
	http_server_unref(s);
}

static void on_conn_closed(struct tls_stream *tls)
{
	struct http_conn *c = container_of(tls, struct http_conn, tls);
	struct http_server *s = c->server;

	list_for_each (x, &c->exchanges, struct exchange_core, link)
		exchange_detach(x);
	bool held = tls->bytes != NULL && tls_bytes_closed(tls->bytes);

	if (c->protocol != NULL)
		c->protocol->fini(c);
	list_remove(&c->link);
	c->server = NULL;
	if (!held)
		http_conn_free(c);
	if (--s->n_conns == 0 && !s->closing)
		uv_timer_stop(&s->sweep);
	maybe_closed(s);
}

void http_conn_close(struct http_conn *c)
{
	tls_stream_close(&c->tls, on_conn_closed);
}

void http_conn_finish(struct http_conn *c)
{
	tls_stream_finish(&c->tls, on_conn_closed);
}

static void on_open(struct tls_stream *tls)
{
	struct http_conn *c = container_of(tls, struct http_conn, tls);

	c->peer = tls_stream_identity(tls, &c->peer_problem);
	if (tls_stream_is_http2(tls)) {
		c->protocol = &http2_protocol;
		c->h2 = h2_conn_create(c);
	} else {
		c->protocol = &http1_protocol;
		h1_conn_init(c);
	}
	if (c->server->shutting_down)
		c->protocol->shutdown(c);
}

static void on_read(struct tls_stream *tls, const uint8_t *data, size_t n)
{
	struct http_conn *c = container_of(tls, struct http_conn, tls);

	c->protocol->read(c, data, n);
}

static void on_drain(struct tls_stream *tls)
{
	struct http_conn *c = container_of(tls, struct http_conn, tls);

	c->protocol->drain(c);
}

static void on_end(struct tls_stream *tls, int rc)
{
	struct http_conn *c = container_of(tls, struct http_conn, tls);

	(void)rc;
	http_conn_close(c);
}

static const struct tls_stream_ops conn_ops = {
	.on_open = on_open,
	.on_read = on_read,
	.on_drain = on_drain,
	.on_end = on_end,
};

/* Who is late, and who has taken nothing for long. Exchanges that handlers hold set their own
 * pace: a log that is followed through a pager may rest for hours. */
static void on_sweep(uv_timer_t *timer)
{
	struct http_server *s = container_of(timer, struct http_server, sweep);
	uint64_t now = io_now_ms(s->loop);

	list_for_each (c, &s->conns, struct http_conn, link) {
		bool stalled = tls_stream_pending(&c->tls) > 0 && c->n_exchanges == 0 &&
			       now - c->tls.progress_ms > s->config.stall_ms;

		if (c->tls.state >= TLS_STREAM_ENDED)
			continue;
		if (c->tls.bytes != NULL)
			continue;
		if (stalled || (c->protocol == NULL && now > c->deadline_ms))
			http_conn_close(c);
		else if (c->deadline_ms != 0 && now > c->deadline_ms)
			c->protocol->deadline(c);
	}
}

static void on_refused_closed(struct tls_stream *tls)
{
	struct http_conn *c = container_of(tls, struct http_conn, tls);
	struct http_server *s = c->server;

	list_remove(&c->link);
	free(c);
	s->n_conns--;
	maybe_closed(s);
}

static void on_connection(uv_stream_t *listener, int status)
{
	struct http_server *s = container_of((uv_tcp_t *)listener, struct http_server, listener);
	struct http_conn *c;

	if (status < 0)
		return;
	c = xcalloc(1, sizeof(*c));
	c->server = s;
	list_init(&c->exchanges);
	list_push_back(&s->conns, &c->link);
	s->n_conns++;
	if (tls_stream_accept(&c->tls, s->loop, s->config.tls, listener, &conn_ops,
			      on_refused_closed) < 0)
		return;
	if (s->n_conns > s->config.connections_max) {
		tls_stream_close(&c->tls, on_refused_closed);
		return;
	}
	tls_stream_remote(&c->tls, c->remote, sizeof(c->remote));
	http_conn_set_deadline(c, s->config.handshake_ms);
	if (!uv_is_active((uv_handle_t *)&s->sweep))
		uv_timer_start(&s->sweep, on_sweep, 1000, 1000);
}

static void fill_defaults(struct http_server_config *c)
{
#define DEFAULT(field, value) c->field = c->field != 0 ? c->field : (value)
	DEFAULT(connections_max, 20000);
	DEFAULT(streams_max, 250);
	DEFAULT(body_bytes_max, 3 * 1024 * 1024);
	DEFAULT(all_body_bytes_max, 64 * 1024 * 1024);
	DEFAULT(handshake_ms, 10000);
	DEFAULT(header_ms, 10000);
	DEFAULT(body_ms, 60000);
	DEFAULT(idle_ms, 180000);
	DEFAULT(stall_ms, 60000);
#undef DEFAULT
}

static void on_handle_closed(uv_handle_t *h)
{
	struct http_server *s = h->data;

	s->handles--;
	maybe_closed(s);
}

static void close_handles(struct http_server *s)
{
	s->listener.data = s->sweep.data = s;
	if (!uv_is_closing((uv_handle_t *)&s->listener))
		uv_close((uv_handle_t *)&s->listener, on_handle_closed);
	uv_close((uv_handle_t *)&s->sweep, on_handle_closed);
}

int http_server_create(struct io_loop *loop, const struct http_server_config *config,
		       struct http_server **ret_server, struct status *st)
{
	struct http_server *s = xcalloc(1, sizeof(*s));

	s->refs = 1;
	s->loop = loop;
	s->config = *config;
	fill_defaults(&s->config);
	list_init(&s->conns);
	s->handles = 2;
	uv_tcp_init(loop->uv, &s->listener);
	uv_timer_init(loop->uv, &s->sweep);

	int rc = io_listen(&s->listener, config->host, config->port, config->fd, on_connection, st);

	s->config.host = NULL; /* The caller's. */
	if (rc < 0) {
		s->closing = true;
		close_handles(s);
		return rc;
	}
	*ret_server = s;
	return 0;
}

int http_server_port(const struct http_server *s)
{
	return io_listener_port(&s->listener);
}

void http_server_shutdown(struct http_server *s)
{
	if (s->shutting_down)
		return;
	s->shutting_down = true;
	s->listener.data = s;
	uv_close((uv_handle_t *)&s->listener, on_handle_closed);
	list_for_each (c, &s->conns, struct http_conn, link) {
		if (c->protocol != NULL && c->tls.state < TLS_STREAM_ENDED)
			c->protocol->shutdown(c);
	}
}

size_t http_server_connections(const struct http_server *s)
{
	return s->n_conns;
}

void http_server_close(struct http_server *s, void (*on_closed)(void *arg), void *arg)
{
	assert(!s->closing);
	s->closing = true;
	s->on_closed = on_closed;
	s->on_closed_arg = arg;
	list_for_each (c, &s->conns, struct http_conn, link) {
		if (c->tls.state != TLS_STREAM_CLOSED)
			http_conn_close(c);
	}
	close_handles(s);
}
