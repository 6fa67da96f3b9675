/* One look at a DaemonSet, part by part (private to this folder).
 *
 * Nodes and pods are both in the order of node names and are walked side by
 * side, so a look costs as much as there are nodes and pods. */
#pragma once

#include "controlplane/controllers/pods.h"
#include "controlplane/controllers/revisions.h"

#define DAEMON_COMPONENT "daemonset-controller"
#define DAEMON_RESOURCE "daemonsets.apps"
#define DAEMON_HASH_LABEL "controller-revision-hash"

/* Pods that one plan makes at most. */
enum { DAEMON_BURST = 250 };

struct daemon_pod {
	const struct pod_facts *facts;
	const char *node; /* Where it is, or is to go. */
	bool new;         /* Of the current template. */
	bool gone;        /* Being deleted, by this plan or before. */
};

/* One node with its pods. */
struct daemon_node {
	const struct object *object; /* NULL: pods are said to be on it, it is not there. */
	struct daemon_pod *pods;     /* Oldest first; those that ended and go are left out. */
	size_t n_pods;
	bool runs;        /* A pod should be there, */
	bool keeps;       /* or one that is there may stay. */
	bool create;      /* To be made by this plan. */
	int32_t failures; /* Of pods on this node in a row, for the one to be made. */
};

struct daemon {
	struct view *view;
	struct intents *intents;
	const struct refusal *refusal;
	const struct object *object;
	const AppsV1__DaemonSet *message;
	const AppsV1__DaemonSetSpec *spec;
	struct revisions revisions;
	const char *hash;                   /* Of the current template. */
	CoreV1__PodTemplateSpec *template_; /* With what every daemon pod tolerates. */
	struct daemon_node *nodes;
	size_t n_nodes;
	int64_t again_ns; /* When the next pod becomes available. */
	size_t n_deleted;
};

/* daemonset_pods.c */
/* The template as daemon pods are made of it. */
CoreV1__PodTemplateSpec *daemon_template(struct arena *a, const AppsV1__DaemonSetSpec *spec);
/* Whether a pod should be on the node, and whether one that is there may stay. */
void daemon_fits(const struct daemon *d, const struct object *node, bool *ret_runs,
		 bool *ret_keeps);
/* Makes the pods of nodes marked create. */
void daemon_create_pods(struct daemon *d);
void daemon_delete_pod(struct daemon *d, struct daemon_pod *p);
/* How often pods failed on the node before this failed one, and when it may be replaced. */
int32_t daemon_failures(const struct daemon *d, const struct pod_facts *p, int64_t *ret_due_ns);

/* daemonset_rolling.c: replaces pods of older templates. */
void daemon_roll(struct daemon *d);
bool daemon_surges(const struct daemon *d);
bool daemon_pod_available(struct daemon *d, const struct daemon_pod *p);
