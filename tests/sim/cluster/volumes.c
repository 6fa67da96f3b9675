/* The agents' part of local volumes: a folder is made when a pod first uses it, and removed, after
 * a while, when its volume is to go; then the agent says so. */
#include <inttypes.h>
#include <string.h>

#include "common/api/kinds.h"
#include "common/api/make.h"
#include "common/api/pack.h"
#include "common/api/storage_names.h"
#include "proto/k8s/core_v1.pb-c.h"
#include "tests/sim/cluster/chaos.h"
#include "tests/sim/cluster/clients.h"

struct poll {
	struct chaos *chaos;
	struct agent *agent;
};

static void on_told(void *ctx, const void *response)
{
	/* A volume that is still there is sent again, and told of again. */
	(void)ctx;
	(void)response;
}

static bool on_volume(void *ctx, const struct object *o)
{
	struct poll *poll = ctx;
	struct chaos *c = poll->chaos;
	CoreV1__PersistentVolume *pv;
	SampanMaster__WriteRequest *request;
	struct bytes packed;

	if (o->facts.deleted_ns == 0 || !object_has_finalizer(o, LOCAL_PATH_FINALIZER))
		return true;
	agents_poll_again(c, poll->agent, 3000);
	if (chaos_chance(c, 50) || chaos_chance(c, c->agents.loss_percent))
		return true; /* Not yet, or lost. */
	pv = unpack_stored(o->kind->descriptor, o->packed, &c->scratch);
	meta_remove_finalizer(pv->metadata, LOCAL_PATH_FINALIZER);
	pv->metadata->resourceversion = arena_printf(&c->scratch, "%" PRIu64, o->revision);
	packed = pack_message_in(&c->scratch, pv);
	request = sim_request(&c->sim, VERB(UPDATE), "persistentvolumes", "", o->name, NULL);
	request->has_body = true;
	request->body = (ProtobufCBinaryData){ packed.len, (uint8_t *)packed.data };
	writes_submit(c->sim.masters[poll->agent->leader].writes, request, 4000, on_told, NULL);
	return true;
}

void volumes_polled(struct chaos *c, struct agent *a)
{
	store_walk_label(c->sim.masters[a->leader].store, kind_of_resource("persistentvolumes"),
			 NULL, LOCAL_PATH_NODE, a->name, on_volume, &(struct poll){ c, a });
}
