/* A claim that a pod uses and a volume that a claim has outlive their deletion:
 * a finalizer holds them until nobody needs them. Two controllers, one idea. */
#include <string.h>

#include "controlplane/claims/claims.h"
#include "controlplane/controllers/common.h"

/* Puts the finalizer on what lives without it, and takes it from what is to go and is not needed.
 */
static void protect(const struct object *o, const char *finalizer, bool needed,
		    struct intents *intents)
{
	bool has = object_has_finalizer(o, finalizer), dying = o->facts.deleted_ns != 0;

	if (has ? !dying || needed : dying)
		return;

	ProtobufCMessage *message = object_message(o, intents->arena);
	MetaV1__ObjectMeta *meta = message_metadata(message);

	if (has)
		meta_remove_finalizer(meta, finalizer);
	else
		make_append(intents->arena, meta, finalizers,
			    arena_strdup(intents->arena, finalizer));
	intend_update(intents, o, message);
}

/* --- Claims ---------------------------------------------------------------------- */

/* A pod on a node may have it mounted until it is gone, whatever its phase. Pods that are not
 * assigned do not count: no agent starts a pod whose claim is on its way out. */
static bool pod_uses(const struct pod_facts *pod, const char *claim)
{
	if (!pod->scheduled)
		return false;
	for (const char *const *c = pod->claims; c != NULL && *c != NULL; c++)
		if (strcmp(*c, claim) == 0)
			return true;
	return false;
}

static bool claim_is_used(struct view *v, const struct object *claim)
{
	size_t n;
	const struct object *const *pods = view_list(v, "pods", claim->namespace, &n);

	for (size_t i = 0; i < n; i++)
		if (pod_uses(pods[i]->facts.pod, claim->name))
			return true;
	return false;
}

static void reconcile_claim(struct view *v, struct key key, struct intents *intents)
{
	const struct object *claim = view_get(v, CLAIMS, key.namespace, key.name);

	if (claim != NULL)
		protect(claim, PVC_PROTECTION,
			claim->facts.deleted_ns != 0 && claim_is_used(v, claim), intents);
}

static void on_change_of_claims(const struct view *v, const struct object *old,
				const struct object *new, struct keys *keys)
{
	if (change_is_of(old, new, CLAIMS)) {
		keys_add_object(keys, old, new);
		return;
	}
	if (!change_is_of(old, new, "pods"))
		return;

	/* Only a pod that goes can end the use of a claim. */
	const struct object *pod =
		new == NULL || (old != NULL && strcmp(old->facts.uid, new->facts.uid) != 0) ? old
											    : NULL;

	for (const char *const *c = pod ? pod->facts.pod->claims : NULL; c != NULL && *c != NULL;
	     c++)
		keys_add(keys, pod->namespace, *c);
}

static void seed_claims(const struct view *v, struct keys *keys)
{
	keys_add_all(keys, v, CLAIMS, NULL);
}

const struct controller controller_pvc_protection = {
	.name = "pvc-protection-controller",
	.on_change = on_change_of_claims,
	.seed = seed_claims,
	.reconcile = reconcile_claim,
};

/* --- Volumes --------------------------------------------------------------------- */

static void reconcile_volume(struct view *v, struct key key, struct intents *intents)
{
	const struct object *volume = view_get(v, VOLUMES, "", key.name);

	if (volume == NULL)
		return;

	const CoreV1__PersistentVolume *pv = view_message(v, volume);

	protect(volume, PV_PROTECTION, pv->status != NULL && text_is(pv->status->phase, "Bound"),
		intents);
}

static void on_change_of_volumes(const struct view *v, const struct object *old,
				 const struct object *new, struct keys *keys)
{
	if (change_is_of(old, new, VOLUMES))
		keys_add_object(keys, old, new);
}

static void seed_volumes(const struct view *v, struct keys *keys)
{
	keys_add_all(keys, v, VOLUMES, NULL);
}

const struct controller controller_pv_protection = {
	.name = "pv-protection-controller",
	.on_change = on_change_of_volumes,
	.seed = seed_volumes,
	.reconcile = reconcile_volume,
};
