/* HTTPS on one address: HTTP/1.1 and HTTP/2 (by ALPN), a callback per request.
 *
 * Everything a client can cause is bounded: connections, requests at once per
 * connection, header and body sizes, bodies held in memory at once, and the time
 * for the handshake, a header, a body, an idle connection and a reader that
 * takes nothing. What breaks a rule is answered with a Kubernetes Status (400, 408,
 * 413, 431, 503, 505) and closed. Loop thread only. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/status.h"
#include "common/io/exchange.h"
#include "common/io/loop.h"
#include "common/io/tls.h"

struct http_server;

/* Zero means the default in brackets. */
struct http_server_config {
	const char *host; /* An IP address. */
	int port;         /* 0: any free one. */
	/* > 0: listen on this bound stream socket instead; taken over in any case. */
	int fd;
	struct tls_context *tls;
	void (*on_request)(struct exchange *x, void *arg);
	void *arg;
	size_t connections_max;    /* [20000] Further ones are closed at once. */
	size_t streams_max;        /* [250] Requests at once on one HTTP/2 connection. */
	size_t body_bytes_max;     /* [3 MiB] Of one request. */
	size_t all_body_bytes_max; /* [64 MiB] Of all requests under way. */
	unsigned handshake_ms;     /* [10000] */
	unsigned header_ms; /* [10000] From a request's first byte to the end of its header. */
	unsigned body_ms;   /* [60000] */
	unsigned idle_ms;   /* [180000] Between requests. */
	unsigned stall_ms;  /* [60000] Bytes are pending and the client takes none. */
};

/* The config is copied; the TLS context must outlive the server. */
int http_server_create(struct io_loop *loop, const struct http_server_config *config,
		       struct http_server **ret_server, struct status *st);
/* Where it listens, e.g. when asked for any free port. */
int http_server_port(const struct http_server *server);
/* No new connections; open ones end with their current requests (GOAWAY, Connection: close).
 * Handlers are expected to end their streams. */
void http_server_shutdown(struct http_server *server);
/* Connections that are still open. */
size_t http_server_connections(const struct http_server *server);
/* Close everything and free the server, then call back. Exchanges that handlers still hold stay
 * theirs, without a client. */
void http_server_close(struct http_server *server, void (*on_closed)(void *arg), void *arg);
