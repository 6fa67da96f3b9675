/* From a Service and its endpoints to map elements. Pure.
 *
 * Endpoints keep the index they have (told by lookup), a hole is filled by a new
 * endpoint or by the last one, so one change of endpoints is two or three elements. */
#pragma once

#include "proxy/services/element.h"
#include "proxy/world/world.h"

struct plan_context {
	const char *node; /* Our own name, for the Local policies and hints, */
	const char *zone; /* and where we are; NULL or "" is nowhere. */
	struct ip
		dns; /* Port 53 of this address leads to our own server, whatever a Service says. */
	/* The value an element has now; false if there is none. */
	bool (*lookup)(void *arg, const struct element *key, uint64_t *ret_value);
	void *arg;
};

/* Adds the service's elements to out, sorted with what is there. */
void plan_service(const struct service *service, const struct plan_context *ctx,
		  struct elements *out);
/* One address and port that always leads to another (the cluster's DNS address to our own server).
 */
void plan_redirect(const uint8_t address[4], const uint8_t to[4], uint8_t protocol, uint16_t port,
		   struct elements *out);
/* Ports of the node that lead to its own pods. */
void plan_host_ports(const struct world *w, const struct plan_context *ctx, struct elements *out);
