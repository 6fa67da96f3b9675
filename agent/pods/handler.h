/* One run of what a probe or a lifecycle hook asks for: a command in the container, an HTTP or gRPC
 * request, a TCP connection, or a pause.
 *
 * The callback comes once, later, never from inside handler_start(), and not
 * after handler_cancel(). Loop thread only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/pods/pod.h"

struct handler {
	const CoreV1__ExecAction *exec;
	const CoreV1__HTTPGetAction *http;
	const CoreV1__TCPSocketAction *tcp;
	const CoreV1__GRPCAction *grpc;
	const CoreV1__SleepAction *sleep;
};

enum handler_result {
	HANDLER_OK,
	HANDLER_FAILED, /* It ran and said no, or took too long. */
	HANDLER_BROKEN, /* It could not be run: nothing is known. */
};

/* output: what it said, at most 1 KiB; never NULL. */
typedef void handler_cb(void *arg, enum handler_result result, const char *output);

struct handler_run *handler_start(struct container *c, const struct handler *handler, uint64_t timeout_ms,
	handler_cb *cb, void *arg);
void handler_cancel(struct handler_run *run);

struct handler handler_of_probe(const CoreV1__Probe *probe);
struct handler handler_of_hook(const CoreV1__LifecycleHandler *hook);
/* A number, or the name of one of the container's ports. 0: there is no such port. */
int handler_port(const CoreV1__Container *c, const Intstr__IntOrString *port);
