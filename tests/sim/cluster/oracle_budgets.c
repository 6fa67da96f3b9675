/* No eviction takes a healthy pod that its budget needs; quotas are never exceeded.
 *
 * A budget counts the pods it selects that are ready and stay. How many it wants follows from a
 * number, or from how many their owners want. What got lost in the last seconds without an
 * eviction is not held against one that was decided before. */
#include <stdlib.h>
#include <string.h>

#include "common/api/kinds.h"
#include "common/api/make.h"
#include "proto/k8s/apps_v1.pb-c.h"
#include "proto/k8s/policy_v1.pb-c.h"
#include "tests/sim/cluster/oracle.h"

struct scale_book {
	char *owner; /* The controller's uid, or "". */
	struct recent replicas;
};

struct budget_book {
	const struct object *o;
	uint64_t since_ns; /* Of its spec. */
	int64_t generation;
};

/* --- Who wants how many ------------------------------------------------------------------ */

static int32_t replicas_of(struct chaos *c, const struct object *o)
{
	const void *message = change_message(c, o);

	if (strcmp(o->kind->kind, "Deployment") == 0)
		return ((const AppsV1__Deployment *)message)->spec->replicas;
	if (strcmp(o->kind->kind, "ReplicaSet") == 0)
		return ((const AppsV1__ReplicaSet *)message)->spec->replicas;
	if (strcmp(o->kind->kind, "StatefulSet") == 0)
		return ((const AppsV1__StatefulSet *)message)->spec->replicas;
	return ((const CoreV1__ReplicationController *)message)->spec->replicas;
}

void budgets_look_at_scale(struct chaos *c, const struct change *change)
{
	const struct object *o = change_one(change);
	const struct owner_ref *owner = object_controller(o);
	struct scale_book *s = map_get(&c->oracle->scales, o->facts.uid);

	if (change->new == NULL)
		return; /* Its pods may be there a little longer. */
	if (s == NULL) {
		s = arena_new(&c->sim.arena, struct scale_book);
		map_put(&c->oracle->scales, o->facts.uid, s);
	}
	s->owner = chaos_text(c, "%s", owner != NULL ? owner->uid : "");
	recent_set(&s->replicas, replicas_of(c, o), c->sim.now_ns);
}

/* The scale at the top: a Deployment's rather than its sets'. */
static const struct scale_book *scale_of(struct chaos *c, const char *uid)
{
	const struct scale_book *s = map_get(&c->oracle->scales, uid);
	const struct scale_book *above = s != NULL ? map_get(&c->oracle->scales, s->owner) : NULL;

	return above != NULL ? above : s;
}

/* --- Evictions --------------------------------------------------------------------------- */

void budgets_look_at_budget(struct chaos *c, const struct change *change)
{
	const struct object *o = change_one(change);
	struct budget_book *b = map_get(&c->oracle->budgets, o->facts.uid);

	if (b == NULL) {
		b = arena_new(&c->sim.arena, struct budget_book);
		map_put(&c->oracle->budgets, o->facts.uid, b);
	}
	if (b->o == NULL || b->generation != o->facts.generation)
		b->since_ns = c->sim.now_ns;
	b->generation = o->facts.generation;
	object_unref((struct object *)b->o);
	b->o = change->new != NULL ? object_ref((struct object *)o) : NULL;
	if (change->new == NULL)
		map_remove(&c->oracle->budgets, o->facts.uid);
}

struct counting {
	const char *namespace, *app;
	int32_t pods, healthy, excused, expected;
	bool unknown; /* A pod whose owner has no scale. */
	const struct scale_book *scales[64];
	size_t n_scales;
};

static void count_scale(struct chaos *c, struct counting *n, const struct pod_book *p)
{
	const struct scale_book *s = scale_of(c, p->owner);

	for (size_t i = 0; i < n->n_scales; i++)
		if (n->scales[i] == s)
			return;
	if (s == NULL || n->n_scales == 64) {
		n->unknown = true;
		return;
	}
	n->scales[n->n_scales++] = s;
	n->expected += recent_least(&s->replicas, c->sim.now_ns);
}

static void count_pod(struct chaos *c, struct counting *n, const struct pod_book *p)
{
	const char *app = object_label(p->o, "app");

	if (strcmp(p->o->namespace, n->namespace) != 0 || app == NULL || strcmp(app, n->app) != 0)
		return;
	n->pods++;
	count_scale(c, n, p);
	if (p->o->facts.pod->ready && p->o->facts.deleted_ns == 0)
		n->healthy++;
	else if (p->unready_ns + GRACE_NS >= c->sim.now_ns && !p->let_go)
		n->excused++;
}

/* A percentage of expected, rounded up, or the number. */
static int32_t number_of(const Intstr__IntOrString *v, int32_t expected)
{
	if (text_empty(v->strval))
		return v->intval;
	return (atoi(v->strval) * expected + 99) / 100;
}

static void check_budget(struct chaos *c, const struct object *pod, const struct budget_book *b)
{
	const PolicyV1__PodDisruptionBudget *m = change_message(c, b->o);
	struct counting n = { .namespace = pod->namespace };
	bool by_number = m->spec->minavailable != NULL && text_empty(m->spec->minavailable->strval);
	int32_t wanted;

	n.app = m->spec->selector->matchlabels[0]->value;
	if (strcmp(b->o->namespace, pod->namespace) != 0 || object_label(pod, "app") == NULL ||
	    strcmp(object_label(pod, "app"), n.app) != 0 || b->since_ns + GRACE_NS > c->sim.now_ns)
		return;
	pods_for_each (slot, c) {
		const struct pod_book *p = slot->value;

		if (p->o != NULL)
			count_pod(c, &n, p);
	}
	if (n.unknown && !by_number)
		return;
	wanted = m->spec->minavailable != NULL
			 ? number_of(m->spec->minavailable, n.expected)
			 : n.expected - number_of(m->spec->maxunavailable, n.expected);
	if (n.healthy + n.excused < wanted)
		chaos_fail(c, "pod %s/%s is evicted: %d healthy pods stay, budget %s wants %d",
			   pod->namespace, pod->name, n.healthy, b->o->name, wanted);
}

static bool is_let_go(struct chaos *c, const struct object *o)
{
	const CoreV1__Pod *pod = change_message(c, o);

	for (size_t i = 0; pod->status != NULL && i < pod->status->n_conditions; i++)
		if (text_is(pod->status->conditions[i]->type, "DisruptionTarget") &&
		    text_is(pod->status->conditions[i]->reason, "EvictionByEvictionAPI"))
			return true;
	return false;
}

void budgets_look_at_pod(struct chaos *c, const struct change *change)
{
	const struct object *o = change->new, *old = change->old;
	struct pod_book *p = o != NULL ? pod_book(c, o->facts.uid) : NULL;
	bool was_healthy = old != NULL && old->facts.pod->ready && old->facts.deleted_ns == 0;

	if (p == NULL || p->let_go || o->facts.deleted_ns == 0 || !is_let_go(c, o))
		return;
	p->let_go = true;
	if (!was_healthy)
		return;
	map_for_each (slot, &c->oracle->budgets) {
		const struct budget_book *b = slot->value;

		if (b->o != NULL)
			check_budget(c, o, b);
	}
}

void budgets_fini(struct chaos *c)
{
	map_for_each (slot, &c->oracle->budgets) {
		struct budget_book *b = slot->value;

		object_unref((struct object *)b->o);
	}
	map_fini(&c->oracle->budgets);
	map_fini(&c->oracle->scales);
}
