/* Order of a libuv turn: timers, pending, prepare, poll, check, closing. What
 * timers and closing callbacks put off is run by prepare, what the poll's
 * callbacks put off by check, so the loop never sleeps on unfinished work. */
#include "common/io/loop.h"

#include <assert.h>
#include <stdlib.h>

#include "common/base/alloc.h"

static void run_later(struct io_loop *l)
{
	while (!list_empty(&l->later)) {
		struct io_later *item = list_first(&l->later, struct io_later, link);

		list_remove(&item->link);
		item->run(item);
	}
}

static void on_prepare(uv_prepare_t *h)
{
	run_later(container_of(h, struct io_loop, prepare));
}

static void on_check(uv_check_t *h)
{
	run_later(container_of(h, struct io_loop, check));
}

void io_loop_init(struct io_loop *l, uv_loop_t *uv)
{
	*l = (struct io_loop){ .uv = uv, .handles = 3 };
	uv->data = l;
	l->read_buf = xmalloc(IO_READ_BYTES);
	l->plain_buf = xmalloc(IO_PLAIN_BYTES);
	list_init(&l->later);
	list_init(&l->finishing);
	uv_prepare_init(uv, &l->prepare);
	uv_check_init(uv, &l->check);
	uv_timer_init(uv, &l->finish_timer);
	uv_prepare_start(&l->prepare, on_prepare);
	uv_check_start(&l->check, on_check);
	uv_unref((uv_handle_t *)&l->prepare);
	uv_unref((uv_handle_t *)&l->check);
}

static void on_handle_closed(uv_handle_t *h)
{
	((struct io_loop *)h->data)->handles--;
}

void io_loop_fini(struct io_loop *l)
{
	if (l == NULL || l->uv == NULL)
		return;
	if (!list_empty(&l->finishing))
		l->close_finishing(l);
	assert(list_empty(&l->finishing));
	l->prepare.data = l->check.data = l->finish_timer.data = l;
	uv_close((uv_handle_t *)&l->prepare, on_handle_closed);
	uv_close((uv_handle_t *)&l->check, on_handle_closed);
	uv_close((uv_handle_t *)&l->finish_timer, on_handle_closed);
	while (l->handles > 0)
		uv_run(l->uv, UV_RUN_NOWAIT);
	for (int i = 0; i < IO_SPARES; i++)
		buf_fini(&l->spares[i]);
	free(l->read_buf);
	free(l->plain_buf);
	l->uv->data = NULL;
	l->uv = NULL;
}

void io_spare_take(struct io_loop *l, struct buf *b)
{
	for (int i = 0; i < IO_SPARES && b->data == NULL; i++) {
		*b = l->spares[i];
		l->spares[i] = (struct buf){ 0 };
	}
}

void io_spare_give(struct io_loop *l, struct buf *b)
{
	bool worth_it = b->cap >= IO_SPARE_BYTES_MIN && b->cap <= IO_SPARE_BYTES_MAX;

	buf_clear(b);
	for (int i = 0; i < IO_SPARES && worth_it && b->data != NULL; i++) {
		if (l->spares[i].data != NULL)
			continue;
		l->spares[i] = *b;
		*b = (struct buf){ 0 };
	}
	buf_fini(b);
}

void io_later_init(struct io_later *item, void (*run)(struct io_later *item))
{
	list_init(&item->link);
	item->run = run;
}

void io_later_add(struct io_loop *l, struct io_later *item)
{
	if (list_empty(&item->link))
		list_push_back(&l->later, &item->link);
}

void io_later_cancel(struct io_later *item)
{
	list_remove(&item->link);
}
