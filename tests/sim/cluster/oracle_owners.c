/* Nobody loses its owner but as an orphan on purpose; and the namespaces and owners that are going,
 * for other books to ask. */
#include <string.h>

#include "common/api/kinds.h"
#include "tests/sim/cluster/oracle.h"

bool owners_is_going(struct chaos *c, const char *uid)
{
	/* Unknown is gone. */
	return map_get(&c->oracle->staying, uid) == NULL;
}

bool owners_namespace_is_going(struct chaos *c, const char *namespace)
{
	return map_get(&c->oracle->going_namespaces, namespace) != NULL;
}

/* Until when its dependents may be let go: another may change the way of its deletion meanwhile. */
static void note_orphaning(struct chaos *c, const struct object *o, bool orphans)
{
	uint64_t *until_ns = map_get(&c->oracle->orphaning, o->facts.uid);

	if (until_ns == NULL && !orphans)
		return;
	if (until_ns == NULL) {
		until_ns = arena_new(&c->sim.arena, uint64_t);
		map_put(&c->oracle->orphaning, o->facts.uid, until_ns);
	}
	if (orphans)
		*until_ns = UINT64_MAX;
	else if (*until_ns == UINT64_MAX)
		*until_ns = c->sim.now_ns + GRACE_NS;
}

static bool may_orphan(struct chaos *c, const char *uid)
{
	const uint64_t *until_ns = map_get(&c->oracle->orphaning, uid);

	return until_ns != NULL && *until_ns >= c->sim.now_ns;
}

static void note(struct chaos *c, const struct change *change)
{
	const struct object *o = change_one(change);
	bool stays = change->new != NULL && o->facts.deleted_ns == 0;

	if (o->facts.pod != NULL || o->facts.uid[0] == '\0')
		return; /* Own nothing. */
	if (stays)
		map_put(&c->oracle->staying, o->facts.uid, c);
	else
		map_remove(&c->oracle->staying, o->facts.uid);
	note_orphaning(c, o, change->new != NULL &&object_has_finalizer(o, "orphan"));
	if (strcmp(o->kind->resource, "namespaces") != 0)
		return;
	if (stays)
		map_remove(&c->oracle->going_namespaces, o->name);
	else
		map_put(&c->oracle->going_namespaces, o->name, c);
}

void owners_look(struct chaos *c, const struct change *change)
{
	const struct owner_ref *before, *after;

	note(c, change);
	/* Whose a claim of a StatefulSet is follows from its retention policy. */
	if (change->old == NULL || change->new == NULL ||
	    strcmp(change->new->kind->resource, "persistentvolumeclaims") == 0)
		return;
	before = object_controller(change->old);
	after = object_controller(change->new);
	if (before == NULL || (after != NULL && strcmp(before->uid, after->uid) == 0))
		return;
	if (!may_orphan(c, before->uid))
		chaos_fail(c, "%s %s/%s lost its owner %s, which was not to leave orphans",
			   change->new->kind->resource, change->new->namespace, change->new->name,
			   before->name);
}

void owners_fini(struct chaos *c)
{
	map_fini(&c->oracle->staying);
	map_fini(&c->oracle->orphaning);
	map_fini(&c->oracle->going_namespaces);
}
