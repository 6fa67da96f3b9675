/* What the proxy believes, for people: on SIGUSR1 it goes to the file `beliefs` in its directory.
 */
#pragma once

#include "common/base/buf.h"
#include "proxy/world/world.h"

void beliefs_print(struct buf *to, const struct world *w, const char *node);
