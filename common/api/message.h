/* Working with any Kubernetes message by its descriptor.
 *
 * Messages live in arenas and are never freed one by one. Functions that take
 * a message need one of proto/k8s. Any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "common/api/schema.h"
#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/status.h"
#include "proto/k8s/meta_v1.pb-c.h"

/* Every entry of a map of strings has this layout: cast (struct string_entry *const *)m->labels. */
struct string_entry {
	ProtobufCMessage base;
	char *key, *value;
};

/* An empty message. */
void *message_new(const ProtobufCMessageDescriptor *descriptor, struct arena *a);
void *message_copy(const void *message, struct arena *a);
/* Equal when they pack to the same canonical bytes. */
bool message_equal(const void *a, const void *b);

/* The object's metadata; NULL when it is not set or the message has none. */
MetaV1__ObjectMeta *message_metadata(const void *message);
/* The same, made when it is not set; the message must have the field. */
MetaV1__ObjectMeta *message_metadata_make(void *message, struct arena *a);
/* The singular message field of this JSON name (e.g. "status"); NULL when unset or none. */
ProtobufCMessage *message_child(const void *message, const char *json_name);
/* Share or clear (NULL) the singular message field of this JSON name. False when there is none. */
bool message_child_set(void *message, const char *json_name, ProtobufCMessage *child);

/* Value for key in a map of strings, or NULL. */
const char *string_map_get(struct string_entry *const *entries, size_t n, const char *key);
/* Set a key of m->labels or another string map of a message; field is its JSON name. NULL removes.
 */
void string_map_set(void *message, const char *json_name, const char *key, const char *value,
		    struct arena *a);
