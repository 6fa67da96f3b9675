/* StatefulSets: one pod for each ordinal in range, in order; updates from the last one down, one at
 * a time. DaemonSets: one pod for a node, and so many more or fewer as the strategy says.
 *
 * Only what the controllers decide is judged: not what a person asked for, what a taint, an
 * eviction or the end of an owner or namespace took away, and what failed by itself. */
#include <stdlib.h>
#include <string.h>

#include "common/api/make.h"
#include "proto/k8s/apps_v1.pb-c.h"
#include "tests/sim/cluster/oracle.h"

struct stateful_book {
	struct recent replicas, start, ordered;
};

struct daemon_book {
	struct recent surge, unavailable; /* Of as many nodes as there are. */
	struct recent only_a;             /* For nodes of zone a. */
};

/* --- What they want ---------------------------------------------------------------------- */

void sets_look_at_statefulset(struct chaos *c, const struct change *change)
{
	const struct object *o = change_one(change);
	const AppsV1__StatefulSet *m = change_message(c, o);
	struct stateful_book *s = map_get(&c->oracle->stateful, o->facts.uid);
	uint64_t now = c->sim.now_ns;

	if (s == NULL) {
		s = arena_new(&c->sim.arena, struct stateful_book);
		map_put(&c->oracle->stateful, o->facts.uid, s);
	}
	recent_set(&s->replicas, m->spec->replicas, now);
	recent_set(&s->start, m->spec->ordinals != NULL ? m->spec->ordinals->start : 0, now);
	recent_set(&s->ordered, !text_is(m->spec->podmanagementpolicy, "Parallel"), now);
}

static int32_t of_nodes(struct chaos *c, const Intstr__IntOrString *v)
{
	if (v == NULL)
		return 0;
	return text_empty(v->strval) ? v->intval
				     : (atoi(v->strval) * (int32_t)c->agents.n + 99) / 100;
}

void sets_look_at_daemonset(struct chaos *c, const struct change *change)
{
	const struct object *o = change_one(change);
	const AppsV1__DaemonSet *m = change_message(c, o);
	const AppsV1__DaemonSetUpdateStrategy *u = m->spec->updatestrategy;
	struct daemon_book *d = map_get(&c->oracle->daemons, o->facts.uid);
	bool rolls = u != NULL && u->rollingupdate != NULL;
	int32_t surge = rolls ? of_nodes(c, u->rollingupdate->maxsurge) : 0;
	int32_t unavailable = rolls ? of_nodes(c, u->rollingupdate->maxunavailable) : 0;

	if (d == NULL) {
		d = arena_new(&c->sim.arena, struct daemon_book);
		map_put(&c->oracle->daemons, o->facts.uid, d);
	}
	recent_set(&d->surge, surge, c->sim.now_ns);
	recent_set(&d->only_a, m->spec->template_->spec->n_nodeselector > 0, c->sim.now_ns);
	recent_set(&d->unavailable, surge + unavailable == 0 ? 1 : unavailable, c->sim.now_ns);
}

/* --- Pods -------------------------------------------------------------------------------- */

static bool is_or_was_ready(struct chaos *c, const struct pod_book *p)
{
	return (p->o->facts.pod->ready && p->o->facts.deleted_ns == 0) ||
	       (p->unready_ns != 0 && p->unready_ns + GRACE_NS >= c->sim.now_ns);
}

static bool is_decided_by_controller(struct chaos *c, const struct object *o,
				     const struct pod_book *p)
{
	const CoreV1__Pod *m;

	if (p->asked || p->finished || owners_is_going(c, p->owner) ||
	    owners_namespace_is_going(c, o->namespace))
		return false;
	m = change_message(c, o);
	for (size_t i = 0; m->status != NULL && i < m->status->n_conditions; i++)
		if (text_is(m->status->conditions[i]->type, "DisruptionTarget"))
			return false;
	return true;
}

/* --- StatefulSets ------------------------------------------------------------------------ */

static int32_t ordinal_of(const struct object *pod)
{
	const char *dash = strrchr(pod->name, '-');

	return dash != NULL ? atoi(dash + 1) : -1;
}

/* The pod of the owner with that ordinal, or NULL. */
static const struct pod_book *of_ordinal(struct chaos *c, const char *owner, int32_t ordinal)
{
	pods_for_each (slot, c) {
		const struct pod_book *p = slot->value;

		if (p->o != NULL && strcmp(p->owner, owner) == 0 && ordinal_of(p->o) == ordinal)
			return p;
	}
	return NULL;
}

static void check_stateful_begin(struct chaos *c, const struct object *o, const struct pod_book *p)
{
	const struct stateful_book *s = map_get(&c->oracle->stateful, p->owner);
	int32_t ordinal = ordinal_of(o), first, end;

	if (s == NULL)
		return;
	first = recent_least(&s->start, c->sim.now_ns);
	end = recent_most(&s->start, c->sim.now_ns) + recent_most(&s->replicas, c->sim.now_ns);
	if (ordinal < first || ordinal >= end)
		chaos_fail(c, "pod %s/%s is made, ordinals are %d to %d", o->namespace, o->name,
			   first, end - 1);
	if (recent_least(&s->ordered, c->sim.now_ns) == 0)
		return;
	/* Who adopts others' pods may find any of them. */
	for (int32_t i = recent_most(&s->start, c->sim.now_ns); i < ordinal; i++) {
		const struct pod_book *lower = of_ordinal(c, p->owner, i);

		if (lower == NULL || !is_or_was_ready(c, lower))
			chaos_fail(c, "pod %s/%s is made, and number %d %s", o->namespace, o->name,
				   i, lower == NULL ? "is not there" : "is not ready");
	}
}

/* Of those that are too many the last one goes first. */
static void check_last_first(struct chaos *c, const struct object *o, const struct pod_book *p,
			     int32_t first, int32_t end)
{
	pods_for_each (slot, c) {
		const struct pod_book *other = slot->value;
		int32_t ordinal = other->o != NULL ? ordinal_of(other->o) : -1;

		if (ordinal > ordinal_of(o) && (ordinal < first || ordinal >= end) &&
		    strcmp(other->owner, p->owner) == 0)
			chaos_fail(c, "pod %s/%s is ended before number %d", o->namespace, o->name,
				   ordinal);
	}
}

static void check_stateful_end(struct chaos *c, const struct object *o, const struct pod_book *p,
			       bool was_ready)
{
	const struct stateful_book *s = map_get(&c->oracle->stateful, p->owner);
	int32_t ordinal = ordinal_of(o), first, end;
	bool ordered;

	if (s == NULL)
		return;
	first = recent_most(&s->start, c->sim.now_ns);
	end = recent_least(&s->start, c->sim.now_ns) + recent_least(&s->replicas, c->sim.now_ns);
	ordered = recent_least(&s->ordered, c->sim.now_ns) != 0;
	if (ordinal < first || ordinal >= end) {
		if (ordered)
			check_last_first(c, o, p, first, end);
		return;
	}
	if (!was_ready)
		return;
	/* An update: whoever is above is well, and with an order everybody is. */
	for (int32_t i = ordered ? first : ordinal + 1; i < end; i++) {
		const struct pod_book *other = i == ordinal ? NULL : of_ordinal(c, p->owner, i);

		if (i != ordinal && (other == NULL || !is_or_was_ready(c, other)))
			chaos_fail(c, "pod %s/%s is ended for an update, and number %d %s",
				   o->namespace, o->name, i,
				   other == NULL ? "is not there" : "is not ready");
	}
}

/* --- DaemonSets -------------------------------------------------------------------------- */

static const char *target_of(struct chaos *c, const struct object *o)
{
	const CoreV1__Pod *m = change_message(c, o);
	const CoreV1__NodeSelector *required;

	if (m->spec->affinity == NULL || m->spec->affinity->nodeaffinity == NULL)
		return "";
	required = m->spec->affinity->nodeaffinity->requiredduringschedulingignoredduringexecution;
	if (required == NULL || required->n_nodeselectorterms == 0 ||
	    required->nodeselectorterms[0]->n_matchfields == 0)
		return "";
	return required->nodeselectorterms[0]->matchfields[0]->values[0];
}

struct node_pods {
	int32_t there, stay, ready;
};

static struct node_pods pods_for(struct chaos *c, const char *owner, const char *target,
				 const struct pod_book *but)
{
	struct node_pods n = { 0 };

	pods_for_each (slot, c) {
		const struct pod_book *p = slot->value;

		if (p->o == NULL || p == but || p->finished || strcmp(p->owner, owner) != 0 ||
		    strcmp(target_of(c, p->o), target) != 0)
			continue;
		n.there++;
		n.stay += p->o->facts.deleted_ns == 0;
		n.ready += is_or_was_ready(c, p);
	}
	return n;
}

static void check_daemon_begin(struct chaos *c, const struct object *o, const struct pod_book *p)
{
	const struct daemon_book *d = map_get(&c->oracle->daemons, p->owner);
	const char *target = target_of(c, o);
	struct node_pods n;

	if (d == NULL)
		return;
	if (target[0] == '\0')
		chaos_fail(c, "pod %s/%s is for no node", o->namespace, o->name);
	n = pods_for(c, p->owner, target, NULL);
	/* With a surge whoever is to go does not count, without one it is waited for. */
	if (recent_most(&d->surge, c->sim.now_ns) > 0 ? n.stay > 2 : n.there > 1)
		chaos_fail(c, "pod %s/%s is number %d for %s", o->namespace, o->name, n.there,
			   target);
}

/* Where it has no business the controller may do as it likes. */
static bool is_for(struct chaos *c, const struct daemon_book *d, const char *name)
{
	const struct node_book *node = node_book(c, name);

	if (!node->present || node->tainted || node->closed_ns + GRACE_NS >= c->sim.now_ns ||
	    node->tainted_ns + GRACE_NS >= c->sim.now_ns)
		return false;
	return node->zone == 'a' || recent_most(&d->only_a, c->sim.now_ns) == 0;
}

/* Who has only an old pod that is not ready, or one that went a moment ago, is replaced beyond what
 * may be unavailable. */
static bool is_free_of_charge(struct chaos *c, const struct pod_book *ended, const char *target)
{
	static const char revision[] = "controller-revision-hash";
	const char *old = object_label(ended->o, revision);

	pods_for_each (slot, c) {
		const struct pod_book *p = slot->value;
		const char *of = p->o != NULL ? object_label(p->o, revision) : NULL;

		if (of == NULL || old == NULL || strcmp(p->owner, ended->owner) != 0 ||
		    strcmp(target_of(c, p->o), target) != 0)
			continue;
		if (p->deleted_ns != 0 ? p->deleted_ns + GRACE_NS >= c->sim.now_ns
				       : strcmp(of, old) == 0)
			return true;
	}
	return false;
}

static void check_daemon_end(struct chaos *c, const struct object *o, const struct pod_book *p,
			     bool was_ready)
{
	const struct daemon_book *d = map_get(&c->oracle->daemons, p->owner);
	const char *target = target_of(c, o);
	int32_t without = 0;

	if (d == NULL || !was_ready || !is_for(c, d, target) ||
	    pods_for(c, p->owner, target, p).ready > 0)
		return;
	for (unsigned i = 0; i < c->agents.n; i++) {
		const char *name = c->agents.all[i].name;
		struct node_pods n = pods_for(c, p->owner, name, p);

		without += strcmp(name, target) == 0 ||
			   (is_for(c, d, name) && n.there > 0 && n.ready == 0 &&
			    !is_free_of_charge(c, p, name));
	}
	if (without > recent_most(&d->unavailable, c->sim.now_ns))
		chaos_fail(c, "pod %s/%s is ended: %d nodes are without, %d may be", o->namespace,
			   o->name, without, recent_most(&d->unavailable, c->sim.now_ns));
}

/* --- Changes ----------------------------------------------------------------------------- */

void sets_look_at_pod(struct chaos *c, const struct change *change)
{
	const struct object *o = change_one(change), *old = change->old;
	const struct pod_book *p = pod_book(c, o->facts.uid);
	bool stateful, ended;

	if (p == NULL || change->new == NULL)
		return;
	stateful = strcmp(p->owner_kind, "StatefulSet") == 0;
	if (!stateful && strcmp(p->owner_kind, "DaemonSet") != 0)
		return;
	if (old == NULL) {
		if (stateful)
			check_stateful_begin(c, o, p);
		else
			check_daemon_begin(c, o, p);
		return;
	}
	ended = o->facts.deleted_ns != 0 && old->facts.deleted_ns == 0;
	if (!ended || !is_decided_by_controller(c, o, p))
		return;
	if (stateful)
		check_stateful_end(c, o, p, old->facts.pod->ready);
	else
		check_daemon_end(c, o, p, old->facts.pod->ready);
}

void sets_fini(struct chaos *c)
{
	map_fini(&c->oracle->stateful);
	map_fini(&c->oracle->daemons);
}
