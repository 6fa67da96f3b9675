/* Framed streams between our own programs: dial, upgrade, and bytes in channels. */
#include "world.h"

#include <stdio.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/io/http_client.h"
#include "common/io/http_server.h"
#include "common/io/stream_frames.h"

static struct buf heard; /* What the server's side was told, as text. */
static struct buf client_heard;
static size_t pending_max, written;
static bool flooding;

static struct frame_stream *server_frames, *client_frames;

static void frames_data(struct frame_stream *s, uint8_t channel, const uint8_t *data, size_t n,
			bool end)
{
	if (s == client_frames) {
		buf_put(&client_heard, data, n);
		if (end)
			buf_put_str(&client_heard, "<end>");
		return;
	}
	if (n > 0 && n < 100)
		buf_printf(&heard, "data %d %.*s;", channel, (int)n, (const char *)data);
	if (end)
		buf_printf(&heard, "end %d;", channel);
	frame_stream_write(s, channel, data, n, end);
}

static void frames_flood(struct frame_stream *s)
{
	static const char block[10000] = "x";

	while (flooding && frame_stream_pending(s) <= TLS_HIGH_BYTES && written < 20000000) {
		frame_stream_write(s, 1, block, sizeof(block), false);
		written += sizeof(block);
		if (frame_stream_pending(s) > pending_max)
			pending_max = frame_stream_pending(s);
	}
	if (written == 20000000) {
		written++;
		frame_stream_write(s, 1, NULL, 0, true);
	}
}

static void frames_end(struct frame_stream *s, int rc)
{
	if (s == client_frames)
		client_frames = NULL;
	else
		server_frames = NULL;
	buf_printf(&heard, "gone %d;", rc);
	frame_stream_close(s);
}

static const struct frame_stream_ops frames_ops = { frames_data, frames_flood, frames_end };

/* The server */

static void on_request(struct exchange *x, void *arg)
{
	(void)arg;
	if (strncmp(x->path, STREAM_PATH, strlen(STREAM_PATH)) == 0 &&
	    exchange_wants_upgrade(x, STREAM_PROTOCOL)) {
		server_frames = frame_stream_create(exchange_upgrade(x, STREAM_PROTOCOL),
						    &frames_ops, NULL);
		if (flooding)
			frames_flood(server_frames);
	} else {
		exchange_respond(x, 404, NULL, "", 0);
	}
}

static struct http_server *serve(struct world *w)
{
	struct http_server_config config = { .host = "127.0.0.1",
					     .tls = w->server_tls,
					     .on_request = on_request };
	struct http_server *s;

	assert_int_equal(http_server_create(&w->loop, &config, &s, NULL), 0);
	buf_clear(&heard);
	buf_clear(&client_heard);
	pending_max = written = 0;
	flooding = false;
	return s;
}

static void stop(struct world *w, struct http_server *s)
{
	bool closed = false;

	http_server_close(s, world_set_true, &closed);
	world_run_until_true(w, &closed);
	world_settle(w);
	buf_fini(&heard);
	buf_fini(&client_heard);
}

struct text_wanted {
	struct buf *in;
	const char *text;
};

static bool has_text(void *arg)
{
	struct text_wanted *t = arg;

	return t->in->len > 0 && memmem(t->in->data, t->in->len, t->text, strlen(t->text)) != NULL;
}

static void wait_text(struct world *w, struct buf *in, const char *text)
{
	struct text_wanted t = { in, text };

	world_run_until(w, has_text, &t);
}

/* Framed streams over dial and upgrade */

struct dialled {
	bool done;
	int rc, status;
};

static void on_dialled(void *arg, int rc, const struct http_response *r, struct byte_stream *stream)
{
	struct dialled *d = arg;

	d->done = true;
	d->rc = rc;
	d->status = r != NULL ? r->status : 0;
	if (stream != NULL)
		client_frames = frame_stream_create(stream, &frames_ops, NULL);
}

static void dial(struct world *w, struct http_server *s, const char *target, struct dialled *d)
{
	struct http_request request = {
		.host = "localhost",
		.port = http_server_port(s),
		.tls = w->admin,
		.server_name = TLS_MASTER_NAME,
		.target = target,
		.upgrade = STREAM_PROTOCOL,
	};

	*d = (struct dialled){ 0 };
	http_client_send(&w->loop, &request, on_dialled, d);
	world_run_until_true(w, &d->done);
	assert_int_equal(d->rc, 0);
}

static bool frames_gone(void *arg)
{
	(void)arg;
	return server_frames == NULL;
}

static void frames_go_both_ways(void **state)
{
	struct world *w = *state;
	struct http_server *s = serve(w);
	struct dialled d;

	dial(w, s, STREAM_PATH "token", &d);
	assert_int_equal(d.status, 101);
	frame_stream_write(client_frames, 3, "hello", 5, false);
	frame_stream_write(client_frames, 7, NULL, 0, true);
	wait_text(w, &client_heard, "hello<end>");
	assert_string_equal(buf_cstr(&heard), "data 3 hello;end 7;");
	frame_stream_close(client_frames);
	client_frames = NULL;
	world_run_until(w, frames_gone, NULL);
	assert_non_null(strstr(buf_cstr(&heard), "gone 0;"));
	stop(w, s);
}

static void refused_upgrade_is_a_response(void **state)
{
	struct world *w = *state;
	struct http_server *s = serve(w);
	struct dialled d;

	dial(w, s, "/elsewhere", &d);
	assert_int_equal(d.status, 404);
	stop(w, s);
}

static void frames_hold_the_writer_back(void **state)
{
	struct world *w = *state;
	struct http_server *s = serve(w);
	struct dialled d;

	flooding = true;
	dial(w, s, STREAM_PATH "token", &d);
	frame_stream_pause(client_frames);
	for (size_t before = 1; before != written; world_settle(w))
		before = written;
	assert_true(written < 20000000);
	assert_true(pending_max < TLS_HIGH_BYTES + 30000);
	frame_stream_resume(client_frames);
	wait_text(w, &client_heard, "<end>");
	assert_int_equal(client_heard.len, 20000000 + 5);
	frame_stream_close(client_frames);
	client_frames = NULL;
	world_run_until(w, frames_gone, NULL);
	stop(w, s);
}

static void broken_frames_end_the_stream(void **state)
{
	struct world *w = *state;
	struct http_server *s = serve(w);
	struct client c;

	client_connect(&c, w, w->admin, http_server_port(s));
	client_send(&c, "GET " STREAM_PATH "x HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\n"
			"Upgrade: sampan-stream\r\n\r\n");
	client_wait_for(&c, "101 Switching");
	client_send_bytes(&c, "\1\xff\0\0\0\1x", 7);
	client_wait_end(&c);
	assert_non_null(strstr(buf_cstr(&heard), "gone -71;"));
	client_close(&c);
	stop(w, s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_go_both_ways),
		cmocka_unit_test(refused_upgrade_is_a_response),
		cmocka_unit_test(frames_hold_the_writer_back),
		cmocka_unit_test(broken_frames_end_the_stream),
	};

	return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
