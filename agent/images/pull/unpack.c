#include "agent/images/pull/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/cleanup.h"

static int drop_capabilities(void)
{
	static const unsigned kept
		[] = { CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER,   CAP_FSETID,
		       CAP_MKNOD, CAP_SETFCAP,      CAP_SYS_ADMIN /* trusted.overlay.opaque */ };
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };

	for (size_t i = 0; i < array_size(kept); i++)
		data[kept[i] / 32].permitted |= 1u << (kept[i] % 32);
	data[0].effective = data[0].permitted;
	data[1].effective = data[1].permitted;
	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

static int confine(const char *dir)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	if (chroot(dir) < 0 || chdir("/") < 0)
		return -errno;
	return drop_capabilities();
}

/* The child: never returns. Its one line of result is "ok <diff id> <bytes>" or a reason. */
static void run_child(const char *dir, int in, int result)
{
	auto_with(status_fini) struct status st = { 0 };
	char diff_id[DIGEST_SIZE];
	uint64_t bytes = 0;
	int rc = confine(dir);

	umask(0);
	if (rc < 0)
		status_set(&st, rc, "cannot confine the unpacking: %s", strerror(-rc));
	else
		rc = unpack_archive(in, diff_id, &bytes, &st);
	if (rc < 0)
		dprintf(result, "%s", st.message);
	else
		dprintf(result, "ok %s %llu", diff_id, (unsigned long long)bytes);
	_exit(rc < 0);
}

int unpack_start(struct unpack *u, const char *dir, struct status *st)
{
	int in[2], result[2];

	if (pipe2(in, O_CLOEXEC) < 0)
		return status_set(st, -errno, "cannot make a pipe: %s", strerror(errno));
	if (pipe2(result, O_CLOEXEC) < 0) {
		close(in[0]);
		close(in[1]);
		return status_set(st, -errno, "cannot make a pipe: %s", strerror(errno));
	}
	fcntl(in[1], F_SETPIPE_SZ, 1 << 20);
	fflush(NULL);
	u->pid = fork();
	if (u->pid == 0) {
		close(in[1]);
		close(result[0]);
		run_child(dir, in[0], result[1]);
	}
	close(in[0]);
	close(result[1]);
	u->in = in[1];
	u->result = result[0];
	if (u->pid < 0) {
		int rc = status_set(st, -errno, "cannot start a process: %s", strerror(errno));

		unpack_abort(u);
		return rc;
	}
	return 0;
}

int unpack_write(struct unpack *u, const void *data, size_t n)
{
	const char *at = data;

	while (n > 0) {
		ssize_t done = write(u->in, at, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		at += done;
		n -= (size_t)done;
	}
	return 0;
}

static size_t read_result(int fd, char *to, size_t size)
{
	size_t n = 0;

	while (n < size - 1) {
		ssize_t done = read(fd, to + n, size - 1 - n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			break;
		n += (size_t)done;
	}
	to[n] = '\0';
	return n;
}

int unpack_finish(struct unpack *u, char ret_diff_id[DIGEST_SIZE], uint64_t *ret_bytes,
		  struct status *st)
{
	char text[1024], diff_id[DIGEST_SIZE];
	unsigned long long bytes;

	close(u->in);
	u->in = -1;
	size_t n = read_result(u->result, text, sizeof(text));

	unpack_abort(u);
	if (n == 0)
		return status_set(st, -EIO, "the unpacking process died");
	if (sscanf(text, "ok %71s %llu", diff_id, &bytes) != 2)
		return status_set(st, -EIO, "%s", text);
	memcpy(ret_diff_id, diff_id, DIGEST_SIZE);
	*ret_bytes = bytes;
	return 0;
}

void unpack_abort(struct unpack *u)
{
	if (u->in >= 0)
		close(u->in);
	if (u->result >= 0)
		close(u->result);
	u->in = u->result = -1;
	if (u->pid > 0) {
		kill(u->pid, SIGKILL);
		while (waitpid(u->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	u->pid = -1;
}
