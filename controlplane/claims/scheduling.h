/* What a pod's volumes mean for where it runs: the rules of Kubernetes' plugins
 * VolumeBinding, VolumeZone and VolumeRestrictions, for the scheduler's table
 * (scheduler/volumes.h). Pure. */
#pragma once

#include "controlplane/scheduler/volumes.h"

extern const struct volume_rules volume_rules;
