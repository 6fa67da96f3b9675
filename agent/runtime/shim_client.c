#include "agent/runtime/shim_client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"

extern char **environ;

/* Everything the launcher says goes into text. */
static int spawn_and_read(char *const *argv, char *text, size_t size, int *ret_status)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none;
	int out[2];
	pid_t pid;

	if (pipe2(out, O_CLOEXEC) < 0)
		return -errno;
	sigemptyset(&none);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, out[1], 2);
	posix_spawn_file_actions_adddup2(&actions, out[1], 1);
	int rc = -posix_spawn(&pid, argv[0], &actions, &attributes, argv, environ);

	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	close(out[1]);

	size_t len = 0;
	ssize_t n;

	while (rc == 0 && len + 1 < size && (n = read(out[0], text + len, size - 1 - len)) > 0)
		len += (size_t)n;
	close(out[0]);
	text[len] = '\0';
	while (rc == 0 && waitpid(pid, ret_status, 0) < 0 && errno == EINTR)
		;
	return rc;
}

int shim_launch(const struct shim_options *options, struct status *st)
{
	const char *argv[8 + 2 * 16];
	char text[512];
	size_t n = 0;
	int status = 0;

	argv[n++] = options->program;
	argv[n++] = "--dir";
	argv[n++] = options->dir;
	argv[n++] = "--runtime";
	argv[n++] = options->runtime;
	argv[n++] = "--root";
	argv[n++] = options->runtime_root;
	for (size_t i = 0; i < options->n_join && i < 16; i++) {
		argv[n++] = "--join";
		argv[n++] = options->join[i];
	}
	argv[n] = NULL;

	int rc = spawn_and_read((char *const *)argv, text, sizeof(text), &status);

	if (rc < 0)
		return status_set(st, rc, "cannot start %s: %s", options->program, strerror(-rc));
	if (status != 0) {
		text[strcspn(text, "\n")] = '\0';
		return status_set(st, -EIO, "%s failed: %s", options->program, text);
	}
	return 0;
}

int shim_connect(const char *dir, int *ret_fd)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	autoclose int dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (dir_fd < 0)
		return -errno;
	autoclose int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	/* The path may be longer than the 107 bytes of a socket's address. */
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/shim.sock", dir_fd);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	*ret_fd = steal_fd(&fd);
	return 0;
}

int packet_error(const struct packet *answer)
{
	if (strcmp(packet_verb(answer), "error") != 0)
		return 0;
	long long rc = packet_get_number(answer, "errno", EIO);

	return rc > 0 && rc < 4096 ? -(int)rc : -EIO;
}

int shim_call_on(int fd, const struct packet *request, const int *fds, size_t n_fds, int timeout_ms,
	struct packet *answer, struct status *st)
{
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	int rc = packet_send(fd, request, fds, n_fds);

	if (rc < 0)
		return status_set(st, rc, "cannot reach the pod's shim: %s", strerror(-rc));
	int ready = poll(&wait, 1, timeout_ms);

	if (ready == 0)
		return status_set(st, -ETIMEDOUT, "the pod's shim did not answer in %d ms", timeout_ms);
	rc = packet_receive(fd, answer);
	if (rc < 0)
		return status_set(st, rc, "the pod's shim hung up: %s", strerror(-rc));
	rc = packet_error(answer);
	if (rc < 0) {
		const char *message = packet_get(answer, "message");

		return status_set(st, rc, "%s", message ? message : strerror(-rc));
	}
	return 0;
}

int shim_call(const char *dir, const struct packet *request, int timeout_ms, struct packet *answer,
	struct status *st)
{
	autoclose int fd = -1;
	int rc = shim_connect(dir, &fd);

	if (rc < 0)
		return status_set(st, rc, "no shim in %s: %s", dir, strerror(-rc));
	return shim_call_on(fd, request, NULL, 0, timeout_ms, answer, st);
}

int shim_tell(const char *dir, const struct packet *request)
{
	autoclose int fd = -1;
	int rc = shim_connect(dir, &fd);

	return rc < 0 ? rc : packet_send(fd, request, NULL, 0);
}

bool shim_alive(const char *dir)
{
	autofree struct packet *p = xmalloc(sizeof(*p));

	packet_begin(p, "state");
	return shim_call(dir, p, SHIM_ANSWER_MS, p, NULL) == 0;
}
