#include "controlplane/controllers/pods.h"

static void adopt(struct intents *intents, const struct object *owner, const struct object *pod,
		  const struct claim *rules)
{
	CoreV1__Pod *message = changed(pod, intents->arena);

	make_append(intents->arena, message->metadata, ownerreferences,
		    make_owner(intents->arena, owner));
	if (rules->finalizer != NULL && !meta_has_finalizer(message->metadata, rules->finalizer))
		make_append(intents->arena, message->metadata, finalizers,
			    arena_strdup(intents->arena, rules->finalizer));
	intend_update(intents, pod, &message->base);
}

static void release(struct intents *intents, const struct object *owner, const struct object *pod,
		    const struct claim *rules)
{
	CoreV1__Pod *message = changed(pod, intents->arena);

	remove_owner(message->metadata, owner->facts.uid);
	if (rules->finalizer != NULL)
		meta_remove_finalizer(message->metadata, rules->finalizer);
	intend_update(intents, pod, &message->base);
}

static bool may_adopt(const struct claim *rules, const struct object *owner,
		      const struct label_selector *selector, const struct pod_facts *pod)
{
	if (object_controller(pod->object) != NULL || pod->object->facts.deleted_ns != 0 ||
	    (!rules->finished_too && !pod_is_active(pod)) ||
	    !selector_selects(selector, pod->object))
		return false;
	return rules->may_adopt == NULL || rules->may_adopt(owner, pod->object);
}

/* The index is asked for the equality part of the selector; the rest is checked by the caller. */
static const struct pod_facts *const *candidates(struct view *v, const char *namespace,
						 const struct label_selector *selector,
						 size_t *ret_n)
{
	struct label *labels = arena_array(v->arena, struct label, selector->n_requirements + 1);
	size_t n = 0;

	*ret_n = 0;
	if (selector->nothing || selector->n_requirements == 0)
		return NULL;
	for (size_t i = 0; i < selector->n_requirements; i++) {
		const struct label_requirement *r = &selector->requirements[i];

		if (r->op == LABEL_IN && r->n_values == 1)
			labels[n++] = (struct label){ r->key, r->values[0] };
	}
	return view_pods_matching(v, namespace, labels, n, ret_n);
}

struct pods pods_claim(struct view *v, struct intents *intents, const struct object *owner,
		       const struct label_selector *selector, const struct claim *rules)
{
	static const struct claim plain = { 0 };
	size_t n_mine, n_there;
	const struct pod_facts *const *mine = view_pods_of(v, owner->facts.uid, &n_mine);
	const struct pod_facts *const *there = candidates(v, owner->namespace, selector, &n_there);
	struct pods pods = {
		.list = arena_array(v->arena, const struct pod_facts *, n_mine + n_there + 1),
	};

	if (rules == NULL)
		rules = &plain;
	for (size_t i = 0; i < n_mine; i++) {
		if (selector_selects(selector, mine[i]->object) ||
		    mine[i]->object->facts.deleted_ns != 0)
			pods.list[pods.n++] = mine[i];
		else
			release(intents, owner, mine[i]->object, rules);
	}
	for (size_t i = 0; i < n_there; i++) {
		if (!may_adopt(rules, owner, selector, there[i]))
			continue;
		adopt(intents, owner, there[i]->object, rules);
		pods.list[pods.n++] = there[i];
		pods.n_adopted++;
	}
	return pods;
}

CoreV1__Pod *pods_make(struct arena *a, const struct object *owner,
		       const CoreV1__PodTemplateSpec *template)
{
	CoreV1__Pod *pod = make(a, CoreV1__Pod, core_v1__pod);
	MetaV1__ObjectMeta *meta = message_metadata_make(pod, a);

	if (template->metadata != NULL) {
		/* A copy of its own: labels are added to some. */
		MetaV1__ObjectMeta *from = message_copy(template->metadata, a);

		meta->n_labels = from->n_labels;
		meta->labels = from->labels;
		meta->n_annotations = from->n_annotations;
		meta->annotations = from->annotations;
		meta->n_finalizers = from->n_finalizers;
		meta->finalizers = from->finalizers;
	}
	meta->namespace_ = arena_strdup(a, owner->namespace);
	make_append(a, meta, ownerreferences, make_owner(a, owner));
	/* Admission completes the spec in place. */
	if (template->spec != NULL)
		pod->spec = message_copy(template->spec, a);
	return pod;
}

void pods_tell(struct intents *intents, const char *component, const struct object *owner, size_t i,
	       size_t n, const char *reason, const char *verb, const char *pod)
{
	enum { TOLD_ONE_BY_ONE = 10 };

	if (i < TOLD_ONE_BY_ONE)
		intend_event(intents, component, owner, "Normal", reason, "%s pod: %s", verb, pod);
	else if (i + 1 == n)
		intend_event(intents, component, owner, "Normal", reason,
			     "(combined from similar events): %s pod: %s", verb, pod);
}
