#include "common/api/kinds.h"

#include <string.h>

#include "common/api/schema.h"
#include "common/base/cleanup.h"
#include "proto/k8s/admissionregistration_v1.pb-c.h"
#include "proto/k8s/apiextensions_v1.pb-c.h"
#include "proto/k8s/apps_v1.pb-c.h"
#include "proto/k8s/authentication_v1.pb-c.h"
#include "proto/k8s/authorization_v1.pb-c.h"
#include "proto/k8s/autoscaling_v1.pb-c.h"
#include "proto/k8s/autoscaling_v2.pb-c.h"
#include "proto/k8s/batch_v1.pb-c.h"
#include "proto/k8s/certificates_v1.pb-c.h"
#include "proto/k8s/coordination_v1.pb-c.h"
#include "proto/k8s/core_v1.pb-c.h"
#include "proto/k8s/discovery_v1.pb-c.h"
#include "proto/k8s/events_v1.pb-c.h"
#include "proto/k8s/metrics_v1beta1.pb-c.h"
#include "proto/k8s/networking_v1.pb-c.h"
#include "proto/k8s/node_v1.pb-c.h"
#include "proto/k8s/policy_v1.pb-c.h"
#include "proto/k8s/rbac_v1.pb-c.h"
#include "proto/k8s/scheduling_v1.pb-c.h"
#include "proto/k8s/storage_v1.pb-c.h"

/* One row per kind. What is not KIND_SERVED has a schema but no effect yet: it
 * is absent from discovery and answers 404. */

#define NAMES(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define SUBRESOURCES(a) .subresources = (a), .n_subresources = array_size(a)
#define SUB(name_, group_, version_, kind_, c_, verbs_, served_)                                   \
	{                                                                                          \
		name_, group_, version_, kind_, verbs_, served_, &c_##__descriptor                 \
	}
#define ROW(group_, version_, api_version_, kind_, singular_, plural_, resource_, c_, ...)         \
	{                                                                                          \
		.group = group_, .version = version_, .api_version = api_version_, .kind = #kind_, \
		.singular = singular_, .plural = plural_, .resource = resource_,                   \
		.descriptor = &c_##__descriptor, __VA_ARGS__                                       \
	}
#define LIST_OF(kind_, c_) .list_kind = #kind_ "List", .list_descriptor = &c_##_list__descriptor
#define CORE(kind_, singular_, plural_, c_, ...)                                                   \
	ROW("", "v1", "v1", kind_, singular_, plural_, plural_, c_, LIST_OF(kind_, c_), __VA_ARGS__)
#define CORE_VIRTUAL(kind_, singular_, plural_, c_, ...)                                           \
	ROW("", "v1", "v1", kind_, singular_, plural_, plural_, c_, __VA_ARGS__)
#define PLAIN(group_, version_, kind_, singular_, plural_, c_, ...)                                \
	ROW(group_, version_, group_ "/" version_, kind_, singular_, plural_, plural_ "." group_,  \
	    c_, __VA_ARGS__)
#define GROUP(group_, version_, kind_, singular_, plural_, c_, ...)                                \
	PLAIN(group_, version_, kind_, singular_, plural_, c_, LIST_OF(kind_, c_), __VA_ARGS__)

#define CHANGE (KIND_GET | KIND_PATCH | KIND_UPDATE)
#define ALL                                                                                        \
	(KIND_CREATE | KIND_DELETE | KIND_DELETE_COLLECTION | KIND_GET | KIND_LIST | KIND_PATCH |  \
	 KIND_UPDATE | KIND_WATCH)

/* clang-format off */
static const struct kind_subresource core_v1_namespace_subs[] = {
	SUB("finalize", "", "v1", "Namespace", core_v1__namespace, KIND_UPDATE, true),
	SUB("status", "", "v1", "Namespace", core_v1__namespace, CHANGE, true),
};
static const struct kind_subresource core_v1_node_subs[] = {
	SUB("proxy", "", "v1", "NodeProxyOptions", core_v1__node_proxy_options,
	KIND_CREATE | KIND_DELETE | KIND_GET | KIND_PATCH | KIND_UPDATE, false),
	SUB("status", "", "v1", "Node", core_v1__node, CHANGE, true),
};
static const struct kind_subresource core_v1_persistent_volume_claim_subs[] = {
	SUB("status", "", "v1", "PersistentVolumeClaim", core_v1__persistent_volume_claim,
	CHANGE, true),
};
static const struct kind_subresource core_v1_persistent_volume_subs[] = {
	SUB("status", "", "v1", "PersistentVolume", core_v1__persistent_volume, CHANGE, true),
};
static const struct kind_subresource core_v1_pod_subs[] = {
	SUB("attach", "", "v1", "PodAttachOptions", core_v1__pod_attach_options,
	KIND_CREATE | KIND_GET, true),
	SUB("binding", "", "v1", "Binding", core_v1__binding, KIND_CREATE, true),
	SUB("ephemeralcontainers", "", "v1", "Pod", core_v1__pod, CHANGE, false),
	SUB("eviction", "policy", "v1", "Eviction", policy_v1__eviction, KIND_CREATE, true),
	SUB("exec", "", "v1", "PodExecOptions", core_v1__pod_exec_options,
	KIND_CREATE | KIND_GET, true),
	SUB("log", "", "v1", "Pod", core_v1__pod, KIND_GET, true),
	SUB("portforward", "", "v1", "PodPortForwardOptions", core_v1__pod_port_forward_options,
	KIND_CREATE | KIND_GET, true),
	SUB("proxy", "", "v1", "PodProxyOptions", core_v1__pod_proxy_options,
	KIND_CREATE | KIND_DELETE | KIND_GET | KIND_PATCH | KIND_UPDATE, false),
	SUB("resize", "", "v1", "Pod", core_v1__pod, CHANGE, false),
	SUB("status", "", "v1", "Pod", core_v1__pod, CHANGE, true),
};
static const struct kind_subresource core_v1_replication_controller_subs[] = {
	SUB("scale", "autoscaling", "v1", "Scale", autoscaling_v1__scale, CHANGE, true),
	SUB("status", "", "v1", "ReplicationController", core_v1__replication_controller, CHANGE,
	true),
};
static const struct kind_subresource core_v1_resource_quota_subs[] = {
	SUB("status", "", "v1", "ResourceQuota", core_v1__resource_quota, CHANGE, true),
};
static const struct kind_subresource core_v1_service_account_subs[] = {
	SUB("token", "authentication.k8s.io", "v1", "TokenRequest",
	authentication_v1__token_request, KIND_CREATE, true),
};
static const struct kind_subresource core_v1_service_subs[] = {
	SUB("proxy", "", "v1", "ServiceProxyOptions", core_v1__service_proxy_options,
	KIND_CREATE | KIND_DELETE | KIND_GET | KIND_PATCH | KIND_UPDATE, false),
	SUB("status", "", "v1", "Service", core_v1__service, CHANGE, true),
};
static const struct kind_subresource apps_v1_daemon_set_subs[] = {
	SUB("status", "apps", "v1", "DaemonSet", apps_v1__daemon_set, CHANGE, true),
};
static const struct kind_subresource apps_v1_deployment_subs[] = {
	SUB("scale", "autoscaling", "v1", "Scale", autoscaling_v1__scale, CHANGE, true),
	SUB("status", "apps", "v1", "Deployment", apps_v1__deployment, CHANGE, true),
};
static const struct kind_subresource apps_v1_replica_set_subs[] = {
	SUB("scale", "autoscaling", "v1", "Scale", autoscaling_v1__scale, CHANGE, true),
	SUB("status", "apps", "v1", "ReplicaSet", apps_v1__replica_set, CHANGE, true),
};
static const struct kind_subresource apps_v1_stateful_set_subs[] = {
	SUB("scale", "autoscaling", "v1", "Scale", autoscaling_v1__scale, CHANGE, true),
	SUB("status", "apps", "v1", "StatefulSet", apps_v1__stateful_set, CHANGE, true),
};
static const struct kind_subresource batch_v1_cron_job_subs[] = {
	SUB("status", "batch", "v1", "CronJob", batch_v1__cron_job, CHANGE, true),
};
static const struct kind_subresource batch_v1_job_subs[] = {
	SUB("status", "batch", "v1", "Job", batch_v1__job, CHANGE, true),
};
static const struct kind_subresource autoscaling_v1_horizontal_pod_autoscaler_subs[] = {
	SUB("status", "autoscaling", "v1", "HorizontalPodAutoscaler",
	autoscaling_v1__horizontal_pod_autoscaler, CHANGE, true),
};
static const struct kind_subresource autoscaling_v2_horizontal_pod_autoscaler_subs[] = {
	SUB("status", "autoscaling", "v2", "HorizontalPodAutoscaler",
	autoscaling_v2__horizontal_pod_autoscaler, CHANGE, true),
};
static const struct kind_subresource networking_v1_ingress_subs[] = {
	SUB("status", "networking.k8s.io", "v1", "Ingress", networking_v1__ingress, CHANGE,
	true),
};
static const struct kind_subresource networking_v1_service_cidr_subs[] = {
	SUB("status", "networking.k8s.io", "v1", "ServiceCIDR", networking_v1__service_cidr,
	CHANGE, false),
};
static const struct kind_subresource policy_v1_pod_disruption_budget_subs[] = {
	SUB("status", "policy", "v1", "PodDisruptionBudget", policy_v1__pod_disruption_budget,
	CHANGE, true),
};
static const struct kind_subresource storage_v1_volume_attachment_subs[] = {
	SUB("status", "storage.k8s.io", "v1", "VolumeAttachment", storage_v1__volume_attachment,
	CHANGE, false),
};
static const struct kind_subresource certificates_v1_certificate_signing_request_subs[] = {
	SUB("approval", "certificates.k8s.io", "v1", "CertificateSigningRequest",
	certificates_v1__certificate_signing_request, CHANGE, true),
	SUB("status", "certificates.k8s.io", "v1", "CertificateSigningRequest",
	certificates_v1__certificate_signing_request, CHANGE, true),
};
static const struct kind_subresource admissionregistration_v1_validating_admission_policy_subs[] = {
	SUB("status", "admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicy",
	admissionregistration_v1__validating_admission_policy, CHANGE, false),
};
static const struct kind_subresource apiextensions_v1_custom_resource_definition_subs[] = {
	SUB("status", "apiextensions.k8s.io", "v1", "CustomResourceDefinition",
	apiextensions_v1__custom_resource_definition, CHANGE, false),
};

const struct kind kinds_all[] = {
	CORE_VIRTUAL(Binding, "binding", "bindings", core_v1__binding,
		.verbs = KIND_CREATE, .flags = KIND_NAMESPACED | KIND_VIRTUAL),
	CORE(ComponentStatus, "componentstatus", "componentstatuses", core_v1__component_status,
		.short_names = NAMES("cs"), .verbs = KIND_GET | KIND_LIST),
	CORE(ConfigMap, "configmap", "configmaps", core_v1__config_map,
		.short_names = NAMES("cm"), .verbs = ALL,
		.flags = KIND_SERVED | KIND_NAMESPACED | KIND_BLIND_PUT),
	CORE(Endpoints, "endpoints", "endpoints", core_v1__endpoints,
		.short_names = NAMES("ep"), .verbs = ALL,
		.flags = KIND_SERVED | KIND_NAMESPACED | KIND_PUT_CREATES | KIND_BLIND_PUT),
	CORE(Event, "event", "events", core_v1__event,
		.short_names = NAMES("ev"), .verbs = ALL,
		.flags = KIND_SERVED | KIND_NAMESPACED | KIND_PUT_CREATES | KIND_BLIND_PUT,
		.field_selectors = NAMES(
			"involvedObject.kind", "involvedObject.namespace", "involvedObject.name",
			"involvedObject.uid", "involvedObject.apiVersion",
			"involvedObject.resourceVersion", "involvedObject.fieldPath", "reason",
			"reportingComponent", "source", "type")),
	CORE(LimitRange, "limitrange", "limitranges", core_v1__limit_range,
		.short_names = NAMES("limits"), .verbs = ALL,
		.flags = KIND_SERVED | KIND_NAMESPACED | KIND_PUT_CREATES | KIND_BLIND_PUT),
	CORE(Namespace, "namespace", "namespaces", core_v1__namespace,
		.short_names = NAMES("ns"), .verbs = ALL & ~KIND_DELETE_COLLECTION,
		.flags = KIND_SERVED | KIND_BLIND_PUT | KIND_STATUS,
		SUBRESOURCES(core_v1_namespace_subs), .field_selectors = NAMES("status.phase")),
	CORE(Node, "node", "nodes", core_v1__node,
		.short_names = NAMES("no"), .verbs = ALL,
		.flags = KIND_SERVED | KIND_BLIND_PUT | KIND_STATUS,
		SUBRESOURCES(core_v1_node_subs), .field_selectors = NAMES("spec.unschedulable")),
	CORE(PersistentVolumeClaim, "persistentvolumeclaim", "persistentvolumeclaims",
		core_v1__persistent_volume_claim,
		.short_names = NAMES("pvc"), .verbs = ALL,
		.flags = KIND_SERVED | KIND_NAMESPACED | KIND_BLIND_PUT | KIND_STATUS,
		SUBRESOURCES(core_v1_persistent_volume_claim_subs)),
	CORE(PersistentVolume, "persistentvolume", "persistentvolumes", core_v1__persistent_volume,
		.short_names = NAMES("pv"), .verbs = ALL,
		.flags = KIND_SERVED | KIND_BLIND_PUT | KIND_STATUS,
		SUBRESOURCES(core_v1_persistent_volume_subs)),
	CORE(Pod, "pod", "pods", core_v1__pod,
		.short_names = NAMES("po"), .categories = NAMES("all"), .verbs = ALL,
		.flags = KIND_SERVED | KIND_NAMESPACED | KIND_BLIND_PUT | KIND_GENERATION | KIND_STATUS,
		SUBRESOURCES(core_v1_pod_subs),
		.field_selectors = NAMES(
			"spec.nodeName", "spec.restartPolicy", "spec.schedulerName",
			"spec.serviceAccountName", "spec.hostNetwork", "status.phase",
			"status.podIP", "status.podIPs", "status.nominatedNodeName")),
	CORE(PodTemplate, "podtemplate", "podtemplates", core_v1__pod_template,
		.verbs = ALL,
		.flags = KIND_SERVED | KIND_NAMESPACED | KIND_BLIND_PUT | KIND_GENERATION),
	CORE(ReplicationController, "replicationcontroller", "replicationcontrollers",
		core_v1__replication_controller,
		.short_names = NAMES("rc"), .categories = NAMES("all"), .verbs = ALL,
		.flags = KIND_SERVED | KIND_NAMESPACED | KIND_BLIND_PUT | KIND_GENERATION | KIND_STATUS,
		SUBRESOURCES(core_v1_replication_controller_subs),
		.field_selectors = NAMES("status.replicas")),
	CORE(ResourceQuota, "resourcequota", "resourcequotas", core_v1__resource_quota,
		.short_names = NAMES("quota"), .verbs = ALL,
		.flags = KIND_SERVED | KIND_NAMESPACED | KIND_BLIND_PUT | KIND_STATUS,
		SUBRESOURCES(core_v1_resource_quota_subs)),
	CORE(Secret, "secret", "secrets", core_v1__secret,
		.verbs = ALL, .flags = KIND_SERVED | KIND_NAMESPACED | KIND_BLIND_PUT,
		.field_selectors = NAMES("type")),
	CORE(ServiceAccount, "serviceaccount", "serviceaccounts", core_v1__service_account,
		.short_names = NAMES("sa"), .verbs = ALL,
		.flags = KIND_SERVED | KIND_NAMESPACED | KIND_BLIND_PUT,
		SUBRESOURCES(core_v1_service_account_subs)),
	CORE(Service, "service", "services", core_v1__service,
		.short_names = NAMES("svc"), .categories = NAMES("all"), .verbs = ALL,
		.flags = KIND_SERVED | KIND_NAMESPACED | KIND_PUT_CREATES | KIND_BLIND_PUT | KIND_STATUS,
		SUBRESOURCES(core_v1_service_subs),
		.field_selectors = NAMES("spec.clusterIP", "spec.type")),

	GROUP("apps", "v1", ControllerRevision, "controllerrevision", "controllerrevisions",
		apps_v1__controller_revision,
		.verbs = ALL, .flags = KIND_SERVED | KIND_NAMESPACED | KIND_BLIND_PUT),
	GROUP("apps", "v1", DaemonSet, "daemonset", "daemonsets", apps_v1__daemon_set,
		.short_names = NAMES("ds"), .categories = NAMES("all"), .verbs = ALL,
		.flags = KIND_SERVED | KIND_NAMESPACED | KIND_BLIND_PUT | KIND_GENERATION | KIND_STATUS,
		SUBRESOURCES(apps_v1_daemon_set_subs)),
	GROUP("apps", "v1", Deployment, "deployment", "deployments", apps_v1__deployment,
		.short_names = NAMES("deploy"), .categories = NAMES("all"), .verbs = ALL,
		.flags = KIND_SERVED | KIND_NAMESPACED | KIND_BLIND_PUT | KIND_GENERATION | KIND_STATUS,
		SUBRESOURCES(apps_v1_deployment_subs)),
	GROUP("apps", "v1", ReplicaSet, "replicaset", "replicasets", apps_v1__replica_set,
		.short_names = NAMES("rs"), .categories = NAMES("all"), .verbs = ALL,
		.flags = KIND_SERVED | KIND_NAMESPACED | KIND_BLIND_PUT | KIND_GENERATION | KIND_STATUS,
		SUBRESOURCES(apps_v1_replica_set_subs)),
	GROUP("apps", "v1", StatefulSet, "statefulset", "statefulsets", apps_v1__stateful_set,
		.short_names = NAMES("sts"), .categories = NAMES("all"), .verbs = ALL,
		.flags = KIND_SERVED | KIND_NAMESPACED | KIND_BLIND_PUT | KIND_GENERATION | KIND_STATUS,
		SUBRESOURCES(apps_v1_stateful_set_subs)),

	GROUP("batch", "v1", CronJob, "cronjob", "cronjobs", batch_v1__cron_job,
		.short_names = NAMES("cj"), .categories = NAMES("all"), .verbs = ALL,
		.flags = KIND_SERVED | KIND_NAMESPACED | KIND_BLIND_PUT | KIND_GENERATION | KIND_STATUS,
		SUBRESOURCES(batch_v1_cron_job_subs)),
	GROUP("batch", "v1", Job, "job", "jobs", batch_v1__job,
		.categories = NAMES("all"), .verbs = ALL,
		.flags = KIND_SERVED | KIND_NAMESPACED | KIND_BLIND_PUT | KIND_GENERATION | KIND_STATUS,
		SUBRESOURCES(batch_v1_job_subs), .field_selectors = NAMES("status.successful")),

	/* The first is the one that is stored. */
	GROUP("autoscaling", "v2", HorizontalPodAutoscaler, "horizontalpodautoscaler", "horizontalpodautoscalers",
		autoscaling_v2__horizontal_pod_autoscaler,
		.short_names = NAMES("hpa"), .categories = NAMES("all"), .verbs = ALL,
		.flags = KIND_SERVED | KIND_NAMESPACED | KIND_BLIND_PUT | KIND_STATUS,
		SUBRESOURCES(autoscaling_v2_horizontal_pod_autoscaler_subs)),
	GROUP("autoscaling", "v1", HorizontalPodAutoscaler, "horizontalpodautoscaler", "horizontalpodautoscalers",
		autoscaling_v1__horizontal_pod_autoscaler,
		.short_names = NAMES("hpa"), .categories = NAMES("all"), .verbs = ALL,
		.flags = KIND_SERVED | KIND_NAMESPACED | KIND_BLIND_PUT | KIND_STATUS,
		SUBRESOURCES(autoscaling_v1_horizontal_pod_autoscaler_subs)),

	GROUP("networking.k8s.io", "v1", IngressClass, "ingressclass", "ingressclasses",
		networking_v1__ingress_class,
		.verbs = ALL, .flags = KIND_SERVED | KIND_BLIND_PUT | KIND_GENERATION),
	GROUP("networking.k8s.io", "v1", Ingress, "ingress", "ingresses", networking_v1__ingress,
		.short_names = NAMES("ing"), .verbs = ALL,
		.flags = KIND_SERVED | KIND_NAMESPACED | KIND_BLIND_PUT | KIND_GENERATION | KIND_STATUS,
		SUBRESOURCES(networking_v1_ingress_subs)),
	GROUP("networking.k8s.io", "v1", IPAddress, "ipaddress", "ipaddresses",
		networking_v1__ipaddress,
		.short_names = NAMES("ip"), .verbs = ALL, .flags = KIND_BLIND_PUT),
	GROUP("networking.k8s.io", "v1", NetworkPolicy, "networkpolicy", "networkpolicies",
		networking_v1__network_policy,
		.short_names = NAMES("netpol"), .verbs = ALL,
		.flags = KIND_SERVED | KIND_NAMESPACED | KIND_BLIND_PUT | KIND_GENERATION),
	PLAIN("networking.k8s.io", "v1", ServiceCIDR, "servicecidr", "servicecidrs",
		networking_v1__service_cidr,
		.list_kind = "ServiceCIDRList",
		.list_descriptor = &networking_v1__service_cidrlist__descriptor,
		.verbs = ALL, .flags = KIND_BLIND_PUT | KIND_STATUS,
		SUBRESOURCES(networking_v1_service_cidr_subs)),

	GROUP("policy", "v1", PodDisruptionBudget, "poddisruptionbudget", "poddisruptionbudgets",
		policy_v1__pod_disruption_budget,
		.short_names = NAMES("pdb"), .verbs = ALL,
		.flags = KIND_SERVED | KIND_NAMESPACED | KIND_GENERATION | KIND_STATUS,
		SUBRESOURCES(policy_v1_pod_disruption_budget_subs)),

	GROUP("rbac.authorization.k8s.io", "v1", ClusterRoleBinding, "clusterrolebinding", "clusterrolebindings",
		rbac_v1__cluster_role_binding,
		.verbs = ALL, .flags = KIND_SERVED | KIND_PUT_CREATES | KIND_BLIND_PUT),
	GROUP("rbac.authorization.k8s.io", "v1", ClusterRole, "clusterrole", "clusterroles",
		rbac_v1__cluster_role,
		.verbs = ALL, .flags = KIND_SERVED | KIND_PUT_CREATES | KIND_BLIND_PUT),
	GROUP("rbac.authorization.k8s.io", "v1", RoleBinding, "rolebinding", "rolebindings",
		rbac_v1__role_binding,
		.verbs = ALL, .flags = KIND_SERVED | KIND_NAMESPACED | KIND_PUT_CREATES | KIND_BLIND_PUT),
	GROUP("rbac.authorization.k8s.io", "v1", Role, "role", "roles", rbac_v1__role,
		.verbs = ALL, .flags = KIND_SERVED | KIND_NAMESPACED | KIND_PUT_CREATES | KIND_BLIND_PUT),

	GROUP("storage.k8s.io", "v1", CSIDriver, "csidriver", "csidrivers", storage_v1__csidriver,
		.verbs = ALL),
	GROUP("storage.k8s.io", "v1", CSINode, "csinode", "csinodes", storage_v1__csinode,
		.verbs = ALL),
	GROUP("storage.k8s.io", "v1", CSIStorageCapacity, "csistoragecapacity", "csistoragecapacities",
		storage_v1__csistorage_capacity,
		.verbs = ALL, .flags = KIND_NAMESPACED),
	GROUP("storage.k8s.io", "v1", StorageClass, "storageclass", "storageclasses",
		storage_v1__storage_class,
		.short_names = NAMES("sc"), .verbs = ALL, .flags = KIND_SERVED | KIND_BLIND_PUT),
	GROUP("storage.k8s.io", "v1", VolumeAttachment, "volumeattachment", "volumeattachments",
		storage_v1__volume_attachment,
		.verbs = ALL, .flags = KIND_STATUS,
		SUBRESOURCES(storage_v1_volume_attachment_subs)),

	GROUP("scheduling.k8s.io", "v1", PriorityClass, "priorityclass", "priorityclasses",
		scheduling_v1__priority_class,
		.short_names = NAMES("pc"), .verbs = ALL,
		.flags = KIND_SERVED | KIND_BLIND_PUT | KIND_GENERATION),

	GROUP("coordination.k8s.io", "v1", Lease, "lease", "leases", coordination_v1__lease,
		.verbs = ALL, .flags = KIND_SERVED | KIND_NAMESPACED | KIND_PUT_CREATES),

	GROUP("discovery.k8s.io", "v1", EndpointSlice, "endpointslice", "endpointslices",
		discovery_v1__endpoint_slice,
		.verbs = ALL,
		.flags = KIND_SERVED | KIND_NAMESPACED | KIND_BLIND_PUT | KIND_GENERATION),

	GROUP("events.k8s.io", "v1", Event, "event", "events", events_v1__event,
		.short_names = NAMES("ev"), .verbs = ALL,
		.flags = KIND_SERVED | KIND_NAMESPACED | KIND_PUT_CREATES | KIND_BLIND_PUT,
		.field_selectors = NAMES(
			"regarding.kind", "regarding.namespace", "regarding.name",
			"regarding.uid", "regarding.apiVersion", "regarding.resourceVersion",
			"regarding.fieldPath", "reason", "reportingController", "type")),

	GROUP("certificates.k8s.io", "v1", CertificateSigningRequest, "certificatesigningrequest", "certificatesigningrequests",
		certificates_v1__certificate_signing_request,
		.short_names = NAMES("csr"), .verbs = ALL,
		.flags = KIND_SERVED | KIND_BLIND_PUT | KIND_STATUS,
		SUBRESOURCES(certificates_v1_certificate_signing_request_subs),
		.field_selectors = NAMES("spec.signerName")),

	PLAIN("authentication.k8s.io", "v1", SelfSubjectReview, "selfsubjectreview", "selfsubjectreviews",
		authentication_v1__self_subject_review,
		.verbs = KIND_CREATE, .flags = KIND_SERVED | KIND_VIRTUAL),
	PLAIN("authentication.k8s.io", "v1beta1", SelfSubjectReview, "selfsubjectreview", "selfsubjectreviews",
		authentication_v1__self_subject_review,
		.verbs = KIND_CREATE, .flags = KIND_SERVED | KIND_VIRTUAL),
	PLAIN("authentication.k8s.io", "v1", TokenReview, "tokenreview", "tokenreviews",
		authentication_v1__token_review,
		.verbs = KIND_CREATE, .flags = KIND_SERVED | KIND_VIRTUAL),

	PLAIN("authorization.k8s.io", "v1", LocalSubjectAccessReview, "localsubjectaccessreview", "localsubjectaccessreviews",
		authorization_v1__local_subject_access_review,
		.verbs = KIND_CREATE, .flags = KIND_NAMESPACED | KIND_VIRTUAL),
	PLAIN("authorization.k8s.io", "v1", SelfSubjectAccessReview, "selfsubjectaccessreview", "selfsubjectaccessreviews",
		authorization_v1__self_subject_access_review,
		.verbs = KIND_CREATE, .flags = KIND_SERVED | KIND_VIRTUAL),
	PLAIN("authorization.k8s.io", "v1", SelfSubjectRulesReview, "selfsubjectrulesreview", "selfsubjectrulesreviews",
		authorization_v1__self_subject_rules_review,
		.verbs = KIND_CREATE, .flags = KIND_VIRTUAL),
	PLAIN("authorization.k8s.io", "v1", SubjectAccessReview, "subjectaccessreview", "subjectaccessreviews",
		authorization_v1__subject_access_review,
		.verbs = KIND_CREATE, .flags = KIND_VIRTUAL),

	GROUP("admissionregistration.k8s.io", "v1", MutatingWebhookConfiguration, "mutatingwebhookconfiguration", "mutatingwebhookconfigurations",
		admissionregistration_v1__mutating_webhook_configuration,
		.categories = NAMES("api-extensions"), .verbs = ALL, .flags = KIND_GENERATION),
	GROUP("admissionregistration.k8s.io", "v1", ValidatingAdmissionPolicy, "validatingadmissionpolicy", "validatingadmissionpolicies",
		admissionregistration_v1__validating_admission_policy,
		.categories = NAMES("api-extensions"), .verbs = ALL,
		.flags = KIND_GENERATION | KIND_STATUS,
		SUBRESOURCES(admissionregistration_v1_validating_admission_policy_subs)),
	GROUP("admissionregistration.k8s.io", "v1", ValidatingAdmissionPolicyBinding, "validatingadmissionpolicybinding", "validatingadmissionpolicybindings",
		admissionregistration_v1__validating_admission_policy_binding,
		.categories = NAMES("api-extensions"), .verbs = ALL, .flags = KIND_GENERATION),
	GROUP("admissionregistration.k8s.io", "v1", ValidatingWebhookConfiguration, "validatingwebhookconfiguration", "validatingwebhookconfigurations",
		admissionregistration_v1__validating_webhook_configuration,
		.categories = NAMES("api-extensions"), .verbs = ALL, .flags = KIND_GENERATION),

	GROUP("node.k8s.io", "v1", RuntimeClass, "runtimeclass", "runtimeclasses",
		node_v1__runtime_class,
		.verbs = ALL, .flags = KIND_PUT_CREATES),

	GROUP("apiextensions.k8s.io", "v1", CustomResourceDefinition, "customresourcedefinition", "customresourcedefinitions",
		apiextensions_v1__custom_resource_definition,
		.short_names = NAMES("crd", "crds"), .categories = NAMES("api-extensions"),
		.verbs = ALL, .flags = KIND_GENERATION | KIND_STATUS,
		SUBRESOURCES(apiextensions_v1_custom_resource_definition_subs)),

	GROUP("metrics.k8s.io", "v1beta1", NodeMetrics, "", "nodes", metrics_v1beta1__node_metrics,
		.verbs = KIND_GET | KIND_LIST, .flags = KIND_SERVED | KIND_MEASURED),
	GROUP("metrics.k8s.io", "v1beta1", PodMetrics, "", "pods", metrics_v1beta1__pod_metrics,
		.verbs = KIND_GET | KIND_LIST,
		.flags = KIND_SERVED | KIND_NAMESPACED | KIND_MEASURED),
};
/* clang-format on */

const size_t kinds_count = array_size(kinds_all);

const struct kind *kind_lookup(const char *group, const char *version, const char *plural)
{
	for (size_t i = 0; i < kinds_count; i++)
		if (strcmp(kinds_all[i].plural, plural) == 0 &&
		    strcmp(kinds_all[i].group, group) == 0 &&
		    strcmp(kinds_all[i].version, version) == 0)
			return &kinds_all[i];
	return NULL;
}

const struct kind *kind_named(const char *group, const char *kind)
{
	for (size_t i = 0; i < kinds_count; i++)
		if (strcmp(kinds_all[i].kind, kind) == 0 && strcmp(kinds_all[i].group, group) == 0)
			return &kinds_all[i];
	return NULL;
}

const struct kind *kind_of_type(const char *api_version, const char *kind)
{
	for (size_t i = 0; i < kinds_count; i++)
		if (strcmp(kinds_all[i].kind, kind) == 0 &&
		    strcmp(kinds_all[i].api_version, api_version) == 0)
			return &kinds_all[i];
	return NULL;
}

const struct kind *kind_of_resource(const char *resource)
{
	for (size_t i = 0; i < kinds_count; i++)
		if (strcmp(kinds_all[i].resource, resource) == 0)
			return &kinds_all[i];
	return NULL;
}

const struct kind *kind_of(const ProtobufCMessageDescriptor *descriptor)
{
	for (size_t i = 0; i < kinds_count; i++)
		if (kinds_all[i].descriptor == descriptor)
			return &kinds_all[i];
	return NULL;
}

const struct kind_subresource *kind_subresource(const struct kind *kind, const char *name)
{
	for (size_t i = 0; i < kind->n_subresources; i++)
		if (strcmp(kind->subresources[i].name, name) == 0)
			return &kind->subresources[i];
	return NULL;
}

const struct kind *kind_stored(const struct kind *kind)
{
	if (kind->descriptor == &events_v1__event__descriptor)
		return kind_of(&core_v1__event__descriptor);
	if (kind->descriptor == &autoscaling_v1__horizontal_pod_autoscaler__descriptor)
		return kind_of(&autoscaling_v2__horizontal_pod_autoscaler__descriptor);
	return kind;
}
