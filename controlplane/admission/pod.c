/* Pods at the door: what the server fills in, and what may change later. */
#include <errno.h>
#include <string.h>

#include "common/api/pack.h"
#include "common/api/quantity.h"
#include "common/base/cleanup.h"
#include "controlplane/admission/pod.h"
#include "controlplane/admission/strategy.h"

static const char token_mount[] = "/var/run/secrets/kubernetes.io/serviceaccount";
static const char mirror_annotation[] = "kubernetes.io/config.mirror";

/* --- Quality of service --------------------------------------------------- */

static const char *quantity_of(struct string_entry *const *entries, size_t n, const char *resource)
{
	/* Entries from names to quantities: the value is a message. */
	for (size_t i = 0; i < n; i++) {
		const CoreV1__ResourceRequirements__LimitsEntry *e = (const void *)entries[i];

		if (text_is(e->key, resource) && e->value != NULL)
			return e->value->string;
	}
	return NULL;
}

struct qos {
	bool any, all_limited;
};

static void add_qos(struct qos *q, const CoreV1__ResourceRequirements *r)
{
	static const char *const resources[] = { "cpu", "memory" };

	for (size_t i = 0; i < array_size(resources); i++) {
		const char *limit = NULL, *request = NULL;

		if (r != NULL) {
			limit = quantity_of((struct string_entry *const *)r->limits, r->n_limits,
					    resources[i]);
			request = quantity_of((struct string_entry *const *)r->requests,
					      r->n_requests, resources[i]);
		}

		int64_t limit_milli = quantity_text_milli(limit);
		int64_t request_milli = request ? quantity_text_milli(request) : limit_milli;

		q->any = q->any || limit_milli > 0 || request_milli > 0;
		q->all_limited = q->all_limited && limit_milli > 0 && limit_milli == request_milli;
	}
}

const char *pod_qos_class(const CoreV1__PodSpec *spec)
{
	struct qos q = { .all_limited = true };

	for (size_t i = 0; i < spec->n_containers; i++)
		add_qos(&q, spec->containers[i]->resources);
	for (size_t i = 0; i < spec->n_initcontainers; i++)
		add_qos(&q, spec->initcontainers[i]->resources);
	if (!q.any)
		return "BestEffort";
	return q.all_limited ? "Guaranteed" : "Burstable";
}

/* --- What the server fills in --------------------------------------------- */

CoreV1__PodCondition *pod_set_condition(struct arena *arena, CoreV1__PodStatus *status,
					const char *type, const char *value, int64_t now_ns)
{
	CoreV1__PodCondition *c = NULL;

	for (size_t i = 0; i < status->n_conditions; i++)
		if (text_is(status->conditions[i]->type, type))
			c = status->conditions[i];
	if (c == NULL) {
		c = make(arena, CoreV1__PodCondition, core_v1__pod_condition);
		c->type = arena_strdup(arena, type);
		make_append(arena, status, conditions, c);
	}
	if (!text_is(c->status, value)) {
		c->status = arena_strdup(arena, value);
		c->lasttransitiontime = make_time(arena, now_ns);
	}
	c->reason = c->message = NULL;
	return c;
}

static void prepare(struct admission *a, ProtobufCMessage *message, ProtobufCMessage *old)
{
	CoreV1__Pod *pod = (CoreV1__Pod *)message;

	if (pod->spec == NULL)
		pod->spec = make(a->arena, CoreV1__PodSpec, core_v1__pod_spec);
	if (old != NULL) {
		/* What binding set stays when a client's copy is older. */
		const CoreV1__PodSpec *stored = ((CoreV1__Pod *)old)->spec;

		if (text_empty(pod->spec->nodename) && stored != NULL)
			pod->spec->nodename = stored->nodename;
		if (stored != NULL)
			keep_pod_priority(pod->spec, stored);
		return;
	}
	pod->status = make(a->arena, CoreV1__PodStatus, core_v1__pod_status);
	pod->status->phase = arena_strdup(a->arena, "Pending");
	pod->status->qosclass = arena_strdup(a->arena, pod_qos_class(pod->spec));
	if (pod->spec->n_schedulinggates == 0)
		return;

	CoreV1__PodCondition *c =
		pod_set_condition(a->arena, pod->status, "PodScheduled", "False", a->now_ns);

	c->reason = arena_strdup(a->arena, "SchedulingGated");
	c->message =
		arena_strdup(a->arena, "Scheduling is blocked due to non-empty scheduling gates");
}

/* --- Policy: ServiceAccount ----------------------------------------------- */

static CoreV1__KeyToPath *make_key_to_path(struct arena *a, const char *key, const char *path)
{
	CoreV1__KeyToPath *k = make(a, CoreV1__KeyToPath, core_v1__key_to_path);

	k->key = arena_strdup(a, key);
	k->path = arena_strdup(a, path);
	return k;
}

static CoreV1__VolumeProjection *append_projection(struct arena *a,
						   CoreV1__ProjectedVolumeSource *p)
{
	CoreV1__VolumeProjection *v = make(a, CoreV1__VolumeProjection, core_v1__volume_projection);

	make_append(a, p, sources, v);
	return v;
}

/* The token, the cluster's CA and the namespace: what a client inside the pod needs. */
static CoreV1__Volume *make_token_volume(struct arena *a, const char *name)
{
	enum { TOKEN_LIFE_S = 3607 };
	CoreV1__Volume *volume = make(a, CoreV1__Volume, core_v1__volume);
	CoreV1__ProjectedVolumeSource *p =
		make(a, CoreV1__ProjectedVolumeSource, core_v1__projected_volume_source);
	CoreV1__ServiceAccountTokenProjection *token =
		make(a, CoreV1__ServiceAccountTokenProjection,
		     core_v1__service_account_token_projection);
	CoreV1__ConfigMapProjection *ca =
		make(a, CoreV1__ConfigMapProjection, core_v1__config_map_projection);
	CoreV1__DownwardAPIProjection *downward =
		make(a, CoreV1__DownwardAPIProjection, core_v1__downward_apiprojection);
	CoreV1__DownwardAPIVolumeFile *file =
		make(a, CoreV1__DownwardAPIVolumeFile, core_v1__downward_apivolume_file);

	volume->name = arena_strdup(a, name);
	volume->volumesource = make(a, CoreV1__VolumeSource, core_v1__volume_source);
	volume->volumesource->projected = p;
	make_set(p, defaultmode, 0644);

	make_set(token, expirationseconds, TOKEN_LIFE_S);
	token->path = arena_strdup(a, "token");
	append_projection(a, p)->serviceaccounttoken = token;

	ca->localobjectreference =
		make(a, CoreV1__LocalObjectReference, core_v1__local_object_reference);
	ca->localobjectreference->name = arena_strdup(a, "kube-root-ca.crt");
	make_append(a, ca, items, make_key_to_path(a, "ca.crt", "ca.crt"));
	append_projection(a, p)->configmap = ca;

	file->path = arena_strdup(a, "namespace");
	file->fieldref = make(a, CoreV1__ObjectFieldSelector, core_v1__object_field_selector);
	file->fieldref->apiversion = arena_strdup(a, "v1");
	file->fieldref->fieldpath = arena_strdup(a, "metadata.namespace");
	make_append(a, downward, items, file);
	append_projection(a, p)->downwardapi = downward;
	return volume;
}

/* Mounts the token where a container has nothing of its own there; true if any did. */
static bool mount_token(struct arena *a, CoreV1__Container **containers, size_t n,
			const char *volume)
{
	bool mounted = false;

	for (size_t i = 0; i < n; i++) {
		CoreV1__Container *c = containers[i];
		bool there = false;

		for (size_t k = 0; k < c->n_volumemounts; k++)
			there = there || text_is(c->volumemounts[k]->mountpath, token_mount);
		if (there)
			continue;

		CoreV1__VolumeMount *m = make(a, CoreV1__VolumeMount, core_v1__volume_mount);

		m->name = arena_strdup(a, volume);
		make_set(m, readonly, 1);
		m->mountpath = arena_strdup(a, token_mount);
		make_append(a, c, volumemounts, m);
		mounted = true;
	}
	return mounted;
}

static void add_token(struct admission *a, CoreV1__PodSpec *spec)
{
	const char *name = NULL;

	for (size_t i = 0; i < spec->n_volumes; i++)
		if (strncmp(text_of(spec->volumes[i]->name), "kube-api-access-", 16) == 0)
			name = spec->volumes[i]->name;

	bool own = name != NULL;

	if (!own)
		name = arena_printf(a->arena, "kube-api-access-%s", random_suffix(a, 5));

	bool mounted = mount_token(a->arena, spec->containers, spec->n_containers, name);

	mounted |= mount_token(a->arena, spec->initcontainers, spec->n_initcontainers, name);
	if (mounted && !own)
		make_append(a->arena, spec, volumes, make_token_volume(a->arena, name));
}

static int admit_service_account(struct admission *a, const struct kind *kind, CoreV1__Pod *pod,
				 struct status *st)
{
	const struct kind *accounts = kind_named("", "ServiceAccount");
	const char *namespace = text_of(pod->metadata->namespace_);
	CoreV1__PodSpec *spec = pod->spec;

	if (meta_annotation(pod->metadata, mirror_annotation) != NULL)
		return 0;
	if (text_empty(spec->serviceaccountname))
		spec->serviceaccountname = arena_strdup(a->arena, text_empty(spec->serviceaccount)
									  ? "default"
									  : spec->serviceaccount);
	spec->serviceaccount = spec->serviceaccountname;

	const struct object *o =
		a->reader->get(a->reader->ctx, accounts, namespace, spec->serviceaccountname);

	if (o == NULL)
		return forbid(st, kind, text_of(pod->metadata->name),
			      "error looking up service account %s/%s: serviceaccount \"%s\" not "
			      "found",
			      namespace, spec->serviceaccountname, spec->serviceaccountname);

	const CoreV1__ServiceAccount *account =
		unpack_stored(&core_v1__service_account__descriptor, o->packed, a->arena);
	bool mount =
		!account->has_automountserviceaccounttoken || account->automountserviceaccounttoken;

	if (spec->has_automountserviceaccounttoken)
		mount = spec->automountserviceaccounttoken;
	if (mount)
		add_token(a, spec);
	for (size_t i = 0, own = spec->n_imagepullsecrets;
	     own == 0 && i < account->n_imagepullsecrets; i++)
		make_append(a->arena, spec, imagepullsecrets, account->imagepullsecrets[i]);
	return 0;
}

/* --- Policy: tolerations ----------------------------------------------------- */

static void tolerate(struct arena *arena, CoreV1__PodSpec *spec, const char *key)
{
	enum { DEFAULT_TOLERATION_S = 300 };

	for (size_t i = 0; i < spec->n_tolerations; i++) {
		const CoreV1__Toleration *t = spec->tolerations[i];

		if ((text_is(t->key, key) || text_empty(t->key)) &&
		    (text_is(t->effect, "NoExecute") || text_empty(t->effect)))
			return;
	}

	CoreV1__Toleration *t = make(arena, CoreV1__Toleration, core_v1__toleration);

	t->key = arena_strdup(arena, key);
	t->operator_ = arena_strdup(arena, "Exists");
	t->effect = arena_strdup(arena, "NoExecute");
	make_set(t, tolerationseconds, DEFAULT_TOLERATION_S);
	make_append(arena, spec, tolerations, t);
}

static int admit(struct admission *a, const struct kind *kind, ProtobufCMessage *message,
		 ProtobufCMessage *old, struct status *st)
{
	CoreV1__Pod *pod = (CoreV1__Pod *)message;

	if (old != NULL)
		return 0;

	int rc = admit_service_account(a, kind, pod, st);

	if (rc == 0)
		rc = admit_pod_priority(a, kind, pod, st);
	tolerate(a->arena, pod->spec, "node.kubernetes.io/not-ready");
	tolerate(a->arena, pod->spec, "node.kubernetes.io/unreachable");
	return rc;
}

/* --- Validation ------------------------------------------------------------- */

/* Gates only go away. */
static void check_gates(struct checks *c, const CoreV1__PodSpec *spec, const CoreV1__PodSpec *old)
{
	for (size_t i = 0; i < spec->n_schedulinggates; i++) {
		bool there = false;

		for (size_t k = 0; k < old->n_schedulinggates; k++)
			there = there || text_is(old->schedulinggates[k]->name,
						 text_of(spec->schedulinggates[i]->name));
		if (!there)
			check_forbidden(c, FIELD(FIELD(NULL, "spec"), "schedulingGates"),
					"only deletion is allowed, but found new scheduling gate "
					"'%s'",
					text_of(spec->schedulinggates[i]->name));
	}
}

static bool same_toleration(const CoreV1__Toleration *a, const CoreV1__Toleration *b)
{
	return text_is(a->key, text_of(b->key)) && text_is(a->operator_, text_of(b->operator_)) &&
	       text_is(a->value, text_of(b->value)) && text_is(a->effect, text_of(b->effect)) &&
	       (!b->has_tolerationseconds || a->has_tolerationseconds);
}

static void check_new_tolerations(struct checks *c, const CoreV1__PodSpec *spec,
				  const CoreV1__PodSpec *old)
{
	for (size_t i = 0; i < old->n_tolerations; i++) {
		bool there = false;

		for (size_t k = 0; k < spec->n_tolerations; k++)
			there = there || same_toleration(spec->tolerations[k], old->tolerations[i]);
		if (there)
			continue;
		check_forbidden(c, FIELD(FIELD(NULL, "spec"), "tolerations"),
				"existing toleration can not be modified except its "
				"tolerationSeconds");
		return;
	}
}

static void copy_images(CoreV1__Container **to, CoreV1__Container *const *from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		to[i]->image = from[i]->image;
}

static void check_deadline(struct checks *c, const CoreV1__PodSpec *spec,
			   const CoreV1__PodSpec *old)
{
	const struct field *f = FIELD(FIELD(NULL, "spec"), "activeDeadlineSeconds");

	if (!old->has_activedeadlineseconds)
		return;
	if (!spec->has_activedeadlineseconds)
		check_invalid_text(c, f, "null", "must not update from a positive integer to nil");
	else if (spec->activedeadlineseconds > old->activedeadlineseconds)
		check_invalid_int(c, f, spec->activedeadlineseconds,
				  "must be less than or equal to previous value");
}

/* A running pod is what it is: only a few fields may change. */
static void check_spec_update(struct checks *c, const CoreV1__PodSpec *spec,
			      const CoreV1__PodSpec *old)
{
	const struct field *f = FIELD(NULL, "spec");

	if (spec->n_containers != old->n_containers) {
		check_forbidden(c, FIELD(f, "containers"),
				"pod updates may not add or remove containers");
		return;
	}
	if (spec->n_initcontainers != old->n_initcontainers) {
		check_forbidden(c, FIELD(f, "initContainers"),
				"pod updates may not add or remove containers");
		return;
	}
	check_deadline(c, spec, old);
	check_gates(c, spec, old);
	check_new_tolerations(c, spec, old);

	/* With the fields that may change made equal, nothing may differ. */
	CoreV1__PodSpec *munged = message_copy(old, c->arena);
	bool negative =
		old->has_terminationgraceperiodseconds && old->terminationgraceperiodseconds < 0;

	copy_images(munged->containers, spec->containers, spec->n_containers);
	copy_images(munged->initcontainers, spec->initcontainers, spec->n_initcontainers);
	munged->has_activedeadlineseconds = spec->has_activedeadlineseconds;
	munged->activedeadlineseconds = spec->activedeadlineseconds;
	munged->n_tolerations = spec->n_tolerations;
	munged->tolerations = spec->tolerations;
	munged->n_schedulinggates = spec->n_schedulinggates;
	munged->schedulinggates = spec->schedulinggates;
	if (negative && spec->terminationgraceperiodseconds == 1)
		munged->terminationgraceperiodseconds = 1;
	if (old->n_schedulinggates > 0) {
		munged->n_nodeselector = spec->n_nodeselector;
		munged->nodeselector = spec->nodeselector;
		if (spec->affinity != NULL && munged->affinity == NULL)
			munged->affinity = make(c->arena, CoreV1__Affinity, core_v1__affinity);
		if (spec->affinity != NULL)
			munged->affinity->nodeaffinity = spec->affinity->nodeaffinity;
	}
	if (!message_equal(munged, spec))
		check_forbidden(
			c, f,
			"pod updates may not change fields other than "
			"`spec.containers[*].image`,`spec.initContainers[*].image`,"
			"`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to "
			"existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to "
			"be set to 1 if it was previously negative)");
}

static void validate(struct checks *c, ProtobufCMessage *message, ProtobufCMessage *old)
{
	CoreV1__Pod *pod = (CoreV1__Pod *)message;

	check_pod_spec(c, FIELD(NULL, "spec"), pod->spec, pod->metadata);
	if (old != NULL)
		check_spec_update(c, pod->spec, ((CoreV1__Pod *)old)->spec);
}

/* Restarts are counted up, never down. */
static void validate_status(struct checks *c, ProtobufCMessage *message, ProtobufCMessage *old)
{
	const CoreV1__PodStatus *status = ((CoreV1__Pod *)message)->status;
	const struct field *f = FIELD(FIELD(NULL, "status"), "containerStatuses");

	for (size_t i = 0; status != NULL && i < status->n_containerstatuses; i++)
		check_not_negative(c, FIELD(AT(f, i), "restartCount"),
				   status->containerstatuses[i]->restartcount);
}

const struct strategy strategy_pod = {
	.descriptor = &core_v1__pod__descriptor,
	.prepare = prepare,
	.admit = admit,
	.validate = validate,
	.validate_status = validate_status,
};

/* --- Binding ---------------------------------------------------------------- */

int admit_binding(struct admission *a, const struct object *stored, const CoreV1__Binding *binding,
		  ProtobufCMessage **ret_message, struct status *st)
{
	const struct kind *kind = kind_named("", "Pod");
	const CoreV1__ObjectReference *target = binding->target;
	CoreV1__Pod *pod = unpack_stored(&core_v1__pod__descriptor, stored->packed, a->arena);
	struct checks c = { .arena = a->arena, .st = st };

	if (target != NULL && !text_empty(target->kind) && !text_is(target->kind, "Node"))
		check_unsupported(&c, FIELD(FIELD(NULL, "target"), "kind"), target->kind,
				  (const char *const[]){ "Node", "<empty>", NULL });
	if (target == NULL || text_empty(target->name))
		check_required(&c, FIELD(FIELD(NULL, "target"), "name"), "");
	if (c.n > 0)
		return checks_end(&c, kind, stored->name);
	if (binding->metadata != NULL && !text_empty(binding->metadata->uid) &&
	    !text_is(binding->metadata->uid, text_of(pod->metadata->uid)))
		return conflict(st, kind, stored->name,
				"Precondition failed: UID in precondition: %s, UID in object meta: "
				"%s",
				binding->metadata->uid, text_of(pod->metadata->uid));
	if (pod->metadata->deletiontimestamp != NULL)
		return conflict(st, kind, stored->name,
				"pod %s is being deleted, cannot be assigned to a host",
				stored->name);
	if (!text_empty(pod->spec->nodename))
		return conflict(st, kind, stored->name, "pod %s is already assigned to node \"%s\"",
				stored->name, pod->spec->nodename);
	if (pod->spec->n_schedulinggates > 0)
		return conflict(st, kind, stored->name,
				"pod %s has non-empty .spec.schedulingGates", stored->name);
	pod->spec->nodename = arena_strdup(a->arena, target->name);
	if (pod->status == NULL)
		pod->status = make(a->arena, CoreV1__PodStatus, core_v1__pod_status);
	pod_set_condition(a->arena, pod->status, "PodScheduled", "True", a->now_ns);
	*ret_message = &pod->base;
	return 0;
}
