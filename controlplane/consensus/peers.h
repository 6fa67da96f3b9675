/* Connections to the other masters: one that we dial and write to, one that they dial
 * and we read from, for each. Loop thread only.
 *
 * Who somebody is, the certificate says; the hello, first on every connection, adds
 * where to reach it. All members of the configuration are dialled and redialled all
 * the time, because a candidate that must dial first loses its first round. */
#pragma once

#include "controlplane/consensus/frame.h"
#include "controlplane/consensus/link.h"

struct peers;

struct peers_callbacks {
	/* A whole frame. Negative: drop the connection. */
	int (*frame)(void *ctx, uint64_t id, const char *address, struct bytes frame);
	/* Our way to id is open. */
	void (*connected)(void *ctx, uint64_t id);
	/* Its way to us ended, unannounced. */
	void (*lost)(void *ctx, uint64_t id);
};

struct peers_config {
	uv_loop_t *loop;
	uint64_t id;
	const char *address, *listen;
	const struct consensus_tls *tls;
	uint32_t user_timeout_ms;
	const struct peers_callbacks *callbacks;
	void *ctx;
};

int peers_open(const struct peers_config *config, struct peers **ret_p, struct status *st);
/* Say goodbye, close everything, free p, then call cb. */
void peers_close(struct peers *p, void (*cb)(void *ctx), void *ctx);
int peers_set_tls(struct peers *p, const struct consensus_tls *tls, struct status *st);

/* These, and nobody else, are to be dialled. */
void peers_want(struct peers *p, const uint64_t *ids, const char *const *addresses, size_t n);
/* Where to put a frame for id; NULL when there is no connection or 16 MiB are waiting. A member that
 * nobody wanted yet is dialled at address, if that is not NULL. */
struct buf *peers_outbox(struct peers *p, uint64_t id, const char *address);
bool peers_connected(const struct peers *p, uint64_t id);
void peers_flush(struct peers *p);
