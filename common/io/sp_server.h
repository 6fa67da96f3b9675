/* The masters' end of SP REQ/REP (nng's wire format, docs/sp.md) over mutual TLS.
 *
 * Clients are libnng REQ0 sockets or anything that speaks the protocol. Unlike
 * libnng's own listener this one knows who asks, and no connection can harm
 * another. A client may have several requests open on one connection; they may be
 * answered in any order and at any later time, which is how polls are parked.
 *
 * A request belongs to the handler from on_request until exactly one of
 * sp_request_reply(), sp_request_reply_buf() and sp_request_drop(), whatever the
 * connection does; when that goes first, on_gone tells so, once. Callbacks never
 * come from inside a call. Loop thread only. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/status.h"
#include "common/io/loop.h"
#include "common/io/tls.h"

struct sp_server;

struct sp_request {
	const struct tls_identity *peer; /* Of the client's verified certificate; never NULL. */
	const char *remote;              /* The client's IP address. */
	uint64_t connection;             /* Its number: from 1, never used again. */
	struct bytes body;
	uint64_t started_ms; /* When it was complete, on the loop's clock. */

	/* The handler's. */
	void *data;
	void (*on_gone)(struct sp_request *r);
};

/* Answer; the pointer is invalid afterwards. */
void sp_request_reply(struct sp_request *r, const void *body, size_t n);
/* Takes the buffer over; it is empty afterwards. */
void sp_request_reply_buf(struct sp_request *r, struct buf *body);
/* Forget the request without an answer; the client's time runs out. */
void sp_request_drop(struct sp_request *r);

/* Zero means the default in brackets. */
struct sp_server_config {
	const char *host; /* An IP address. */
	int port;         /* 0: any free one. */
	int fd;           /* > 0: listen on this bound socket instead; taken over in any case. */
	struct tls_context *tls; /* TLS_PEER_REQUIRED. */
	void (*on_request)(struct sp_request *r, void *arg);
	/* A connection that had its handshake is gone; its requests heard on_gone before. May be
	 * NULL. */
	void (*on_lost)(uint64_t connection, const struct tls_identity *peer, void *arg);
	void *arg;
	size_t connections_max; /* [20000] Further ones are closed at once. */
	size_t outstanding_max; /* [64] Open requests per connection; then it is not read any more.
				 */
	size_t message_bytes_max; /* [16 MiB] A larger one ends the connection. */
	size_t all_bytes_max;     /* [256 MiB] Of all messages arriving or open; beyond, connections
				     end. */
	unsigned handshake_ms;    /* [8000] TLS and the 8 bytes of SP. */
	unsigned message_ms;      /* [60000] From a message's first byte to its last. */
	unsigned stall_ms;        /* [60000] Replies are pending and the client takes nothing. */
};

/* The config is copied; the TLS context must outlive the server. */
int sp_server_create(struct io_loop *loop, const struct sp_server_config *config,
		     struct sp_server **ret_server, struct status *st);
int sp_server_port(const struct sp_server *server);
size_t sp_server_connections(const struct sp_server *server);
/* Close the listener and every connection, free the server, call back. Requests that handlers still
 * hold stay theirs. */
void sp_server_close(struct sp_server *server, void (*on_closed)(void *arg), void *arg);
