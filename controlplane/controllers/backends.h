/* The pods behind a Service, grouped by the ports they serve it on (private to
 * this folder). Endpoints and EndpointSlices are two ways of writing this down. */
#pragma once

#include "controlplane/controllers/common.h"

struct backend_port {
	const char *name, *protocol, *app_protocol; /* app_protocol may be NULL. */
	int32_t port;
};

/* Pods that resolve the Service's ports to the same numbers. */
struct backend_group {
	struct backend_port *ports;
	size_t n_ports;
	const struct backend **backends;
	size_t n;
};

struct backend {
	const struct pod_facts *pod;
	const char *hostname; /* Of a pod that names the Service as its subdomain, or NULL. */
	bool serving, terminating, ready; /* ready: may be sent new connections. */
};

struct backends {
	struct backend_group *groups;
	size_t n_groups, n;
	bool headless, publish_not_ready;
};

/* Pods in order of their addresses. False when the Service has no selector: somebody else says what
 * is behind it. */
bool backends_find(struct view *v, const struct object *service, const CoreV1__Service *message,
		   struct backends *ret);

/* Marks the Services whose selector wants the pod, when what they see of it changed. */
void keys_add_services(struct keys *keys, const struct view *v, const struct object *old,
		       const struct object *new);
CoreV1__ObjectReference *make_pod_reference(struct arena *a, const struct object *pod);
