/* Commands to a running HAProxy, one after the other on its unix socket.
 *
 * Each answer is looked at; the first that is not as expected ends the run, as
 * does silence. Loop thread. */
#pragma once

#include <uv.h>

#include "common/base/status.h"
#include "proxy/ingress/running.h"

struct runtime_run;

typedef void runtime_done_fn(void *arg, int rc, const struct status *st);

/* Takes the commands over, and calls done once, never from inside this call. path is the socket's.
 */
struct runtime_run *runtime_start(uv_loop_t *loop, const char *path, struct commands *commands,
				  runtime_done_fn *done, void *arg);
/* done is not called any more. */
void runtime_abandon(struct runtime_run *run);
