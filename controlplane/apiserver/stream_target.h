/* Which container on which node a stream is for: what exec, attach, log and
 * portforward have in common. */
#pragma once

#include "controlplane/apiserver/internal.h"
#include "controlplane/nodes/streams.h"
#include "proto/k8s/core_v1.pb-c.h"
#include "proto/sampan/node.pb-c.h"

struct stream_target {
	const struct object *pod; /* Borrowed for this turn. */
	const char *node;
	const char *container;
};

/* The pod the path names, the node that runs it and the container that is meant (container NULL or
 * "": the pod's only one, or the one an annotation names; none is needed without_container).
 * Strings live in the arena or in the pod. */
int stream_target_find(struct request *r, const char *container, bool without_container,
		       struct arena *arena, struct stream_target *ret_target, struct status *st);
/* Open the stream; open names what is wanted of the container. */
int stream_target_open(struct request *r, const struct stream_target *t,
		       SampanNode__StreamOpen *open, const struct node_stream_callbacks *callbacks,
		       void *ctx, struct node_stream **ret_stream, struct status *st);

void handle_log(struct request *r);
void handle_remote(struct request *r); /* exec, attach */
void handle_port_forward(struct request *r);
