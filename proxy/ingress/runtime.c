#include "proxy/ingress/runtime.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "proxy/ingress/answers.h"

#define ANSWER_MS 5000

struct runtime_run {
	uv_pipe_t pipe;
	uv_timer_t timer;
	uv_connect_t connect;
	uv_write_t write;
	struct buf request; /* Being written. */
	struct commands commands;
	size_t next; /* Whose answer is awaited. */
	struct answers answers;
	uint8_t chunk[4096];
	runtime_done_fn *done; /* NULL: nobody waits any more. */
	void *arg;
	int open; /* Handles. */
	struct status st;
	bool ended;
};

static void on_closed(uv_handle_t *handle)
{
	struct runtime_run *run = handle->data;

	if (--run->open > 0)
		return;
	if (run->done != NULL)
		run->done(run->arg, run->st.rc, &run->st);
	commands_fini(&run->commands);
	answers_fini(&run->answers);
	buf_fini(&run->request);
	status_fini(&run->st);
	free(run);
}

static void end(struct runtime_run *run)
{
	if (run->ended)
		return;
	run->ended = true;
	uv_close((uv_handle_t *)&run->pipe, on_closed);
	uv_close((uv_handle_t *)&run->timer, on_closed);
}

static void on_silence(uv_timer_t *timer)
{
	struct runtime_run *run = timer->data;

	status_set(&run->st, -ETIMEDOUT, "HAProxy did not answer within %d s", ANSWER_MS / 1000);
	end(run);
}

static void on_written(uv_write_t *req, int rc)
{
	struct runtime_run *run = req->data;

	if (rc < 0 && !run->ended) {
		status_set(&run->st, rc, "cannot write to HAProxy: %s", uv_strerror(rc));
		end(run);
	}
}

static void send_next(struct runtime_run *run)
{
	if (run->next == run->commands.n) {
		end(run);
		return;
	}
	buf_clear(&run->request);
	if (run->next == 0)
		buf_put_str(&run->request, "prompt\n");
	buf_printf(&run->request, "%s\n", run->commands.items[run->next].text);

	uv_buf_t out = uv_buf_init((char *)run->request.data, (unsigned)run->request.len);
	int rc = uv_write(&run->write, (uv_stream_t *)&run->pipe, &out, 1, on_written);

	if (rc < 0)
		on_written(&run->write, rc);
	uv_timer_start(&run->timer, on_silence, ANSWER_MS, 0);
}

/* The command without what may follow on its other lines: keys are secret. */
static void complain(struct runtime_run *run, const char *answer)
{
	const char *text = run->commands.items[run->next].text;

	status_set(&run->st, -EPROTO, "HAProxy answered \"%.200s\" to \"%.*s\"", answer,
		   (int)strcspn(text, "\n"), text);
}

static void take_answers(struct runtime_run *run)
{
	auto_with(buf_fini) struct buf answer = { 0 };

	while (!run->ended && answers_next(&run->answers, &answer)) {
		const struct command *c = &run->commands.items[run->next];

		if (!answer_is_good(buf_cstr(&answer), c->expect)) {
			complain(run, buf_cstr(&answer));
			end(run);
			return;
		}
		run->next++;
		send_next(run);
	}
}

static void on_chunk(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct runtime_run *run = handle->data;

	*buf = uv_buf_init((char *)run->chunk, sizeof(run->chunk));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct runtime_run *run = stream->data;
	int rc = n < 0 ? (int)n : answers_put(&run->answers, buf->base, (size_t)n);

	if (run->ended)
		return;
	if (rc < 0) {
		status_set(&run->st, rc, "HAProxy's socket: %s",
			   rc == UV_EOF ? "closed" : strerror(-rc));
		end(run);
		return;
	}
	take_answers(run);
}

static void on_connected(uv_connect_t *req, int rc)
{
	struct runtime_run *run = req->data;

	if (run->ended)
		return;
	if (rc == 0)
		rc = uv_read_start((uv_stream_t *)&run->pipe, on_chunk, on_read);
	if (rc < 0) {
		status_set(&run->st, rc, "cannot reach HAProxy: %s", uv_strerror(rc));
		end(run);
		return;
	}
	send_next(run);
}

struct runtime_run *runtime_start(uv_loop_t *loop, const char *path, struct commands *commands,
				  runtime_done_fn *done, void *arg)
{
	struct runtime_run *run = xcalloc(1, sizeof(*run));

	run->commands = *commands;
	*commands = (struct commands){ 0 };
	run->done = done;
	run->arg = arg;
	run->open = 2;
	uv_pipe_init(loop, &run->pipe, 0);
	uv_timer_init(loop, &run->timer);
	run->pipe.data = run->timer.data = run->connect.data = run->write.data = run;
	uv_timer_start(&run->timer, on_silence, ANSWER_MS, 0);
	uv_pipe_connect(&run->connect, &run->pipe, path, on_connected);
	return run;
}

void runtime_abandon(struct runtime_run *run)
{
	run->done = NULL;
	end(run);
}
