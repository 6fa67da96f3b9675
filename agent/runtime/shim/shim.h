/* The shim of one pod: what its files share.
 *
 * One process, one thread, one poll loop, everything in fixed tables. It starts
 * containers and commands through the OCI runtime, owns their pipes and
 * terminals, writes their logs and exit records, and outlives the agent. Its
 * children are the containers themselves (it is their subreaper) and short runs
 * of the runtime. libc only: a pod costs about 200 KB because of that. */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/runtime/packet.h"
#include "agent/runtime/shim/cri_log.h"

enum {
	CONTAINERS_MAX = 64,
	CLIENTS_MAX = 128,
	ID_MAX = 80,
	RUNTIME_DEADLINE_MS = 120000, /* A run of the runtime that takes longer is killed. */
	DRAIN_MS = 500,               /* How long output is awaited after the container has ended. */
	ATTACH_BYTES = 4096,
};

/*   STARTING -> RUNNING -> DRAINING -> DELETING -> EXITED -> (forgotten)
 *       |          (init has ended)  (record written)
 *       +-- the runtime refused: reply, then DELETING */
enum container_state { CONTAINER_FREE, STARTING, RUNNING, DRAINING, DELETING, EXITED };

struct client;

struct container {
	enum container_state state;
	char id[ID_MAX];
	pid_t pid;    /* Its init; 0 before it is known and after it was reaped. */
	pid_t helper; /* The runtime at work for it; 0: none. */
	bool tty, stdin_once, forgotten, failed, kill_all;
	int out[2]; /* Read ends of stdout and stderr; with a tty the terminal is out[0]. */
	int in;     /* Write end of stdin, or -1. */
	int console; /* Listens for the terminal while it starts, or -1. */
	char *bundle, *record, *oom_path, *procs_path;
	struct cri_log log;
	int64_t started_ns, finished_ns, deadline_ms; /* deadline_ms 0: none. */
	int wait_status;
	struct client *starter;
};

enum client_role { CLIENT_FREE, IDLE, STARTER, WATCHER, EXEC, ATTACHED, QUITTER };

struct client {
	enum client_role role;
	int fd;
	struct container *container; /* EXEC, ATTACHED */
	/* EXEC */
	unsigned number; /* Names its files in the bundle. */
	pid_t helper, pid;
	int console;
	bool tty, ended; /* ended: before the runtime reported its pid. */
	int wait_status;
	int64_t deadline_ms;
	/* ATTACHED: our ends of the streams, -1 when closed or not asked for. */
	int stream_in, stream_out[2];
	char *held; /* Input the container has not taken yet, ATTACH_BYTES. */
	size_t held_len;
};

struct shim {
	const char *runtime, *root;
	int dir, listener, signals;
	bool quitting;
	pid_t pause; /* PID 1 of a shared process namespace, or 0. */
	unsigned sequence;
	struct container containers[CONTAINERS_MAX];
	struct client clients[CLIENTS_MAX];
};

extern struct shim shim;

/* main.c */
typedef void shim_poll_fn(void *arg, short revents);
void shim_poll_add(int fd, short events, shim_poll_fn *fn, void *arg);
int64_t shim_now_ns(void); /* Since 1970. */
int64_t shim_now_ms(void); /* Monotonic. */
/* Start argv with these as descriptors 0, 1, 2 (-1: /dev/null), everything else closed. */
pid_t shim_spawn(char *const argv[], int in, int out, int err);
/* A socket called name in the pod's directory; ret_path is how others reach it. */
int shim_console_listen(const char *name, char *ret_path, size_t size);
/* The terminal that the runtime hands over at the listening socket, or a negative errno. */
int shim_console_take(int listener);
void shim_log(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* At most size - 1 bytes of a file, without newlines at its end. */
void shim_read_text(const char *path, char *ret_text, size_t size);
pid_t shim_read_pid(const char *path);

/* container.c */
struct container *container_find(const char *id);
void container_run(struct client *c, const struct packet *request);
/* signal < 0: unknown name. all: every process of its cgroup, not only its init. */
int container_signal(struct container *k, int signal, bool all);
void container_forget(struct container *k);
/* A child has ended. True if it belonged to a container. */
bool container_child_ended(pid_t pid, int wait_status);
void container_add_polls(struct container *k);
/* Do what is due; returns when it wants to be looked at again, INT64_MAX: never. */
int64_t container_tick(struct container *k, int64_t now_ms);
const char *container_state_name(const struct container *k);
/* No container has any process left. */
bool containers_idle(void);

/* session.c: commands in containers, and attached clients. Descriptors taken over become -1 in the request. */
void exec_start(struct client *c, struct packet *request);
bool exec_child_ended(pid_t pid, int wait_status);
void exec_add_polls(struct client *c);
int64_t exec_tick(struct client *c, int64_t now_ms);
void attach_start(struct client *c, struct packet *request);
void attach_add_polls(struct client *c);
/* Output of the container for everybody attached. */
void attach_output(struct container *k, enum cri_stream stream, const char *data, size_t n);
/* The container has ended: tell the attached and end their sessions. */
void attach_ended(struct container *k, int code);
/* What a client holds beside its connection is released. */
void session_release(struct client *c);

/* client.c */
void client_accept(void *arg, short revents);
void client_add_polls(struct client *c);
void client_reply(struct client *c, const struct packet *reply, const int *fds, size_t n_fds);
void client_reply_error(struct client *c, int rc, const char *message);
void client_reply_ok(struct client *c);
void client_close(struct client *c);
/* Tell all watchers that the state of a container changed. */
void client_notify(const struct container *k);
