/* common/io/sp_client.h for thousands of clients in one process: the same protocol on our own TLS and
 * the process's one loop. libnng's end, which agents use, costs a thread hop per message and 12 ms of
 * processor per handshake; with it this benchmark would measure libnng.
 *
 *   CLOSED --dial--> CONNECTING --handshake--> UP
 *     ^                   |                     |
 *     +---- pause --------+---------------------+    calls that were sent end with -ECONNRESET
 *
 * Calls wait for the connection as long as their time allows. One timer per process looks at what is due. */
#include "common/io/sp_client.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/list.h"
#include "common/base/source.h"
#include "common/io/address.h"
#include "common/io/sp_frame.h"
#include "common/io/tls_stream.h"

enum { MASTERS_MAX = 16, LOOK_MS = 100, RECONNECT_MIN_MS = 50, RECONNECT_MAX_MS = 1000 };

struct connection {
	struct tls_stream tls;
	struct master *master; /* Whose present connection it need not be: it may only be closing. */
	struct sp_parser parser;
	bool up;
};

struct master {
	struct sp_client *client;
	bool used;
	int index;
	struct sockaddr_in address;
	char host[INET_ADDRSTRLEN];
	struct connection *connection; /* NULL while it pauses. */
	uint64_t dial_ms;
	unsigned pause_ms;
	struct list calls; /* struct sp_call, oldest first. */
	size_t n_calls;
};

struct sp_call {
	struct list link;
	uint32_t id;
	uint64_t deadline_ms;
	struct buf unsent; /* Until there is a connection. */
	bool cancelled;
	sp_reply_cb *cb;
	void *arg;
};

struct sp_client {
	struct list link;
	struct io_loop *loop;
	struct sp_client_config config;
	struct tls_context *tls;
	struct master masters[MASTERS_MAX];
	uint32_t next_id;
	size_t n_connections;
	bool closing;
	void (*on_closed)(void *arg);
	void *on_closed_arg;
};

/* Of the process. */
static struct list clients;
static uv_timer_t look;

/* --- Calls -------------------------------------------------------------------------------- */

static void call_end(struct master *m, struct sp_call *call, int rc, struct bytes reply)
{
	list_remove(&call->link);
	m->n_calls--;
	if (!call->cancelled)
		call->cb(call->arg, rc, reply);
	buf_fini(&call->unsent);
	free(call);
}

static bool was_sent(const struct sp_call *call)
{
	return call->unsent.data == NULL;
}

static void end_calls(struct master *m, int rc, bool all)
{
	struct list ended;

	list_init(&ended);
	list_for_each(call, &m->calls, struct sp_call, link) {
		if (!all && !was_sent(call))
			continue;
		list_remove(&call->link);
		list_push_back(&ended, &call->link);
	}
	while (!list_empty(&ended))
		call_end(m, list_first(&ended, struct sp_call, link), rc, (struct bytes){ 0 });
}

static void send_waiting(struct master *m)
{
	list_for_each(call, &m->calls, struct sp_call, link)
		if (!was_sent(call))
			tls_stream_write_buf(&m->connection->tls, &call->unsent);
}

static bool take_reply(struct connection *c)
{
	struct buf *b = &c->parser.message;
	int stack = sp_stack_length(b->data, b->len);
	uint32_t id;

	if (stack != 4)
		return false;
	memcpy(&id, b->data, 4);
	list_for_each(call, &c->master->calls, struct sp_call, link) {
		if (htonl(call->id) != id || !was_sent(call))
			continue;
		struct buf message = *b;

		*b = (struct buf){ 0 };
		call_end(c->master, call, 0, bytes_of(message.data + stack, message.len - (size_t)stack));
		buf_fini(&message);
		return true;
	}
	buf_clear(b);
	return true; /* Nobody waits for it any more. */
}

/* --- Connections ------------------------------------------------------------------------------ */

static void maybe_closed(struct sp_client *c)
{
	if (!c->closing || c->n_connections > 0)
		return;
	list_remove(&c->link);
	tls_context_destroy(c->tls);
	if (c->on_closed != NULL)
		c->on_closed(c->on_closed_arg);
	free(c);
}

static void on_connection_closed(struct tls_stream *tls)
{
	struct connection *c = container_of(tls, struct connection, tls);
	struct sp_client *client = c->master->client;

	sp_parser_fini(&c->parser);
	free(c);
	client->n_connections--;
	maybe_closed(client);
}

/* The master's place goes on without it. */
static void let_go(struct connection *c)
{
	struct master *m = c->master;
	bool was_up = c->up;

	c->up = false;
	m->connection = NULL;
	m->pause_ms = m->pause_ms == 0 ? RECONNECT_MIN_MS : m->pause_ms * 2;
	if (m->pause_ms > RECONNECT_MAX_MS)
		m->pause_ms = RECONNECT_MAX_MS;
	m->dial_ms = io_now_ms(m->client->loop) + source_random_below(&system_source, m->pause_ms) + RECONNECT_MIN_MS;
	tls_stream_close(&c->tls, on_connection_closed);
	if (was_up && m->used && m->client->config.on_connection != NULL)
		m->client->config.on_connection(m->index, false, m->client->config.arg);
	end_calls(m, -ECONNRESET, false);
}

static void on_open(struct tls_stream *tls)
{
	struct connection *c = container_of(tls, struct connection, tls);
	struct sp_client *client = c->master->client;
	struct buf greeting = { 0 };

	c->up = true;
	c->master->pause_ms = 0;
	sp_put_greeting(&greeting, SP_PROTOCOL_REQ);
	tls_stream_write_buf(tls, &greeting);
	send_waiting(c->master);
	if (client->config.on_connection != NULL)
		client->config.on_connection(c->master->index, true, client->config.arg);
}

static void on_read(struct tls_stream *tls, const uint8_t *data, size_t n)
{
	struct connection *c = container_of(tls, struct connection, tls);

	while (n > 0 && c->master->connection == c) {
		size_t used;
		int rc = sp_parser_feed(&c->parser, SP_PROTOCOL_REP, c->master->client->config.reply_bytes_max, data, n,
			&used);

		data += used;
		n -= used;
		if (rc < 0 || (rc == 1 && !take_reply(c))) {
			let_go(c);
			return;
		}
	}
}

static void on_end(struct tls_stream *tls, int rc)
{
	let_go(container_of(tls, struct connection, tls));
}

static const struct tls_stream_ops ops = { .on_open = on_open, .on_read = on_read, .on_end = on_end };

static void dial(struct master *m)
{
	struct connection *c = xcalloc(1, sizeof(*c));
	struct sp_client *client = m->client;

	c->master = m;
	m->connection = c;
	client->n_connections++;
	tls_stream_connect(&c->tls, client->loop, client->tls, (const struct sockaddr *)&m->address, TLS_MASTER_NAME, &ops);
}

static void look_at(struct sp_client *c, uint64_t now_ms)
{
	for (int i = 0; i < MASTERS_MAX && !c->closing; i++) {
		struct master *m = &c->masters[i];

		if (m->used && m->connection == NULL && m->dial_ms <= now_ms)
			dial(m);
		if (m->n_calls == 0)
			continue;
		list_for_each(call, &m->calls, struct sp_call, link)
			if (call->deadline_ms <= now_ms)
				call_end(m, call, -ETIMEDOUT, (struct bytes){ 0 });
	}
}

static void on_look(uv_timer_t *timer)
{
	uint64_t now_ms = uv_now(timer->loop);

	list_for_each(c, &clients, struct sp_client, link)
		look_at(c, now_ms);
}

/* --- The client --------------------------------------------------------------------------------- */

int sp_client_create(struct io_loop *loop, const struct sp_client_config *config, struct sp_client **ret_client,
	struct status *st)
{
	struct sp_client *c = xcalloc(1, sizeof(*c));
	int rc = tls_client_context_create(&(struct tls_client_config){ .ca_pem = config->ca_pem,
						   .cert_pem = config->cert_pem,
						   .key_pem = config->key_pem },
		&c->tls, st);

	if (rc < 0) {
		free(c);
		return rc;
	}
	c->loop = loop;
	c->config = *config;
	c->config.reply_bytes_max = config->reply_bytes_max ? config->reply_bytes_max : 20 * 1024 * 1024;
	c->config.outstanding_max = config->outstanding_max ? config->outstanding_max : 64;
	c->next_id = (uint32_t)source_random_u64(&system_source);
	for (int i = 0; i < MASTERS_MAX; i++) {
		c->masters[i].client = c;
		c->masters[i].index = i;
		list_init(&c->masters[i].calls);
	}
	if (clients.next == NULL) {
		list_init(&clients);
		uv_timer_init(loop->uv, &look);
		uv_timer_start(&look, on_look, LOOK_MS, LOOK_MS);
	}
	list_push_back(&clients, &c->link);
	*ret_client = c;
	return 0;
}

int sp_client_add(struct sp_client *c, const char *address, int *ret_master, struct status *st)
{
	int port, i = 0;

	while (i < MASTERS_MAX && c->masters[i].used)
		i++;
	if (i == MASTERS_MAX)
		return status_set(st, -ENOSPC, "more than %d masters", MASTERS_MAX);
	struct master *m = &c->masters[i];

	if (address_split(address, m->host, sizeof(m->host), &port) < 0 ||
		inet_pton(AF_INET, m->host, &m->address.sin_addr) != 1)
		return status_set(st, -EINVAL, "%s is not an IPv4 address and a port", address);
	m->address.sin_family = AF_INET;
	m->address.sin_port = htons((uint16_t)port);
	m->used = true;
	m->pause_ms = 0;
	m->dial_ms = 0;
	if (m->connection == NULL)
		dial(m);
	*ret_master = i;
	return 0;
}

void sp_client_remove(struct sp_client *c, int master)
{
	struct master *m = &c->masters[master];

	m->used = false;
	if (m->connection != NULL)
		let_go(m->connection);
	end_calls(m, -ECONNRESET, true);
}

bool sp_client_is_connected(const struct sp_client *c, int master)
{
	const struct master *m = &c->masters[master];

	return m->used && m->connection != NULL && m->connection->up;
}

int sp_client_request(struct sp_client *c, int master, struct bytes body, unsigned timeout_ms, sp_reply_cb *cb,
	void *arg, struct sp_call **ret_call)
{
	struct master *m = &c->masters[master];
	struct sp_call *call;

	if (!m->used || m->n_calls >= c->config.outstanding_max)
		return -EAGAIN;
	call = xcalloc(1, sizeof(*call));
	call->id = ++c->next_id | 0x80000000;
	call->deadline_ms = io_now_ms(c->loop) + timeout_ms;
	call->cb = cb;
	call->arg = arg;
	sp_put_length(&call->unsent, body.len + 4);
	buf_put(&call->unsent, &(uint32_t){ htonl(call->id) }, 4);
	buf_put(&call->unsent, body.data, body.len);
	list_push_back(&m->calls, &call->link);
	m->n_calls++;
	if (sp_client_is_connected(c, master))
		tls_stream_write_buf(&m->connection->tls, &call->unsent);
	if (ret_call != NULL)
		*ret_call = call;
	return 0;
}

void sp_call_cancel(struct sp_call *call)
{
	call->cancelled = true;
}

void sp_client_close(struct sp_client *c, void (*on_closed)(void *arg), void *arg)
{
	assert(!c->closing);
	c->closing = true;
	c->on_closed = on_closed;
	c->on_closed_arg = arg;
	for (int i = 0; i < MASTERS_MAX; i++)
		if (c->masters[i].used)
			sp_client_remove(c, i);
	maybe_closed(c);
}
