/* Our own messages (proto/sampan) from bytes into an arena. Kubernetes' messages
 * go through common/api/pack.h, which checks more. One thread per arena. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "common/base/arena.h"
#include "common/base/buf.h"

/* NULL when the bytes are no such message, or beyond the arena's budget. Never freed alone. */
void *arena_unpack(struct arena *a, const ProtobufCMessageDescriptor *descriptor,
		   struct bytes packed);
