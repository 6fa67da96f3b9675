/* SPDY clients open two streams per connection, `error` and `data`, that carry the
 * same requestid; a connection begins when both are there. WebSocket channel clients
 * name the ports in the request: channel 2i carries the data of the i-th, 2i+1 its
 * errors, and the first message on each holds the port, low byte first. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/list.h"
#include "common/io/h1_parse.h"
#include "common/io/remote_internal.h"
#include "common/io/remote_streams.h"
#include "common/io/spdy.h"
#include "common/io/ws.h"

enum { PORTS_MAX = 64, CHANNEL_CLOSE = 255 };

struct port_conn {
	struct port_forward *session;
	struct list link;
	char *request_id; /* SPDY. */
	struct spdy_stream *error, *stream;
	size_t index; /* WebSocket: of the port. */
	int port;
	bool connected; /* The holder knows it. */
	void *data;
};

struct port_forward {
	struct io_loop *loop;
	struct ws *ws;
	struct spdy *spdy;
	struct list conns;
	const struct port_forward_ops *ops;
	void *data;
	int ports[PORTS_MAX];
	size_t n_ports;
	bool ended;
	struct io_later connect; /* WebSocket: tell the connections in the next turn. */
};

static struct port_conn *conn_create(struct port_forward *f, int port)
{
	struct port_conn *c = xcalloc(1, sizeof(*c));

	c->session = f;
	c->port = port;
	list_push_back(&f->conns, &c->link);
	return c;
}

static void conn_free(struct port_conn *c)
{
	list_remove(&c->link);
	free(c->request_id);
	free(c);
}

static void end(struct port_forward *f, int rc)
{
	if (f->ended)
		return;
	f->ended = true;
	f->ops->on_end(f, rc);
}

static void drained(struct port_forward *f)
{
	if (f->ops->on_drain != NULL)
		f->ops->on_drain(f);
}

/* SPDY */

static struct port_conn *conn_of_request(struct port_forward *f, const char *id)
{
	list_for_each (c, &f->conns, struct port_conn, link) {
		if (strcmp(c->request_id, id) == 0)
			return c;
	}
	return NULL;
}

static struct port_conn *conn_of_stream(struct port_forward *f, const struct spdy_stream *stream)
{
	list_for_each (c, &f->conns, struct port_conn, link) {
		if (c->stream == stream)
			return c;
	}
	return NULL;
}

static int port_of(const char *text)
{
	char *rest;
	long port = text != NULL ? strtol(text, &rest, 10) : 0;

	return port > 0 && port < 65536 && *rest == '\0' ? (int)port : 0;
}

static void spdy_opened(struct spdy *spdy, struct spdy_stream *stream, bool fin)
{
	struct port_forward *f = spdy_data(spdy);
	int port = port_of(spdy_stream_header(stream, "port"));
	const char *type = spdy_stream_header(stream, "streamtype");
	bool is_error = type != NULL && strcmp(type, "error") == 0;
	bool is_data = type != NULL && strcmp(type, "data") == 0;
	const char *id = spdy_stream_header(stream, "requestid");
	struct port_conn *c = id != NULL ? conn_of_request(f, id) : NULL;

	if (port == 0 || id == NULL || !(is_error || is_data) ||
	    (c != NULL && (is_error ? c->error : c->stream) != NULL)) {
		spdy_stream_reset(stream, SPDY_PROTOCOL_ERROR);
		return;
	}
	if (c == NULL) {
		c = conn_create(f, port);
		c->request_id = xstrdup(id);
	}
	if (is_error)
		c->error = stream;
	else
		c->stream = stream;
	spdy_stream_set_data(stream, c);
	spdy_stream_accept(stream);
	if (c->error == NULL || c->stream == NULL)
		return;
	c->connected = true;
	f->ops->on_connect(f, c, c->port);
	if (fin && is_data && !f->ended && conn_of_stream(f, stream) == c)
		f->ops->on_eof(c);
}

static void spdy_read(struct spdy *spdy, struct spdy_stream *stream, const uint8_t *data, size_t n,
		      bool fin)
{
	struct port_forward *f = spdy_data(spdy);
	struct port_conn *c = spdy_stream_data(stream);

	/* No connection: it was closed here, and the client has not noticed yet. */
	if (c == NULL || stream != c->stream || !c->connected)
		return;
	if (n > 0)
		f->ops->on_data(c, data, n);
	/* The callback may have closed the connection, and with it forgotten the stream. */
	if (fin && !f->ended && conn_of_stream(f, stream) == c)
		f->ops->on_eof(c);
}

static void spdy_was_reset(struct spdy *spdy, struct spdy_stream *stream)
{
	struct port_forward *f = spdy_data(spdy);
	struct port_conn *c = spdy_stream_data(stream);

	if (c == NULL)
		return;
	bool was_data = stream == c->stream;

	if (was_data)
		c->stream = NULL;
	else
		c->error = NULL;
	if (c->connected && c->stream == NULL && was_data)
		f->ops->on_reset(c);
	else if (!c->connected && c->stream == NULL && c->error == NULL)
		conn_free(c);
}

static void spdy_drained(struct spdy *spdy)
{
	drained(spdy_data(spdy));
}

static void spdy_ended(struct spdy *spdy, int rc)
{
	end(spdy_data(spdy), rc);
}

static const struct spdy_ops forward_spdy_ops = {
	.on_stream = spdy_opened,
	.on_data = spdy_read,
	.on_reset = spdy_was_reset,
	.on_drain = spdy_drained,
	.on_end = spdy_ended,
};

/* WebSocket */

static struct port_conn *conn_of_index(struct port_forward *f, size_t index)
{
	list_for_each (c, &f->conns, struct port_conn, link) {
		if (c->index == index)
			return c;
	}
	return NULL;
}

static void ws_message(struct ws *ws, bool text, const uint8_t *data, size_t n)
{
	struct port_forward *f = ws_data(ws);
	bool close = n == 2 && data[0] == CHANNEL_CLOSE;
	struct port_conn *c;
	uint8_t channel;

	(void)text;
	if (n == 0)
		return;
	channel = close ? data[1] : data[0];
	c = channel % 2 == 0 ? conn_of_index(f, channel / 2) : NULL;
	if (c == NULL || !c->connected)
		return;
	if (close)
		f->ops->on_eof(c);
	else if (n > 1)
		f->ops->on_data(c, data + 1, n - 1);
}

static void ws_drain(struct ws *ws)
{
	drained(ws_data(ws));
}

static void ws_end(struct ws *ws, int rc)
{
	end(ws_data(ws), rc);
}

static const struct ws_ops forward_ws_ops = { ws_message, ws_drain, ws_end };

static void run_connect(struct io_later *item)
{
	struct port_forward *f = container_of(item, struct port_forward, connect);

	for (size_t i = 0; i < f->n_ports && !f->ended; i++) {
		struct port_conn *c = conn_of_index(f, i);

		if (c == NULL || c->connected)
			continue;
		c->connected = true;
		io_later_add(f->loop, &f->connect);
		f->ops->on_connect(f, c, c->port);
		return; /* The next in a call of its own. */
	}
}

static void announce(struct port_forward *f, size_t index, int port)
{
	uint8_t low = (uint8_t)port, high = (uint8_t)(port >> 8);
	uint8_t data[] = { (uint8_t)(2 * index), low, high };
	uint8_t error[] = { (uint8_t)(2 * index + 1), low, high };
	struct port_conn *c = conn_create(f, port);

	c->index = index;
	ws_send(f->ws, false, data, sizeof(data), NULL, 0);
	ws_send(f->ws, false, error, sizeof(error), NULL, 0);
}

static bool accept_ws(struct port_forward *f, struct exchange *x)
{
	static const char *const protocols[] = { "v5.channel.k8s.io", "v4.channel.k8s.io",
						 "channel.k8s.io", "" };

	f->ws = ws_accept(x, protocols, array_size(protocols), &forward_ws_ops, f);
	if (f->ws == NULL)
		return false;
	for (size_t i = 0; i < f->n_ports; i++)
		announce(f, i, f->ports[i]);
	io_later_add(f->loop, &f->connect);
	return true;
}

static bool offers(const struct exchange *x, const char *protocol)
{
	const char *list;
	size_t at = 0;

	while ((list = exchange_header_next(x, "sec-websocket-protocol", &at)) != NULL) {
		if (http_list_has(list, protocol))
			return true;
	}
	return false;
}

static bool accept_spdy(struct port_forward *f, struct exchange *x)
{
	static const char tunnelled[] = "SPDY/3.1+portforward.k8s.io";
	struct byte_stream *bytes;

	if (offers(x, tunnelled))
		bytes = ws_accept_tunnel(x, tunnelled);
	else if (remote_choose_protocol(x, "portforward.k8s.io"))
		bytes = exchange_upgrade(x, "SPDY/3.1");
	else
		bytes = NULL;
	if (bytes == NULL)
		return false;
	f->spdy = spdy_create(bytes, &forward_spdy_ops, f);
	return true;
}

/* Both */

struct port_forward *port_forward_accept(struct exchange *x, const int *ports, size_t n_ports,
					 const struct port_forward_ops *ops, void *data)
{
	struct port_forward *f;
	bool channels = ws_is_wanted(x) && !offers(x, "SPDY/3.1+portforward.k8s.io");

	if (!remote_is_wanted(x) || (channels && (n_ports == 0 || n_ports > PORTS_MAX))) {
		remote_refuse_plain(x);
		return NULL;
	}
	f = xcalloc(1, sizeof(*f));
	f->loop = exchange_loop(x);
	f->ops = ops;
	f->data = data;
	f->n_ports = channels ? n_ports : 0;
	for (size_t i = 0; i < f->n_ports; i++)
		f->ports[i] = ports[i];
	list_init(&f->conns);
	io_later_init(&f->connect, run_connect);
	if (channels ? accept_ws(f, x) : accept_spdy(f, x))
		return f;
	free(f);
	return NULL;
}

void *port_forward_data(const struct port_forward *f)
{
	return f->data;
}

size_t port_forward_pending(const struct port_forward *f)
{
	return f->ws != NULL ? ws_pending(f->ws) : spdy_pending(f->spdy);
}

void port_forward_pause(struct port_forward *f)
{
	if (f->ws != NULL)
		ws_pause(f->ws);
	else
		spdy_pause(f->spdy);
}

void port_forward_resume(struct port_forward *f)
{
	if (f->ws != NULL)
		ws_resume(f->ws);
	else
		spdy_resume(f->spdy);
}

static void run_free(struct io_later *item)
{
	free(container_of(item, struct port_forward, connect));
}

/* The memory stays to the end of the turn: this may be a call from one of our callbacks. */
void port_forward_close(struct port_forward *f)
{
	f->ended = true;
	io_later_cancel(&f->connect);
	io_later_init(&f->connect, run_free);
	io_later_add(f->loop, &f->connect);
	list_for_each (c, &f->conns, struct port_conn, link)
		conn_free(c);
	if (f->ws != NULL)
		ws_close(f->ws, WS_NORMAL_CLOSURE, "");
	else
		spdy_close(f->spdy);
}

void port_conn_set_data(struct port_conn *c, void *data)
{
	c->data = data;
}

void *port_conn_data(const struct port_conn *c)
{
	return c->data;
}

struct port_forward *port_conn_session(const struct port_conn *c)
{
	return c->session;
}

void port_conn_write(struct port_conn *c, const void *data, size_t n)
{
	uint8_t channel = (uint8_t)(2 * c->index);

	if (n == 0)
		return;
	if (c->session->ws != NULL)
		ws_send(c->session->ws, false, &channel, 1, data, n);
	else if (c->stream != NULL)
		spdy_stream_write(c->stream, data, n, false);
}

/* Streams outlive the connection until the client ends them too; they forget it here. */
static void end_streams(struct port_conn *c, const char *error)
{
	if (c->error != NULL) {
		spdy_stream_set_data(c->error, NULL);
		spdy_stream_write(c->error, error, error != NULL ? strlen(error) : 0, true);
	}
	if (c->stream != NULL) {
		spdy_stream_set_data(c->stream, NULL);
		spdy_stream_write(c->stream, NULL, 0, true);
	}
}

void port_conn_close(struct port_conn *c, const char *error)
{
	uint8_t channel = (uint8_t)(2 * c->index + 1);

	if (c->session->ws == NULL)
		end_streams(c, error);
	else if (error != NULL)
		ws_send(c->session->ws, false, &channel, 1, error, strlen(error));
	conn_free(c);
}
