/* Whether a pod fits a node, and how well (private to this folder). */
#pragma once

#include "controlplane/scheduler/cluster.h"
#include "proto/k8s/core_v1.pb-c.h"

/* Why a node does not fit; the order is of checking. */
enum misfit {
	FITS,
	MISFIT_UNSCHEDULABLE,
	MISFIT_TAINT,
	MISFIT_AFFINITY,
	MISFIT_PORTS,
	MISFIT_WANTED,  /* Pods that it wants beside it are not there. */
	MISFIT_SHUNNED, /* Pods are there that it does not want, */
	MISFIT_SHUNS,   /* or that do not want it. */
	MISFIT_SPREAD,
	MISFIT_PODS,
	MISFIT_CPU,
	MISFIT_MEMORY,
	MISFIT_STORAGE,
	MISFIT_EXTENDED,
	MISFIT_COUNT,
};

/* What is looked at again and again about the pod of one decision. */
struct request {
	const struct pod_facts *facts;
	const CoreV1__PodSpec *spec;
	const char *extended;                /* A resource that no node of ours offers, or NULL. */
	const struct neighbours *neighbours; /* NULL: it does not matter who is there. */
};

enum misfit node_misfit(const struct request *r, const struct node *node);
/* "node(s) had untolerated taint(s)" */
const char *misfit_text(enum misfit m);

/* Taints with effect that the pod does not tolerate. */
size_t untolerated_taints(const CoreV1__PodSpec *spec, const struct node_facts *node,
			  const char *effect);
bool tolerates(const CoreV1__PodSpec *spec, const char *key, const char *value, const char *effect);
/* nodeSelector and required node affinity. */
bool affinity_matches(const CoreV1__PodSpec *spec, const struct object *node);
bool term_matches(const CoreV1__NodeSelectorTerm *term, const struct object *node);

int64_t scored_cpu(const struct pod_facts *p);
int64_t scored_memory(const struct pod_facts *p);

/* Raw scores of one node; they are weighed against the others' afterwards. */
struct score {
	int64_t affinity, soft_taints, least, balanced, siblings;
};

struct score node_score(const struct request *r, const struct node *node, uint64_t mark);
/* The sum that decides, given the largest raw values among the nodes that fit. */
int64_t score_total(const struct score *s, const struct score *max);
