/* The two sides of the binder of volumes and claims (private to this folder). */
#pragma once

#include "controlplane/claims/claims.h"
#include "controlplane/controllers/common.h"

#define VOLUME_BINDER "persistentvolume-controller"

/* volume_claims.c: one look at a claim. */
void binder_look_at_claim(struct view *v, const struct object *claim, struct intents *intents);
/* volume_phases.c: one look at a volume. */
void binder_look_at_volume(struct view *v, const struct object *volume, struct intents *intents);
