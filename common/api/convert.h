/* Kinds that are served twice and stored once: the Event of events.k8s.io is a
 * second view of the core group's, the HorizontalPodAutoscaler of autoscaling/v1
 * one of autoscaling/v2's. Pure. */
#pragma once

#include "common/api/kinds.h"
#include "common/base/arena.h"
#include "common/base/buf.h"

/* A message of kind from as one of kind to; they must be two views of one stored kind. Parts are
 * shared with the original. */
void *convert_message(const struct kind *from, const struct kind *to, const void *message,
		      struct arena *arena);
/* The view of a stored kind that has this apiVersion (itself, too), or NULL. */
const struct kind *kind_view(const struct kind *stored, const char *api_version);
/* The same from canonical bytes to canonical bytes. */
struct bytes convert_packed(const struct kind *from, const struct kind *to, struct bytes packed,
			    struct arena *arena);
