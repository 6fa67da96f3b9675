/* A session is one of two: a WebSocket whose messages begin with the channel's
 * number, or a SPDY session whose streams name theirs in the header streamtype.
 * The SPDY client opens its streams one by one and waits for all of them. */
#include "common/io/remote_streams.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/io/h1_parse.h"
#include "common/io/remote_internal.h"
#include "common/io/spdy.h"
#include "common/io/ws.h"

enum { OPEN_MS = 30000, CHANNEL_CLOSE = 255 };

struct remote_session {
	struct ws *ws;
	struct spdy *spdy;
	struct spdy_stream *streams[REMOTE_CHANNELS]; /* NULL: not open, or gone. */
	bool expected[REMOTE_CHANNELS];
	const struct remote_ops *ops;
	void *data;
	bool plain_errors; /* channel.k8s.io: no Status. */
	bool opened, ended;
	uv_timer_t timer;
};

static void on_timer_closed(uv_handle_t *h)
{
	free(container_of((uv_timer_t *)h, struct remote_session, timer));
}

/* The memory goes with the timer, at the end of the turn: this may be a call from one of our
 * callbacks. */
static void let_go(struct remote_session *s)
{
	s->ended = true;
	uv_close((uv_handle_t *)&s->timer, on_timer_closed);
}

static void end(struct remote_session *s, int rc)
{
	if (s->ended)
		return;
	s->ended = true;
	uv_timer_stop(&s->timer);
	s->ops->on_end(s, rc);
}

static void open_if_complete(struct remote_session *s)
{
	if (s->opened)
		return;
	for (int i = 0; i < REMOTE_CHANNELS; i++) {
		if (s->expected[i] && s->spdy != NULL && s->streams[i] == NULL)
			return;
	}
	s->opened = true;
	uv_timer_stop(&s->timer);
	s->ops->on_open(s);
}

static void on_timer(uv_timer_t *timer)
{
	struct remote_session *s = container_of(timer, struct remote_session, timer);

	if (s->ws != NULL)
		open_if_complete(s);
	else
		end(s, -ETIMEDOUT);
}

static bool is_input(int channel)
{
	return channel == REMOTE_STDIN || channel == REMOTE_RESIZE;
}

/* WebSocket */

static void ws_message(struct ws *ws, bool text, const uint8_t *data, size_t n)
{
	struct remote_session *s = ws_data(ws);

	(void)text;
	open_if_complete(s);
	if (n == 0 || s->ended)
		return;
	if (data[0] == CHANNEL_CLOSE && n == 2 && is_input(data[1]) && s->expected[data[1]]) {
		s->ops->on_eof(s, data[1]);
		return;
	}
	if (is_input(data[0]) && s->expected[data[0]] && n > 1)
		s->ops->on_data(s, data[0], data + 1, n - 1);
}

static void ws_drain(struct ws *ws)
{
	struct remote_session *s = ws_data(ws);

	if (s->ops->on_drain != NULL)
		s->ops->on_drain(s);
}

static void ws_end(struct ws *ws, int rc)
{
	end(ws_data(ws), rc);
}

static const struct ws_ops websocket_ops = { ws_message, ws_drain, ws_end };

static bool accept_ws(struct remote_session *s, struct exchange *x)
{
	static const char *const protocols[] = { "v5.channel.k8s.io", "v4.channel.k8s.io",
						 "channel.k8s.io", "" };

	s->ws = ws_accept(x, protocols, array_size(protocols), &websocket_ops, s);
	if (s->ws == NULL)
		return false;
	s->plain_errors = ws_protocol(s->ws)[0] != 'v';

	/* Clients take the first message, an empty one, as a sign that the other end is there. */
	uint8_t first = s->expected[REMOTE_STDOUT]   ? REMOTE_STDOUT
			: s->expected[REMOTE_STDERR] ? REMOTE_STDERR
						     : REMOTE_ERROR;

	ws_send(s->ws, false, &first, 1, NULL, 0);
	return true;
}

/* SPDY */

static int channel_of(const char *streamtype)
{
	static const char *const names[REMOTE_CHANNELS] = { "stdin", "stdout", "stderr", "error",
							    "resize" };

	for (int i = 0; i < REMOTE_CHANNELS && streamtype != NULL; i++) {
		if (strcmp(streamtype, names[i]) == 0)
			return i;
	}
	return -1;
}

static void spdy_opened(struct spdy *spdy, struct spdy_stream *stream, bool fin)
{
	struct remote_session *s = spdy_data(spdy);
	int channel = channel_of(spdy_stream_header(stream, "streamtype"));

	if (channel < 0 || !s->expected[channel] || s->streams[channel] != NULL || s->opened) {
		spdy_stream_reset(stream, SPDY_REFUSED_STREAM);
		return;
	}
	spdy_stream_accept(stream);
	/* A client may close its direction of an output at once. */
	s->streams[channel] = stream;
	spdy_stream_set_data(stream, (void *)(intptr_t)channel);
	open_if_complete(s);
	if (fin && is_input(channel) && !s->ended)
		s->ops->on_eof(s, channel);
}

static void spdy_read(struct spdy *spdy, struct spdy_stream *stream, const uint8_t *data, size_t n,
		      bool fin)
{
	struct remote_session *s = spdy_data(spdy);
	int channel = (int)(intptr_t)spdy_stream_data(stream);

	if (!is_input(channel))
		return;
	if (n > 0)
		s->ops->on_data(s, channel, data, n);
	if (fin && !s->ended)
		s->ops->on_eof(s, channel);
}

static void spdy_was_reset(struct spdy *spdy, struct spdy_stream *stream)
{
	struct remote_session *s = spdy_data(spdy);
	int channel = (int)(intptr_t)spdy_stream_data(stream);

	s->streams[channel] = NULL;
	if (is_input(channel) && s->opened)
		s->ops->on_eof(s, channel);
}

static void spdy_drained(struct spdy *spdy)
{
	struct remote_session *s = spdy_data(spdy);

	if (s->ops->on_drain != NULL)
		s->ops->on_drain(s);
}

static void spdy_ended(struct spdy *spdy, int rc)
{
	end(spdy_data(spdy), rc);
}

static const struct spdy_ops remote_spdy_ops = {
	.on_stream = spdy_opened,
	.on_data = spdy_read,
	.on_reset = spdy_was_reset,
	.on_drain = spdy_drained,
	.on_end = spdy_ended,
};

bool remote_choose_protocol(struct exchange *x, const char *wanted)
{
	static const char refusal[] =
		"{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\","
		"\"message\":\"none of the stream protocols asked for is served\","
		"\"reason\":\"Forbidden\",\"code\":403}\n";
	const char *value;
	size_t at = 0;

	while ((value = exchange_header_next(x, "x-stream-protocol-version", &at)) != NULL) {
		if (!http_list_has(value, wanted))
			continue;
		exchange_add_header(x, "X-Stream-Protocol-Version", wanted);
		return true;
	}
	exchange_add_header(x, "X-Accepted-Stream-Protocol-Versions", wanted);
	exchange_respond(x, 403, "application/json", refusal, sizeof(refusal) - 1);
	return false;
}

static bool accept_spdy(struct remote_session *s, struct exchange *x)
{
	struct byte_stream *bytes;

	if (!remote_choose_protocol(x, "v4.channel.k8s.io"))
		return false;
	bytes = exchange_upgrade(x, "SPDY/3.1");
	if (bytes == NULL)
		return false;
	s->spdy = spdy_create(bytes, &remote_spdy_ops, s);
	return true;
}

/* Both */

bool remote_is_wanted(const struct exchange *x)
{
	return ws_is_wanted(x) || exchange_wants_upgrade(x, "SPDY/3.1");
}

void remote_refuse_plain(struct exchange *x)
{
	static const char refusal[] =
		"{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\","
		"\"message\":\"unable to upgrade: the request names neither websocket nor "
		"SPDY/3.1\",\"reason\":\"BadRequest\",\"code\":400}\n";

	exchange_respond(x, 400, "application/json", refusal, sizeof(refusal) - 1);
}

struct remote_session *remote_accept(struct exchange *x, const struct remote_wish *wish,
				     const struct remote_ops *ops, void *data)
{
	struct remote_session *s;
	struct io_loop *loop = exchange_loop(x);
	bool ok;

	if (!remote_is_wanted(x)) {
		remote_refuse_plain(x);
		return NULL;
	}
	s = xcalloc(1, sizeof(*s));
	s->ops = ops;
	s->data = data;
	s->expected[REMOTE_STDIN] = wish->in;
	s->expected[REMOTE_STDOUT] = wish->out;
	s->expected[REMOTE_STDERR] = wish->err && !wish->tty;
	s->expected[REMOTE_ERROR] = true;
	s->expected[REMOTE_RESIZE] = wish->tty;
	uv_timer_init(loop->uv, &s->timer);
	ok = ws_is_wanted(x) ? accept_ws(s, x) : accept_spdy(s, x);
	if (!ok) {
		let_go(s);
		return NULL;
	}
	/* A WebSocket is open at once; that is told in the next turn. */
	uv_timer_start(&s->timer, on_timer, s->ws != NULL ? 0 : OPEN_MS, 0);
	return s;
}

void *remote_data(const struct remote_session *s)
{
	return s->data;
}

void remote_write(struct remote_session *s, enum remote_channel channel, const void *data, size_t n)
{
	uint8_t prefix = (uint8_t)channel;

	assert(channel == REMOTE_STDOUT || channel == REMOTE_STDERR);
	if (!s->expected[channel] || n == 0)
		return;
	if (s->ws != NULL)
		ws_send(s->ws, false, &prefix, 1, data, n);
	else if (s->streams[channel] != NULL)
		spdy_stream_write(s->streams[channel], data, n, false);
}

size_t remote_pending(const struct remote_session *s)
{
	return s->ws != NULL ? ws_pending(s->ws) : spdy_pending(s->spdy);
}

void remote_pause(struct remote_session *s)
{
	if (s->ws != NULL)
		ws_pause(s->ws);
	else
		spdy_pause(s->spdy);
}

void remote_resume(struct remote_session *s)
{
	if (s->ws != NULL)
		ws_resume(s->ws);
	else
		spdy_resume(s->spdy);
}

static void finish_ws(struct remote_session *s, const char *text)
{
	uint8_t channel = REMOTE_ERROR;

	if (text != NULL)
		ws_send(s->ws, false, &channel, 1, text, strlen(text));
	ws_close(s->ws, WS_NORMAL_CLOSURE, "");
}

static void finish_spdy(struct remote_session *s, const char *text)
{
	struct spdy_stream *error = s->streams[REMOTE_ERROR];

	if (error != NULL)
		spdy_stream_write(error, text, strlen(text), true);
	for (int i = REMOTE_STDOUT; i <= REMOTE_STDERR; i++) {
		if (s->streams[i] != NULL)
			spdy_stream_write(s->streams[i], NULL, 0, true);
	}
	spdy_close(s->spdy);
}

void remote_finish(struct remote_session *s, const char *status_json, const char *failure)
{
	if (s->ws != NULL)
		finish_ws(s, s->plain_errors ? failure : status_json);
	else
		finish_spdy(s, status_json);
	let_go(s);
}

void remote_close(struct remote_session *s)
{
	if (s->ws != NULL)
		ws_close(s->ws, WS_INTERNAL_ERROR, "the stream broke off");
	else
		spdy_close(s->spdy);
	let_go(s);
}
