/* A claim:
 *
 *   Pending --a volume is found--> both name each other --> Bound --its volume is gone--> Lost
 *      |                                   ^
 *      +-- nothing fits: its class's provisioner is asked for a volume
 *
 * Of a class that waits for the first consumer the scheduler chooses, because
 * only it knows where the pod can run; here such a claim only gets the volume
 * that was given to it by name. */
#include <string.h>

#include "common/api/resources.h"
#include "controlplane/controllers/volume_binder.h"

static CoreV1__PersistentVolumeClaimStatus *status_of(CoreV1__PersistentVolumeClaim *claim,
						      struct arena *a)
{
	if (claim->status == NULL)
		claim->status = make(a, CoreV1__PersistentVolumeClaimStatus,
				     core_v1__persistent_volume_claim_status);
	return claim->status;
}

/* True when it was written. */
static bool set_phase(struct view *v, const struct object *claim, const char *phase,
		      struct intents *intents)
{
	const CoreV1__PersistentVolumeClaim *was = view_message(v, claim);
	CoreV1__PersistentVolumeClaim *message;

	if (was->status != NULL && text_is(was->status->phase, phase))
		return false;
	message = object_message(claim, intents->arena);
	status_of(message, intents->arena)->phase = arena_strdup(intents->arena, phase);
	intend_update_status(intents, claim, &message->base);
	return true;
}

static void lose(struct view *v, const struct object *claim, const char *reason, const char *why,
		 struct intents *intents)
{
	if (set_phase(v, claim, "Lost", intents))
		intend_event(intents, VOLUME_BINDER, claim, "Warning", reason, "%s", why);
}

static void show_bound(struct view *v, const struct object *claim, const struct object *volume,
		       struct intents *intents)
{
	const CoreV1__PersistentVolume *pv = view_message(v, volume);
	const CoreV1__PersistentVolumeClaim *was = view_message(v, claim);
	CoreV1__PersistentVolumeClaim *message = object_message(claim, intents->arena);
	CoreV1__PersistentVolumeClaimStatus *status = status_of(message, intents->arena);

	status->phase = arena_strdup(intents->arena, "Bound");
	status->n_accessmodes = 0;
	for (size_t i = 0; i < pv->spec->n_accessmodes; i++)
		make_append(intents->arena, status, accessmodes,
			    arena_strdup(intents->arena, pv->spec->accessmodes[i]));
	status->n_capacity = 0;
	for (size_t i = 0; i < pv->spec->n_capacity; i++) {
		const struct resource_entry *e = (const void *)pv->spec->capacity[i];

		make_append(
			intents->arena, status, capacity,
			resource_entry_make(
				&core_v1__persistent_volume_claim_status__capacity_entry__descriptor,
				e->key, e->value ? text_of(e->value->string) : "", intents->arena));
	}
	if (was->status == NULL || !message_equal(status, was->status))
		intend_update_status(intents, claim, &message->base);
}

/* What is written decides; then the status says it. */
static void bind(struct view *v, const struct object *claim, const struct object *volume,
		 struct intents *intents)
{
	if (!intend_claim_binding(v, claim, volume, intents))
		show_bound(v, claim, volume, intents);
}

/* --- Claims without a volume ------------------------------------------------------ */

static bool is_default(const StorageV1__StorageClass *class)
{
	const MetaV1__ObjectMeta *meta = class->metadata;

	return meta != NULL && (text_is(meta_annotation(meta, DEFAULT_CLASS), "true") ||
				text_is(meta_annotation(meta, BETA_DEFAULT_CLASS), "true"));
}

/* The newest default class, then the first by name. */
static const char *default_class(struct view *v)
{
	size_t n;
	const struct object *const *list = view_list(v, CLASSES, NULL, &n);
	const struct object *best = NULL;

	for (size_t i = 0; i < n; i++)
		if (is_default(view_message(v, list[i])) &&
		    (best == NULL || list[i]->facts.created_ns > best->facts.created_ns))
			best = list[i];
	return best != NULL ? best->name : NULL;
}

/* A claim that was made before there was a default class gets it now. True when it did. */
static bool fill_class(struct view *v, const struct object *claim, struct intents *intents)
{
	const CoreV1__PersistentVolumeClaim *was = view_message(v, claim);
	CoreV1__PersistentVolumeClaim *message;
	const char *name;

	if (was->spec->storageclassname != NULL ||
	    claim_annotation(was, BETA_STORAGE_CLASS) != NULL)
		return false;
	name = default_class(v);
	if (name == NULL)
		return false;
	message = object_message(claim, intents->arena);
	message->spec->storageclassname = arena_strdup(intents->arena, name);
	intend_update(intents, claim, &message->base);
	return true;
}

/* Whoever makes volumes for this name sees by the annotation that it is asked. */
static void ask_provisioner(struct view *v, const struct object *claim, const char *provisioner,
			    struct intents *intents)
{
	const CoreV1__PersistentVolumeClaim *was = view_message(v, claim);

	if (strncmp(provisioner, "kubernetes.io/", strlen("kubernetes.io/")) == 0) {
		set_phase(v, claim, "Pending", intents);
		intend_event(intents, VOLUME_BINDER, claim, "Warning", "ProvisioningFailed",
			     "no volume plugin matched name: %s", provisioner);
		return;
	}
	if (text_is(claim_annotation(was, STORAGE_PROVISIONER), provisioner)) {
		set_phase(v, claim, "Pending", intents);
		return;
	}

	CoreV1__PersistentVolumeClaim *message = object_message(claim, intents->arena);

	meta_set_annotation(intents->arena, message->metadata, STORAGE_PROVISIONER, provisioner);
	meta_set_annotation(intents->arena, message->metadata, BETA_STORAGE_PROVISIONER,
			    provisioner);
	intend_update(intents, claim, &message->base);
	intend_event(intents, VOLUME_BINDER, claim, "Normal", "ExternalProvisioning",
		     "Waiting for a volume to be created either by the external provisioner '%s' "
		     "or manually by the system administrator. If volume creation is delayed, "
		     "please verify that the provisioner is running and correctly registered.",
		     provisioner);
}

static void look_for_volume(struct view *v, const struct object *claim, struct intents *intents)
{
	const CoreV1__PersistentVolumeClaim *message = view_message(v, claim);
	const char *name = claim_class(message);
	const StorageV1__StorageClass *class = class_get(v, name);
	bool waits = class_waits_for_consumer(class);
	struct volume_list list = volumes_for(v, claim, waits);

	if (list.n > 0) {
		bind(v, claim, list.items[0], intents);
		return;
	}
	if (fill_class(v, claim, intents))
		return;
	if (class != NULL && !(waits && claim_annotation(message, SELECTED_NODE) == NULL)) {
		ask_provisioner(v, claim, text_of(class->provisioner), intents);
		return;
	}
	set_phase(v, claim, "Pending", intents);
	if (class != NULL)
		intend_event(intents, VOLUME_BINDER, claim, "Normal", "WaitForFirstConsumer",
			     "waiting for first consumer to be created before binding");
	else if (name[0] != '\0')
		intend_event(intents, VOLUME_BINDER, claim, "Warning", "ProvisioningFailed",
			     "storageclass.storage.k8s.io \"%s\" not found", name);
	else
		intend_event(intents, VOLUME_BINDER, claim, "Normal", "FailedBinding",
			     "no persistent volumes available for this claim and no storage class "
			     "is set");
}

/* The client names the volume it wants. */
static void take_named(struct view *v, const struct object *claim, struct intents *intents)
{
	const CoreV1__PersistentVolumeClaim *message = view_message(v, claim);
	const char *name = message->spec->volumename;
	const struct object *volume = view_get(v, VOLUMES, "", name);
	const CoreV1__PersistentVolume *pv = volume ? view_message(v, volume) : NULL;
	const char *why;

	if (pv == NULL || pv->spec == NULL) {
		set_phase(v, claim, "Pending", intents);
		return;
	}
	if (pv->spec->claimref != NULL && volume_is_claimed_by(pv, claim)) {
		bind(v, claim, volume, intents);
		return;
	}
	if (pv->spec->claimref != NULL) {
		set_phase(v, claim, "Pending", intents);
		intend_event(intents, VOLUME_BINDER, claim, "Warning", "FailedBinding",
			     "volume \"%s\" already bound to a different claim.", name);
		return;
	}
	why = volume_refuses(pv, message);
	if (why == NULL) {
		bind(v, claim, volume, intents);
		return;
	}
	set_phase(v, claim, "Pending", intents);
	intend_event(intents, VOLUME_BINDER, claim, "Warning", "VolumeMismatch",
		     "Cannot bind to requested volume \"%s\": %s", name, why);
}

/* --- Claims that had one ------------------------------------------------------------ */

static void keep_bound(struct view *v, const struct object *claim, struct intents *intents)
{
	const CoreV1__PersistentVolumeClaim *message = view_message(v, claim);
	const char *name = text_of(message->spec->volumename);
	const struct object *volume = name[0] != '\0' ? view_get(v, VOLUMES, "", name) : NULL;
	const CoreV1__PersistentVolume *pv = volume ? view_message(v, volume) : NULL;

	if (name[0] == '\0')
		lose(v, claim, "ClaimLost",
		     "Bound claim has lost reference to PersistentVolume. Data on the volume is "
		     "lost!",
		     intents);
	else if (pv == NULL || pv->spec == NULL)
		lose(v, claim, "ClaimLost",
		     "Bound claim has lost its PersistentVolume. Data on the volume is lost!",
		     intents);
	else if (pv->spec->claimref == NULL || volume_is_claimed_by(pv, claim))
		bind(v, claim, volume, intents);
	else
		lose(v, claim, "ClaimMisbound",
		     "Two claims are bound to the same volume, this one is bound incorrectly",
		     intents);
}

void binder_look_at_claim(struct view *v, const struct object *claim, struct intents *intents)
{
	const CoreV1__PersistentVolumeClaim *message = view_message(v, claim);

	if (message->spec == NULL || message->metadata == NULL)
		return;
	if (claim_annotation(message, BIND_COMPLETED) != NULL)
		keep_bound(v, claim, intents);
	else if (claim->facts.deleted_ns != 0)
		return; /* It is given nothing any more. */
	else if (!text_empty(message->spec->volumename))
		take_named(v, claim, intents);
	else
		look_for_volume(v, claim, intents);
}
