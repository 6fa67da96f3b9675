/* The DNS server of a node: names of the cluster from memory, all others by relay.
 *
 * UDP and TCP on one address. A question for elsewhere goes on with a random id from a
 * socket of its own, so an answer must match address, port, id and question; at most
 * DNS_FORWARDS_MAX are under way (SERVFAIL beyond), each for DNS_FORWARD_MS at most. Loop thread.
 */
#pragma once

#include <uv.h>

#include "common/base/status.h"
#include "proxy/dns/names.h"

#define DNS_FORWARDS_MAX 1000
#define DNS_TCP_CLIENTS_MAX 200
#define DNS_ATTEMPT_MS 1500
#define DNS_FORWARD_MS 6000
#define DNS_TCP_IDLE_MS 10000

struct dns_config {
	const char *listen; /* IPv4 address. */
	int port;
	struct names names;
	/* Ends with NULL: ask these. NULL: those of resolv_conf, read again when it changes. */
	const char *const *upstreams;
	const char *resolv_conf;
};

struct dns_server;

int dns_server_create(uv_loop_t *loop, const struct dns_config *config, struct dns_server **ret,
		      struct status *st);
/* on_closed may be NULL. */
void dns_server_close(struct dns_server *s, void (*on_closed)(void *arg), void *arg);

struct dns_counters {
	uint64_t queries, answered, forwarded, failed, dropped;
};

const struct dns_counters *dns_server_counters(const struct dns_server *s);
