/* Jobs that ended ttlSecondsAfterFinished ago are deleted, with all they own. */
#include "controlplane/controllers/common.h"
#include "proto/k8s/batch_v1.pb-c.h"

static const char resource[] = "jobs.batch";

/* When it ended; 0: it has not. */
static int64_t finished_ns(const BatchV1__JobStatus *s)
{
	for (size_t i = 0; s != NULL && i < s->n_conditions; i++)
		if ((text_is(s->conditions[i]->type, "Complete") ||
		     text_is(s->conditions[i]->type, "Failed")) &&
		    text_is(s->conditions[i]->status, "True"))
			return time_ns_of(s->conditions[i]->lasttransitiontime);
	return 0;
}

static void reconcile(struct view *v, struct key key, struct intents *intents)
{
	const struct object *o = view_get(v, resource, key.namespace, key.name);
	const BatchV1__Job *job = o != NULL ? view_message(v, o) : NULL;
	int64_t end_ns;

	if (job == NULL || o->facts.deleted_ns != 0 || !job->spec->has_ttlsecondsafterfinished)
		return;
	end_ns = finished_ns(job->status);
	if (end_ns == 0)
		return;
	end_ns += job->spec->ttlsecondsafterfinished * NS_PER_S;
	if (end_ns <= v->now_ns)
		intend_delete(intents, o, -1, "Foreground");
	else
		intend_again(intents, end_ns);
}

static void on_change(const struct view *v, const struct object *old, const struct object *new,
		      struct keys *keys)
{
	if (new != NULL && change_is_of(old, new, resource))
		keys_add_object(keys, old, new);
}

static void seed(const struct view *v, struct keys *keys)
{
	keys_add_all(keys, v, resource, NULL);
}

const struct controller controller_ttl = {
	.name = "ttl-after-finished-controller",
	.on_change = on_change,
	.seed = seed,
	.reconcile = reconcile,
};
