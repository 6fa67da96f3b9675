/* Keeps as many pods as a ReplicationController asks for. It is a ReplicaSet
 * in an older dress: its selector is a plain map. */
#include "controlplane/controllers/replicas.h"

static const char resource[] = "replicationcontrollers";

static AppsV1__ReplicaSetStatus *status_as_set(struct arena *a,
					       const CoreV1__ReplicationControllerStatus *from)
{
	AppsV1__ReplicaSetStatus *s =
		make(a, AppsV1__ReplicaSetStatus, apps_v1__replica_set_status);

	if (from == NULL)
		return NULL;
	make_set(s, replicas, from->replicas);
	make_set(s, fullylabeledreplicas, from->fullylabeledreplicas);
	make_set(s, readyreplicas, from->readyreplicas);
	make_set(s, availablereplicas, from->availablereplicas);
	make_set(s, observedgeneration, from->observedgeneration);
	for (size_t i = 0; i < from->n_conditions; i++) {
		const CoreV1__ReplicationControllerCondition *old = from->conditions[i];
		AppsV1__ReplicaSetCondition *c =
			make(a, AppsV1__ReplicaSetCondition, apps_v1__replica_set_condition);

		c->type = old->type;
		c->status = old->status;
		c->lasttransitiontime = old->lasttransitiontime;
		c->reason = old->reason;
		c->message = old->message;
		make_append(a, s, conditions, c);
	}
	return s;
}

static AppsV1__ReplicaSet *as_set(struct arena *a, const CoreV1__ReplicationController *rc)
{
	AppsV1__ReplicaSet *set = make(a, AppsV1__ReplicaSet, apps_v1__replica_set);

	set->metadata = rc->metadata;
	set->spec = make(a, AppsV1__ReplicaSetSpec, apps_v1__replica_set_spec);
	make_set(set->spec, replicas, rc->spec->replicas);
	make_set(set->spec, minreadyseconds, rc->spec->minreadyseconds);
	set->spec->template_ = rc->spec->template_;
	set->status = status_as_set(a, rc->status);
	return set;
}

static void write_status(struct intents *intents, const struct object *object,
			 AppsV1__ReplicaSetStatus *from)
{
	struct arena *a = intents->arena;
	CoreV1__ReplicationController *message = changed(object, a);
	CoreV1__ReplicationControllerStatus *s = make(a, CoreV1__ReplicationControllerStatus,
						      core_v1__replication_controller_status);

	make_set(s, replicas, from->replicas);
	make_set(s, fullylabeledreplicas, from->fullylabeledreplicas);
	make_set(s, readyreplicas, from->readyreplicas);
	make_set(s, availablereplicas, from->availablereplicas);
	make_set(s, observedgeneration, from->observedgeneration);
	for (size_t i = 0; i < from->n_conditions; i++) {
		CoreV1__ReplicationControllerCondition *c =
			make(a, CoreV1__ReplicationControllerCondition,
			     core_v1__replication_controller_condition);

		c->type = from->conditions[i]->type;
		c->status = from->conditions[i]->status;
		c->lasttransitiontime = from->conditions[i]->lasttransitiontime;
		c->reason = from->conditions[i]->reason;
		c->message = from->conditions[i]->message;
		make_append(a, s, conditions, c);
	}
	message->status = s;
	intend_update_status(intents, object, &message->base);
}

static void look(struct view *v, struct key key, const struct refusal *refusal,
		 struct intents *intents)
{
	const struct object *o = view_get(v, resource, key.namespace, key.name);
	const CoreV1__ReplicationController *rc = o ? view_message(v, o) : NULL;

	if (o == NULL || o->facts.deleted_ns != 0 || rc->spec == NULL ||
	    rc->spec->template_ == NULL)
		return;

	struct replicas r = {
		.component = "replication-controller",
		.object = o,
		.set = as_set(v->arena, rc),
		.write_status = write_status,
	};

	label_selector_of_map((struct string_entry *const *)rc->spec->selector,
			      rc->spec->n_selector, v->arena, &r.selector);
	if (rc->spec->n_selector == 0)
		r.selector.nothing = true;
	replicas_keep(v, &r, refusal, intents);
}

static void reconcile(struct view *v, struct key key, struct intents *intents)
{
	look(v, key, NULL, intents);
}

static void refused(struct view *v, struct key key, const struct refusal *refusal,
		    struct intents *intents)
{
	look(v, key, refusal, intents);
}

static void on_change(const struct view *v, const struct object *old, const struct object *new,
		      struct keys *keys)
{
	replicas_on_change(v, old, new, resource, "ReplicationController", keys);
}

static void seed(const struct view *v, struct keys *keys)
{
	keys_add_all(keys, v, resource, NULL);
}

const struct controller controller_replicationcontroller = {
	.name = "replication-controller",
	.on_change = on_change,
	.seed = seed,
	.reconcile = reconcile,
	.refused = refused,
};
