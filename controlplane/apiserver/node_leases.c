#include "controlplane/apiserver/node_leases.h"

#include <string.h>

#include "common/api/message.h"
#include "common/api/pack.h"
#include "controlplane/apiserver/internal.h"
#include "controlplane/nodes/nodes.h"
#include "proto/k8s/coordination_v1.pb-c.h"

void node_lease_refresh(struct apiserver *api, const struct object *o, struct item *item,
			struct arena *arena)
{
	if (o->kind->descriptor != &coordination_v1__lease__descriptor ||
	    strcmp(o->namespace, "kube-node-lease") != 0 || api->config.nodes == NULL)
		return;

	int64_t renewed_ns = nodes_renewed_ns(api->config.nodes, o->name);

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
