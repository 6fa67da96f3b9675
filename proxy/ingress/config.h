/* The text of HAProxy's configuration.
 *
 * A request asks three maps: hosts.map says which site the Host header belongs to
 * (itself, ".example.com" for one label more, or "*"); exact.map is asked with
 * site and path; prefix.map with site, path and "/", where HAProxy finds the
 * longest key that begins it. The "/" at the end makes prefixes end at the ends of
 * path elements. A value names a backend ("slot_3"), says that the request must
 * come over TLS ("slot_3|s"), or where to go instead (">https://..."). Pure. */
#pragma once

#include "common/base/buf.h"
#include "proxy/ingress/running.h"

struct config_settings {
	const char *dir; /* Of maps, certificates, socket and pid file. */
	uint16_t http_port, https_port;
	bool ipv6; /* The node has it. */
	unsigned threads, connections_max;
	bool user; /* There is a user called haproxy to run as. */
};

void config_print(struct buf *to, const struct running *r, const struct config_settings *s);
/* One of its maps. */
void config_print_map(struct buf *to, const struct running *r, enum running_map map);
/* Certificates and the names that they are shown for. The default comes first: it is for all
 * others. */
void config_print_list(struct buf *to, const struct running *r, const char *dir);
