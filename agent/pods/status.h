/* The status a pod reports, from facts about it. Pure; any thread. */
#pragma once

#include "agent/pods/decide.h"
#include "common/base/arena.h"
#include "proto/k8s/core_v1.pb-c.h"

/* One run of a container. */
struct container_run {
	const char *id; /* NULL or "": there was none. */
	int attempt;    /* 0 for the first: the restart count. */
	int64_t started_ns, finished_ns;
	int exit_code, signal;
	const char *reason, *message; /* Of its end; NULL: from the exit code. */
	bool oom;
	const char *image, *image_id;
};

struct container_report {
	const CoreV1__Container *spec;
	const struct container_facts *facts;
	struct container_run current; /* Running or ended, by facts->phase. */
	struct container_run last;    /* The end before the current run. */
	bool ready;
	bool in_backoff; /* Waits for not_before_ns after an end. */
	int64_t backoff_ns; /* How long that is in all. */
	/* Why it cannot be started, e.g. ErrImagePull; NULL: nothing is wrong. */
	const char *waiting_reason, *waiting_message;
};

struct pod_report {
	const CoreV1__Pod *pod;
	const struct pod_plan *plan;
	const struct pod_facts *facts;
	const struct container_report *containers; /* As facts->containers. */
	int64_t started_ns; /* When this node took the pod. */
	const char *host_ip, *pod_ip;
	/* A phase that was decided from outside: "Failed" with reason and message (DeadlineExceeded, Evicted, ...). */
	const char *failed_reason, *failed_message;
	const CoreV1__PodStatus *before; /* For transition times; may be NULL. */
};

/* Borrows strings of the report. */
CoreV1__PodStatus *pod_status_build(const struct pod_report *report, struct arena *arena);
