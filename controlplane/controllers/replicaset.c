/* Keeps as many pods as a ReplicaSet asks for. */
#include "controlplane/controllers/replicas.h"

static const char resource[] = "replicasets.apps";

static void write_status(struct intents *intents, const struct object *object,
			 AppsV1__ReplicaSetStatus *status)
{
	AppsV1__ReplicaSet *message = changed(object, intents->arena);

	message->status = status;
	intend_update_status(intents, object, &message->base);
}

static void look(struct view *v, struct key key, const struct refusal *refusal,
		 struct intents *intents)
{
	const struct object *o = view_get(v, resource, key.namespace, key.name);

	if (o == NULL || o->facts.deleted_ns != 0)
		return; /* Its pods belong to the garbage collector now. */

	struct replicas r = {
		.component = "replicaset-controller",
		.object = o,
		.set = view_message(v, o),
		.counts_terminating = true,
		.write_status = write_status,
	};

	if (label_selector_of(r.set->spec->selector, v->arena, &r.selector, NULL) < 0)
		r.selector = (struct label_selector){ .nothing = true };
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
	replicas_on_change(v, old, new, resource, "ReplicaSet", keys);
}

static void seed(const struct view *v, struct keys *keys)
{
	keys_add_all(keys, v, resource, NULL);
}

const struct controller controller_replicaset = {
	.name = "replicaset-controller",
	.on_change = on_change,
	.seed = seed,
	.reconcile = reconcile,
	.refused = refused,
};
