/* The parts of objects that are written through a door of their own. Leader only. */
#pragma once

#include "controlplane/store/intents.h"
#include "controlplane/writes/change.h"
#include "proto/k8s/policy_v1.pb-c.h"

/* POST .../binding, .../eviction; body is of the subresource's kind. */
int subresource_create(struct write_change *c, const struct object *old, const char *subresource,
		       ProtobufCMessage *body, struct status *st);
/* PUT or PATCH .../scale, .../approval; body is of the subresource's kind. */
int subresource_update(struct write_change *c, const struct object *old, const char *subresource,
		       ProtobufCMessage *body, struct status *st);
/* What a patch of the subresource is applied to, packed, in the arena. */
int subresource_show(struct write_change *c, const struct object *old, const char *subresource,
		     struct bytes *ret_packed, struct status *st);

/* Assign pod to node; 409 when it is assigned or being deleted. */
int pod_bind(struct write_change *c, const struct object *pod, const char *node, struct status *st);

/* Delete pod if its disruption budget lets it: 429 when not, 500 when it has several. */
int pod_evict(struct write_change *c, const struct object *pod, const PolicyV1__Eviction *eviction,
	      struct status *st);

/* An event of a controller: a new one, or one more of the same. */
int event_record(struct write_change *c, const struct intent *intent, struct status *st);
