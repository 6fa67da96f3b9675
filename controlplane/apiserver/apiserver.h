/* The Kubernetes API over HTTPS, on every master.
 *
 * It authenticates and authorizes clients, serves reads and watches from this
 * master's store, and hands every change to the one door (writes.h), which
 * forwards it to the leader. Reads that name no resourceVersion are
 * linearizable. Everything a client can make it hold is bounded: requests in
 * flight, watchers and what waits for each of them, bodies, streams.
 * docs/api.md says what is served and what is not. Loop thread only. */
#pragma once

#include <stdint.h>

#include "common/base/source.h"
#include "common/base/status.h"
#include "common/io/loop.h"
#include "controlplane/admission/admission.h"

struct apiserver;
struct consensus;
struct nodes;
struct rpc;
struct store;
struct tls_context;
struct trust;
struct writes;

/* All of it must outlive the server. nodes and rpc may be NULL in tests: streams are refused then
 * and node Leases show what the store holds. */
struct apiserver_config {
	struct io_loop *loop;
	struct source *source;
	struct store *store;
	struct writes *writes;
	struct consensus *consensus;
	struct nodes *nodes;
	struct rpc *rpc;
	const struct trust *trust;
	const struct cluster_config *cluster;
	struct tls_context *tls; /* Server side, client certificates optional, http2 on. */
	const char *address;     /* host:port as clients reach this master. */
	size_t watchers_max;     /* 0: 20,000 */
};

int apiserver_start(const struct apiserver_config *config, struct apiserver **ret_api,
		    struct status *st);
/* Listen on ip:port; port 0 is any free one. May be called several times. ret_port may be NULL. */
int apiserver_listen(struct apiserver *api, const char *host, int port, int *ret_port,
		     struct status *st);
/* The same on a socket that is bound and listening already; the server owns it then. */
int apiserver_listen_fd(struct apiserver *api, int fd, struct status *st);
/* No new requests; watches and streams end, writes under way are waited for; cb when everything is
 * closed. The consensus must live until then. */
void apiserver_stop(struct apiserver *api, void (*cb)(void *ctx), void *ctx);
/* After stop, when the store changes no more. */
void apiserver_destroy(struct apiserver *api);
