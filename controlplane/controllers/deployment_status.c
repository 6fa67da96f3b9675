/* What a Deployment says about itself. */
#include <stdarg.h>
#include <string.h>

#include "controlplane/controllers/deployment.h"

static const char available_type[] = "Available";
static const char progressing_type[] = "Progressing";
static const char failure_type[] = "ReplicaFailure";

/* --- Conditions --------------------------------------------------------------------------- */

static AppsV1__DeploymentCondition *find(const AppsV1__DeploymentStatus *s, const char *type)
{
	for (size_t i = 0; s != NULL && i < s->n_conditions; i++)
		if (text_is(s->conditions[i]->type, type))
			return s->conditions[i];
	return NULL;
}

/* Times move only with what they are about: the transition with the status, the update with
 * status or reason. */
static void set_condition(struct rollout *r, AppsV1__DeploymentStatus *s, const char *type,
			  const char *status, const char *reason, const char *fmt, ...)
	__attribute__((format(printf, 6, 7)));

static void set_condition(struct rollout *r, AppsV1__DeploymentStatus *s, const char *type,
			  const char *status, const char *reason, const char *fmt, ...)
{
	struct arena *a = r->intents->arena;
	AppsV1__DeploymentCondition *c = find(s, type);
	va_list args;

	if (c == NULL) {
		c = make(a, AppsV1__DeploymentCondition, apps_v1__deployment_condition);
		c->type = arena_strdup(a, type);
		make_append(a, s, conditions, c);
	}
	if (text_is(c->status, status) && text_is(c->reason, reason))
		return;
	if (!text_is(c->status, status))
		c->lasttransitiontime = make_time(a, r->view->now_ns);
	c->lastupdatetime = make_time(a, r->view->now_ns);
	c->status = arena_strdup(a, status);
	c->reason = arena_strdup(a, reason);
	va_start(args, fmt);
	c->message = arena_vprintf(a, fmt, args);
	va_end(args);
}

static void remove_condition(AppsV1__DeploymentStatus *s, const char *type)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->n_conditions; i++)
		if (!text_is(s->conditions[i]->type, type))
			s->conditions[kept++] = s->conditions[i];
	s->n_conditions = kept;
}

/* --- Counts --------------------------------------------------------------------------------- */

static AppsV1__DeploymentStatus *count(struct rollout *r)
{
	struct arena *a = r->intents->arena;
	const AppsV1__DeploymentStatus *before = r->deployment->status;
	AppsV1__DeploymentStatus *s =
		before ? message_copy(before, a)
		       : make(a, AppsV1__DeploymentStatus, apps_v1__deployment_status);
	int32_t replicas = 0, ready = 0, wanted = 0, terminating = 0;

	for (size_t i = 0; i < r->n_sets; i++) {
		replicas += set_actual(&r->sets[i]);
		if (r->sets[i].message->status != NULL) {
			ready += r->sets[i].message->status->readyreplicas;
			terminating += r->sets[i].message->status->terminatingreplicas;
		}
		wanted += set_replicas(&r->sets[i]);
	}

	int32_t available = rollout_available(r);

	make_set(s, observedgeneration, r->object->facts.generation);
	make_set(s, replicas, replicas);
	make_set(s, updatedreplicas, r->current ? set_actual(r->current) : 0);
	make_set(s, readyreplicas, ready);
	make_set(s, availablereplicas, available);
	make_set(s, terminatingreplicas, terminating);
	make_set(s, unavailablereplicas, wanted > available ? wanted - available : 0);
	return s;
}

bool rollout_is_complete(const struct rollout *r, const AppsV1__DeploymentStatus *s)
{
	return s->updatedreplicas == r->replicas && s->replicas == r->replicas &&
	       s->availablereplicas == r->replicas &&
	       s->observedgeneration >= r->object->facts.generation;
}

/* More of the new, fewer of the old, more that serve. */
static bool progressed(const struct rollout *r, const AppsV1__DeploymentStatus *s)
{
	const AppsV1__DeploymentStatus *b = r->deployment->status;

	if (b == NULL)
		return true;
	return s->updatedreplicas > b->updatedreplicas ||
	       s->replicas - s->updatedreplicas < b->replicas - b->updatedreplicas ||
	       s->readyreplicas > b->readyreplicas || s->availablereplicas > b->availablereplicas;
}

/* --- Progress -----------------------------------------------------------------------------------
 */

static void start_progress(struct rollout *r, AppsV1__DeploymentStatus *s)
{
	AppsV1__DeploymentCondition *c = find(s, progressing_type);
	const char *name = r->current ? r->current->message->metadata->name : "";

	if (r->current == NULL)
		return;
	if (r->current->object == NULL)
		set_condition(r, s, progressing_type, "True", "NewReplicaSetCreated",
			      "Created new replica set \"%s\"", name);
	else if (c == NULL)
		set_condition(r, s, progressing_type, "True", "FoundNewReplicaSet",
			      "Found new replica set \"%s\"", name);
	else if (text_is(c->reason, "DeploymentPaused"))
		set_condition(r, s, progressing_type, "Unknown", "DeploymentResumed",
			      "Deployment is resumed");
}

/* The deadline runs from the last sign of progress. */
static void check_deadline(struct rollout *r, AppsV1__DeploymentStatus *s)
{
	const AppsV1__DeploymentCondition *c = find(s, progressing_type);
	const char *name = r->current ? r->current->message->metadata->name : "";

	if (c == NULL || text_is(c->reason, "NewReplicaSetAvailable") ||
	    text_is(c->reason, "ProgressDeadlineExceeded"))
		return;

	int64_t due_ns = time_ns_of(c->lastupdatetime) +
			 r->deployment->spec->progressdeadlineseconds * NS_PER_S;

	if (r->view->now_ns < due_ns)
		intend_again(r->intents, due_ns);
	else
		set_condition(r, s, progressing_type, "False", "ProgressDeadlineExceeded",
			      "ReplicaSet \"%s\" has timed out progressing.", name);
}

static void report_progress(struct rollout *r, AppsV1__DeploymentStatus *s)
{
	const AppsV1__DeploymentSpec *spec = r->deployment->spec;
	const AppsV1__DeploymentCondition *c = find(s, progressing_type);
	const char *name = r->current ? r->current->message->metadata->name : "";

	if (!spec->has_progressdeadlineseconds || spec->progressdeadlineseconds == INT32_MAX) {
		remove_condition(s, progressing_type);
		return;
	}
	if (spec->paused) {
		set_condition(r, s, progressing_type, "Unknown", "DeploymentPaused",
			      "Deployment is paused");
		return;
	}
	start_progress(r, s);
	c = find(s, progressing_type);
	/* A rollout that has ended stays ended, whatever pods do later. */
	if (c != NULL && text_is(c->reason, "NewReplicaSetAvailable") && r->current != NULL &&
	    s->updatedreplicas == s->replicas)
		return;
	if (rollout_is_complete(r, s)) {
		set_condition(r, s, progressing_type, "True", "NewReplicaSetAvailable",
			      "ReplicaSet \"%s\" has successfully progressed.", name);
	} else if (progressed(r, s) && r->current != NULL) {
		AppsV1__DeploymentCondition *p = find(s, progressing_type);

		set_condition(r, s, progressing_type, "True", "ReplicaSetUpdated",
			      "ReplicaSet \"%s\" is progressing.", name);
		if (p != NULL)
			p->lastupdatetime = make_time(r->intents->arena, r->view->now_ns);
		check_deadline(r, s);
	} else {
		check_deadline(r, s);
	}
}

static const AppsV1__ReplicaSetCondition *failure_of(const struct set *set)
{
	const AppsV1__ReplicaSetStatus *s = set != NULL ? set->message->status : NULL;

	for (size_t i = 0; s != NULL && i < s->n_conditions; i++)
		if (text_is(s->conditions[i]->type, failure_type))
			return s->conditions[i];
	return NULL;
}

/* What a ReplicaSet could not do is the Deployment's failure, too; the new one's before others'. */
static void report_failure(struct rollout *r, AppsV1__DeploymentStatus *s)
{
	const AppsV1__ReplicaSetCondition *c = failure_of(r->current);

	for (size_t i = 0; i < r->n_sets && c == NULL; i++)
		c = failure_of(&r->sets[i]);
	if (c != NULL)
		set_condition(r, s, failure_type, text_of(c->status), text_of(c->reason), "%s",
			      text_of(c->message));
	else
		remove_condition(s, failure_type);
}

static void write_status(struct rollout *r, AppsV1__DeploymentStatus *s)
{
	AppsV1__Deployment *message = changed(r->object, r->intents->arena);

	if (r->deployment->status != NULL && message_equal(s, r->deployment->status))
		return;
	message->status = s;
	intend_update_status(r->intents, r->object, &message->base);
}

void rollout_report(struct rollout *r)
{
	AppsV1__DeploymentStatus *s = count(r);
	int32_t needed = r->replicas - r->unavailable;

	if (s->availablereplicas >= needed)
		set_condition(r, s, available_type, "True", "MinimumReplicasAvailable",
			      "Deployment has minimum availability.");
	else
		set_condition(r, s, available_type, "False", "MinimumReplicasUnavailable",
			      "Deployment does not have minimum availability.");
	report_progress(r, s);
	report_failure(r, s);
	write_status(r, s);
}

void rollout_report_collision(struct rollout *r)
{
	AppsV1__DeploymentStatus *s = count(r);

	make_set(s, collisioncount, s->collisioncount + 1);
	write_status(r, s);
}

void rollout_report_refused(struct rollout *r, const struct refusal *refusal)
{
	AppsV1__DeploymentStatus *s = count(r);
	const AppsV1__DeploymentSpec *spec = r->deployment->spec;

	if (refusal->intent->type == INTENT_CREATE && spec->has_progressdeadlineseconds &&
	    spec->progressdeadlineseconds != INT32_MAX)
		set_condition(r, s, progressing_type, "False", "ReplicaSetCreateError",
			      "Failed to create new replica set \"%s\": %s", refusal->intent->name,
			      refusal->message);
	report_failure(r, s);
	write_status(r, s);
}
