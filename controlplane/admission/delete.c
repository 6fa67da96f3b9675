/* What DELETE does: remove at once, mark for the garbage collector, the agent or
 * the namespace controller to finish, or nothing because it is marked already. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/pack.h"
#include "controlplane/admission/strategy.h"
#include "proto/k8s/scheduling_v1.pb-c.h"

static int check_preconditions(const struct kind *kind, const struct object *old,
			       const MetaV1__DeleteOptions *options, struct status *st)
{
	const MetaV1__Preconditions *p = options ? options->preconditions : NULL;

	if (p == NULL)
		return 0;
	if (p->uid != NULL && strcmp(p->uid, text_of(old->facts.uid)) != 0)
		return conflict(st, kind, old->name,
				"Precondition failed: UID in precondition: %s, UID in object meta: "
				"%s",
				p->uid, text_of(old->facts.uid));
	if (p->resourceversion != NULL && strtoull(p->resourceversion, NULL, 10) != old->revision)
		return conflict(st, kind, old->name,
				"Precondition failed: ResourceVersion in precondition: %s, "
				"ResourceVersion in object meta: %" PRIu64,
				p->resourceversion, old->revision);
	return 0;
}

static int check_options(struct admission *a, const MetaV1__DeleteOptions *options,
			 struct status *st)
{
	static const struct kind delete_options = { .group = "meta.k8s.io",
						    .kind = "DeleteOptions" };
	static const char *const policies[] = { "Foreground", "Background", "Orphan", NULL };
	struct checks c = { .arena = a->arena, .st = st };

	if (options == NULL)
		return 0;
	if (options->has_orphandependents && options->propagationpolicy != NULL)
		check_invalid(&c, FIELD(NULL, "propagationPolicy"), options->propagationpolicy,
			      "orphanDependents and deletionPropagation cannot be both set");
	if (options->propagationpolicy != NULL)
		check_one_of(&c, FIELD(NULL, "propagationPolicy"), options->propagationpolicy,
			     policies);
	return checks_end(&c, &delete_options, "");
}

/* The finalizers that make the garbage collector do what the policy says. */
static void set_propagation(struct arena *arena, MetaV1__ObjectMeta *meta,
			    const MetaV1__DeleteOptions *options, bool orphans)
{
	const char *policy = options ? options->propagationpolicy : NULL;

	if (options != NULL && options->has_orphandependents)
		policy = options->orphandependents ? "Orphan" : "Background";
	/* Finalizers a client put there say what it wants. */
	if (policy == NULL && orphans && !meta_has_finalizer(meta, "orphan") &&
	    !meta_has_finalizer(meta, "foregroundDeletion"))
		policy = "Orphan";
	if (policy == NULL)
		return;

	meta->finalizers = arena_memdup(arena, meta->finalizers,
					meta->n_finalizers * sizeof(*meta->finalizers));
	meta_remove_finalizer(meta, "orphan");
	meta_remove_finalizer(meta, "foregroundDeletion");
	if (strcmp(policy, "Orphan") == 0)
		make_append(arena, meta, finalizers, arena_strdup(arena, "orphan"));
	else if (strcmp(policy, "Foreground") == 0)
		make_append(arena, meta, finalizers, arena_strdup(arena, "foregroundDeletion"));
}

/* How long a pod may take to end. */
static int64_t pod_grace(const CoreV1__Pod *pod, const MetaV1__DeleteOptions *options)
{
	const char *phase = text_of(pod->status ? pod->status->phase : NULL);
	int64_t grace_s = 30;

	if (pod->spec->has_terminationgraceperiodseconds)
		grace_s = pod->spec->terminationgraceperiodseconds;
	if (options != NULL && options->has_graceperiodseconds)
		grace_s = options->graceperiodseconds;
	if (text_empty(pod->spec->nodename) || strcmp(phase, "Succeeded") == 0 ||
	    strcmp(phase, "Failed") == 0)
		return 0; /* Nothing runs that could need time. */
	return grace_s < 0 ? 1 : grace_s;
}

static void mark(struct admission *a, MetaV1__ObjectMeta *meta, int64_t grace_s)
{
	meta->deletiontimestamp = make_time(a->arena, a->now_ns + grace_s * 1000000000);
	make_set(meta, deletiongraceperiodseconds, grace_s);
	if (meta->has_generation && meta->generation > 0)
		meta->generation++;
}

/* An object that is marked already: a shorter grace counts, everything else is said. */
static enum delete_outcome delete_again(struct admission *a, MetaV1__ObjectMeta *meta,
					int64_t grace_s, bool asked)
{
	if (grace_s == 0 && meta->n_finalizers == 0)
		return DELETE_REMOVES;
	if (!asked || grace_s >= meta->deletiongraceperiodseconds)
		return DELETE_NOTHING;

	int64_t begun_ns =
		time_ns_of(meta->deletiontimestamp) - meta->deletiongraceperiodseconds * 1000000000;
	int64_t end_ns = begun_ns + grace_s * 1000000000;

	meta->deletiontimestamp = make_time(a->arena, end_ns > a->now_ns ? end_ns : a->now_ns);
	make_set(meta, deletiongraceperiodseconds, grace_s);
	return DELETE_MARKS;
}

static enum delete_outcome delete_pod(struct admission *a, CoreV1__Pod *pod,
				      const MetaV1__DeleteOptions *options)
{
	int64_t grace_s = pod_grace(pod, options);
	MetaV1__ObjectMeta *meta = pod->metadata;
	bool asked = options != NULL && options->has_graceperiodseconds;

	if (meta->deletiontimestamp != NULL)
		return delete_again(a, meta, asked || grace_s == 0 ? grace_s : INT64_MAX, asked);
	if (grace_s == 0 && meta->n_finalizers == 0)
		return DELETE_REMOVES;
	mark(a, meta, grace_s);
	return DELETE_MARKS;
}

static enum delete_outcome delete_namespace(struct admission *a, CoreV1__Namespace *ns)
{
	if (ns->metadata->deletiontimestamp != NULL)
		return admission_is_finished(&ns->base) ? DELETE_REMOVES : DELETE_NOTHING;
	mark(a, ns->metadata, 0);
	if (ns->status == NULL)
		ns->status = make(a->arena, CoreV1__NamespaceStatus, core_v1__namespace_status);
	ns->status->phase = arena_strdup(a->arena, "Terminating");
	return admission_is_finished(&ns->base) ? DELETE_REMOVES : DELETE_MARKS;
}

bool admission_is_finished(const ProtobufCMessage *message)
{
	const MetaV1__ObjectMeta *meta = message_metadata(message);

	if (meta == NULL || meta->deletiontimestamp == NULL || meta->n_finalizers > 0 ||
	    meta->deletiongraceperiodseconds > 0)
		return false;
	if (message->descriptor == &core_v1__namespace__descriptor) {
		const CoreV1__NamespaceSpec *spec = ((const CoreV1__Namespace *)message)->spec;

		return spec == NULL || spec->n_finalizers == 0;
	}
	return true;
}

static bool is_protected(const struct kind *kind, const char *name)
{
	return kind->descriptor == &core_v1__namespace__descriptor &&
	       (strcmp(name, "default") == 0 || strcmp(name, "kube-system") == 0 ||
		strcmp(name, "kube-public") == 0);
}

int admit_delete(struct admission *a, const struct kind *kind, const struct object *old,
		 const ProtobufCMessage *given, enum delete_outcome *ret_outcome,
		 ProtobufCMessage **ret_message, struct status *st)
{
	const MetaV1__DeleteOptions *options = (const MetaV1__DeleteOptions *)given;
	int rc = check_options(a, options, st);

	if (rc == 0 && is_protected(kind, old->name))
		rc = forbid(st, kind, old->name, "this namespace may not be deleted");
	if (rc == 0 && kind->descriptor == &scheduling_v1__priority_class__descriptor &&
	    priority_class_is_system(old->name))
		rc = forbid(st, kind, old->name,
			    "this is a system priority class and cannot be deleted");
	if (rc == 0)
		rc = check_preconditions(kind, old, options, st);
	if (rc < 0)
		return rc;

	ProtobufCMessage *message = unpack_stored(kind->descriptor, old->packed, a->arena);
	MetaV1__ObjectMeta *meta = message_metadata_make(message, a->arena);
	size_t finalizers = meta->n_finalizers;
	enum delete_outcome outcome;

	set_propagation(a->arena, meta, options, strategy_of(message->descriptor)->orphans);
	for (size_t i = 0; i < old->n_claims; i++)
		admission_claim(a, arena_strdup(a->arena, old->claims[i]));
	if (message->descriptor == &core_v1__pod__descriptor) {
		outcome = delete_pod(a, (CoreV1__Pod *)message, options);
	} else if (message->descriptor == &core_v1__namespace__descriptor) {
		outcome = delete_namespace(a, (CoreV1__Namespace *)message);
	} else if (meta->n_finalizers == 0) {
		outcome = DELETE_REMOVES;
	} else if (meta->deletiontimestamp == NULL) {
		mark(a, meta, 0);
		outcome = DELETE_MARKS;
	} else {
		/* Only a change of the propagation policy is news. */
		outcome = meta->n_finalizers != finalizers ? DELETE_MARKS : DELETE_NOTHING;
	}
	*ret_outcome = outcome;
	*ret_message = message;
	return 0;
}
