#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "sdk/sampan/dev.h"

static void sleep_ms(long ms)
{
	nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
}

/* A pid may have been used again: ours carries DIR in its arguments. */
static bool is_ours(const char *dir, pid_t pid)
{
	autofree char *path = xasprintf("/proc/%d/cmdline", (int)pid);
	autofree char *below = xasprintf("%s/", dir);
	struct buf cmdline = { 0 };
	bool ours = file_read(path, 64 * 1024, &cmdline, NULL) == 0 &&
		    memmem(cmdline.data, cmdline.len, below, strlen(below)) != NULL;

	buf_fini(&cmdline);
	return ours;
}

pid_t dev_process_pid(const char *dir, const char *name)
{
	autofree char *path = xasprintf("%s/run/%s.pid", dir, name);
	struct buf text = { 0 };
	pid_t pid = 0;

	if (file_read(path, 64, &text, NULL) == 0)
		pid = (pid_t)strtol(buf_cstr(&text), NULL, 10);
	buf_fini(&text);
	return pid > 0 && kill(pid, 0) == 0 && is_ours(dir, pid) ? pid : 0;
}

char *dev_program_path(const char *program)
{
	static const char *const places[] = { "", "../../controlplane/", "../../agent/",
					      "../../proxy/" };
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n > 0) {
		self[n] = '\0';
		*strrchr(self, '/') = '\0';
		for (size_t i = 0; i < array_size(places); i++) {
			char *path = xasprintf("%s/%s%s", self, places[i], program);

			if (access(path, X_OK) == 0)
				return path;
			free(path);
		}
	}
	return xstrdup(program);
}

/* In the child: become the program. Never returns. */
static _Noreturn void run(const char *dir, const struct dev_process *p)
{
	struct status st = { 0 };
	autofree char *log = xasprintf("%s/log/%s.log", dir, p->name);
	autofree char *path = dev_program_path(p->program);
	int out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	int in = open("/dev/null", O_RDONLY);

	setsid();
	if (dev_netns_enter(dir, p->netns, &st) < 0) {
		dprintf(out, "%s\n", st.message);
		_exit(1);
	}
	if (p->listen_fd >= 0) {
		char pid[16];

		snprintf(pid, sizeof(pid), "%d", (int)getpid());
		setenv("LISTEN_FDS", "1", 1);
		setenv("LISTEN_PID", pid, 1);
		/* dup2 clears close-on-exec, unless it is the same descriptor. */
		if (p->listen_fd != 3)
			dup2(p->listen_fd, 3);
		else
			fcntl(3, F_SETFD, 0);
	}
	dup2(in, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(out, STDERR_FILENO);
	/* All else ends with this program, among it the pipe by which our parent learns that it
	 * has. */
	for (int fd = p->listen_fd >= 0 ? 4 : 3; fd < 256; fd++)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
	execv(path, p->argv);
	dprintf(STDERR_FILENO, "%s: %s\n", path, strerror(errno));
	_exit(127);
}

static int write_pid(const char *dir, const char *name, pid_t pid, struct status *st)
{
	autofree char *path = xasprintf("%s/run/%s.pid", dir, name);
	autofree char *text = xasprintf("%d\n", (int)pid);

	return file_write(path, 0644, text, strlen(text), st);
}

int dev_process_start(const char *dir, const struct dev_process *p, struct status *st)
{
	int fds[2];

	if (dev_process_pid(dir, p->name) != 0)
		return 0;
	/* Forked twice, so that init and not we reap it; the middle one tells the pid. */
	if (pipe2(fds, O_CLOEXEC) < 0)
		return status_set(st, -errno, "%s: %s", p->name, strerror(errno));
	pid_t middle = fork();
	if (middle == 0) {
		pid_t pid = fork();

		if (pid == 0)
			run(dir, p);
		if (write(fds[1], &pid, sizeof(pid)) != sizeof(pid))
			_exit(1);
		_exit(0);
	}
	pid_t pid = -1;
	char rest;
	close(fds[1]);
	ssize_t n = read(fds[0], &pid, sizeof(pid));
	/* Its end comes with the exec: from then on the pid shows what it is. */
	while (n > 0 && read(fds[0], &rest, 1) > 0)
		;
	close(fds[0]);
	waitpid(middle, NULL, 0);
	if (n != sizeof(pid) || pid < 0)
		return status_set(st, -EAGAIN, "%s: cannot start it", p->name);
	return write_pid(dir, p->name, pid, st);
}

void dev_process_stop(const char *dir, const char *name, int grace_ms)
{
	pid_t pid = dev_process_pid(dir, name);
	autofree char *path = xasprintf("%s/run/%s.pid", dir, name);

	if (pid != 0)
		kill(pid, SIGTERM);
	for (int waited = 0; pid != 0 && dev_process_pid(dir, name) == pid; waited += 20) {
		if (waited >= grace_ms)
			kill(pid, SIGKILL);
		sleep_ms(20);
	}
	unlink(path);
}

static int is_pid_file(const struct dirent *entry)
{
	size_t n = strlen(entry->d_name);

	return n > 4 && strcmp(entry->d_name + n - 4, ".pid") == 0;
}

char **dev_process_names(const char *dir)
{
	autofree char *run_dir = xasprintf("%s/run", dir);
	struct dirent **entries;
	int n = scandir(run_dir, &entries, is_pid_file, alphasort);
	char **names = xcalloc(n > 0 ? (size_t)n + 1 : 1, sizeof(names[0]));

	for (int i = 0; i < n; i++) {
		names[i] = xstrndup(entries[i]->d_name, strlen(entries[i]->d_name) - 4);
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
	return names;
}

static bool is_called(long pid, const char *program)
{
	autofree char *path = xasprintf("/proc/%ld/comm", pid);
	autofree char *line = xasprintf("%s\n", program);
	struct buf comm = { 0 };
	bool called = file_read(path, 64, &comm, NULL) == 0 && strcmp(buf_cstr(&comm), line) == 0;

	buf_fini(&comm);
	return called;
}

void dev_process_sweep(const char *dir, const char *program)
{
	DIR *proc = opendir("/proc");

	for (struct dirent *e; proc != NULL && (e = readdir(proc)) != NULL;) {
		long pid = strtol(e->d_name, NULL, 10);

		if (pid > 1 && is_called(pid, program) && is_ours(dir, (pid_t)pid))
			kill((pid_t)pid, SIGKILL);
	}
	if (proc != NULL)
		closedir(proc);
}
