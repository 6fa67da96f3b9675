#include "controlplane/consensus/disk_thread.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"

struct op_queue {
	struct wal_op *first, **last;
};

struct disk_thread {
	struct wal *wal;
	uv_async_t async;
	pthread_t thread;
	pthread_mutex_t lock; /* All below. */
	pthread_cond_t wake;
	struct op_queue waiting, done;
	bool stop;

	void (*stopped)(void *ctx);
	void *stopped_ctx;
};

static void queue_init(struct op_queue *q)
{
	q->first = NULL;
	q->last = &q->first;
}

static void queue_add(struct op_queue *q, struct wal_op *ops)
{
	*q->last = ops;
	while (*q->last != NULL)
		q->last = &(*q->last)->next;
}

static struct wal_op *queue_take_all(struct op_queue *q)
{
	struct wal_op *ops = q->first;

	queue_init(q);
	return ops;
}

static void *run(void *arg)
{
	struct disk_thread *t = arg;

	pthread_mutex_lock(&t->lock);
	for (;;) {
		while (t->waiting.first == NULL && !t->stop)
			pthread_cond_wait(&t->wake, &t->lock);

		struct wal_op *ops = queue_take_all(&t->waiting);

		if (ops == NULL)
			break;
		pthread_mutex_unlock(&t->lock);
		wal_run(t->wal, ops);
		pthread_mutex_lock(&t->lock);
		queue_add(&t->done, ops);
		uv_async_send(&t->async);
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

static void on_done(uv_async_t *async)
{
	struct disk_thread *t = container_of(async, struct disk_thread, async);

	pthread_mutex_lock(&t->lock);

	struct wal_op *ops = queue_take_all(&t->done);

	pthread_mutex_unlock(&t->lock);
	while (ops != NULL) {
		struct wal_op *op = ops;

		ops = op->next;
		op->next = NULL;
		op->done(op);
	}
}

struct disk_thread *disk_thread_start(uv_loop_t *loop, struct wal *w)
{
	struct disk_thread *t = xcalloc(1, sizeof(*t));
	sigset_t all, before;

	t->wal = w;
	queue_init(&t->waiting);
	queue_init(&t->done);
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->wake, NULL);
	if (uv_async_init(loop, &t->async, on_done) != 0)
		abort();
	/* Signals are the loop thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (pthread_create(&t->thread, NULL, run, t) != 0)
		abort();
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return t;
}

void disk_thread_push(struct disk_thread *t, struct wal_op *op)
{
	op->next = NULL;
	pthread_mutex_lock(&t->lock);
	queue_add(&t->waiting, op);
	pthread_cond_signal(&t->wake);
	pthread_mutex_unlock(&t->lock);
}

static void on_async_closed(uv_handle_t *h)
{
	struct disk_thread *t = container_of((uv_async_t *)h, struct disk_thread, async);
	void (*cb)(void *ctx) = t->stopped;
	void *ctx = t->stopped_ctx;

	pthread_mutex_destroy(&t->lock);
	pthread_cond_destroy(&t->wake);
	free(t);
	cb(ctx);
}

void disk_thread_stop(struct disk_thread *t, void (*cb)(void *ctx), void *ctx)
{
	pthread_mutex_lock(&t->lock);
	assert(t->waiting.first == NULL);
	assert(t->done.first == NULL);
	t->stop = true;
	pthread_cond_signal(&t->wake);
	pthread_mutex_unlock(&t->lock);
	pthread_join(t->thread, NULL);
	t->stopped = cb;
	t->stopped_ctx = ctx;
	uv_close((uv_handle_t *)&t->async, on_async_closed);
}
