/* Pods with names and an order.
 *
 * A look goes through the ordinals upwards and does the first thing that is to
 * be done; when order matters (OrderedReady) it ends there, and also at the first
 * pod that is not yet as it should be. Only when all of that holds are pods beyond
 * the end removed, from the highest down, and only then pods of an old revision
 * replaced, from the highest down to the partition. */
#include "controlplane/controllers/statefulset.h"

#include <stdlib.h>
#include <string.h>

static const char resource[] = "statefulsets.apps";
const char statefulset_component[] = "statefulset-controller";

/* --- What there is ------------------------------------------------------------------- */

int32_t first_ordinal(const AppsV1__StatefulSetSpec *spec)
{
	return spec->ordinals != NULL ? spec->ordinals->start : 0;
}

static bool may_adopt(const struct object *set, const struct object *pod)
{
	return ordinal_of(set, pod->name) >= 0;
}

static int compare_descending(const void *x, const void *y)
{
	const struct member *a = x, *b = y;

	return a->ordinal > b->ordinal ? -1 : a->ordinal < b->ordinal;
}

static void sort_members(struct ordinals *o)
{
	int32_t start = first_ordinal(o->set->spec);

	o->n_replicas = o->set->spec->replicas > 0 ? (size_t)o->set->spec->replicas : 0;
	o->replicas = arena_array(o->view->arena, struct member, o->n_replicas + 1);
	o->condemned = arena_array(o->view->arena, struct member, o->pods.n + 1);
	for (size_t i = 0; i < o->n_replicas; i++)
		o->replicas[i].ordinal = start + (int32_t)i;
	for (size_t i = 0; i < o->pods.n; i++) {
		struct member m = {
			.ordinal = ordinal_of(o->object, o->pods.list[i]->object->name),
			.pod = o->pods.list[i],
			.written = i >= o->pods.n - o->pods.n_adopted,
		};

		if (m.ordinal < 0)
			continue;
		if (m.ordinal >= start && (size_t)(m.ordinal - start) < o->n_replicas)
			o->replicas[m.ordinal - start] = m;
		else
			o->condemned[o->n_condemned++] = m;
	}
	if (o->n_condemned > 0)
		qsort(o->condemned, o->n_condemned, sizeof(*o->condemned), compare_descending);
}

static void find_revisions(struct ordinals *o, const struct label_selector *selector)
{
	const AppsV1__StatefulSetStatus *s = o->set->status;

	o->revisions =
		revisions_of(o->view, o->intents, o->object, selector, o->set->spec->template_,
			     "controller.kubernetes.io/hash", s ? s->collisioncount : 0);
	o->update = o->revisions.update;
	o->current = revisions_find(&o->revisions, s ? text_of(s->currentrevision) : "");
	if (o->current == NULL || revision_template(&o->revisions, o->current) == NULL)
		o->current = o->update;
}

/* The first that is not as it should be, the lowest ordinal first: it alone may be removed while
 * others are waited for. */
static const struct member *first_unhealthy(const struct ordinals *o)
{
	for (size_t i = 0; i < o->n_replicas; i++)
		if (!member_is_healthy(&o->replicas[i]))
			return &o->replicas[i];
	for (size_t i = o->n_condemned; i > 0; i--)
		if (!member_is_healthy(&o->condemned[i - 1]))
			return &o->condemned[i - 1];
	return NULL;
}

/* --- One step after the other ----------------------------------------------------------- */

static bool serves(struct ordinals *o, const struct member *m)
{
	return member_is_healthy(m) && member_is_available(o, m);
}

static bool is_finished(const struct pod_facts *pod)
{
	return pod->phase == PHASE_SUCCEEDED || pod->phase == PHASE_FAILED;
}

/* Its successor is made when it is gone. */
static void remove_finished(struct ordinals *o, struct member *m)
{
	bool failed = m->pod->phase == PHASE_FAILED;

	if (m->pod->object->facts.deleted_ns != 0)
		return;
	intend_event(o->intents, statefulset_component, o->object, failed ? "Warning" : "Normal",
		     failed ? "RecreatingFailedPod" : "RecreatingTerminatedPod",
		     "StatefulSet %s/%s is recreating %s Pod %s", o->object->namespace,
		     o->object->name, failed ? "failed" : "terminated", m->pod->object->name);
	member_delete(o, m);
}

/* True: nothing else is to be done before this one is as it should be. */
static bool keep(struct ordinals *o, struct member *m)
{
	if (m->pod == NULL) {
		if (member_may_come(o, m))
			member_create(o, m);
		return true;
	}
	if (is_finished(m->pod)) {
		remove_finished(o, m);
		return true;
	}
	member_mend(o, m, false);
	return !serves(o, m);
}

/* True: wait. */
static bool keep_all(struct ordinals *o)
{
	for (size_t i = 0; i < o->n_replicas; i++)
		if (keep(o, &o->replicas[i]) && o->ordered)
			return true;
	return false;
}

/* True: wait. */
static bool remove_beyond(struct ordinals *o)
{
	const struct member *sick = first_unhealthy(o);

	for (size_t i = 0; i < o->n_condemned; i++)
		member_mend(o, &o->condemned[i], true);
	for (size_t i = 0; i < o->n_condemned; i++) {
		struct member *m = &o->condemned[i];
		bool leaves = m->pod->object->facts.deleted_ns != 0;

		if (!leaves && !(o->ordered && m != sick && !serves(o, m)))
			member_delete(o, m);
		if (o->ordered)
			return true;
	}
	return false;
}

/* --- Replacing the old ------------------------------------------------------------------ */

static bool is_old(const struct ordinals *o, const struct member *m)
{
	return strcmp(member_revision(m), revision_name(o->update)) != 0;
}

/* A finished one is removed anyway. */
static bool is_leaving(const struct member *m)
{
	return m->pod == NULL || m->pod->object->facts.deleted_ns != 0 || is_finished(m->pod);
}

/* Several at once: so many as may be missing. */
static void replace_several(struct ordinals *o, size_t partition, int32_t may_miss)
{
	for (size_t i = 0; i < o->n_replicas; i++)
		may_miss -= !serves(o, &o->replicas[i]);
	for (size_t i = o->n_replicas; i > partition && may_miss > 0; i--) {
		if (!is_old(o, &o->replicas[i - 1]) || is_leaving(&o->replicas[i - 1]))
			continue;
		member_delete(o, &o->replicas[i - 1]);
		may_miss--;
	}
}

static void replace_old(struct ordinals *o)
{
	const AppsV1__StatefulSetUpdateStrategy *s = o->set->spec->updatestrategy;
	const AppsV1__RollingUpdateStatefulSetStrategy *rolling = s ? s->rollingupdate : NULL;
	size_t partition = rolling && rolling->partition > 0 ? (size_t)rolling->partition : 0;

	if (s != NULL && text_is(s->type, "OnDelete"))
		return;
	if (rolling != NULL && rolling->maxunavailable != NULL) {
		int32_t may_miss = scaled(rolling->maxunavailable, o->set->spec->replicas, true);

		replace_several(o, partition, may_miss > 0 ? may_miss : 1);
		return;
	}
	for (size_t i = o->n_replicas; i > partition; i--) {
		struct member *m = &o->replicas[i - 1];

		if (is_old(o, m) && !is_leaving(m)) {
			member_delete(o, m);
			return;
		}
		if (!serves(o, m))
			return; /* One at a time. */
	}
}

/* --- The whole ------------------------------------------------------------------------------ */

static bool is_live(void *ctx, const struct revision *revision)
{
	const struct ordinals *o = ctx;

	if (revision == o->current || revision == o->update)
		return true;
	for (size_t i = 0; i < o->pods.n; i++)
		if (strcmp(member_revision(&(struct member){ .pod = o->pods.list[i] }),
			   revision_name(revision)) == 0)
			return true;
	return false;
}

static void look(struct view *v, struct key key, const struct refusal *refusal,
		 struct intents *intents)
{
	const struct object *object = view_get(v, resource, key.namespace, key.name);
	struct label_selector selector;

	if (object == NULL || object->facts.deleted_ns != 0)
		return; /* Its pods belong to the garbage collector now. */

	struct ordinals o = {
		.view = v,
		.intents = intents,
		.object = object,
		.set = view_message(v, object),
		.refusal = refusal,
	};

	if (label_selector_of(o.set->spec->selector, v->arena, &selector, NULL) < 0)
		selector = (struct label_selector){ .nothing = true };
	o.ordered = !text_is(o.set->spec->podmanagementpolicy, "Parallel");
	o.pods = pods_claim(v, intents, object, &selector,
			    &(struct claim){ .may_adopt = may_adopt });
	find_revisions(&o, &selector);
	sort_members(&o);
	revisions_write(&o.revisions);
	o.created = o.update->object == NULL;
	if (!keep_all(&o) && !remove_beyond(&o))
		replace_old(&o);
	revisions_trim(&o.revisions, o.set->spec->revisionhistorylimit, is_live, &o);
	statefulset_report(&o);
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

static void on_change(const struct view *v, const struct object *old, const struct object *new,
		      struct keys *keys)
{
	if (change_is_of(old, new, "persistentvolumeclaims")) {
		/* A pod may wait for the claim of its predecessor to go. */
		if (new == NULL)
			keys_add_all(keys, v, resource, old->namespace);
	} else if (change_is_of(old, new, resource)) {
		keys_add_object(keys, old, new);
	} else if (change_is_of(old, new, "pods") ||
		   change_is_of(old, new, "controllerrevisions.apps")) {
		if (old != NULL)
			keys_add_owner(keys, old, "StatefulSet");
		if (new != NULL)
			keys_add_owner(keys, new, "StatefulSet");
		if (new != NULL && object_controller(new) == NULL &&new->facts.n_labels > 0)
			keys_add_all(keys, v, resource, new->namespace);
	}
}

static void seed(const struct view *v, struct keys *keys)
{
	keys_add_all(keys, v, resource, NULL);
}

const struct controller controller_statefulset = {
	.name = "statefulset-controller",
	.on_change = on_change,
	.seed = seed,
	.reconcile = reconcile,
	.refused = refused,
};
