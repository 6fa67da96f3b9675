/* Replaces the pods of a Deployment by those of its newest template, as fast
 * as its strategy allows. All the moving is done by changing the replicas of
 * ReplicaSets; each look takes one step, and the change it makes brings the
 * next look. */
#include <string.h>

#include "controlplane/controllers/deployment.h"

static const char resource[] = "deployments.apps";

static void set_limits(struct rollout *r)
{
	const AppsV1__DeploymentStrategy *s = r->deployment->spec->strategy;
	const AppsV1__RollingUpdateDeployment *rolling = s ? s->rollingupdate : NULL;

	r->replicas = r->deployment->spec->replicas;
	if (s == NULL || !text_is(s->type, "RollingUpdate")) {
		r->surge = r->unavailable = 0;
		return;
	}
	r->surge = scaled(rolling ? rolling->maxsurge : NULL, r->replicas, true);
	r->unavailable = scaled(rolling ? rolling->maxunavailable : NULL, r->replicas, false);
	/* Percentages that round to nothing would never move. */
	if (r->surge == 0 && r->unavailable == 0)
		r->unavailable = 1;
	if (r->unavailable > r->replicas)
		r->unavailable = r->replicas;
}

static void step(struct rollout *r)
{
	const AppsV1__DeploymentSpec *spec = r->deployment->spec;
	bool recreate = spec->strategy != NULL && text_is(spec->strategy->type, "Recreate");

	/* Shares are for a rolling update. Whoever goes over to Recreate in the middle of one, and
	 * to another number, would wait for them for ever. */
	if (spec->paused || (!recreate && rollout_is_scaling(r))) {
		rollout_ensure_current(r, false);
		rollout_scale_proportionally(r);
		if (spec->paused)
			rollout_trim_history(r);
	} else if (recreate) {
		rollout_recreate(r);
	} else {
		rollout_roll(r);
	}
}

/* False: there is nothing to look at. */
static bool begin(struct rollout *r, struct view *v, struct key key, struct intents *intents)
{
	const struct object *o = view_get(v, resource, key.namespace, key.name);

	if (o == NULL || o->facts.deleted_ns != 0)
		return false; /* Its sets belong to the garbage collector now. */
	*r = (struct rollout){
		.view = v,
		.intents = intents,
		.object = o,
		.deployment = view_message(v, o),
	};
	set_limits(r);
	rollout_claim_sets(r);
	return true;
}

static void reconcile(struct view *v, struct key key, struct intents *intents)
{
	struct rollout r;

	if (!begin(&r, v, key, intents))
		return;
	step(&r);
	rollout_write_sets(&r);
	/* One write of the Deployment per look: the status follows when it is written anyway. */
	for (const struct intent *i = intents->first; i != NULL; i = i->next)
		if (i->base == r.object && i->type != INTENT_EVENT)
			return;
	rollout_report(&r);
}

/* Nothing of the rollout is done in this answer, it is only told. */
static void refused(struct view *v, struct key key, const struct refusal *refusal,
		    struct intents *intents)
{
	struct rollout r;

	if (begin(&r, v, key, intents))
		rollout_report_refused(&r, refusal);
}

/* --- What wakes it ------------------------------------------------------------------ */

static void on_set(const struct view *v, const struct object *set, struct keys *keys)
{
	if (set == NULL)
		return;
	if (object_controller(set) != NULL)
		keys_add_owner(keys, set, "Deployment");
	else if (set->facts.deleted_ns == 0)
		keys_add_all(keys, v, resource, set->namespace);
}

static bool is_finished(const struct object *pod)
{
	return pod->facts.pod->phase == PHASE_SUCCEEDED || pod->facts.pod->phase == PHASE_FAILED;
}

/* Recreate waits for the last old pod to end; nothing else here is about pods. */
static void on_pod(const struct view *v, const struct object *old, const struct object *new,
		   struct keys *keys)
{
	const struct owner_ref *owner = controlled_by(old, "ReplicaSet");

	if (owner == NULL || (new != NULL && (!is_finished(new) || is_finished(old))))
		return;

	const struct object *set = view_get(v, "replicasets.apps", old->namespace, owner->name);

	if (set != NULL)
		keys_add_owner(keys, set, "Deployment");
}

static void on_change(const struct view *v, const struct object *old, const struct object *new,
		      struct keys *keys)
{
	if (change_is_of(old, new, resource)) {
		keys_add_object(keys, old, new);
	} else if (change_is_of(old, new, "replicasets.apps")) {
		if (old != NULL)
			on_set(v, old, keys);
		on_set(v, new, keys);
	} else if (change_is_of(old, new, "pods") && old != NULL) {
		on_pod(v, old, new, keys);
	}
}

static void seed(const struct view *v, struct keys *keys)
{
	keys_add_all(keys, v, resource, NULL);
}

const struct controller controller_deployment = {
	.name = "deployment-controller",
	.on_change = on_change,
	.seed = seed,
	.reconcile = reconcile,
	.refused = refused,
};
