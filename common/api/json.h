/* JSON to messages, messages to JSON, and stored bytes straight to JSON.
 *
 * Reading is strict (UTF-8, numbers, depth, range) and bounded by the arena's
 * budget; what the schema does not know is collected for fieldValidation.
 * Writing prints what a Kubernetes server prints, including the fields that
 * appear although they are empty. Any thread. */
#pragma once

#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/status.h"

#define JSON_DEPTH_MAX 200
/* Unknown and duplicate fields reported for one body. */
#define JSON_COMPLAINTS_MAX 100

enum field_validation { FIELDS_IGNORE, FIELDS_WARN, FIELDS_STRICT };

struct json_read {
	enum field_validation validation; /* In. */
	/* Out, in the arena: the object's type as written, or NULL. */
	const char *api_version, *kind;
	/* Out: 'unknown field "spec.x"', 'duplicate field "spec.y"'; with FIELDS_WARN they are the
	 * reply's warnings, with FIELDS_STRICT they are in st already. */
	const char **complaints;
	size_t n_complaints;
};

/* Read one object. read may be NULL (FIELDS_IGNORE). 400 in st, -EBADMSG, or -EFBIG beyond the
 * budget. */
int json_read_message(const ProtobufCMessageDescriptor *descriptor, struct bytes text,
		      struct arena *a, struct json_read *read, void *ret_message,
		      struct status *st);
/* Only the top level's apiVersion and kind; either may come back NULL. */
int json_read_type(struct bytes text, struct arena *a, const char **ret_api_version,
		   const char **ret_kind, struct status *st);

/* What JSON shows of an object beyond its message. Zero: nothing. */
struct json_head {
	const char *api_version, *kind;
	uint64_t revision; /* Printed as metadata.resourceVersion when not 0. */
};

/* Append a message. head may be NULL. */
void json_put_message(struct buf *out, const void *message, const struct json_head *head);
/* Append packed bytes without unpacking them. -EBADMSG when they are not canonical (out holds
 * rubbish after its former end then). */
int json_put_packed(struct buf *out, const ProtobufCMessageDescriptor *descriptor,
		    struct bytes packed, const struct json_head *head);
