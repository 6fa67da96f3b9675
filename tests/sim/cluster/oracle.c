/* What must hold after every change of the state, looked at when the first master
 * applies it: the books are our own and trust nothing that the masters keep.
 *
 * A decision is applied a little after it was made, and after a change of leaders
 * even seconds later; GRACE_NS says how long what was true may still be acted upon. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/kinds.h"
#include "common/api/make.h"
#include "common/api/pack.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "proto/k8s/apps_v1.pb-c.h"
#include "proto/k8s/core_v1.pb-c.h"
#include "tests/sim/cluster/chaos.h"

#define GRACE_NS (3000ull * 1000000)
#define SILENCE_NS (6900ull * 1000000)

enum { VERSIONS = 16, SETS_MAX = 512, DEPLOYMENTS_MAX = 512 };

struct node_book {
	bool present;
	uint64_t gone_ns, closed_ns, no_execute_ns; /* Since when; no_execute_ns: when last seen. */
	bool closed, no_execute;                    /* Cordoned or under the drill taint. */
	char zone;
	int64_t cpu_milli, memory_bytes, pods;
	int64_t cpu_used, memory_used, pods_used;
};

struct pod_book {
	const char *node, *owner;
	bool counted, finished, evicted;
	int64_t cpu_milli, memory_bytes;
	uint64_t since_ns;
};

struct recent {
	int32_t value;
	uint64_t until_ns; /* UINT64_MAX: still so. */
};

struct set_book {
	char *uid, *owner;
	int32_t replicas, desired;
	struct recent available[VERSIONS];
};

struct deployment_book {
	char *uid;
	bool recreate;
	uint64_t recreate_ns; /* Since when. */
	int32_t replicas;
	struct recent most[VERSIONS], least[VERSIONS]; /* Pods allowed, available pods demanded. */
};

struct oracle {
	struct {
		struct store_listener listener;
		struct chaos *chaos;
	} masters[MASTERS];
	uint64_t revision;
	struct map claims, nodes, pods;
	struct set_book sets[SETS_MAX];
	size_t n_sets;
	struct deployment_book deployments[DEPLOYMENTS_MAX];
	size_t n_deployments;
	struct arena work;
};

static const struct object *one_of(const struct change *change)
{
	return change->new != NULL ? change->new : change->old;
}

static void *message_of(struct chaos *c, const struct object *o)
{
	return unpack_stored(o->kind->descriptor, o->packed, &c->oracle->work);
}

/* --- Values with a recent past ---------------------------------------------------------- */

static void recent_set(struct recent r[VERSIONS], int32_t value, uint64_t now_ns)
{
	if (r[0].until_ns == UINT64_MAX && r[0].value == value)
		return;
	if (r[0].until_ns == UINT64_MAX)
		r[0].until_ns = now_ns;
	memmove(&r[1], &r[0], (VERSIONS - 1) * sizeof(r[0]));
	r[0] = (struct recent){ value, UINT64_MAX };
}

static int32_t recent_extreme(const struct recent r[VERSIONS], uint64_t now_ns, bool most)
{
	int32_t found = r[0].value;

	for (size_t i = 1; i < VERSIONS; i++)
		if (r[i].until_ns != 0 && r[i].until_ns + GRACE_NS >= now_ns &&
		    (most ? r[i].value > found : r[i].value < found))
			found = r[i].value;
	return found;
}

/* --- Claims ------------------------------------------------------------------------------ */

static void claim(struct chaos *c, const struct object *o, const char *what, bool take)
{
	const char *holder =
		arena_printf(&c->sim.arena, "%s %s/%s", o->kind->resource, o->namespace, o->name);

	if (!take) {
		map_remove(&c->oracle->claims, what);
		return;
	}

	const char *other = map_put(&c->oracle->claims, what, (void *)holder);

	if (other != NULL)
		chaos_fail(c, "%s is %s's and %s's", what, other, holder);
}

static void claims_of_service(struct chaos *c, const struct object *o, bool take)
{
	const CoreV1__Service *s = message_of(c, o);

	if (!text_empty(s->spec->clusterip) && !text_is(s->spec->clusterip, "None"))
		claim(c, o, s->spec->clusterip, take);
	for (size_t i = 0; i < s->spec->n_ports; i++)
		if (s->spec->ports[i]->nodeport != 0)
			claim(c, o,
			      arena_printf(&c->oracle->work, "node port %d %s",
					   s->spec->ports[i]->nodeport,
					   s->spec->ports[i]->protocol),
			      take);
}

static void look_at_service(struct chaos *c, const struct change *change)
{
	if (change->old != NULL)
		claims_of_service(c, change->old, false);
	if (change->new != NULL)
		claims_of_service(c, change->new, true);
}

/* --- Nodes -------------------------------------------------------------------------------- */

static struct node_book *node_book(struct chaos *c, const char *name)
{
	struct node_book *n = map_get(&c->oracle->nodes, name);

	if (n == NULL) {
		n = arena_new(&c->sim.arena, struct node_book);
		map_put(&c->oracle->nodes, name, n);
	}
	return n;
}

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
	const struct agent *a = NULL;

	for (unsigned i = 0; i < NODES; i++)
		if (strcmp(c->agents[i].name, o->name) == 0)
			a = &c->agents[i];
	for (unsigned i = 0; i < MASTERS; i++)
		if (c->leading_since_ns[i] > elected_ns)
			elected_ns = c->leading_since_ns[i];

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

static void look_at_node(struct chaos *c, const struct change *change)
{
	static const char unreachable[] = "node.kubernetes.io/unreachable";
	const struct object *o = one_of(change);
	struct node_book *n = node_book(c, o->name);
	uint64_t now = c->sim.now_ns;

	if (change->old != NULL && change->old->facts.node->pod_cidr[0] != '\0')
		claim(c, o, change->old->facts.node->pod_cidr, false);
	n->present = change->new != NULL;
	if (n->no_execute)
		n->no_execute_ns = now;
	if (change->new == NULL) {
		n->gone_ns = now;
		n->closed = n->no_execute = false;
		return;
	}
	if (o->facts.node->pod_cidr[0] == '\0')
		chaos_fail(c, "%s has no podCIDR", o->name);
	claim(c, o, o->facts.node->pod_cidr, true);
	if (change->old != NULL && change->old->facts.node->ready >= 0 && o->facts.node->ready < 0)
		check_silence(c, o);
	if (has_taint(o, unreachable, NULL) && o->facts.node->ready >= 0 &&
	    !has_taint(change->old, unreachable, NULL) && change->old->facts.node->ready >= 0)
		chaos_fail(c, "%s is tainted unreachable and is not", o->name);

	bool closed = o->facts.node->unschedulable || has_taint(o, "drill", NULL);

	if (closed && !n->closed)
		n->closed_ns = now;
	n->closed = closed;
	n->no_execute = has_taint(o, NULL, "NoExecute");
	if (n->no_execute)
		n->no_execute_ns = now;
	n->zone = object_label(o, "zone") != NULL ? object_label(o, "zone")[0] : '-';
	n->cpu_milli = o->facts.node->cpu_milli;
	n->memory_bytes = o->facts.node->memory_bytes;
	n->pods = o->facts.node->pods;
}

/* --- Pods ------------------------------------------------------------------------------------ */

static bool bears_everything(const CoreV1__PodSpec *spec)
{
	for (size_t i = 0; i < spec->n_tolerations; i++)
		if (text_empty(spec->tolerations[i]->key) &&
		    text_is(spec->tolerations[i]->operator_, "Exists"))
			return true;
	return false;
}

static void check_binding(struct chaos *c, const struct object *o, const struct node_book *n)
{
	const CoreV1__Pod *pod = message_of(c, o);
	const char *node = o->facts.pod->node_name;
	uint64_t now = c->sim.now_ns;

	c->figures.pods++;
	if (!n->present && n->gone_ns + GRACE_NS < now)
		chaos_fail(c, "pod %s/%s is bound to %s, which is not there", o->namespace, o->name,
			   node);
	if (n->closed && n->closed_ns + GRACE_NS < now && !bears_everything(pod->spec))
		chaos_fail(c, "pod %s/%s is bound to %s, which is closed", o->namespace, o->name,
			   node);
	if (!n->present)
		return;
	if (n->cpu_used > n->cpu_milli || n->memory_used > n->memory_bytes ||
	    n->pods_used > n->pods)
		chaos_fail(c,
			   "pod %s/%s does not fit on %s: cpu %" PRId64 " of %" PRId64
			   " m, memory %" PRId64 " of %" PRId64 ", pods %" PRId64 " of %" PRId64,
			   o->namespace, o->name, node, n->cpu_used, n->cpu_milli, n->memory_used,
			   n->memory_bytes, n->pods_used, n->pods);
	for (size_t i = 0; i < pod->spec->n_nodeselector; i++)
		if (pod->spec->nodeselector[i]->value[0] != n->zone)
			chaos_fail(c, "pod %s/%s is on %s against its selector", o->namespace,
				   o->name, node);
}

static void count_pod(struct chaos *c, struct pod_book *p, bool count)
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

static void check_eviction(struct chaos *c, const struct object *o, struct pod_book *p)
{
	const CoreV1__Pod *pod = message_of(c, o);
	const struct node_book *n;

	for (size_t i = 0; pod->status != NULL && !p->evicted && i < pod->status->n_conditions;
	     i++) {
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

static void look_at_pod(struct chaos *c, const struct change *change)
{
	const struct object *o = one_of(change);
	const struct pod_facts *f = o->facts.pod;
	struct pod_book *p = map_get(&c->oracle->pods, o->facts.uid);

	if (p == NULL) {
		p = arena_new(&c->sim.arena, struct pod_book);
		p->since_ns = c->sim.now_ns;
		map_put(&c->oracle->pods, o->facts.uid, p);
	}

	const struct owner_ref *owner = object_controller(o);

	p->owner = owner != NULL ? arena_strdup(&c->sim.arena, owner->uid) : NULL;
	p->finished =
		f->phase == PHASE_FAILED || f->phase == PHASE_SUCCEEDED || change->new == NULL;
	if (p->node != NULL && strcmp(p->node, f->node_name) != 0)
		chaos_fail(c, "pod %s/%s moved from %s to '%s'", o->namespace, o->name, p->node,
			   f->node_name);
	if (f->scheduled && p->node == NULL) {
		p->node = arena_strdup(&c->sim.arena, f->node_name);
		p->cpu_milli = f->cpu_milli;
		p->memory_bytes = f->memory_bytes;
		count_pod(c, p, true);
		check_binding(c, o, node_book(c, p->node));
	}
	if (p->node != NULL) {
		count_pod(c, p, !p->finished);
		check_eviction(c, o, p);
	}
	if (change->new == NULL)
		map_remove(&c->oracle->pods, o->facts.uid);
}

/* --- Deployments and their sets -----------------------------------------------------------------
 */

static struct deployment_book *deployment_book(struct chaos *c, const char *uid, bool add)
{
	struct oracle *oracle = c->oracle;

	for (size_t i = 0; i < oracle->n_deployments; i++)
		if (strcmp(oracle->deployments[i].uid, uid) == 0)
			return &oracle->deployments[i];
	if (!add || oracle->n_deployments == DEPLOYMENTS_MAX)
		return NULL;
	oracle->deployments[oracle->n_deployments].uid = arena_strdup(&c->sim.arena, uid);
	return &oracle->deployments[oracle->n_deployments++];
}

static void look_at_deployment(struct chaos *c, const struct change *change)
{
	struct deployment_book *d = deployment_book(c, one_of(change)->facts.uid, true);
	const AppsV1__Deployment *message;
	int32_t surge = 0, unavailable = 0;
	bool recreate;

	if (change->new == NULL || d == NULL)
		return;
	message = message_of(c, change->new);
	recreate = text_is(message->spec->strategy->type, "Recreate");
	if (!recreate) {
		const AppsV1__RollingUpdateDeployment *r = message->spec->strategy->rollingupdate;

		/* Percentages are the defaults (25 %): rounded up, rounded down. */
		surge = text_empty(r->maxsurge->strval) ? r->maxsurge->intval
							: (message->spec->replicas + 3) / 4;
		unavailable = text_empty(r->maxunavailable->strval) ? r->maxunavailable->intval
								    : message->spec->replicas / 4;
		if (surge == 0 && unavailable == 0)
			unavailable = 1;
	}
	if (recreate && !d->recreate)
		d->recreate_ns = c->sim.now_ns;
	d->recreate = recreate;
	d->replicas = message->spec->replicas;
	recent_set(d->most, d->replicas + surge, c->sim.now_ns);
	recent_set(d->least, recreate ? 0 : d->replicas - unavailable, c->sim.now_ns);
}

/* Never more pods asked for than maxSurge allows. */
static void check_surge(struct chaos *c, const struct object *o, const struct set_book *set,
			const struct deployment_book *d)
{
	int32_t total = 0, most = recent_extreme(d->most, c->sim.now_ns, true);

	for (size_t i = 0; i < c->oracle->n_sets; i++)
		if (strcmp(c->oracle->sets[i].owner, set->owner) == 0)
			total += c->oracle->sets[i].replicas;
	if (total > most)
		chaos_fail(c, "set %s/%s grows to %d: %d pods asked for, %d allowed", o->namespace,
			   o->name, set->replicas, total, most);
}

/* Recreate: the new ones begin when the old ones are gone. */
static void check_recreate(struct chaos *c, const struct object *o, const struct set_book *set)
{
	for (size_t i = 0; i < c->oracle->n_sets; i++) {
		const struct set_book *other = &c->oracle->sets[i];

		if (other == set || strcmp(other->owner, set->owner) != 0)
			continue;
		map_for_each (slot, &c->oracle->pods) {
			const struct pod_book *p = slot->value;

			if (!p->finished && p->owner != NULL && strcmp(p->owner, other->uid) == 0 &&
			    p->since_ns + GRACE_NS < c->sim.now_ns)
				chaos_fail(c, "set %s/%s begins while pods of another are there",
					   o->namespace, o->name);
		}
	}
}

/* Never fewer available pods left, by decision, than maxUnavailable allows. */
static void check_available(struct chaos *c, const struct object *o, const struct set_book *set,
			    int32_t replicas_before, const struct deployment_book *d)
{
	int32_t before = 0, after = 0, least = recent_extreme(d->least, c->sim.now_ns, false);

	for (size_t i = 0; i < c->oracle->n_sets; i++) {
		const struct set_book *each = &c->oracle->sets[i];
		/* The decision was based on this very version of the set, but maybe on older ones
		 * of the others. */
		int32_t available = each == set
					    ? each->available[0].value
					    : recent_extreme(each->available, c->sim.now_ns, true);
		int32_t was = each == set ? replicas_before : each->replicas;

		if (strcmp(each->owner, set->owner) != 0)
			continue;
		before += available < was ? available : was;
		after += available < each->replicas ? available : each->replicas;
	}
	if (after < least && after < before)
		chaos_fail(
			c,
			"set %s/%s shrinks from %d to %d: %d pods stay available of %d, %d are demanded",
			o->namespace, o->name, replicas_before, set->replicas, after, before,
			least);
}

static void forget_set(struct oracle *oracle, const char *uid)
{
	for (size_t i = 0; i < oracle->n_sets; i++)
		if (strcmp(oracle->sets[i].uid, uid) == 0)
			oracle->sets[i--] = oracle->sets[--oracle->n_sets];
}

static struct set_book *set_book(struct chaos *c, const char *uid)
{
	struct oracle *oracle = c->oracle;

	for (size_t i = 0; i < oracle->n_sets; i++)
		if (strcmp(oracle->sets[i].uid, uid) == 0)
			return &oracle->sets[i];
	if (oracle->n_sets == SETS_MAX)
		chaos_fail(c, "more than %d ReplicaSets", SETS_MAX);
	oracle->sets[oracle->n_sets] = (struct set_book){ .uid = arena_strdup(&c->sim.arena, uid) };
	return &oracle->sets[oracle->n_sets++];
}

static void look_at_set(struct chaos *c, const struct change *change)
{
	const struct object *o = one_of(change);
	const struct owner_ref *owner = object_controller(o);
	const AppsV1__ReplicaSet *message;
	const struct deployment_book *d;
	const char *desired;
	int32_t before, desired_before;
	struct set_book *set;

	if (change->new == NULL) {
		forget_set(c->oracle, o->facts.uid);
		return;
	}
	message = message_of(c, o);
	set = set_book(c, o->facts.uid);
	before = set->replicas;
	desired_before = set->desired;
	desired = meta_annotation(message->metadata, "deployment.kubernetes.io/desired-replicas");
	set->desired = desired != NULL ? atoi(desired) : -1;
	set->owner = arena_strdup(&c->sim.arena, owner != NULL ? owner->uid : "");
	set->replicas = message->spec->replicas;
	recent_set(set->available, message->status != NULL ? message->status->availablereplicas : 0,
		   c->sim.now_ns);
	d = deployment_book(c, set->owner, false);
	if (d == NULL)
		return;
	if (set->replicas > before) {
		check_surge(c, o, set, d);
		if (d->recreate && before == 0 && d->recreate_ns + GRACE_NS < c->sim.now_ns)
			check_recreate(c, o, set);
	} else if (set->replicas < before && desired_before == d->replicas &&
		   set->desired == desired_before && !d->recreate) {
		check_available(c, o, set, before, d);
	}
}

static void look_at_config(struct chaos *c, const struct change *change)
{
	if (change->new != NULL && strncmp(change->new->name, "switch-", 7) == 0)
		clients_switched(c, change->new);
}

/* --- Changes
 * --------------------------------------------------------------------------------------- */

static const struct {
	const char *resource;
	void (*look)(struct chaos *c, const struct change *change);
} looks[] = {
	{ "configmaps", look_at_config },
	{ "services", look_at_service },
	{ "nodes", look_at_node },
	{ "pods", look_at_pod },
	{ "deployments.apps", look_at_deployment },
	{ "replicasets.apps", look_at_set },
};

static void trace_change(struct chaos *c, const struct change *change)
{
	const struct object *o = one_of(change);
	const char *verb = change->old == NULL ? "new" : change->new == NULL ? "gone" : "changed";

	if (o->facts.pod != NULL)
		chaos_trace(c, "%" PRIu64 " %s %s %s/%s on '%s'%s%s", change->revision, verb,
			    o->kind->resource, o->namespace, o->name, o->facts.pod->node_name,
			    o->facts.pod->ready ? " ready" : "",
			    o->facts.deleted_ns != 0 ? " being deleted" : "");
	else
		chaos_trace(c, "%" PRIu64 " %s %s %s/%s", change->revision, verb, o->kind->resource,
			    o->namespace, o->name);
}

static void on_change(void *ctx, const struct change *change)
{
	struct chaos *c = ctx;
	const char *resource = one_of(change)->kind->resource;

	if (change->revision <= c->oracle->revision)
		return; /* Another master was first. */
	if (change->revision != c->oracle->revision + 1)
		chaos_fail(c, "revision %" PRIu64 " follows %" PRIu64, change->revision,
			   c->oracle->revision);
	c->oracle->revision = change->revision;
	c->figures.changes++;
	trace_change(c, change);
	for (size_t i = 0; i < array_size(looks); i++)
		if (strcmp(looks[i].resource, resource) == 0)
			looks[i].look(c, change);
	arena_reset(&c->oracle->work);
}

void oracle_init(struct chaos *c)
{
	c->oracle = xcalloc(1, sizeof(*c->oracle));
	arena_init(&c->oracle->work, 0);
	for (unsigned i = 0; i < MASTERS; i++)
		oracle_attach(c, i);
}

void oracle_attach(struct chaos *c, unsigned master)
{
	struct store_listener *l = &c->oracle->masters[master].listener;

	*l = (struct store_listener){ .cb = on_change, .ctx = c };
	store_listen(c->sim.masters[master].store, l);
}

void oracle_fini(struct chaos *c)
{
	map_fini(&c->oracle->claims);
	map_fini(&c->oracle->nodes);
	map_fini(&c->oracle->pods);
	arena_fini(&c->oracle->work);
	free(c->oracle);
}
