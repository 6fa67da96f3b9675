/* A volume is one claim's, a claim has one volume, and a pod runs where the volumes of its claims
 * are. */
#include <string.h>

#include "common/api/make.h"
#include "common/api/storage_names.h"
#include "tests/sim/cluster/oracle.h"

struct volume_book {
	char *name, *node;
};

static const char *claim_of(struct chaos *c, const struct object *o)
{
	const CoreV1__PersistentVolume *pv = change_message(c, o);
	const CoreV1__ObjectReference *ref = pv->spec->claimref;

	return ref != NULL && !text_empty(ref->uid) ? ref->uid : NULL;
}

void volumes_look_at_volume(struct chaos *c, const struct change *change)
{
	const struct object *o = change_one(change);
	const char *claim = claim_of(c, o);
	const char *node = object_label(o, LOCAL_PATH_NODE);
	struct volume_book *v = claim != NULL ? map_get(&c->oracle->volumes, claim) : NULL;

	if (claim == NULL)
		return;
	if (change->new == NULL) {
		map_remove(&c->oracle->volumes, claim);
		return;
	}
	if (v != NULL && strcmp(v->name, o->name) != 0)
		chaos_fail(c, "volumes %s and %s are of one claim", v->name, o->name);
	if (v != NULL)
		return;
	v = arena_new(&c->sim.arena, struct volume_book);
	v->name = chaos_text(c, "%s", o->name);
	v->node = chaos_text(c, "%s", node != NULL ? node : "");
	map_put(&c->oracle->volumes, claim, v);
}

void volumes_look_at_claim(struct chaos *c, const struct change *change)
{
	const struct object *o = change_one(change);
	const char *key = arena_printf(&c->oracle->work, "%s/%s", o->namespace, o->name);

	if (change->new == NULL)
		map_remove(&c->oracle->claim_uids, key);
	else
		map_put(&c->oracle->claim_uids, key, chaos_text(c, "%s", o->facts.uid));
}

void volumes_check_binding(struct chaos *c, const struct object *pod)
{
	const char *const *claims = pod->facts.pod->claims;

	for (size_t i = 0; claims != NULL && claims[i] != NULL; i++) {
		const char *uid =
			map_get(&c->oracle->claim_uids,
				arena_printf(&c->oracle->work, "%s/%s", pod->namespace, claims[i]));
		const struct volume_book *v =
			uid != NULL ? map_get(&c->oracle->volumes, uid) : NULL;

		if (v == NULL)
			chaos_fail(c, "pod %s/%s is bound, claim %s has no volume", pod->namespace,
				   pod->name, claims[i]);
		if (strcmp(v->node, pod->facts.pod->node_name) != 0)
			chaos_fail(c, "pod %s/%s is on %s, its volume %s on %s", pod->namespace,
				   pod->name, pod->facts.pod->node_name, v->name, v->node);
	}
}

void volumes_fini(struct chaos *c)
{
	map_fini(&c->oracle->volumes);
	map_fini(&c->oracle->claim_uids);
}
