/* What the files of this folder share about one pod; nothing outside includes it. */
#pragma once

#include <netinet/in.h>

#include "agent/pods/decide.h"
#include "agent/pods/pods.h"
#include "agent/pods/status.h"
#include "agent/runtime/exit_record.h"
#include "common/base/arena.h"
#include "common/base/list.h"

enum { CONTAINER_ID_LEN = 32, TOKENS_MAX = 32, MESSAGE_MAX = 1024 };

struct probes;
struct handler_run;

struct container {
	struct pod *pod;
	const CoreV1__Container *spec; /* In the pod's arena. */
	struct container_facts facts;
	/* Strings of runs are the container's own. */
	struct container_run current, last;
	char *dir, *log_path, *previous_log_path; /* Of the current run; "" before the first. */
	unsigned backoff_s;     /* See restart_backoff_ns(). */
	int64_t backoff_ns;     /* The delay under way. */
	bool ready;
	struct image *image;    /* For the next start. */
	char *image_spec;       /* The name it was started with. */
	struct image_pull *pull;
	bool pulling;
	unsigned pull_backoff_s;
	char *waiting_reason, *waiting_message;
	unsigned start_backoff_s;
	int64_t kill_grace_s;   /* -1: the pod's. */
	struct probes *probes;  /* While it runs. */
	struct handler_run *hook; /* postStart or preStop under way. */
	struct measured {
		char id[CONTAINER_ID_LEN + 1]; /* The run that was looked at; "": none. */
		uint64_t cpu_ns;
		int64_t at_ns; /* Monotonic. */
	} measured;
};

struct token_slot {
	char *audience, *token;
	int64_t expiration_s;
	int64_t expires_ns, refresh_ns; /* Wall time. */
	bool asked;
};

struct pod {
	struct list link;
	struct pods *pods;
	char *uid, *namespace, *name, *dir, *log_dir, *netns;
	struct held_object *object;
	struct arena arena; /* The object unpacked. */
	const CoreV1__Pod *message;
	struct container *containers;
	size_t n_containers;
	bool unwanted; /* Its deletion was asked for. */
	bool removed;  /* Its object is gone. */
	bool forgotten; /* Nothing needs to be reported any more. */
	int64_t stop_by_ns; /* While unwanted: when grace ends. */
	bool sandbox, released, busy;
	bool frozen;   /* It ended before this agent knew it: its status stays as the masters have it. */
	bool adopted;  /* What an earlier agent left has been looked at. */
	bool dirt;     /* Something of an earlier sandbox may be left. */
	bool refresh_due;
	int64_t refresh_at_ns;
	bool has_limits; /* An emptyDir volume on disk has a sizeLimit, looked at next then. */
	int64_t limits_at_ns;
	int64_t sandbox_not_before_ns;
	unsigned sandbox_backoff_s;
	char *trouble; /* What the last attempt of the sandbox failed with. */
	int64_t started_ns; /* Wall time, as everything here. */
	struct in_addr address;
	bool has_address;
	char ip[INET_ADDRSTRLEN];
	char *failed_reason, *failed_message;
	int pause_pid;
	struct token_slot tokens[TOKENS_MAX];
	size_t n_tokens;
	/* The connection on which the shim tells of changes. */
	uv_poll_t watch;
	int watch_fd;
	bool watching;
	uv_timer_t timer;
	int handles; /* Open ones; the pod is freed with the last. */
	bool ticking, again, dying;
	struct buf status; /* Packed, as last reported. */
};

struct pods {
	struct pods_options options;
	char *dir, *log_dir, *runtime_root;
	char *boot_id;
	struct list list;
	struct address_pool *addresses;
	int live; /* Pods whose handles are not closed. */
	bool stopping;
	uint64_t event_sequence;
};

int64_t pod_now_ns(void);

/* pod.c */
void pod_tick(struct pod *pod);
struct pod *pod_create(struct pods *pods, struct held_object *object, struct status *st);
void pod_update(struct pod *pod, struct held_object *object);
void pod_destroy(struct pod *pod);
void pod_fail(struct pod *pod, const char *reason, const char *message);
struct container *pod_container_named(struct pod *pod, const char *name);
bool pod_stops(const struct pod *pod);
/* Begin to watch its shim. */
int pod_watch(struct pod *pod);
void pod_unwatch(struct pod *pod);

/* container.c: what happens to one container. */
void container_set_waiting(struct container *c, const char *reason, const char *message);
void container_started(struct container *c, int64_t started_ns);
void container_ended(struct container *c, const struct exit_record *record, const char *reason,
	const char *message);
void container_read_exit(struct container *c);
void container_set_run_dir(struct container *c, int attempt);
void container_pull(struct container *c);
void container_stop(struct container *c);
void container_kill(struct container *c);
void container_run_fini(struct container_run *run);
void container_fini(struct container *c);
/* Why it must be restarted, for the event; grace_s -1: the pod's. */
void container_want_restart(struct container *c, int64_t grace_s, const char *why);

/* work.c: what is done on worker threads. */
void work_sandbox(struct pod *pod);
void work_start(struct container *c);
void work_release(struct pod *pod);
void work_refresh(struct pod *pod);
/* Whether its emptyDir volumes keep within their sizes; a pod that does not fails. */
void work_limits(struct pod *pod);
void work_remove(struct pod *pod);

/* adopt.c: what an earlier agent left. */
void pod_adopt(struct pod *pod);
int pod_write_state(const struct pod *pod);
/* Kill everything of a pod and take away what is mounted, pinned or kept by the runtime; records stay.
 * Blocking; any thread. */
void pod_clear_away(const struct pods *pods, const char *dir, const char *uid, bool keep_volumes);
int container_write_record(const char *dir, const struct container_run *run, const char *digest);

/* publish.c: status and events. */
void pod_publish(struct pod *pod, const struct pod_facts *facts, const struct pod_plan *plan);
void pod_event(struct pod *pod, const char *container, const char *type, const char *reason,
	const char *fmt, ...) __attribute__((format(printf, 5, 6)));
