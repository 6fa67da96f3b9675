/* port-forward: a TCP connection to a port inside the pod's network namespace.
 *
 * Only the socket has to be made inside; it stays there while the thread has long come back. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/streams/internal.h"
#include "common/api/make.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"

struct forward {
	struct stream *stream;
	uv_tcp_t tcp;
	uv_connect_t connect;
	uv_shutdown_t shutdown;
	bool has_tcp, connected, reading, paused, in_ended, out_ended;
	struct buf early; /* From before the connection stood. */
	char space[16384];
};

struct write_job {
	uv_write_t request;
	struct forward *forward;
	uint8_t data[];
};

static void on_closed(uv_handle_t *handle)
{
	struct forward *f = handle->data;
	struct stream *s = f->stream;

	buf_fini(&f->early);
	free(f);
	stream_free(s);
}

static void stop(struct stream *s)
{
	struct forward *f = s->state;

	if (f->has_tcp) {
		uv_close((uv_handle_t *)&f->tcp, on_closed);
		return;
	}
	buf_fini(&f->early);
	free(f);
	stream_free(s);
}

static void maybe_finish(struct forward *f)
{
	if (f->in_ended && f->out_ended)
		stream_finish(f->stream, 200, NULL, "%s", "");
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct forward *f = handle->data;

	*buf = uv_buf_init(f->space, sizeof(f->space));
}

static void on_read(uv_stream_t *tcp, ssize_t n, const uv_buf_t *buf)
{
	struct forward *f = tcp->data;

	if (f->stream->stopped || n == 0)
		return;
	if (n < 0) {
		uv_read_stop(tcp);
		f->reading = false;
		f->out_ended = true;
		frame_stream_write(f->stream->frames, CHANNEL_STDOUT, NULL, 0, true);
		/* Nobody answers any more; what the client still says has no reader. */
		f->in_ended = true;
		maybe_finish(f);
		return;
	}
	frame_stream_write(f->stream->frames, CHANNEL_STDOUT, buf->base, (size_t)n, false);
	if (stream_is_full(f->stream)) {
		uv_read_stop(tcp);
		f->reading = false;
	}
}

static void start_reading(struct forward *f)
{
	if (!f->connected || f->reading || f->out_ended)
		return;
	f->reading = true;
	uv_read_start((uv_stream_t *)&f->tcp, on_alloc, on_read);
}

static void drain(struct stream *s)
{
	start_reading(s->state);
}

static void on_written(uv_write_t *request, int status)
{
	struct write_job *job = container_of(request, struct write_job, request);
	struct forward *f = job->forward;

	free(job);
	if (f->stream->stopped)
		return;
	if (status < 0) {
		stream_finish(f->stream, 500, "InternalError", "the connection to the pod broke: %s",
			uv_strerror(status));
		return;
	}
	if (f->paused && uv_stream_get_write_queue_size((uv_stream_t *)&f->tcp) < WRITE_HIGH_BYTES) {
		f->paused = false;
		frame_stream_resume(f->stream->frames);
	}
}

static void write_bytes(struct forward *f, const uint8_t *bytes, size_t n)
{
	struct write_job *job = xmalloc(sizeof(*job) + n);
	uv_buf_t buf = uv_buf_init((char *)job->data, (unsigned)n);

	job->forward = f;
	memcpy(job->data, bytes, n);
	if (uv_write(&job->request, (uv_stream_t *)&f->tcp, &buf, 1, on_written) < 0) {
		free(job);
		return;
	}
	if (!f->paused && uv_stream_get_write_queue_size((uv_stream_t *)&f->tcp) >= WRITE_HIGH_BYTES) {
		f->paused = true;
		frame_stream_pause(f->stream->frames);
	}
}

static void on_shut(uv_shutdown_t *request, int status)
{
	struct forward *f = request->handle->data;

	if (!f->stream->stopped)
		maybe_finish(f);
}

static void end_input(struct forward *f)
{
	if (f->in_ended)
		return;
	f->in_ended = true;
	if (f->connected)
		uv_shutdown(&f->shutdown, (uv_stream_t *)&f->tcp, on_shut);
}

static void data(struct stream *s, uint8_t channel, const uint8_t *bytes, size_t n, bool end)
{
	struct forward *f = s->state;

	if (channel != CHANNEL_STDIN || f->in_ended)
		return;
	if (n > 0 && f->connected) {
		write_bytes(f, bytes, n);
	} else if (n > 0) {
		buf_put(&f->early, bytes, n);
		if (f->early.len >= WRITE_HIGH_BYTES && !f->paused) {
			f->paused = true;
			frame_stream_pause(s->frames);
		}
	}
	if (end)
		end_input(f);
}

static void on_connected(uv_connect_t *request, int status)
{
	struct forward *f = request->handle->data;

	if (f->stream->stopped)
		return;
	if (status < 0) {
		stream_finish(f->stream, 500, "InternalError", "cannot connect to port %u of the pod: %s",
			f->stream->open->port, uv_strerror(status));
		return;
	}
	f->connected = true;
	start_reading(f);
	if (f->early.len > 0)
		write_bytes(f, f->early.data, f->early.len);
	buf_fini(&f->early);
	if (f->in_ended)
		uv_shutdown(&f->shutdown, (uv_stream_t *)&f->tcp, on_shut);
}

static int socket_in(const char *netns, int *ret_fd)
{
	if (*netns == '\0') {
		*ret_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		return *ret_fd < 0 ? -errno : 0;
	}
	autoclose int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	autoclose int there = open(netns, O_RDONLY | O_CLOEXEC);

	if (home < 0 || there < 0)
		return -errno;
	if (setns(there, CLONE_NEWNET) < 0)
		return -errno;
	*ret_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int rc = *ret_fd < 0 ? -errno : 0;

	/* Never carry on in the pod's network. */
	if (setns(home, CLONE_NEWNET) < 0)
		abort();
	return rc;
}

static int begin(struct forward *f, struct status *st)
{
	struct stream *s = f->stream;
	struct pod *pod = s->open->uid ? pods_find(s->streams->options.pods, s->open->uid) : NULL;
	struct sockaddr_in address;
	int fd = -1;

	if (pod == NULL)
		return status_set(st, -ENOENT, "pod %s is not on this node", text_of(s->open->pod));
	if (s->open->port == 0 || s->open->port > 65535)
		return status_set(st, -EINVAL, "port %u is not a port", s->open->port);
	int rc = socket_in(pod_netns(pod), &fd);

	if (rc < 0)
		return status_set(st, rc, "cannot enter the pod's network: %s", strerror(-rc));
	uv_ip4_addr("127.0.0.1", (int)s->open->port, &address);
	f->tcp.data = f;
	uv_tcp_init(s->streams->options.loop->uv, &f->tcp);
	f->has_tcp = true;
	rc = uv_tcp_open(&f->tcp, fd);
	if (rc == 0)
		rc = uv_tcp_connect(&f->connect, &f->tcp, (struct sockaddr *)&address, on_connected);
	return rc < 0 ? status_set(st, rc, "cannot connect: %s", uv_strerror(rc)) : 0;
}

static void start(struct stream *s)
{
	struct forward *f = xcalloc(1, sizeof(*f));
	struct status st = { 0 };

	s->state = f;
	f->stream = s;
	int rc = begin(f, &st);

	if (rc < 0)
		stream_finish(s, rc == -ENOENT ? 404 : 500, rc == -ENOENT ? "NotFound" : "InternalError", "%s",
			text_of(st.message));
	status_fini(&st);
}

const struct stream_kind forward_kind = { .start = start, .data = data, .drain = drain, .stop = stop };
