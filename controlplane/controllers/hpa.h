/* The parts of the HorizontalPodAutoscaler controller (private to this folder):
 * what metrics ask for (hpa_metrics.c), and how much of it may be done now
 * (hpa_limits.c). All of it is arithmetic over values. */
#pragma once

#include "controlplane/controllers/common.h"
#include "proto/k8s/autoscaling_v2.pb-c.h"

#define HPA_PERIOD_NS (15 * NS_PER_S)
/* Windows reach back an hour: 240 looks. */
enum { HPA_PAST_MAX = 256 };

/* --- Metrics
 * -------------------------------------------------------------------------------------- */

struct hpa_look {
	struct view *view;
	struct arena *arena;
	const struct pod_facts *const *pods; /* Of the target's selector. */
	size_t n_pods;
	int32_t current; /* spec.replicas of the target. */
};

struct hpa_proposal {
	int32_t replicas;
	const char *metric; /* "cpu resource utilization (percentage of request)" */
	AutoscalingV2__MetricStatus *status;
	/* When there is none: */
	const char *error;  /* NULL: there is one. */
	const char *reason; /* Of condition ScalingActive. */
	const char *kind;   /* "cpu resource": for the summary. */
};

/* What one metric asks for, within nothing but the tolerance. */
struct hpa_proposal hpa_propose(const struct hpa_look *look, const AutoscalingV2__MetricSpec *spec);

/* --- What is remembered
 * ------------------------------------------------------------------------------ */

struct hpa_past {
	int64_t time_ns;
	int32_t value;
};

/* Of one autoscaler while this master leads; a new leader begins with the replicas there are as the
 * only recommendation, as after a restart of Kubernetes' controller. */
struct hpa_memory {
	/* What was recommended, before limits: the last time of each run of equal values. */
	struct hpa_past recommendations[HPA_PAST_MAX];
	size_t n_recommendations;
	/* Replicas added and taken away. */
	struct hpa_past ups[HPA_PAST_MAX], downs[HPA_PAST_MAX];
	size_t n_ups, n_downs;
	/* A change that was decided and is counted once it shows; time_ns 0: none. */
	int64_t pending_ns;
	int32_t pending_from, pending_to;
};

/* From the text of the look before (NULL: none); current is what the target has now. */
void hpa_memory_read(struct hpa_memory *m, const char *text, int32_t current, int64_t now_ns);
char *hpa_memory_print(const struct hpa_memory *m, struct arena *arena);

/* --- Limits
 * ------------------------------------------------------------------------------------------- */

struct hpa_limits {
	const AutoscalingV2__HorizontalPodAutoscalerBehavior *behavior; /* NULL: the old rules. */
	int32_t min, max, current;
	int64_t now_ns;
};

struct hpa_verdict {
	int32_t replicas;
	const char *able_reason, *able_message;
	bool limited;
	const char *limited_reason, *limited_message;
};

/* How many replicas there should be now, if desired is what the metrics ask for. */
struct hpa_verdict hpa_limit(const struct hpa_limits *l, struct hpa_memory *m, int32_t desired);
