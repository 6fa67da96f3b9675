/* A member of a log cluster as a process of its own, for benchmarks: its clients come
 * over plain TCP, its peers over TLS. All writes of one turn become one entry.
 *
 * Request: u32 length of all, u64 id, value. Answer: u64 id, i64 rc. The id
 * LOG_MEMBER_STATUS writes nothing and asks whether this member leads a complete cluster. */
#pragma once

#include <stdint.h>

#include "tests/unit/consensus/pki.h"

#define LOG_MEMBERS 3
#define LOG_MEMBER_STATUS UINT64_MAX

struct log_member {
	uint64_t id;
	const char *dir;
	char address[32]; /* Of the log. */
	uint16_t client_port;
	const char *ca, *cert, *key;
	/* Addresses of all, for the first member to add the others. */
	const char *addresses[LOG_MEMBERS];
};

/* Does not return; ends with SIGTERM. The first member bootstraps if its directory is empty. */
_Noreturn void log_member_run(const struct log_member *m);
