/* Objects whose owners are gone are gone, too.
 *
 * A key is the uid of an object, there or not. Looking at one that is there
 * means asking whether its owners still are, and whether its own deletion waits
 * for its dependents (finalizers foregroundDeletion and orphan). Looking at one
 * that is gone means asking the same of everything it owned. */
#include <string.h>

#include "controlplane/controllers/common.h"

static const char foreground[] = "foregroundDeletion";
static const char orphan[] = "orphan";

/* --- Owners ------------------------------------------------------------------------------- */

/* OWNER_STRAY: in another namespace, where no owner can be. */
enum owner_state { OWNER_LIVES, OWNER_WAITS, OWNER_GONE, OWNER_STRAY };

static enum owner_state owner_state(const struct view *v, const struct object *o,
				    const struct owner_ref *ref)
{
	const struct kind *kind = kind_of_type(ref->api_version, ref->kind);
	const struct object *owner = store_get_uid(v->store, ref->uid);

	/* Of a kind that nobody knows nothing can be said: it is taken to live. */
	if (kind == NULL)
		return OWNER_LIVES;
	if (owner != NULL && owner->namespace[0] != '\0' &&
	    strcmp(owner->namespace, o->namespace) != 0)
		return OWNER_STRAY;
	/* What belongs to no namespace cannot look into one. */
	if ((kind->flags & KIND_NAMESPACED) && o->namespace[0] == '\0')
		return OWNER_STRAY;
	/* The uid of something else. */
	if (owner == NULL || strcmp(owner->kind->kind, ref->kind) != 0 ||
	    strcmp(owner->kind->group, kind->group) != 0 || strcmp(owner->name, ref->name) != 0)
		return OWNER_GONE;
	if (owner->facts.deleted_ns != 0 && object_has_finalizer(owner, foreground))
		return OWNER_WAITS;
	return OWNER_LIVES;
}

static bool is_dead(const struct view *v, const struct object *o, const struct owner_ref *ref)
{
	enum owner_state state = owner_state(v, o, ref);

	return state == OWNER_WAITS || state == OWNER_GONE ||
	       (state == OWNER_STRAY && o->namespace[0] != '\0');
}

static const char *policy_of(const struct object *o)
{
	if (object_has_finalizer(o, orphan))
		return "Orphan";
	return object_has_finalizer(o, foreground) ? "Foreground" : "Background";
}

static void drop_dead_owners(const struct view *v, const struct object *o, struct intents *intents)
{
	ProtobufCMessage *message = changed(o, intents->arena);

	for (size_t i = 0; i < o->facts.n_owners; i++)
		if (is_dead(v, o, &o->facts.owners[i]))
			remove_owner(message_metadata(message), o->facts.owners[i].uid);
	intend_update(intents, o, message);
}

static bool owns_something(const struct view *v, const struct object *o);

static void tell_stray(const struct object *o, const struct owner_ref *ref, struct intents *intents)
{
	intend_event(intents, "garbage-collector-controller", o, "Warning",
		     "OwnerRefInvalidNamespace",
		     "ownerRef [%s/%s, namespace: %s, name: %s, uid: %s] does not exist in "
		     "namespace \"%s\"",
		     ref->api_version, ref->kind, o->namespace, ref->name, ref->uid, o->namespace);
}

/* Deleted when nobody owns it any more; only the dead references go when somebody still does. */
static void judge(const struct view *v, const struct object *o, struct intents *intents)
{
	size_t lives = 0, waits = 0, gone = 0;

	if (o->facts.n_owners == 0 || o->facts.deleted_ns != 0)
		return;
	for (size_t i = 0; i < o->facts.n_owners; i++) {
		enum owner_state state = owner_state(v, o, &o->facts.owners[i]);

		if (state == OWNER_STRAY)
			tell_stray(o, &o->facts.owners[i], intents);
		/* Within a namespace a stray owner is none; outside of all it is not known. */
		lives += state == OWNER_LIVES || (state == OWNER_STRAY && o->namespace[0] == '\0');
		waits += state == OWNER_WAITS;
		gone += state == OWNER_GONE || (state == OWNER_STRAY && o->namespace[0] != '\0');
	}
	if (lives > 0 && gone + waits > 0)
		drop_dead_owners(v, o, intents);
	else if (lives > 0)
		return;
	else if (waits > 0 && owns_something(v, o))
		/* Its own dependents go before it, so that the one waiting sees all of them gone.
		 */
		intend_delete(intents, o, -1, "Foreground");
	else
		intend_delete(intents, o, -1, policy_of(o));
}

/* --- Dependents --------------------------------------------------------------------------- */

struct dependents {
	const struct view *view;
	const struct object *owner; /* NULL: gone. */
	struct intents *intents;
	size_t n, blocking;
	bool full; /* More is left for the next look. */
};

static bool on_any(void *ctx, const struct object *o)
{
	*(bool *)ctx = true;
	return false;
}

static bool owns_something(const struct view *v, const struct object *o)
{
	bool any = false;

	store_walk_owned(v->store, NULL, o->facts.uid, on_any, &any);
	return any;
}

static bool on_orphaned(void *ctx, const struct object *o)
{
	struct dependents *d = ctx;

	d->full = d->intents->count >= BATCH_MAX;
	if (d->full)
		return false;
	judge(d->view, o, d->intents);
	return true;
}

/* Whether up from o, over owners that wait for their dependents, the way leads back to goal. */
static bool leads_to(const struct view *v, const struct object *o, const struct object *goal,
		     int depth)
{
	enum { DEPTH_MAX = 16 };

	for (size_t i = 0; depth < DEPTH_MAX && i < o->facts.n_owners; i++) {
		const struct object *owner = store_get_uid(v->store, o->facts.owners[i].uid);

		if (owner == goal)
			return true;
		if (owner != NULL && object_has_finalizer(owner, foreground) &&
		    leads_to(v, owner, goal, depth + 1))
			return true;
	}
	return false;
}

static bool blocks(const struct dependents *d, const struct object *o)
{
	for (size_t i = 0; i < o->facts.n_owners; i++) {
		const struct owner_ref *ref = &o->facts.owners[i];

		if (strcmp(ref->uid, d->owner->facts.uid) != 0 || !ref->block_owner_deletion)
			continue;
		/* Two that wait for each other wait for ever: the circle is cut here. */
		return !(object_has_finalizer(o, foreground) && leads_to(d->view, d->owner, o, 0));
	}
	return false;
}

static bool on_foreground(void *ctx, const struct object *o)
{
	struct dependents *d = ctx;

	d->n++;
	d->blocking += blocks(d, o);
	d->full = d->intents->count >= BATCH_MAX;
	if (!d->full)
		judge(d->view, o, d->intents);
	return true;
}

static bool on_orphan(void *ctx, const struct object *o)
{
	struct dependents *d = ctx;

	d->n++;
	d->full = d->intents->count >= BATCH_MAX;
	if (d->full)
		return false;

	ProtobufCMessage *message = changed(o, d->intents->arena);

	remove_owner(message_metadata(message), d->owner->facts.uid);
	intend_update(d->intents, o, message);
	return true;
}

static void remove_finalizer(const struct object *o, const char *name, struct intents *intents)
{
	ProtobufCMessage *message = changed(o, intents->arena);

	meta_remove_finalizer(message_metadata(message), name);
	intend_update(intents, o, message);
}

/* The deletion of o waits for what it owns. */
static void finish(const struct view *v, const struct object *o, struct intents *intents)
{
	struct dependents d = { .view = v, .owner = o, .intents = intents };

	if (object_has_finalizer(o, orphan)) {
		store_walk_owned(v->store, NULL, o->facts.uid, on_orphan, &d);
		if (d.n == 0)
			remove_finalizer(o, orphan, intents);
	} else if (object_has_finalizer(o, foreground)) {
		store_walk_owned(v->store, NULL, o->facts.uid, on_foreground, &d);
		if (d.blocking == 0)
			remove_finalizer(o, foreground, intents);
	}
	if (d.full)
		intend_again(intents, v->now_ns);
}

/* --- The controller --------------------------------------------------------------------------- */

static void reconcile(struct view *v, struct key key, struct intents *intents)
{
	const struct object *o = store_get_uid(v->store, key.name);

	if (o == NULL) {
		struct dependents d = { .view = v, .intents = intents };

		store_walk_owned(v->store, NULL, key.name, on_orphaned, &d);
		if (d.full)
			intend_again(intents, v->now_ns);
	} else if (o->facts.deleted_ns != 0) {
		finish(v, o, intents);
	} else {
		judge(v, o, intents);
	}
}

static bool same_owners(const struct object *a, const struct object *b)
{
	if (a->facts.n_owners != b->facts.n_owners)
		return false;
	for (size_t i = 0; i < a->facts.n_owners; i++)
		if (strcmp(a->facts.owners[i].uid, b->facts.owners[i].uid) != 0)
			return false;
	return true;
}

/* Almost every object there is: asking here is cheaper than remembering to look. */
static bool all_live(const struct view *v, const struct object *o)
{
	for (size_t i = 0; i < o->facts.n_owners; i++)
		if (owner_state(v, o, &o->facts.owners[i]) != OWNER_LIVES)
			return false;
	return true;
}

/* Owners whose deletion waits look again when a dependent leaves them. */
static void wake_waiting_owners(const struct view *v, const struct object *o, struct keys *keys)
{
	for (size_t i = 0; i < o->facts.n_owners; i++) {
		const struct object *owner = store_get_uid(v->store, o->facts.owners[i].uid);

		if (owner != NULL && owner->facts.deleted_ns != 0)
			keys_add(keys, "", owner->facts.uid);
	}
}

static bool waits(const struct object *o)
{
	return o->facts.deleted_ns != 0 &&
	       (object_has_finalizer(o, foreground) || object_has_finalizer(o, orphan));
}

static void on_change(const struct view *v, const struct object *old, const struct object *new,
		      struct keys *keys)
{
	bool replaced = old != NULL && new != NULL &&strcmp(old->facts.uid, new->facts.uid) != 0;

	if (old != NULL && (new == NULL || replaced))
		keys_add(keys, "", old->facts.uid);
	if (old != NULL && (new == NULL || !same_owners(old, new)))
		wake_waiting_owners(v, old, keys);
	if (new == NULL)
		return;
	if (waits(new) &&
	    (old == NULL || !waits(old) || old->facts.n_finalizers != new->facts.n_finalizers))
		keys_add(keys, "", new->facts.uid);
	if (new->facts.n_owners == 0)
		return;
	if ((old == NULL || !same_owners(old, new)) && !all_live(v, new))
		keys_add(keys, "", new->facts.uid);
	/* One that is being deleted itself no longer holds its owner up the same way. */
	if (waits(new) && (old == NULL || !waits(old)))
		wake_waiting_owners(v, new, keys);
}

struct seeding {
	const struct view *view;
	struct keys *keys;
};

static bool on_seed(void *ctx, const struct object *o)
{
	const struct seeding *s = ctx;

	if (o->facts.deleted_ns != 0 || !all_live(s->view, o))
		keys_add(s->keys, "", o->facts.uid);
	return true;
}

static void seed(const struct view *v, struct keys *keys)
{
	struct seeding seeding = { v, keys };

	kinds_for_each(kind) if (!(kind->flags & KIND_VIRTUAL) && kind_stored(kind) == kind)
		store_walk(v->store, kind, NULL, NULL, NULL, on_seed, &seeding);
}

const struct controller controller_garbage = {
	.name = "garbage-collector-controller",
	.on_change = on_change,
	.seed = seed,
	.reconcile = reconcile,
};
