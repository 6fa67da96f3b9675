/* The proxy as a whole: the world at one end, kernel and names at the other.
 *
 * It only ever adds to what an earlier run left, and leaves everything in place when it
 * ends: packets do not need it. One loop. */
#pragma once

#include "proxy/config.h"

struct proxy_options {
	const struct proxy_config *config;
	const char *snapshot; /* A file instead of masters, read again on SIGHUP; NULL: masters. */
	char **argv;          /* To execute ourselves anew with when the certificate was renewed. */
};

/* Runs until SIGTERM or SIGINT. A negative errno with a sentence: could not start. */
int proxy_run(const struct proxy_options *options, struct status *st);

/* What would be written for the snapshot, as text; touches nothing. */
int proxy_dump_snapshot(const struct proxy_config *config, const char *snapshot, struct buf *to,
			struct status *st);
