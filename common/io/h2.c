/* HTTP/2 on one connection, by nghttp2.
 *
 * nghttp2 frames and unframes; it never sees the socket. Frames are made in one
 * place, run_send(), once per turn and only while less than TLS_HIGH_BYTES wait
 * in the TLS stream, so what waits for a slow client waits in its own stream's
 * `out`. Handlers are called from nghttp2's receive callbacks and may submit
 * anything; sending is always put off. The HPACK table towards clients is empty
 * and closed streams are forgotten, which is most of nghttp2's memory. */
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <nghttp2/nghttp2.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/io/http_conn.h"

enum {
	CHECK_MS = 10000, /* How often streams under way are looked at. */
	WINDOW_BYTES = 256 * 1024,
	CONN_WINDOW_BYTES = 1024 * 1024,
	OUT_BYTES_MAX = 64 * 1024 * 1024,
	RESPONSE_HEADERS_MAX = 32,
};

struct h2_conn {
	struct http_conn *conn;
	nghttp2_session *session;
	struct io_later send;
	bool failed;
};

static void send_later(struct h2_conn *h)
{
	io_later_add(h->conn->tls.loop, &h->send);
}

/* Requests */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct h2_conn *h = user;

	if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;

	struct exchange_core *x = exchange_create(h->conn);

	x->h2.id = frame->hd.stream_id;
	x->h2.progress_ms = io_now_ms(h->conn->tls.loop);
	x->keep_alive = true;
	nghttp2_session_set_stream_user_data(session, x->h2.id, x);
	if (h->conn->n_exchanges == 1)
		http_conn_set_deadline(h->conn, CHECK_MS);
	return 0;
}

static size_t put_string(struct buf *to, const uint8_t *text, size_t n)
{
	size_t at = to->len;

	buf_put(to, text, n);
	buf_put_byte(to, 0);
	return at;
}

static void put_field(struct exchange_core *x, const char *name, size_t name_len,
		      const uint8_t *value, size_t value_len)
{
	struct h2_stream *s = &x->h2;

	array_grow(s->fields, s->n_fields, s->cap_fields);
	s->fields[s->n_fields].name = put_string(&x->head, (const uint8_t *)name, name_len);
	s->fields[s->n_fields++].value = put_string(&x->head, value, value_len);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
		     void *user)
{
	struct exchange_core *x =
		nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

	(void)flags, (void)user;
	if (x == NULL || x->h2.refused != 0 || x->h2.submitted || x->owned)
		return 0; /* Trailers are dropped. */
	if (x->head.len + name_len + value_len + 2 > H1_HEAD_BYTES_MAX ||
	    x->h2.n_fields == H1_HEADERS_MAX) {
		x->h2.refused = 431;
		return 0;
	}
	if (memchr(value, 0, value_len) != NULL)
		x->h2.refused = 400;
	else if (name_len == 7 && memcmp(name, ":method", 7) == 0)
		x->h2.method = put_string(&x->head, value, value_len) + 1;
	else if (name_len == 5 && memcmp(name, ":path", 5) == 0)
		x->h2.path = put_string(&x->head, value, value_len) + 1;
	else if (name_len == 10 && memcmp(name, ":authority", 10) == 0)
		put_field(x, "host", 4, value, value_len);
	else if (name_len > 0 && name[0] != ':')
		put_field(x, (const char *)name, name_len, value, value_len);
	return 0;
}

static void submit(struct exchange_core *x, int status, const char *content_type, bool has_data);

static void refuse(struct exchange_core *x, int status)
{
	x->h2.submitted = x->h2.ended = true;
	exchange_refusal(&x->h2.out, status);
	submit(x, status, "application/json", true);
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
		   size_t n, void *user)
{
	struct exchange_core *x = nghttp2_session_get_stream_user_data(session, id);

	(void)flags, (void)user;
	if (x == NULL || x->h2.refused != 0 || x->h2.submitted || x->owned)
		return 0;
	x->h2.refused = exchange_charge_body(x, n);
	if (x->h2.refused != 0)
		refuse(x, x->h2.refused);
	else
		buf_put(&x->body, data, n);
	return 0;
}

static bool good_path(const char *path)
{
	if (*path != '/')
		return false;
	while ((unsigned char)*path > 0x20 && (unsigned char)*path < 0x7f && *path != '#')
		path++;
	return *path == '\0';
}

static void request_complete(struct exchange_core *x)
{
	struct h2_stream *s = &x->h2;
	char *text = (char *)x->head.data;

	if (s->submitted || x->owned)
		return;
	if (s->refused == 0 && (s->method == 0 || s->path == 0 || !good_path(text + s->path - 1)))
		s->refused = 400;
	if (s->refused != 0) {
		refuse(x, s->refused);
		return;
	}
	x->headers = xcalloc(s->n_fields + 1, sizeof(*x->headers));
	for (size_t i = 0; i < s->n_fields; i++)
		x->headers[i] =
			(struct http_header){ text + s->fields[i].name, text + s->fields[i].value };
	x->pub.n_headers = s->n_fields;
	free(s->fields);
	s->fields = NULL;
	exchange_dispatch(x, text + s->method - 1, text + s->path - 1, 20);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	(void)user;
	if ((frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) ||
	    (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0)
		return 0;

	struct exchange_core *x =
		nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

	if (x != NULL)
		request_complete(x);
	return 0;
}

/* A response that came before the whole request: tell the client to stop sending. */
static int on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	(void)user;
	if (frame->hd.type == NGHTTP2_DATA && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 &&
	    nghttp2_session_get_stream_remote_close(session, frame->hd.stream_id) == 0)
		nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
					  NGHTTP2_NO_ERROR);
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *user)
{
	struct exchange_core *x = nghttp2_session_get_stream_user_data(session, id);
	struct h2_conn *h = user;

	(void)error;
	if (x == NULL)
		return 0;
	nghttp2_session_set_stream_user_data(session, id, NULL);
	exchange_detach(x);
	if (h->conn->n_exchanges == 0)
		http_conn_set_deadline(h->conn, h->conn->server->config.idle_ms);
	return 0;
}

/* Responses */

static void run_drain(struct io_later *item)
{
	struct exchange_core *x = container_of(item, struct exchange_core, h2.drain);

	if (x->owned && x->pub.on_drain != NULL)
		x->pub.on_drain(&x->pub);
}

static ssize_t on_want_data(nghttp2_session *session, int32_t id, uint8_t *to, size_t size,
			    uint32_t *flags, nghttp2_data_source *source, void *user)
{
	struct exchange_core *x = source->ptr;
	struct h2_conn *h = user;
	struct h2_stream *s = &x->h2;
	size_t n = s->out.len - s->out_off;

	(void)session, (void)id;
	if (n == 0 && !s->ended) {
		s->deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	n = n < size ? n : size;
	if (n > 0)
		memcpy(to, s->out.data + s->out_off, n);
	s->out_off += n;
	s->progress_ms = io_now_ms(h->conn->tls.loop);
	if (s->out_off == s->out.len) {
		buf_fini(&s->out);
		s->out_off = 0;
		if (s->ended)
			*flags |= NGHTTP2_DATA_FLAG_EOF;
	}
	if (s->was_high && s->out.len - s->out_off <= TLS_LOW_BYTES) {
		s->was_high = false;
		io_later_add(h->conn->tls.loop, &s->drain);
	}
	return (ssize_t)n;
}

static nghttp2_nv field(const char *name, const char *value)
{
	return (nghttp2_nv){ (uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value),
			     NGHTTP2_NV_FLAG_NONE };
}

/* Added headers as fields; names become lower case in place. */
static size_t put_added(nghttp2_nv *nv, size_t n, struct buf *added)
{
	char *at = (char *)added->data, *end = at + added->len;

	while (at < end && n < RESPONSE_HEADERS_MAX) {
		char *value = at + strlen(at) + 1;

		for (char *c = at; *c != '\0'; c++)
			*c = (char)tolower((unsigned char)*c);
		nv[n++] = field(at, value);
		at = value + strlen(value) + 1;
	}
	return n;
}

static void submit(struct exchange_core *x, int status, const char *content_type, bool has_data)
{
	struct h2_conn *h = x->conn->h2;
	nghttp2_data_provider provider = { .source.ptr = x, .read_callback = on_want_data };
	nghttp2_nv nv[RESPONSE_HEADERS_MAX + 4];
	char code[12], length[24];
	size_t n = 0;

	snprintf(code, sizeof(code), "%d", status);
	nv[n++] = field(":status", code);
	nv[n++] = field("date", http_server_date(x->server));
	if (content_type != NULL)
		nv[n++] = field("content-type", content_type);
	if (x->h2.ended && status != 204 && status != 304) {
		snprintf(length, sizeof(length), "%zu", x->h2.out.len);
		nv[n++] = field("content-length", length);
	}
	n = put_added(nv, n, &x->added);
	io_later_init(&x->h2.drain, run_drain);
	x->h2.submitted = true;
	x->h2.progress_ms = io_now_ms(h->conn->tls.loop);
	nghttp2_submit_response(h->session, x->h2.id, nv, n, has_data ? &provider : NULL);
	send_later(h);
}

static void h2_begin(struct exchange_core *x, int status, const char *content_type,
		     int64_t content_length, struct buf *body)
{
	bool has_data =
		!x->head_only && status != 204 && status != 304 && (body == NULL || body->len > 0);

	if (body != NULL) {
		x->h2.ended = true;
		x->h2.out = *body;
		*body = (struct buf){ 0 };
	}
	submit(x, status, content_type, has_data);
}

static void resume(struct exchange_core *x)
{
	struct h2_conn *h = x->conn->h2;

	if (x->h2.deferred) {
		x->h2.deferred = false;
		nghttp2_session_resume_data(h->session, x->h2.id);
	}
	send_later(h);
}

static size_t h2_pending(const struct exchange_core *x)
{
	return x->h2.out.len - x->h2.out_off;
}

static void h2_abort(struct exchange_core *x)
{
	struct h2_conn *h = x->conn->h2;

	nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, x->h2.id, NGHTTP2_INTERNAL_ERROR);
	send_later(h);
}

static void h2_write(struct exchange_core *x, const void *data, size_t n)
{
	struct h2_stream *s = &x->h2;

	if (h2_pending(x) + n > OUT_BYTES_MAX) {
		h2_abort(x);
		return;
	}
	if (s->out_off > TLS_HIGH_BYTES && s->out_off > s->out.len / 2) {
		buf_consume(&s->out, s->out_off);
		s->out_off = 0;
	}
	buf_put(&s->out, data, n);
	if (h2_pending(x) > TLS_HIGH_BYTES)
		s->was_high = true;
	resume(x);
}

static void h2_end(struct exchange_core *x)
{
	x->h2.ended = true;
	resume(x);
}

/* The connection */

static void end_if_done(struct h2_conn *h)
{
	if (h->conn->tls.state == TLS_STREAM_OPEN &&
	    (h->failed || (nghttp2_session_want_read(h->session) == 0 &&
			   nghttp2_session_want_write(h->session) == 0)))
		http_conn_finish(h->conn);
}

static void run_send(struct io_later *item)
{
	struct h2_conn *h = container_of(item, struct h2_conn, send);
	struct tls_stream *tls = &h->conn->tls;

	while (tls->state == TLS_STREAM_OPEN && tls_stream_pending(tls) <= TLS_HIGH_BYTES) {
		const uint8_t *data;
		ssize_t n = nghttp2_session_mem_send(h->session, &data);

		if (n < 0)
			h->failed = true;
		if (n <= 0)
			break;
		tls_stream_write(tls, data, (size_t)n);
	}
	end_if_done(h);
}

static void h2_recv(struct http_conn *c, const uint8_t *data, size_t n)
{
	if (nghttp2_session_mem_recv(c->h2->session, data, n) < 0)
		c->h2->failed = true;
	send_later(c->h2);
}

static void h2_drain(struct http_conn *c)
{
	send_later(c->h2);
}

/* Requests that do not get complete, responses that nobody takes. A stream held by a handler
 * keeps its own pace. */
static void h2_deadline(struct http_conn *c)
{
	uint64_t now = io_now_ms(c->tls.loop);

	if (c->n_exchanges == 0) {
		nghttp2_session_terminate_session(c->h2->session, NGHTTP2_NO_ERROR);
		send_later(c->h2);
		http_conn_set_deadline(c, CHECK_MS);
		return;
	}
	list_for_each (x, &c->exchanges, struct exchange_core, link) {
		unsigned limit_ms =
			x->h2.submitted ? c->server->config.stall_ms : c->server->config.body_ms;

		if (!x->owned && now - x->h2.progress_ms > limit_ms)
			h2_abort(x);
	}
	http_conn_set_deadline(c, CHECK_MS);
}

static void h2_shutdown(struct http_conn *c)
{
	nghttp2_submit_goaway(c->h2->session, NGHTTP2_FLAG_NONE,
			      nghttp2_session_get_last_proc_stream_id(c->h2->session),
			      NGHTTP2_NO_ERROR, NULL, 0);
	send_later(c->h2);
}

static void h2_fini(struct http_conn *c)
{
	io_later_cancel(&c->h2->send);
	nghttp2_session_del(c->h2->session);
	free(c->h2);
}

const struct http_protocol http2_protocol = {
	.read = h2_recv,
	.drain = h2_drain,
	.deadline = h2_deadline,
	.shutdown = h2_shutdown,
	.fini = h2_fini,
	.begin = h2_begin,
	.write = h2_write,
	.end = h2_end,
	.abort = h2_abort,
	.pending = h2_pending,
};

static void make_tables(nghttp2_session_callbacks **ret_callbacks, nghttp2_option **ret_option)
{
	nghttp2_session_callbacks *cb;
	nghttp2_option *option;

	if (nghttp2_session_callbacks_new(&cb) != 0 || nghttp2_option_new(&option) != 0)
		abort();
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_sent);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
	nghttp2_option_set_no_closed_streams(option, 1);
	nghttp2_option_set_max_deflate_dynamic_table_size(option, 0);
	*ret_callbacks = cb;
	*ret_option = option;
}

/* The header table keeps its default size: clients of Go before 2022 (kubectl 1.20) compress with
 * it whatever a server's settings say. */
struct h2_conn *h2_conn_create(struct http_conn *c)
{
	nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS,
		  (uint32_t)c->server->config.streams_max },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW_BYTES },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, H1_HEAD_BYTES_MAX },
	};
	struct h2_conn *h = xcalloc(1, sizeof(*h));
	nghttp2_session_callbacks *callbacks;
	nghttp2_option *option;

	h->conn = c;
	io_later_init(&h->send, run_send);
	make_tables(&callbacks, &option);
	if (nghttp2_session_server_new2(&h->session, callbacks, h, option) != 0)
		abort();
	nghttp2_session_callbacks_del(callbacks);
	nghttp2_option_del(option);
	nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings, array_size(settings));
	nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0, CONN_WINDOW_BYTES);
	http_conn_set_deadline(c, c->server->config.idle_ms);
	send_later(h);
	return h;
}
