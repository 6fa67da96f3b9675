/* Linux capabilities by name and as sets. Pure but for caps_of_this_process(). Any thread. */
#pragma once

#include <stdint.h>

#include "common/base/buf.h"

enum { CAPS_KNOWN = 41 };

/* "NET_ADMIN" or "CAP_NET_ADMIN", any case; ALL is every one. 0: unknown. */
uint64_t caps_by_name(const char *name);
/* The set a container has unless it asks otherwise. */
uint64_t caps_default(void);
/* What is left in our bounding set: nobody below us can have more. */
uint64_t caps_of_this_process(void);
/* A JSON array of names: ["CAP_CHOWN", ...]. */
void caps_put_json(struct buf *out, uint64_t set);
