/* What everything on one libuv loop shares: the buffers into which all its
 * connections read, and work put off to the end of the turn.
 *
 * An io_later item runs once, in the same turn of the loop, after the callbacks
 * of this poll and before the loop sleeps again. That is how a connection
 * writes once for everything a turn produced, and how nobody is called back
 * from inside his own call. An item put off by another one runs in the same
 * round. Loop thread only; one io_loop per uv_loop_t, which it must not outlive. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "common/base/buf.h"
#include "common/base/list.h"

enum {
	IO_READ_BYTES = 64 * 1024,
	IO_PLAIN_BYTES = 16 * 1024, /* The largest TLS record. */
	IO_SPARES = 4,
	IO_SPARE_BYTES_MIN = 4 * 1024,
	IO_SPARE_BYTES_MAX = 256 * 1024,
};

struct io_loop {
	uv_loop_t *uv;
	uint8_t *read_buf;  /* Cipher text; valid inside a read callback. */
	uint8_t *plain_buf; /* Plain text; likewise. */
	struct buf spares[IO_SPARES];
	struct list later;
	uv_prepare_t prepare;
	uv_check_t check;
	/* Connections that only have to send their last bytes; see tls_stream_finish(). */
	struct list finishing;
	void (*close_finishing)(struct io_loop *l);
	uv_timer_t finish_timer;
	int handles; /* Not closed yet. */
};

struct io_later {
	struct list link;
	void (*run)(struct io_later *item);
};

void io_loop_init(struct io_loop *l, uv_loop_t *uv);
/* Closes the loop's own handles and frees its buffers; runs uv until they are closed. Everything
 * that uses it must be closed before; connections that are still sending their last bytes are
 * closed here. */
void io_loop_fini(struct io_loop *l);

/* The io_loop of a uv loop, whose data pointer is taken for it. */
static inline struct io_loop *io_loop_of(const uv_loop_t *uv)
{
	return uv->data;
}

/* Memory for a buffer that is filled and emptied again within a turn: without it the heap grows and
 * shrinks with every response, and each of its pages is made anew. Taking fills an empty buffer
 * with spare memory if there is some; giving empties one, and keeps its memory if it is worth it.
 */
void io_spare_take(struct io_loop *l, struct buf *b);
void io_spare_give(struct io_loop *l, struct buf *b);

void io_later_init(struct io_later *item, void (*run)(struct io_later *item));
/* Put off; nothing happens if it is already. */
void io_later_add(struct io_loop *l, struct io_later *item);
/* Forget an item that waits, if it does. */
void io_later_cancel(struct io_later *item);

/* Milliseconds of the loop's monotonic clock, as of this turn. */
static inline uint64_t io_now_ms(const struct io_loop *l)
{
	return uv_now(l->uv);
}
