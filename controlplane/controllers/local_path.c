/* Volumes that are folders of nodes (provisioner sampan.io/local-path).
 *
 * A claim that a node was chosen for gets a volume at once: the volume is only
 * a promise, the node's agent makes the folder when a pod first uses it. Its
 * end is the other way round: a finalizer holds the volume until the agent says
 * that the folder is gone, or nobody has to remove it.
 *
 * Keys: a claim, or ("", VOLUME). */
#include <string.h>

#include "common/api/resources.h"
#include "controlplane/claims/claims.h"
#include "controlplane/controllers/common.h"

/* Where a node keeps its folders unless it says otherwise; only shown, agents know their own. */
static const char default_folder[] = "/var/lib/sampan/local-path";
static const char hostname_label[] = "kubernetes.io/hostname";

/* --- A volume for a claim -------------------------------------------------------- */

/* What this provisioner cannot do for the claim, or NULL. */
static const char *refuses(const CoreV1__PersistentVolumeClaim *claim,
			   const StorageV1__StorageClass *class)
{
	if (!class_waits_for_consumer(class))
		return "its volumes are folders of nodes: set volumeBindingMode to "
		       "WaitForFirstConsumer, so that a node is chosen first";
	if (claim->spec->selector != NULL)
		return "claim.spec.selector is not supported";
	if (claim->spec->datasource != NULL || claim->spec->datasourceref != NULL)
		return "claim.spec.dataSource is not supported";
	if (text_is(claim->spec->volumemode, "Block"))
		return "volumeMode Block is not supported";
	for (size_t i = 0; i < claim->spec->n_accessmodes; i++)
		if (!text_is(claim->spec->accessmodes[i], "ReadWriteOnce") &&
		    !text_is(claim->spec->accessmodes[i], "ReadWriteOncePod"))
			return "only the access modes ReadWriteOnce and ReadWriteOncePod are "
			       "supported";
	return NULL;
}

static CoreV1__VolumeNodeAffinity *make_affinity(struct arena *a, const char *hostname)
{
	CoreV1__VolumeNodeAffinity *affinity =
		make(a, CoreV1__VolumeNodeAffinity, core_v1__volume_node_affinity);
	CoreV1__NodeSelectorTerm *term =
		make(a, CoreV1__NodeSelectorTerm, core_v1__node_selector_term);
	CoreV1__NodeSelectorRequirement *r =
		make(a, CoreV1__NodeSelectorRequirement, core_v1__node_selector_requirement);

	r->key = arena_strdup(a, hostname_label);
	r->operator_ = arena_strdup(a, "In");
	make_append(a, r, values, arena_strdup(a, hostname));
	make_append(a, term, matchexpressions, r);
	affinity->required = make(a, CoreV1__NodeSelector, core_v1__node_selector);
	make_append(a, affinity->required, nodeselectorterms, term);
	return affinity;
}

static CoreV1__PersistentVolumeSource *make_source(struct view *v, struct arena *a,
						   const struct object *node, const char *name)
{
	CoreV1__PersistentVolumeSource *source =
		make(a, CoreV1__PersistentVolumeSource, core_v1__persistent_volume_source);
	const CoreV1__Node *message = view_message(v, node);
	const char *folder = meta_annotation(message->metadata, LOCAL_PATH_FOLDER);

	source->local = make(a, CoreV1__LocalVolumeSource, core_v1__local_volume_source);
	source->local->path =
		arena_printf(a, "%s/%s", text_empty(folder) ? default_folder : folder, name);
	return source;
}

static CoreV1__ObjectReference *make_reference(struct arena *a, const struct object *claim)
{
	CoreV1__ObjectReference *ref = make(a, CoreV1__ObjectReference, core_v1__object_reference);

	ref->kind = arena_strdup(a, claim->kind->kind);
	ref->apiversion = arena_strdup(a, claim->kind->api_version);
	ref->namespace_ = arena_strdup(a, claim->namespace);
	ref->name = arena_strdup(a, claim->name);
	ref->uid = arena_strdup(a, claim->facts.uid);
	return ref;
}

static CoreV1__PersistentVolume *make_volume(struct view *v, struct arena *a,
					     const struct object *claim,
					     const StorageV1__StorageClass *class,
					     const struct object *node)
{
	const CoreV1__PersistentVolumeClaimSpec *asked =
		((const CoreV1__PersistentVolumeClaim *)view_message(v, claim))->spec;
	CoreV1__PersistentVolume *pv =
		make(a, CoreV1__PersistentVolume, core_v1__persistent_volume);
	CoreV1__PersistentVolumeSpec *spec = pv->spec =
		make(a, CoreV1__PersistentVolumeSpec, core_v1__persistent_volume_spec);
	MetaV1__ObjectMeta *meta = message_metadata_make(pv, a);
	const char *hostname = object_label(node, hostname_label);

	meta->name = arena_printf(a, "pvc-%s", claim->facts.uid);
	meta_set_annotation(a, meta, PROVISIONED_BY, LOCAL_PATH_PROVISIONER);
	meta_set_label(a, meta, LOCAL_PATH_NODE, node->name);
	make_append(a, meta, finalizers, arena_strdup(a, LOCAL_PATH_FINALIZER));
	make_append(a, spec, capacity,
		    resource_entry_make(
			    &core_v1__persistent_volume_spec__capacity_entry__descriptor, "storage",
			    text_of(resource_text(asked->resources->requests,
						  asked->resources->n_requests, "storage")),
			    a));
	for (size_t i = 0; i < asked->n_accessmodes; i++)
		make_append(a, spec, accessmodes, arena_strdup(a, asked->accessmodes[i]));
	spec->persistentvolumesource = make_source(v, a, node, meta->name);
	spec->claimref = make_reference(a, claim);
	spec->persistentvolumereclaimpolicy = arena_strdup(a, text_of(class->reclaimpolicy));
	spec->storageclassname = arena_strdup(a, text_of(class->metadata->name));
	spec->volumemode = arena_strdup(a, "Filesystem");
	spec->nodeaffinity = make_affinity(a, hostname ? hostname : node->name);
	return pv;
}

/* The scheduler looks for another node. */
static void choose_again(const struct object *claim, struct intents *intents)
{
	CoreV1__PersistentVolumeClaim *message = object_message(claim, intents->arena);

	meta_set_annotation(intents->arena, message->metadata, SELECTED_NODE, NULL);
	intend_update(intents, claim, &message->base);
}

static void provision(struct view *v, const struct object *claim,
		      const CoreV1__PersistentVolumeClaim *message, struct intents *intents)
{
	const StorageV1__StorageClass *class = class_get(v, claim_class(message));
	const char *selected = claim_annotation(message, SELECTED_NODE), *why;
	const struct object *node;

	if (class == NULL || !text_is(class->provisioner, LOCAL_PATH_PROVISIONER) ||
	    view_get(v, VOLUMES, "", arena_printf(v->arena, "pvc-%s", claim->facts.uid)) != NULL)
		return;
	why = refuses(message, class);
	if (why == NULL && selected == NULL)
		return;
	node = why == NULL ? view_get(v, "nodes", "", selected) : NULL;
	if (why == NULL && node == NULL) {
		choose_again(claim, intents);
		return;
	}
	if (why == NULL && label_value_check(node->name) != NULL)
		why = arena_printf(v->arena, "the name of node %s is longer than a label's value",
				   node->name);
	if (why != NULL) {
		intend_event(intents, LOCAL_PATH_PROVISIONER, claim, "Warning",
			     "ProvisioningFailed",
			     "failed to provision volume with StorageClass \"%s\": %s",
			     class->metadata->name, why);
		return;
	}

	CoreV1__PersistentVolume *pv = make_volume(v, intents->arena, claim, class, node);

	intend_create(intents, VOLUMES, "", &pv->base);
	intend_event(intents, LOCAL_PATH_PROVISIONER, claim, "Normal", "ProvisioningSucceeded",
		     "Successfully provisioned volume %s", pv->metadata->name);
}

static void look_at_claim(struct view *v, const struct object *claim, struct intents *intents)
{
	const CoreV1__PersistentVolumeClaim *message = view_message(v, claim);

	if (claim->facts.deleted_ns == 0 && message->spec != NULL &&
	    message->spec->resources != NULL && text_empty(message->spec->volumename) &&
	    text_is(claim_annotation(message, STORAGE_PROVISIONER), LOCAL_PATH_PROVISIONER))
		provision(v, claim, message, intents);
}

/* --- The end of a volume ---------------------------------------------------------- */

static void look_at_volume(struct view *v, const struct object *volume, struct intents *intents)
{
	const CoreV1__PersistentVolume *pv = view_message(v, volume);
	const char *node = object_label(volume, LOCAL_PATH_NODE);
	bool keeps, gone;

	if (volume->facts.deleted_ns == 0 || pv->spec == NULL ||
	    !object_has_finalizer(volume, LOCAL_PATH_FINALIZER))
		return;
	keeps = !text_is(pv->spec->persistentvolumereclaimpolicy, "Delete");
	gone = node == NULL || view_get(v, "nodes", "", node) == NULL;
	if (!keeps && !gone)
		return; /* The node's agent removes the folder and says so. */

	CoreV1__PersistentVolume *message = object_message(volume, intents->arena);

	meta_remove_finalizer(message->metadata, LOCAL_PATH_FINALIZER);
	intend_update(intents, volume, &message->base);
	if (!keeps)
		intend_event(intents, LOCAL_PATH_PROVISIONER, volume, "Warning",
			     "VolumeFailedDelete",
			     "node %s does not exist any more: its folder was not removed",
			     text_of(node));
}

/* --- The controller ---------------------------------------------------------------- */

static void reconcile(struct view *v, struct key key, struct intents *intents)
{
	const struct object *o = key.namespace[0] != '\0'
					 ? view_get(v, CLAIMS, key.namespace, key.name)
					 : view_get(v, VOLUMES, "", key.name);

	if (o == NULL)
		return;
	if (key.namespace[0] != '\0')
		look_at_claim(v, o, intents);
	else
		look_at_volume(v, o, intents);
}

static void on_change(const struct view *v, const struct object *old, const struct object *new,
		      struct keys *keys)
{
	if (change_is_of(old, new, CLAIMS) && new != NULL)
		keys_add(keys, new->namespace, new->name);
	else if (change_is_of(old, new, VOLUMES) && new != NULL &&new->facts.deleted_ns != 0)
		keys_add(keys, "", new->name);
	else if (change_is_of(old, new, "nodes") && new == NULL)
		keys_add_all(keys, v, VOLUMES, NULL);
	else if (change_is_of(old, new, CLASSES))
		keys_add_all(keys, v, CLAIMS, NULL);
}

static void seed(const struct view *v, struct keys *keys)
{
	keys_add_all(keys, v, CLAIMS, NULL);
	keys_add_all(keys, v, VOLUMES, NULL);
}

const struct controller controller_local_path = {
	.name = "local-path-provisioner",
	.on_change = on_change,
	.seed = seed,
	.reconcile = reconcile,
};
