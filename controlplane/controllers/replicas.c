#include "controlplane/controllers/replicas.h"

#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/map.h"

static const char failure_type[] = "ReplicaFailure";

static size_t wanted(const struct replicas *r)
{
	return r->set->spec->replicas > 0 ? (size_t)r->set->spec->replicas : 0;
}

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* --- Too many ------------------------------------------------------------------ */

/* Pods of all sets that share the controller of this one: the old and the new of a Deployment
 * crowd the same nodes. */
static struct pods family_of(struct view *v, const struct replicas *r, const struct pods *own)
{
	const struct owner_ref *owner = object_controller(r->object);
	struct pods family = *own;
	size_t n_sets;

	if (owner == NULL)
		return family;

	const struct object *const *sets =
		view_owned(v, r->object->kind->resource, owner->uid, &n_sets);

	for (size_t i = 0; i < n_sets; i++) {
		size_t n;

		if (strcmp(sets[i]->facts.uid, r->object->facts.uid) == 0)
			continue;

		const struct pod_facts *const *pods = view_pods_of(v, sets[i]->facts.uid, &n);
		const struct pod_facts **grown =
			arena_array(v->arena, const struct pod_facts *, family.n + n + 1);

		if (family.n > 0)
			memcpy(grown, family.list, family.n * sizeof(*grown));
		if (n > 0)
			memcpy(grown + family.n, pods, n * sizeof(*grown));
		family = (struct pods){ .list = grown, .n = family.n + n };
	}
	return family;
}

static void delete_pods(struct view *v, struct intents *intents, const struct replicas *r,
			const struct pods *own, size_t excess)
{
	const struct pod_facts **active = arena_array(v->arena, const struct pod_facts *, own->n);
	struct pods family = family_of(v, r, own);
	size_t n = 0, gone;

	/* Who was adopted just now is looked at the next time. */
	for (size_t i = 0; i < own->n - own->n_adopted; i++)
		if (pod_is_active(own->list[i]))
			active[n++] = own->list[i];
	pods_rank(v, active, n, &family);
	gone = smaller(smaller(excess, n), BATCH_MAX);
	for (size_t i = 0; i < gone; i++) {
		intend_delete(intents, active[i]->object, -1, NULL);
		pods_tell(intents, r->component, r->object, i, gone, "SuccessfulDelete", "Deleted",
			  active[i]->object->name);
	}
}

/* --- Too few -------------------------------------------------------------------- */

static CoreV1__Pod *make_pod(struct view *v, const struct replicas *r, size_t index)
{
	CoreV1__Pod *pod = pods_make(v->arena, r->object, r->set->spec->template_);
	MetaV1__ObjectMeta *meta = pod->metadata;

	meta->generatename = arena_printf(v->arena, "%s-", r->object->name);
	meta->name = free_name(v, v->arena, "pods", r->object->namespace, meta->generatename,
			       r->object->facts.uid, index);
	return pod;
}

static void create_pods(struct view *v, struct intents *intents, const struct replicas *r,
			size_t missing)
{
	auto_with(map_fini) struct map names = { 0 };
	size_t n = smaller(missing, BATCH_MAX);

	for (size_t i = 0, index = 0; i < n; i++) {
		CoreV1__Pod *pod;

		do
			pod = make_pod(v, r, index++);
		while (map_get(&names, pod->metadata->name) != NULL);
		map_put(&names, pod->metadata->name, pod);
		intend_create(intents, "pods", r->object->namespace, &pod->base);
		pods_tell(intents, r->component, r->object, i, n, "SuccessfulCreate", "Created",
			  pod->metadata->name);
	}
}

/* --- Status ----------------------------------------------------------------------- */

static bool has_template_labels(const struct object *pod, const MetaV1__ObjectMeta *template)
{
	for (size_t i = 0; template != NULL && i < template->n_labels; i++) {
		const char *value = object_label(pod, text_of(template->labels[i]->key));

		if (value == NULL || !text_is(template->labels[i]->value, value))
			return false;
	}
	return true;
}

static AppsV1__ReplicaSetStatus *count(struct view *v, struct intents *intents,
				       const struct replicas *r, const struct pods *own)
{
	AppsV1__ReplicaSetStatus *s =
		make(intents->arena, AppsV1__ReplicaSetStatus, apps_v1__replica_set_status);
	const AppsV1__ReplicaSetSpec *spec = r->set->spec;
	int32_t replicas = 0, labeled = 0, ready = 0, available = 0, terminating = 0;
	int64_t again_ns = 0;

	for (size_t i = 0; i < own->n; i++) {
		const struct pod_facts *p = own->list[i];

		terminating += p->object->facts.deleted_ns != 0 && p->phase != PHASE_SUCCEEDED &&
			       p->phase != PHASE_FAILED;
		if (!pod_is_active(p))
			continue;
		replicas++;
		labeled += has_template_labels(p->object, spec->template_->metadata);
		ready += p->ready;
		available += pod_is_available(p, spec->minreadyseconds, v->now_ns, &again_ns);
	}
	if (again_ns != 0)
		intend_again(intents, again_ns);
	make_set(s, replicas, replicas);
	make_set(s, fullylabeledreplicas, labeled);
	make_set(s, readyreplicas, ready);
	make_set(s, availablereplicas, available);
	make_set(s, observedgeneration, r->object->facts.generation);
	if (r->counts_terminating)
		make_set(s, terminatingreplicas, terminating);
	return s;
}

/* The failure stays as it was first told: its message names the pod of one attempt. */
static void report_failure(struct view *v, struct arena *a, AppsV1__ReplicaSetStatus *s,
			   const AppsV1__ReplicaSetStatus *before, const struct refusal *refusal,
			   bool too_few)
{
	bool known = false;

	for (size_t i = 0; before != NULL && i < before->n_conditions; i++) {
		bool is_failure = text_is(before->conditions[i]->type, failure_type);

		known = known || is_failure;
		if (!is_failure || refusal != NULL)
			make_append(a, s, conditions, before->conditions[i]);
	}
	if (refusal == NULL || known)
		return;

	AppsV1__ReplicaSetCondition *c =
		make(a, AppsV1__ReplicaSetCondition, apps_v1__replica_set_condition);

	c->type = arena_strdup(a, failure_type);
	c->status = arena_strdup(a, "True");
	c->reason = arena_strdup(a, too_few ? "FailedCreate" : "FailedDelete");
	c->message = arena_strdup(a, refusal->message);
	c->lasttransitiontime = make_time(a, v->now_ns);
	make_append(a, s, conditions, c);
}

static void report(struct view *v, struct intents *intents, const struct replicas *r,
		   const struct pods *own, const struct refusal *refusal, bool too_few)
{
	const AppsV1__ReplicaSetStatus *before = r->set->status;
	AppsV1__ReplicaSetStatus *s = count(v, intents, r, own);

	report_failure(v, intents->arena, s, before, refusal, too_few);
	if (before == NULL || !message_equal(s, before))
		r->write_status(intents, r->object, s);
}

void replicas_keep(struct view *v, const struct replicas *r, const struct refusal *refusal,
		   struct intents *intents)
{
	struct pods own = pods_claim(v, intents, r->object, &r->selector, NULL);
	size_t active = 0, want = wanted(r);

	for (size_t i = 0; i < own.n; i++)
		active += pod_is_active(own.list[i]);

	size_t missing = active < want ? want - active : 0;

	/* What was refused is tried again with the next look; what would have passed is not lost.
	 */
	if (refusal != NULL)
		missing = smaller(missing, refusal->creates_before);
	if (missing > 0)
		create_pods(v, intents, r, missing);
	if (active > want && refusal == NULL)
		delete_pods(v, intents, r, &own, active - want);
	report(v, intents, r, &own, refusal, active < want);
}

/* --- What wakes it ------------------------------------------------------------------ */

void replicas_on_change(const struct view *v, const struct object *old, const struct object *new,
			const char *resource, const char *kind, struct keys *keys)
{
	if (change_is_of(old, new, resource)) {
		keys_add_object(keys, old, new);
		return;
	}
	if (!change_is_of(old, new, "pods"))
		return;
	if (old != NULL)
		keys_add_owner(keys, old, kind);
	if (new == NULL)
		return;
	keys_add_owner(keys, new, kind);
	/* An orphan: some set may want it, and only its own look at it can tell. */
	if (object_controller(new) == NULL && new->facts.n_labels > 0 && new->facts.deleted_ns == 0)
		keys_add_all(keys, v, resource, new->namespace);
}
