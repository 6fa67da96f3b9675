/* The SP endpoint: who calls, what they want, and who answers. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/buf.h"
#include "common/io/address.h"
#include "common/io/cert_names.h"
#include "common/io/sp_server.h"
#include "controlplane/nodes/internal.h"
#include "controlplane/store/arena_unpack.h"

/* Unpacked requests: an inventory of a full node fits many times. */
#define REQUEST_BUDGET_BYTES (64u << 20)

/* --- Calls ------------------------------------------------------------------------ */

static void call_free(struct call *c)
{
	list_remove(&c->link);
	if (c->parked_count != NULL)
		(*c->parked_count)--;
	arena_fini(&c->arena);
	free(c);
}

void call_watch(struct call *c, struct call_watch *watch)
{
	c->watch = watch;
}

void call_reply(struct call *c, const SampanNode__Reply *reply)
{
	struct buf body = { 0 };

	body.len = sampan_node__reply__pack(
		reply, buf_reserve(&body, sampan_node__reply__get_packed_size(reply)));
	sp_request_reply_buf(c->transport, &body);
	call_free(c);
}

void call_fail(struct call *c, int rc, const char *fmt, ...)
{
	SampanNode__Reply reply = SAMPAN_NODE__REPLY__INIT;
	va_list args;

	va_start(args, fmt);
	reply.message = arena_vprintf(&c->arena, fmt, args);
	va_end(args);
	reply.has_rc = true;
	reply.rc = rc;
	call_reply(c, &reply);
}

void call_not_leader(struct call *c)
{
	SampanNode__Reply reply = SAMPAN_NODE__REPLY__INIT;
	SampanNode__Leader leader;

	nodes_leader_message(c->nodes, &c->arena, &leader);
	reply.has_rc = true;
	reply.rc = -ESTALE;
	reply.message = (char *)"this master does not lead";
	reply.leader = &leader;
	call_reply(c, &reply);
}

/* The connection is gone: nobody waits for the answer any more. */
static void on_gone(struct sp_request *r)
{
	struct call *c = r->data;

	if (c->watch != NULL)
		c->watch->lost(c->watch);
	sp_request_drop(r);
	call_free(c);
}

/* --- Requests ---------------------------------------------------------------------- */

static const char *caller(const struct tls_identity *peer)
{
	size_t n = strlen(CERT_NODE_PREFIX);

	if (strncmp(peer->cn, CERT_NODE_PREFIX, n) != 0 || peer->cn[n] == '\0' ||
	    !tls_identity_in_org(peer, CERT_NODES_ORG))
		return NULL;
	return peer->cn + n;
}

static void dispatch(struct call *c)
{
	const SampanNode__Request *r = c->request;

	if (r->poll != NULL)
		sessions_poll(c);
	else if (r->report != NULL)
		reports_take(c);
	else if (r->standby != NULL)
		sessions_standby(c);
	else if (r->watch != NULL)
		watch_serve(c);
	else if (r->register_ != NULL)
		reports_register(c);
	else if (r->token != NULL)
		credentials_token(c);
	else if (r->certificate != NULL)
		credentials_certificate(c);
	else
		call_fail(c, -ENOTSUP, "this master does not know such a request");
}

static void on_request(struct sp_request *r, void *arg)
{
	struct call *c = xcalloc(1, sizeof(*c));
	const char *node = caller(r->peer);

	list_init(&c->link);
	c->nodes = arg;
	c->transport = r;
	arena_init(&c->arena, REQUEST_BUDGET_BYTES);
	c->node = arena_strdup(&c->arena, node ? node : "");
	r->data = c;
	r->on_gone = on_gone;
	if (node == NULL) {
		call_fail(c, -EPERM, "%s is not a node", r->peer->cn);
		return;
	}
	c->request = arena_unpack(&c->arena, &sampan_node__request__descriptor, r->body);
	if (c->request == NULL)
		call_fail(c, -EBADMSG, "not a request of the node protocol");
	else if (c->nodes->stopping)
		call_fail(c, -ESHUTDOWN, "this master is shutting down");
	else
		dispatch(c);
}

int endpoint_start(struct nodes *nodes, struct status *st)
{
	struct sp_server_config config = {
		.tls = nodes->config.tls,
		.on_request = on_request,
		.arg = nodes,
	};
	char host[64];
	int rc = address_split(nodes->config.listen, host, sizeof(host), &config.port);

	if (rc < 0)
		return status_set(st, rc, "rpc_listen: \"%s\" is not ip:port", nodes->config.listen);
	config.host = host;
	return sp_server_create(io_loop_of(nodes->config.loop), &config, &nodes->server, st);
}

static void on_server_closed(void *arg)
{
	struct nodes *nodes = arg;

	nodes->endpoint_closed(nodes);
}

void endpoint_stop(struct nodes *nodes, void (*closed)(struct nodes *))
{
	nodes->endpoint_closed = closed;
	sp_server_close(nodes->server, on_server_closed, nodes);
}
