/* Connections to the shim: each request is one packet, each answer another one. */
#include "agent/runtime/shim/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* One of each is enough in one thread, and keeps 32 KB off the stack. */
static struct packet request, answer;

void client_reply(struct client *c, const struct packet *reply, const int *fds, size_t n_fds)
{
	/* A client that does not read its answers loses its connection, never our time. */
	if (packet_send(c->fd, reply, fds, n_fds) < 0)
		shutdown(c->fd, SHUT_RDWR);
}

void client_reply_error(struct client *c, int rc, const char *message)
{
	packet_begin(&answer, "error");
	packet_putf(&answer, "errno", "%d", -rc);
	packet_put(&answer, "message", message);
	client_reply(c, &answer, NULL, 0);
}

void client_reply_ok(struct client *c)
{
	packet_begin(&answer, "ok");
	client_reply(c, &answer, NULL, 0);
}

void client_close(struct client *c)
{
	for (struct container *k = shim.containers; k < shim.containers + CONTAINERS_MAX; k++) {
		if (k->starter == c)
			k->starter = NULL; /* It goes on; whoever comes next sees it in "state". */
	}
	session_release(c);
	close(c->fd);
	*c = (struct client){ .role = CLIENT_FREE, .fd = -1 };
}

static void put_container(struct packet *p, const struct container *k)
{
	packet_put(p, "container", k->id);
	packet_put(p, "state", container_state_name(k));
	packet_putf(p, "pid", "%d", (int)k->pid);
	packet_putf(p, "started_ns", "%lld", (long long)k->started_ns);
}

void client_notify(const struct container *k)
{
	packet_begin(&answer, "changed");
	put_container(&answer, k);
	for (struct client *c = shim.clients; c < shim.clients + CLIENTS_MAX; c++) {
		if (c->role == WATCHER)
			client_reply(c, &answer, NULL, 0);
	}
}

static void reply_state(struct client *c)
{
	packet_begin(&answer, "ok");
	packet_putf(&answer, "shim", "%d", (int)getpid());
	packet_putf(&answer, "pause", "%d", (int)shim.pause);
	for (struct container *k = shim.containers; k < shim.containers + CONTAINERS_MAX; k++) {
		if (k->state != CONTAINER_FREE)
			put_container(&answer, k);
	}
	client_reply(c, &answer, NULL, 0);
}

/* PID 1 of the pod's shared process namespace: it only buries the dead. */
static void be_pause(void)
{
	sigset_t all;
	int signal_number;

	prctl(PR_SET_NAME, "pause"); /* Seen by the people inside. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	for (;;) {
		sigwait(&all, &signal_number);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
}

static void start_pause(struct client *c)
{
	if (shim.pause == 0) {
		pid_t pid = (pid_t)syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, NULL, NULL, NULL, NULL);

		if (pid == 0) {
			for (int fd = 0; fd < 1024; fd++)
				close(fd);
			be_pause();
		}
		if (pid < 0) {
			client_reply_error(c, -errno, "cannot make a process namespace");
			return;
		}
		shim.pause = pid;
	}
	packet_begin(&answer, "ok");
	packet_putf(&answer, "pid", "%d", (int)shim.pause);
	client_reply(c, &answer, NULL, 0);
}

static void resize(struct client *c, struct container *k)
{
	struct winsize size = { .ws_row = (unsigned short)packet_get_number(&request, "rows", 0),
		.ws_col = (unsigned short)packet_get_number(&request, "cols", 0) };

	if (!k->tty || k->out[0] < 0 || ioctl(k->out[0], TIOCSWINSZ, &size) < 0)
		client_reply_error(c, -ENOTTY, "the container has no terminal");
	else
		client_reply_ok(c);
}

static void quit(struct client *c)
{
	c->role = QUITTER;
	shim.quitting = true;
	for (struct container *k = shim.containers; k < shim.containers + CONTAINERS_MAX; k++) {
		if (k->state == RUNNING)
			container_signal(k, SIGKILL, true);
	}
}

/* Requests about one container that is there. */
static void serve_container(struct client *c, const char *verb)
{
	const char *id = packet_get(&request, "id");
	struct container *k = id ? container_find(id) : NULL;

	if (k == NULL) {
		client_reply_error(c, -ENOENT, "no such container");
	} else if (strcmp(verb, "signal") == 0) {
		int rc = container_signal(k, (int)packet_get_number(&request, "signal", -1),
			packet_get_number(&request, "all", 0) != 0);

		if (rc < 0)
			client_reply_error(c, rc, "cannot signal the container");
		else
			client_reply_ok(c);
	} else if (strcmp(verb, "forget") == 0) {
		if (k->state == DELETING || k->state == EXITED) {
			container_forget(k);
			client_reply_ok(c);
		} else {
			client_reply_error(c, -EBUSY, "the container has not ended");
		}
	} else if (strcmp(verb, "exec") == 0) {
		exec_start(c, &request);
	} else if (strcmp(verb, "attach") == 0) {
		attach_start(c, &request);
	} else if (strcmp(verb, "resize") == 0) {
		resize(c, k);
	} else {
		client_reply_error(c, -EINVAL, "unknown request");
	}
}

static void serve(struct client *c)
{
	const char *verb = packet_verb(&request);

	if (c->role != IDLE) {
		client_reply_error(c, -EBUSY, "this connection is in use already");
	} else if (strcmp(verb, "run") == 0) {
		if (shim.quitting)
			client_reply_error(c, -ESHUTDOWN, "the shim is quitting");
		else
			container_run(c, &request);
	} else if (strcmp(verb, "state") == 0) {
		reply_state(c);
	} else if (strcmp(verb, "watch") == 0) {
		c->role = WATCHER;
		reply_state(c);
	} else if (strcmp(verb, "pause") == 0) {
		start_pause(c);
	} else if (strcmp(verb, "quit") == 0) {
		quit(c);
	} else {
		serve_container(c, verb);
	}
}

static void on_client(void *arg, short revents)
{
	struct client *c = arg;

	(void)revents;
	if (c->role == CLIENT_FREE)
		return;
	int rc = packet_receive(c->fd, &request);

	if (rc == -EAGAIN)
		return;
	if (rc < 0) {
		if (rc != -ECONNRESET)
			shim_log("client: %s\n", strerror(-rc));
		client_close(c);
		return;
	}
	serve(c);
	for (size_t i = 0; i < request.n_fds; i++) {
		if (request.fds[i] >= 0)
			close(request.fds[i]);
	}
}

void client_add_polls(struct client *c)
{
	if (c->role == CLIENT_FREE)
		return;
	shim_poll_add(c->fd, POLLIN, on_client, c);
	if (c->role == EXEC)
		exec_add_polls(c);
	if (c->role == ATTACHED)
		attach_add_polls(c);
}

void client_accept(void *arg, short revents)
{
	int fd = accept4(shim.listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)arg;
	(void)revents;
	if (fd < 0)
		return;
	for (struct client *c = shim.clients; c < shim.clients + CLIENTS_MAX; c++) {
		if (c->role != CLIENT_FREE)
			continue;
		*c = (struct client){ .role = IDLE,
			.fd = fd,
			.console = -1,
			.stream_in = -1,
			.stream_out = { -1, -1 } };
		return;
	}
	close(fd); /* CLIENTS_MAX connections are open: the peer sees the end at once. */
}
