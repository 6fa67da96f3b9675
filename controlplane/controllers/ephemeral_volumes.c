/* A pod's ephemeral volumes are claims that live as long as the pod: made here,
 * owned by it, and taken by the garbage collector after it. */
#include <string.h>

#include "controlplane/claims/claims.h"
#include "controlplane/controllers/common.h"

#define COMPONENT "ephemeral_volume"

static void make_claim(struct view *v, const struct object *pod, const CoreV1__Volume *volume,
		       struct intents *intents)
{
	const CoreV1__PersistentVolumeClaimTemplate *t =
		volume->volumesource->ephemeral->volumeclaimtemplate;
	struct arena *a = intents->arena;
	const char *name = arena_printf(a, "%s-%s", pod->name, volume->name);
	const struct object *there = view_get(v, CLAIMS, pod->namespace, name);
	const struct owner_ref *owner = there ? object_controller(there) : NULL;

	if (there != NULL) {
		if (owner == NULL || strcmp(owner->uid, pod->facts.uid) != 0)
			intend_event(intents, COMPONENT, pod, "Warning", "FailedBinding",
				     "ephemeral volume %s: PVC %s/%s was not created for the pod",
				     volume->name, pod->namespace, name);
		return;
	}
	if (t == NULL || t->spec == NULL)
		return;

	CoreV1__PersistentVolumeClaim *claim =
		make(a, CoreV1__PersistentVolumeClaim, core_v1__persistent_volume_claim);
	MetaV1__ObjectMeta *meta = message_metadata_make(claim, a);

	if (t->metadata != NULL) {
		const MetaV1__ObjectMeta *given = message_copy(t->metadata, a);

		meta->n_labels = given->n_labels;
		meta->labels = given->labels;
		meta->n_annotations = given->n_annotations;
		meta->annotations = given->annotations;
	}
	meta->name = (char *)name;
	meta->namespace_ = arena_strdup(a, pod->namespace);
	make_append(a, meta, ownerreferences, make_owner(a, pod));
	claim->spec = message_copy(t->spec, a);
	intend_create(intents, CLAIMS, pod->namespace, &claim->base);
}

static void reconcile(struct view *v, struct key key, struct intents *intents)
{
	const struct object *pod = view_get(v, "pods", key.namespace, key.name);

	if (pod == NULL || pod->facts.deleted_ns != 0 || pod->facts.pod->claims == NULL)
		return;

	const CoreV1__Pod *message = view_message(v, pod);

	for (size_t i = 0; i < message->spec->n_volumes; i++) {
		const CoreV1__Volume *volume = message->spec->volumes[i];

		if (volume->volumesource != NULL && volume->volumesource->ephemeral != NULL)
			make_claim(v, pod, volume, intents);
	}
}

static void on_change(const struct view *v, const struct object *old, const struct object *new,
		      struct keys *keys)
{
	if (change_is_of(old, new, "pods")) {
		if (new != NULL &&new->facts.pod->claims != NULL && !new->facts.pod->scheduled)
			keys_add(keys, new->namespace, new->name);
	} else if (change_is_of(old, new, CLAIMS) && new == NULL) {
		keys_add_owner(keys, old, "Pod");
	}
}

static void seed(const struct view *v, struct keys *keys)
{
	size_t n;
	const struct object *const *pods = view_list(v, "pods", NULL, &n);

	for (size_t i = 0; i < n; i++)
		on_change(v, NULL, pods[i], keys);
}

const struct controller controller_ephemeral_volumes = {
	.name = "ephemeral-volume-controller",
	.on_change = on_change,
	.seed = seed,
	.reconcile = reconcile,
};
