/* Ingress on this node: keeps HAProxy equal to what the world says.
 *
 * Nothing is started before the first Ingress of ours. HAProxy outlives the
 * proxy, so requests go on while it is away; a proxy that starts writes the whole
 * configuration once it knows the cluster, and reloads. Loop thread. */
#pragma once

#include <uv.h>

#include "common/base/status.h"
#include "proxy/world/world.h"

struct ingress_settings {
	const char *dir; /* A folder of its own, made when needed. */
	uint16_t http_port, https_port;
};

struct ingress_proxy;

struct ingress_proxy *ingress_proxy_create(uv_loop_t *loop, const struct ingress_settings *settings,
					   struct world *world);
/* Something may have changed. Cheap when nothing did. */
void ingress_proxy_sync(struct ingress_proxy *p);
/* Now and then: does HAProxy live? */
void ingress_proxy_check(struct ingress_proxy *p);
/* Its handles close later; p must not be used any more. */
void ingress_proxy_close(struct ingress_proxy *p);

struct ingress_counters {
	uint64_t reloads, commands, failures;
	size_t routes, backends, certificates;
};

const struct ingress_counters *ingress_proxy_counters(const struct ingress_proxy *p);
