/* hostPath volumes: whether the path is what its type says (private to this folder). Blocking. */
#pragma once

#include "common/base/status.h"
#include "proto/k8s/core_v1.pb-c.h"

int host_path_check(const CoreV1__HostPathVolumeSource *h, struct status *st);
