/* Rules that all kinds with a pod template share (private to this folder). kind is the word in
 * the messages: "ReplicaSet". f names the spec. */
#pragma once

#include "controlplane/admission/strategy.h"

/* The selector is there, is not empty and matches the template's labels. */
void check_workload_selector(struct checks *c, const struct field *f,
			     const MetaV1__LabelSelector *s,
			     const CoreV1__PodTemplateSpec *template, const char *kind);
/* A template whose pods are kept running: restartPolicy Always, no activeDeadlineSeconds. */
void check_workload_template(struct checks *c, const struct field *f,
			     const CoreV1__PodTemplateSpec *t, const char *kind);
/* A count (>= 0) or a percentage: the number, with *ret_percent; -1 when it is neither. f names
 * the field. NULL is 0. */
int check_amount(struct checks *c, const struct field *f, const Intstr__IntOrString *v,
		 bool *ret_percent);

/* Of a status: a count that is part of another one, which the message calls whole. */
void check_part(struct checks *c, const struct field *f, int64_t part, int64_t all,
		const char *whole);

/* The counts of a ReplicaSet's or a ReplicationController's status. */
#define check_replicas_status(c, f, s)                                                             \
	do {                                                                                       \
		check_not_negative((c), FIELD((f), "replicas"), (s)->replicas);                    \
		check_not_negative((c), FIELD((f), "observedGeneration"),                          \
				   (s)->observedgeneration);                                       \
		check_part((c), FIELD((f), "fullyLabeledReplicas"), (s)->fullylabeledreplicas,     \
			   (s)->replicas, "status.replicas");                                      \
		check_part((c), FIELD((f), "readyReplicas"), (s)->readyreplicas, (s)->replicas,    \
			   "status.replicas");                                                     \
		check_part((c), FIELD((f), "availableReplicas"), (s)->availablereplicas,           \
			   (s)->readyreplicas, "readyReplicas");                                   \
	} while (0)
