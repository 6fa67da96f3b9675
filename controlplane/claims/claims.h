/* Claims and the volumes that can be theirs: what the binder, the provisioner
 * and the scheduler must see the same way.
 *
 * A volume and a claim are bound when each names the other: the volume's
 * claimRef carries the claim's uid, the claim's volumeName is the volume. Both
 * are written in one plan, so that half a binding is only ever what a client
 * wrote by hand. Pure; messages and texts belong to the view or the arena. */
#pragma once

#include "common/api/storage_names.h"
#include "controlplane/store/intents.h"
#include "controlplane/store/view.h"
#include "proto/k8s/core_v1.pb-c.h"
#include "proto/k8s/storage_v1.pb-c.h"

#define CLAIMS "persistentvolumeclaims"
#define VOLUMES "persistentvolumes"
#define CLASSES "storageclasses.storage.k8s.io"

/* Names of classes: "" for none; that a claim's is not set at all is "", too. */
const char *claim_class(const CoreV1__PersistentVolumeClaim *claim);
const char *volume_class(const CoreV1__PersistentVolume *volume);
/* The class of that name, or NULL. */
const StorageV1__StorageClass *class_get(struct view *v, const char *name);
bool class_waits_for_consumer(const StorageV1__StorageClass *class);

const char *claim_annotation(const CoreV1__PersistentVolumeClaim *claim, const char *key);
const char *volume_annotation(const CoreV1__PersistentVolume *volume, const char *key);

/* The volume's claimRef names the claim, and no other claim of that name. */
bool volume_is_claimed_by(const CoreV1__PersistentVolume *volume, const struct object *claim);
/* Why a volume that a claim names cannot be its, or NULL. */
const char *volume_refuses(const CoreV1__PersistentVolume *volume,
			   const CoreV1__PersistentVolumeClaim *claim);
/* Whether pods on the node can use it. */
bool volume_reaches(const CoreV1__PersistentVolume *volume, const struct object *node);

/* Volumes that could be the claim's, best first: those that were given to it by name, then free
 * ones with the fewest access modes, the smallest, by name. only_given leaves free ones out. */
struct volume_list {
	const struct object **items;
	size_t n;
};

struct volume_list volumes_for(struct view *v, const struct object *claim, bool only_given);

/* Intents that complete the binding; whatever is written already is left alone. False: nothing was
 * left to do. */
bool intend_claim_binding(struct view *v, const struct object *claim, const struct object *volume,
			  struct intents *intents);
