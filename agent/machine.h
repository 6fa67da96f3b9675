/* What this machine is, has and uses. Short reads of /proc; any thread. */
#pragma once

#include <stdint.h>

#include "common/base/arena.h"
#include "proto/k8s/core_v1.pb-c.h"

struct machine {
	int64_t cpu_milli, memory_bytes, disk_bytes;
	char *machine_id, *boot_id, *kernel, *os_image, *architecture, *hostname;
};

/* Processor time since it started, and memory that is taken: without what is free and without what of
 * files was not used lately, which the kernel would give up first. */
struct machine_counters {
	uint64_t cpu_ns, working_set_bytes;
};

/* Zeros for what cannot be read. */
void machine_count(struct machine_counters *ret);
/* The same from the texts of /proc/stat and /proc/meminfo. */
void machine_counters_parse(const char *stat, const char *meminfo, int64_t ticks_per_s,
	struct machine_counters *ret);

/* At start-up. */
void machine_read(struct machine *m, const char *dir);
void machine_fini(struct machine *m);
/* What pods may have of the memory: all but what the machine needs to stay alive. */
int64_t machine_allocatable_memory(const struct machine *m);
