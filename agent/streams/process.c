/* exec and attach: the standard streams of a process in a container.
 *
 * A command's streams are pipes between it and this agent, or a terminal whose master end comes
 * from the shim; an attached container's streams are pipes that the shim copies to. Both end with
 * the shim's word on the exit code, after which output is read until its end, or for a moment. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "agent/pods/container_spec.h"
#include "agent/runtime/shim_client.h"
#include "agent/streams/internal.h"
#include "common/api/make.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"

enum { LINGER_MS = 200, ATTACH_PIPE_BYTES = 1024 * 1024 };

struct process {
	struct stream *stream;
	uv_poll_t shim;
	int shim_fd;
	uv_timer_t timer;
	uv_pipe_t in, out[2];
	bool has_shim, has_in, has_out[2]; /* Initialised and not being closed. */
	bool reading[2];
	int handles;
	bool attach, tty, exited, paused, in_ended;
	int exit_code;
	char *dir, *id, *process_path;
	int terminal; /* Kept for resizing; a duplicate. */
	struct buf resize, early; /* early: input from before the terminal was there. */
	struct winsize size;
	char space[16384];
};

struct write_job {
	uv_write_t request;
	struct process *process;
	uint8_t data[];
};

static void maybe_free(struct process *p)
{
	struct stream *s = p->stream;

	if (p->handles > 0)
		return;
	if (p->process_path != NULL)
		unlink(p->process_path);
	if (p->terminal >= 0)
		close(p->terminal);
	buf_fini(&p->resize);
	buf_fini(&p->early);
	free(p->process_path);
	free(p->dir);
	free(p->id);
	free(p);
	stream_free(s);
}

static void on_closed(uv_handle_t *handle)
{
	struct process *p = handle->data;

	if (handle == (uv_handle_t *)&p->shim)
		close(p->shim_fd);
	p->handles--;
	if (p->stream->stopped)
		maybe_free(p);
}

static void close_one(struct process *p, uv_handle_t *handle, bool *has)
{
	if (!*has)
		return;
	*has = false;
	uv_close(handle, on_closed);
}

static void stop(struct stream *s)
{
	struct process *p = s->state;
	bool timer = true;

	close_one(p, (uv_handle_t *)&p->shim, &p->has_shim);
	close_one(p, (uv_handle_t *)&p->in, &p->has_in);
	close_one(p, (uv_handle_t *)&p->out[0], &p->has_out[0]);
	close_one(p, (uv_handle_t *)&p->out[1], &p->has_out[1]);
	close_one(p, (uv_handle_t *)&p->timer, &timer);
}

/* Output */

static void finish(struct process *p)
{
	struct stream *s = p->stream;

	if (s->stopped)
		return;
	if (p->attach)
		stream_finish(s, 200, NULL, "%s", "");
	else
		stream_finish_exit(s, p->exit_code);
}

static void on_linger(uv_timer_t *timer)
{
	finish(timer->data);
}

static void maybe_finish(struct process *p)
{
	if (!p->exited || p->stream->stopped)
		return;
	if (!p->has_out[0] && !p->has_out[1])
		finish(p);
	else if (!stream_is_full(p->stream))
		uv_timer_start(&p->timer, on_linger, LINGER_MS, 0);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct process *p = handle->data;

	*buf = uv_buf_init(p->space, sizeof(p->space));
}

static void on_output(uv_stream_t *from, ssize_t n, const uv_buf_t *buf)
{
	struct process *p = from->data;
	int i = from == (uv_stream_t *)&p->out[1];

	if (p->stream->stopped)
		return;
	if (n > 0) {
		frame_stream_write(p->stream->frames, i ? CHANNEL_STDERR : CHANNEL_STDOUT, buf->base, (size_t)n,
			false);
		if (stream_is_full(p->stream)) {
			uv_read_stop(from);
			p->reading[i] = false;
		}
		if (p->exited)
			maybe_finish(p); /* There was more: the linger begins anew. */
	} else if (n < 0) {
		close_one(p, (uv_handle_t *)from, &p->has_out[i]);
		maybe_finish(p);
	}
}

static void start_reading(struct process *p, int i)
{
	if (!p->has_out[i] || p->reading[i])
		return;
	p->reading[i] = true;
	uv_read_start((uv_stream_t *)&p->out[i], on_alloc, on_output);
}

static void drain(struct stream *s)
{
	struct process *p = s->state;

	start_reading(p, 0);
	start_reading(p, 1);
	maybe_finish(p);
}

static int open_pipe(struct process *p, uv_pipe_t *pipe, bool *has, int fd)
{
	pipe->data = p;
	uv_pipe_init(p->stream->streams->options.loop->uv, pipe, 0);
	p->handles++;
	*has = true;
	return uv_pipe_open(pipe, fd);
}

/* Input */

static void on_written(uv_write_t *request, int status)
{
	struct write_job *job = container_of(request, struct write_job, request);
	struct process *p = job->process;

	free(job);
	if (p->stream->stopped)
		return;
	if (status < 0)
		close_one(p, (uv_handle_t *)&p->in, &p->has_in); /* Nobody reads it any more. */
	if (p->paused && (!p->has_in || uv_stream_get_write_queue_size((uv_stream_t *)&p->in) < WRITE_HIGH_BYTES)) {
		p->paused = false;
		frame_stream_resume(p->stream->frames);
	}
}

static void on_input_ended(uv_shutdown_t *request, int status)
{
	struct process *p = request->handle->data;

	free(request);
	if (!p->stream->stopped)
		close_one(p, (uv_handle_t *)&p->in, &p->has_in);
}

static void write_input(struct process *p, const uint8_t *data, size_t n)
{
	if (!p->has_in) {
		/* A terminal is not there yet: a little is kept for it. */
		if (p->tty && !p->attach && p->early.len + n <= WRITE_HIGH_BYTES)
			buf_put(&p->early, data, n);
		return;
	}
	struct write_job *job = xmalloc(sizeof(*job) + n);
	uv_buf_t buf = uv_buf_init((char *)job->data, (unsigned)n);

	job->process = p;
	memcpy(job->data, data, n);
	if (uv_write(&job->request, (uv_stream_t *)&p->in, &buf, 1, on_written) < 0) {
		free(job);
		return;
	}
	if (!p->paused && uv_stream_get_write_queue_size((uv_stream_t *)&p->in) >= WRITE_HIGH_BYTES) {
		p->paused = true;
		frame_stream_pause(p->stream->frames);
	}
}

static void end_input(struct process *p)
{
	static const uint8_t end_of_file = 4;

	if (p->in_ended)
		return;
	p->in_ended = true;
	if (p->tty) {
		write_input(p, &end_of_file, 1); /* What a terminal knows as the end. */
		return;
	}
	if (!p->has_in)
		return;
	uv_shutdown_t *request = xmalloc(sizeof(*request));

	if (uv_shutdown(request, (uv_stream_t *)&p->in, on_input_ended) < 0) {
		free(request);
		close_one(p, (uv_handle_t *)&p->in, &p->has_in);
	}
}

static void apply_size(struct process *p)
{
	if (p->size.ws_row == 0 && p->size.ws_col == 0)
		return;
	if (p->attach) {
		static struct packet request;

		packet_begin(&request, "resize");
		packet_put(&request, "id", p->id);
		packet_putf(&request, "rows", "%d", p->size.ws_row);
		packet_putf(&request, "cols", "%d", p->size.ws_col);
		shim_tell(p->dir, &request);
	} else if (p->terminal >= 0) {
		ioctl(p->terminal, TIOCSWINSZ, &p->size);
	}
}

/* {"Width":80,"Height":24}, one object after the other; only the last counts. */
static void take_size(struct process *p, const uint8_t *data, size_t n)
{
	int width = 0, height = 0;

	if (p->resize.len + n > RESIZE_MAX)
		buf_clear(&p->resize);
	if (n > RESIZE_MAX)
		return;
	buf_put(&p->resize, data, n);
	const char *text = buf_cstr(&p->resize), *w = strstr(text, "\"Width\":"), *h = strstr(text, "\"Height\":");

	if (strchr(text, '}') == NULL)
		return;
	if (w != NULL && h != NULL && sscanf(w + 8, "%d", &width) == 1 && sscanf(h + 9, "%d", &height) == 1 &&
		width > 0 && height > 0 && width < 65536 && height < 65536) {
		p->size = (struct winsize){ .ws_row = (unsigned short)height, .ws_col = (unsigned short)width };
		apply_size(p);
	}
	buf_clear(&p->resize);
}

static void data(struct stream *s, uint8_t channel, const uint8_t *bytes, size_t n, bool end)
{
	struct process *p = s->state;

	if (channel == CHANNEL_STDIN) {
		if (n > 0)
			write_input(p, bytes, n);
		if (end)
			end_input(p);
	} else if (channel == CHANNEL_RESIZE && n > 0) {
		take_size(p, bytes, n);
	}
}

/* The shim's answers */

static void take_terminal(struct process *p, int fd)
{
	int second = fcntl(fd, F_DUPFD_CLOEXEC, 3), third = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	p->terminal = third;
	open_pipe(p, &p->out[0], &p->has_out[0], fd);
	start_reading(p, 0);
	open_pipe(p, &p->in, &p->has_in, second);
	apply_size(p);
	if (p->early.len > 0)
		write_input(p, p->early.data, p->early.len);
	buf_clear(&p->early);
}

static void on_shim(uv_poll_t *handle, int status, int events)
{
	struct process *p = handle->data;
	static struct packet answer;
	int rc = packet_receive(p->shim_fd, &answer);

	if (rc == -EAGAIN || p->stream->stopped)
		return;
	if (rc < 0) {
		uv_poll_stop(&p->shim);
		if (!p->exited)
			stream_finish(p->stream, 500, "InternalError", "the process that keeps the container hung up");
		return;
	}
	const char *verb = packet_verb(&answer);

	if (strcmp(verb, "error") == 0) {
		stream_finish(p->stream, 500, "InternalError", "error executing command in container: %s",
			text_of(packet_get(&answer, "message")));
	} else if (strcmp(verb, "exited") == 0) {
		p->exited = true;
		p->exit_code = (int)packet_get_number(&answer, "code", 255);
		maybe_finish(p);
	} else if (answer.n_fds > 0) {
		take_terminal(p, answer.fds[0]);
	}
}

/* The start */

static int make_pipe(struct process *p, int i, int *ret_theirs)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	*ret_theirs = i == 0 ? fds[0] : fds[1];
	if (i > 0 && p->attach)
		fcntl(fds[1], F_SETPIPE_SZ, ATTACH_PIPE_BYTES);
	return i == 0 ? open_pipe(p, &p->in, &p->has_in, fds[1])
		      : open_pipe(p, &p->out[i - 1], &p->has_out[i - 1], fds[0]);
}

static int send_request(struct process *p, const SampanNode__StreamOpen *open, struct status *st)
{
	static struct packet request;
	static const char *const names[] = { "stdin", "stdout", "stderr" };
	bool wanted[3] = { open->stdin, open->stdout, open->stderr && !p->tty };
	int theirs[3] = { -1, -1, -1 }, fds[3], rc = 0;
	size_t n = 0;

	packet_begin(&request, p->attach ? "attach" : "exec");
	packet_put(&request, "id", p->id);
	packet_putf(&request, "tty", "%d", p->tty);
	if (!p->attach)
		packet_put(&request, "process", p->process_path);
	for (int i = 0; i < 3 && rc == 0 && (p->attach || !p->tty); i++) {
		if (!wanted[i])
			continue;
		rc = make_pipe(p, i, &theirs[i]);
		packet_put(&request, names[i], "1");
		fds[n++] = theirs[i];
	}
	if (rc == 0)
		rc = packet_send(p->shim_fd, &request, fds, n);
	for (int i = 0; i < 3; i++) {
		if (theirs[i] >= 0)
			close(theirs[i]);
	}
	if (rc < 0)
		return status_set(st, rc, "cannot reach the container: %s", strerror(-rc));
	start_reading(p, 0);
	start_reading(p, 1);
	return 0;
}

static int begin(struct process *p, struct status *st)
{
	const SampanNode__StreamOpen *open = p->stream->open;
	struct container_place place;
	struct pod *pod;
	static unsigned number;
	int rc = stream_place(p->stream, &place, &pod, st);

	if (rc < 0)
		return rc;
	if (!place.running)
		return status_set(st, -EINVAL, "container %s does not run", place.name);
	if (!p->attach && open->n_command == 0)
		return status_set(st, -EINVAL, "you must specify at least one command for the container");
	p->dir = xstrdup(pod_dir(pod));
	p->id = xstrdup(place.id);
	p->tty = p->attach ? place.tty : open->tty;
	if (!p->attach) {
		p->process_path = xasprintf("%s/stream-%u.json", place.dir, number++);
		rc = container_write_exec(place.dir, open->command, open->n_command, p->tty, p->process_path, st);
	}
	if (rc < 0)
		return rc;
	rc = shim_connect(p->dir, &p->shim_fd);
	if (rc < 0)
		return status_set(st, rc, "cannot reach the container: %s", strerror(-rc));
	p->shim.data = p;
	uv_poll_init(p->stream->streams->options.loop->uv, &p->shim, p->shim_fd);
	uv_poll_start(&p->shim, UV_READABLE, on_shim);
	p->handles++;
	p->has_shim = true;
	return send_request(p, open, st);
}

static void start(struct stream *s)
{
	struct process *p = xcalloc(1, sizeof(*p));
	struct status st = { 0 };

	s->state = p;
	p->stream = s;
	p->terminal = -1;
	p->attach = s->open->kind == SAMPAN_NODE__STREAM_OPEN__KIND__ATTACH;
	p->timer.data = p;
	uv_timer_init(s->streams->options.loop->uv, &p->timer);
	p->handles = 1;
	int rc = begin(p, &st);

	if (rc < 0)
		stream_finish(s, rc == -ENOENT ? 404 : rc == -EINVAL ? 400 : 500,
			rc == -ENOENT ? "NotFound" : rc == -EINVAL ? "BadRequest" : "InternalError", "%s",
			text_of(st.message));
	status_fini(&st);
}

const struct stream_kind process_kind = { .start = start, .data = data, .drain = drain, .stop = stop };
