/* People and their tools under chaos: what they ask of any master.
 *
 *   clients.c        asking, and drawing what to ask for
 *   truths.c         writes whose fate is followed
 *   work_apps.c      Deployments, ReplicaSets, ReplicationControllers, Services
 *   work_sets.c      StatefulSets, DaemonSets
 *   work_jobs.c      Jobs, CronJobs
 *   work_cluster.c   namespaces, nodes, drains, pods, budgets, quotas
 *
 * Kinds that this build does not serve are left out. */
#pragma once

#include "controlplane/store/object.h"
#include "proto/sampan/master.pb-c.h"
#include "tests/sim/cluster/chaos.h"

#define VERB(v) SAMPAN_MASTER__WRITE_REQUEST__VERB__##v

enum { NAMESPACES = 3 };

/* A turn of somebody; and a thing that many want to be able to do. */
void clients_turn(struct chaos *c);
/* The first objects of a cluster. */
void clients_begin(struct chaos *c);
/* Undo what keeps pods from being placed: cordons, taints, quotas, pauses. */
void clients_heal(struct chaos *c);
/* Nothing may happen by itself any more: no timetables. */
void clients_rest(struct chaos *c);
/* The kind is served and its controller (NULL: none needed) is part of this build. */
bool clients_have(const char *resource, const char *controller);

/* --- Asking ------------------------------------------------------------------------------ */
typedef void answered_cb(struct chaos *c, void *ctx, const SampanMaster__WriteResponse *r);
void ask_with(struct chaos *c, unsigned master, SampanMaster__WriteRequest *request,
	      const char *what, answered_cb *cb, void *ctx);
/* Of any master; verb is create, patch or delete; ' stands for " in json. */
void ask(struct chaos *c, const char *verb, const char *resource, const char *namespace,
	 const char *name, const char *json);
/* Of any master, in one of the three ways. */
void ask_delete(struct chaos *c, const char *resource, const char *namespace, const char *name);
/* This very pod, at once: a person says that it does not run any more. */
void ask_force_delete(struct chaos *c, const struct object *pod);
void ask_evict(struct chaos *c, const struct object *pod);

/* --- Drawing ----------------------------------------------------------------------------- */
const char *draw_namespace(struct chaos *c);
const char *draw_name(struct chaos *c, const char *prefix, unsigned n);
/* Of what a master that is up knows, maybe something old; NULL: there is none. */
const struct object *draw_object(struct chaos *c, const char *resource);
/* A pod template. how is more JSON of the spec ("" or ending in a comma). */
const char *draw_template(struct chaos *c, const char *app, unsigned version, const char *how);

/* The same for every version of a seed: who goes back to one gets what it was. */
const char *draw_version(struct chaos *c, const char *app, unsigned version, const char *how);
/* A number below that, or a percentage. */
const char *draw_intstr(struct chaos *c, unsigned below);

/* --- truths.c ---------------------------------------------------------------------------- */
void truths_init(struct chaos *c);
void truths_fini(struct chaos *c);
void truths_begin(struct chaos *c);
void truths_turn(struct chaos *c);
void truths_check(struct chaos *c);
/* A switch has a value from now on. */
void truths_switched(struct chaos *c, const struct object *config);

/* --- work_*.c ---------------------------------------------------------------------------- */
void work_on_deployment(struct chaos *c);
void work_on_replicaset(struct chaos *c);
void work_on_replicationcontroller(struct chaos *c);
void work_on_service(struct chaos *c);
void work_on_statefulset(struct chaos *c);
void work_on_volume(struct chaos *c);
void work_on_daemonset(struct chaos *c);
void work_on_job(struct chaos *c);
void work_on_cronjob(struct chaos *c);
void work_on_namespace(struct chaos *c);
void work_on_node(struct chaos *c);
void work_on_pod(struct chaos *c);
void work_on_budget(struct chaos *c);
void work_on_quota(struct chaos *c);
void work_on_drain(struct chaos *c);
/* The drain that is under way goes on. */
void work_drain(struct chaos *c);
