/* Only a node that was silent for long enough is given up; pods are placed where there is room for
 * them and where they may be; only a node with a reason for it loses pods. */
#include <inttypes.h>
#include <string.h>

#include "common/api/make.h"
#include "tests/sim/cluster/oracle.h"

#define SILENCE_NS (6900ull * 1000000)

struct node_book *node_book(struct chaos *c, const char *name)
{
	struct node_book *n = map_get(&c->oracle->nodes, name);

	if (n == NULL) {
		n = arena_new(&c->sim.arena, struct node_book);
		map_put(&c->oracle->nodes, name, n);
	}
	return n;
}

/* --- Nodes ------------------------------------------------------------------------------- */

static bool has_taint(const struct object *o, const char *key, const char *effect)
{
	for (size_t i = 0; o != NULL && i < o->facts.node->n_taints; i++)
		if ((key == NULL || strcmp(o->facts.node->taints[i].key, key) == 0) &&
		    (effect == NULL || strcmp(o->facts.node->taints[i].effect, effect) == 0))
			return true;
	return false;
}

/* Who is given up was not heard of for as long as that takes: by nobody, and by the one who says so
 * not since it was elected. */
static void check_silence(struct chaos *c, const struct object *o)
{
	uint64_t now = c->sim.now_ns, elected_ns = 0;
	const struct agent *a;

	agents_note_heard(c);
	a = agents_named(c, o->name);
	for (unsigned i = 0; i < MASTERS; i++)
		if (c->agents.leading_since_ns[i] > elected_ns)
			elected_ns = c->agents.leading_since_ns[i];

	bool silent = now - a->heard_ns >= SILENCE_NS ||
		      (a->before_ns != 0 && now - a->heard_ns < GRACE_NS &&
		       a->heard_ns - a->before_ns >= SILENCE_NS);
	bool counted = now - elected_ns >= SILENCE_NS || now - elected_ns < 100000000;

	if (c->calm_nodes || !silent || !counted)
		chaos_fail(c,
			   "%s is given up: heard of %" PRIu64 " ms ago, leader since %" PRIu64
			   " ms",
			   o->name, (now - a->heard_ns) / 1000000, (now - elected_ns) / 1000000);
}

static void node_is_gone(struct chaos *c, struct node_book *n)
{
	n->gone_ns = c->sim.now_ns;
	n->closed = n->no_execute = false;
}

static void note_node(struct chaos *c, struct node_book *n, const struct object *o)
{
	bool closed = o->facts.node->unschedulable || has_taint(o, "drill", NULL);

	bool only_cordoned = closed && !has_taint(o, "drill", NULL);

	if (closed && (!n->closed || (n->only_cordoned && !only_cordoned)))
		n->closed_ns = c->sim.now_ns;
	n->closed = closed;
	n->only_cordoned = only_cordoned;
	if (n->tainted)
		n->tainted_ns = c->sim.now_ns;
	n->tainted = has_taint(o, NULL, NULL);
	n->no_execute = has_taint(o, NULL, "NoExecute");
	if (n->no_execute)
		n->no_execute_ns = c->sim.now_ns;
	n->zone = object_label(o, "zone") != NULL ? object_label(o, "zone")[0] : '-';
	n->cpu_milli = o->facts.node->cpu_milli;
	n->memory_bytes = o->facts.node->memory_bytes;
	n->pods = o->facts.node->pods;
}

void nodes_look_at_node(struct chaos *c, const struct change *change)
{
	static const char unreachable[] = "node.kubernetes.io/unreachable";
	const struct object *o = change_one(change);
	struct node_book *n = node_book(c, o->name);

	if (change->old != NULL && change->old->facts.node->pod_cidr[0] != '\0')
		claim_take(c, o, change->old->facts.node->pod_cidr, false);
	n->present = change->new != NULL;
	if (n->no_execute)
		n->no_execute_ns = c->sim.now_ns;
	if (change->new == NULL) {
		node_is_gone(c, n);
		return;
	}
	if (o->facts.node->pod_cidr[0] == '\0')
		chaos_fail(c, "%s has no podCIDR", o->name);
	claim_take(c, o, o->facts.node->pod_cidr, true);
	if (change->old != NULL && change->old->facts.node->ready >= 0 && o->facts.node->ready < 0)
		check_silence(c, o);
	if (has_taint(o, unreachable, NULL) && o->facts.node->ready >= 0 &&
	    !has_taint(change->old, unreachable, NULL) && change->old->facts.node->ready >= 0)
		chaos_fail(c, "%s is tainted unreachable and is not", o->name);
	note_node(c, n, o);
}

/* --- Placement --------------------------------------------------------------------------- */

static bool bears(const CoreV1__PodSpec *spec, const char *key)
{
	for (size_t i = 0; i < spec->n_tolerations; i++)
		if ((text_empty(spec->tolerations[i]->key) ||
		     text_is(spec->tolerations[i]->key, key)) &&
		    text_is(spec->tolerations[i]->operator_, "Exists"))
			return true;
	return false;
}

static bool may_be_on_closed(const CoreV1__PodSpec *spec, const struct node_book *n)
{
	return bears(spec, n->only_cordoned ? "node.kubernetes.io/unschedulable" : "drill");
}

static void check_room(struct chaos *c, const struct object *o, const struct node_book *n)
{
	if (n->cpu_used > n->cpu_milli || n->memory_used > n->memory_bytes ||
	    n->pods_used > n->pods)
		chaos_fail(c,
			   "pod %s/%s does not fit on %s: cpu %" PRId64 " of %" PRId64
			   " m, memory %" PRId64 " of %" PRId64 ", pods %" PRId64 " of %" PRId64,
			   o->namespace, o->name, o->facts.pod->node_name, n->cpu_used,
			   n->cpu_milli, n->memory_used, n->memory_bytes, n->pods_used, n->pods);
}

/* Its host ports are nobody else's on this node. */
static void check_ports(struct chaos *c, const struct object *o)
{
	const struct pod_facts *f = o->facts.pod;

	if (f->n_host_ports == 0)
		return;
	pods_for_each (slot, c) {
		const struct pod_book *p = slot->value;

		if (p->o == NULL || !p->counted || strcmp(p->o->facts.uid, o->facts.uid) == 0 ||
		    strcmp(p->node, f->node_name) != 0)
			continue;
		for (size_t i = 0; i < f->n_host_ports; i++)
			for (size_t k = 0; k < p->o->facts.pod->n_host_ports; k++)
				if (p->o->facts.pod->host_ports[k].port == f->host_ports[i].port)
					chaos_fail(c, "pods %s/%s and %s/%s share port %u of %s",
						   o->namespace, o->name, p->o->namespace,
						   p->o->name, f->host_ports[i].port, f->node_name);
	}
}

void nodes_check_binding(struct chaos *c, const struct object *o, const struct node_book *n)
{
	const CoreV1__Pod *pod = change_message(c, o);
	const char *node = o->facts.pod->node_name;
	uint64_t now = c->sim.now_ns;

	c->figures.pods++;
	if (!n->present && n->gone_ns + GRACE_NS < now)
		chaos_fail(c, "pod %s/%s is bound to %s, which is not there", o->namespace, o->name,
			   node);
	if (n->closed && n->closed_ns + GRACE_NS < now && !may_be_on_closed(pod->spec, n))
		chaos_fail(c, "pod %s/%s is bound to %s, which is closed", o->namespace, o->name,
			   node);
	if (!n->present)
		return;
	check_room(c, o, n);
	check_ports(c, o);
	volumes_check_binding(c, o);
	for (size_t i = 0; i < pod->spec->n_nodeselector; i++)
		if (pod->spec->nodeselector[i]->value[0] != n->zone)
			chaos_fail(c, "pod %s/%s is on %s against its selector", o->namespace,
				   o->name, node);
}

void nodes_count_pod(struct chaos *c, struct pod_book *p, bool count)
{
	int sign = count ? 1 : -1;
	struct node_book *n;

	if (p->counted == count)
		return;
	n = node_book(c, p->node);
	p->counted = count;
	n->cpu_used += sign * p->cpu_milli;
	n->memory_used += sign * p->memory_bytes;
	n->pods_used += sign;
}

/* --- Eviction by taints ------------------------------------------------------------------ */

void nodes_check_eviction(struct chaos *c, const struct object *o, struct pod_book *p)
{
	const CoreV1__Pod *pod;
	const struct node_book *n;

	if (p->evicted || o->facts.deleted_ns != 0)
		return; /* The condition comes first. */
	pod = change_message(c, o);
	for (size_t i = 0; pod->status != NULL && i < pod->status->n_conditions; i++) {
		if (!text_is(pod->status->conditions[i]->type, "DisruptionTarget") ||
		    !text_is(pod->status->conditions[i]->reason, "DeletionByTaintManager"))
			continue;
		p->evicted = true;
		c->figures.evictions++;
		n = node_book(c, p->node);
		if (c->calm_nodes ||
		    (!n->no_execute && n->no_execute_ns + GRACE_NS < c->sim.now_ns))
			chaos_fail(c, "pod %s/%s is evicted from %s, which has no reason for it",
				   o->namespace, o->name, p->node);
	}
}
