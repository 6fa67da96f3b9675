/* The one thread that writes the log: it takes all operations that are waiting and
 * runs them as one, so that one sync serves them all. Owner: loop thread. */
#pragma once

#include <uv.h>

#include "controlplane/consensus/wal.h"

struct disk_thread;

/* Starts the thread; w must outlive it. */
struct disk_thread *disk_thread_start(uv_loop_t *loop, struct wal *w);
/* op->done is called on the loop thread, in order. */
void disk_thread_push(struct disk_thread *t, struct wal_op *op);
/* Nothing may be under way. Frees t, then calls cb. */
void disk_thread_stop(struct disk_thread *t, void (*cb)(void *ctx), void *ctx);
