/* Worlds from JSON, for the tests of the proxy. */
#pragma once

#include "proxy/world/world.h"

/* Apply one object as it would come from a master; the test fails if it cannot be. */
void support_put(struct world *w, const char *json);
void support_delete(struct world *w, const char *resource, const char *namespace, const char *name);
