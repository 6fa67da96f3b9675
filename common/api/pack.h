/* Messages to canonical bytes and back.
 *
 * Canonical: fields by number, map entries by key, zero is absent where the
 * field does not tell zero from unset (schema.h), no unknown fields, quantities
 * in their canonical text, times without what JSON does not show. Packing what
 * was unpacked gives the same bytes, so equal objects have equal bytes. Stored
 * bytes are always canonical. Any thread. */
#pragma once

#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/status.h"

/* How deep messages may nest on the wire. */
#define PACKED_DEPTH_MAX 200

/* Append the canonical bytes of a Kubernetes message. */
void pack_message(struct buf *out, const void *message);
/* The same into an arena. */
struct bytes pack_message_in(struct arena *a, const void *message);

/* Read bytes from outside: wire types, UTF-8, NULs, depth and the arena's budget are checked;
 * unknown fields are dropped. -EBADMSG with the reason in st; -EFBIG beyond the budget. */
int unpack_message(const ProtobufCMessageDescriptor *descriptor, struct bytes packed,
		   struct arena *a, void *ret_message, struct status *st);
/* Read bytes that this program stored; aborts when they are broken. */
void *unpack_stored(const ProtobufCMessageDescriptor *descriptor, struct bytes packed,
		    struct arena *a);
/* Bytes from outside to canonical bytes, appended. */
int pack_normalise(struct buf *out, const ProtobufCMessageDescriptor *descriptor,
		   struct bytes packed, struct arena *a, struct status *st);
