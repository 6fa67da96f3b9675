/* A handler is a small machine around one descriptor of libuv and one timer. */
#include "agent/pods/handler.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "agent/runtime/shim_client.h"
#include "common/api/make.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"

enum { OUTPUT_MAX = 1024, HEAD_MAX = 10 * 1024 };

struct handler_run {
	struct pod *pod;
	handler_cb *cb; /* NULL once it was called, or cancelled. */
	void *arg;
	uv_timer_t timer;
	int handles;
	bool closing;
	/* What will be told. */
	enum handler_result result;
	char output[OUTPUT_MAX + 1];
	size_t output_len;
	/* exec */
	uv_poll_t shim;
	uv_pipe_t pipe;
	bool has_shim, has_pipe, finished;
	int shim_fd;
	char *process_path;
	/* http, tcp */
	uv_tcp_t tcp;
	uv_connect_t connect;
	uv_write_t write;
	bool has_tcp, is_http;
	struct buf request, head;
	char read_space[2048];
};

struct handler handler_of_probe(const CoreV1__Probe *probe)
{
	const CoreV1__ProbeHandler *h = probe->handler;

	if (h == NULL)
		return (struct handler){ 0 };
	return (struct handler){ .exec = h->exec, .http = h->httpget, .tcp = h->tcpsocket, .grpc = h->grpc };
}

struct handler handler_of_hook(const CoreV1__LifecycleHandler *hook)
{
	return (struct handler){ .exec = hook->exec,
		.http = hook->httpget,
		.tcp = hook->tcpsocket,
		.sleep = hook->sleep };
}

int handler_port(const CoreV1__Container *c, const Intstr__IntOrString *port)
{
	if (port == NULL)
		return 0;
	if (port->type == 0)
		return port->intval > 0 && port->intval < 65536 ? port->intval : 0;
	for (size_t i = 0; i < c->n_ports; i++) {
		if (text_is(c->ports[i]->name, text_of(port->strval)))
			return c->ports[i]->containerport;
	}
	long n = strtol(text_of(port->strval), NULL, 10);

	return n > 0 && n < 65536 ? (int)n : 0;
}

static void maybe_free(struct handler_run *run)
{
	if (run->handles > 0)
		return;
	buf_fini(&run->request);
	buf_fini(&run->head);
	free(run->process_path);
	free(run);
}

static void on_closed(uv_handle_t *handle)
{
	struct handler_run *run = handle->data;

	if (handle == (uv_handle_t *)&run->shim)
		close(run->shim_fd);
	run->handles--;
	maybe_free(run);
}

static void close_all(struct handler_run *run)
{
	if (run->closing)
		return;
	run->closing = true;
	if (run->process_path != NULL)
		unlink(run->process_path);
	if (run->has_shim)
		uv_close((uv_handle_t *)&run->shim, on_closed);
	if (run->has_pipe)
		uv_close((uv_handle_t *)&run->pipe, on_closed);
	if (run->has_tcp)
		uv_close((uv_handle_t *)&run->tcp, on_closed);
	uv_close((uv_handle_t *)&run->timer, on_closed);
}

static void deliver(struct handler_run *run)
{
	handler_cb *cb = run->cb;

	if (run->closing)
		return;
	run->cb = NULL;
	run->output[run->output_len] = '\0';
	close_all(run);
	if (cb != NULL)
		cb(run->arg, run->result, run->output);
}

void handler_cancel(struct handler_run *run)
{
	run->cb = NULL;
	close_all(run);
}

static void on_deliver(uv_timer_t *timer)
{
	deliver(timer->data);
}

/* The result is known; it is told in the next turn of the loop. */
static void finish(struct handler_run *run, enum handler_result result, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void finish(struct handler_run *run, enum handler_result result, const char *fmt, ...)
{
	va_list args;

	if (run->closing)
		return;
	run->result = result;
	if (fmt != NULL) {
		va_start(args, fmt);
		int n = vsnprintf(run->output, sizeof(run->output), fmt, args);
		va_end(args);
		run->output_len = n < 0 ? 0 : n > OUTPUT_MAX ? OUTPUT_MAX : (size_t)n;
	}
	uv_timer_start(&run->timer, on_deliver, 0, 0);
}

static void on_timeout(uv_timer_t *timer)
{
	struct handler_run *run = timer->data;

	finish(run, HANDLER_FAILED, "it took too long");
}

/* Commands */

static void on_pipe_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct handler_run *run = handle->data;

	*buf = uv_buf_init(run->read_space, sizeof(run->read_space));
}

static void exec_maybe_done(struct handler_run *run)
{
	/* Both the exit code and the end of the output are there. */
	if (run->finished && !run->has_pipe)
		finish(run, run->result, NULL);
}

static void on_pipe_closed(uv_handle_t *handle)
{
	struct handler_run *run = handle->data;

	run->handles--;
	if (run->closing) {
		maybe_free(run);
		return;
	}
	exec_maybe_done(run);
}

static void on_pipe_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct handler_run *run = stream->data;

	if (n > 0) {
		size_t room = OUTPUT_MAX - run->output_len, take = (size_t)n < room ? (size_t)n : room;

		memcpy(run->output + run->output_len, buf->base, take);
		run->output_len += take;
	} else if (n < 0 && run->has_pipe && !run->closing) {
		run->has_pipe = false;
		uv_close((uv_handle_t *)&run->pipe, on_pipe_closed);
	}
}

static void on_shim(uv_poll_t *handle, int status, int events)
{
	struct handler_run *run = handle->data;
	static struct packet answer;
	int rc = packet_receive(run->shim_fd, &answer);

	if (rc == -EAGAIN || run->closing)
		return;
	if (rc < 0) {
		uv_poll_stop(&run->shim);
		if (!run->finished)
			finish(run, HANDLER_BROKEN, "the container's shim hung up");
		return;
	}
	if (packet_error(&answer) < 0) {
		finish(run, HANDLER_FAILED, "%s", text_of(packet_get(&answer, "message")));
	} else if (strcmp(packet_verb(&answer), "exited") == 0) {
		long long code = packet_get_number(&answer, "code", 255);

		run->finished = true;
		run->result = code == 0 ? HANDLER_OK : HANDLER_FAILED;
		/* A child it left behind may hold its output open for ever. */
		uv_timer_start(&run->timer, on_deliver, 100, 0);
		exec_maybe_done(run);
	}
}

static void start_exec(struct handler_run *run, struct container *c, const CoreV1__ExecAction *exec)
{
	static struct packet request;
	struct status st = { 0 };
	static unsigned number;
	int fds[2], pair[2];

	run->process_path = xasprintf("%s/handler-%u.json", c->dir, number++);
	int rc = container_write_exec(c->dir, exec->command, exec->n_command, false, run->process_path, &st);

	if (rc == 0)
		rc = shim_connect(c->pod->dir, &run->shim_fd);
	if (rc < 0) {
		finish(run, HANDLER_BROKEN, "%s", st.message ? st.message : strerror(-rc));
		status_fini(&st);
		return;
	}
	run->handles++;
	run->has_shim = true;
	run->shim.data = run;
	uv_poll_init(c->pod->pods->options.loop, &run->shim, run->shim_fd);
	uv_poll_start(&run->shim, UV_READABLE, on_shim);
	if (pipe2(fds, O_CLOEXEC) < 0) {
		finish(run, HANDLER_BROKEN, "no pipe: %s", strerror(errno));
		return;
	}
	run->handles++;
	run->has_pipe = true;
	run->pipe.data = run;
	uv_pipe_init(c->pod->pods->options.loop, &run->pipe, 0);
	uv_pipe_open(&run->pipe, fds[0]);
	uv_read_start((uv_stream_t *)&run->pipe, on_pipe_alloc, on_pipe_read);
	packet_begin(&request, "exec");
	packet_put(&request, "id", c->current.id);
	packet_put(&request, "process", run->process_path);
	packet_put(&request, "stdout", "1");
	packet_put(&request, "stderr", "1");
	pair[0] = pair[1] = fds[1];
	rc = packet_send(run->shim_fd, &request, pair, 2);
	close(fds[1]);
	if (rc < 0)
		finish(run, HANDLER_BROKEN, "cannot reach the container's shim: %s", strerror(-rc));
}

/* Connections */

static void judge_http(struct handler_run *run)
{
	int code = 0;

	if (run->head.len > 12 && sscanf(buf_cstr(&run->head), "HTTP/1.%*1d %3d", &code) == 1 && code >= 200 &&
		code < 400)
		finish(run, HANDLER_OK, NULL);
	else if (code > 0)
		finish(run, HANDLER_FAILED, "HTTP probe failed with statuscode: %d", code);
	else
		finish(run, HANDLER_FAILED, "the answer is no HTTP/1 response");
}

static void on_tcp_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct handler_run *run = stream->data;

	if (run->closing || n == 0)
		return;
	if (n > 0)
		buf_put(&run->head, buf->base, (size_t)n);
	/* The status line is all that counts. */
	if (n < 0 || memchr(run->head.data, '\n', run->head.len) || run->head.len >= HEAD_MAX) {
		uv_read_stop(stream);
		if (run->head.len == 0)
			finish(run, HANDLER_FAILED, "the connection was closed without an answer");
		else
			judge_http(run);
	}
}

static void on_written(uv_write_t *request, int status)
{
	struct handler_run *run = request->handle->data;

	if (status < 0 && !run->closing)
		finish(run, HANDLER_FAILED, "cannot send the request: %s", uv_strerror(status));
}

static void on_connected(uv_connect_t *request, int status)
{
	struct handler_run *run = request->handle->data;

	if (run->closing)
		return;
	if (status < 0) {
		finish(run, HANDLER_FAILED, "cannot connect: %s", uv_strerror(status));
	} else if (!run->is_http) {
		finish(run, HANDLER_OK, NULL);
	} else {
		uv_buf_t buf = uv_buf_init((char *)run->request.data, (unsigned)run->request.len);

		uv_read_start((uv_stream_t *)&run->tcp, on_pipe_alloc, on_tcp_read);
		uv_write(&run->write, (uv_stream_t *)&run->tcp, &buf, 1, on_written);
	}
}

static void start_tcp(struct handler_run *run, struct container *c, const char *host, int port)
{
	struct sockaddr_in address;
	const char *to = text_empty(host) ? c->pod->ip : host;

	if (port == 0) {
		finish(run, HANDLER_BROKEN, "the container has no such port");
		return;
	}
	if (strcmp(to, "localhost") == 0)
		to = "127.0.0.1";
	if (uv_ip4_addr(to, port, &address) < 0) {
		finish(run, HANDLER_BROKEN, "host \"%s\" is not an IPv4 address", to);
		return;
	}
	run->handles++;
	run->has_tcp = true;
	run->tcp.data = run;
	uv_tcp_init(c->pod->pods->options.loop, &run->tcp);
	int rc = uv_tcp_connect(&run->connect, &run->tcp, (struct sockaddr *)&address, on_connected);

	if (rc < 0)
		finish(run, HANDLER_FAILED, "cannot connect: %s", uv_strerror(rc));
}

/* No control characters: a header must not become two. */
static void put_clean(struct buf *out, const char *text)
{
	for (const char *p = text; *p; p++) {
		if ((unsigned char)*p >= 0x20 && *p != 0x7f)
			buf_put_byte(out, (uint8_t)*p);
	}
}

static void start_http(struct handler_run *run, struct container *c, const CoreV1__HTTPGetAction *http)
{
	int port = handler_port(c->spec, http->port);
	const char *path = text_empty(http->path) ? "/" : http->path;
	bool has_host = false, has_agent = false, has_accept = false;

	if (text_is(http->scheme, "HTTPS")) {
		finish(run, HANDLER_BROKEN, "HTTPS probes are not supported: use HTTP, TCP or a command");
		return;
	}
	run->is_http = true;
	buf_put_str(&run->request, *path == '/' ? "GET " : "GET /");
	put_clean(&run->request, path);
	buf_put_str(&run->request, " HTTP/1.1\r\nConnection: close\r\n");
	for (size_t i = 0; i < http->n_httpheaders; i++) {
		const char *name = text_of(http->httpheaders[i]->name);

		has_host = has_host || strcasecmp(name, "Host") == 0;
		has_agent = has_agent || strcasecmp(name, "User-Agent") == 0;
		has_accept = has_accept || strcasecmp(name, "Accept") == 0;
		put_clean(&run->request, name);
		buf_put_str(&run->request, ": ");
		put_clean(&run->request, text_of(http->httpheaders[i]->value));
		buf_put_str(&run->request, "\r\n");
	}
	if (!has_host)
		buf_printf(&run->request, "Host: %s:%d\r\n", text_empty(http->host) ? c->pod->ip : http->host, port);
	if (!has_agent)
		buf_put_str(&run->request, "User-Agent: kube-probe/1.33\r\n");
	if (!has_accept)
		buf_put_str(&run->request, "Accept: */*\r\n");
	buf_put_str(&run->request, "\r\n");
	start_tcp(run, c, http->host, port);
}

static void on_slept(uv_timer_t *timer)
{
	finish(timer->data, HANDLER_OK, NULL);
}

struct handler_run *handler_start(struct container *c, const struct handler *h, uint64_t timeout_ms,
	handler_cb *cb, void *arg)
{
	struct handler_run *run = xcalloc(1, sizeof(*run));

	run->pod = c->pod;
	run->cb = cb;
	run->arg = arg;
	run->shim_fd = -1;
	run->handles = 1;
	run->timer.data = run;
	uv_timer_init(c->pod->pods->options.loop, &run->timer);
	if (timeout_ms != UINT64_MAX)
		uv_timer_start(&run->timer, on_timeout, timeout_ms, 0);
	if (h->exec != NULL)
		start_exec(run, c, h->exec);
	else if (h->http != NULL)
		start_http(run, c, h->http);
	else if (h->tcp != NULL)
		start_tcp(run, c, h->tcp->host, handler_port(c->spec, h->tcp->port));
	else if (h->sleep != NULL)
		uv_timer_start(&run->timer, on_slept, (uint64_t)(h->sleep->seconds > 0 ? h->sleep->seconds : 0) * 1000, 0);
	else if (h->grpc != NULL)
		finish(run, HANDLER_BROKEN, "gRPC probes are not supported: use HTTP, TCP or a command");
	else
		finish(run, HANDLER_BROKEN, "the handler says nothing to do");
	return run;
}
