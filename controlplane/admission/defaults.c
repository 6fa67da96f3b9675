/* Defaults by message, not by kind: a walk over the object meets every message
 * it holds, and the group of rules for that message fills what is unset. A
 * Probe is completed the same way wherever it stands, in a Pod, in a template
 * or in a template of a template. A group may also have a function for what a
 * constant cannot say; it runs before the walk goes down, so that what it adds
 * is completed as well. */
#include <stddef.h>
#include <string.h>

#include "common/api/make.h"
#include "common/base/cleanup.h"
#include "controlplane/admission/admission.h"
#include "controlplane/admission/defaults.h"
#include "proto/k8s/apps_v1.pb-c.h"
#include "proto/k8s/autoscaling_v2.pb-c.h"
#include "proto/k8s/batch_v1.pb-c.h"
#include "proto/k8s/core_v1.pb-c.h"
#include "proto/k8s/discovery_v1.pb-c.h"
#include "proto/k8s/networking_v1.pb-c.h"
#include "proto/k8s/scheduling_v1.pb-c.h"
#include "proto/k8s/storage_v1.pb-c.h"

enum rule_type { RULE_TEXT, RULE_INT32, RULE_INT64, RULE_BOOL, RULE_MESSAGE };

struct rule {
	enum rule_type type;
	/* Zero counts as unset, too. */
	bool zero_is_unset;
	uint16_t offset, has_offset;
	int32_t number;
	const char *text;
	const ProtobufCMessageDescriptor *message;
};

struct group {
	const ProtobufCMessageDescriptor *descriptor;
	const struct rule *rules;
	size_t n_rules;
	void (*fill)(struct arena *arena, ProtobufCMessage *message);
};

#define TEXT(type_, f, v)                                                                          \
	{                                                                                          \
		.type = RULE_TEXT, .offset = offsetof(type_, f), .text = (v)                       \
	}
#define NUMBER(rule_, type_, f, v, zero)                                                           \
	{                                                                                          \
		.type = (rule_), .zero_is_unset = (zero), .offset = offsetof(type_, f),            \
		.has_offset = offsetof(type_, has_##f), .number = (v)                              \
	}
#define INT32(type_, f, v) NUMBER(RULE_INT32, type_, f, v, false)
#define INT64(type_, f, v) NUMBER(RULE_INT64, type_, f, v, false)
#define BOOL(type_, f, v) NUMBER(RULE_BOOL, type_, f, v, false)
#define INT32_ZERO(type_, f, v) NUMBER(RULE_INT32, type_, f, v, true)
#define EMPTY(type_, f, prefix)                                                                    \
	{                                                                                          \
		.type = RULE_MESSAGE, .offset = offsetof(type_, f),                                \
		.message = &prefix##__descriptor                                                   \
	}

/* clang-format off */
static const struct rule container_rules[] = {
	TEXT(CoreV1__Container, terminationmessagepath, "/dev/termination-log"),
	TEXT(CoreV1__Container, terminationmessagepolicy, "File"),
};
static const struct rule ephemeral_container_rules[] = {
	TEXT(CoreV1__EphemeralContainerCommon, terminationmessagepath, "/dev/termination-log"),
	TEXT(CoreV1__EphemeralContainerCommon, terminationmessagepolicy, "File"),
};
static const struct rule container_port_rules[] = {
	TEXT(CoreV1__ContainerPort, protocol, "TCP"),
};
static const struct rule pod_spec_rules[] = {
	TEXT(CoreV1__PodSpec, dnspolicy, "ClusterFirst"),
	TEXT(CoreV1__PodSpec, restartpolicy, "Always"),
	EMPTY(CoreV1__PodSpec, securitycontext, core_v1__pod_security_context),
	INT64(CoreV1__PodSpec, terminationgraceperiodseconds, 30),
	TEXT(CoreV1__PodSpec, schedulername, "default-scheduler"),
};
static const struct rule probe_rules[] = {
	INT32_ZERO(CoreV1__Probe, timeoutseconds, 1),
	INT32_ZERO(CoreV1__Probe, periodseconds, 10),
	INT32_ZERO(CoreV1__Probe, successthreshold, 1),
	INT32_ZERO(CoreV1__Probe, failurethreshold, 3),
};
static const struct rule http_get_rules[] = {
	TEXT(CoreV1__HTTPGetAction, path, "/"),
	TEXT(CoreV1__HTTPGetAction, scheme, "HTTP"),
};
static const struct rule grpc_rules[] = { TEXT(CoreV1__GRPCAction, service, "") };
static const struct rule secret_volume_rules[] = {
	INT32(CoreV1__SecretVolumeSource, defaultmode, 0644),
};
static const struct rule config_map_volume_rules[] = {
	INT32(CoreV1__ConfigMapVolumeSource, defaultmode, 0644),
};
static const struct rule downward_volume_rules[] = {
	INT32(CoreV1__DownwardAPIVolumeSource, defaultmode, 0644),
};
static const struct rule projected_volume_rules[] = {
	INT32(CoreV1__ProjectedVolumeSource, defaultmode, 0644),
};
static const struct rule token_projection_rules[] = {
	INT64(CoreV1__ServiceAccountTokenProjection, expirationseconds, 3600),
};
static const struct rule host_path_rules[] = { TEXT(CoreV1__HostPathVolumeSource, type, "") };
static const struct rule field_selector_rules[] = {
	TEXT(CoreV1__ObjectFieldSelector, apiversion, "v1"),
};
static const struct rule secret_rules[] = { TEXT(CoreV1__Secret, type, "Opaque") };
static const struct rule volume_claim_rules[] = {
	TEXT(CoreV1__PersistentVolumeClaimSpec, volumemode, "Filesystem"),
};
static const struct rule volume_claim_status_rules[] = {
	TEXT(CoreV1__PersistentVolumeClaimStatus, phase, "Pending"),
};
static const struct rule persistent_volume_rules[] = {
	TEXT(CoreV1__PersistentVolumeSpec, persistentvolumereclaimpolicy, "Retain"),
	TEXT(CoreV1__PersistentVolumeSpec, volumemode, "Filesystem"),
};
static const struct rule endpoint_port_rules[] = { TEXT(CoreV1__EndpointPort, protocol, "TCP") };
static const struct rule slice_port_rules[] = {
	TEXT(DiscoveryV1__EndpointPort, name, ""),
	TEXT(DiscoveryV1__EndpointPort, protocol, "TCP"),
};
static const struct rule service_port_rules[] = { TEXT(CoreV1__ServicePort, protocol, "TCP") };
static const struct rule client_ip_rules[] = {
	INT32(CoreV1__ClientIPConfig, timeoutseconds, 10800),
};
static const struct rule replica_set_rules[] = { INT32(AppsV1__ReplicaSetSpec, replicas, 1) };
static const struct rule controller_rules[] = {
	INT32(CoreV1__ReplicationControllerSpec, replicas, 1),
};
static const struct rule deployment_rules[] = {
	INT32(AppsV1__DeploymentSpec, replicas, 1),
	EMPTY(AppsV1__DeploymentSpec, strategy, apps_v1__deployment_strategy),
	INT32(AppsV1__DeploymentSpec, revisionhistorylimit, 10),
	INT32(AppsV1__DeploymentSpec, progressdeadlineseconds, 600),
};
static const struct rule deployment_strategy_rules[] = {
	TEXT(AppsV1__DeploymentStrategy, type, "RollingUpdate"),
};
static const struct rule stateful_set_rules[] = {
	INT32(AppsV1__StatefulSetSpec, replicas, 1),
	TEXT(AppsV1__StatefulSetSpec, podmanagementpolicy, "OrderedReady"),
	EMPTY(AppsV1__StatefulSetSpec, updatestrategy, apps_v1__stateful_set_update_strategy),
	EMPTY(AppsV1__StatefulSetSpec, persistentvolumeclaimretentionpolicy,
	      apps_v1__stateful_set_persistent_volume_claim_retention_policy),
	INT32(AppsV1__StatefulSetSpec, revisionhistorylimit, 10),
};
static const struct rule retention_rules[] = {
	TEXT(AppsV1__StatefulSetPersistentVolumeClaimRetentionPolicy, whendeleted, "Retain"),
	TEXT(AppsV1__StatefulSetPersistentVolumeClaimRetentionPolicy, whenscaled, "Retain"),
};
static const struct rule daemon_set_rules[] = {
	EMPTY(AppsV1__DaemonSetSpec, updatestrategy, apps_v1__daemon_set_update_strategy),
	INT32(AppsV1__DaemonSetSpec, revisionhistorylimit, 10),
};
static const struct rule failure_pattern_rules[] = {
	TEXT(BatchV1__PodFailurePolicyOnPodConditionsPattern, status, "True"),
};
static const struct rule cron_job_rules[] = {
	TEXT(BatchV1__CronJobSpec, concurrencypolicy, "Allow"),
	BOOL(BatchV1__CronJobSpec, suspend, 0),
	INT32(BatchV1__CronJobSpec, successfuljobshistorylimit, 3),
	INT32(BatchV1__CronJobSpec, failedjobshistorylimit, 1),
};
static const struct rule class_parameters_rules[] = {
	TEXT(NetworkingV1__IngressClassParametersReference, scope, "Cluster"),
};
static const struct rule policy_port_rules[] = {
	TEXT(NetworkingV1__NetworkPolicyPort, protocol, "TCP"),
};
static const struct rule storage_class_rules[] = {
	TEXT(StorageV1__StorageClass, reclaimpolicy, "Delete"),
	TEXT(StorageV1__StorageClass, volumebindingmode, "Immediate"),
};
static const struct rule priority_class_rules[] = {
	TEXT(SchedulingV1__PriorityClass, preemptionpolicy, "PreemptLowerPriority"),
};

#define GROUP(prefix, rules_, fill_) \
	{ &prefix##__descriptor, rules_, array_size(rules_), fill_ }
#define FILL(prefix, fill_) { &prefix##__descriptor, NULL, 0, fill_ }

/* The most frequent first: the search is linear. */
static const struct group groups[] = {
	GROUP(core_v1__container, container_rules, default_container),
	GROUP(core_v1__container_port, container_port_rules, NULL),
	GROUP(core_v1__pod_spec, pod_spec_rules, NULL),
	FILL(core_v1__pod, default_pod),
	FILL(core_v1__volume, default_volume),
	GROUP(core_v1__object_field_selector, field_selector_rules, NULL),
	GROUP(core_v1__projected_volume_source, projected_volume_rules, NULL),
	GROUP(core_v1__service_account_token_projection, token_projection_rules, NULL),
	GROUP(core_v1__probe, probe_rules, NULL),
	GROUP(core_v1__httpget_action, http_get_rules, NULL),
	GROUP(core_v1__grpcaction, grpc_rules, NULL),
	GROUP(core_v1__config_map_volume_source, config_map_volume_rules, NULL),
	GROUP(core_v1__secret_volume_source, secret_volume_rules, NULL),
	GROUP(core_v1__downward_apivolume_source, downward_volume_rules, NULL),
	GROUP(core_v1__host_path_volume_source, host_path_rules, NULL),
	GROUP(core_v1__service_port, service_port_rules, default_service_port),
	FILL(core_v1__service, default_service),
	GROUP(core_v1__client_ipconfig, client_ip_rules, NULL),
	GROUP(core_v1__endpoint_port, endpoint_port_rules, NULL),
	GROUP(discovery_v1__endpoint_port, slice_port_rules, NULL),
	GROUP(apps_v1__replica_set_spec, replica_set_rules, NULL),
	GROUP(apps_v1__deployment_spec, deployment_rules, NULL),
	GROUP(apps_v1__deployment_strategy, deployment_strategy_rules, default_deployment_strategy),
	GROUP(core_v1__secret, secret_rules, default_secret),
	FILL(core_v1__namespace, default_namespace),
	FILL(core_v1__node_status, default_node_status),
	FILL(core_v1__limit_range_item, default_limit_range_item),
	GROUP(core_v1__ephemeral_container_common, ephemeral_container_rules,
	      default_ephemeral_container),
	GROUP(core_v1__persistent_volume_claim_spec, volume_claim_rules, NULL),
	GROUP(core_v1__persistent_volume_claim_status, volume_claim_status_rules, NULL),
	GROUP(core_v1__persistent_volume_spec, persistent_volume_rules, NULL),
	FILL(core_v1__replication_controller, default_replication_controller),
	GROUP(core_v1__replication_controller_spec, controller_rules, NULL),
	GROUP(apps_v1__stateful_set_spec, stateful_set_rules, default_stateful_set),
	FILL(apps_v1__stateful_set_update_strategy, default_stateful_set_strategy),
	GROUP(apps_v1__stateful_set_persistent_volume_claim_retention_policy, retention_rules, NULL),
	GROUP(apps_v1__daemon_set_spec, daemon_set_rules, NULL),
	FILL(apps_v1__daemon_set_update_strategy, default_daemon_set_strategy),
	FILL(batch_v1__job, default_job),
	GROUP(batch_v1__pod_failure_policy_on_pod_conditions_pattern, failure_pattern_rules, NULL),
	GROUP(batch_v1__cron_job_spec, cron_job_rules, NULL),
	GROUP(networking_v1__ingress_class_parameters_reference, class_parameters_rules, NULL),
	FILL(autoscaling_v2__horizontal_pod_autoscaler_spec, default_autoscaler),
	FILL(autoscaling_v2__horizontal_pod_autoscaler_behavior, default_autoscaler_behavior),
	FILL(networking_v1__network_policy_spec, default_network_policy),
	GROUP(networking_v1__network_policy_port, policy_port_rules, NULL),
	GROUP(storage_v1__storage_class, storage_class_rules, NULL),
	GROUP(scheduling_v1__priority_class, priority_class_rules, NULL),
};
/* clang-format on */

static void apply_rule(struct arena *arena, const struct rule *r, ProtobufCMessage *message)
{
	char *at = (char *)message + r->offset;
	protobuf_c_boolean *has = (protobuf_c_boolean *)((char *)message + r->has_offset);

	switch (r->type) {
	case RULE_TEXT:
		/* A default of "" only makes the field present. */
		if (*(char **)at == NULL || (**(char **)at == '\0' && r->text[0] != '\0'))
			*(char **)at = arena_strdup(arena, r->text);
		return;
	case RULE_MESSAGE:
		if (*(void **)at == NULL)
			*(void **)at = message_new(r->message, arena);
		return;
	case RULE_INT32:
		if (!*has || (r->zero_is_unset && *(int32_t *)at == 0)) {
			*has = 1;
			*(int32_t *)at = r->number;
		}
		return;
	case RULE_INT64:
		if (!*has) {
			*has = 1;
			*(int64_t *)at = r->number;
		}
		return;
	case RULE_BOOL:
		if (!*has) {
			*has = 1;
			*(protobuf_c_boolean *)at = r->number;
		}
		return;
	}
}

static void fill(struct arena *arena, ProtobufCMessage *message)
{
	for (size_t i = 0; i < array_size(groups); i++) {
		const struct group *g = &groups[i];

		if (g->descriptor != message->descriptor)
			continue;
		for (size_t r = 0; r < g->n_rules; r++)
			apply_rule(arena, &g->rules[r], message);
		if (g->fill != NULL)
			g->fill(arena, message);
		return;
	}
}

static bool is_map_entry(const ProtobufCMessageDescriptor *d)
{
	return d->n_fields == 2 && strcmp(d->fields[0].name, "key") == 0 &&
	       strcmp(d->fields[1].name, "value") == 0;
}

static bool has_defaults_below(const ProtobufCFieldDescriptor *f)
{
	/* Maps, metadata and selectors are full of messages and have no defaults. */
	return f->type == PROTOBUF_C_TYPE_MESSAGE && !is_map_entry(f->descriptor) &&
	       f->descriptor != &meta_v1__object_meta__descriptor &&
	       f->descriptor != &meta_v1__label_selector__descriptor &&
	       f->descriptor != &meta_v1__time__descriptor;
}

/* Messages nest as deep as their descriptors do: only JSONSchemaProps is recursive, and decoders
 * bound that. */
static void walk(struct arena *arena, ProtobufCMessage *message)
{
	const ProtobufCMessageDescriptor *d = message->descriptor;

	fill(arena, message);
	for (unsigned i = 0; i < d->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &d->fields[i];
		char *at = (char *)message + f->offset;

		if (!has_defaults_below(f))
			continue;
		if (f->label == PROTOBUF_C_LABEL_REPEATED) {
			ProtobufCMessage **items = *(ProtobufCMessage ***)at;
			size_t n = *(size_t *)((char *)message + f->quantifier_offset);

			for (size_t k = 0; k < n; k++)
				walk(arena, items[k]);
		} else if (*(ProtobufCMessage **)at != NULL) {
			walk(arena, *(ProtobufCMessage **)at);
		}
	}
}

void admission_defaults(struct arena *arena, const struct kind *kind, ProtobufCMessage *message)
{
	walk(arena, message);
}
