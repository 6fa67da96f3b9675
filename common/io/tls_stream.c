/*   CONNECTING -> HANDSHAKE -> OPEN --> ENDED      on_end was or will be called
 *        |            |         |         |
 *        +------------+---------+---------+--> FINISHING --> CLOSED
 *                                         (close: at once)
 *
 * OpenSSL never touches the socket: a BIO of ours reads from the slice that
 * libuv just filled (the loop's one read buffer) and appends to `out`. Records
 * are made when the socket has room for them, so what waits for a slow reader
 * waits as plain text, once. flush() writes synchronously while the socket takes
 * everything; after 16 rounds it queues a real write request, which lets the
 * other connections of this loop have their turn. */
#include "common/io/tls_stream.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/io/tls_internal.h"

enum { ROUNDS_MAX = 16, PENDING_MAX = 64 * 1024 * 1024 };

static int bio_read(BIO *bio, char *to, int size)
{
	struct tls_stream *s = BIO_get_data(bio);
	size_t n = s->in_len < (size_t)size ? s->in_len : (size_t)size;

	BIO_clear_retry_flags(bio);
	if (n == 0) {
		BIO_set_retry_read(bio);
		return -1;
	}
	memcpy(to, s->in, n);
	s->in += n;
	s->in_len -= n;
	return (int)n;
}

static int bio_write(BIO *bio, const char *from, int size)
{
	struct tls_stream *s = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	io_spare_take(s->loop, &s->out);
	buf_put(&s->out, from, (size_t)size);
	return size;
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
	(void)bio, (void)num, (void)ptr;
	return cmd == BIO_CTRL_FLUSH;
}

static BIO_METHOD *bio_method(void)
{
	static BIO_METHOD *method; /* One per process, made by the loop thread. */

	if (method == NULL) {
		method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "libuv");
		assert(method != NULL);
		BIO_meth_set_read(method, bio_read);
		BIO_meth_set_write(method, bio_write);
		BIO_meth_set_ctrl(method, bio_ctrl);
	}
	return method;
}

static bool alive(const struct tls_stream *s)
{
	return s->state == TLS_STREAM_HANDSHAKE || s->state == TLS_STREAM_OPEN;
}

/* on_end comes by way of the later list, never from inside a call of the owner. */
static void end(struct tls_stream *s, int rc)
{
	if (s->state >= TLS_STREAM_ENDED)
		return;
	s->state = TLS_STREAM_ENDED;
	s->end_rc = rc;
	if (s->reading)
		uv_read_stop((uv_stream_t *)&s->tcp);
	s->reading = false;
	io_later_add(s->loop, &s->end);
}

static void run_end(struct io_later *item)
{
	struct tls_stream *s = container_of(item, struct tls_stream, end);

	s->ops->on_end(s, s->end_rc);
}

static void finish_closed(uv_handle_t *h)
{
	struct tls_stream *s = container_of((uv_tcp_t *)h, struct tls_stream, tcp);

	SSL_free(s->ssl);
	buf_fini(&s->held);
	buf_fini(&s->plain);
	buf_fini(&s->out);
	buf_fini(&s->writing);
	s->on_closed(s);
}

static void close_now(struct tls_stream *s)
{
	if (s->state == TLS_STREAM_CLOSED)
		return;
	s->state = TLS_STREAM_CLOSED;
	io_later_cancel(&s->flush);
	io_later_cancel(&s->resume);
	io_later_cancel(&s->end);
	list_remove(&s->finishing);
	if (list_empty(&s->loop->finishing))
		uv_timer_stop(&s->loop->finish_timer);
	uv_close((uv_handle_t *)&s->tcp, finish_closed);
}

/* Turn waiting plain text into records, no more than the high mark of cipher text. */
static bool encrypt(struct tls_stream *s)
{
	while (s->plain_off < s->plain.len && s->out.len < TLS_HIGH_BYTES) {
		size_t n = s->plain.len - s->plain_off;
		int took = SSL_write(s->ssl, s->plain.data + s->plain_off,
				     n < IO_PLAIN_BYTES ? (int)n : IO_PLAIN_BYTES);

		if (took <= 0) {
			ERR_clear_error();
			return false;
		}
		s->plain_off += (size_t)took;
	}
	if (s->plain_off == s->plain.len) {
		io_spare_give(s->loop, &s->plain);
		s->plain_off = 0;
	} else if (s->plain_off > TLS_HIGH_BYTES && s->plain_off > s->plain.len / 2) {
		buf_consume(&s->plain, s->plain_off);
		s->plain_off = 0;
	}
	return true;
}

static void on_written(uv_write_t *req, int status);
static void on_shut(uv_shutdown_t *req, int status);

static int write_queued(struct tls_stream *s)
{
	uv_buf_t b = uv_buf_init((char *)s->writing.data + s->writing_off,
				 (unsigned int)(s->writing.len - s->writing_off));

	return uv_write(&s->write, (uv_stream_t *)&s->tcp, &b, 1, on_written);
}

/* Hand `out` to the socket. Returns 1 when the socket took everything at once, 0 when a write
 * request is under way, negative errno on failure. */
static int write_out(struct tls_stream *s)
{
	uv_buf_t b = uv_buf_init((char *)s->out.data, (unsigned int)s->out.len);
	int took = 0;

	if (s->rounds++ < ROUNDS_MAX) {
		took = uv_try_write((uv_stream_t *)&s->tcp, &b, 1);
		if (took < 0 && took != UV_EAGAIN)
			return took;
		if (took > 0)
			s->progress_ms = io_now_ms(s->loop);
	}
	if (took == (int)s->out.len) {
		io_spare_give(s->loop, &s->out);
		return 1;
	}
	s->rounds = 0;
	s->writing = s->out;
	s->writing_off = took > 0 ? (size_t)took : 0;
	s->out = (struct buf){ 0 };
	return write_queued(s);
}

/* The last bytes of a finishing connection are gone: first our goodbye within TLS, then TCP's. */
static void all_sent(struct tls_stream *s)
{
	if (s->state != TLS_STREAM_FINISHING || s->fin_sent)
		return;
	if (!s->notify_sent) {
		s->notify_sent = true;
		SSL_shutdown(s->ssl);
		ERR_clear_error();
		io_later_add(s->loop, &s->flush);
		return;
	}
	s->fin_sent = true;
	if (s->peer_done || uv_shutdown(&s->req.shutdown, (uv_stream_t *)&s->tcp, on_shut) < 0)
		close_now(s);
}

static void drained(struct tls_stream *s)
{
	if (!s->was_high || s->state != TLS_STREAM_OPEN || tls_stream_pending(s) > TLS_LOW_BYTES)
		return;
	s->was_high = false;
	if (s->ops->on_drain != NULL)
		s->ops->on_drain(s);
}

static void failed(struct tls_stream *s, int rc)
{
	if (s->state == TLS_STREAM_FINISHING)
		close_now(s);
	else
		end(s, rc);
}

static void flush(struct tls_stream *s)
{
	while (s->writing.data == NULL && (alive(s) || s->state == TLS_STREAM_FINISHING)) {
		if (!encrypt(s)) {
			failed(s, -EPROTO);
			return;
		}
		if (s->out.len == 0) {
			s->rounds = 0;
			all_sent(s);
			return;
		}
		int rc = write_out(s);

		if (rc < 0) {
			failed(s, rc);
			return;
		}
		drained(s);
	}
}

static void run_flush(struct io_later *item)
{
	flush(container_of(item, struct tls_stream, flush));
}

static void on_written(uv_write_t *req, int status)
{
	struct tls_stream *s = container_of(req, struct tls_stream, write);

	io_spare_give(s->loop, &s->writing);
	s->writing_off = 0;
	if (s->state == TLS_STREAM_CLOSED)
		return;
	s->progress_ms = io_now_ms(s->loop);
	if (status < 0) {
		failed(s, status);
		return;
	}
	drained(s);
	flush(s);
}

static void on_shut(uv_shutdown_t *req, int status)
{
	struct tls_stream *s = container_of(req, struct tls_stream, req.shutdown);

	if (status < 0 && s->state == TLS_STREAM_FINISHING)
		close_now(s);
}

/* One step of the handshake. Returns whether it is complete. */
static bool handshake(struct tls_stream *s)
{
	ERR_clear_error();
	int r = SSL_do_handshake(s->ssl);

	io_later_add(s->loop, &s->flush);
	if (r == 1) {
		s->state = TLS_STREAM_OPEN;
		s->ops->on_open(s);
		return s->state == TLS_STREAM_OPEN;
	}
	if (SSL_get_error(s->ssl, r) != SSL_ERROR_WANT_READ) {
		ERR_clear_error();
		flush(s); /* The alert that says why. */
		end(s, -EPROTO);
	}
	return false;
}

/* Everything the slice holds, until the owner pauses or lets go. */
static void consume(struct tls_stream *s)
{
	if (s->state == TLS_STREAM_HANDSHAKE && !handshake(s))
		return;
	while (s->state == TLS_STREAM_OPEN && !s->paused) {
		ERR_clear_error();
		int n = SSL_read(s->ssl, s->loop->plain_buf, IO_PLAIN_BYTES);

		if (n > 0) {
			s->ops->on_read(s, s->loop->plain_buf, (size_t)n);
			continue;
		}
		int e = SSL_get_error(s->ssl, n);

		ERR_clear_error();
		if (e == SSL_ERROR_ZERO_RETURN)
			end(s, 0);
		else if (e != SSL_ERROR_WANT_READ)
			end(s, -EPROTO);
		if (s->out.len > 0) /* A key update or an alert. */
			io_later_add(s->loop, &s->flush);
		return;
	}
}

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *b)
{
	struct tls_stream *s = container_of((uv_tcp_t *)h, struct tls_stream, tcp);

	(void)hint;
	*b = uv_buf_init((char *)s->loop->read_buf, IO_READ_BYTES);
}

static void on_uv_read(uv_stream_t *h, ssize_t n, const uv_buf_t *b)
{
	struct tls_stream *s = container_of((uv_tcp_t *)h, struct tls_stream, tcp);

	if (n == 0)
		return;
	if (s->state == TLS_STREAM_FINISHING) { /* Read only to notice that the peer is done. */
		if (n < 0)
			s->peer_done = true;
		if (n < 0 && (s->fin_sent || n != UV_EOF))
			close_now(s);
		else if (n < 0)
			uv_read_stop(h);
		return;
	}
	if (n < 0) {
		end(s, n == UV_EOF ? 0 : (int)n);
		return;
	}
	s->in = (const uint8_t *)b->base;
	s->in_len = (size_t)n;
	consume(s);
	if (s->in_len > 0 && s->paused && s->state == TLS_STREAM_OPEN)
		buf_put(&s->held, s->in, s->in_len);
	s->in_len = 0;
}

static void read_start(struct tls_stream *s)
{
	if (s->reading)
		return;
	int rc = uv_read_start((uv_stream_t *)&s->tcp, on_alloc, on_uv_read);

	if (rc < 0)
		end(s, rc);
	else
		s->reading = true;
}

/* First what is held (or still inside OpenSSL), then the socket again. */
static void run_resume(struct io_later *item)
{
	struct tls_stream *s = container_of(item, struct tls_stream, resume);

	if (s->paused || s->state != TLS_STREAM_OPEN)
		return;
	struct buf held = s->held;

	s->held = (struct buf){ 0 };
	s->in = held.data;
	s->in_len = held.len;
	consume(s);
	if (s->in_len > 0 && s->paused && s->state == TLS_STREAM_OPEN) {
		buf_consume(&held, held.len - s->in_len);
		s->held = held;
	} else {
		buf_fini(&held);
	}
	s->in_len = 0;
	if (s->state == TLS_STREAM_OPEN && !s->paused)
		read_start(s);
}

void tls_stream_pause(struct tls_stream *s)
{
	s->paused = true;
	if (s->reading && s->state == TLS_STREAM_OPEN) {
		uv_read_stop((uv_stream_t *)&s->tcp);
		s->reading = false;
	}
}

void tls_stream_resume(struct tls_stream *s)
{
	if (!s->paused)
		return;
	s->paused = false;
	if (s->state == TLS_STREAM_OPEN)
		io_later_add(s->loop, &s->resume);
}

static int start(struct tls_stream *s, struct io_loop *loop, struct tls_context *context,
		 const struct tls_stream_ops *ops)
{
	*s = (struct tls_stream){ .loop = loop, .ops = ops, .pending_max = PENDING_MAX };
	io_later_init(&s->flush, run_flush);
	io_later_init(&s->resume, run_resume);
	io_later_init(&s->end, run_end);
	list_init(&s->finishing);
	s->progress_ms = io_now_ms(loop);

	int rc = uv_tcp_init(loop->uv, &s->tcp);

	assert(rc == 0); /* Without flags it makes no socket and cannot fail. */
	BIO *bio = BIO_new(bio_method());
	s->ssl = SSL_new(context->ssl);
	assert(bio != NULL && s->ssl != NULL);
	BIO_set_data(bio, s);
	BIO_set_init(bio, 1);
	SSL_set_bio(s->ssl, bio, bio);
	return rc;
}

int tls_stream_accept(struct tls_stream *s, struct io_loop *loop, struct tls_context *context,
		      uv_stream_t *listener, const struct tls_stream_ops *ops,
		      void (*on_closed)(struct tls_stream *s))
{
	start(s, loop, context, ops);
	s->on_closed = on_closed;

	int rc = uv_accept(listener, (uv_stream_t *)&s->tcp);

	if (rc < 0) {
		close_now(s);
		return rc;
	}
	uv_tcp_nodelay(&s->tcp, 1);
	uv_tcp_keepalive(&s->tcp, 1, 60);
	SSL_set_accept_state(s->ssl);
	s->state = TLS_STREAM_HANDSHAKE;
	read_start(s);
	return 0;
}

static void on_connected(uv_connect_t *req, int status)
{
	struct tls_stream *s = container_of(req, struct tls_stream, req.connect);

	if (s->state != TLS_STREAM_CONNECTING)
		return;
	if (status < 0) {
		end(s, status);
		return;
	}
	uv_tcp_nodelay(&s->tcp, 1);
	uv_tcp_keepalive(&s->tcp, 1, 60);
	s->state = TLS_STREAM_HANDSHAKE;
	read_start(s);
	if (s->state == TLS_STREAM_HANDSHAKE)
		handshake(s);
}

static void expect_name(SSL *ssl, const char *name)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);

	if (X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1)
		return;
	ERR_clear_error();
	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (SSL_set1_host(ssl, name) != 1 || SSL_set_tlsext_host_name(ssl, name) != 1)
		abort();
}

void tls_stream_connect(struct tls_stream *s, struct io_loop *loop, struct tls_context *context,
			const struct sockaddr *addr, const char *server_name,
			const struct tls_stream_ops *ops)
{
	start(s, loop, context, ops);
	SSL_set_connect_state(s->ssl);
	expect_name(s->ssl, server_name);

	int rc = uv_tcp_connect(&s->req.connect, &s->tcp, addr, on_connected);

	if (rc < 0)
		end(s, rc);
}

static bool room_for(struct tls_stream *s, size_t n)
{
	if (s->state != TLS_STREAM_OPEN)
		return false;
	if (tls_stream_pending(s) + n > s->pending_max) {
		end(s, -ENOBUFS);
		return false;
	}
	return true;
}

static void wrote(struct tls_stream *s)
{
	if (tls_stream_pending(s) > TLS_HIGH_BYTES)
		s->was_high = true;
	io_later_add(s->loop, &s->flush);
}

void tls_stream_write(struct tls_stream *s, const void *data, size_t n)
{
	if (n == 0 || !room_for(s, n))
		return;
	if (tls_stream_pending(s) == 0)
		s->progress_ms = io_now_ms(s->loop);
	io_spare_take(s->loop, &s->plain);
	buf_put(&s->plain, data, n);
	wrote(s);
}

void tls_stream_write_buf(struct tls_stream *s, struct buf *b)
{
	/* A header before a large body becomes a record of its own, the body then moves for
	 * nothing. */
	if (b->len >= TLS_HIGH_BYTES && s->state == TLS_STREAM_OPEN && !encrypt(s))
		end(s, -EPROTO);
	if (s->plain.len == 0 && b->len > 0 && room_for(s, b->len)) {
		if (tls_stream_pending(s) == 0)
			s->progress_ms = io_now_ms(s->loop);
		io_spare_give(s->loop, &s->plain);
		s->plain = *b;
		*b = (struct buf){ 0 };
		wrote(s);
		return;
	}
	tls_stream_write(s, b->data, b->len);
	buf_fini(b);
}

size_t tls_stream_pending(const struct tls_stream *s)
{
	return s->plain.len - s->plain_off + s->out.len + s->writing.len - s->writing_off;
}

void tls_stream_close(struct tls_stream *s, void (*on_closed)(struct tls_stream *s))
{
	s->on_closed = on_closed;
	close_now(s);
}

static void on_finish_timer(uv_timer_t *timer)
{
	struct io_loop *l = container_of(timer, struct io_loop, finish_timer);

	list_for_each (s, &l->finishing, struct tls_stream, finishing) {
		if (s->finish_by_ms > io_now_ms(l))
			break; /* They are in order. */
		close_now(s);
	}
}

static void close_finishing(struct io_loop *l)
{
	list_for_each (s, &l->finishing, struct tls_stream, finishing)
		close_now(s);
}

void tls_stream_finish(struct tls_stream *s, void (*on_closed)(struct tls_stream *s))
{
	struct io_loop *l = s->loop;

	s->on_closed = on_closed;
	if (s->state != TLS_STREAM_OPEN) {
		close_now(s);
		return;
	}
	s->state = TLS_STREAM_FINISHING;
	s->finish_by_ms = io_now_ms(l) + TLS_FINISH_MS;
	l->close_finishing = close_finishing;
	list_push_back(&l->finishing, &s->finishing);
	if (!uv_is_active((uv_handle_t *)&l->finish_timer))
		uv_timer_start(&l->finish_timer, on_finish_timer, 1000, 1000);
	if (!s->reading) {
		s->paused = false;
		uv_read_start((uv_stream_t *)&s->tcp, on_alloc, on_uv_read);
		s->reading = true;
	}
	io_later_add(l, &s->flush);
}
