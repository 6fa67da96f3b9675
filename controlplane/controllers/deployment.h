/* One look at a Deployment and the ReplicaSets it owns (private to this folder). */
#pragma once

#include "controlplane/controllers/common.h"

struct set {
	const struct object *object; /* NULL: to be made. */
	AppsV1__ReplicaSet *message; /* A copy to change. */
	bool changed;
};

struct rollout {
	struct view *view;
	struct intents *intents;
	const struct object *object;
	const AppsV1__Deployment *deployment;
	struct set *sets; /* Oldest first, the new one included. */
	size_t n_sets;
	struct set *current; /* Among sets, whose template is the Deployment's; or NULL. */
	int32_t replicas, surge, unavailable;
};

/* deployment_sets.c: which sets there are and which is the new one. */
void rollout_claim_sets(struct rollout *r);
/* Make the new set or bring its annotations up to date. False: wait for the next look, because a
 * name is taken or the Deployment itself had to be written. */
bool rollout_ensure_current(struct rollout *r, bool make_missing);
void rollout_scale(struct rollout *r, struct set *set, int32_t replicas);
void rollout_trim_history(struct rollout *r);
/* Intents for everything changed in sets. */
void rollout_write_sets(struct rollout *r);

int32_t set_replicas(const struct set *set); /* spec */
int32_t set_actual(const struct set *set);   /* status */
int32_t set_available(const struct set *set);
bool set_is_old(const struct rollout *r, const struct set *set);
int32_t rollout_total(const struct rollout *r); /* Of spec.replicas. */
int32_t rollout_available(const struct rollout *r);

/* deployment_rolling.c */
void rollout_roll(struct rollout *r);
void rollout_recreate(struct rollout *r);
/* True when the number of replicas changed in the middle of a rollout, or while paused. */
bool rollout_is_scaling(const struct rollout *r);
void rollout_scale_proportionally(struct rollout *r);

/* deployment_status.c */
bool rollout_is_complete(const struct rollout *r, const AppsV1__DeploymentStatus *status);
void rollout_report(struct rollout *r);
void rollout_report_collision(struct rollout *r);
void rollout_report_refused(struct rollout *r, const struct refusal *refusal);
