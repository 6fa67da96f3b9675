/* What this machine is and has, as a Node object tells it. Blocking reads of /proc; at start-up only. */
#pragma once

#include <stdint.h>

#include "common/base/arena.h"
#include "proto/k8s/core_v1.pb-c.h"

struct machine {
	int64_t cpu_milli, memory_bytes, disk_bytes;
	char *machine_id, *boot_id, *kernel, *os_image, *architecture, *hostname;
};

void machine_read(struct machine *m, const char *dir);
void machine_fini(struct machine *m);
/* What pods may have of the memory: all but what the machine needs to stay alive. */
int64_t machine_allocatable_memory(const struct machine *m);
