/* Namespaces: their labels, Services and PodDisruptionBudgets (private to this folder). */
#pragma once

#include "controlplane/scheduler/cluster.h"

struct space *space_make(struct cluster *c, const char *name);
/* One that has nothing and that no class refers to is forgotten. */
void space_drop(struct cluster *c, struct space *space);
void spaces_fini(struct cluster *c);

void spaces_on_namespace(struct cluster *c, const struct object *old, const struct object *new);
void spaces_on_service(struct cluster *c, const struct object *old, const struct object *new);
void spaces_on_budget(struct cluster *c, const struct object *old, const struct object *new);

/* Services of the space whose selector matches the labels of class, as requirements joined in one
 * selector; NULL when none does. In the arena. */
MetaV1__LabelSelector *space_services_of(const struct space *space, struct arena *a,
					 const struct class *class);
/* Whether the budget speaks of the pod and does not account for it yet. */
bool budget_covers(const struct budget *budget, const struct pod *pod);
