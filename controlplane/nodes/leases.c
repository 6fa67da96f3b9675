/* The Leases of kube-node-lease: made once when a node registers, and owned by its
 * Node. Their renewTime is never written: the leader knows when it heard each node
 * last, and tells the other masters when somebody reads there. */
#include <string.h>

#include "common/api/kinds.h"
#include "common/api/message.h"
#include "common/api/pack.h"
#include "common/base/cleanup.h"
#include "controlplane/nodes/internal.h"
#include "controlplane/writes/rpc.h"
#include "controlplane/writes/writes.h"
#include "proto/k8s/coordination_v1.pb-c.h"

#define LEASE_NAMESPACE "kube-node-lease"
#define LEASE_SECONDS 40
#define WRITE_TIMEOUT_MS 10000

static void on_made(void *ctx, const void *response)
{
	(void)ctx;
	(void)response; /* If it was refused the next registration tries again. */
}

static CoordinationV1__Lease *lease_of(const struct object *node, struct arena *arena)
{
	CoordinationV1__Lease *lease = message_new(&coordination_v1__lease__descriptor, arena);
	MetaV1__OwnerReference *owner = message_new(&meta_v1__owner_reference__descriptor, arena);
	MetaV1__ObjectMeta *meta = message_metadata_make(lease, arena);

	owner->apiversion = (char *)"v1";
	owner->kind = (char *)"Node";
	owner->name = (char *)node->name;
	owner->uid = (char *)node->facts.uid;
	meta->name = (char *)node->name;
	meta->namespace_ = (char *)LEASE_NAMESPACE;
	meta->n_ownerreferences = 1;
	meta->ownerreferences = arena_array(arena, MetaV1__OwnerReference *, 1);
	meta->ownerreferences[0] = owner;
	lease->spec = message_new(&coordination_v1__lease_spec__descriptor, arena);
	lease->spec->holderidentity = (char *)node->name;
	lease->spec->has_leasedurationseconds = true;
	lease->spec->leasedurationseconds = LEASE_SECONDS;
	return lease;
}

void leases_make(struct nodes *nodes, const struct object *node)
{
	const struct kind *kind = kind_of_resource("leases.coordination.k8s.io");
	SampanMaster__WriteRequest w = SAMPAN_MASTER__WRITE_REQUEST__INIT;
	SampanMaster__User user = SAMPAN_MASTER__USER__INIT;
	static char *groups[] = { (char *)"system:nodes", (char *)"system:authenticated" };
	auto_with(arena_fini) struct arena arena = { 0 };

	if (store_get(nodes->config.store, kind, LEASE_NAMESPACE, node->name) != NULL)
		return;
	arena_init(&arena, 0);

	struct bytes packed = pack_message_in(&arena, lease_of(node, &arena));

	user.name = arena_printf(&arena, "system:node:%s", node->name);
	user.groups = groups;
	user.n_groups = array_size(groups);
	w.user = &user;
	w.has_verb = true;
	w.verb = SAMPAN_MASTER__WRITE_REQUEST__VERB__CREATE;
	w.resource = (char *)kind->resource;
	w.namespace_ = (char *)LEASE_NAMESPACE;
	w.name = (char *)node->name;
	w.has_body = true;
	w.body = (ProtobufCBinaryData){ .len = packed.len, .data = (uint8_t *)packed.data };
	writes_submit(nodes->config.writes, &w, WRITE_TIMEOUT_MS, on_made, NULL);
}

/* Another master asks for all heartbeats, or for one node's. */
static void on_question(void *ctx, struct rpc_asked asked, const SampanMaster__Message *question)
{
	struct nodes *nodes = ctx;
	const char *only = question->heartbeats->node;
	SampanMaster__Message reply = SAMPAN_MASTER__MESSAGE__INIT;
	SampanMaster__HeartbeatsReply beats = SAMPAN_MASTER__HEARTBEATS_REPLY__INIT;
	auto_with(arena_fini) struct arena arena = { 0 };

	arena_init(&arena, 0);
	beats.heartbeats = arena_array(&arena, SampanMaster__Heartbeat *, nodes->states.count + 1);
	tree_for_each (s, &nodes->states, struct node_state, by_name) {
		SampanMaster__Heartbeat *beat;

		if (s->renewed_ns == 0 ||
		    (only != NULL && *only != 0 && strcmp(only, s->name) != 0))
			continue;
		beat = arena_alloc(&arena, sizeof(*beat));
		sampan_master__heartbeat__init(beat);
		beat->node = s->name;
		beat->has_renewed_ns = true;
		beat->renewed_ns = s->renewed_ns;
		beats.heartbeats[beats.n_heartbeats++] = beat;
	}
	reply.heartbeats_reply = &beats;
	rpc_reply(nodes->config.rpc, asked, &reply);
}

void leases_start(struct nodes *nodes)
{
	rpc_handle(nodes->config.rpc, RPC_HEARTBEATS, on_question, nodes);
}
