/* The envelope of Kubernetes' protobuf bodies: "k8s\0", then runtime.Unknown
 * {typeMeta, raw, contentEncoding, contentType}. Any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/status.h"

struct envelope {
	const char *api_version, *kind; /* In the arena; "" when absent. */
	struct bytes raw;               /* Borrowed from the input. */
};

bool envelope_is(struct bytes body);
/* 400 in st when it is none; the raw bytes are not looked into. */
int envelope_open(struct bytes body, struct arena *a, struct envelope *ret, struct status *st);
/* Append an object in its envelope. */
void envelope_put(struct buf *out, const char *api_version, const char *kind, struct bytes packed);
/* Append a packed object with metadata.resourceVersion put in (revision 0: as it is). The object
 * must be canonical and of a kind whose field 1 is its metadata. */
void packed_put_revision(struct buf *out, struct bytes packed, uint64_t revision);
