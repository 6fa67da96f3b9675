/* What every listener does: bind an address given as text, or take a bound socket over, and tell
 * its port. Loop thread only. */
#pragma once

#include <uv.h>

#include "common/base/status.h"

/* Listen on host:port (an IP address; port 0: any), or with fd > 0 on that socket, which is the
 * listener's from then on. listener must be initialised; on an error the caller closes it. */
int io_listen(uv_tcp_t *listener, const char *host, int port, int fd,
	      uv_connection_cb on_connection, struct status *st);
/* The port it listens on, or -1. */
int io_listener_port(const uv_tcp_t *listener);
