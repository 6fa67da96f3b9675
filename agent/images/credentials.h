/* Which credentials of a pull secret are for a registry. Pure.
 *
 * Texts are the contents of .dockerconfigjson ({"auths": {...}}) or .dockercfg
 * (the map itself). A key is host[:port][/path], with or without a scheme and a
 * version path at its end; * matches inside one label of the host; a path must be a
 * prefix of the repository. Of the keys of one text the longest that fits is taken. */
#pragma once

#include <stddef.h>

#include "agent/images/reference.h"

/* base64(user:password) as for an Authorization: Basic header, of the first text that has
 * a key that fits; NULL: none. free() it. A text that cannot be read is passed over. */
char *credentials_find(const char *const *docker_configs, size_t n, const struct reference *ref);
