/* The HAProxy of this node: started when it is needed first, reloaded without
 * losing a request, started again when it died.
 *
 * It is a process of its own that outlives the proxy: a proxy that starts finds it
 * by its pid file. Loop thread. */
#pragma once

#include <stdbool.h>

#include <uv.h>

#include "common/base/status.h"

struct haproxy;

typedef void haproxy_done_fn(void *arg, int rc, const struct status *st);

/* dir holds haproxy.cfg, socket and pid. ENOENT: no HAProxy is installed. */
int haproxy_create(uv_loop_t *loop, const char *dir, struct haproxy **ret, struct status *st);
/* Start with the configuration as it is, or replace the running one. done is called once, never
 * from inside this call; EBUSY at once while one is under way. */
int haproxy_load(struct haproxy *h, haproxy_done_fn *done, void *arg);
bool haproxy_is_alive(const struct haproxy *h);
/* HAProxy itself goes on. */
void haproxy_close(struct haproxy *h);
