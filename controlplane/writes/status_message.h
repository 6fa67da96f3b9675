/* struct status as the API's meta.v1.Status. Any thread. */
#pragma once

#include "common/base/arena.h"
#include "common/base/status.h"
#include "proto/k8s/meta_v1.pb-c.h"

/* In the arena; texts are copied. */
MetaV1__Status *status_message(const struct status *st, struct arena *a);
