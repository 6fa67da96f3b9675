/* Which node every pod runs on: filters and scores of Kubernetes' default
 * profile over an index that follows the store change by change.
 *
 * The leader tells of every applied change, asks for one decision after the
 * other within a turn, submits the intents of each as a plan of its own (all of
 * them share the turn's Raft entry), and says how each plan ended. A pod decided
 * on counts as placed at once ("assumed"), so decisions of plans in flight never
 * promise the same room twice. Given the same changes, times and seed, decisions
 * are the same. Nothing here reads a clock. Loop thread only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "controlplane/scheduler/volumes.h"
#include "controlplane/store/intents.h"
#include "controlplane/store/view.h"

struct scheduler;

struct scheduler_config {
	uint64_t seed;
	/* spec.schedulerName of pods to decide about, ended by NULL; all have the same profile.
	 * NULL: default-scheduler alone. */
	const char *const *names;
	const struct volume_rules *volumes; /* NULL: volumes are not looked at. */
};

/* config is copied, what it points at stays. */
struct scheduler *scheduler_create(const struct scheduler_config *config);
void scheduler_destroy(struct scheduler *s);
/* Forget everything and look at the whole store: when leadership begins and after a restore. */
void scheduler_seed(struct scheduler *s, const struct store *store, int64_t now_ns);
/* Every change, in the order it was applied; one of old and new may be NULL. */
void scheduler_on_change(struct scheduler *s, const struct object *old, const struct object *new,
			 int64_t now_ns);

/* Decide about the next pod that waits: bind, make room for it, or say why no node fits. False when
 * none waits (then scheduler_again_ns() says when one will). *ret_pod is borrowed until the next
 * call of any function here. Pods the decision has nothing to write about are passed over. */
bool scheduler_next(struct scheduler *s, struct view *view, struct intents *intents,
		    const struct object **ret_pod);
/* The plan of a decision about the pod of that uid was refused: it gets its place back and waits
 * for its turn again. That a plan was applied need not be said: the change tells. */
void scheduler_refused(struct scheduler *s, const char *uid, int64_t now_ns);
/* When a pod that backs off may be tried again; 0: nobody waits for time to pass. */
int64_t scheduler_again_ns(const struct scheduler *s);

/* For metrics and tests. */
struct scheduler_counts {
	size_t nodes, queued, backing_off, unschedulable, gated, assumed, placed;
	size_t classes, terms, wishes; /* Of shared things that are remembered. */
};
struct scheduler_counts scheduler_count(const struct scheduler *s);
