/* A forward is one question on its way; an attempt is one socket that asks one server.
 *
 *   forward: ASKING --(reply)--> answered, gone
 *              |  ^
 *   (timeout)  v  |  next server, a new attempt; after DNS_FORWARD_MS: SERVFAIL, gone
 *
 * An attempt whose forward is gone or has moved on only waits for its close callback. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/alloc.h"
#include "common/base/source.h"
#include "proxy/dns/internal.h"

#define RESOLV_CHECK_MS 2000

struct attempt;

struct forward {
	struct list link;
	struct dns_server *server;
	struct dns_peer peer;
	uint8_t *packet; /* The client's; query points into it. */
	struct dns_query query;
	struct buf out;             /* What is sent on. */
	struct dns_query out_query; /* Points into out. */
	char *target;               /* Of an alias, or NULL. */
	struct attempt *attempt;
	size_t upstream;
	uint64_t attempt_ms, start_ms;
};

struct attempt {
	struct dns_server *server;
	struct forward *forward; /* NULL: nobody waits. */
	union {
		uv_udp_t udp;
		uv_tcp_t tcp;
	};
	uv_connect_t connect;
	uv_write_t write;
	uint8_t length[2];
	struct buf sent, in; /* TCP only. */
};

static void on_attempt_closed(uv_handle_t *h)
{
	struct attempt *a = h->data;
	struct dns_server *s = a->server;

	buf_fini(&a->sent);
	buf_fini(&a->in);
	free(a);
	server_handle_closed(s);
}

static void drop_attempt(struct forward *f)
{
	struct attempt *a = f->attempt;

	if (a == NULL)
		return;
	f->attempt = NULL;
	a->forward = NULL;
	uv_close((uv_handle_t *)&a->udp, on_attempt_closed);
}

static void forward_free(struct forward *f)
{
	drop_attempt(f);
	list_remove(&f->link);
	f->server->n_forwards--;
	buf_fini(&f->out);
	free(f->packet);
	free(f->target);
	free(f);
}

static void fail(struct forward *f)
{
	auto_with(buf_fini) struct buf reply = { 0 };

	f->server->counters.failed++;
	dns_put_error(&reply, &f->query, DNS_SERVFAIL);
	server_send(f->server, &f->peer, &reply);
	forward_free(f);
}

/* --- The answer ------------------------------------------------------------- */

static void answer_as_it_is(struct forward *f, const uint8_t *packet, size_t n)
{
	auto_with(buf_fini) struct buf reply = { 0 };

	buf_put(&reply, packet, n);
	reply.data[0] = (uint8_t)(f->query.id >> 8);
	reply.data[1] = (uint8_t)f->query.id;
	server_send(f->server, &f->peer, &reply);
}

static void answer_as_alias(struct forward *f, const uint8_t *packet, size_t n)
{
	size_t limit = f->peer.client != NULL ? DNS_MESSAGE_BYTES_MAX : f->query.limit;
	auto_with(buf_fini) struct buf reply = { 0 };
	struct dns_reply r;

	dns_reply_begin(&r, &reply, &f->query, limit);
	dns_put_name(&r, NULL, DNS_CNAME, NAMES_TTL_S, f->target);
	dns_copy_answers(&r, packet, n);
	dns_reply_finish(&r, &f->query, (enum dns_rcode)(packet[3] & 15), false);
	server_send(f->server, &f->peer, &reply);
}

/* False: not the answer to our question; keep waiting. */
static bool take_reply(struct attempt *a, const uint8_t *packet, size_t n)
{
	struct forward *f = a->forward;

	if (f == NULL || !dns_reply_fits(packet, n, f->out_query.id, &f->out_query))
		return false;
	f->server->counters.forwarded++;
	if (f->target != NULL)
		answer_as_alias(f, packet, n);
	else
		answer_as_it_is(f, packet, n);
	forward_free(f);
	return true;
}

/* The next server gets its turn at the next sweep. */
static void give_up(struct attempt *a)
{
	if (a->forward != NULL)
		a->forward->attempt_ms = 0;
}

/* --- UDP -------------------------------------------------------------------- */

static void on_udp_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
	struct attempt *a = h->data;

	*ret = uv_buf_init((char *)a->server->space, sizeof(a->server->space));
}

static void on_datagram(uv_udp_t *h, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from,
			unsigned flags)
{
	if (n > 0)
		take_reply(h->data, (const uint8_t *)buf->base, (size_t)n);
	else if (n < 0)
		give_up(h->data);
}

/* Connected, so the kernel passes only what comes from the server; the kernel's choice of the port
 * is random. */
static int ask_by_udp(struct attempt *a, const struct sockaddr *server)
{
	struct forward *f = a->forward;
	uv_buf_t out = uv_buf_init((char *)f->out.data, (unsigned)f->out.len);
	int rc;

	uv_udp_init(a->server->loop, &a->udp);
	a->udp.data = a;
	rc = uv_udp_connect(&a->udp, server);
	if (rc == 0)
		rc = uv_udp_recv_start(&a->udp, on_udp_alloc, on_datagram);
	if (rc == 0)
		rc = uv_udp_try_send(&a->udp, &out, 1, NULL);
	return rc < 0 ? rc : 0;
}

/* --- TCP -------------------------------------------------------------------- */

static void on_tcp_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
	struct attempt *a = h->data;

	*ret = uv_buf_init((char *)a->server->space, sizeof(a->server->space));
}

static void on_tcp_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct attempt *a = stream->data;

	if (n < 0 || a->forward == NULL || a->in.len + (size_t)n > DNS_MESSAGE_BYTES_MAX + 2) {
		uv_read_stop(stream);
		give_up(a);
		return;
	}
	buf_put(&a->in, buf->base, (size_t)n);
	if (a->in.len < 2)
		return;
	size_t bytes = (size_t)a->in.data[0] << 8 | a->in.data[1];

	if (a->in.len >= 2 + bytes && !take_reply(a, a->in.data + 2, bytes))
		give_up(a);
}

static void on_tcp_written(uv_write_t *write, int status)
{
	if (status < 0)
		give_up(container_of(write, struct attempt, write));
}

static void on_tcp_connected(uv_connect_t *connect, int status)
{
	struct attempt *a = container_of(connect, struct attempt, connect);

	if (status < 0 || a->forward == NULL) {
		give_up(a);
		return;
	}
	uv_buf_t out[2] = {
		uv_buf_init((char *)a->length, 2),
		uv_buf_init((char *)a->sent.data, (unsigned)a->sent.len),
	};

	a->length[0] = (uint8_t)(a->sent.len >> 8);
	a->length[1] = (uint8_t)a->sent.len;
	if (uv_write(&a->write, (uv_stream_t *)&a->tcp, out, 2, on_tcp_written) < 0 ||
	    uv_read_start((uv_stream_t *)&a->tcp, on_tcp_alloc, on_tcp_read) < 0)
		give_up(a);
}

static int ask_by_tcp(struct attempt *a, const struct sockaddr *server)
{
	uv_tcp_init(a->server->loop, &a->tcp);
	a->tcp.data = a;
	buf_put(&a->sent, a->forward->out.data, a->forward->out.len);
	return uv_tcp_connect(&a->connect, &a->tcp, server, on_tcp_connected);
}

/* --- Forwards --------------------------------------------------------------- */

static void ask(struct forward *f)
{
	struct dns_server *s = f->server;
	struct attempt *a = xcalloc(1, sizeof(*a));
	const struct sockaddr *server =
		(const struct sockaddr *)&s->upstreams.items[f->upstream++ % s->upstreams.n];
	int rc;

	a->server = s;
	a->forward = f;
	f->attempt = a;
	f->attempt_ms = uv_now(s->loop);
	s->n_handles++;
	rc = f->peer.client != NULL ? ask_by_tcp(a, server) : ask_by_udp(a, server);
	if (rc < 0)
		give_up(a);
}

static void check_resolv_conf(struct dns_server *s)
{
	uint64_t now_ms = uv_now(s->loop);
	struct stat st;

	if (s->resolv_conf == NULL ||
	    (s->resolv_checked_ms != 0 && now_ms - s->resolv_checked_ms < RESOLV_CHECK_MS))
		return;
	s->resolv_checked_ms = now_ms;
	if (stat(s->resolv_conf, &st) < 0 ||
	    memcmp(&st.st_mtim, &s->resolv_mtime, sizeof(st.st_mtim)) == 0)
		return;
	s->resolv_mtime = st.st_mtim;
	upstreams_read(&s->upstreams, s->resolv_conf);
}

/* The client's packet with an id of ours, or a question of ours for the target of an alias. */
static void write_question(struct forward *f, size_t n)
{
	uint16_t id = (uint16_t)source_random_u64(&system_source);

	if (f->target == NULL)
		buf_put(&f->out, f->packet, n);
	else
		dns_put_question(&f->out, f->target, f->query.type);
	f->out.data[0] = (uint8_t)(id >> 8);
	f->out.data[1] = (uint8_t)id;
	dns_parse_query(f->out.data, f->out.len, &f->out_query);
}

void forward_start(struct dns_server *s, const uint8_t *packet, size_t n,
		   const struct dns_query *query, const struct dns_peer *peer, const char *target)
{
	struct forward *f = xcalloc(1, sizeof(*f));

	check_resolv_conf(s);
	f->server = s;
	f->peer = *peer;
	f->packet = xmemdup(packet, n);
	f->query = *query;
	f->query.question = f->packet + (query->question - packet);
	f->target = target != NULL ? xstrdup(target) : NULL;
	f->start_ms = uv_now(s->loop);
	list_push_back(&s->forwards, &f->link);
	s->n_forwards++;
	write_question(f, n);
	if (s->upstreams.n == 0 || s->n_forwards > DNS_FORWARDS_MAX) {
		fail(f);
		return;
	}
	ask(f);
	server_sweep_later(s);
}

void forwards_sweep(struct dns_server *s, uint64_t now_ms)
{
	list_for_each (f, &s->forwards, struct forward, link) {
		if (now_ms - f->attempt_ms < DNS_ATTEMPT_MS)
			continue;
		drop_attempt(f);
		if (now_ms - f->start_ms >= DNS_FORWARD_MS || s->upstreams.n == 0)
			fail(f);
		else
			ask(f);
	}
}

void forwards_cancel_all(struct dns_server *s)
{
	list_for_each (f, &s->forwards, struct forward, link)
		forward_free(f);
}

void forwards_cancel_client(struct dns_server *s, const struct tcp_client *client)
{
	list_for_each (f, &s->forwards, struct forward, link) {
		if (f->peer.client == client)
			forward_free(f);
	}
}
