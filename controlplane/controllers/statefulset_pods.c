/* The pods of a StatefulSet and the claims that go with them. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/controllers/statefulset.h"

static const char name_label[] = "statefulset.kubernetes.io/pod-name";
static const char index_label[] = "apps.kubernetes.io/pod-index";
static const char revision_label[] = "controller-revision-hash";
static const char claims[] = "persistentvolumeclaims";

int32_t ordinal_of(const struct object *set, const char *pod_name)
{
	size_t n = strlen(set->name);
	const char *digits = pod_name + n + 1;
	char *end;
	long ordinal;

	if (strncmp(pod_name, set->name, n) != 0 || pod_name[n] != '-' || digits[0] < '0' ||
	    digits[0] > '9' || (digits[0] == '0' && digits[1] != '\0'))
		return -1;
	ordinal = strtol(digits, &end, 10);
	return *end == '\0' && ordinal <= INT32_MAX ? (int32_t)ordinal : -1;
}

const char *member_revision(const struct member *m)
{
	return m->pod != NULL ? text_of(object_label(m->pod->object, revision_label)) : "";
}

static char *pod_name(struct ordinals *o, const struct member *m)
{
	return arena_printf(o->intents->arena, "%s-%" PRId32, o->object->name, m->ordinal);
}

/* --- Claims ------------------------------------------------------------------------ */

static char *claim_name(struct ordinals *o, const CoreV1__PersistentVolumeClaim *template,
			const struct member *m)
{
	const char *name = template->metadata ? text_of(template->metadata->name) : "";

	return arena_printf(o->intents->arena, "%s-%s", name, pod_name(o, m));
}

static const struct object *
claim_of(struct ordinals *o, const CoreV1__PersistentVolumeClaim *template, const struct member *m)
{
	return view_get(o->view, claims, o->object->namespace, claim_name(o, template, m));
}

bool member_may_come(struct ordinals *o, const struct member *m)
{
	const AppsV1__StatefulSetSpec *spec = o->set->spec;
	const char *name = pod_name(o, m);

	for (size_t i = 0; i < spec->n_volumeclaimtemplates; i++) {
		const struct object *claim = claim_of(o, spec->volumeclaimtemplates[i], m);

		if (claim == NULL)
			continue;
		if (claim->facts.deleted_ns != 0)
			return false;
		/* Of a former pod of that name: it goes with it. */
		for (size_t k = 0; k < claim->facts.n_owners; k++)
			if (strcmp(claim->facts.owners[k].kind, "Pod") == 0 &&
			    strcmp(claim->facts.owners[k].name, name) == 0)
				return false;
	}
	return true;
}

/* Whose a claim should be, by the retention policy. */
struct wanted_owners {
	bool set, pod;
};

static struct wanted_owners wanted_owners(const struct ordinals *o, bool scaled_down)
{
	const AppsV1__StatefulSetPersistentVolumeClaimRetentionPolicy *p =
		o->set->spec->persistentvolumeclaimretentionpolicy;
	bool goes_scaled = p != NULL && text_is(p->whenscaled, "Delete");
	bool goes_deleted = p != NULL && text_is(p->whendeleted, "Delete");

	return (struct wanted_owners){
		.set = goes_deleted && !(goes_scaled && scaled_down),
		.pod = goes_scaled && scaled_down,
	};
}

static bool is_owned_by(const struct object *claim, const char *uid)
{
	for (size_t i = 0; i < claim->facts.n_owners; i++)
		if (strcmp(claim->facts.owners[i].uid, uid) == 0)
			return true;
	return false;
}

static void set_owner(struct arena *a, MetaV1__ObjectMeta *meta, const struct object *owner,
		      bool wanted)
{
	remove_owner(meta, owner->facts.uid);
	if (wanted)
		make_append(a, meta, ownerreferences, make_owner(a, owner));
}

static void mend_claim(struct ordinals *o, const struct object *claim, const struct object *pod,
		       bool scaled_down)
{
	struct arena *a = o->intents->arena;
	struct wanted_owners wanted = wanted_owners(o, scaled_down);
	const struct owner_ref *owner = object_controller(claim);
	CoreV1__PersistentVolumeClaim *message;

	/* Somebody else's. */
	if (owner != NULL && strcmp(owner->uid, o->object->facts.uid) != 0 &&
	    strcmp(owner->uid, pod->facts.uid) != 0)
		return;
	if (is_owned_by(claim, o->object->facts.uid) == wanted.set &&
	    is_owned_by(claim, pod->facts.uid) == wanted.pod)
		return;
	message = changed(claim, a);
	set_owner(a, message->metadata, o->object, wanted.set);
	set_owner(a, message->metadata, pod, wanted.pod);
	intend_update(o->intents, claim, &message->base);
}

/* What would be refused is not asked for again in the same look. */
static bool may_create(const struct ordinals *o)
{
	return o->refusal == NULL || o->created < o->refusal->creates_before;
}

static void create_claim(struct ordinals *o, const CoreV1__PersistentVolumeClaim *template,
			 const struct member *m)
{
	struct arena *a = o->intents->arena;
	CoreV1__PersistentVolumeClaim *claim = message_copy(template, a);
	MetaV1__ObjectMeta *meta = message_metadata_make(claim, a);
	const MetaV1__LabelSelector *s = o->set->spec->selector;

	claim->status = NULL;
	meta->name = claim_name(o, template, m);
	meta->namespace_ = arena_strdup(a, o->object->namespace);
	for (size_t i = 0; s != NULL && i < s->n_matchlabels; i++)
		meta_set_label(a, meta, s->matchlabels[i]->key, text_of(s->matchlabels[i]->value));
	if (wanted_owners(o, false).set)
		make_append(a, meta, ownerreferences, make_owner(a, o->object));
	intend_create(o->intents, claims, o->object->namespace, &claim->base);
	intend_event(o->intents, statefulset_component, o->object, "Normal", "SuccessfulCreate",
		     "create Claim %s Pod %s in StatefulSet %s success", meta->name, pod_name(o, m),
		     o->object->name);
	o->created++;
}

static void create_claims(struct ordinals *o, const struct member *m)
{
	const AppsV1__StatefulSetSpec *spec = o->set->spec;

	for (size_t i = 0; i < spec->n_volumeclaimtemplates && may_create(o); i++)
		if (claim_of(o, spec->volumeclaimtemplates[i], m) == NULL)
			create_claim(o, spec->volumeclaimtemplates[i], m);
}

/* --- Pods ------------------------------------------------------------------------------ */

static void add_claim_volume(struct ordinals *o, CoreV1__PodSpec *spec,
			     const CoreV1__PersistentVolumeClaim *template, const struct member *m)
{
	struct arena *a = o->intents->arena;
	const char *name = template->metadata ? text_of(template->metadata->name) : "";
	CoreV1__Volume *volume = make(a, CoreV1__Volume, core_v1__volume);
	size_t i = 0;

	volume->name = arena_strdup(a, name);
	volume->volumesource = make(a, CoreV1__VolumeSource, core_v1__volume_source);
	volume->volumesource->persistentvolumeclaim =
		make(a, CoreV1__PersistentVolumeClaimVolumeSource,
		     core_v1__persistent_volume_claim_volume_source);
	volume->volumesource->persistentvolumeclaim->claimname = claim_name(o, template, m);
	/* It takes the place of the template's volume of that name. */
	while (i < spec->n_volumes && !text_is(spec->volumes[i]->name, name))
		i++;
	if (i < spec->n_volumes)
		spec->volumes[i] = volume;
	else
		make_append(a, spec, volumes, volume);
}

static struct revision *revision_for(struct ordinals *o, const struct member *m)
{
	const AppsV1__StatefulSetUpdateStrategy *s = o->set->spec->updatestrategy;
	int32_t partition = s != NULL && s->rollingupdate != NULL ? s->rollingupdate->partition : 0;
	bool rolls = s != NULL && text_is(s->type, "RollingUpdate");

	return rolls && m->ordinal - first_ordinal(o->set->spec) < partition ? o->current
									     : o->update;
}

static CoreV1__Pod *make_pod(struct ordinals *o, const struct member *m)
{
	struct arena *a = o->intents->arena;
	const AppsV1__StatefulSetSpec *spec = o->set->spec;
	struct revision *revision = revision_for(o, m);
	CoreV1__Pod *pod = pods_make(a, o->object, revision_template(&o->revisions, revision));

	pod->metadata->name = pod_name(o, m);
	meta_set_label(a, pod->metadata, name_label, pod->metadata->name);
	meta_set_label(a, pod->metadata, index_label, arena_printf(a, "%" PRId32, m->ordinal));
	meta_set_label(a, pod->metadata, revision_label, revision_name(revision));
	if (pod->spec == NULL)
		pod->spec = make(a, CoreV1__PodSpec, core_v1__pod_spec);
	pod->spec->hostname = pod->metadata->name;
	pod->spec->subdomain = text_empty(spec->servicename) ? NULL : spec->servicename;
	for (size_t i = 0; i < spec->n_volumeclaimtemplates; i++)
		add_claim_volume(o, pod->spec, spec->volumeclaimtemplates[i], m);
	return pod;
}

void member_create(struct ordinals *o, struct member *m)
{
	CoreV1__Pod *pod;

	create_claims(o, m);
	if (!may_create(o) || o->created >= BATCH_MAX)
		return;
	pod = make_pod(o, m);
	intend_create(o->intents, "pods", o->object->namespace, &pod->base);
	intend_event(o->intents, statefulset_component, o->object, "Normal", "SuccessfulCreate",
		     "create Pod %s in StatefulSet %s successful", pod->metadata->name,
		     o->object->name);
	o->created++;
	m->written = true;
}

void member_delete(struct ordinals *o, struct member *m)
{
	if (m->written)
		return; /* The next look. */
	intend_delete(o->intents, m->pod->object, -1, NULL);
	intend_event(o->intents, statefulset_component, o->object, "Normal", "SuccessfulDelete",
		     "delete Pod %s in StatefulSet %s successful", m->pod->object->name,
		     o->object->name);
	m->written = true;
}

static void mend_labels(struct ordinals *o, struct member *m)
{
	struct arena *a = o->intents->arena;
	const struct object *pod = m->pod->object;
	const char *name = object_label(pod, name_label), *index = object_label(pod, index_label);
	char *wanted = arena_printf(a, "%" PRId32, m->ordinal);
	CoreV1__Pod *message;

	if (m->written || (name != NULL && strcmp(name, pod->name) == 0 && index != NULL &&
			   strcmp(index, wanted) == 0))
		return;
	message = changed(pod, a);
	meta_set_label(a, message->metadata, name_label, pod->name);
	meta_set_label(a, message->metadata, index_label, wanted);
	intend_update(o->intents, pod, &message->base);
	m->written = true;
}

void member_mend(struct ordinals *o, struct member *m, bool scaled_down)
{
	const AppsV1__StatefulSetSpec *spec = o->set->spec;

	for (size_t i = 0; i < spec->n_volumeclaimtemplates; i++) {
		const struct object *claim = claim_of(o, spec->volumeclaimtemplates[i], m);

		if (claim != NULL && claim->facts.deleted_ns == 0)
			mend_claim(o, claim, m->pod->object, scaled_down);
	}
	if (scaled_down || m->pod->object->facts.deleted_ns != 0)
		return;
	mend_labels(o, m);
	/* Somebody took a claim away that the pod cannot start without. */
	if (m->pod->phase == PHASE_PENDING)
		create_claims(o, m);
}
