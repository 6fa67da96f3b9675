/* What a kind does beyond the rules that all kinds share (private to this folder). */
#pragma once

#include "common/api/kinds.h"
#include "common/api/make.h"
#include "controlplane/admission/admission.h"
#include "controlplane/admission/checks.h"
#include "controlplane/admission/names.h"
#include "proto/k8s/core_v1.pb-c.h"

/* Of create and update; old is NULL on create. message and old have had their defaults. */
struct strategy {
	const ProtobufCMessageDescriptor *descriptor;
	name_rule *name; /* NULL: name_is_subdomain. */
	/* The status given at creation is kept (Node). */
	bool keeps_status;
	/* A DELETE that names no propagationPolicy leaves the dependents alone. */
	bool orphans;
	/* Server-owned fields beyond metadata and status. */
	void (*prepare)(struct admission *a, ProtobufCMessage *message, ProtobufCMessage *old);
	/* Policy that may change or refuse the object (the admission plugins that are always on).
	 */
	int (*admit)(struct admission *a, const struct kind *kind, ProtobufCMessage *message,
		     ProtobufCMessage *old, struct status *st);
	void (*validate)(struct checks *c, ProtobufCMessage *message, ProtobufCMessage *old);
	/* Only when the object is valid: addresses, ports, ranges; fills a->claims. */
	void (*allocate)(struct admission *a, struct checks *c, ProtobufCMessage *message,
			 ProtobufCMessage *old);
	/* A write of /status that is valid on its own; old is never NULL. */
	void (*validate_status)(struct checks *c, ProtobufCMessage *message, ProtobufCMessage *old);
};

/* Always one; kinds without rules of their own share an empty one. */
const struct strategy *strategy_of(const ProtobufCMessageDescriptor *descriptor);

extern const struct strategy strategy_autoscaler, strategy_pod, strategy_service, strategy_namespace, strategy_node,
	strategy_config_map, strategy_secret, strategy_endpoints, strategy_endpoint_slice,
	strategy_deployment, strategy_replica_set, strategy_event, strategy_lease,
	strategy_service_account, strategy_pod_template, strategy_priority_class,
	strategy_certificate_request, strategy_controller_revision, strategy_cron_job, strategy_daemon_set, strategy_job,
	strategy_ingress, strategy_ingress_class, strategy_network_policy,
	strategy_persistent_volume, strategy_persistent_volume_claim, strategy_storage_class,
	strategy_stateful_set, strategy_replication_controller;

extern const struct strategy strategy_disruption_budget, strategy_limit_range,
	strategy_resource_quota, strategy_role, strategy_cluster_role, strategy_role_binding,
	strategy_cluster_role_binding;

/* 403 `pods "x" is forbidden: ...` */
int forbid(struct status *st, const struct kind *kind, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* 409 `Operation cannot be fulfilled on pods "x": ...` */
int conflict(struct status *st, const struct kind *kind, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* 404 `pods "x" not found` */
int not_found(struct status *st, const struct kind *kind, const char *name);

/* n characters of Kubernetes' alphabet for generated names. */
char *random_suffix(struct admission *a, size_t n);
void admission_claim(struct admission *a, const char *claim);
void admission_warn(struct admission *a, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* metadata.c */
void metadata_validate(struct checks *c, const struct kind *kind, name_rule *rule,
		       const MetaV1__ObjectMeta *meta);
void metadata_validate_update(struct checks *c, const MetaV1__ObjectMeta *meta,
			      const MetaV1__ObjectMeta *old);
void check_labels(struct checks *c, const struct field *f, struct string_entry *const *labels,
		  size_t n);
/* Label selectors as LabelSelector messages; f names the selector. */
void check_label_selector(struct checks *c, const struct field *f, const MetaV1__LabelSelector *s);
/* Every value of a closed enumeration in message is one of the known ones. */
void check_enums(struct checks *c, const struct field *f, const ProtobufCMessage *message);

/* `field is immutable` unless the members are equal; true when they are. */
bool check_immutable(struct checks *c, const struct field *f, const void *message, const void *old);

/* pod_spec.c */
void check_pod_spec(struct checks *c, const struct field *f, const CoreV1__PodSpec *spec,
		    const MetaV1__ObjectMeta *meta);

/* priority.c */
bool priority_class_is_system(const char *name);
/* The pod's class becomes its priority and preemptionPolicy; 403 when the pod says otherwise. */
int admit_pod_priority(struct admission *a, const struct kind *kind, CoreV1__Pod *pod,
		       struct status *st);
/* A client that knows nothing of them does not take them away. */
void keep_pod_priority(CoreV1__PodSpec *spec, const CoreV1__PodSpec *old);

/* limits.c: what the LimitRanges of the namespace give to a pod that is made, and whether they
 * allow it or the claim; 403 when not. Other kinds pass at once. */
int admit_limits(struct admission *a, const struct kind *kind, ProtobufCMessage *message,
		 bool created, struct status *st);
