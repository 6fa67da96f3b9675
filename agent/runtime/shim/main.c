/* sampan-shim: start-up and the loop. docs/shim-protocol.md.
 *
 * The process that the agent starts forks, the child leaves the agent's session
 * and cgroup and listens, and only then the parent exits with 0: when the agent
 * has waited for it, the socket is there. */
#include "agent/runtime/shim/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { POLLS_MAX = 2 + 4 * CLIENTS_MAX + 4 * CONTAINERS_MAX };

struct shim shim = { .dir = -1, .listener = -1, .signals = -1 };

static struct pollfd polls[POLLS_MAX];
static struct {
	shim_poll_fn *fn;
	void *arg;
} handlers[POLLS_MAX];
static size_t n_polls;

void shim_poll_add(int fd, short events, shim_poll_fn *fn, void *arg)
{
	if (n_polls == POLLS_MAX)
		abort();
	polls[n_polls] = (struct pollfd){ .fd = fd, .events = events };
	handlers[n_polls].fn = fn;
	handlers[n_polls].arg = arg;
	n_polls++;
}

static int64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t shim_now_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}

int64_t shim_now_ms(void)
{
	return clock_ns(CLOCK_MONOTONIC) / 1000000;
}

/* To standard error, which is the file shim.log in the pod's directory. */
void shim_log(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vdprintf(STDERR_FILENO, fmt, args);
	va_end(args);
}

void shim_read_text(const char *path, char *ret_text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, ret_text, size - 1);

	if (fd >= 0)
		close(fd);
	if (n < 0)
		n = 0;
	while (n > 0 && (ret_text[n - 1] == '\n' || ret_text[n - 1] == ' '))
		n--;
	ret_text[n] = '\0';
}

pid_t shim_read_pid(const char *path)
{
	char text[32];

	shim_read_text(path, text, sizeof(text));
	long pid = strtol(text, NULL, 10);

	return pid > 1 && pid <= INT_MAX ? (pid_t)pid : 0;
}

pid_t shim_spawn(char *const argv[], int in, int out, int err)
{
	int from[3] = { in, out, err };
	pid_t pid = fork();

	if (pid != 0)
		return pid < 0 ? -errno : pid;

	int null = open("/dev/null", O_RDWR);

	/* Above the three numbers first, so that none overwrites one that is still needed. */
	for (int i = 0; i < 3; i++)
		from[i] = fcntl(from[i] >= 0 ? from[i] : null, F_DUPFD_CLOEXEC, 10);
	for (int i = 0; i < 3; i++) {
		if (dup2(from[i], i) < 0)
			_exit(126);
	}
	/* null may have become one of the three only if these were closed before; they never are. */
	close(null);

	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	execv(argv[0], argv);
	dprintf(STDERR_FILENO, "cannot execute %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

int shim_console_listen(const char *name, char *ret_path, size_t size)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", name);
	/* Through our own descriptor, because a socket's path may have 107 bytes at most. */
	snprintf(ret_path, size, "/proc/%d/fd/%d/%s", (int)getpid(), shim.dir, name);
	unlink(name);

	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 1) < 0) {
		int rc = -errno;

		close(fd);
		return rc;
	}
	return fd;
}

int shim_console_take(int listener)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	char name[256];
	struct iovec iov = { name, sizeof(name) };
	struct msghdr message = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof(control.space) };
	int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC), fd;

	if (connection < 0)
		return -errno;
	/* The runtime sends right after connecting; a peer that does not must not stop us. */
	struct timeval patience = { .tv_sec = 2 };

	setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	ssize_t n = recvmsg(connection, &message, MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = n >= 0 ? CMSG_FIRSTHDR(&message) : NULL;

	close(connection);
	if (c == NULL || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
		c->cmsg_len != CMSG_LEN(sizeof(int)))
		return -EPROTO;
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

static void on_signals(void *arg, short revents)
{
	struct signalfd_siginfo info;
	int status;
	pid_t pid;

	(void)arg;
	(void)revents;
	while (read(shim.signals, &info, sizeof(info)) == sizeof(info))
		; /* Only SIGCHLD is in it, and one may stand for many children. */
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == shim.pause)
			shim.pause = 0;
		else if (!container_child_ended(pid, status))
			exec_child_ended(pid, status);
	}
}

static void finish_quitting(void)
{
	if (shim.pause > 0) {
		kill(shim.pause, SIGKILL);
		waitpid(shim.pause, NULL, 0);
	}
	unlink("shim.sock");
	for (struct client *c = shim.clients; c < shim.clients + CLIENTS_MAX; c++) {
		if (c->role == QUITTER)
			client_reply_ok(c);
	}
	exit(0);
}

static void run_loop(void)
{
	for (;;) {
		int64_t now_ms = shim_now_ms(), wake_ms = INT64_MAX, due;

		if (shim.quitting && containers_idle())
			finish_quitting();
		n_polls = 0;
		shim_poll_add(shim.signals, POLLIN, on_signals, NULL);
		for (struct container *k = shim.containers; k < shim.containers + CONTAINERS_MAX; k++) {
			due = container_tick(k, now_ms);
			wake_ms = due < wake_ms ? due : wake_ms;
			container_add_polls(k);
		}
		for (struct client *c = shim.clients; c < shim.clients + CLIENTS_MAX; c++) {
			due = exec_tick(c, now_ms);
			wake_ms = due < wake_ms ? due : wake_ms;
			client_add_polls(c);
		}
		/* Last, so that a slot that was freed is not taken again within one round. */
		shim_poll_add(shim.listener, POLLIN, client_accept, NULL);

		int timeout = wake_ms == INT64_MAX ? -1 : wake_ms <= now_ms ? 0 : (int)(wake_ms - now_ms);

		if (poll(polls, n_polls, timeout) < 0 && errno != EINTR) {
			shim_log("poll failed: %s\n", strerror(errno));
			abort();
		}
		for (size_t i = 0, n = n_polls; i < n; i++) {
			if (polls[i].revents != 0)
				handlers[i].fn(handlers[i].arg, polls[i].revents);
		}
	}
}

static int listen_here(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "shim.sock" };
	sigset_t child;

	unlink("shim.sock");
	shim.listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (shim.listener < 0)
		return -errno;

	mode_t mask = umask(0177);
	int rc = bind(shim.listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
			listen(shim.listener, 64) < 0
		? -errno
		: 0;

	umask(mask);
	if (rc < 0)
		return rc;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	shim.signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	return shim.signals < 0 ? -errno : 0;
}

/* Our standard streams: nothing in, and out into shim.log. */
static int redirect_streams(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int log = open("shim.log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (null < 0 || log < 0 || dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0)
		return -errno;
	close(null);
	close(log);
	return 0;
}

static void join_cgroup(const char *procs_path)
{
	int fd = open(procs_path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "0", 1) != 1)
		shim_log("cannot join %s: %s\n", procs_path, strerror(errno));
	if (fd >= 0)
		close(fd);
}

static void usage(FILE *to)
{
	fputs("usage: sampan-shim --dir DIR --runtime PROGRAM --root DIR [--join FILE]...\n"
	      "Keeps the containers of one pod; started by sampan-agent.\n"
	      "  --dir DIR          the pod's directory: shim.sock and shim.log are made there\n"
	      "  --runtime PROGRAM  the OCI runtime, an absolute path\n"
	      "  --root DIR         where the runtime keeps its state\n"
	      "  --join FILE        a cgroup.procs file to enter; may be repeated\n",
		to);
}

static int parse_arguments(int argc, char **argv, const char **ret_dir)
{
	*ret_dir = NULL;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0) {
			usage(stdout);
			exit(0);
		}
		if (strcmp(argv[i], "--version") == 0) {
			puts("sampan-shim " SAMPAN_VERSION);
			exit(0);
		}
		if (i + 1 == argc)
			return -EINVAL;
		if (strcmp(argv[i], "--dir") == 0)
			*ret_dir = argv[++i];
		else if (strcmp(argv[i], "--runtime") == 0)
			shim.runtime = argv[++i];
		else if (strcmp(argv[i], "--root") == 0)
			shim.root = argv[++i];
		else if (strcmp(argv[i], "--join") == 0)
			i++; /* Used by the child. */
		else
			return -EINVAL;
	}
	return *ret_dir && shim.runtime && shim.root ? 0 : -EINVAL;
}

int main(int argc, char **argv)
{
	const char *dir;
	int ready[2], rc = 0;

	if (parse_arguments(argc, argv, &dir) < 0) {
		usage(stderr);
		return 2;
	}
	shim.dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (shim.dir < 0 || fchdir(shim.dir) < 0 || pipe2(ready, O_CLOEXEC) < 0) {
		fprintf(stderr, "sampan-shim: %s: %s\n", dir, strerror(errno));
		return 1;
	}

	pid_t child = fork();

	if (child != 0) {
		close(ready[1]);
		if (child < 0 || read(ready[0], &rc, sizeof(rc)) != sizeof(rc))
			rc = -ECHILD;
		if (rc < 0)
			fprintf(stderr, "sampan-shim: %s: cannot start: %s\n", dir, strerror(-rc));
		return rc < 0;
	}
	setsid();
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	rc = redirect_streams();
	for (int i = 1; i + 1 < argc; i++) {
		if (strcmp(argv[i], "--join") == 0)
			join_cgroup(argv[++i]);
	}
	if (rc == 0)
		rc = listen_here();
	if (write(ready[1], &rc, sizeof(rc)) != sizeof(rc) || rc < 0)
		return 1;
	close(ready[0]);
	close(ready[1]);
	run_loop();
}
