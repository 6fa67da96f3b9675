/* From silence to taints, and from taints to evictions.
 *
 *   heard of ------> as it says itself: Ready True or False
 *   silent 7 s ----> Ready Unknown; its pods are no longer ready
 *   Ready False ---> taint not-ready      } NoSchedule at once, NoExecute one node of
 *   Ready Unknown -> taint unreachable    } a zone per 10 s, or slower, see pause_ns()
 *   NoExecute -----> pods that do not tolerate it are deleted, others when their
 *                    tolerationSeconds are over
 *
 * Silence is counted from the leader's election at the earliest, so that a
 * failover makes no node suspect. */
#include <string.h>

#include "common/base/cleanup.h"
#include "controlplane/controllers/nodes.h"

static const char component[] = "node-controller";
static const char not_ready[] = "node.kubernetes.io/not-ready";
static const char unreachable[] = "node.kubernetes.io/unreachable";

/* --- Conditions ---------------------------------------------------------------------------------
 */

static CoreV1__NodeCondition *find_condition(const CoreV1__NodeStatus *s, const char *type)
{
	for (size_t i = 0; s != NULL && i < s->n_conditions; i++)
		if (text_is(s->conditions[i]->type, type))
			return s->conditions[i];
	return NULL;
}

static bool condition_is(const CoreV1__Node *node, const char *type, const char *status)
{
	const CoreV1__NodeCondition *c = find_condition(node->status, type);

	return c != NULL && text_is(c->status, status);
}

static bool set_unknown(struct arena *a, CoreV1__NodeStatus *s, const char *type, bool make_missing,
			int64_t now_ns)
{
	CoreV1__NodeCondition *c = find_condition(s, type);

	if (c == NULL) {
		if (!make_missing)
			return false;
		c = make(a, CoreV1__NodeCondition, core_v1__node_condition);
		c->type = arena_strdup(a, type);
		make_append(a, s, conditions, c);
	}
	if (text_is(c->status, "Unknown"))
		return false;
	c->status = arena_strdup(a, "Unknown");
	c->reason = arena_strdup(a, "NodeStatusUnknown");
	c->message = arena_strdup(a, "Kubelet stopped posting node status.");
	c->lasttransitiontime = make_time(a, now_ns);
	return true;
}

/* Nobody speaks for the node any more. True when that had to be written. */
static bool mark_unknown(struct view *v, const struct object *o, struct intents *intents)
{
	static const char *const pressures[] = { "MemoryPressure", "DiskPressure", "PIDPressure" };
	struct arena *a = intents->arena;
	CoreV1__Node *node = changed(o, a);
	bool changes;

	if (node->status == NULL)
		node->status = make(a, CoreV1__NodeStatus, core_v1__node_status);
	changes = set_unknown(a, node->status, "Ready", true, v->now_ns);
	for (size_t i = 0; i < array_size(pressures); i++)
		changes |= set_unknown(a, node->status, pressures[i], false, v->now_ns);
	if (!changes)
		return false;
	intend_update_status(intents, o, &node->base);
	intend_event(intents, component, o, "Normal", "NodeNotReady",
		     "Node %s status is now: NodeNotReady", o->name);
	return true;
}

bool set_pod_condition(struct arena *a, CoreV1__PodStatus *status, const char *type,
		       const char *value, const char *reason, const char *message, int64_t now_ns)
{
	CoreV1__PodCondition *c = NULL;

	for (size_t i = 0; i < status->n_conditions; i++)
		if (text_is(status->conditions[i]->type, type))
			c = status->conditions[i];
	if (c == NULL) {
		c = make(a, CoreV1__PodCondition, core_v1__pod_condition);
		c->type = arena_strdup(a, type);
		make_append(a, status, conditions, c);
	}
	if (text_is(c->status, value) && text_is(c->reason, reason))
		return false;
	if (!text_is(c->status, value))
		c->lasttransitiontime = make_time(a, now_ns);
	c->status = arena_strdup(a, value);
	c->reason = reason[0] ? arena_strdup(a, reason) : NULL;
	c->message = message[0] ? arena_strdup(a, message) : NULL;
	return true;
}

/* Services must not lead there. True when there was something to write. */
static bool mark_pods_not_ready(struct view *v, const struct object *node, struct intents *intents)
{
	size_t n, before = intents->count;
	const struct pod_facts *const *pods = view_node_pods(v, node->name, &n);

	for (size_t i = 0; i < n; i++) {
		if (!pods[i]->ready)
			continue;
		if (intents->count >= BATCH_MAX) {
			intend_again(intents, v->now_ns);
			break;
		}

		CoreV1__Pod *pod = changed(pods[i]->object, intents->arena);

		set_pod_condition(intents->arena, pod->status, "Ready", "False", "NodeNotReady", "",
				  v->now_ns);
		intend_update_status(intents, pods[i]->object, &pod->base);
	}
	return intents->count > before;
}

/* --- Taints --------------------------------------------------------------------------------------
 */

static CoreV1__Taint *find_taint(const CoreV1__NodeSpec *spec, const char *key, const char *effect)
{
	for (size_t i = 0; spec != NULL && i < spec->n_taints; i++)
		if (text_is(spec->taints[i]->key, key) && text_is(spec->taints[i]->effect, effect))
			return spec->taints[i];
	return NULL;
}

/* True when something changed. */
static bool set_taint(struct view *v, CoreV1__NodeSpec *spec, const char *key, const char *effect,
		      bool wanted)
{
	CoreV1__Taint *t = find_taint(spec, key, effect);
	size_t kept = 0;

	if ((t != NULL) == wanted)
		return false;
	if (wanted) {
		t = make(v->arena, CoreV1__Taint, core_v1__taint);
		t->key = arena_strdup(v->arena, key);
		t->effect = arena_strdup(v->arena, effect);
		if (strcmp(effect, "NoExecute") == 0)
			t->timeadded = make_time(v->arena, v->now_ns);
		make_append(v->arena, spec, taints, t);
		return true;
	}
	for (size_t i = 0; i < spec->n_taints; i++)
		if (spec->taints[i] != t)
			spec->taints[kept++] = spec->taints[i];
	spec->n_taints = kept;
	return true;
}

/* A zone as it is now, and when pods of one of its nodes were last taken away. */
struct zone {
	size_t ready, unhealthy;
	int64_t last_eviction_ns;
};

static const char *label_or_none(const struct object *node, const char *key)
{
	const char *value = object_label(node, key);

	return value != NULL ? value : "";
}

static bool same_zone(const struct object *a, const struct object *b)
{
	static const char *const keys[] = { "topology.kubernetes.io/region",
					    "topology.kubernetes.io/zone" };

	for (size_t i = 0; i < array_size(keys); i++)
		if (strcmp(label_or_none(a, keys[i]), label_or_none(b, keys[i])) != 0)
			return false;
	return true;
}

static int64_t emptied_ns(const struct node_facts *f)
{
	int64_t last_ns = 0;

	for (size_t i = 0; i < f->n_taints; i++)
		if (strcmp(f->taints[i].effect, "NoExecute") == 0 &&
		    (strcmp(f->taints[i].key, not_ready) == 0 ||
		     strcmp(f->taints[i].key, unreachable) == 0) &&
		    f->taints[i].added_ns > last_ns)
			last_ns = f->taints[i].added_ns;
	return last_ns;
}

/* The node's zone; *ret_any_ready tells of all zones. */
static struct zone look_around(struct view *v, const struct object *self, bool *ret_any_ready)
{
	struct zone z = { 0 };
	size_t n;
	const struct object *const *nodes = view_list(v, "nodes", NULL, &n);

	*ret_any_ready = false;
	for (size_t i = 0; i < n; i++) {
		const struct node_facts *f = nodes[i]->facts.node;

		*ret_any_ready |= f->ready == 1;
		if (!same_zone(self, nodes[i]))
			continue;
		z.ready += f->ready == 1;
		z.unhealthy += f->ready != 1;
		if (nodes[i] != self && emptied_ns(f) > z.last_eviction_ns)
			z.last_eviction_ns = emptied_ns(f);
	}
	return z;
}

/* Between two nodes of the zone that are emptied; 0: none is at all.
 *
 *   all zones down          none: the fault is rather ours
 *   all of this zone down   as usual: the others can take its pods
 *   55 % and three or more  a tenth of that in zones of more than 50 nodes, else none
 */
static int64_t pause_ns(const struct zone *z, bool any_ready)
{
	enum { DISRUPTED_MIN = 3, DISRUPTED_PERCENT = 55, LARGE = 50, SLOWER = 10 };
	size_t n = z->ready + z->unhealthy;

	if (!any_ready)
		return 0;
	if (z->ready == 0 || z->unhealthy < DISRUPTED_MIN ||
	    z->unhealthy * 100 < n * DISRUPTED_PERCENT)
		return NODE_EVICTION_PAUSE_NS;
	return n > LARGE ? SLOWER * NODE_EVICTION_PAUSE_NS : 0;
}

/* Whether this node's pods may be taken away. What was begun goes on, unless all zones are down. */
static bool may_evict(struct view *v, const struct object *node, bool begun,
		      struct intents *intents)
{
	bool any_ready;
	struct zone z = look_around(v, node, &any_ready);
	int64_t pause = pause_ns(&z, any_ready);

	if (begun || !any_ready)
		return any_ready;
	if (pause == 0) {
		intend_again(intents, v->now_ns + NODE_EVICTION_PAUSE_NS);
		return false;
	}
	if (z.last_eviction_ns != 0 && v->now_ns < z.last_eviction_ns + pause) {
		intend_again(intents, z.last_eviction_ns + pause);
		return false;
	}
	return true;
}

static bool taint_for_readiness(struct view *v, const struct object *o, CoreV1__Node *node,
				struct intents *intents)
{
	bool down = condition_is(node, "Ready", "False");
	bool lost = find_condition(node->status, "Ready") != NULL &&
		    condition_is(node, "Ready", "Unknown");
	bool fresh = find_condition(node->status, "Ready") == NULL;
	bool changes = false;

	/* A node that has never spoken is kept free of pods, nothing more. */
	changes |= set_taint(v, node->spec, not_ready, "NoSchedule", down || fresh);
	changes |= set_taint(v, node->spec, unreachable, "NoSchedule", lost);

	bool has = find_taint(node->spec, not_ready, "NoExecute") != NULL ||
		   find_taint(node->spec, unreachable, "NoExecute") != NULL;
	bool evict = (down || lost) && may_evict(v, o, has, intents);

	changes |= set_taint(v, node->spec, not_ready, "NoExecute", evict && down);
	changes |= set_taint(v, node->spec, unreachable, "NoExecute", evict && lost);
	return changes;
}

static bool taint_for_conditions(struct view *v, CoreV1__Node *node)
{
	static const struct {
		const char *condition, *taint;
	} pairs[] = {
		{ "MemoryPressure", "node.kubernetes.io/memory-pressure" },
		{ "DiskPressure", "node.kubernetes.io/disk-pressure" },
		{ "PIDPressure", "node.kubernetes.io/pid-pressure" },
		{ "NetworkUnavailable", "node.kubernetes.io/network-unavailable" },
	};
	bool changes = set_taint(v, node->spec, "node.kubernetes.io/unschedulable", "NoSchedule",
				 node->spec->unschedulable);

	for (size_t i = 0; i < array_size(pairs); i++)
		changes |= set_taint(v, node->spec, pairs[i].taint, "NoSchedule",
				     condition_is(node, pairs[i].condition, "True"));
	return changes;
}

/* --- Evictions ---------------------------------------------------------------------------------
 */

/* How long the pod bears the taint: 0 not at all, -1 for ever, else seconds. */
static int64_t bears(const CoreV1__PodSpec *spec, const struct taint *t)
{
	int64_t seconds = 0;

	for (size_t i = 0; i < spec->n_tolerations; i++) {
		const CoreV1__Toleration *x = spec->tolerations[i];

		if ((!text_empty(x->effect) && !text_is(x->effect, t->effect)) ||
		    (!text_empty(x->key) && !text_is(x->key, t->key)) ||
		    (!text_is(x->operator_, "Exists") && !text_is(x->value, t->value)))
			continue;
		if (!x->has_tolerationseconds)
			return -1;

		/* Of several that match, the shortest counts; below one second is at once. */
		int64_t this_s = x->tolerationseconds;

		if (this_s <= 0)
			return 0;
		seconds = seconds == 0 || this_s < seconds ? this_s : seconds;
	}
	return seconds;
}

/* When the pod has to go; 0: it may stay. */
static int64_t eviction_ns(struct view *v, const struct object *node, const struct pod_facts *p)
{
	const struct node_facts *f = node->facts.node;
	const CoreV1__Pod *pod = NULL;
	int64_t due_ns = 0;

	for (size_t i = 0; i < f->n_taints; i++) {
		if (strcmp(f->taints[i].effect, "NoExecute") != 0)
			continue;
		if (pod == NULL)
			pod = view_message(v, p->object);

		int64_t seconds = bears(pod->spec, &f->taints[i]);
		int64_t added_ns = f->taints[i].added_ns ? f->taints[i].added_ns : v->now_ns;
		int64_t at_ns = added_ns + seconds * NS_PER_S;

		if (seconds >= 0 && (due_ns == 0 || at_ns < due_ns))
			due_ns = at_ns;
	}
	return due_ns;
}

/* The condition first, so that whoever looks at the dying pod sees why. */
static void evict(struct view *v, const struct object *pod, struct intents *intents)
{
	CoreV1__Pod *message = changed(pod, intents->arena);

	if (message->status == NULL)
		message->status = make(intents->arena, CoreV1__PodStatus, core_v1__pod_status);
	if (set_pod_condition(intents->arena, message->status, "DisruptionTarget", "True",
			      "DeletionByTaintManager",
			      "Taint manager: deleting due to NoExecute taint", v->now_ns)) {
		intend_update_status(intents, pod, &message->base);
		return;
	}
	intend_delete(intents, pod, -1, NULL);
	intend_event(intents, component, pod, "Normal", "TaintManagerEviction",
		     "Marking for deletion Pod %s/%s", pod->namespace, pod->name);
}

static bool has_no_execute(const struct object *node)
{
	for (size_t i = 0; i < node->facts.node->n_taints; i++)
		if (strcmp(node->facts.node->taints[i].effect, "NoExecute") == 0)
			return true;
	return false;
}

static void evict_pods(struct view *v, const struct object *node, struct intents *intents)
{
	size_t n;
	const struct pod_facts *const *pods = view_node_pods(v, node->name, &n);

	for (size_t i = 0; i < n; i++) {
		if (!pod_is_active(pods[i]))
			continue;
		if (intents->count >= BATCH_MAX) {
			intend_again(intents, v->now_ns);
			return;
		}

		int64_t due_ns = eviction_ns(v, node, pods[i]);

		if (due_ns == 0)
			continue;
		if (due_ns <= v->now_ns)
			evict(v, pods[i]->object, intents);
		else
			intend_again(intents, due_ns);
	}
}

/* --- The controller ------------------------------------------------------------------------------
 */

static bool is_silent(struct view *v, const struct object *node, struct intents *intents)
{
	int64_t silence_ms =
		v->node_silence_ms ? v->node_silence_ms(v->node_silence_ctx, node->name) : 0;

	int64_t age_ms = (v->now_ns - node->facts.created_ns) / 1000000;

	/* Nobody can have heard of it before it was there. */
	if (silence_ms > age_ms)
		silence_ms = age_ms;
	if (silence_ms >= NODE_SILENCE_MAX_MS)
		return true;
	/* One that is not known to whoever counts is given the whole time again. */
	if (silence_ms < 0)
		silence_ms = 0;
	intend_again(intents, v->now_ns + (NODE_SILENCE_MAX_MS - silence_ms) * 1000000);
	return false;
}

static void reconcile(struct view *v, struct key key, struct intents *intents)
{
	const struct object *o = view_get(v, "nodes", "", key.name);

	if (o == NULL || o->facts.deleted_ns != 0)
		return;

	bool never_spoke =
		find_condition(((const CoreV1__Node *)view_message(v, o))->status, "Ready") == NULL;

	if (!never_spoke && is_silent(v, o, intents)) {
		bool marked = mark_pods_not_ready(v, o, intents);

		if (mark_unknown(v, o, intents) || marked)
			return; /* Taints and evictions follow when that is written. */
	}

	CoreV1__Node *node = changed(o, intents->arena);

	if (node->spec == NULL)
		node->spec = make(intents->arena, CoreV1__NodeSpec, core_v1__node_spec);

	bool changes = taint_for_readiness(v, o, node, intents);

	changes |= taint_for_conditions(v, node);
	if (changes)
		intend_update(intents, o, &node->base);
	else if (has_no_execute(o))
		evict_pods(v, o, intents);
}

static bool is_down(const struct object *node)
{
	return node == NULL || node->facts.node->ready != 1;
}

static void keys_add_down(const struct view *v, struct keys *keys)
{
	size_t n;
	const struct object *const *nodes = view_list(v, "nodes", NULL, &n);

	for (size_t i = 0; i < n; i++)
		if (is_down(nodes[i]))
			keys_add(keys, "", nodes[i]->name);
}

static void on_change(const struct view *v, const struct object *old, const struct object *new,
		      struct keys *keys)
{
	if (change_is_of(old, new, "nodes")) {
		keys_add_object(keys, old, new);
		/* Whether the others may be emptied depends on how many are up. */
		if (is_down(old) != is_down(new))
			keys_add_down(v, keys);
		return;
	}
	if (!change_is_of(old, new, "pods") || new == NULL || !new->facts.pod->scheduled)
		return;

	const struct object *node = view_get(v, "nodes", "", new->facts.pod->node_name);

	/* A pod of a node that is being emptied: new there, or the first step is taken. */
	if (node != NULL &&
	    (has_no_execute(node) || (node->facts.node->ready < 0 && new->facts.pod->ready)))
		keys_add(keys, "", node->name);
}

static void seed(const struct view *v, struct keys *keys)
{
	keys_add_all(keys, v, "nodes", NULL);
}

const struct controller controller_nodelifecycle = {
	.name = "node-controller",
	.on_change = on_change,
	.seed = seed,
	.reconcile = reconcile,
};
