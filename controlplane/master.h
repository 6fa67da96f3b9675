/* One master: all its parts on one loop. */
#pragma once

#include "common/base/status.h"
#include "controlplane/config.h"

/* Runs until SIGTERM or SIGINT, then 0. A negative errno: it could not start. A failure later on
 * ends the process (main.c lists the codes). */
int master_run(const struct master_config *config, struct status *st);
