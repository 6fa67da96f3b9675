/* What the Ingresses of the cluster add up to: which host and path leads to
 * which endpoints, and which certificates are shown to whom.
 *
 * Of two Ingresses that want one host and path the older keeps it. Keys are
 * what HAProxy is asked with (config.h): "host/path" of an exact route, and
 * "host/path/" of a prefix, where host is ".example.com" for "*.example.com" and
 * "*" for every host. Pure; one thread. */
#pragma once

#include "proxy/world/world.h"

struct model_server {
	struct ip ip;
	uint16_t port;
};

struct model_backend {
	const char *key;      /* Service, port and everything it is configured with. */
	const char *settings; /* Lines of its section; "" for none. */
	const char *options;  /* Of its servers; "" for none. */
	struct model_server *servers;
	size_t n_servers;
};

struct model_route {
	const char *key;
	size_t backend;       /* Index. */
	const char *redirect; /* Instead of a backend, or NULL. */
	bool secure;
};

struct model_certificate {
	const char *name; /* namespace_secret */
	struct bytes pem;
	const char **hosts; /* Names it is shown for; none: those written in it. */
	size_t n_hosts, cap_hosts;
};

struct model {
	struct arena arena;
	const char **hosts;                 /* That have routes, sorted. */
	struct model_route *exact, *prefix; /* Sorted by key. */
	struct model_route *otherwise;      /* For what no route takes, or NULL. */
	struct model_backend *backends;
	struct model_certificate *certificates; /* Sorted by name. */
	size_t n_hosts, n_exact, n_prefix, n_backends, n_certificates;
};

/* Marks the Services that routes lead to. */
void model_build(struct model *m, struct world *w);
void model_fini(struct model *m);
