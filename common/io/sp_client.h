/* The agents', proxies' and SDK's end of SP REQ/REP: libnng over mutual TLS.
 *
 * One socket per master, all connected in advance and kept connected by libnng;
 * requests run in contexts, several at once. libnng's threads only push onto a
 * bounded queue; every callback comes on the loop thread, never from inside a
 * call. A request is sent at most once: when the connection breaks under it the
 * answer is -ECONNRESET at once, and the caller decides.
 *
 * Certificates are PEM texts with P-256 keys (libnng speaks TLS 1.2 by mbedTLS).
 * There is no replacing them: a program with a new certificate executes itself
 * anew. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/status.h"
#include "common/io/loop.h"

struct sp_client;
struct sp_call;

struct sp_client_config {
	const char *ca_pem, *cert_pem, *key_pem;
	const char *server_name; /* NULL: TLS_MASTER_NAME. */
	size_t outstanding_max;  /* Per master; 0: 64. */
	size_t reply_bytes_max;  /* 0: 20 MiB, more than any master sends. */
	/* A connection to the master is up or gone. May be NULL. */
	void (*on_connection)(int master, bool up, void *arg);
	void *arg;
};

/* rc 0 and the reply, valid during the call; or -ETIMEDOUT, -ECONNRESET, -EMSGSIZE, -ESHUTDOWN (the
 * client was closed) or what else sp_errno() gives. */
typedef void sp_reply_cb(void *arg, int rc, struct bytes reply);

int sp_client_create(struct io_loop *loop, const struct sp_client_config *config,
		     struct sp_client **ret_client, struct status *st);
/* Begin to connect to "host:port"; *ret_master is its index from now on. At most 16 at a time;
 * indexes of removed ones are used again. */
int sp_client_add(struct sp_client *c, const char *address, int *ret_master, struct status *st);
/* Requests under way end with -ECONNRESET. */
void sp_client_remove(struct sp_client *c, int master);
bool sp_client_is_connected(const struct sp_client *c, int master);
/* Ask. 0 and *ret_call (which may be NULL), and exactly one callback follows; or -EAGAIN when
 * outstanding_max is reached, and none does. The time includes waiting for the connection. */
int sp_client_request(struct sp_client *c, int master, struct bytes body, unsigned timeout_ms,
		      sp_reply_cb *cb, void *arg, struct sp_call **ret_call);
/* Nobody wants the answer any more: the callback does not come. */
void sp_call_cancel(struct sp_call *call);
/* Requests under way end with -ESHUTDOWN; then on_closed, and the client is gone. */
void sp_client_close(struct sp_client *c, void (*on_closed)(void *arg), void *arg);

/* libnng's positive numbers as negative errno. */
int sp_errno(int nng_rc);
