/* The book of pods: nobody moves, nobody is ended while it runs, and there are never two of one
 * name at the agents.
 *
 * A pod with a node is over when its agent says so. It goes without that only if a person said
 * that it does not run any more: by a deletion without grace, by a grace of no seconds in its
 * spec, by deleting the Node, or by declaring it out of service. */
#include <string.h>

#include "common/api/make.h"
#include "tests/sim/cluster/oracle.h"

struct pod_book *pod_book(struct chaos *c, const char *uid)
{
	return map_get(&c->oracle->pods, uid);
}

static struct pod_book *pod_book_new(struct chaos *c, const struct object *o)
{
	struct pod_book *p = arena_new(&c->sim.arena, struct pod_book);
	const CoreV1__Pod *message = change_message(c, o);

	p->uid = chaos_text(c, "%s", o->facts.uid);
	p->since_ns = c->sim.now_ns;
	p->forced = message->spec->terminationgraceperiodseconds == 0;
	map_put(&c->oracle->pods, p->uid, p);
	return p;
}

static struct pod_book *pod_book_made(struct chaos *c, const struct object *o)
{
	struct pod_book *p = pod_book(c, o->facts.uid);
	const struct owner_ref *owner = object_controller(o);

	if (p == NULL)
		p = pod_book_new(c, o);
	if (p->owner == NULL || strcmp(p->owner, owner ? owner->uid : "") != 0) {
		p->owner = chaos_text(c, "%s", owner ? owner->uid : "");
		p->owner_kind = chaos_text(c, "%s", owner ? owner->kind : "");
	}
	return p;
}

void oracle_pod_asked(struct chaos *c, const char *uid, bool forced)
{
	struct pod_book *p = pod_book(c, uid);

	if (p == NULL)
		return;
	p->asked = true;
	p->forced = p->forced || forced;
}

/* --- Ends -------------------------------------------------------------------------------- */

static const struct agent_pod *life_of(struct chaos *c, const struct pod_book *p)
{
	struct agent *a = p->node != NULL ? agents_named(c, p->node) : NULL;

	return a != NULL ? lives_find(a, p->uid) : NULL;
}

static bool may_go_unheard(struct chaos *c, const struct pod_book *p)
{
	const struct node_book *n = node_book(c, p->node);

	return p->forced || !n->present || n->gone_ns > p->since_ns ||
	       n->out_of_service_ns + GRACE_NS >= c->sim.now_ns;
}

static void check_end(struct chaos *c, const struct object *o, const struct pod_book *p)
{
	const struct agent_pod *life = life_of(c, p);

	if (p->node == NULL || (life != NULL && !lives_runs(life)))
		return;
	if (!may_go_unheard(c, p))
		chaos_fail(c, "pod %s/%s is gone, and %s %s it", o->namespace, o->name, p->node,
			   life != NULL ? "still runs" : "was to run");
	map_put(&c->oracle->forced, p->uid, p->uid);
}

void oracle_pod_taken(struct chaos *c, const struct agent *a, const struct agent_pod *pod)
{
	for (unsigned i = 0; i < c->agents.n; i++) {
		const struct agent *other = &c->agents.all[i];

		for (size_t k = 0; other->up && k < other->n_pods; k++) {
			const struct agent_pod *p = &other->pods[k];
			const char *older = strcmp(p->uid, pod->uid) == 0 ? NULL : p->uid;

			if (older == NULL || !lives_runs(p) || strcmp(p->name, pod->name) != 0 ||
			    strcmp(p->namespace, pod->namespace) != 0)
				continue;
			if (map_get(&c->oracle->forced, older) == NULL &&
			    map_get(&c->oracle->forced, pod->uid) == NULL)
				chaos_fail(c, "%s runs %s/%s, and so does %s", a->name,
					   pod->namespace, pod->name, other->name);
		}
	}
}

/* --- Changes ----------------------------------------------------------------------------- */

static void note_version(struct chaos *c, struct pod_book *p, const struct object *o)
{
	const struct pod_facts *f = o->facts.pod;

	if (p->o != NULL && p->o->facts.pod->ready && (!f->ready || o->facts.deleted_ns != 0))
		p->unready_ns = c->sim.now_ns;
	object_unref((struct object *)p->o);
	p->o = object_ref((struct object *)o);
	p->finished = f->phase == PHASE_FAILED || f->phase == PHASE_SUCCEEDED;
	if (o->facts.deleted_ns != 0 && p->deleted_ns == 0)
		p->deleted_ns = c->sim.now_ns;
}

void pods_look_at_pod(struct chaos *c, const struct change *change)
{
	const struct object *o = change_one(change);
	const struct pod_facts *f = o->facts.pod;
	struct pod_book *p = pod_book_made(c, o);

	note_version(c, p, o);
	if (p->node != NULL && strcmp(p->node, f->node_name) != 0)
		chaos_fail(c, "pod %s/%s moved from %s to '%s'", o->namespace, o->name, p->node,
			   f->node_name);
	if (f->scheduled && p->node == NULL && change->new != NULL) {
		p->node = chaos_text(c, "%s", f->node_name);
		p->cpu_milli = f->cpu_milli;
		p->memory_bytes = f->memory_bytes;
		nodes_count_pod(c, p, !p->finished);
		nodes_check_binding(c, o, node_book(c, p->node));
	}
	if (p->node != NULL) {
		nodes_count_pod(c, p, !p->finished && change->new != NULL);
		nodes_check_eviction(c, o, p);
	}
	if (change->new != NULL)
		return;
	check_end(c, o, p);
}

void pods_forget(struct chaos *c, const struct change *change)
{
	const struct object *o = change_one(change);
	struct pod_book *p;

	if (o->facts.pod == NULL || change->new != NULL)
		return;
	p = map_remove(&c->oracle->pods, o->facts.uid);
	object_unref((struct object *)p->o);
}
