/* How a container ended, as a file that outlives the shim and the agent.
 *
 * Written by the shim (to a temporary name, then renamed, so that it is whole or
 * absent), read by the agent. Lines "key=value"; docs/shim-protocol.md.
 * libc only. Any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct exit_record {
	int code;   /* As a shell would see it: 128 + signal for a killed process. */
	int signal; /* 0: none. */
	bool oom;   /* The kernel killed something in its cgroup for lack of memory. */
	int64_t started_ns, finished_ns; /* Since 1970. */
};

/* Text of at most 256 bytes. */
size_t exit_record_format(const struct exit_record *r, char *ret_text, size_t size);
/* EINVAL: not such a text. Unknown keys are skipped. */
int exit_record_parse(const char *text, size_t len, struct exit_record *ret);
int exit_record_write(const char *path, const struct exit_record *r);
/* ENOENT: there is none. */
int exit_record_read(const char *path, struct exit_record *ret);
