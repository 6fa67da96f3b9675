/* The pods of this node.
 *
 * pods_sync() is told which pods there are to be; everything else follows from
 * there: each pod moves by pod_decide() and reports what becomes of it. Pods on
 * disk from an earlier life of the agent are adopted when their object is
 * synced, and pods nobody wants any more are cleared away by pods_adopted().
 * Loop thread only. docs/agent.md describes the directory. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "agent/images/images.h"
#include "agent/network/network.h"
#include "agent/objects/objects.h"
#include "agent/pods/container_spec.h"
#include "agent/runtime/cgroup.h"
#include "agent/volumes/pod_view.h"

struct pods;
struct pod;

/* What pods need from the rest of the agent. */
struct pods_callbacks {
	/* The status of the pod changed, or it is gone; ask by pod_status() when it suits. */
	void (*changed)(void *ctx, struct pod *pod);
	/* Packed core.v1.Event; best effort. */
	void (*event)(void *ctx, const void *event);
	/* Get a token; answer by pods_token(), whenever. NULL: there are none here. */
	void (*need_token)(void *ctx, struct pod *pod, const char *audience, int64_t expiration_s);
	void *ctx;
};

struct pods_options {
	uv_loop_t *loop;
	const char *dir;      /* Of the agent; DIR/pods and DIR/logs are made in it. */
	const char *shim_path, *runtime_path;
	const struct cgroups *cgroups;
	const struct node_facts *node;
	const struct host_limits *host;
	struct objects *objects;
	struct images *images;
	struct pods_callbacks callbacks;
};

int pods_create(const struct pods_options *options, struct pods **ret, struct status *st);
/* Stops looking after them; the pods themselves go on. Runs the loop until its own handles are closed. */
void pods_destroy(struct pods *pods);

/* The podCIDR, once it is known; pods that need an address wait for it. */
int pods_set_range(struct pods *pods, const char *cidr, struct status *st);

/* A pod object is new or changed. */
void pods_put(struct pods *pods, struct held_object *object);
/* A pod object is gone: what runs of it is stopped within grace_s (-1: the pod's own). */
void pods_remove(struct pods *pods, const char *uid, int64_t grace_s);
/* Another object changed (ConfigMap, Secret, Service): refresh who uses it. */
void pods_object_changed(struct pods *pods, const struct held_object *object);
/* All objects known at start have been put: directories and cgroups of no pod are removed. */
void pods_adopted(struct pods *pods);
/* token NULL: it was refused, message says why. */
void pods_token(struct pods *pods, const char *uid, const char *audience, int64_t expiration_s,
	const char *token, int64_t expires_ns, const char *message);

struct pod *pods_find(const struct pods *pods, const char *uid);
struct pod *pods_find_named(const struct pods *pods, const char *namespace, const char *name);
/* Iteration; no pod may be added or removed meanwhile. */
struct pod *pods_first(const struct pods *pods);
struct pod *pods_next(const struct pod *pod);
/* Digests of images in use, for images_collect(); the caller frees the array, not the strings. */
const char **pods_images(const struct pods *pods, size_t *ret_n);

const char *pod_uid(const struct pod *pod);
const char *pod_namespace(const struct pod *pod);
const char *pod_name(const struct pod *pod);
const char *pod_dir(const struct pod *pod);
const CoreV1__Pod *pod_object(const struct pod *pod);
/* The packed status as of now; valid until the loop turns. */
struct bytes pod_status(const struct pod *pod);
/* It was to be deleted and nothing of it is left. */
bool pod_is_gone(const struct pod *pod);
/* Nothing of it runs, and its volumes are taken away. */
bool pod_is_released(const struct pod *pod);
/* The masters know nothing of it any more: forget it. */
void pod_forget(struct pod *pod);

/* For streams: where a container is. ENOENT: no such container; ESRCH: it does not run. name "" or NULL: the
 * only one, or the default one. Strings live as long as the pod. */
struct container_place {
	const char *name;
	const char *dir;      /* Its directory. */
	const char *id;       /* In the shim. */
	bool running, tty, has_stdin;
	const char *log_path; /* Of the current or last run. */
	const char *previous_log_path; /* "" if there was none. */
};
int pod_place(struct pod *pod, const char *container, struct container_place *ret, struct status *st);
/* Where the pod's network namespace is pinned; "" for the host's. */
const char *pod_netns(const struct pod *pod);
