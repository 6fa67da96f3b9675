#include "controlplane/apiserver/node_leases.h"

#include <string.h>

#include "common/api/message.h"
#include "common/api/pack.h"
#include "common/base/alloc.h"
#include "controlplane/apiserver/internal.h"
#include "controlplane/consensus/consensus.h"
#include "controlplane/nodes/nodes.h"
#include "controlplane/writes/rpc.h"
#include "proto/k8s/coordination_v1.pb-c.h"

#define LEASE_NAMESPACE "kube-node-lease"
#define ASK_MS 1000

/* What the leader said, until it says something newer. */
static void remember(struct apiserver *api, const SampanMaster__HeartbeatsReply *reply)
{
	for (size_t i = 0; i < reply->n_heartbeats; i++) {
		const SampanMaster__Heartbeat *beat = reply->heartbeats[i];

		if (beat->node == NULL || beat->renewed_ns == 0)
			continue;

		int64_t *known = map_get(&api->renewed, beat->node);

		if (known == NULL) {
			known = xmalloc(sizeof(*known));
			map_put(&api->renewed, beat->node, known);
		}
		*known = beat->renewed_ns;
	}
}

static void on_heartbeats(void *ctx, int rc, const SampanMaster__Message *reply)
{
	struct request *r = ctx;

	if (rc == 0 && reply->heartbeats_reply != NULL)
		remember(r->api, reply->heartbeats_reply);
	r->ready(r, 0);
}

void node_leases_await(struct request *r, void (*ready)(struct request *r, int rc))
{
	const struct apiserver_config *c = &r->api->config;
	SampanMaster__Message question = SAMPAN_MASTER__MESSAGE__INIT;
	SampanMaster__HeartbeatsRequest heartbeats = SAMPAN_MASTER__HEARTBEATS_REQUEST__INIT;
	const char *namespace = r->path.namespace;

	if (r->stored->descriptor != &coordination_v1__lease__descriptor || c->rpc == NULL ||
	    (namespace != NULL && strcmp(namespace, LEASE_NAMESPACE) != 0) ||
	    consensus_leading(c->consensus)) {
		ready(r, 0);
		return;
	}
	heartbeats.node = (char *)(r->path.name != NULL ? r->path.name : "");
	question.heartbeats = &heartbeats;
	r->ready = ready;
	rpc_call(c->rpc, 0, &question, ASK_MS, on_heartbeats, r);
}

static int64_t renewed_ns_of(const struct apiserver *api, const char *node)
{
	int64_t known_ns = nodes_renewed_ns(api->config.nodes, node);
	const int64_t *told_ns = map_get(&api->renewed, node);

	return known_ns != 0 || told_ns == NULL ? known_ns : *told_ns;
}

void node_lease_refresh(struct apiserver *api, const struct object *o, struct item *item,
			struct arena *arena)
{
	if (o->kind->descriptor != &coordination_v1__lease__descriptor ||
	    strcmp(o->namespace, LEASE_NAMESPACE) != 0 || api->config.nodes == NULL)
		return;

	int64_t renewed_ns = renewed_ns_of(api, o->name);

	if (renewed_ns == 0)
		return;

	CoordinationV1__Lease *lease =
		unpack_stored(&coordination_v1__lease__descriptor, item->packed, arena);

	if (lease->spec == NULL)
		lease->spec = message_new(&coordination_v1__lease_spec__descriptor, arena);
	lease->spec->renewtime = message_new(&meta_v1__micro_time__descriptor, arena);
	lease->spec->renewtime->has_seconds = true;
	lease->spec->renewtime->seconds = renewed_ns / 1000000000;
	lease->spec->renewtime->has_nanos = true;
	lease->spec->renewtime->nanos = (int32_t)(renewed_ns % 1000000000 / 1000 * 1000);
	item->packed = pack_message_in(arena, lease);
}
