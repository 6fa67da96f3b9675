/* The pods of a DaemonSet: where they fit, and what they are made of. */
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/map.h"
#include "controlplane/controllers/daemonset.h"
#include "controlplane/scheduler/node_rules.h"

/* How often pods failed on the pod's node right before it: what the next back-off grows by. */
static const char failures_key[] = "sampan.io/daemon-failures";
static const char generation_key[] = "deprecated.daemonset.template.generation";

#define BACKOFF_FIRST_NS (1 * NS_PER_S)
#define BACKOFF_MAX_NS (900 * NS_PER_S)
/* After so long a pod that failed is the first one again. */
#define GOOD_RUN_NS (1800 * NS_PER_S)

enum { FAILURES_MAX = 20 };

/* --- Where ------------------------------------------------------------------------ */

static void tolerate(struct arena *a, CoreV1__PodSpec *spec, const char *key, const char *effect)
{
	CoreV1__Toleration *t;

	for (size_t i = 0; i < spec->n_tolerations; i++)
		if (text_is(spec->tolerations[i]->key, key) &&
		    text_is(spec->tolerations[i]->operator_, "Exists") &&
		    text_is(spec->tolerations[i]->effect, effect) &&
		    !spec->tolerations[i]->has_tolerationseconds)
			return;
	t = make(a, CoreV1__Toleration, core_v1__toleration);
	t->key = arena_strdup(a, key);
	t->operator_ = arena_strdup(a, "Exists");
	t->effect = arena_strdup(a, effect);
	make_append(a, spec, tolerations, t);
}

CoreV1__PodTemplateSpec *daemon_template(struct arena *a, const AppsV1__DaemonSetSpec *spec)
{
	static const char *const pressures[] = { "disk-pressure", "memory-pressure", "pid-pressure",
						 "unschedulable" };
	CoreV1__PodTemplateSpec *t = message_copy(spec->template_, a);

	if (t->spec == NULL)
		t->spec = make(a, CoreV1__PodSpec, core_v1__pod_spec);
	tolerate(a, t->spec, "node.kubernetes.io/not-ready", "NoExecute");
	tolerate(a, t->spec, "node.kubernetes.io/unreachable", "NoExecute");
	for (size_t i = 0; i < array_size(pressures); i++)
		tolerate(a, t->spec, arena_printf(a, "node.kubernetes.io/%s", pressures[i]),
			 "NoSchedule");
	if (t->spec->hostnetwork)
		tolerate(a, t->spec, "node.kubernetes.io/network-unavailable", "NoSchedule");
	return t;
}

void daemon_fits(const struct daemon *d, const struct object *node, bool *ret_runs, bool *ret_keeps)
{
	const CoreV1__PodSpec *spec = d->template_->spec;

	*ret_runs = *ret_keeps = false;
	if (!text_empty(spec->nodename) && !text_is(spec->nodename, node->name))
		return;
	if (!node_rules_affinity(spec, node))
		return;
	*ret_runs = node_rules_taints(spec, node->facts.node);
	*ret_keeps = node_rules_untolerated(spec, node->facts.node, "NoExecute") == 0;
}

/* --- Making them ------------------------------------------------------------------ */

/* Only this node will do: the scheduler binds it there as soon as there is room. */
static void pin(struct arena *a, CoreV1__PodSpec *spec, const char *node)
{
	CoreV1__NodeSelectorRequirement *r =
		make(a, CoreV1__NodeSelectorRequirement, core_v1__node_selector_requirement);
	CoreV1__NodeSelectorTerm *term =
		make(a, CoreV1__NodeSelectorTerm, core_v1__node_selector_term);
	CoreV1__NodeSelector *required = make(a, CoreV1__NodeSelector, core_v1__node_selector);

	r->key = arena_strdup(a, "metadata.name");
	r->operator_ = arena_strdup(a, "In");
	make_append(a, r, values, arena_strdup(a, node));
	make_append(a, term, matchfields, r);
	make_append(a, required, nodeselectorterms, term);
	if (spec->affinity == NULL)
		spec->affinity = make(a, CoreV1__Affinity, core_v1__affinity);
	if (spec->affinity->nodeaffinity == NULL)
		spec->affinity->nodeaffinity =
			make(a, CoreV1__NodeAffinity, core_v1__node_affinity);
	/* What else was required is what the node was chosen by. */
	spec->affinity->nodeaffinity->requiredduringschedulingignoredduringexecution = required;
	spec->nodename = NULL;
}

static CoreV1__Pod *make_pod(struct daemon *d, const struct daemon_node *node)
{
	struct arena *a = d->intents->arena;
	CoreV1__Pod *pod = pods_make(a, d->object, d->template_);
	const char *generation = meta_annotation(d->message->metadata, generation_key);

	pod->metadata->generatename = arena_printf(a, "%s-", d->object->name);
	meta_set_label(a, pod->metadata, DAEMON_HASH_LABEL, d->hash);
	if (generation != NULL)
		meta_set_label(a, pod->metadata, "pod-template-generation", generation);
	if (node->failures > 0)
		meta_set_annotation(a, pod->metadata, failures_key,
				    arena_printf(a, "%d", node->failures));
	pin(a, pod->spec, node->object->name);
	return pod;
}

void daemon_create_pods(struct daemon *d)
{
	auto_with(map_fini) struct map names = { 0 };
	size_t n = 0, i = 0, max = DAEMON_BURST, try = 0;

	/* What was refused is tried again after the back-off; what would have passed is not lost.
	 */
	if (d->refusal != NULL && d->refusal->creates_before < max)
		max = d->refusal->creates_before;
	for (size_t k = 0; k < d->n_nodes; k++)
		n += d->nodes[k].create;
	n = n < max ? n : max;
	for (size_t k = 0; k < d->n_nodes && i < n; k++) {
		CoreV1__Pod *pod;

		if (!d->nodes[k].create)
			continue;
		pod = make_pod(d, &d->nodes[k]);
		do
			pod->metadata->name =
				free_name(d->view, d->intents->arena, "pods", d->object->namespace,
					  pod->metadata->generatename, d->object->facts.uid, try++);
		while (map_get(&names, pod->metadata->name) != NULL);
		map_put(&names, pod->metadata->name, pod);
		intend_create(d->intents, "pods", d->object->namespace, &pod->base);
		pods_tell(d->intents, DAEMON_COMPONENT, d->object, i++, n, "SuccessfulCreate",
			  "Created", pod->metadata->name);
	}
}

void daemon_delete_pod(struct daemon *d, struct daemon_pod *p)
{
	if (p->gone || d->intents->count >= BATCH_MAX)
		return;
	p->gone = true;
	intend_delete(d->intents, p->facts->object, -1, NULL);
	pods_tell(d->intents, DAEMON_COMPONENT, d->object, d->n_deleted++, SIZE_MAX,
		  "SuccessfulDelete", "Deleted", p->facts->object->name);
}

/* --- Failures --------------------------------------------------------------------- */

int32_t daemon_failures(const struct daemon *d, const struct pod_facts *p, int64_t *ret_due_ns)
{
	const CoreV1__Pod *pod = view_message(d->view, p->object);
	long before = strtol(text_of(meta_annotation(pod->metadata, failures_key)), NULL, 10);
	int64_t created_ns = p->object->facts.created_ns;
	int64_t end_ns = p->finished_ns != 0 ? p->finished_ns : created_ns;
	int64_t wait_ns;

	if (before < 0 || end_ns - created_ns > GOOD_RUN_NS)
		before = 0;
	if (before > FAILURES_MAX)
		before = FAILURES_MAX;
	wait_ns = BACKOFF_FIRST_NS << before;
	*ret_due_ns = end_ns + (wait_ns < BACKOFF_MAX_NS ? wait_ns : BACKOFF_MAX_NS);
	return (int32_t)before;
}
