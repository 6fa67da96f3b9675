/* Objects with every field set, made from the schema: for golden tests. */
#pragma once

#include "common/api/message.h"
#include "common/base/arena.h"

/* Recursive types stop after three levels. Every field gets a value of its own that is not zero. */
void *fill_message(const ProtobufCMessageDescriptor *descriptor, struct arena *a);
