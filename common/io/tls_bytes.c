#include "common/io/tls_bytes.h"

#include <assert.h>
#include <errno.h>

#include "common/base/cleanup.h"

static struct tls_bytes *of(const struct byte_stream *s)
{
	return container_of((struct byte_stream *)s, struct tls_bytes, stream);
}

static void stream_write(struct byte_stream *s, const void *data, size_t n)
{
	if (!of(s)->closed)
		tls_stream_write(of(s)->tls, data, n);
}

static size_t stream_pending(const struct byte_stream *s)
{
	return of(s)->closed ? 0 : tls_stream_pending(of(s)->tls);
}

static void stream_pause(struct byte_stream *s)
{
	if (!of(s)->closed)
		tls_stream_pause(of(s)->tls);
}

static void stream_resume(struct byte_stream *s)
{
	struct tls_bytes *b = of(s);

	if (b->closed)
		return;
	/* What came early goes first; run_deliver() then starts the socket. */
	if (b->early.len > 0)
		io_later_add(b->tls->loop, &b->deliver);
	tls_stream_resume(b->tls);
}

static void stream_close(struct byte_stream *s)
{
	struct tls_bytes *b = of(s);

	assert(b->held);
	b->held = false;
	io_later_cancel(&b->deliver);
	buf_fini(&b->early);
	if (b->closed)
		b->release(b);
	else
		b->finish(b);
}

static const struct byte_stream_ops stream_ops = {
	.write = stream_write,
	.pending = stream_pending,
	.pause = stream_pause,
	.resume = stream_resume,
	.close = stream_close,
};

static void run_deliver(struct io_later *item)
{
	struct tls_bytes *b = container_of(item, struct tls_bytes, deliver);

	if (b->tls->paused || b->early.len == 0)
		return;
	struct buf early = b->early;

	b->early = (struct buf){ 0 };
	b->stream.on_read(&b->stream, early.data, early.len);
	buf_fini(&early);
}

static void on_read(struct tls_stream *tls, const uint8_t *data, size_t n)
{
	struct tls_bytes *b = tls->bytes;

	if (!b->held)
		return;
	if (b->early.len == 0) {
		b->stream.on_read(&b->stream, data, n);
		return;
	}
	buf_put(&b->early, data, n);
	io_later_add(tls->loop, &b->deliver);
}

static void on_drain(struct tls_stream *tls)
{
	struct tls_bytes *b = tls->bytes;

	if (b->held && b->stream.on_drain != NULL)
		b->stream.on_drain(&b->stream);
}

static void tell_end(struct tls_bytes *b, int rc)
{
	if (b->ended || !b->held)
		return;
	b->ended = true;
	b->stream.on_end(&b->stream, rc);
}

static void on_end(struct tls_stream *tls, int rc)
{
	struct tls_bytes *b = tls->bytes;

	if (b->held && b->early.len > 0)
		run_deliver(&b->deliver);
	tell_end(b, rc); /* The holder closes it. */
}

static const struct tls_stream_ops tls_ops = {
	.on_read = on_read,
	.on_drain = on_drain,
	.on_end = on_end,
};

struct byte_stream *tls_bytes_init(struct tls_bytes *b, struct tls_stream *tls, struct buf *early,
				   void (*finish)(struct tls_bytes *b),
				   void (*release)(struct tls_bytes *b))
{
	*b = (struct tls_bytes){
		.stream.ops = &stream_ops,
		.tls = tls,
		.early = *early,
		.held = true,
		.finish = finish,
		.release = release,
	};
	*early = (struct buf){ 0 };
	io_later_init(&b->deliver, run_deliver);
	tls->ops = &tls_ops;
	tls->bytes = b;
	tls_stream_resume(tls);
	if (b->early.len > 0)
		io_later_add(tls->loop, &b->deliver);
	return &b->stream;
}

bool tls_bytes_closed(struct tls_bytes *b)
{
	io_later_cancel(&b->deliver);
	tell_end(b,
		 -ESHUTDOWN); /* The holder may let go at once, and nothing more is to be done. */
	b->closed = true;
	return b->held;
}
