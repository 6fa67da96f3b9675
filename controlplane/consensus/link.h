/* One TLS 1.3 connection between masters, both ends authenticated, in the loop.
 *
 * OpenSSL works on memory here; the socket is libuv's. What the owner puts into
 * link_out() leaves with link_flush(), once per turn. Loop thread only. */
#pragma once

#include <openssl/ssl.h>
#include <uv.h>

#include "common/base/buf.h"
#include "common/base/status.h"
#include "controlplane/consensus/consensus.h"

struct link_contexts {
	SSL_CTX *server, *client;
};

/* -EINVAL when the PEM texts do not fit together; the certificate must be member id's. */
int link_contexts_make(const struct consensus_tls *tls, uint64_t id, struct link_contexts *ret_ctx,
		       struct status *st);
void link_contexts_free(struct link_contexts *ctx);

struct link;

struct link_callbacks {
	/* Authenticated; peer_id is what the certificate says, never 0. */
	void (*up)(struct link *l, uint64_t peer_id);
	/* All that has arrived and was not consumed. Returns how much is done with, or a negative errno to close. */
	int64_t (*data)(struct link *l, struct bytes data);
	/* Gone, for whatever reason, also when it never came up; not after link_close(). l is freed by itself. */
	void (*down)(struct link *l);
};

/* The owner's pointer comes back from link_owner(). */
struct link *link_dial(uv_loop_t *loop, const struct link_contexts *ctx, const char *address,
		       uint32_t user_timeout_ms, const struct link_callbacks *callbacks, void *owner);
struct link *link_accept(uv_loop_t *loop, const struct link_contexts *ctx, uv_stream_t *listener,
			 uint32_t user_timeout_ms, const struct link_callbacks *callbacks,
			 void *owner);
void *link_owner(const struct link *l);
/* Plain bytes that leave with the next flush. */
struct buf *link_out(struct link *l);
/* Bytes that have not reached the kernel. */
size_t link_queued(const struct link *l);
void link_flush(struct link *l);
/* No callback any more. What was flushed and taken by the kernel still arrives. */
void link_close(struct link *l);

/* "host:port" or "[host]:port" taken apart. */
int link_address_split(const char *address, char *ret_host, size_t host_size, uint16_t *ret_port);
