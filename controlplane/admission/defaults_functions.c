#include <string.h>

#include "common/api/make.h"
#include "controlplane/admission/defaults.h"
#include "proto/k8s/apps_v1.pb-c.h"
#include "proto/k8s/batch_v1.pb-c.h"
#include "proto/k8s/core_v1.pb-c.h"
#include "proto/k8s/networking_v1.pb-c.h"

/* "latest" and no tag at all may mean another image tomorrow. */
static const char *pull_policy(const char *image)
{
	const char *name = strrchr(image, '/');
	const char *digest = strchr(image, '@');
	const char *tag = strchr(name ? name : image, ':');

	if (tag != NULL && digest != NULL && tag > digest)
		tag = NULL; /* The colon of sha256:... */
	if (tag == NULL)
		return digest ? "IfNotPresent" : "Always";

	size_t n = digest ? (size_t)(digest - tag - 1) : strlen(tag + 1);

	return n == 6 && strncmp(tag + 1, "latest", 6) == 0 ? "Always" : "IfNotPresent";
}

void default_container(struct arena *arena, ProtobufCMessage *message)
{
	CoreV1__Container *c = (CoreV1__Container *)message;

	if (text_empty(c->imagepullpolicy))
		c->imagepullpolicy = arena_strdup(arena, pull_policy(text_of(c->image)));
}

void default_ephemeral_container(struct arena *arena, ProtobufCMessage *message)
{
	CoreV1__EphemeralContainerCommon *c = (CoreV1__EphemeralContainerCommon *)message;

	if (text_empty(c->imagepullpolicy))
		c->imagepullpolicy = arena_strdup(arena, pull_policy(text_of(c->image)));
}

/* A limit without a request asks for as much as it may use. */
static void default_requests(struct arena *arena, CoreV1__ResourceRequirements *r)
{
	for (size_t i = 0; r != NULL && i < r->n_limits; i++) {
		bool there = false;

		for (size_t k = 0; k < r->n_requests; k++)
			there = there || text_is(r->requests[k]->key, text_of(r->limits[i]->key));
		if (there)
			continue;

		CoreV1__ResourceRequirements__RequestsEntry *entry =
			make(arena, CoreV1__ResourceRequirements__RequestsEntry,
			     core_v1__resource_requirements__requests_entry);

		entry->key = r->limits[i]->key;
		entry->value = r->limits[i]->value;
		make_append(arena, r, requests, entry);
	}
}

static void default_pod_containers(struct arena *arena, const CoreV1__PodSpec *spec,
				   CoreV1__Container **containers, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		default_requests(arena, containers[i]->resources);
		for (size_t k = 0; spec->hostnetwork && k < containers[i]->n_ports; k++)
			if (containers[i]->ports[k]->hostport == 0)
				make_set(containers[i]->ports[k], hostport,
					 containers[i]->ports[k]->containerport);
	}
}

void default_pod(struct arena *arena, ProtobufCMessage *message)
{
	CoreV1__PodSpec *spec = ((CoreV1__Pod *)message)->spec;

	if (spec == NULL)
		return;
	if (!spec->has_enableservicelinks)
		make_set(spec, enableservicelinks, 1);
	default_pod_containers(arena, spec, spec->containers, spec->n_containers);
	default_pod_containers(arena, spec, spec->initcontainers, spec->n_initcontainers);
}

static bool has_source(const CoreV1__VolumeSource *source)
{
	const ProtobufCMessageDescriptor *d = source->base.descriptor;

	for (unsigned i = 0; i < d->n_fields; i++)
		if (*(void *const *)((const char *)source + d->fields[i].offset) != NULL)
			return true;
	return false;
}

void default_volume(struct arena *arena, ProtobufCMessage *message)
{
	CoreV1__Volume *v = (CoreV1__Volume *)message;

	if (v->volumesource == NULL)
		v->volumesource = make(arena, CoreV1__VolumeSource, core_v1__volume_source);
	if (!has_source(v->volumesource))
		v->volumesource->emptydir =
			make(arena, CoreV1__EmptyDirVolumeSource, core_v1__empty_dir_volume_source);
	if (v->volumesource->image != NULL && text_empty(v->volumesource->image->pullpolicy))
		v->volumesource->image->pullpolicy = arena_strdup(
			arena, pull_policy(text_of(v->volumesource->image->reference)));
}

void default_service_port(struct arena *arena, ProtobufCMessage *message)
{
	CoreV1__ServicePort *p = (CoreV1__ServicePort *)message;
	Intstr__IntOrString *target = p->targetport;

	if (target != NULL && (target->type ? !text_empty(target->strval) : target->intval != 0))
		return;
	p->targetport = target = make(arena, Intstr__IntOrString, intstr__int_or_string);
	make_set(target, type, 0);
	make_set(target, intval, p->port);
}

void default_service(struct arena *arena, ProtobufCMessage *message)
{
	CoreV1__Service *service = (CoreV1__Service *)message;
	CoreV1__ServiceSpec *spec = service->spec;

	if (spec == NULL)
		return;
	if (text_empty(spec->sessionaffinity))
		spec->sessionaffinity = arena_strdup(arena, "None");
	if (text_is(spec->sessionaffinity, "None"))
		spec->sessionaffinityconfig = NULL;
	if (text_is(spec->sessionaffinity, "ClientIP")) {
		if (spec->sessionaffinityconfig == NULL)
			spec->sessionaffinityconfig = make(arena, CoreV1__SessionAffinityConfig,
							   core_v1__session_affinity_config);
		if (spec->sessionaffinityconfig->clientip == NULL)
			spec->sessionaffinityconfig->clientip =
				make(arena, CoreV1__ClientIPConfig, core_v1__client_ipconfig);
	}
	if (text_empty(spec->type))
		spec->type = arena_strdup(arena, "ClusterIP");

	bool balanced = text_is(spec->type, "LoadBalancer");
	bool external = balanced || text_is(spec->type, "NodePort") ||
			(text_is(spec->type, "ClusterIP") && spec->n_externalips > 0);

	if (external && text_empty(spec->externaltrafficpolicy))
		spec->externaltrafficpolicy = arena_strdup(arena, "Cluster");
	if (spec->internaltrafficpolicy == NULL &&
	    (balanced || text_is(spec->type, "NodePort") || text_is(spec->type, "ClusterIP")))
		spec->internaltrafficpolicy = arena_strdup(arena, "Cluster");
	if (balanced && !spec->has_allocateloadbalancernodeports)
		make_set(spec, allocateloadbalancernodeports, 1);
	if (!balanced || service->status == NULL || service->status->loadbalancer == NULL)
		return;

	CoreV1__LoadBalancerStatus *lb = service->status->loadbalancer;

	for (size_t i = 0; i < lb->n_ingress; i++)
		if (!text_empty(lb->ingress[i]->ip) && lb->ingress[i]->ipmode == NULL)
			lb->ingress[i]->ipmode = arena_strdup(arena, "VIP");
}

static Intstr__IntOrString *make_percent(struct arena *arena, const char *percent)
{
	Intstr__IntOrString *v = make(arena, Intstr__IntOrString, intstr__int_or_string);

	make_set(v, type, 1);
	v->strval = arena_strdup(arena, percent);
	return v;
}

static Intstr__IntOrString *make_int(struct arena *arena, int32_t n)
{
	Intstr__IntOrString *v = make(arena, Intstr__IntOrString, intstr__int_or_string);

	make_set(v, type, 0);
	make_set(v, intval, n);
	return v;
}

void default_deployment_strategy(struct arena *arena, ProtobufCMessage *message)
{
	AppsV1__DeploymentStrategy *s = (AppsV1__DeploymentStrategy *)message;

	if (!text_is(s->type, "RollingUpdate"))
		return;
	if (s->rollingupdate == NULL)
		s->rollingupdate = make(arena, AppsV1__RollingUpdateDeployment,
					apps_v1__rolling_update_deployment);
	if (s->rollingupdate->maxunavailable == NULL)
		s->rollingupdate->maxunavailable = make_percent(arena, "25%");
	if (s->rollingupdate->maxsurge == NULL)
		s->rollingupdate->maxsurge = make_percent(arena, "25%");
}

void default_stateful_set(struct arena *arena, ProtobufCMessage *message)
{
	AppsV1__StatefulSetSpec *spec = (AppsV1__StatefulSetSpec *)message;

	for (size_t i = 0; i < spec->n_volumeclaimtemplates; i++) {
		CoreV1__PersistentVolumeClaim *claim = spec->volumeclaimtemplates[i];

		if (claim->status == NULL)
			claim->status = make(arena, CoreV1__PersistentVolumeClaimStatus,
					     core_v1__persistent_volume_claim_status);
		if (text_empty(claim->status->phase))
			claim->status->phase = arena_strdup(arena, "Pending");
	}
}

/* Its pods' labels are its selector and its own, unless it says otherwise. */
void default_replication_controller(struct arena *arena, ProtobufCMessage *message)
{
	CoreV1__ReplicationController *rc = (CoreV1__ReplicationController *)message;
	const CoreV1__PodTemplateSpec *t = rc->spec ? rc->spec->template_ : NULL;
	const MetaV1__ObjectMeta *meta = t ? t->metadata : NULL;

	if (meta == NULL || meta->n_labels == 0)
		return;

	bool selects = rc->spec->n_selector > 0;
	MetaV1__ObjectMeta *own = message_metadata_make(rc, arena);
	bool labeled = own->n_labels > 0;

	for (size_t i = 0; i < meta->n_labels; i++) {
		const char *value = text_of(meta->labels[i]->value);

		if (!selects)
			string_map_set(rc->spec, "selector", meta->labels[i]->key, value, arena);
		if (!labeled)
			meta_set_label(arena, own, meta->labels[i]->key, value);
	}
}

void default_stateful_set_strategy(struct arena *arena, ProtobufCMessage *message)
{
	AppsV1__StatefulSetUpdateStrategy *s = (AppsV1__StatefulSetUpdateStrategy *)message;

	if (text_empty(s->type)) {
		s->type = arena_strdup(arena, "RollingUpdate");
		if (s->rollingupdate == NULL)
			s->rollingupdate = make(arena, AppsV1__RollingUpdateStatefulSetStrategy,
						apps_v1__rolling_update_stateful_set_strategy);
	}
	if (text_is(s->type, "RollingUpdate") && s->rollingupdate != NULL &&
	    !s->rollingupdate->has_partition)
		make_set(s->rollingupdate, partition, 0);
}

void default_daemon_set_strategy(struct arena *arena, ProtobufCMessage *message)
{
	AppsV1__DaemonSetUpdateStrategy *s = (AppsV1__DaemonSetUpdateStrategy *)message;

	if (text_empty(s->type))
		s->type = arena_strdup(arena, "RollingUpdate");
	if (!text_is(s->type, "RollingUpdate"))
		return;
	if (s->rollingupdate == NULL)
		s->rollingupdate = make(arena, AppsV1__RollingUpdateDaemonSet,
					apps_v1__rolling_update_daemon_set);
	if (s->rollingupdate->maxunavailable == NULL)
		s->rollingupdate->maxunavailable = make_int(arena, 1);
	if (s->rollingupdate->maxsurge == NULL)
		s->rollingupdate->maxsurge = make_int(arena, 0);
}

/* Of Jobs only: the template of a CronJob is completed when a Job is made of it. */
void default_job(struct arena *arena, ProtobufCMessage *message)
{
	BatchV1__Job *job = (BatchV1__Job *)message;
	BatchV1__JobSpec *spec = job->spec;

	if (spec == NULL)
		return;
	if (text_empty(spec->completionmode))
		spec->completionmode = arena_strdup(arena, "NonIndexed");
	if (!spec->has_suspend)
		make_set(spec, suspend, 0);
	if (!spec->has_manualselector)
		make_set(spec, manualselector, 0);
	if (!spec->has_completions && !spec->has_parallelism)
		make_set(spec, completions, 1);
	if (!spec->has_parallelism)
		make_set(spec, parallelism, 1);
	if (!spec->has_backofflimit)
		make_set(spec, backofflimit, spec->has_backofflimitperindex ? INT32_MAX : 6);
	if (spec->podreplacementpolicy == NULL)
		spec->podreplacementpolicy = arena_strdup(
			arena, spec->podfailurepolicy ? "Failed" : "TerminatingOrFailed");

	const MetaV1__ObjectMeta *template = spec->template_ ? spec->template_->metadata : NULL;
	MetaV1__ObjectMeta *meta = message_metadata_make(message, arena);

	for (size_t i = 0; template != NULL && meta->n_labels == 0 && i < template->n_labels; i++)
		meta_set_label(arena, meta, template->labels[i]->key,
			       text_of(template->labels[i]->value));
}

static void set_secret_data(struct arena *arena, CoreV1__Secret *secret, const char *key,
			    const char *text)
{
	CoreV1__Secret__DataEntry *entry = NULL;

	for (size_t i = 0; i < secret->n_data; i++)
		if (text_is(secret->data[i]->key, key))
			entry = secret->data[i];
	if (entry == NULL) {
		entry = make(arena, CoreV1__Secret__DataEntry, core_v1__secret__data_entry);
		entry->key = arena_strdup(arena, key);
		make_append(arena, secret, data, entry);
	}
	entry->has_value = 1;
	entry->value.len = strlen(text);
	entry->value.data = arena_memdup(arena, text, strlen(text));
}

void default_secret(struct arena *arena, ProtobufCMessage *message)
{
	CoreV1__Secret *secret = (CoreV1__Secret *)message;

	for (size_t i = 0; i < secret->n_stringdata; i++)
		set_secret_data(arena, secret, text_of(secret->stringdata[i]->key),
				text_of(secret->stringdata[i]->value));
	secret->n_stringdata = 0;
	secret->stringdata = NULL;
}

void default_namespace(struct arena *arena, ProtobufCMessage *message)
{
	CoreV1__Namespace *ns = (CoreV1__Namespace *)message;
	MetaV1__ObjectMeta *meta = message_metadata_make(message, arena);

	if (!text_empty(meta->name))
		meta_set_label(arena, meta, "kubernetes.io/metadata.name", meta->name);
	if (ns->status == NULL)
		ns->status = make(arena, CoreV1__NamespaceStatus, core_v1__namespace_status);
	if (text_empty(ns->status->phase))
		ns->status->phase = arena_strdup(arena, "Active");
}

void default_node_status(struct arena *arena, ProtobufCMessage *message)
{
	CoreV1__NodeStatus *status = (CoreV1__NodeStatus *)message;

	if (status->n_allocatable > 0)
		return;
	for (size_t i = 0; i < status->n_capacity; i++) {
		CoreV1__NodeStatus__AllocatableEntry *entry =
			make(arena, CoreV1__NodeStatus__AllocatableEntry,
			     core_v1__node_status__allocatable_entry);

		entry->key = status->capacity[i]->key;
		entry->value = status->capacity[i]->value;
		make_append(arena, status, allocatable, entry);
	}
}

/* All maps of a LimitRangeItem have entries of this shape. */
typedef CoreV1__LimitRangeItem__DefaultEntry limit_entry;

static const limit_entry *find_limit(limit_entry *const *entries, size_t n, const char *key)
{
	for (size_t i = 0; i < n; i++)
		if (text_is(entries[i]->key, key))
			return entries[i];
	return NULL;
}

static void fill_limits(struct arena *arena, CoreV1__LimitRangeItem *item, limit_entry *const *from,
			size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (find_limit((limit_entry *const *)item->defaultrequest, item->n_defaultrequest,
			       text_of(from[i]->key)) != NULL)
			continue;

		CoreV1__LimitRangeItem__DefaultRequestEntry *entry =
			make(arena, CoreV1__LimitRangeItem__DefaultRequestEntry,
			     core_v1__limit_range_item__default_request_entry);

		entry->key = from[i]->key;
		entry->value = from[i]->value;
		make_append(arena, item, defaultrequest, entry);
	}
}

void default_limit_range_item(struct arena *arena, ProtobufCMessage *message)
{
	CoreV1__LimitRangeItem *item = (CoreV1__LimitRangeItem *)message;

	if (!text_is(item->type, "Container"))
		return;
	for (size_t i = 0; i < item->n_max; i++) {
		if (find_limit(item->default_, item->n_default_, text_of(item->max[i]->key)) !=
		    NULL)
			continue;

		limit_entry *entry = make(arena, CoreV1__LimitRangeItem__DefaultEntry,
					  core_v1__limit_range_item__default_entry);

		entry->key = item->max[i]->key;
		entry->value = item->max[i]->value;
		make_append(arena, item, default_, entry);
	}
	fill_limits(arena, item, item->default_, item->n_default_);
	fill_limits(arena, item, (limit_entry *const *)item->min, item->n_min);
}

void default_network_policy(struct arena *arena, ProtobufCMessage *message)
{
	NetworkingV1__NetworkPolicySpec *spec = (NetworkingV1__NetworkPolicySpec *)message;

	if (spec->n_policytypes > 0)
		return;
	make_append(arena, spec, policytypes, arena_strdup(arena, "Ingress"));
	if (spec->n_egress > 0)
		make_append(arena, spec, policytypes, arena_strdup(arena, "Egress"));
}
