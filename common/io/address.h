/* "host:port" as configuration and protocols write it. Pure; any thread. */
#pragma once

#include <stddef.h>

/* "10.0.0.1:80", "name:80", "[fe80::1]:80": the host without brackets and the port 1..65535.
 * -EINVAL when the text is not of this form or the host does not fit. */
int address_split(const char *address, char *ret_host, size_t host_size, int *ret_port);
