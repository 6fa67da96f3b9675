#include "proxy/dns/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/source.h"
#include "proxy/dns/internal.h"

#define SWEEP_MS 200

void server_send(struct dns_server *s, const struct dns_peer *peer, const struct buf *reply)
{
	uv_buf_t out = uv_buf_init((char *)reply->data, (unsigned)reply->len);

	if (peer->client != NULL)
		tcp_send(peer->client, reply);
	else if (uv_udp_try_send(&s->udp, &out, 1, (const struct sockaddr *)&peer->address) < 0)
		s->counters.dropped++;
}

static void answer_error(struct dns_server *s, const struct dns_query *query,
			 const struct dns_peer *peer, enum dns_rcode rcode)
{
	auto_with(buf_fini) struct buf reply = { 0 };

	dns_put_error(&reply, query, rcode);
	server_send(s, peer, &reply);
}

static void answer(struct dns_server *s, const uint8_t *packet, size_t n,
		   const struct dns_query *query, const struct dns_peer *peer)
{
	size_t limit = peer->client != NULL ? DNS_MESSAGE_BYTES_MAX : query->limit;
	auto_with(buf_fini) struct buf reply = { 0 };
	char target[DNS_NAME_MAX + 1];

	switch (names_answer(&s->names, query, limit, s->rotate++, &reply, target)) {
	case NAMES_ANSWERED:
		s->counters.answered++;
		server_send(s, peer, &reply);
		return;
	case NAMES_NOT_OURS:
		forward_start(s, packet, n, query, peer, NULL);
		return;
	case NAMES_LEADS_OUT:
		forward_start(s, packet, n, query, peer, target);
		return;
	}
	abort();
}

void server_handle(struct dns_server *s, const uint8_t *packet, size_t n,
		   const struct dns_peer *peer)
{
	struct dns_query query;
	int rc = dns_parse_query(packet, n, &query);

	s->counters.queries++;
	if (rc == -EBADMSG) {
		s->counters.dropped++;
	} else if (rc < 0) {
		query.question_bytes = 0;
		query.edns = false;
		answer_error(s, &query, peer, DNS_FORMERR);
	} else if (query.opcode != 0) {
		answer_error(s, &query, peer, DNS_NOTIMP);
	} else {
		answer(s, packet, n, &query, peer);
	}
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
	struct dns_server *s = container_of((uv_udp_t *)h, struct dns_server, udp);

	*ret = uv_buf_init((char *)s->space, sizeof(s->space));
}

static void on_datagram(uv_udp_t *h, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from,
			unsigned flags)
{
	struct dns_server *s = container_of(h, struct dns_server, udp);
	struct dns_peer peer = { 0 };

	if (n <= 0 || from == NULL || (flags & UV_UDP_PARTIAL) != 0)
		return;
	memcpy(&peer.address, from,
	       from->sa_family == AF_INET ? sizeof(struct sockaddr_in)
					  : sizeof(struct sockaddr_in6));
	server_handle(s, (const uint8_t *)buf->base, (size_t)n, &peer);
}

/* --- Life ------------------------------------------------------------------- */

static void server_free(struct dns_server *s)
{
	void (*cb)(void *) = s->on_closed;
	void *arg = s->on_closed_arg;

	free(s->zone);
	free(s->resolv_conf);
	free(s);
	if (cb != NULL)
		cb(arg);
}

void server_handle_closed(struct dns_server *s)
{
	if (--s->n_handles == 0 && s->closing)
		server_free(s);
}

static void on_udp_closed(uv_handle_t *h)
{
	server_handle_closed(container_of((uv_udp_t *)h, struct dns_server, udp));
}

static void on_tcp_closed(uv_handle_t *h)
{
	server_handle_closed(container_of((uv_tcp_t *)h, struct dns_server, tcp));
}

static void on_timer_closed(uv_handle_t *h)
{
	server_handle_closed(container_of((uv_timer_t *)h, struct dns_server, sweep));
}

static void on_sweep(uv_timer_t *timer)
{
	struct dns_server *s = container_of(timer, struct dns_server, sweep);
	uint64_t now_ms = uv_now(s->loop);

	forwards_sweep(s, now_ms);
	tcp_sweep(s, now_ms);
	if (s->n_forwards + s->n_clients > 0)
		return;
	uv_timer_stop(timer);
	s->sweeping = false;
}

void server_sweep_later(struct dns_server *s)
{
	if (s->sweeping)
		return;
	s->sweeping = true;
	uv_timer_start(&s->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
}

static int start_listening(struct dns_server *s, const struct dns_config *config, struct status *st)
{
	struct sockaddr_in address;
	int rc = uv_ip4_addr(config->listen, config->port, &address);

	if (rc == 0)
		rc = uv_udp_bind(&s->udp, (const struct sockaddr *)&address, 0);
	if (rc == 0)
		rc = uv_udp_recv_start(&s->udp, on_alloc, on_datagram);
	if (rc == 0)
		rc = tcp_listen(s, (const struct sockaddr *)&address);
	if (rc < 0)
		return status_set(st, rc, "DNS cannot listen on %s port %d: %s", config->listen,
				  config->port, uv_strerror(rc));
	return 0;
}

static void set_upstreams(struct dns_server *s, const struct dns_config *config)
{
	ip_parse(config->listen, &s->upstreams.own[0]);
	s->upstreams.own[1] = config->names.address;
	for (size_t i = 0; config->upstreams != NULL && config->upstreams[i] != NULL; i++)
		upstreams_add(&s->upstreams, config->upstreams[i]);
	if (config->upstreams == NULL && config->resolv_conf != NULL)
		s->resolv_conf = xstrdup(config->resolv_conf);
}

int dns_server_create(uv_loop_t *loop, const struct dns_config *config, struct dns_server **ret,
		      struct status *st)
{
	struct dns_server *s = xcalloc(1, sizeof(*s));

	s->loop = loop;
	s->names = config->names;
	s->zone = xstrdup(config->names.zone);
	s->names.zone = s->zone;
	s->rotate = (uint32_t)source_random_u64(&system_source);
	list_init(&s->forwards);
	list_init(&s->clients);
	set_upstreams(s, config);
	uv_udp_init(loop, &s->udp);
	uv_tcp_init(loop, &s->tcp);
	uv_timer_init(loop, &s->sweep);
	s->n_handles = 3;
	int rc = start_listening(s, config, st);

	if (rc < 0) {
		dns_server_close(s, NULL, NULL);
		return rc;
	}
	*ret = s;
	return 0;
}

void dns_server_close(struct dns_server *s, void (*on_closed)(void *arg), void *arg)
{
	s->closing = true;
	s->on_closed = on_closed;
	s->on_closed_arg = arg;
	forwards_cancel_all(s);
	tcp_close_all(s);
	uv_close((uv_handle_t *)&s->udp, on_udp_closed);
	uv_close((uv_handle_t *)&s->tcp, on_tcp_closed);
	uv_close((uv_handle_t *)&s->sweep, on_timer_closed);
}

const struct dns_counters *dns_server_counters(const struct dns_server *s)
{
	return &s->counters;
}
