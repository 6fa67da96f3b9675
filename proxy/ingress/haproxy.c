#include "proxy/ingress/haproxy.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"

#define LOAD_MS 30000

static const char program[] = "/usr/sbin/haproxy";

struct haproxy {
	uv_loop_t *loop;
	char *dir;
	struct loading *loading;
};

/* The process that checks the configuration, takes the listening sockets over and leaves the real
 * one behind. */
struct loading {
	struct haproxy *h; /* NULL: nobody waits any more. */
	uv_process_t process;
	uv_timer_t timer;
	haproxy_done_fn *done;
	void *arg;
	struct status st;
	int open;
};

int haproxy_create(uv_loop_t *loop, const char *dir, struct haproxy **ret, struct status *st)
{
	if (access(program, X_OK) < 0)
		return status_set(st, -errno, "%s: %s", program, strerror(errno));

	struct haproxy *h = xcalloc(1, sizeof(*h));

	h->loop = loop;
	h->dir = xstrdup(dir);
	*ret = h;
	return 0;
}

/* --- Whether it lives ---------------------------------------------------------------------- */

/* A pid may have gone to somebody else meanwhile. */
static bool is_haproxy(long pid)
{
	autofree char *path = xasprintf("/proc/%ld/comm", pid);
	auto_with(buf_fini) struct buf name = { 0 };

	return file_read(path, 64, &name, NULL) == 0 && strcmp(buf_cstr(&name), "haproxy\n") == 0;
}

static long pid_of(const struct haproxy *h)
{
	autofree char *path = xasprintf("%s/pid", h->dir);
	auto_with(buf_fini) struct buf text = { 0 };
	long pid;

	if (file_read(path, 64, &text, NULL) < 0)
		return 0;
	pid = strtol(buf_cstr(&text), NULL, 10);
	return pid > 1 && is_haproxy(pid) ? pid : 0;
}

bool haproxy_is_alive(const struct haproxy *h)
{
	return pid_of(h) != 0;
}

/* --- Loading -------------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
	struct loading *l = handle->data;

	if (--l->open > 0)
		return;
	if (l->h != NULL) {
		l->h->loading = NULL;
		l->done(l->arg, l->st.rc, &l->st);
	}
	status_fini(&l->st);
	free(l);
}

static void end(struct loading *l)
{
	uv_close((uv_handle_t *)&l->process, on_closed);
	uv_close((uv_handle_t *)&l->timer, on_closed);
}

static void on_exit_of_loader(uv_process_t *process, int64_t exit_status, int signal)
{
	struct loading *l = process->data;

	if (signal != 0)
		status_set(&l->st, -EIO, "HAProxy was ended by signal %d", signal);
	else if (exit_status != 0)
		status_set(&l->st, -EINVAL, "HAProxy refused its configuration (exit code %lld)",
			   (long long)exit_status);
	end(l);
}

static void on_late(uv_timer_t *timer)
{
	struct loading *l = timer->data;

	uv_process_kill(&l->process, SIGKILL);
}

int haproxy_load(struct haproxy *h, haproxy_done_fn *done, void *arg)
{
	autofree char *config = xasprintf("%s/haproxy.cfg", h->dir);
	autofree char *pid_file = xasprintf("%s/pid", h->dir);
	autofree char *socket = xasprintf("%s/socket", h->dir);
	long old = pid_of(h);
	char pid[32];
	const char *args[12] = { "haproxy", "-D", "-q", "-f", config, "-p", pid_file };
	size_t n = 7;

	if (h->loading != NULL)
		return -EBUSY;
	if (old != 0) {
		snprintf(pid, sizeof(pid), "%ld", old);
		args[n++] = "-x";
		args[n++] = socket;
		args[n++] = "-sf";
		args[n++] = pid;
	}

	struct loading *l = xcalloc(1, sizeof(*l));
	uv_stdio_container_t stdio[3] = {
		{ .flags = UV_IGNORE },
		{ .flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO },
		{ .flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO },
	};
	uv_process_options_t options = {
		.file = program,
		.args = (char **)args,
		.exit_cb = on_exit_of_loader,
		.stdio = stdio,
		.stdio_count = 3,
	};

	*l = (struct loading){ .h = h, .done = done, .arg = arg, .open = 2 };
	h->loading = l;
	uv_timer_init(h->loop, &l->timer);
	l->timer.data = l->process.data = l;
	uv_timer_start(&l->timer, on_late, LOAD_MS, 0);

	int rc = uv_spawn(h->loop, &l->process, &options);

	if (rc < 0) {
		status_set(&l->st, rc, "cannot run %s: %s", program, uv_strerror(rc));
		end(l);
	}
	return 0;
}

void haproxy_close(struct haproxy *h)
{
	if (h == NULL)
		return;
	if (h->loading != NULL)
		h->loading->h = NULL;
	free(h->dir);
	free(h);
}
