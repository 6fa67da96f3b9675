/* The agent's side of a pod's shim: start it, talk to it.
 *
 * Calls that block say so and belong on a worker thread; the rest is for the
 * loop thread, which watches descriptors with uv_poll. A shim that hangs costs a
 * caller SHIM_ANSWER_MS, no more. docs/shim-protocol.md. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/runtime/packet.h"
#include "common/base/status.h"

enum { SHIM_ANSWER_MS = 5000, SHIM_RUN_MS = 130000, SHIM_QUIT_MS = 130000 };

struct shim_options {
	const char *program; /* sampan-shim. */
	const char *dir;     /* The pod's directory; the socket is made in it. */
	const char *runtime, *runtime_root;
	const char *const *join; /* cgroup.procs files it moves itself into. */
	size_t n_join;
};

/* Blocks until it listens. */
int shim_launch(const struct shim_options *options, struct status *st);
/* A connection to the shim of the pod in dir. ECONNREFUSED or ENOENT: there is none. Does not block. */
int shim_connect(const char *dir, int *ret_fd);
/* One request and its answer; blocks at most timeout_ms. An "error" answer becomes its errno and text.
 * request and answer may be the same packet. */
int shim_call(const char *dir, const struct packet *request, int timeout_ms, struct packet *answer,
	struct status *st);
/* The same on a connection that is there. */
int shim_call_on(int fd, const struct packet *request, const int *fds, size_t n_fds, int timeout_ms,
	struct packet *answer, struct status *st);
/* Send and do not wait: a lost request is noticed by its effect. Does not block. */
int shim_tell(const char *dir, const struct packet *request);

/* Whether there is a shim that answers. Blocks. */
bool shim_alive(const char *dir);
/* The errno of an "error" packet, 0 of another. */
int packet_error(const struct packet *answer);
