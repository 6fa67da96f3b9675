/* What to do next with a pod: a pure function of what is known about it.
 *
 *   (nothing) -> SANDBOX -> PULL, START per container, in order -> running
 *   unwanted, failed or done: STOP, TERM, KILL per container -> RELEASE -> over
 *
 * Nothing here remembers anything: whoever acts changes the facts and asks
 * again, after a restart of the agent as well. Any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In the order of their start: init containers and sidecars as the pod lists them, then the main ones. */
enum container_kind { CONTAINER_INIT, CONTAINER_SIDECAR, CONTAINER_MAIN };

enum container_phase {
	PHASE_NONE,     /* Never started. */
	PHASE_STARTING, /* A START is under way. */
	PHASE_RUNNING,
	PHASE_ENDED,
};

enum stop_phase {
	STOP_NOT,
	STOP_HOOK, /* preStop runs. */
	STOP_TERM, /* The stop signal was sent. */
	STOP_KILL, /* SIGKILL was sent. */
};

enum restart_policy { RESTART_ALWAYS, RESTART_ON_FAILURE, RESTART_NEVER };

struct container_facts {
	enum container_kind kind;
	enum container_phase phase;
	bool image_ready;      /* For the next start. */
	int exit_code;         /* PHASE_ENDED */
	bool started;          /* Its startup probe and postStart hook are through. */
	bool kill;             /* It runs and must be stopped and started anew. */
	int64_t not_before_ns; /* Earliest next start or pull: back-off. */
	enum stop_phase stop;
	int64_t kill_at_ns; /* While it is being stopped. */
};

struct pod_facts {
	int64_t now_ns;
	enum restart_policy policy;
	bool stop;     /* Not wanted any more, past its deadline, or refused. */
	bool sandbox;  /* Namespaces, network, volumes and shim are there. */
	bool released; /* They were taken away again, for good. */
	bool busy;     /* A step of the pod as a whole or a start is under way. */
	int64_t sandbox_not_before_ns;
	const struct container_facts *containers;
	size_t n_containers;
};

enum pod_step { STEP_SANDBOX, STEP_PULL, STEP_START, STEP_STOP, STEP_TERM, STEP_KILL, STEP_RELEASE };

struct pod_order {
	enum pod_step step;
	size_t container;
};

enum { POD_CONTAINERS_MAX = 60 };

struct pod_plan {
	struct pod_order orders[POD_CONTAINERS_MAX + 1];
	size_t n_orders;
	int64_t wake_ns; /* When to ask again although nothing happened; INT64_MAX: never. */
	bool over;       /* Nothing runs and nothing will be started. */
	bool failed;     /* An init container failed and may not be restarted. */
	bool initialized; /* All init containers are done and all sidecars started. */
};

void pod_decide(const struct pod_facts *facts, struct pod_plan *ret_plan);

/* Whether a container that ended so is started again (the pod still being wanted). */
bool container_restarts(enum restart_policy policy, enum container_kind kind, int exit_code);

/* The delay before the next start of a container that has ended: 0, 10, 20, ... 300 s; ran_ns is how
 * long it ran. *backoff_s is remembered per container and starts as 0. */
int64_t restart_backoff_ns(unsigned *backoff_s, int64_t ran_ns);
