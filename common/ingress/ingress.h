/* An Ingress as those read it who serve it: a flat list of routes, its
 * certificates and its options (docs/ingress.md lists the annotations).
 *
 * The proxies that route by it and the controller that reports on it read it
 * with the same function, so they agree about what is refused. Pure; any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "proto/k8s/networking_v1.pb-c.h"

#define INGRESS_CONTROLLER "sampan.io/ingress"
#define INGRESS_OPTION_PREFIX "ingress.sampan.io/"

enum { INGRESS_TIMEOUT_MAX_S = 86400 };

enum ingress_protocol { INGRESS_HTTP, INGRESS_HTTPS, INGRESS_H2C };

struct ingress_backend {
	const char *service;
	const char *port_name; /* "" when the port is a number. */
	uint16_t port;
};

struct ingress_route {
	const char *host; /* Lower case; "" for every host, "*.example.com" for one label more. */
	const char *path; /* Absolute; a prefix other than "/" ends without "/". */
	bool exact;
	bool secure; /* Requests without TLS are sent to https. */
	struct ingress_backend to;
};

struct ingress_certificate {
	const char *secret;
	const char *const *hosts; /* Lower case. */
	size_t n_hosts;
};

struct ingress_options {
	enum ingress_protocol protocol;
	const char *rewrite_prefix; /* Put in the place of the route's path; NULL: not. */
	const char *redirect;       /* Where every request is sent instead; NULL: nowhere. */
	uint32_t timeout_s;         /* Silence of a backend; 0: the default. */
	bool sticky;                /* A cookie leads a client to the same endpoint. */
};

struct ingress {
	const char *class; /* spec.ingressClassName, or the older annotation; "" for none. */
	struct ingress_options options;
	struct ingress_route *routes;
	size_t n_routes;
	const struct ingress_backend *otherwise; /* spec.defaultBackend, or NULL. */
	struct ingress_certificate *certificates;
	size_t n_certificates;
};

/* NULL, or why the Ingress is refused as a whole (in the arena). Strings of *ret are in the message
 * or in the arena. */
const char *ingress_read(const NetworkingV1__Ingress *message, struct arena *arena,
			 struct ingress *ret);
/* Whether a host of a certificate or rule covers a host of a rule. */
bool ingress_host_covers(const char *host, const char *wanted);
