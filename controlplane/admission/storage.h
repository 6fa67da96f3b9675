/* What other parts of admission need to know of claims (private to this folder). */
#pragma once

#include "controlplane/admission/checks.h"
#include "proto/k8s/core_v1.pb-c.h"
#include "proto/k8s/storage_v1.pb-c.h"

/* Of a claim, of a StatefulSet's claim template and of an ephemeral volume; f names the spec. */
void check_claim_spec(struct checks *c, const struct field *f,
		      const CoreV1__PersistentVolumeClaimSpec *spec);
bool storage_class_is_default(const StorageV1__StorageClass *class);
