/* The HTTP/2 side of the server, asked by nghttp2's own client. */
#include "world.h"

#include <stdlib.h>
#include <string.h>

#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/io/http_server.h"

enum { STREAMS = 64 };

struct stream {
	int32_t id;
	int status;
	bool closed;
	uint32_t error;
	struct buf body;
	const char *upload;
	size_t upload_left;
};

struct h2_client {
	struct world *world;
	struct tls_stream tls;
	nghttp2_session *session;
	struct stream streams[STREAMS];
	size_t n_streams;
	bool open, ended, closed, goaway;
};

static void pump(struct h2_client *c)
{
	const uint8_t *data;
	ssize_t n;

	while ((n = nghttp2_session_mem_send(c->session, &data)) > 0)
		tls_stream_write(&c->tls, data, (size_t)n);
}

static struct stream *stream_of(struct h2_client *c, int32_t id)
{
	for (size_t i = 0; i < c->n_streams; i++) {
		if (c->streams[i].id == id)
			return &c->streams[i];
	}
	return NULL;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
		     void *user)
{
	(void)session, (void)value_len, (void)flags;
	if (name_len == 7 && memcmp(name, ":status", 7) == 0)
		stream_of(user, frame->hd.stream_id)->status = atoi((const char *)value);
	return 0;
}

static int on_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
		    size_t n, void *user)
{
	(void)session, (void)flags;
	buf_put(&stream_of(user, id)->body, data, n);
	return 0;
}

static int on_stream_closed(nghttp2_session *session, int32_t id, uint32_t error, void *user)
{
	struct stream *s = stream_of(user, id);

	(void)session;
	s->closed = true;
	s->error = error;
	return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	(void)session;
	if (frame->hd.type == NGHTTP2_GOAWAY)
		((struct h2_client *)user)->goaway = true;
	return 0;
}

static void on_open(struct tls_stream *tls)
{
	struct h2_client *c = container_of(tls, struct h2_client, tls);

	assert_true(tls_stream_is_http2(tls));
	c->open = true;
	pump(c);
}

static void on_read(struct tls_stream *tls, const uint8_t *data, size_t n)
{
	struct h2_client *c = container_of(tls, struct h2_client, tls);

	assert_true(nghttp2_session_mem_recv(c->session, data, n) >= 0);
	pump(c);
}

static void on_end(struct tls_stream *tls, int rc)
{
	(void)rc;
	container_of(tls, struct h2_client, tls)->ended = true;
}

/* window: how much the client takes before it says so; 0 for nghttp2's default. */
static struct h2_client *dial(struct world *w, int port, int32_t window)
{
	static const struct tls_stream_ops ops = { on_open, on_read, NULL, on_end };
	nghttp2_settings_entry setting = { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, (uint32_t)window };
	struct h2_client *c = xcalloc(1, sizeof(*c));
	nghttp2_session_callbacks *cb;
	nghttp2_option *option;
	struct sockaddr_in addr;

	c->world = w;
	nghttp2_session_callbacks_new(&cb);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_chunk);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_closed);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	nghttp2_option_new(&option);
	nghttp2_option_set_no_auto_window_update(option, window != 0);
	nghttp2_option_set_max_send_header_block_length(option, 200000);
	nghttp2_session_client_new2(&c->session, cb, c, option);
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(cb);
	nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, &setting, window != 0 ? 1 : 0);
	uv_ip4_addr("127.0.0.1", port, &addr);
	tls_stream_connect(&c->tls, &w->loop, w->admin, (struct sockaddr *)&addr, TLS_MASTER_NAME,
			   &ops);
	SSL_set_alpn_protos(c->tls.ssl, (const unsigned char *)"\x02h2", 3);
	world_run_until_true(w, &c->open);
	return c;
}

static void on_closed(struct tls_stream *tls)
{
	container_of(tls, struct h2_client, tls)->closed = true;
}

static void hang_up(struct h2_client *c)
{
	tls_stream_close(&c->tls, on_closed);
	world_run_until_true(c->world, &c->closed);
	nghttp2_session_del(c->session);
	for (size_t i = 0; i < c->n_streams; i++)
		buf_fini(&c->streams[i].body);
	free(c);
}

static ssize_t on_upload(nghttp2_session *session, int32_t id, uint8_t *to, size_t size,
			 uint32_t *flags, nghttp2_data_source *source, void *user)
{
	struct stream *s = source->ptr;
	size_t n = s->upload_left < size ? s->upload_left : size;

	(void)session, (void)id, (void)user;
	memset(to, 'u', n);
	s->upload_left -= n;
	if (s->upload_left == 0)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

static struct stream *ask(struct h2_client *c, const char *method, const char *path, size_t upload,
			  const char *extra)
{
	struct stream *s = &c->streams[c->n_streams++];
	nghttp2_data_provider provider = { .source.ptr = s, .read_callback = on_upload };
	const char *pairs[][2] = { { ":method", method },
				   { ":scheme", "https" },
				   { ":authority", "h" },
				   { ":path", path },
				   { "x-extra", extra } };
	nghttp2_nv nv[5];

	for (size_t i = 0; i < 5; i++)
		nv[i] = (nghttp2_nv){ (uint8_t *)pairs[i][0], (uint8_t *)pairs[i][1],
				      strlen(pairs[i][0]), strlen(pairs[i][1]),
				      NGHTTP2_NV_FLAG_NONE };
	s->upload_left = upload;
	s->id = nghttp2_submit_request(c->session, NULL, nv, 5, upload > 0 ? &provider : NULL,
				       NULL);
	assert_true(s->id > 0);
	pump(c);
	return s;
}

/* The server */

static struct exchange *held[STREAMS];
static size_t n_held;
static unsigned n_gone;
static size_t written, pending_max;

static void on_gone(struct exchange *x)
{
	(void)x;
	n_gone++;
}

static void flood(struct exchange *x)
{
	static const char block[10000] = "x";

	while (exchange_pending(x) <= EXCHANGE_HIGH_BYTES && written < 10000000) {
		exchange_write(x, block, sizeof(block));
		written += sizeof(block);
		if (exchange_pending(x) > pending_max)
			pending_max = exchange_pending(x);
	}
	if (written == 10000000)
		exchange_end(x);
}

static void on_request(struct exchange *x, void *arg)
{
	struct buf b = { 0 };

	(void)arg;
	assert_int_equal(x->http_version, 20);
	if (strcmp(x->path, "/hold") == 0) {
		x->on_gone = on_gone;
		held[n_held++] = x;
	} else if (strcmp(x->path, "/flood") == 0) {
		x->on_drain = flood;
		exchange_begin(x, 200, "text/plain");
		flood(x);
	} else {
		buf_printf(&b, "%s %s ?%s body=%zu cn=%s host=%s", x->method, x->path, x->query,
			   x->body.len, x->peer->cn, exchange_header(x, "host"));
		exchange_add_header(x, "X-Upper", "y");
		exchange_respond_buf(x, 200, "text/plain", &b);
	}
}

static struct http_server *serve(struct world *w, const struct http_server_config *extra)
{
	struct http_server_config config =
		extra != NULL ? *extra : (struct http_server_config){ 0 };
	struct http_server *s;

	config.host = "127.0.0.1";
	config.tls = w->server_tls;
	config.on_request = on_request;
	n_held = n_gone = 0;
	written = pending_max = 0;
	assert_int_equal(http_server_create(&w->loop, &config, &s, NULL), 0);
	return s;
}

static void stop(struct world *w, struct http_server *s)
{
	bool closed = false;

	http_server_close(s, world_set_true, &closed);
	world_run_until_true(w, &closed);
}

static bool all_held(void *arg)
{
	return n_held >= *(size_t *)arg;
}

static bool all_gone(void *arg)
{
	return n_gone >= *(unsigned *)arg;
}

static void answers_many_at_once_in_any_order(void **state)
{
	struct world *w = *state;
	struct http_server *s = serve(w, NULL);
	struct h2_client *c = dial(w, http_server_port(s), 0);
	size_t n = 40;

	for (size_t i = 0; i < n; i++)
		ask(c, "GET", "/hold", 0, "");
	world_run_until(w, all_held, &n);
	struct stream *quick = ask(c, "POST", "/quick?a=b", 100000, "");

	world_run_until_true(w, &quick->closed);
	assert_int_equal(quick->status, 200);
	assert_string_equal(buf_cstr(&quick->body), "POST /quick ?a=b body=100000 cn=admin host=h");
	for (size_t i = n; i > 0; i--)
		exchange_respond(held[i - 1], 201, "text/plain", &i, sizeof(i));
	for (size_t i = 0; i < n; i++) {
		size_t got;

		world_run_until_true(w, &c->streams[i].closed);
		assert_int_equal(c->streams[i].status, 201);
		assert_int_equal(c->streams[i].body.len, sizeof(got));
		memcpy(&got, c->streams[i].body.data, sizeof(got));
		assert_int_equal(got, i + 1);
	}
	hang_up(c);
	stop(w, s);
}

static void slow_stream_is_bounded_and_others_go_on(void **state)
{
	struct world *w = *state;
	struct http_server *s = serve(w, NULL);
	struct h2_client *c = dial(w, http_server_port(s), 30000);
	struct stream *slow = ask(c, "GET", "/flood", 0, "");
	struct stream *quick;

	for (size_t before = 1; before != written; world_settle(w))
		before = written;
	quick = ask(c, "GET", "/quick", 0, "");
	world_run_until_true(w, &quick->closed);
	assert_int_equal(slow->body.len, 30000);
	assert_true(written < 200000);
	assert_true(pending_max < EXCHANGE_HIGH_BYTES + 20000);
	while (!slow->closed) {
		nghttp2_session_consume(c->session, slow->id,
					slow->body.len > 30000 ? 20000 : 30000);
		nghttp2_submit_window_update(c->session, NGHTTP2_FLAG_NONE, slow->id, 100000);
		nghttp2_submit_window_update(c->session, NGHTTP2_FLAG_NONE, 0, 100000);
		pump(c);
		uv_run(&w->uv, UV_RUN_ONCE);
	}
	assert_int_equal(slow->body.len, 10000000);
	hang_up(c);
	stop(w, s);
}

static void reset_and_disconnect_are_told(void **state)
{
	struct world *w = *state;
	struct http_server *s = serve(w, NULL);
	struct h2_client *c = dial(w, http_server_port(s), 0);
	struct stream *a = ask(c, "GET", "/hold", 0, "");
	size_t two = 2;
	unsigned one = 1, both = 2;

	ask(c, "GET", "/hold", 0, "");
	world_run_until(w, all_held, &two);
	nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, a->id, NGHTTP2_CANCEL);
	pump(c);
	world_run_until(w, all_gone, &one);
	assert_true(exchange_is_gone(held[0]));
	assert_false(exchange_is_gone(held[1]));
	hang_up(c);
	world_run_until(w, all_gone, &both);
	exchange_respond(held[0], 200, NULL, "", 0);
	exchange_begin(held[1], 200, NULL);
	exchange_write(held[1], "x", 1);
	exchange_end(held[1]);
	stop(w, s);
}

static void refusals_name_their_reason(void **state)
{
	struct http_server_config config = { .body_bytes_max = 1000 };
	struct world *w = *state;
	struct http_server *s = serve(w, &config);
	struct h2_client *c = dial(w, http_server_port(s), 0);
	char *large = xmalloc(60001);
	struct stream *body, *header, *path;

	memset(large, 'h', 60000);
	large[60000] = '\0';
	body = ask(c, "POST", "/x", 5000, "");
	path = ask(c, "GET", "/a#b", 0, "");
	world_run_until_true(w, &body->closed);
	world_run_until_true(w, &path->closed);
	assert_int_equal(body->status, 413);
	assert_non_null(strstr(buf_cstr(&body->body), "RequestEntityTooLarge"));
	assert_int_equal(path->status, 400);
	/* 60,000 bytes of one header fit, but not beside a path of 10,000. */
	char *long_path = xmalloc(10002);

	memset(long_path, '/', 10001);
	long_path[10001] = '\0';
	header = ask(c, "GET", long_path, 0, large);
	world_run_until_true(w, &header->closed);
	assert_int_equal(header->status, 431);
	free(large);
	free(long_path);
	hang_up(c);
	stop(w, s);
}

static void head_has_no_body(void **state)
{
	struct world *w = *state;
	struct http_server *s = serve(w, NULL);
	struct h2_client *c = dial(w, http_server_port(s), 0);
	struct stream *head = ask(c, "HEAD", "/x", 0, "");

	world_run_until_true(w, &head->closed);
	assert_int_equal(head->status, 200);
	assert_int_equal(head->body.len, 0);
	hang_up(c);
	stop(w, s);
}

static void abort_resets_the_stream_only(void **state)
{
	struct world *w = *state;
	struct http_server *s = serve(w, NULL);
	struct h2_client *c = dial(w, http_server_port(s), 0);
	struct stream *broken = ask(c, "GET", "/hold", 0, ""), *next;
	size_t one = 1;

	world_run_until(w, all_held, &one);
	exchange_begin(held[0], 200, "text/plain");
	exchange_write(held[0], "half", 4);
	world_settle(w);
	exchange_abort(held[0]);
	world_run_until_true(w, &broken->closed);
	assert_int_equal(broken->error, NGHTTP2_INTERNAL_ERROR);
	next = ask(c, "GET", "/x", 0, "");
	world_run_until_true(w, &next->closed);
	assert_int_equal(next->status, 200);
	hang_up(c);
	stop(w, s);
}

static void shutdown_says_goaway_and_waits(void **state)
{
	struct world *w = *state;
	struct http_server *s = serve(w, NULL);
	struct h2_client *c = dial(w, http_server_port(s), 0);
	struct stream *late = ask(c, "GET", "/hold", 0, "");
	size_t one = 1;

	world_run_until(w, all_held, &one);
	http_server_shutdown(s);
	world_run_until_true(w, &c->goaway);
	assert_false(c->ended);
	exchange_respond(held[0], 200, NULL, "late", 4);
	world_run_until_true(w, &late->closed);
	assert_int_equal(late->status, 200);
	world_run_until_true(w, &c->ended);
	hang_up(c);
	stop(w, s);
}

/* A client that opens and resets streams without end is cut off (CVE-2023-44487). */
static void rapid_resets_end_the_connection(void **state)
{
	struct world *w = *state;
	struct http_server *s = serve(w, NULL);
	struct h2_client *c = dial(w, http_server_port(s), 0);

	for (int i = 0; i < 100000 && !c->ended && !c->goaway; i++) {
		c->n_streams = 0;
		memset(c->streams, 0, sizeof(c->streams[0]));
		struct stream *stream = ask(c, "GET", "/hold", 0, "");

		nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, stream->id,
					  NGHTTP2_CANCEL);
		pump(c);
		uv_run(&w->uv, UV_RUN_NOWAIT);
		while (n_held > 0)
			exchange_respond(held[--n_held], 200, NULL, "", 0);
	}
	assert_true(c->goaway || c->ended);
	hang_up(c);
	stop(w, s);
	while (n_held > 0)
		exchange_respond(held[--n_held], 200, NULL, "", 0);
}

static void garbage_after_the_handshake(void **state)
{
	struct world *w = *state;
	struct http_server *s = serve(w, NULL);
	struct client c;

	client_connect(&c, w, w->anonymous, http_server_port(s));
	SSL_set_alpn_protos(c.tls.ssl, (const unsigned char *)"\x02h2", 3);
	client_send(&c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n this is no HTTP/2 at all");
	client_wait_end(&c);
	client_close(&c);
	stop(w, s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_many_at_once_in_any_order),
		cmocka_unit_test(slow_stream_is_bounded_and_others_go_on),
		cmocka_unit_test(reset_and_disconnect_are_told),
		cmocka_unit_test(refusals_name_their_reason),
		cmocka_unit_test(head_has_no_body),
		cmocka_unit_test(abort_resets_the_stream_only),
		cmocka_unit_test(shutdown_says_goaway_and_waits),
		cmocka_unit_test(rapid_resets_end_the_connection),
		cmocka_unit_test(garbage_after_the_handshake),
	};

	return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
