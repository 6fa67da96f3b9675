/* Keeps one pod on every node that should have one.
 *
 *   nodes and pods side by side -> failed and surplus pods go, missing ones are made
 *     -> older templates are replaced -> status, history */
#include "controlplane/controllers/daemonset.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/map.h"
#include "controlplane/scheduler/node_rules.h"

/* --- Nodes and pods side by side -------------------------------------------------- */

static int compare_pods(const void *x, const void *y)
{
	const struct daemon_pod *a = x, *b = y;
	int order = strcmp(a->node, b->node);

	if (order != 0)
		return order;
	/* Assigned before unassigned, then the oldest first. */
	if (a->facts->scheduled != b->facts->scheduled)
		return a->facts->scheduled ? -1 : 1;
	if (a->facts->object->facts.created_ns != b->facts->object->facts.created_ns)
		return a->facts->object->facts.created_ns < b->facts->object->facts.created_ns ? -1
											       : 1;
	return strcmp(a->facts->object->name, b->facts->object->name);
}

static bool has_ended(const struct pod_facts *p)
{
	return p->phase == PHASE_SUCCEEDED || p->phase == PHASE_FAILED;
}

static struct daemon_pod *sort_pods(struct daemon *d, const struct pods *own, size_t *ret_n)
{
	struct daemon_pod *list = arena_array(d->view->arena, struct daemon_pod, own->n + 1);

	*ret_n = 0;
	for (size_t i = 0; i < own->n; i++) {
		const struct pod_facts *f = own->list[i];
		const char *hash = object_label(f->object, DAEMON_HASH_LABEL);
		bool deleted = f->object->facts.deleted_ns != 0;

		/* Somebody else's finalizer may keep it for long. */
		if (deleted && has_ended(f))
			continue;
		list[(*ret_n)++] = (struct daemon_pod){
			.facts = f,
			.node = f->scheduled ? f->node_name : f->pinned_to,
			.new = hash != NULL &&strcmp(hash, d->hash) == 0,
			.gone = deleted,
		};
	}
	if (*ret_n > 1)
		qsort(list, *ret_n, sizeof(*list), compare_pods);
	return list;
}

static void add_node(struct daemon *d, const struct object *node, struct daemon_pod *pods, size_t n)
{
	struct daemon_node *to = &d->nodes[d->n_nodes++];

	*to = (struct daemon_node){ .object = node, .pods = pods, .n_pods = n };
	if (node != NULL)
		daemon_fits(d, node, &to->runs, &to->keeps);
}

/* Both are in the order of names. */
static void merge(struct daemon *d, const struct pods *own)
{
	size_t n_nodes, n_pods, at = 0;
	const struct object *const *nodes = view_list(d->view, "nodes", NULL, &n_nodes);
	struct daemon_pod *pods = sort_pods(d, own, &n_pods);

	d->nodes = arena_array(d->view->arena, struct daemon_node, n_nodes + n_pods + 1);
	for (size_t i = 0; i <= n_nodes; i++) {
		const char *name = i < n_nodes ? nodes[i]->name : NULL;

		while (at < n_pods && (name == NULL || strcmp(pods[at].node, name) < 0)) {
			size_t from = at;

			while (at < n_pods && strcmp(pods[at].node, pods[from].node) == 0)
				at++;
			add_node(d, NULL, &pods[from], at - from);
		}
		if (name == NULL)
			break;

		size_t from = at;

		while (at < n_pods && strcmp(pods[at].node, name) == 0)
			at++;
		add_node(d, nodes[i], &pods[from], at - from);
	}
}

/* --- One node --------------------------------------------------------------------- */

/* Failed pods make room for others, each time a little later. True when one is still there. */
static bool clean_up(struct daemon *d, struct daemon_node *node)
{
	bool waits = false;

	for (size_t i = 0; i < node->n_pods; i++) {
		struct daemon_pod *p = &node->pods[i];
		const struct object *o = p->facts->object;
		int64_t due_ns;
		int32_t failures;

		if (p->gone || !has_ended(p->facts))
			continue;
		failures = daemon_failures(d, p->facts, &due_ns);
		if (p->facts->phase == PHASE_FAILED && due_ns > d->view->now_ns) {
			intend_again(d->intents, due_ns);
			waits = true;
			continue;
		}
		if (p->facts->phase == PHASE_FAILED) {
			node->failures = failures + 1;
			intend_event(d->intents, DAEMON_COMPONENT, d->object, "Warning",
				     "FailedDaemonPod",
				     "Found failed daemon pod %s/%s on node %s, will try to kill "
				     "it",
				     o->namespace, o->name, p->node);
		} else {
			intend_event(d->intents, DAEMON_COMPONENT, d->object, "Normal",
				     "SucceededDaemonPod",
				     "Found succeeded daemon pod %s/%s on node %s, will try to "
				     "delete it",
				     o->namespace, o->name, p->node);
		}
		daemon_delete_pod(d, p);
	}
	return waits;
}

/* Of several running pods the first stays; when surging, the first of each template. */
static void thin_out(struct daemon *d, struct daemon_node *node, bool surges)
{
	bool have[2] = { false, false };

	for (size_t i = 0; i < node->n_pods; i++) {
		struct daemon_pod *p = &node->pods[i];
		int of = surges && p->new;

		if (p->gone || has_ended(p->facts))
			continue;
		if (have[of])
			daemon_delete_pod(d, p);
		have[of] = true;
	}
}

static void manage(struct daemon *d, struct daemon_node *node, bool surges)
{
	bool there = false;

	if (!node->keeps) {
		/* Pods of nodes that are gone belong to the garbage collector of pods. */
		for (size_t i = 0; i < node->n_pods && node->object != NULL; i++)
			daemon_delete_pod(d, &node->pods[i]);
		for (size_t i = 0; i < node->n_pods && node->object == NULL; i++)
			if (!node->pods[i].facts->scheduled)
				daemon_delete_pod(d, &node->pods[i]);
		return;
	}
	clean_up(d, node);
	thin_out(d, node, surges);
	/* One that is on its way out may still run. */
	for (size_t i = 0; i < node->n_pods; i++)
		there = there || !node->pods[i].gone || !has_ended(node->pods[i].facts);
	node->create = node->runs && !there;
}

/* --- Status and history ----------------------------------------------------------- */

static AppsV1__DaemonSetStatus *count(struct daemon *d)
{
	AppsV1__DaemonSetStatus *s =
		make(d->intents->arena, AppsV1__DaemonSetStatus, apps_v1__daemon_set_status);
	int32_t desired = 0, current = 0, misscheduled = 0, ready = 0, available = 0, updated = 0;

	for (size_t i = 0; i < d->n_nodes; i++) {
		const struct daemon_node *n = &d->nodes[i];

		desired += n->runs;
		if (n->n_pods == 0 || n->object == NULL)
			continue;
		current += n->runs;
		misscheduled += !n->runs;
		if (!n->runs)
			continue;
		ready += n->pods[0].facts->ready;
		available += daemon_pod_available(d, &n->pods[0]);
		updated += n->pods[0].new;
	}
	make_set(s, desirednumberscheduled, desired);
	make_set(s, currentnumberscheduled, current);
	make_set(s, numbermisscheduled, misscheduled);
	make_set(s, numberready, ready);
	make_set(s, numberavailable, available);
	make_set(s, numberunavailable, desired - available);
	make_set(s, updatednumberscheduled, updated);
	make_set(s, observedgeneration, d->object->facts.generation);
	return s;
}

static void report(struct daemon *d)
{
	const AppsV1__DaemonSetStatus *before = d->message->status;
	AppsV1__DaemonSetStatus *s = count(d);
	AppsV1__DaemonSet *message;

	if (d->revisions.collisions > 0)
		make_set(s, collisioncount, d->revisions.collisions);
	if (before != NULL) {
		s->n_conditions = before->n_conditions;
		s->conditions = before->conditions;
	}
	if (before != NULL && message_equal(s, before))
		return;
	message = changed(d->object, d->intents->arena);
	message->status = message_copy(s, d->intents->arena);
	intend_update_status(d->intents, d->object, &message->base);
}

static bool is_live(void *ctx, const struct revision *r)
{
	const char *hash = meta_label(r->message->metadata, DAEMON_HASH_LABEL);

	return hash != NULL && map_get(ctx, hash) != NULL;
}

/* Revisions that no pod is of any more, beyond revisionHistoryLimit. */
static void trim_history(struct daemon *d, const struct pods *own)
{
	auto_with(map_fini) struct map hashes = { 0 };

	if (d->revisions.n <= 1)
		return;
	for (size_t i = 0; i < own->n; i++) {
		const char *hash = object_label(own->list[i]->object, DAEMON_HASH_LABEL);

		if (hash != NULL && map_get(&hashes, hash) == NULL)
			map_put(&hashes, hash, (void *)own->list[i]);
	}
	revisions_trim(&d->revisions,
		       d->spec->has_revisionhistorylimit ? d->spec->revisionhistorylimit : 10,
		       is_live, &hashes);
}

/* --- One look --------------------------------------------------------------------- */

static void look_at_nodes(struct daemon *d, const struct pods *own)
{
	bool surges;

	merge(d, own);
	surges = daemon_surges(d);
	for (size_t i = 0; i < d->n_nodes; i++)
		manage(d, &d->nodes[i], surges);
	daemon_roll(d);
	daemon_create_pods(d);
}

static void look(struct view *v, struct key key, const struct refusal *refusal,
		 struct intents *intents)
{
	const struct object *o = view_get(v, DAEMON_RESOURCE, key.namespace, key.name);
	struct label_selector selector;

	if (o == NULL || o->facts.deleted_ns != 0)
		return; /* Its pods belong to the garbage collector now. */

	const AppsV1__DaemonSet *message = view_message(v, o);
	struct daemon d = {
		.view = v,
		.intents = intents,
		.refusal = refusal,
		.object = o,
		.message = message,
		.spec = message->spec,
		.template_ = daemon_template(intents->arena, message->spec),
	};
	struct pods own;

	if (label_selector_of(d.spec->selector, v->arena, &selector, NULL) < 0)
		selector = (struct label_selector){ .nothing = true };
	own = pods_claim(v, intents, o, &selector, NULL);
	if (intents->count > 0)
		return; /* What was adopted is looked at when it is ours. */
	d.revisions = revisions_of(v, intents, o, &selector, d.spec->template_, DAEMON_HASH_LABEL,
				   message->status ? message->status->collisioncount : 0);
	d.hash = text_of(meta_label(d.revisions.update->message->metadata, DAEMON_HASH_LABEL));
	trim_history(&d, &own);
	revisions_write(&d.revisions);
	look_at_nodes(&d, &own);
	report(&d);
	if (d.again_ns != 0)
		intend_again(intents, d.again_ns);
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

/* --- What wakes it ---------------------------------------------------------------- */

/* A node's labels and taints are all that decides; its state changes much more often. */
static void on_node(const struct view *v, const struct object *old, const struct object *new,
		    struct keys *keys)
{
	if (old != NULL && new != NULL && !node_rules_move(old, new))
		return;
	keys_add_all(keys, v, DAEMON_RESOURCE, NULL);
}

static void on_change(const struct view *v, const struct object *old, const struct object *new,
		      struct keys *keys)
{
	if (change_is_of(old, new, DAEMON_RESOURCE)) {
		keys_add_object(keys, old, new);
	} else if (change_is_of(old, new, "nodes")) {
		on_node(v, old, new, keys);
	} else if (change_is_of(old, new, "pods")) {
		if (old != NULL)
			keys_add_owner(keys, old, "DaemonSet");
		if (new != NULL)
			keys_add_owner(keys, new, "DaemonSet");
		/* An orphan: some set may want it, and only its own look at it can tell. */
		if (new != NULL && object_controller(new) == NULL &&new->facts.n_labels > 0 &&
		    new->facts.deleted_ns == 0)
			keys_add_all(keys, v, DAEMON_RESOURCE, new->namespace);
	} else if (change_is_of(old, new, "controllerrevisions.apps")) {
		keys_add_owner(keys, new ? new : old, "DaemonSet");
	}
}

static void seed(const struct view *v, struct keys *keys)
{
	keys_add_all(keys, v, DAEMON_RESOURCE, NULL);
}

const struct controller controller_daemonset = {
	.name = DAEMON_COMPONENT,
	.on_change = on_change,
	.seed = seed,
	.reconcile = reconcile,
	.refused = refused,
};
