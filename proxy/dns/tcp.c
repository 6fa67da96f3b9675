/* DNS over TCP: each message behind two bytes of length. A client may ask again before it
 * was answered; answers may come in any order. */
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "proxy/dns/internal.h"

struct tcp_client {
	struct list link;
	struct dns_server *server;
	uv_tcp_t tcp;
	struct buf in;
	uint64_t last_ms;
	size_t pending_bytes; /* Of answers the client does not take. */
	bool closing;
	char space[4096];
};

#define PENDING_BYTES_MAX (1u << 20)

static void on_client_closed(uv_handle_t *h)
{
	struct tcp_client *c = container_of((uv_tcp_t *)h, struct tcp_client, tcp);
	struct dns_server *s = c->server;

	buf_fini(&c->in);
	free(c);
	server_handle_closed(s);
}

static void client_close(struct tcp_client *c)
{
	if (c->closing)
		return;
	c->closing = true;
	forwards_cancel_client(c->server, c);
	list_remove(&c->link);
	c->server->n_clients--;
	uv_close((uv_handle_t *)&c->tcp, on_client_closed);
}

/* From inside a forward's answer: closing would take the client's forwards away under its feet. */
static void client_close_later(struct tcp_client *c)
{
	c->last_ms = 0;
}

struct reply_write {
	uv_write_t write;
	struct tcp_client *client;
	size_t n;
	uint8_t data[];
};

static void on_written(uv_write_t *write, int status)
{
	struct reply_write *w = container_of(write, struct reply_write, write);

	w->client->pending_bytes -= w->n;
	if (status < 0)
		client_close(w->client);
	free(w);
}

void tcp_send(struct tcp_client *c, const struct buf *reply)
{
	size_t n = reply->len + 2;

	if (c->closing || reply->len > DNS_MESSAGE_BYTES_MAX)
		return;
	if (c->pending_bytes + n > PENDING_BYTES_MAX) {
		client_close_later(c);
		return;
	}
	struct reply_write *w = xmalloc(sizeof(*w) + n);
	uv_buf_t out = uv_buf_init((char *)w->data, (unsigned)n);

	w->client = c;
	w->n = n;
	w->data[0] = (uint8_t)(reply->len >> 8);
	w->data[1] = (uint8_t)reply->len;
	memcpy(w->data + 2, reply->data, reply->len);
	c->pending_bytes += n;
	if (uv_write(&w->write, (uv_stream_t *)&c->tcp, &out, 1, on_written) < 0) {
		c->pending_bytes -= n;
		free(w);
		client_close_later(c);
	}
}

static void take_messages(struct tcp_client *c)
{
	struct dns_peer peer = { .client = c };

	while (!c->closing && c->in.len >= 2) {
		size_t n = (size_t)c->in.data[0] << 8 | c->in.data[1];

		if (c->in.len < 2 + n)
			return;
		server_handle(c->server, c->in.data + 2, n, &peer);
		buf_consume(&c->in, 2 + n);
	}
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
	struct tcp_client *c = container_of((uv_tcp_t *)h, struct tcp_client, tcp);

	*ret = uv_buf_init(c->space, sizeof(c->space));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct tcp_client *c = container_of((uv_tcp_t *)stream, struct tcp_client, tcp);

	if (n < 0) {
		client_close(c);
		return;
	}
	c->last_ms = uv_now(c->server->loop);
	buf_put(&c->in, buf->base, (size_t)n);
	take_messages(c);
}

static void on_connection(uv_stream_t *listener, int status)
{
	struct dns_server *s = container_of((uv_tcp_t *)listener, struct dns_server, tcp);
	struct tcp_client *c;

	if (status < 0)
		return;
	c = xcalloc(1, sizeof(*c));
	c->server = s;
	c->last_ms = uv_now(s->loop);
	uv_tcp_init(s->loop, &c->tcp);
	s->n_handles++;
	s->n_clients++;
	list_push_back(&s->clients, &c->link);
	server_sweep_later(s);
	if (uv_accept(listener, (uv_stream_t *)&c->tcp) < 0 || s->n_clients > DNS_TCP_CLIENTS_MAX ||
	    uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) < 0)
		client_close(c);
}

int tcp_listen(struct dns_server *s, const struct sockaddr *address)
{
	int rc = uv_tcp_bind(&s->tcp, address, 0);

	return rc < 0 ? rc : uv_listen((uv_stream_t *)&s->tcp, 64, on_connection);
}

void tcp_sweep(struct dns_server *s, uint64_t now_ms)
{
	list_for_each (c, &s->clients, struct tcp_client, link) {
		if (now_ms - c->last_ms > DNS_TCP_IDLE_MS)
			client_close(c);
	}
}

void tcp_close_all(struct dns_server *s)
{
	list_for_each (c, &s->clients, struct tcp_client, link)
		client_close(c);
}
