#include <stddef.h>

#include "controlplane/controllers/controller.h"

extern const struct controller controller_builtin;
extern const struct controller controller_clusterrole;
extern const struct controller controller_disruption;
extern const struct controller controller_namespace;
extern const struct controller controller_replicaset;
extern const struct controller controller_replicationcontroller;
extern const struct controller controller_cronjob;
extern const struct controller controller_daemonset;
extern const struct controller controller_job;
extern const struct controller controller_ttl;
extern const struct controller controller_deployment;
extern const struct controller controller_statefulset;
extern const struct controller controller_endpoints;
extern const struct controller controller_endpointslice;
extern const struct controller controller_masters;
extern const struct controller controller_garbage;
extern const struct controller controller_nodelifecycle;
extern const struct controller controller_nodettl;
extern const struct controller controller_podgc;
extern const struct controller controller_quota;
extern const struct controller controller_events;
extern const struct controller controller_ephemeral_volumes;
extern const struct controller controller_ingress;
extern const struct controller controller_hpa;
extern const struct controller controller_local_path;
extern const struct controller controller_pv_protection;
extern const struct controller controller_pvc_protection;
extern const struct controller controller_volume_binder;
extern const struct controller controller_tokens;

const struct controller *const controllers[] = {
	&controller_builtin,
	&controller_clusterrole,
	&controller_disruption,
	&controller_namespace,
	&controller_replicaset,
	&controller_replicationcontroller,
	&controller_deployment,
	&controller_cronjob,
	&controller_daemonset,
	&controller_job,
	&controller_ttl,
	&controller_statefulset,
	&controller_endpoints,
	&controller_endpointslice,
	&controller_masters,
	&controller_garbage,
	&controller_nodelifecycle,
	&controller_nodettl,
	&controller_podgc,
	&controller_quota,
	&controller_events,
	&controller_ephemeral_volumes,
	&controller_ingress,
	&controller_hpa,
	&controller_local_path,
	&controller_pv_protection,
	&controller_pvc_protection,
	&controller_volume_binder,
	&controller_tokens,
	NULL,
};
