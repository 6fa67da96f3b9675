/* A small HTTPS/1.1 client: one connection per request.
 *
 * The answer comes in one callback, never from inside a call: status, headers and
 * a bounded body, or a connection that left HTTP ("dial and upgrade"). Whom to
 * trust is the TLS context's matter: the cluster's CA, or for joining the hash of
 * its certificate (tls.h). Loop thread only. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/io/byte_stream.h"
#include "common/io/exchange.h"
#include "common/io/loop.h"
#include "common/io/tls.h"

struct http_call;

/* Everything but the TLS context is copied. Zero means the default in brackets. */
struct http_request {
	const char *host; /* A name or an IP address. */
	int port;
	struct tls_context *tls;
	const char *server_name; /* [host] Wanted in the certificate, e.g. TLS_MASTER_NAME. */
	const char *method;      /* [GET] */
	const char *target;      /* Path and query. */
	const struct http_header *headers; /* Host, Content-Length and Connection are added. */
	size_t n_headers;
	struct bytes body;
	const char *upgrade;   /* The protocol to leave HTTP for, or NULL. */
	size_t body_bytes_max; /* [16 MiB] Of the response; more is -EMSGSIZE. */
	unsigned timeout_ms;   /* [30000] Until the response is complete or, streamed, begins. */
	/* Body pieces as they come (a watch); the response then carries no body. */
	void (*on_data)(void *arg, const uint8_t *data, size_t n);
};

struct http_response {
	int status;
	const struct http_header *headers;
	size_t n_headers;
	struct bytes body;
};

/* rc 0 and the response, valid during the call; or negative errno: -ETIMEDOUT, -ECONNREFUSED,
 * -EPROTO (TLS or HTTP is broken or not trusted), -EMSGSIZE ... stream is not NULL when the server
 * answered 101 to an upgrade; it belongs to the callee, who sets its callbacks before returning. */
typedef void http_response_cb(void *arg, int rc, const struct http_response *response,
			      struct byte_stream *stream);

struct http_call *http_client_send(struct io_loop *loop, const struct http_request *request,
				   http_response_cb *cb, void *arg);
/* Break off; the callback does not come. */
void http_call_cancel(struct http_call *call);
/* The value of the first header of that name, in any case, or NULL. */
const char *http_response_header(const struct http_response *r, const char *name);
