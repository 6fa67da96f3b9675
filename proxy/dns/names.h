/* The names of the cluster, after the Kubernetes DNS specification 1.1.0:
 *
 *     <service>.<namespace>.svc.<zone>                A, AAAA, SRV; CNAME for ExternalName
 *     <host>.<service>.<namespace>.svc.<zone>         A, AAAA of one endpoint of a headless Service
 *     _<port>._<protocol>.<service>.<namespace>.svc.<zone>   SRV
 *     <a-b-c-d>.<namespace>.pod.<zone>                A
 *     dns-version.<zone>                              TXT
 *     <d.c.b.a>.in-addr.arpa                          PTR of Services and endpoints
 *
 * Answers come from the world in memory. Pure. */
#pragma once

#include "proxy/dns/wire.h"
#include "proxy/world/world.h"

#define NAMES_TTL_S 5

struct names {
	const struct world *world;
	const char *zone; /* cluster.local; lower case, no dot at the ends. */
	/* Address of the cluster's DNS, for ns.dns.<zone>. */
	struct ip address;
	/* Addresses in these ranges are ours to name; masks 0: none. Host order. */
	uint32_t service_base, service_mask, pod_base, pod_mask;
};

enum names_result {
	NAMES_ANSWERED, /* out holds the reply. */
	NAMES_NOT_OURS, /* To be forwarded. */
	/* *ret_target is a name outside; out holds nothing. The reply is a CNAME to it and what it
	 * stands for there. */
	NAMES_LEADS_OUT,
};

/* rotate: any number; the answers begin with another address each time. limit: bytes of the reply.
 */
enum names_result names_answer(const struct names *names, const struct dns_query *query,
			       size_t limit, uint32_t rotate, struct buf *out,
			       char ret_target[DNS_NAME_MAX + 1]);
