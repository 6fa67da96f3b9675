/* What a StatefulSet says about itself. */
#include <string.h>

#include "controlplane/controllers/statefulset.h"

bool member_is_healthy(const struct member *m)
{
	return m->pod != NULL && m->pod->phase == PHASE_RUNNING && m->pod->ready &&
	       m->pod->object->facts.deleted_ns == 0;
}

bool member_is_available(struct ordinals *o, const struct member *m)
{
	int64_t again_ns = 0;
	bool available =
		pod_is_available(m->pod, o->set->spec->minreadyseconds, o->view->now_ns, &again_ns);

	if (again_ns != 0)
		intend_again(o->intents, again_ns);
	return available;
}

static AppsV1__StatefulSetStatus *count(struct ordinals *o)
{
	struct arena *a = o->intents->arena;
	AppsV1__StatefulSetStatus *s =
		make(a, AppsV1__StatefulSetStatus, apps_v1__stateful_set_status);
	int32_t replicas = 0, ready = 0, available = 0, current = 0, updated = 0;

	for (size_t i = 0; i < o->pods.n; i++) {
		const struct member m = { .pod = o->pods.list[i] };
		const char *revision = member_revision(&m);

		replicas++;
		if (m.pod->phase == PHASE_RUNNING && m.pod->ready) {
			ready++;
			available += member_is_available(o, &m);
		}
		if (m.pod->object->facts.deleted_ns != 0)
			continue;
		current += strcmp(revision, revision_name(o->current)) == 0;
		updated += strcmp(revision, revision_name(o->update)) == 0;
	}
	make_set(s, replicas, replicas);
	make_set(s, readyreplicas, ready);
	make_set(s, availablereplicas, available);
	make_set(s, currentreplicas, current);
	make_set(s, updatedreplicas, updated);
	return s;
}

/* The update revision is the current one when every pod is of it and ready. */
static bool is_complete(const struct ordinals *o, const AppsV1__StatefulSetStatus *s)
{
	const AppsV1__StatefulSetUpdateStrategy *strategy = o->set->spec->updatestrategy;

	return o->current != o->update && strategy != NULL &&
	       text_is(strategy->type, "RollingUpdate") && s->updatedreplicas == s->replicas &&
	       s->updatedreplicas == o->set->spec->replicas && s->readyreplicas == s->replicas;
}

void statefulset_report(struct ordinals *o)
{
	struct arena *a = o->intents->arena;
	const AppsV1__StatefulSetStatus *before = o->set->status;
	AppsV1__StatefulSetStatus *s = count(o);
	AppsV1__StatefulSet *message;

	make_set(s, observedgeneration, o->object->facts.generation);
	make_set(s, collisioncount, o->revisions.collisions);
	s->currentrevision = arena_strdup(a, revision_name(o->current));
	s->updaterevision = arena_strdup(a, revision_name(o->update));
	if (is_complete(o, s)) {
		make_set(s, currentreplicas, s->updatedreplicas);
		s->currentrevision = s->updaterevision;
	}
	if (before != NULL) {
		s->n_conditions = before->n_conditions;
		s->conditions = before->conditions;
		if (message_equal(s, before))
			return;
	}
	message = changed(o->object, a);
	message->status = s;
	intend_update_status(o->intents, o->object, &message->base);
}
