/* The life of a container inside the shim; see enum container_state. */
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

#include "agent/runtime/exit_record.h"

/* All output passes through here; one read is one or more log lines. */
static char output[16384];

struct container *container_find(const char *id)
{
	for (struct container *k = shim.containers; k < shim.containers + CONTAINERS_MAX; k++) {
		if (k->state != CONTAINER_FREE && !k->forgotten && strcmp(k->id, id) == 0)
			return k;
	}
	return NULL;
}

const char *container_state_name(const struct container *k)
{
	switch (k->state) {
	case STARTING: return "starting";
	case RUNNING:  return "running";
	case DRAINING: return "running"; /* Its end is told when the record is there. */
	case DELETING:
	case EXITED:   return "exited";
	case CONTAINER_FREE: break;
	}
	return "free";
}

bool containers_idle(void)
{
	for (struct container *k = shim.containers; k < shim.containers + CONTAINERS_MAX; k++) {
		if (k->state != CONTAINER_FREE && k->state != EXITED)
			return false;
	}
	return true;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static char *copy(const char *text)
{
	char *copied = text ? strdup(text) : NULL;

	if (text != NULL && copied == NULL)
		abort();
	return copied;
}

static void release(struct container *k)
{
	close_fd(&k->out[0]);
	close_fd(&k->out[1]);
	close_fd(&k->in);
	close_fd(&k->console);
	cri_log_close(&k->log);
	free(k->bundle);
	free(k->record);
	free(k->oom_path);
	free(k->procs_path);
	*k = (struct container){ .state = CONTAINER_FREE, .out = { -1, -1 }, .in = -1, .console = -1 };
}

static void bundle_path(const struct container *k, const char *name, char *ret, size_t size)
{
	snprintf(ret, size, "%s/%s", k->bundle, name);
}

/* The pipes of its streams; theirs[] are for the container and closed after the spawn. */
static int make_streams(struct container *k, bool with_stdin, int theirs[3])
{
	int fds[2];

	if (with_stdin) {
		if (pipe2(fds, O_CLOEXEC) < 0)
			return -errno;
		theirs[0] = fds[0];
		k->in = fds[1];
		fcntl(k->in, F_SETFL, O_NONBLOCK);
	}
	for (int i = 0; i < 2; i++) {
		if (pipe2(fds, O_CLOEXEC) < 0)
			return -errno;
		k->out[i] = fds[0];
		theirs[i + 1] = fds[1];
		fcntl(k->out[i], F_SETFL, O_NONBLOCK);
	}
	return 0;
}

static int spawn_run(struct container *k, bool with_stdin)
{
	char pid_path[PATH_MAX], log_path[PATH_MAX + 8], console_path[64], name[32];
	int theirs[3] = { -1, -1, -1 }, rc = 0;
	char *argv[20];
	int n = 0;

	bundle_path(k, "pid", pid_path, sizeof(pid_path));
	bundle_path(k, "runtime.log", log_path, sizeof(log_path));
	unlink(pid_path);
	unlink(log_path);
	argv[n++] = (char *)shim.runtime;
	argv[n++] = "--root";
	argv[n++] = (char *)shim.root;
	argv[n++] = "--log";
	argv[n++] = log_path;
	argv[n++] = "run";
	argv[n++] = "--detach";
	argv[n++] = "--bundle";
	argv[n++] = k->bundle;
	argv[n++] = "--pid-file";
	argv[n++] = pid_path;
	if (k->tty) {
		snprintf(name, sizeof(name), "console-%u", shim.sequence++);
		k->console = shim_console_listen(name, console_path, sizeof(console_path));
		rc = k->console < 0 ? k->console : 0;
		argv[n++] = "--console-socket";
		argv[n++] = console_path;
	} else {
		rc = make_streams(k, with_stdin, theirs);
	}
	argv[n++] = k->id;
	argv[n] = NULL;
	if (rc == 0) {
		pid_t pid = shim_spawn(argv, theirs[0], theirs[1], theirs[2]);

		rc = pid < 0 ? pid : 0;
		k->helper = pid < 0 ? 0 : pid;
	}
	for (int i = 0; i < 3; i++)
		close_fd(&theirs[i]);
	return rc;
}

static struct container *free_slot(void)
{
	for (struct container *k = shim.containers; k < shim.containers + CONTAINERS_MAX; k++) {
		if (k->state == CONTAINER_FREE)
			return k;
	}
	return NULL;
}

void container_run(struct client *c, const struct packet *request)
{
	const char *id = packet_get(request, "id"), *bundle = packet_get(request, "bundle");
	const char *record = packet_get(request, "record"), *log = packet_get(request, "log");

	if (id == NULL || bundle == NULL || record == NULL || *id == '\0' || strlen(id) >= ID_MAX ||
		strchr(id, '/') != NULL || strlen(bundle) > PATH_MAX - 64) {
		client_reply_error(c, -EINVAL, "run needs id, bundle and record");
		return;
	}
	if (container_find(id) != NULL) {
		client_reply_error(c, -EEXIST, "a container of this id is there");
		return;
	}
	struct container *k = free_slot();

	if (k == NULL) {
		client_reply_error(c, -ENOSPC, "too many containers in one pod");
		return;
	}
	*k = (struct container){ .state = STARTING, .out = { -1, -1 }, .in = -1, .console = -1 };
	snprintf(k->id, sizeof(k->id), "%s", id);
	k->bundle = copy(bundle);
	k->record = copy(record);
	k->oom_path = copy(packet_get(request, "oom"));
	k->procs_path = copy(packet_get(request, "procs"));
	k->tty = packet_get_number(request, "tty", 0) != 0;
	k->stdin_once = packet_get_number(request, "stdin_once", 0) != 0;
	k->kill_all = packet_get_number(request, "kill_all", 0) != 0;

	int rc = log == NULL ? 0
			     : cri_log_open(&k->log, log, packet_get_number(request, "log_max", 0),
				       (int)packet_get_number(request, "log_files", 1));

	if (rc < 0)
		client_reply_error(c, rc, "cannot open the container's log");
	else if ((rc = spawn_run(k, packet_get_number(request, "stdin", 0) != 0)) < 0)
		client_reply_error(c, rc, "cannot start the runtime");
	if (rc < 0) {
		release(k);
		return;
	}
	k->deadline_ms = shim_now_ms() + RUNTIME_DEADLINE_MS;
	k->starter = c;
	c->role = STARTER;
}

/* Kill what is in its cgroup until nothing is left, a bounded number of times: whoever forks faster
 * than that meets "runtime delete --force" next. */
static void kill_cgroup(const struct container *k)
{
	for (int round = 0; round < 8 && k->procs_path != NULL; round++) {
		FILE *f = fopen(k->procs_path, "re");
		int pid, n = 0;

		if (f == NULL)
			return;
		while (fscanf(f, "%d", &pid) == 1) {
			if (pid > 1) {
				kill(pid, SIGKILL);
				n++;
			}
		}
		fclose(f);
		if (n == 0)
			return;
	}
}

int container_signal(struct container *k, int signal, bool all)
{
	if (signal < 0 || signal > 64)
		return -EINVAL;
	if (k->state != RUNNING || k->pid <= 0)
		return k->state == STARTING ? -EAGAIN : -ESRCH;
	/* It is our child and not reaped, so the number cannot have become another process. */
	if (kill(k->pid, signal) < 0)
		return -errno;
	if (all || (signal == SIGKILL && k->kill_all))
		kill_cgroup(k);
	return 0;
}

void container_forget(struct container *k)
{
	if (k->state == EXITED)
		release(k);
	else
		k->forgotten = true; /* The runtime is still clearing up. */
}

static bool saw_oom(const struct container *k)
{
	char text[4096];

	if (k->oom_path == NULL)
		return false;
	/* "oom_kill N" in memory.oom_control (v1) as in memory.events (v2). */
	shim_read_text(k->oom_path, text, sizeof(text));
	for (char *line = text; line != NULL; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, "oom_kill ", 9) == 0)
			return strtol(line + 9, NULL, 10) > 0;
	}
	return false;
}

static void spawn_delete(struct container *k)
{
	char *argv[] = { (char *)shim.runtime, "--root", (char *)shim.root, "delete", "--force", k->id,
		NULL };
	pid_t pid = shim_spawn(argv, -1, 2, 2);

	k->state = DELETING;
	k->helper = pid > 0 ? pid : 0;
	k->deadline_ms = shim_now_ms() + RUNTIME_DEADLINE_MS;
	if (pid < 0)
		k->state = EXITED;
}

static int exit_code(int wait_status)
{
	return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

/* The container has ended and its output is in the log: write the record, tell, clear up. */
static void conclude(struct container *k)
{
	struct exit_record record = { .code = exit_code(k->wait_status),
		.signal = WIFSIGNALED(k->wait_status) ? WTERMSIG(k->wait_status) : 0,
		.started_ns = k->started_ns,
		.finished_ns = k->finished_ns };

	record.oom = record.code != 0 && saw_oom(k);
	int rc = exit_record_write(k->record, &record);

	if (rc < 0)
		shim_log("%s: cannot write the exit record: %s\n", k->id, strerror(-rc));
	close_fd(&k->out[0]);
	close_fd(&k->out[1]);
	close_fd(&k->in);
	cri_log_close(&k->log);
	spawn_delete(k);
	attach_ended(k, record.code);
	client_notify(k);
}

static void init_ended(struct container *k, int wait_status)
{
	k->wait_status = wait_status;
	k->pid = 0;
	k->finished_ns = shim_now_ns();
	if (k->kill_all)
		kill_cgroup(k);
	if (k->state == RUNNING) {
		k->state = DRAINING;
		k->deadline_ms = shim_now_ms() + DRAIN_MS;
	}
}

static void take_terminal(struct container *k)
{
	int fd = shim_console_take(k->console);

	close_fd(&k->console);
	if (fd < 0) {
		shim_log("%s: no terminal: %s\n", k->id, strerror(-fd));
		return;
	}
	fcntl(fd, F_SETFL, O_NONBLOCK);
	k->out[0] = fd;
	k->in = fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

static void run_failed(struct container *k, const char *why)
{
	if (k->starter != NULL) {
		client_reply_error(k->starter, -ENOEXEC, why);
		k->starter->role = IDLE;
		k->starter = NULL;
	}
	k->failed = k->forgotten = true;
	spawn_delete(k);
}

/* "runtime run" has returned. */
static void run_ended(struct container *k, int wait_status)
{
	char path[PATH_MAX], text[4096];
	bool ended = k->finished_ns != 0; /* Its init is gone already. */

	if (k->console >= 0 && wait_status == 0)
		take_terminal(k);
	bundle_path(k, "pid", path, sizeof(path));
	if (!ended)
		k->pid = shim_read_pid(path);
	if (wait_status != 0 || (k->pid == 0 && !ended)) {
		bundle_path(k, "runtime.log", path, sizeof(path));
		shim_read_text(path, text, sizeof(text));
		run_failed(k, text[0] ? text : "the runtime failed without a word");
		return;
	}
	k->started_ns = shim_now_ns();
	k->state = RUNNING;
	k->deadline_ms = 0;
	if (k->starter != NULL) {
		static struct packet reply;

		packet_begin(&reply, "ok");
		packet_putf(&reply, "pid", "%d", (int)k->pid);
		packet_putf(&reply, "started_ns", "%lld", (long long)k->started_ns);
		client_reply(k->starter, &reply, NULL, 0);
		k->starter->role = IDLE;
		k->starter = NULL;
	}
	client_notify(k);
	if (ended) {
		k->finished_ns = k->finished_ns < k->started_ns ? k->started_ns : k->finished_ns;
		k->state = DRAINING;
		k->deadline_ms = shim_now_ms() + DRAIN_MS;
	}
}

bool container_child_ended(pid_t pid, int wait_status)
{
	char path[PATH_MAX];

	for (struct container *k = shim.containers; k < shim.containers + CONTAINERS_MAX; k++) {
		if (k->state == CONTAINER_FREE)
			continue;
		if (k->helper == pid) {
			k->helper = 0;
			if (k->state == STARTING) {
				run_ended(k, wait_status);
			} else if (k->state == DELETING) {
				k->state = EXITED;
				k->deadline_ms = 0;
				if (k->forgotten)
					release(k);
			}
			return true;
		}
		if (k->pid == pid) {
			init_ended(k, wait_status);
			return true;
		}
		/* A container may end before the runtime that started it does. */
		if (k->state == STARTING && k->finished_ns == 0) {
			bundle_path(k, "pid", path, sizeof(path));
			if (shim_read_pid(path) == pid) {
				init_ended(k, wait_status);
				return true;
			}
		}
	}
	return false;
}

/* One read; false when there is nothing more at present. Closes the stream at its end. */
static bool read_output(struct container *k, int stream)
{
	ssize_t n = read(k->out[stream], output, sizeof(output));

	if (n > 0) {
		cri_log_write(&k->log, stream == 0 ? CRI_STDOUT : CRI_STDERR, shim_now_ns(), output,
			(size_t)n);
		attach_output(k, stream == 0 ? CRI_STDOUT : CRI_STDERR, output, (size_t)n);
		return true;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	close_fd(&k->out[stream]); /* The end; a terminal says EIO. */
	if (k->tty)
		close_fd(&k->in);
	return false;
}

static void on_stdout(void *arg, short revents)
{
	struct container *k = arg;

	if (revents != 0 && k->out[0] >= 0)
		read_output(k, 0);
}

static void on_stderr(void *arg, short revents)
{
	struct container *k = arg;

	if (revents != 0 && k->out[1] >= 0)
		read_output(k, 1);
}

void container_add_polls(struct container *k)
{
	if (k->state == CONTAINER_FREE)
		return;
	if (k->out[0] >= 0)
		shim_poll_add(k->out[0], POLLIN, on_stdout, k);
	if (k->out[1] >= 0)
		shim_poll_add(k->out[1], POLLIN, on_stderr, k);
}

int64_t container_tick(struct container *k, int64_t now_ms)
{
	if (k->state == DRAINING) {
		if ((k->out[0] < 0 && k->out[1] < 0) || now_ms >= k->deadline_ms)
			conclude(k);
	} else if (k->deadline_ms != 0 && now_ms >= k->deadline_ms && k->helper > 0) {
		shim_log("%s: the runtime takes too long, killing it\n", k->id);
		kill(k->helper, SIGKILL);
		k->deadline_ms = 0;
	}
	return k->state != CONTAINER_FREE && k->deadline_ms != 0 ? k->deadline_ms : INT64_MAX;
}
