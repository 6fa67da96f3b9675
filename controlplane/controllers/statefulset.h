/* One look at a StatefulSet and its pods (private to this folder).
 *
 * Pods have names, so there are never two of one ordinal: a pod that is to be
 * replaced has to be gone from the state before its successor can be made. */
#pragma once

#include "controlplane/controllers/pods.h"
#include "controlplane/controllers/revisions.h"

/* One ordinal: a pod that there is, or one that is missing. */
struct member {
	int32_t ordinal;
	const struct pod_facts *pod; /* NULL: missing. */
	bool written;                /* In this look: no second time. */
};

struct ordinals {
	struct view *view;
	struct intents *intents;
	const struct object *object;
	const AppsV1__StatefulSet *set;
	struct revisions revisions;
	struct revision *current, *update;
	struct pods pods;        /* All that there are. */
	struct member *replicas; /* start .. start + n - 1 */
	size_t n_replicas;
	struct member *condemned; /* Beyond, the highest first. */
	size_t n_condemned;
	bool ordered;
	const struct refusal *refusal;
	size_t created; /* In this look. */
};

extern const char statefulset_component[];

/* statefulset.c */
int32_t first_ordinal(const AppsV1__StatefulSetSpec *spec);

/* statefulset_pods.c */
/* The ordinal in the name of a pod of set, or -1. */
int32_t ordinal_of(const struct object *set, const char *pod_name);
/* Whether ordinal's pod can be made now: its claims are not on their way out. */
bool member_may_come(struct ordinals *o, const struct member *m);
/* Makes the pod with the claims it lacks. */
void member_create(struct ordinals *o, struct member *m);
void member_delete(struct ordinals *o, struct member *m);
/* Puts right what is wrong with a pod's labels and with its claims' owners; makes claims that a
 * pending pod lacks. */
void member_mend(struct ordinals *o, struct member *m, bool scaled_down);
const char *member_revision(const struct member *m);

/* statefulset_status.c */
bool member_is_healthy(const struct member *m);
bool member_is_available(struct ordinals *o, const struct member *m);
void statefulset_report(struct ordinals *o);
