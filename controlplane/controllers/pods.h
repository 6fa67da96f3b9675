/* What controllers that make pods of a template share: which pods are theirs,
 * making another, and telling about many (private to this folder). */
#pragma once

#include "controlplane/controllers/common.h"

struct pods {
	const struct pod_facts **list;
	size_t n;
};

/* The pods of owner. Those it controls whose labels no longer match are released, orphans that
 * match are adopted (when may_adopt is NULL or says so); released ones are not in the result, and
 * neither is anything that is written here written twice. A selector without requirements adopts
 * nothing. */
struct pods pods_claim(struct view *v, struct intents *intents, const struct object *owner,
		       const struct label_selector *selector,
		       bool (*may_adopt)(const struct object *owner, const struct object *pod));

/* A pod of the template, controlled by owner, without a name; all of it is its own. */
CoreV1__Pod *pods_make(struct arena *a, const struct object *owner,
		       const CoreV1__PodTemplateSpec *template);

/* Event i of n alike ("Created pod: x"): the first ten, then the last for all the others. */
void pods_tell(struct intents *intents, const char *component, const struct object *owner, size_t i,
	       size_t n, const char *reason, const char *verb, const char *pod);
