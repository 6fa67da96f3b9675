/* portforward: connections to ports of a pod, each a stream of its own to the node.
 *
 * Client and nodes are paused as in remote.c; a pause of the client's session holds
 * all its connections. The request lives until the client's session and all streams
 * are closed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/pack.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/io/remote_streams.h"
#include "common/io/tls_stream.h"
#include "controlplane/apiserver/stream_target.h"

#define NODE_HIGH_BYTES ((size_t)256 << 10)
#define NODE_STATUS_MAX ((size_t)64 << 10)
#define PORTS_MAX 64

struct forward {
	struct request *request;
	struct port_forward *session; /* NULL: the client is gone. */
	struct list connections;
	size_t streams;   /* Not closed yet. */
	size_t paused_by; /* Streams with too much pending. */
};

struct connection {
	struct list link;
	struct forward *forward;
	struct port_conn *client; /* NULL: the client's side is over. */
	struct node_stream *stream;
	bool opened, early_end, node_paused, pauses_client, closing;
	struct buf early;  /* What the client sent before the node came. */
	struct buf status; /* What came on the node's error channel. */
};

static void forward_free(struct request *r)
{
	r->api->metrics.streams--;
}

static void forward_step(struct forward *f)
{
	if (f->session == NULL && f->streams == 0)
		request_end(f->request);
}

static void close_stream(struct connection *c)
{
	if (c->closing)
		return;
	c->closing = true;
	node_stream_close(c->stream);
}

static void release_client(struct connection *c)
{
	struct forward *f = c->forward;

	if (!c->pauses_client)
		return;
	c->pauses_client = false;
	if (--f->paused_by == 0 && f->session != NULL)
		port_forward_resume(f->session);
}

static void hold_client(struct connection *c)
{
	struct forward *f = c->forward;

	if (c->pauses_client)
		return;
	c->pauses_client = true;
	if (f->paused_by++ == 0)
		port_forward_pause(f->session);
}

static void send_to_node(struct connection *c, const uint8_t *data, size_t n, bool end)
{
	node_stream_write(c->stream, NODE_STREAM_STDIN, bytes_of(data, n), end);
	if (node_stream_pending(c->stream) > NODE_HIGH_BYTES)
		hold_client(c);
}

/* --- From the node ------------------------------------------------------------------- */

static void on_node_opened(void *ctx)
{
	struct connection *c = ctx;

	c->opened = true;
	release_client(c);
	if (c->client != NULL && (c->early.len > 0 || c->early_end))
		send_to_node(c, c->early.data, c->early.len, c->early_end);
	buf_fini(&c->early);
}

static void on_node_data(void *ctx, uint8_t channel, struct bytes bytes, bool end)
{
	struct connection *c = ctx;

	(void)end;
	if (channel == NODE_STREAM_ERROR) {
		if (c->status.len + bytes.len <= NODE_STATUS_MAX)
			buf_put(&c->status, bytes.data, bytes.len);
		return;
	}
	if (c->client == NULL || bytes.len == 0)
		return;
	port_conn_write(c->client, bytes.data, bytes.len);
	if (!c->node_paused && port_forward_pending(c->forward->session) > TLS_HIGH_BYTES) {
		c->node_paused = true;
		node_stream_pause(c->stream, true);
	}
}

static void on_node_drained(void *ctx)
{
	release_client(ctx);
}

/* The node's complaint in the arena, or NULL. */
static const char *complaint(struct connection *c, int rc, struct arena *arena)
{
	MetaV1__Status *said;

	if (c->status.len > 0 && unpack_message(&meta_v1__status__descriptor, buf_bytes(&c->status),
						arena, &said, NULL) == 0) {
		if (said->status != NULL && strcmp(said->status, "Success") == 0)
			return NULL;
		return said->message != NULL ? said->message : "failed";
	}
	return rc < 0 && rc != -ECANCELED
		       ? arena_printf(arena, "the node did not answer: %s", strerror(-rc))
		       : NULL;
}

static void on_node_closed(void *ctx, int rc)
{
	struct connection *c = ctx;
	struct forward *f = c->forward;
	auto_with(arena_fini) struct arena scratch = { 0 };

	arena_init(&scratch, 0);
	release_client(c);
	if (c->client != NULL)
		port_conn_close(c->client, complaint(c, rc, &scratch));
	list_remove(&c->link);
	buf_fini(&c->early);
	buf_fini(&c->status);
	free(c);
	f->streams--;
	forward_step(f);
}

static const struct node_stream_callbacks node_callbacks = {
	.opened = on_node_opened,
	.data = on_node_data,
	.drained = on_node_drained,
	.closed = on_node_closed,
};

/* --- From the client ----------------------------------------------------------------- */

static int connection_open(struct connection *c, int port, struct status *st)
{
	struct request *r = c->forward->request;
	SampanNode__StreamOpen open = SAMPAN_NODE__STREAM_OPEN__INIT;
	auto_with(arena_fini) struct arena scratch = { 0 };
	struct stream_target target;

	arena_init(&scratch, 0);

	int rc = stream_target_find(r, NULL, true, &scratch, &target, st);

	open.has_kind = open.has_port = true;
	open.kind = SAMPAN_NODE__STREAM_OPEN__KIND__PORT_FORWARD;
	open.port = (uint32_t)port;
	return rc < 0 ? rc
		      : stream_target_open(r, &target, &open, &node_callbacks, c, &c->stream, st);
}

static void on_connect(struct port_forward *session, struct port_conn *client, int port)
{
	struct forward *f = port_forward_data(session);
	struct connection *c = xcalloc(1, sizeof(*c));
	struct status st = { 0 };

	c->forward = f;
	c->client = client;
	if (connection_open(c, port, &st) < 0) {
		port_conn_set_data(client, NULL);
		port_conn_close(client, st.message);
		status_fini(&st);
		free(c);
		return;
	}
	port_conn_set_data(client, c);
	list_push_back(&f->connections, &c->link);
	f->streams++;
	hold_client(c);
}

/* Until the node has come the session is held, and what was read already is kept. */
static void from_client(struct connection *c, const uint8_t *data, size_t n, bool end)
{
	if (c->opened) {
		send_to_node(c, data, n, end);
		return;
	}
	buf_put(&c->early, data, n);
	c->early_end |= end;
}

static void on_client_data(struct port_conn *client, const uint8_t *data, size_t n)
{
	from_client(port_conn_data(client), data, n, false);
}

static void on_client_eof(struct port_conn *client)
{
	from_client(port_conn_data(client), NULL, 0, true);
}

static void on_client_reset(struct port_conn *client)
{
	struct connection *c = port_conn_data(client);

	c->client = NULL;
	port_conn_close(client, NULL);
	close_stream(c);
}

static void on_client_drain(struct port_forward *session)
{
	struct forward *f = port_forward_data(session);

	list_for_each (c, &f->connections, struct connection, link) {
		if (!c->node_paused)
			continue;
		c->node_paused = false;
		node_stream_pause(c->stream, false);
	}
}

static void forward_stop(struct request *r)
{
	struct forward *f = r->data;
	struct port_forward *session = f->session;

	list_for_each (c, &f->connections, struct connection, link) {
		c->client = NULL;
		close_stream(c);
	}
	f->session = NULL;
	if (session != NULL)
		port_forward_close(session);
	forward_step(f);
}

static void on_client_end(struct port_forward *session, int rc)
{
	struct forward *f = port_forward_data(session);

	(void)rc;
	forward_stop(f->request);
}

static const struct port_forward_ops client_ops = {
	.on_connect = on_connect,
	.on_data = on_client_data,
	.on_eof = on_client_eof,
	.on_reset = on_client_reset,
	.on_drain = on_client_drain,
	.on_end = on_client_end,
};

/* ?ports=80,81 or several of them. */
static int parse_ports(struct request *r, int ret_ports[PORTS_MAX], size_t *ret_n,
		       struct status *st)
{
	*ret_n = 0;
	for (size_t i = 0; i < r->query.n; i++) {
		if (strcmp(r->query.pairs[i].name, "ports") != 0)
			continue;

		char *rest = arena_strdup(&r->arena, r->query.pairs[i].value), *part;

		while ((part = strsep(&rest, ",")) != NULL) {
			char *end;
			long port = strtol(part, &end, 10);

			if (*part == 0 || *end != 0 || port < 1 || port > 65535 ||
			    *ret_n == PORTS_MAX)
				return status_set(st, -EBADMSG,
						  "ports must be 1 to %d port numbers", PORTS_MAX);
			ret_ports[(*ret_n)++] = (int)port;
		}
	}
	return 0;
}

static void forward_ready(struct request *r, int rc)
{
	struct forward *f = arena_new(&r->arena, struct forward);
	struct stream_target target;
	struct status st = { 0 };
	int ports[PORTS_MAX];
	size_t n;

	f->request = r;
	list_init(&f->connections);
	if (rc < 0) {
		respond_unavailable(r, rc);
		return;
	}
	if (parse_ports(r, ports, &n, &st) < 0 ||
	    stream_target_find(r, NULL, true, &r->arena, &target, &st) < 0) {
		respond_status(r, &st);
		return;
	}
	r->data = f;
	r->free_data = forward_free;
	r->stop = forward_stop;
	r->api->metrics.requests_total++;
	r->api->metrics.streams++;
	r->api->metrics.streams_total++;
	f->session = port_forward_accept(r->x, ports, n, &client_ops, f);
	r->x = NULL;
	forward_step(f);
}

void handle_port_forward(struct request *r)
{
	if (!remote_is_wanted(r->x))
		respond_error(r, -EBADMSG, "Upgrade request required");
	else
		request_barrier(r, forward_ready);
}
