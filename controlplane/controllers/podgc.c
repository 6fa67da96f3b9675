/* Pods that nobody will ever finish: those of nodes that are gone, those to be
 * deleted of nodes that are out of service, those to be deleted that never ran, and the oldest of
 * too many that have ended. */
#include <stdlib.h>
#include <string.h>

#include "controlplane/controllers/nodes.h"

enum { FINISHED_MAX = 12500 };

/* Keys: a pod, or ("", NODE), or the one for finished pods. */
static const char finished_key[] = "/finished";

static bool is_finished(const struct object *pod)
{
	enum pod_phase phase = pod->facts.pod->phase;

	return phase == PHASE_SUCCEEDED || phase == PHASE_FAILED;
}

/* A pod of a node that is gone has failed; then it goes, without asking anybody for time. */
static void drop_lost(struct view *v, const struct object *pod, struct intents *intents)
{
	struct arena *a = intents->arena;
	CoreV1__Pod *message;

	if (is_finished(pod)) {
		intend_delete(intents, pod, 0, NULL);
		return;
	}
	message = changed(pod, a);
	if (message->status == NULL)
		message->status = make(a, CoreV1__PodStatus, core_v1__pod_status);
	set_pod_condition(a, message->status, "DisruptionTarget", "True", "DeletionByPodGC",
			  "PodGC: node no longer exists", v->now_ns);
	message->status->phase = arena_strdup(a, "Failed");
	intend_update_status(intents, pod, &message->base);
}

/* It never runs: who holds it by a finalizer learns that it has ended. */
static void fail_unscheduled(struct intents *intents, const struct object *pod)
{
	CoreV1__Pod *message = changed(pod, intents->arena);

	if (message->status == NULL)
		message->status = make(intents->arena, CoreV1__PodStatus, core_v1__pod_status);
	message->status->phase = arena_strdup(intents->arena, "Failed");
	intend_update_status(intents, pod, &message->base);
}

/* Somebody says that the machine is off for good, and it does not say otherwise: nothing runs there
 * whose end would have to be waited for. */
static bool is_out_of_service(const struct object *node)
{
	const struct node_facts *f = node != NULL ? node->facts.node : NULL;

	for (size_t i = 0; f != NULL && f->ready != 1 && i < f->n_taints; i++)
		if (strcmp(f->taints[i].key, "node.kubernetes.io/out-of-service") == 0)
			return true;
	return false;
}

/* A pod to be deleted of a node that is out of service. */
static void drop_stopped(struct view *v, const struct object *pod, struct intents *intents)
{
	CoreV1__Pod *message;

	if (is_finished(pod)) {
		intend_delete(intents, pod, 0, NULL);
		return;
	}
	message = changed(pod, intents->arena);
	if (message->status == NULL)
		message->status = make(intents->arena, CoreV1__PodStatus, core_v1__pod_status);
	message->status->phase = arena_strdup(intents->arena, "Failed");
	intend_update_status(intents, pod, &message->base);
}

static void sweep_node(struct view *v, const char *name, struct intents *intents)
{
	size_t n, swept = 0;
	const struct pod_facts *const *pods = view_node_pods(v, name, &n);
	const struct object *node = view_get(v, "nodes", "", name);
	bool stopped = is_out_of_service(node);

	for (size_t i = 0; i < n && (node == NULL || stopped); i++) {
		if (stopped && pods[i]->object->facts.deleted_ns == 0)
			continue;
		if (swept++ == BATCH_MAX) {
			intend_again(intents, v->now_ns);
			break;
		}
		if (stopped)
			drop_stopped(v, pods[i]->object, intents);
		else
			drop_lost(v, pods[i]->object, intents);
	}
}

static int compare_age(const void *x, const void *y)
{
	const struct object *a = *(const struct object *const *)x;
	const struct object *b = *(const struct object *const *)y;

	return a->facts.created_ns < b->facts.created_ns
		       ? -1
		       : a->facts.created_ns > b->facts.created_ns;
}

static void sweep_finished(struct view *v, struct intents *intents)
{
	size_t n_all, n = 0;
	const struct object *const *all = view_list(v, "pods", NULL, &n_all);
	const struct object **finished = arena_array(v->arena, const struct object *, n_all + 1);

	for (size_t i = 0; i < n_all; i++)
		if (is_finished(all[i]))
			finished[n++] = all[i];
	if (n <= FINISHED_MAX)
		return;
	qsort(finished, n, sizeof(*finished), compare_age);
	for (size_t i = 0; i < n - FINISHED_MAX && i < BATCH_MAX; i++)
		intend_delete(intents, finished[i], 0, NULL);
}

static void reconcile(struct view *v, struct key key, struct intents *intents)
{
	if (strcmp(key.name, finished_key) == 0) {
		sweep_finished(v, intents);
		return;
	}
	if (key.namespace[0] == '\0') {
		sweep_node(v, key.name, intents);
		return;
	}

	const struct object *pod = view_get(v, "pods", key.namespace, key.name);

	if (pod == NULL || pod->facts.deleted_ns == 0 || pod->facts.pod->scheduled)
		return;
	if (pod->facts.n_finalizers == 0)
		intend_delete(intents, pod, 0, NULL);
	else if (!is_finished(pod))
		fail_unscheduled(intents, pod);
}

static void on_change(const struct view *v, const struct object *old, const struct object *new,
		      struct keys *keys)
{
	if (change_is_of(old, new, "nodes")) {
		if (new == NULL || is_out_of_service(new))
			keys_add(keys, "", (new != NULL ? new : old)->name);
		return;
	}
	if (!change_is_of(old, new, "pods") || new == NULL)
		return;
	if (new->facts.deleted_ns != 0 && !new->facts.pod->scheduled)
		keys_add(keys, new->namespace, new->name);

	const struct object *node = new->facts.pod->scheduled
					    ? view_get(v, "nodes", "", new->facts.pod->node_name)
					    : NULL;

	if (new->facts.pod->scheduled &&
	    (node == NULL || (new->facts.deleted_ns != 0 && is_out_of_service(node))))
		keys_add(keys, "", new->facts.pod->node_name);
	/* Counting all of them is worth it only now and then. */
	if (is_finished(new) && (old == NULL || !is_finished(old)) && new->revision % 64 == 0)
		keys_add(keys, "", finished_key);
}

static void seed(const struct view *v, struct keys *keys)
{
	size_t n;
	const struct object *const *pods = view_list(v, "pods", NULL, &n);

	keys_add(keys, "", finished_key);
	for (size_t i = 0; i < n; i++)
		on_change(v, NULL, pods[i], keys);
}

const struct controller controller_podgc = {
	.name = "pod-garbage-collector",
	.on_change = on_change,
	.seed = seed,
	.reconcile = reconcile,
};
