/* What controllers that make pods of a template share: which pods are theirs,
 * making another, and telling about many (private to this folder). */
#pragma once

#include "controlplane/controllers/common.h"

struct pods {
	const struct pod_facts **list;
	size_t n;
	size_t n_adopted; /* The last so many were adopted just now: write them no second time. */
};

/* How adopting differs; zero: active pods that match. */
struct claim {
	/* NULL: every pod that matches. */
	bool (*may_adopt)(const struct object *owner, const struct object *pod);
	bool finished_too;     /* Finished pods are adopted, too. */
	const char *finalizer; /* Added when adopting, taken when releasing; NULL: none. */
};

/* The pods of owner. Those it controls whose labels no longer match are released (they are not in
 * the result), orphans that match are adopted; either is one intent. rules may be NULL. A selector
 * without requirements adopts nothing. */
struct pods pods_claim(struct view *v, struct intents *intents, const struct object *owner,
		       const struct label_selector *selector, const struct claim *rules);

/* Sorts pods by who goes first when there are too many. family: the pods whose nodes count as
 * crowded (those of all ReplicaSets of a Deployment); NULL: crowding does not matter. */
void pods_rank(const struct view *v, const struct pod_facts **list, size_t n,
	       const struct pods *family);

/* A pod of the template, controlled by owner, without a name; all of it is its own. */
CoreV1__Pod *pods_make(struct arena *a, const struct object *owner,
		       const CoreV1__PodTemplateSpec *template);

/* Event i of n alike ("Created pod: x"): the first ten, then the last for all the others. */
void pods_tell(struct intents *intents, const char *component, const struct object *owner, size_t i,
	       size_t n, const char *reason, const char *verb, const char *pod);
