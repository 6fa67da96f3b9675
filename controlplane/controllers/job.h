/* One look at a Job, part by part (private to this folder).
 *
 * A pod that has ended is counted by the plan that takes its finalizer
 * batch.kubernetes.io/job-tracking: counters and finalizers change in one entry
 * of the log or not at all, so each end counts once, whatever is lost or
 * repeated. The API's status.uncountedTerminatedPods is there and stays empty.
 * What is removed without counting (suspension, too many pods) loses its
 * finalizer first and is deleted by the next look. */
#pragma once

#include "common/api/index_list.h"
#include "controlplane/controllers/pods.h"
#include "proto/k8s/batch_v1.pb-c.h"

#define JOB_COMPONENT "job-controller"
#define JOB_RESOURCE "jobs.batch"
#define JOB_FINALIZER "batch.kubernetes.io/job-tracking"
#define JOB_INDEX_KEY "batch.kubernetes.io/job-completion-index"

struct job_pod {
	const struct pod_facts *facts;
	int32_t index;  /* -1: none, or one that the Job does not have. */
	bool tracked;   /* It has the finalizer: it is not counted yet. */
	bool active;    /* Neither ended nor on its way out. */
	bool failed;    /* Tracked, and a failure by the Job's podReplacementPolicy. */
	bool ignored;   /* A failure that podFailurePolicy does not count. */
	bool index_out; /* A failure after which its index is not tried again. */
	bool awaited;   /* Its index waits for a replacement that takes over its number of failures.
			 */
	bool counted;   /* status.uncountedTerminatedPods had it. */
};

enum job_end { JOB_GOES_ON, JOB_SUCCEEDS, JOB_FAILS };

struct job {
	struct view *view;
	struct intents *intents;
	const struct refusal *refusal; /* Of the plan just made, or NULL. */
	const struct object *object;
	const BatchV1__JobSpec *spec;
	const BatchV1__JobStatus *before; /* May be NULL. */
	BatchV1__JobStatus *status;       /* As this look leaves it. */

	bool indexed, per_index, suspended, deleted;
	bool replaces_failed; /* podReplacementPolicy Failed: who terminates is waited for. */

	struct job_pod *pods; /* Oldest first. */
	size_t n_pods;
	size_t active, ready, terminating, n_awaited;

	int64_t succeeded, failed;                 /* With what is not counted yet. */
	struct index_list succeeded_at, failed_at; /* Of Indexed Jobs. */

	enum job_end end;
	const char *reason, *message; /* Of end. */
};

/* job_count.c: what ended. Fills failed, ignored, index_out and awaited of the pods, and the sums.
 */
void job_sum(struct job *j);
/* Those of Indexed Jobs with backoffLimitPerIndex that may be counted later only; after the end is
 * decided. */
void job_find_awaited(struct job *j);
/* Takes finalizers and counts. True when nothing is left to count. */
bool job_count(struct job *j);
/* How often the pod's index failed before it: all failures, or those that count. */
int32_t job_failures_before(const struct job *j, const struct job_pod *p, bool all);

/* job_policy.c */
enum job_action { JOB_COUNT, JOB_IGNORE, JOB_FAIL_INDEX, JOB_FAIL_JOB };
/* What podFailurePolicy says about a failed pod; the text is of JOB_FAIL_JOB. */
enum job_action job_failure_action(const struct job *j, const struct job_pod *p,
				   const char **ret_message);
/* Whether successPolicy is met. */
bool job_success_met(const struct job *j, const char **ret_message);

/* job_pods.c: creates and removes. */
void job_manage(struct job *j);
/* The pods that are still there when the Job ends. */
void job_delete_active(struct job *j);
/* When the last container of the pod ended, or the nearest to it that is known. */
int64_t job_finish_ns(const struct job *j, const struct pod_facts *p);
