/* StatefulSets, and ReplicationControllers as the older kind of ReplicaSets. */
#include <string.h>

#include "controlplane/admission/storage.h"
#include "controlplane/admission/workloads.h"
#include "proto/k8s/apps_v1.pb-c.h"

/* --- StatefulSet ------------------------------------------------------------------ */

static void check_rolling(struct checks *c, const struct field *f,
			  const AppsV1__RollingUpdateStatefulSetStrategy *r)
{
	const struct field *at = FIELD(f, "maxUnavailable");
	bool percent;

	check_not_negative(c, FIELD(f, "partition"), r->partition);
	if (r->maxunavailable == NULL)
		return;

	int n = check_amount(c, at, r->maxunavailable, &percent);

	if (n == 0)
		check_invalid_text(c, at, percent ? "\"0%\"" : "0", "cannot be 0");
	if (percent && n > 100)
		check_invalid(c, at, r->maxunavailable->strval, "must not be greater than 100%%");
}

static void check_update_strategy(struct checks *c, const struct field *f,
				  const AppsV1__StatefulSetUpdateStrategy *s)
{
	if (s == NULL || text_empty(s->type)) {
		check_required(c, FIELD(f, "type"), "");
		return;
	}
	if (text_is(s->type, "OnDelete")) {
		if (s->rollingupdate != NULL)
			check_invalid_message(c, FIELD(f, "rollingUpdate"), &s->rollingupdate->base,
					      "only allowed for updateStrategy 'RollingUpdate'");
	} else if (text_is(s->type, "RollingUpdate")) {
		if (s->rollingupdate != NULL)
			check_rolling(c, FIELD(f, "rollingUpdate"), s->rollingupdate);
	}
}

static void check_retention(struct checks *c, const struct field *f,
			    const AppsV1__StatefulSetPersistentVolumeClaimRetentionPolicy *p)
{
	static const char *const policies[] = { "Retain", "Delete", NULL };

	if (p == NULL)
		return;
	check_one_of(c, FIELD(f, "whenDeleted"), text_of(p->whendeleted), policies);
	check_one_of(c, FIELD(f, "whenScaled"), text_of(p->whenscaled), policies);
}

static void check_claims(struct checks *c, const struct field *f, const AppsV1__StatefulSetSpec *s)
{
	for (size_t i = 0; i < s->n_volumeclaimtemplates; i++) {
		const CoreV1__PersistentVolumeClaim *claim = s->volumeclaimtemplates[i];
		const char *name = claim->metadata ? text_of(claim->metadata->name) : "";
		const struct field *at = AT(f, i);

		if (name[0] == '\0')
			check_required(c, FIELD(FIELD(at, "metadata"), "name"), "");
		for (size_t k = 0; k < i; k++)
			if (s->volumeclaimtemplates[k]->metadata != NULL &&
			    text_is(s->volumeclaimtemplates[k]->metadata->name, name))
				check_duplicate(c, FIELD(FIELD(at, "metadata"), "name"), name);
		check_claim_spec(c, FIELD(at, "spec"), claim->spec);
	}
}

/* What an update must leave alone: everything but what is taken out here. */
static AppsV1__StatefulSetSpec fixed_part(const AppsV1__StatefulSetSpec *s)
{
	AppsV1__StatefulSetSpec fixed = *s;

	fixed.has_replicas = false;
	fixed.ordinals = NULL;
	fixed.template_ = NULL;
	fixed.updatestrategy = NULL;
	fixed.has_revisionhistorylimit = false;
	fixed.persistentvolumeclaimretentionpolicy = NULL;
	fixed.has_minreadyseconds = false;
	return fixed;
}

static void check_stateful_update(struct checks *c, const struct field *f,
				  const AppsV1__StatefulSetSpec *spec,
				  const AppsV1__StatefulSetSpec *old)
{
	AppsV1__StatefulSetSpec now = fixed_part(spec), before = fixed_part(old);

	if (!message_equal(&now, &before))
		check_forbidden(c, f,
				"updates to statefulset spec for fields other than 'replicas', "
				"'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', "
				"'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are "
				"forbidden");
}

/* The volumes of the claim templates come with each pod: mounts may name them already. */
static const CoreV1__PodTemplateSpec *with_claims(struct arena *a, const AppsV1__StatefulSetSpec *s)
{
	CoreV1__PodTemplateSpec *t;

	if (s->template_ == NULL || s->template_->spec == NULL || s->n_volumeclaimtemplates == 0)
		return s->template_;
	t = message_copy(s->template_, a);
	for (size_t i = 0; i < s->n_volumeclaimtemplates; i++) {
		const MetaV1__ObjectMeta *meta = s->volumeclaimtemplates[i]->metadata;
		bool there = meta == NULL;

		for (size_t k = 0; !there && k < t->spec->n_volumes; k++)
			there = text_is(t->spec->volumes[k]->name, text_of(meta->name));
		if (there)
			continue;

		CoreV1__Volume *volume = make(a, CoreV1__Volume, core_v1__volume);

		volume->name = meta->name;
		volume->volumesource = make(a, CoreV1__VolumeSource, core_v1__volume_source);
		volume->volumesource->emptydir =
			make(a, CoreV1__EmptyDirVolumeSource, core_v1__empty_dir_volume_source);
		make_append(a, t->spec, volumes, volume);
	}
	return t;
}

static void validate_stateful_set(struct checks *c, ProtobufCMessage *message,
				  ProtobufCMessage *old)
{
	static const char *const managements[] = { "OrderedReady", "Parallel", NULL };
	const AppsV1__StatefulSetSpec *spec = ((AppsV1__StatefulSet *)message)->spec;
	const struct field *f = FIELD(NULL, "spec");

	if (spec == NULL) {
		check_required(c, FIELD(f, "selector"), "");
		return;
	}
	if (text_empty(spec->podmanagementpolicy))
		check_required(c, FIELD(f, "podManagementPolicy"), "");
	else
		check_one_of(c, FIELD(f, "podManagementPolicy"), spec->podmanagementpolicy,
			     managements);
	check_update_strategy(c, FIELD(f, "updateStrategy"), spec->updatestrategy);
	check_retention(c, FIELD(f, "persistentVolumeClaimRetentionPolicy"),
			spec->persistentvolumeclaimretentionpolicy);
	check_not_negative(c, FIELD(f, "replicas"), spec->replicas);
	check_not_negative(c, FIELD(f, "minReadySeconds"), spec->minreadyseconds);
	check_not_negative(c, FIELD(f, "revisionHistoryLimit"), spec->revisionhistorylimit);
	if (spec->ordinals != NULL)
		check_not_negative(c, FIELD(FIELD(f, "ordinals"), "start"), spec->ordinals->start);
	check_workload_selector(c, f, spec->selector, spec->template_, "statefulset");
	check_workload_template(c, FIELD(f, "template"), with_claims(c->arena, spec),
				"StatefulSet");
	check_claims(c, FIELD(f, "volumeClaimTemplates"), spec);
	if (old != NULL && ((AppsV1__StatefulSet *)old)->spec != NULL)
		check_stateful_update(c, f, spec, ((AppsV1__StatefulSet *)old)->spec);
}

static void validate_stateful_status(struct checks *c, ProtobufCMessage *message,
				     ProtobufCMessage *old)
{
	const AppsV1__StatefulSetStatus *s = ((AppsV1__StatefulSet *)message)->status;
	const struct field *f = FIELD(NULL, "status");

	if (s == NULL)
		return;
	check_not_negative(c, FIELD(f, "replicas"), s->replicas);
	check_not_negative(c, FIELD(f, "observedGeneration"), s->observedgeneration);
	check_not_negative(c, FIELD(f, "collisionCount"), s->collisioncount);
	check_part(c, FIELD(f, "readyReplicas"), s->readyreplicas, s->replicas, "status.replicas");
	check_part(c, FIELD(f, "currentReplicas"), s->currentreplicas, s->replicas,
		   "status.replicas");
	check_part(c, FIELD(f, "updatedReplicas"), s->updatedreplicas, s->replicas,
		   "status.replicas");
	check_part(c, FIELD(f, "availableReplicas"), s->availablereplicas, s->readyreplicas,
		   "status.readyReplicas");
}

const struct strategy strategy_stateful_set = {
	.descriptor = &apps_v1__stateful_set__descriptor,
	.name = name_is_label,
	.validate = validate_stateful_set,
	.validate_status = validate_stateful_status,
};

/* --- ReplicationController ------------------------------------------------------------ */

static MetaV1__LabelSelector *selector_of(struct arena *a,
					  const CoreV1__ReplicationControllerSpec *spec)
{
	MetaV1__LabelSelector *s = make(a, MetaV1__LabelSelector, meta_v1__label_selector);

	for (size_t i = 0; i < spec->n_selector; i++)
		string_map_set(s, "matchLabels", spec->selector[i]->key,
			       text_of(spec->selector[i]->value), a);
	return s;
}

static void validate_controller(struct checks *c, ProtobufCMessage *message, ProtobufCMessage *old)
{
	const CoreV1__ReplicationControllerSpec *spec =
		((CoreV1__ReplicationController *)message)->spec;
	const struct field *f = FIELD(NULL, "spec");

	if (spec == NULL) {
		check_required(c, FIELD(f, "selector"), "");
		return;
	}
	check_not_negative(c, FIELD(f, "minReadySeconds"), spec->minreadyseconds);
	check_not_negative(c, FIELD(f, "replicas"), spec->replicas);
	if (spec->n_selector == 0)
		check_required(c, FIELD(f, "selector"), "");
	else if (spec->template_ != NULL)
		check_workload_selector(c, f, selector_of(c->arena, spec), spec->template_,
					"replicationcontroller");
	check_workload_template(c, FIELD(f, "template"), spec->template_, "ReplicationController");
}

static void validate_controller_status(struct checks *c, ProtobufCMessage *message,
				       ProtobufCMessage *old)
{
	const CoreV1__ReplicationControllerStatus *s =
		((CoreV1__ReplicationController *)message)->status;

	if (s != NULL)
		check_replicas_status(c, FIELD(NULL, "status"), s);
}

const struct strategy strategy_replication_controller = {
	.descriptor = &core_v1__replication_controller__descriptor,
	.orphans = true,
	.validate = validate_controller,
	.validate_status = validate_controller_status,
};
