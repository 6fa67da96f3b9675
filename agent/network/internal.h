/* Shared inside agent/network only. */
#pragma once

#include "common/base/status.h"

/* Run fn with the calling thread inside the namespace of netns_fd. If the thread cannot come
 * back the process aborts: nothing after that would talk to the network it thinks it does. */
int netns_run(int netns_fd, int (*fn)(void *arg), void *arg);
