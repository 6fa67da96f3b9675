/* A scheduler over a small cluster in memory, told of every change, for tests of
 * its decisions. In JSON texts ' stands for ". */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/cleanup.h"
#include "controlplane/scheduler/scheduler.h"
#include "tests/unit/world/world.h"

#define S INT64_C(1000000000)

struct bed {
	struct world w;
	struct scheduler *scheduler;
	struct store_listener listener;
};

/* Namespace default with its ServiceAccount, and nothing else. */
void bed_init(struct bed *b);
void bed_fini(struct bed *b);
/* 8Gi of memory, 110 pods; labels and spec are what stands between their braces. */
void bed_put_node(struct bed *b, const char *name, const char *cpu, const char *labels,
		  const char *spec);
/* Through admission; spec is what stands before its containers. */
void bed_create_pod(struct bed *b, const char *name, const char *cpu, const char *spec);
/* As it is: a pod of namespace default with labels and spec between their braces; node "" is none.
 */
void bed_put_pod(struct bed *b, const char *name, const char *node, const char *labels,
		 const char *spec, const char *cpu);
/* Decides until nothing waits; every decision is applied. The intents as text, events included. */
char *bed_run(struct bed *b);
/* "" while it has none. */
const char *bed_node_of(struct bed *b, const char *pod);
