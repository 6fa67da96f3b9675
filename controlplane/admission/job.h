/* The rules of a Job's spec, which a CronJob's template shares (private to this folder). */
#pragma once

#include "controlplane/admission/checks.h"
#include "proto/k8s/batch_v1.pb-c.h"

/* Everything but the selector. f names the spec. */
void check_job_spec(struct checks *c, const struct field *f, const BatchV1__JobSpec *spec);
