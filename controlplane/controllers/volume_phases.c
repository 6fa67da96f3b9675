/* A volume:
 *
 *   Available --claimed--> Bound --the claim is gone--> Released --policy--> deleted,
 *                                                                  kept, or Failed
 *
 * Volumes that a provisioner made are deleted by it: ours is local_path.c, and
 * what is still to be done about a deleted volume is a finalizer on it. */
#include <string.h>

#include "controlplane/controllers/volume_binder.h"

static void set_phase(struct view *v, const struct object *volume, const char *phase,
		      const char *message_text, struct intents *intents)
{
	const CoreV1__PersistentVolume *was = view_message(v, volume);
	struct arena *a = intents->arena;
	CoreV1__PersistentVolume *message;

	if (was->status != NULL && text_is(was->status->phase, phase) &&
	    text_is(was->status->message, text_of(message_text)))
		return;
	message = object_message(volume, a);
	if (message->status == NULL)
		message->status =
			make(a, CoreV1__PersistentVolumeStatus, core_v1__persistent_volume_status);
	if (!text_is(message->status->phase, phase))
		message->status->lastphasetransitiontime = make_time(a, v->now_ns);
	message->status->phase = arena_strdup(a, phase);
	message->status->message = message_text ? arena_strdup(a, message_text) : NULL;
	intend_update_status(intents, volume, &message->base);
}

static void fail(struct view *v, const struct object *volume, const char *reason, const char *why,
		 struct intents *intents)
{
	set_phase(v, volume, "Failed", why, intents);
	intend_event(intents, VOLUME_BINDER, volume, "Warning", reason, "%s", why);
}

static void reclaim(struct view *v, const struct object *volume, struct intents *intents)
{
	const CoreV1__PersistentVolume *pv = view_message(v, volume);
	const char *policy = text_of(pv->spec->persistentvolumereclaimpolicy);
	const char *maker = text_of(volume_annotation(pv, PROVISIONED_BY));

	if (volume->facts.deleted_ns != 0)
		return;
	if (strcmp(policy, "Recycle") == 0)
		fail(v, volume, "VolumeFailedRecycle",
		     arena_printf(v->arena,
				  "error getting recycler volume plugin for volume \"%s\": no "
				  "recyclable volume plugin matched",
				  volume->name),
		     intents);
	else if (strcmp(policy, "Delete") == 0 && maker[0] == '\0')
		fail(v, volume, "VolumeFailedDelete",
		     arena_printf(v->arena,
				  "error getting deleter volume plugin for volume \"%s\": no "
				  "deletable volume plugin matched",
				  volume->name),
		     intents);
	else if (strcmp(policy, "Delete") == 0 && strcmp(maker, LOCAL_PATH_PROVISIONER) == 0)
		intend_delete(intents, volume, -1, NULL);
}

/* Released first, so that everybody can see what comes next. */
static void release(struct view *v, const struct object *volume, struct intents *intents)
{
	const CoreV1__PersistentVolume *pv = view_message(v, volume);
	const char *phase = text_of(pv->status ? pv->status->phase : NULL);

	if (strcmp(phase, "Failed") == 0)
		return;
	if (strcmp(phase, "Released") != 0)
		set_phase(v, volume, "Released", NULL, intents);
	else
		reclaim(v, volume, intents);
}

/* Its claim took another volume. What the controller wrote is taken back; what a client wrote
 * stays, but for the uid. */
static void let_go(struct view *v, const struct object *volume, struct intents *intents)
{
	CoreV1__PersistentVolume *pv = object_message(volume, intents->arena);

	if (volume_annotation(pv, PROVISIONED_BY) != NULL &&
	    text_is(pv->spec->persistentvolumereclaimpolicy, "Delete")) {
		release(v, volume, intents);
		return;
	}
	if (volume_annotation(pv, BOUND_BY_CONTROLLER) != NULL) {
		pv->spec->claimref = NULL;
		meta_set_annotation(intents->arena, pv->metadata, BOUND_BY_CONTROLLER, NULL);
	} else {
		pv->spec->claimref->uid = NULL;
		pv->spec->claimref->resourceversion = NULL;
	}
	intend_update(intents, volume, &pv->base);
}

void binder_look_at_volume(struct view *v, const struct object *volume, struct intents *intents)
{
	const CoreV1__PersistentVolume *pv = view_message(v, volume);
	const CoreV1__ObjectReference *ref = pv->spec ? pv->spec->claimref : NULL;
	const struct object *claim;
	const char *named;

	if (pv->spec == NULL || pv->metadata == NULL)
		return;
	if (ref == NULL || text_empty(ref->uid)) {
		set_phase(v, volume, "Available", NULL, intents);
		return;
	}
	claim = view_get(v, CLAIMS, text_of(ref->namespace_), text_of(ref->name));
	if (claim == NULL || strcmp(claim->facts.uid, ref->uid) != 0) {
		release(v, volume, intents);
		return;
	}

	const CoreV1__PersistentVolumeClaim *message = view_message(v, claim);

	named = text_of(message->spec ? message->spec->volumename : NULL);
	if (strcmp(named, volume->name) == 0)
		set_phase(v, volume, "Bound", NULL, intents);
	else if (named[0] != '\0')
		let_go(v, volume, intents);
	/* Else the claim is about to take it. */
}
