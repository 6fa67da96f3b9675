/* POST /sampan/v1/join: a machine shows a token and gets a certificate.
 *
 * Any master can answer, since each can sign. Making a master a member is the
 * leader's; the key-encryption key goes only to who showed a master token, over
 * the connection whose CA that token pinned. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/api/kinds.h"
#include "controlplane/admission/names.h"
#include "common/base/alloc.h"
#include "common/base/log.h"
#include "common/base/source.h"
#include "common/io/cert_names.h"
#include "common/io/exchange.h"
#include "controlplane/consensus/consensus.h"
#include "controlplane/nodes/http.h"
#include "controlplane/nodes/internal.h"
#include "controlplane/trust/trust.h"
#include "proto/sampan/join.pb-c.h"

#define CONTENT_TYPE "application/protobuf"

/* A join that waits for the leader. */
struct joining {
	struct nodes *nodes;
	struct exchange *x;
	char *cert, *name;
	uint64_t id;
};

static int64_t now_s(const struct nodes *nodes)
{
	return nodes->config.source->wall_ns(nodes->config.source) / 1000000000;
}

static const char *bearer(struct exchange *x)
{
	const char *value = exchange_header(x, "authorization");

	return value && strncasecmp(value, "Bearer ", 7) == 0 ? value + 7 : "";
}

static void fail(struct exchange *x, const struct status *st)
{
	http_status(x, st->http_code, st->reason, "%s", st->message);
}

static void answer(struct nodes *nodes, struct exchange *x, const char *cert, bool master)
{
	const struct cluster_config *k = nodes->config.cluster;
	SampanJoin__JoinReply reply = SAMPAN_JOIN__JOIN_REPLY__INIT;
	struct arena arena;
	struct buf body = { 0 };

	arena_init(&arena, 0);
	reply.certificate_pem = (char *)cert;
	reply.ca_pem = (char *)trust_ca_pem(nodes->config.trust);
	reply.masters = members_list(nodes, &arena, &reply.n_masters);
	reply.cluster_domain = (char *)k->domain;
	reply.service_cidr = (char *)k->service_cidr;
	reply.pod_cidr = (char *)k->pod_cidr;
	reply.dns_address = (char *)k->dns_address;
	reply.has_node_prefix = true;
	reply.node_prefix = (uint32_t)k->node_prefix;
	if (master) {
		reply.has_kek = true;
		reply.kek = (ProtobufCBinaryData){ TRUST_KEK_BYTES,
						   (uint8_t *)trust_kek(nodes->config.trust) };
	}
	size_t n = sampan_join__join_reply__get_packed_size(&reply);
	body.len = sampan_join__join_reply__pack(&reply, buf_reserve(&body, n));
	exchange_respond_buf(x, 200, CONTENT_TYPE, &body);
	arena_fini(&arena);
}

/* --- Nodes ---------------------------------------------------------------------------- */

/* Nobody takes the name of a node that is alive. */
static bool name_in_use(struct nodes *nodes, const char *name)
{
	const struct object *node =
		store_get(nodes->config.store, kind_of_resource("nodes"), "", name);

	return node != NULL && node->facts.node->ready == 1;
}

static void join_node(struct nodes *nodes, struct exchange *x, const SampanJoin__JoinRequest *r)
{
	struct status st = { 0 };
	char *cert;

	if (name_in_use(nodes, r->name)) {
		http_status(x, 409, "AlreadyExists",
			    "a node called %s is alive: choose another name, or stop it and delete its Node",
			    r->name);
		return;
	}
	if (trust_sign_node(nodes->config.trust, r->csr_pem, r->name, now_s(nodes), &cert, &st) < 0) {
		fail(x, &st);
		status_fini(&st);
		return;
	}
	log_info("a node joins", "name=%s remote=%s", r->name, x->remote);
	answer(nodes, x, cert, false);
	free(cert);
}

/* --- Masters --------------------------------------------------------------------------- */

static void on_member(void *ctx, int rc, const char *message)
{
	struct joining *j = ctx;

	if (rc == 0) {
		log_info("a master joins", "name=%s id=%016" PRIx64, j->name, j->id);
		answer(j->nodes, j->x, j->cert, true);
	} else {
		http_status(j->x, http_code_of_errno(rc), reason_of_errno(rc), "%s", message);
	}
	free(j->cert);
	free(j->name);
	free(j);
}

/* "10.0.0.1" of "10.0.0.1:6443", "::1" of "[::1]:6443". */
static char *host_of(struct arena *arena, const char *address)
{
	const char *colon = strrchr(address, ':');
	size_t n = colon ? (size_t)(colon - address) : strlen(address);

	if (n >= 2 && address[0] == '[' && address[n - 1] == ']')
		return arena_strndup(arena, address + 1, n - 2);
	return arena_strndup(arena, address, n);
}

static void join_master(struct nodes *nodes, struct exchange *x, const SampanJoin__JoinRequest *r)
{
	const struct master_line line = {
		.name = r->name, .api = r->api_address, .rpc = r->rpc_address, .raft = r->raft_address,
	};
	const struct cluster_config *k = nodes->config.cluster;
	struct status st = { 0 };
	struct arena arena;
	char *cert;

	if (!r->member_id || !r->raft_address || !r->rpc_address || !r->api_address) {
		http_status(x, 400, "BadRequest", "a master names its id and its three addresses");
		return;
	}
	arena_init(&arena, 0);
	const char *sans[CERT_SANS_MAX];
	size_t n = cert_master_sans(&arena, k->domain, k->service_cidr, r->name,
				     host_of(&arena, r->api_address), host_of(&arena, r->rpc_address),
				     sans);
	int rc = trust_sign_master(nodes->config.trust, r->csr_pem, r->member_id, sans, n, now_s(nodes),
				   &cert, &st);
	arena_fini(&arena);
	if (rc < 0) {
		fail(x, &st);
		status_fini(&st);
		return;
	}

	struct joining *j = xcalloc(1, sizeof(*j));
	*j = (struct joining){ nodes, x, cert, xstrdup(r->name), r->member_id };
	members_add(nodes, r->member_id, &line, on_member, j);
}

/* --- Both -------------------------------------------------------------------------------- */

static bool plausible_address(const char *address)
{
	return address == NULL || (strlen(address) < 300 && strpbrk(address, " \t\r\n\"=") == NULL);
}
static void join_checked(struct nodes *nodes, struct exchange *x)
{
	SampanJoin__JoinRequest *r =
		sampan_join__join_request__unpack(NULL, x->body.len, x->body.data);
	bool master = r != NULL && r->role == SAMPAN_JOIN__JOIN_REQUEST__ROLE__MASTER;
	struct status st = { 0 };

	if (r == NULL || r->name == NULL || r->csr_pem == NULL || name_is_subdomain(r->name) != NULL ||
	    !plausible_address(r->api_address) || !plausible_address(r->rpc_address) ||
	    !plausible_address(r->raft_address))
		http_status(x, 400, "BadRequest", "the body is not a join request with a good name");
	else if (trust_token_check(nodes->config.trust, bearer(x),
				   master ? TRUST_TOKEN_MASTER : TRUST_TOKEN_NODE, now_s(nodes),
				   &st) < 0)
		fail(x, &st);
	else if (master)
		join_master(nodes, x, r);
	else
		join_node(nodes, x, r);
	status_fini(&st);
	if (r != NULL)
		sampan_join__join_request__free_unpacked(r, NULL);
}

struct joining_read {
	struct nodes *nodes;
	struct exchange *x;
};

static void on_read(void *ctx, int rc, uint64_t term)
{
	struct joining_read *read = ctx;

	if (rc < 0)
		http_status(read->x, 503, "ServiceUnavailable", "no leader at present; try again");
	else
		join_checked(read->nodes, read->x);
	free(read);
}

/* The token may have been made on another master a moment ago: first catch up. */
void join_http(struct nodes *nodes, struct exchange *x)
{
	struct joining_read *read = xcalloc(1, sizeof(*read));

	*read = (struct joining_read){ nodes, x };

	int rc = consensus_read_index(nodes->config.consensus, on_read, read);

	if (rc < 0)
		on_read(read, rc, 0);
}
