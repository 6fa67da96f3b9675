/* The end of volumes that are folders of this node (agent/volumes/local_path.h).
 *
 * A PersistentVolume that was deleted stays until this node says that its folder
 * is gone. The masters send it for as long as that takes, so what an earlier life
 * of the agent did not finish is done again. Loop thread only. */
#pragma once

#include "agent/objects/objects.h"

struct agent;
struct folders;

/* Begins with what is held already. */
struct folders *folders_create(struct agent *a);
/* A PersistentVolume was put among the objects, or is taken out of them. */
void folders_put(struct folders *f, const struct held_object *volume);
void folders_removed(struct folders *f, const struct held_object *volume);
