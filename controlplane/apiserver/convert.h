/* Kinds that are served twice and stored once: the Event of events.k8s.io is a
 * second view of the core group's. Pure. */
#pragma once

#include "common/api/kinds.h"
#include "common/base/arena.h"
#include "common/base/buf.h"

/* A message of kind from as one of kind to; they must be two views of one stored kind. Parts are
 * shared with the original. */
void *convert_message(const struct kind *from, const struct kind *to, const void *message,
		      struct arena *arena);
/* The same from canonical bytes to canonical bytes. */
struct bytes convert_packed(const struct kind *from, const struct kind *to, struct bytes packed,
			    struct arena *arena);
