/* What must hold: after every change of the state, looked at when the first master applies it,
 * and once the faults have stopped.
 *
 * The books are the simulator's own and trust nothing that the masters keep. A decision is applied
 * a little after it was made, and after a change of leaders even seconds later; GRACE_NS says how
 * long what was true may still be acted upon.
 *
 *   oracle.c            changes in, to the books of their subject
 *   oracle_claims.c     addresses, node ports, podCIDRs
 *   oracle_nodes.c      who is given up, who fits where
 *   oracle_pods.c       the book of pods; nobody ends a pod that runs
 *   oracle_rollouts.c   ReplicaSets and Deployments
 *   oracle_budgets.c    evictions
 *   oracle_quotas.c     what a namespace may hold
 *   oracle_owners.c     owners and their dependents
 *   oracle_sets.c       StatefulSets, DaemonSets
 *   oracle_jobs.c       Jobs, CronJobs
 *   oracle_volumes.c    claims and their volumes
 *   settled*.c          everything as wanted, nothing left over */
#pragma once

#include "controlplane/store/store.h"
#include "proto/k8s/batch_v1.pb-c.h"
#include "proto/k8s/core_v1.pb-c.h"
#include "tests/sim/cluster/chaos.h"

#define GRACE_NS (3000ull * 1000000)

/* A value and its recent past. */
enum { RECENT_MAX = 16 };
struct recent {
	struct {
		int32_t value;
		uint64_t until_ns; /* UINT64_MAX: still so. */
	} of[RECENT_MAX];
};
void recent_set(struct recent *r, int32_t value, uint64_t now_ns);
int32_t recent_most(const struct recent *r, uint64_t now_ns);
int32_t recent_least(const struct recent *r, uint64_t now_ns);

struct pod_book {
	const struct object *o; /* Its newest version, a reference; NULL: it is gone. */
	char *uid, *owner;      /* The controller's uid, "" for none. */
	char *owner_kind;
	const char *node; /* NULL: unassigned. */
	bool counted, finished, evicted;
	int64_t cpu_milli, memory_bytes;
	uint64_t since_ns, deleted_ns, unready_ns;
	/* Who asked for its end, as far as people are concerned. */
	bool asked, forced;
	bool let_go; /* By an eviction. */
};

struct node_book {
	bool present;
	uint64_t gone_ns, closed_ns, no_execute_ns; /* Since when; no_execute_ns: when last seen. */
	uint64_t out_of_service_ns;                 /* When last declared so. */
	bool closed, no_execute;                    /* Cordoned or under the drill taint. */
	bool only_cordoned;
	bool tainted;        /* By anything. */
	uint64_t tainted_ns; /* When last seen. */
	char zone;
	int64_t cpu_milli, memory_bytes, pods;
	int64_t cpu_used, memory_used, pods_used;
};

struct claims_book;
struct rollouts_book;

struct oracle {
	struct {
		struct store_listener listener;
		struct chaos *chaos;
	} masters[MASTERS];
	uint64_t revision;
	struct map claims;
	struct map nodes, pods; /* struct node_book, struct pod_book by uid. */
	struct map forced;      /* Uids of pods that went while they ran, as they may. */
	struct map scales, budgets, quotas, namespaces;
	struct map staying, orphaning, going_namespaces;
	struct map stateful, daemons, jobs, crons;
	struct map volumes, claim_uids;
	struct rollouts_book *rollouts;
	struct arena work; /* Until the end of one change. */
};

void oracle_init(struct chaos *c);
void oracle_fini(struct chaos *c);
/* After a start of the master: see its changes. */
void oracle_attach(struct chaos *c, unsigned master);
/* A person asked for the end of a pod; forced: without waiting for its agent. */
void oracle_pod_asked(struct chaos *c, const char *uid, bool forced);
/* An agent begins to run a pod. */
void oracle_pod_taken(struct chaos *c, const struct agent *a, const struct agent_pod *pod);

/* NULL, or what is not as wanted yet (in the sim's arena). */
const char *settled_why_not(struct chaos *c);

/* --- For the books ----------------------------------------------------------------------- */
const struct object *change_one(const struct change *change);
void *change_message(struct chaos *c, const struct object *o);
struct node_book *node_book(struct chaos *c, const char *name);
struct pod_book *pod_book(struct chaos *c, const char *uid);
#define pods_for_each(slot, c) map_for_each (slot, &(c)->oracle->pods)

void claim_take(struct chaos *c, const struct object *o, const char *what, bool take);
void claims_look_at_service(struct chaos *c, const struct change *change);
void nodes_look_at_node(struct chaos *c, const struct change *change);
void nodes_count_pod(struct chaos *c, struct pod_book *p, bool count);
void nodes_check_binding(struct chaos *c, const struct object *o, const struct node_book *n);
void nodes_check_eviction(struct chaos *c, const struct object *o, struct pod_book *p);
void pods_look_at_pod(struct chaos *c, const struct change *change);
/* After all other books. */
void pods_forget(struct chaos *c, const struct change *change);
void rollouts_init(struct chaos *c);
void rollouts_fini(struct chaos *c);
void rollouts_look_at_deployment(struct chaos *c, const struct change *change);
void rollouts_look_at_set(struct chaos *c, const struct change *change);
void budgets_look_at_scale(struct chaos *c, const struct change *change);
void budgets_look_at_budget(struct chaos *c, const struct change *change);
void budgets_look_at_pod(struct chaos *c, const struct change *change);
void budgets_fini(struct chaos *c);
void quotas_look(struct chaos *c, const struct change *change);
void quotas_look_at_quota(struct chaos *c, const struct change *change);
void quotas_fini(struct chaos *c);
void owners_look(struct chaos *c, const struct change *change);
/* It is gone or to be deleted. */
bool owners_is_going(struct chaos *c, const char *uid);
bool owners_namespace_is_going(struct chaos *c, const char *namespace);
void owners_fini(struct chaos *c);
void sets_look_at_statefulset(struct chaos *c, const struct change *change);
void sets_look_at_daemonset(struct chaos *c, const struct change *change);
void sets_look_at_pod(struct chaos *c, const struct change *change);
void sets_fini(struct chaos *c);
void jobs_look_at_job(struct chaos *c, const struct change *change);
void jobs_look_at_pod(struct chaos *c, const struct change *change);
void jobs_look_at_cronjob(struct chaos *c, const struct change *change);
/* NULL, or what a Job or CronJob still lacks. */
const char *jobs_cron_why_not(struct chaos *c, const struct object *o, const BatchV1__CronJob *m);
const char *jobs_why_not(struct chaos *c, const struct object *o, const BatchV1__Job *m);
void jobs_fini(struct chaos *c);
void volumes_look_at_volume(struct chaos *c, const struct change *change);
void volumes_look_at_claim(struct chaos *c, const struct change *change);
void volumes_check_binding(struct chaos *c, const struct object *pod);
void volumes_fini(struct chaos *c);
/* One line of a story. */
void trace_change(struct chaos *c, const struct change *change);
