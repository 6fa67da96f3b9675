/* What server.c, tcp.c and forward.c share. */
#pragma once

#include <uv.h>

#include "common/base/list.h"
#include "proxy/dns/server.h"
#include "proxy/dns/upstream.h"

struct tcp_client;

struct dns_server {
	uv_loop_t *loop;
	struct names names;
	char *zone, *resolv_conf;
	struct upstreams upstreams;
	struct timespec resolv_mtime;
	uint64_t resolv_checked_ms;
	uv_udp_t udp;
	uv_tcp_t tcp;
	uv_timer_t sweep; /* Runs while there are forwards or clients. */
	struct list forwards, clients;
	size_t n_forwards, n_clients;
	unsigned n_handles; /* Not closed yet, those of forwards and clients included. */
	bool closing, sweeping;
	struct dns_counters counters;
	uint32_t rotate;
	void (*on_closed)(void *arg);
	void *on_closed_arg;
	uint8_t space[DNS_MESSAGE_BYTES_MAX + 1];
};

/* Where an answer goes. client NULL: by UDP to address. */
struct dns_peer {
	struct tcp_client *client;
	struct sockaddr_storage address;
};

/* A packet came from a peer: answer it now or later. */
void server_handle(struct dns_server *s, const uint8_t *packet, size_t n,
		   const struct dns_peer *peer);
void server_send(struct dns_server *s, const struct dns_peer *peer, const struct buf *reply);
void server_handle_closed(struct dns_server *s);
void server_sweep_later(struct dns_server *s);

/* Relay a question; target NULL: as it is, else for that name, and the answer is our alias to it.
 */
void forward_start(struct dns_server *s, const uint8_t *packet, size_t n,
		   const struct dns_query *query, const struct dns_peer *peer, const char *target);
void forwards_sweep(struct dns_server *s, uint64_t now_ms);
void forwards_cancel_all(struct dns_server *s);
/* The client is gone: nobody wants these any more. */
void forwards_cancel_client(struct dns_server *s, const struct tcp_client *client);

int tcp_listen(struct dns_server *s, const struct sockaddr *address);
void tcp_send(struct tcp_client *client, const struct buf *reply);
void tcp_sweep(struct dns_server *s, uint64_t now_ms);
void tcp_close_all(struct dns_server *s);
