#include "controlplane/claims/claims.h"

#include <stdlib.h>
#include <string.h>

#include "common/api/fields.h"
#include "common/api/kinds.h"
#include "common/api/labels.h"
#include "common/api/resources.h"
#include "controlplane/scheduler/node_rules.h"

/* --- Classes and annotations --------------------------------------------------------- */

const char *claim_annotation(const CoreV1__PersistentVolumeClaim *claim, const char *key)
{
	return claim->metadata ? meta_annotation(claim->metadata, key) : NULL;
}

const char *volume_annotation(const CoreV1__PersistentVolume *volume, const char *key)
{
	return volume->metadata ? meta_annotation(volume->metadata, key) : NULL;
}

const char *claim_class(const CoreV1__PersistentVolumeClaim *claim)
{
	const char *beta = claim_annotation(claim, BETA_STORAGE_CLASS);

	return beta ? beta : text_of(claim->spec ? claim->spec->storageclassname : NULL);
}

const char *volume_class(const CoreV1__PersistentVolume *volume)
{
	const char *beta = volume_annotation(volume, BETA_STORAGE_CLASS);

	return beta ? beta : text_of(volume->spec ? volume->spec->storageclassname : NULL);
}

const StorageV1__StorageClass *class_get(struct view *v, const char *name)
{
	const struct object *o = name[0] != '\0' ? view_get(v, CLASSES, "", name) : NULL;

	return o != NULL ? view_message(v, o) : NULL;
}

bool class_waits_for_consumer(const StorageV1__StorageClass *class)
{
	return class != NULL && text_is(class->volumebindingmode, "WaitForFirstConsumer");
}

/* --- What fits ------------------------------------------------------------------------ */

bool volume_is_claimed_by(const CoreV1__PersistentVolume *volume, const struct object *claim)
{
	const CoreV1__ObjectReference *ref = volume->spec ? volume->spec->claimref : NULL;

	return ref != NULL && text_is(ref->name, claim->name) &&
	       text_is(ref->namespace_, claim->namespace) &&
	       (text_empty(ref->uid) || text_is(ref->uid, claim->facts.uid));
}

static bool has_modes(const CoreV1__PersistentVolumeSpec *volume,
		      const CoreV1__PersistentVolumeClaimSpec *claim)
{
	for (size_t i = 0; i < claim->n_accessmodes; i++) {
		bool has = false;

		for (size_t k = 0; k < volume->n_accessmodes; k++)
			has = has || text_is(volume->accessmodes[k], claim->accessmodes[i]);
		if (!has)
			return false;
	}
	return true;
}

static struct quantity capacity_of(const CoreV1__PersistentVolumeSpec *volume)
{
	return resource_quantity(volume->capacity, volume->n_capacity, "storage");
}

static bool is_large_enough(const CoreV1__PersistentVolumeSpec *volume,
			    const CoreV1__PersistentVolumeClaimSpec *claim)
{
	const CoreV1__VolumeResourceRequirements *r = claim->resources;
	struct quantity has = capacity_of(volume);
	struct quantity asked = { 0 };

	if (r != NULL)
		asked = resource_quantity(r->requests, r->n_requests, "storage");
	return quantity_compare(&has, &asked) >= 0;
}

static bool is_block(const char *mode)
{
	return text_is(mode, "Block");
}

const char *volume_refuses(const CoreV1__PersistentVolume *volume,
			   const CoreV1__PersistentVolumeClaim *claim)
{
	if (volume->metadata->deletiontimestamp != NULL)
		return "the volume is marked for deletion";
	if (!is_large_enough(volume->spec, claim->spec))
		return "requested PV is too small";
	if (strcmp(volume_class(volume), claim_class(claim)) != 0)
		return "storageClassName does not match";
	if (is_block(volume->spec->volumemode) != is_block(claim->spec->volumemode))
		return "incompatible volumeMode";
	if (!has_modes(volume->spec, claim->spec))
		return "incompatible accessMode";
	return NULL;
}

bool volume_reaches(const CoreV1__PersistentVolume *volume, const struct object *node)
{
	const CoreV1__VolumeNodeAffinity *affinity =
		volume->spec ? volume->spec->nodeaffinity : NULL;

	if (affinity == NULL || affinity->required == NULL)
		return true;
	for (size_t i = 0; i < affinity->required->n_nodeselectorterms; i++)
		if (node_rules_term(affinity->required->nodeselectorterms[i], node))
			return true;
	return false;
}

/* --- Looking for one ------------------------------------------------------------------- */

struct search {
	const struct object *claim;
	const CoreV1__PersistentVolumeClaim *message;
	struct label_selector selector;
	bool selects;
};

/* What the packed bytes say is enough for most: volumes of others are never unpacked. */
static bool may_be_given(struct view *v, const struct object *volume, const struct object *claim,
			 bool *ret_given)
{
	const char *name = "", *namespace = "";

	field_text(volume->kind->descriptor, volume->packed, "spec.claimRef.name", v->arena, &name);
	*ret_given = name[0] != '\0';
	if (name[0] == '\0')
		return true;
	if (strcmp(name, claim->name) != 0)
		return false;
	field_text(volume->kind->descriptor, volume->packed, "spec.claimRef.namespace", v->arena,
		   &namespace);
	return strcmp(namespace, claim->namespace) == 0;
}

static bool is_free(const struct search *s, const CoreV1__PersistentVolume *volume)
{
	if (volume->status == NULL || !text_is(volume->status->phase, "Available"))
		return false;
	if (volume_refuses(volume, s->message) != NULL)
		return false;
	return !s->selects ||
	       label_selector_matches_map(&s->selector,
					  (struct string_entry *const *)volume->metadata->labels,
					  volume->metadata->n_labels);
}

/* Given by name, what counts is only that it is large enough and of the right form. */
static bool is_given(const struct search *s, const CoreV1__PersistentVolume *volume)
{
	return volume_is_claimed_by(volume, s->claim) &&
	       volume->metadata->deletiontimestamp == NULL &&
	       is_large_enough(volume->spec, s->message->spec) &&
	       is_block(volume->spec->volumemode) == is_block(s->message->spec->volumemode);
}

struct candidate {
	const struct object *object;
	bool given;
	size_t modes;
	struct quantity capacity;
};

static int compare_candidates(const void *x, const void *y)
{
	const struct candidate *a = x, *b = y;
	int order;

	if (a->given != b->given)
		return a->given ? -1 : 1;
	if (a->modes != b->modes)
		return a->modes < b->modes ? -1 : 1;
	order = quantity_compare(&a->capacity, &b->capacity);
	return order != 0 ? order : strcmp(a->object->name, b->object->name);
}

static struct candidate candidate_of(const struct search *s, struct view *v,
				     const struct object *volume, bool given)
{
	const CoreV1__PersistentVolume *message = view_message(v, volume);

	if (message->spec == NULL || message->metadata == NULL ||
	    !(given ? is_given(s, message) : is_free(s, message)))
		return (struct candidate){ 0 };
	return (struct candidate){ volume, given, message->spec->n_accessmodes,
				   capacity_of(message->spec) };
}

struct volume_list volumes_for(struct view *v, const struct object *claim, bool only_given)
{
	struct search s = { .claim = claim, .message = view_message(v, claim) };
	struct volume_list list = { 0 };
	size_t n_all, n = 0;
	const struct object *const *all = view_list(v, VOLUMES, NULL, &n_all);
	struct candidate *found = arena_array(v->arena, struct candidate, n_all + 1);

	if (s.message->spec->selector != NULL) {
		s.selects = true;
		if (label_selector_of(s.message->spec->selector, v->arena, &s.selector, NULL) < 0)
			s.selector.nothing = true;
	}
	for (size_t i = 0; i < n_all; i++) {
		bool given;

		if (!may_be_given(v, all[i], claim, &given) || (!given && only_given))
			continue;
		found[n] = candidate_of(&s, v, all[i], given);
		n += found[n].object != NULL;
	}
	if (n > 1)
		qsort(found, n, sizeof(*found), compare_candidates);
	list.items = arena_array(v->arena, const struct object *, n + 1);
	for (size_t i = 0; i < n; i++)
		list.items[list.n++] = found[i].object;
	return list;
}

/* --- Binding ----------------------------------------------------------------------------- */

static CoreV1__ObjectReference *make_claim_ref(struct arena *a, const struct object *claim)
{
	CoreV1__ObjectReference *ref = make(a, CoreV1__ObjectReference, core_v1__object_reference);

	ref->kind = arena_strdup(a, claim->kind->kind);
	ref->apiversion = arena_strdup(a, claim->kind->api_version);
	ref->namespace_ = arena_strdup(a, claim->namespace);
	ref->name = arena_strdup(a, claim->name);
	ref->uid = arena_strdup(a, claim->facts.uid);
	ref->resourceversion = arena_printf(a, "%llu", (unsigned long long)claim->revision);
	return ref;
}

static bool bind_volume(struct view *v, const struct object *claim, const struct object *volume,
			struct intents *intents)
{
	const CoreV1__PersistentVolume *was = view_message(v, volume);
	CoreV1__PersistentVolume *message;

	if (was->spec->claimref != NULL && text_is(was->spec->claimref->uid, claim->facts.uid))
		return false;
	message = object_message(volume, intents->arena);
	if (message->spec->claimref == NULL)
		meta_set_annotation(intents->arena, message->metadata, BOUND_BY_CONTROLLER, "yes");
	message->spec->claimref = make_claim_ref(intents->arena, claim);
	intend_update(intents, volume, &message->base);
	return true;
}

static bool bind_claim(struct view *v, const struct object *claim, const struct object *volume,
		       struct intents *intents)
{
	const CoreV1__PersistentVolumeClaim *was = view_message(v, claim);
	CoreV1__PersistentVolumeClaim *message;
	bool named = text_is(was->spec->volumename, volume->name);

	if (named && claim_annotation(was, BIND_COMPLETED) != NULL)
		return false;
	message = object_message(claim, intents->arena);
	if (!named) {
		message->spec->volumename = arena_strdup(intents->arena, volume->name);
		meta_set_annotation(intents->arena, message->metadata, BOUND_BY_CONTROLLER, "yes");
	}
	meta_set_annotation(intents->arena, message->metadata, BIND_COMPLETED, "yes");
	intend_update(intents, claim, &message->base);
	return true;
}

bool intend_claim_binding(struct view *v, const struct object *claim, const struct object *volume,
			  struct intents *intents)
{
	bool volume_changed = bind_volume(v, claim, volume, intents);
	bool claim_changed = bind_claim(v, claim, volume, intents);

	return volume_changed || claim_changed;
}
