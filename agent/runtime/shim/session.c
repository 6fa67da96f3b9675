/* Commands in containers and attached clients.
 *
 * A command gets the descriptors of the request as its own standard streams, so its bytes never
 * pass through the shim; with a terminal the agent gets the master end. What the container's own
 * process writes is read by the shim anyway and copied to whoever is attached: a client that does
 * not keep up loses its session, because neither the container nor its log may wait for it. */
#include "agent/runtime/shim/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct packet reply;

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void exec_path(const struct client *c, const char *suffix, char *ret, size_t size)
{
	snprintf(ret, size, "%s/exec-%u.%s", c->container->bundle, c->number, suffix);
}

static pid_t spawn_exec(struct client *c, const char *process, const int fds[3])
{
	char pid_path[PATH_MAX], log_path[PATH_MAX], console_path[64], name[32];
	char *argv[20];
	int n = 0;

	exec_path(c, "pid", pid_path, sizeof(pid_path));
	exec_path(c, "log", log_path, sizeof(log_path));
	argv[n++] = (char *)shim.runtime;
	argv[n++] = "--root";
	argv[n++] = (char *)shim.root;
	argv[n++] = "--log";
	argv[n++] = log_path;
	argv[n++] = "exec";
	argv[n++] = "--detach";
	argv[n++] = "--pid-file";
	argv[n++] = pid_path;
	argv[n++] = "--process";
	argv[n++] = (char *)process;
	if (c->tty) {
		snprintf(name, sizeof(name), "console-%u", shim.sequence++);
		c->console = shim_console_listen(name, console_path, sizeof(console_path));
		if (c->console < 0)
			return c->console;
		argv[n++] = "--tty";
		argv[n++] = "--console-socket";
		argv[n++] = console_path;
	}
	argv[n++] = c->container->id;
	argv[n] = NULL;
	return shim_spawn(argv, fds[0], fds[1], fds[2]);
}

void exec_start(struct client *c, struct packet *request)
{
	struct container *k = container_find(packet_get(request, "id"));
	const char *process = packet_get(request, "process");
	int fds[3] = { -1, -1, -1 };
	static const char *const names[] = { "stdin", "stdout", "stderr" };
	size_t used = 0;

	if (process == NULL || strlen(process) >= PATH_MAX) {
		client_reply_error(c, -EINVAL, "exec needs process");
		return;
	}
	if (k->state != RUNNING || k->pid <= 0) {
		client_reply_error(c, -ESRCH, "the container does not run");
		return;
	}
	for (int i = 0; i < 3; i++) {
		if (packet_get_number(request, names[i], 0) != 0 && used < request->n_fds)
			fds[i] = request->fds[used++];
	}
	c->container = k;
	c->number = shim.sequence++;
	c->tty = packet_get_number(request, "tty", 0) != 0;

	pid_t pid = spawn_exec(c, process, fds);

	if (pid < 0) {
		close_fd(&c->console);
		client_reply_error(c, pid, "cannot start the runtime");
		return;
	}
	c->role = EXEC;
	c->helper = pid;
	c->deadline_ms = shim_now_ms() + RUNTIME_DEADLINE_MS;
}

static void exec_reply_exit(struct client *c)
{
	packet_begin(&reply, "exited");
	packet_putf(&reply, "code", "%d",
		WIFSIGNALED(c->wait_status) ? 128 + WTERMSIG(c->wait_status)
					    : WEXITSTATUS(c->wait_status));
	client_reply(c, &reply, NULL, 0);
	c->pid = 0;
	c->container = NULL;
	c->role = IDLE;
}

static void exec_unlink(const struct client *c)
{
	char path[PATH_MAX];

	exec_path(c, "pid", path, sizeof(path));
	unlink(path);
	exec_path(c, "log", path, sizeof(path));
	unlink(path);
}

/* "runtime exec" has returned: the command runs, or it never will. */
static void exec_helper_ended(struct client *c, int wait_status)
{
	char path[PATH_MAX], text[4096];
	int terminal = -1;

	c->helper = 0;
	c->deadline_ms = 0;
	exec_path(c, "log", path, sizeof(path));
	shim_read_text(path, text, sizeof(text));
	exec_path(c, "pid", path, sizeof(path));
	if (!c->ended)
		c->pid = wait_status == 0 ? shim_read_pid(path) : 0;
	exec_unlink(c);
	if (c->tty && wait_status == 0)
		terminal = shim_console_take(c->console);
	close_fd(&c->console);
	if (wait_status != 0 || (c->pid == 0 && !c->ended) || (c->tty && terminal < 0)) {
		if (c->pid > 0)
			kill(c->pid, SIGKILL);
		client_reply_error(c, -ENOEXEC, text[0] ? text : "the runtime failed without a word");
		c->role = IDLE;
		c->pid = 0;
		c->container = NULL;
		return;
	}
	packet_begin(&reply, "ok");
	packet_putf(&reply, "pid", "%d", (int)c->pid);
	client_reply(c, &reply, &terminal, terminal >= 0);
	close_fd(&terminal);
	if (c->ended)
		exec_reply_exit(c);
}

bool exec_child_ended(pid_t pid, int wait_status)
{
	char path[PATH_MAX];

	for (struct client *c = shim.clients; c < shim.clients + CLIENTS_MAX; c++) {
		if (c->role != EXEC)
			continue;
		if (c->helper == pid) {
			exec_helper_ended(c, wait_status);
			return true;
		}
		if (c->pid == pid) {
			c->wait_status = wait_status;
			exec_reply_exit(c);
			return true;
		}
		if (c->helper > 0 && !c->ended) {
			exec_path(c, "pid", path, sizeof(path));
			if (shim_read_pid(path) == pid) {
				c->ended = true;
				c->wait_status = wait_status;
				return true;
			}
		}
	}
	return false;
}

void exec_add_polls(struct client *c)
{
	(void)c; /* Children tell by SIGCHLD; the terminal waits in the listening socket's queue. */
}

int64_t exec_tick(struct client *c, int64_t now_ms)
{
	if (c->role != EXEC || c->deadline_ms == 0)
		return INT64_MAX;
	if (now_ms >= c->deadline_ms) {
		kill(c->helper, SIGKILL);
		c->deadline_ms = 0;
		return INT64_MAX;
	}
	return c->deadline_ms;
}

void attach_start(struct client *c, struct packet *request)
{
	struct container *k = container_find(packet_get(request, "id"));
	static const char *const names[] = { "stdin", "stdout", "stderr" };
	size_t used = 0;

	if (k->state != RUNNING) {
		client_reply_error(c, -ESRCH, "the container does not run");
		return;
	}
	for (int i = 0; i < 3; i++) {
		if (packet_get_number(request, names[i], 0) == 0 || used == request->n_fds)
			continue;
		int fd = request->fds[used];

		request->fds[used++] = -1;
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
		*(i == 0 ? &c->stream_in : &c->stream_out[i - 1]) = fd;
	}
	if (c->stream_in >= 0 && k->in < 0)
		close_fd(&c->stream_in); /* The container has no standard input. */
	if (c->stream_in >= 0) {
		c->held = malloc(ATTACH_BYTES);
		if (c->held == NULL)
			abort();
	}
	c->container = k;
	c->role = ATTACHED;
	client_reply_ok(c);
}

/* The container took what it could of the held input. */
static void pass_input(struct client *c)
{
	struct container *k = c->container;

	if (c->held_len == 0 || k == NULL)
		return;
	ssize_t n = k->in < 0 ? (ssize_t)c->held_len : write(k->in, c->held, c->held_len);

	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		close_fd(&k->in); /* Nobody reads it any more. */
		n = (ssize_t)c->held_len;
	}
	if (n <= 0)
		return;
	memmove(c->held, c->held + n, c->held_len - (size_t)n);
	c->held_len -= (size_t)n;
}

static void on_container_input(void *arg, short revents)
{
	struct client *c = arg;

	if (revents != 0 && c->role == ATTACHED)
		pass_input(c);
}

static void on_attach_input(void *arg, short revents)
{
	struct client *c = arg;

	if (revents == 0 || c->role != ATTACHED || c->stream_in < 0 || c->held_len > 0)
		return;
	ssize_t n = read(c->stream_in, c->held, ATTACH_BYTES);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		close_fd(&c->stream_in);
		if (c->container->stdin_once && !c->container->tty)
			close_fd(&c->container->in);
		return;
	}
	c->held_len = (size_t)n;
	pass_input(c);
}

void attach_add_polls(struct client *c)
{
	if (c->held_len > 0 && c->container->in >= 0)
		shim_poll_add(c->container->in, POLLOUT, on_container_input, c);
	else if (c->stream_in >= 0)
		shim_poll_add(c->stream_in, POLLIN, on_attach_input, c);
}

void attach_output(struct container *k, enum cri_stream stream, const char *data, size_t n)
{
	for (struct client *c = shim.clients; c < shim.clients + CLIENTS_MAX; c++) {
		if (c->role != ATTACHED || c->container != k || c->stream_out[stream] < 0)
			continue;
		/* The agent makes these pipes large enough for any reader that is alive. */
		if (write(c->stream_out[stream], data, n) != (ssize_t)n)
			close_fd(&c->stream_out[stream]);
	}
}

void attach_ended(struct container *k, int code)
{
	for (struct client *c = shim.clients; c < shim.clients + CLIENTS_MAX; c++) {
		if (c->role == ATTACHED && c->container == k) {
			session_release(c);
			packet_begin(&reply, "exited");
			packet_putf(&reply, "code", "%d", code);
			client_reply(c, &reply, NULL, 0);
		} else if (c->role == EXEC && c->container == k && c->pid > 0) {
			kill(c->pid, SIGKILL); /* It lived in a namespace of the host or the pod. */
		}
	}
}

void session_release(struct client *c)
{
	if (c->role == EXEC) {
		/* Nobody waits for it any more. It becomes an orphan that the loop buries. */
		if (c->pid > 0)
			kill(c->pid, SIGKILL);
		if (c->helper > 0)
			kill(c->helper, SIGKILL);
		if (c->container != NULL)
			exec_unlink(c);
	}
	close_fd(&c->console);
	close_fd(&c->stream_in);
	close_fd(&c->stream_out[0]);
	close_fd(&c->stream_out[1]);
	free(c->held);
	c->held = NULL;
	c->held_len = 0;
	c->container = NULL;
	if (c->role == EXEC || c->role == ATTACHED)
		c->role = IDLE;
}
