/* The state machine as libraft sees it, own snapshots, and when to take one.
 *
 * The core counts entries; ours are batches of any size, so sizes are metered here
 * and the core's threshold is pulled only when the bytes in memory exceed the budget.
 * What the core takes for a snapshot's content is eight bytes that stand for a file. */
#include "controlplane/consensus/replica_internal.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <lz4.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/log.h"
#include "controlplane/consensus/entry.h"

#define SNAPSHOT_RETRY_MS 1000
/* What an entry costs beside its bytes, in the core's tables. */
#define ENTRY_OVERHEAD 96

/* --- how much log is in memory ------------------------------------------------------- */

void meter_reset(struct log_meter *m, uint64_t index)
{
	m->head = m->count = 0;
	m->bytes = 0;
	m->first = index;
}

void meter_fini(struct log_meter *m)
{
	free(m->sizes);
	*m = (struct log_meter){ 0 };
}

static void meter_grow(struct log_meter *m)
{
	size_t cap = m->cap == 0 ? 1024 : m->cap * 2;
	uint32_t *sizes = xreallocarray(NULL, cap, sizeof(*sizes));

	for (size_t i = 0; i < m->count; i++)
		sizes[i] = m->sizes[(m->head + i) & (m->cap - 1)];
	free(m->sizes);
	m->sizes = sizes;
	m->cap = cap;
	m->head = 0;
}

void meter_push(struct log_meter *m, uint64_t index, size_t bytes)
{
	uint32_t size = (uint32_t)bytes + ENTRY_OVERHEAD;

	if (m->count == 0)
		m->first = index;
	if (m->count == m->cap)
		meter_grow(m);
	m->sizes[(m->head + m->count++) & (m->cap - 1)] = size;
	m->bytes += size;
}

void meter_truncate(struct log_meter *m, uint64_t index)
{
	while (m->count > 0 && m->first + m->count > index)
		m->bytes -= m->sizes[(m->head + --m->count) & (m->cap - 1)];
}

static void meter_compact(struct log_meter *m, uint64_t offset)
{
	while (m->count > 0 && m->first <= offset) {
		m->bytes -= m->sizes[m->head];
		m->head = (m->head + 1) & (m->cap - 1);
		m->count--;
		m->first++;
	}
}

/* How many entries up to index, newest first, fit into bytes; at least 1. */
static unsigned meter_trailing(const struct log_meter *m, uint64_t index, uint64_t bytes)
{
	unsigned n = 0;
	uint64_t sum = 0;

	while (index >= m->first && index < m->first + m->count) {
		sum += m->sizes[(m->head + (size_t)(index - m->first)) & (m->cap - 1)];
		if (sum > bytes)
			break;
		n++;
		index--;
	}
	return n == 0 ? 1 : n;
}

void replica_snapshot_policy(struct replica *r)
{
	struct raft *raft = &r->raft;
	uint64_t budget = r->config.log_bytes;

	meter_compact(&r->meter, raft->log.offset);
	if (raft->snapshot.pending.term != 0 || raft->snapshot.put.data != NULL)
		return;
	if (budget < r->snapshot.size / 2)
		budget = r->snapshot.size / 2;
	if (r->meter.bytes <= budget || replica_now_ms(r) < r->snapshot.not_before_ms) {
		raft_set_snapshot_threshold(raft, UINT_MAX);
		return;
	}
	raft_set_snapshot_threshold(raft, 1);
	raft_set_snapshot_trailing(raft, meter_trailing(&r->meter, raft->last_applied,
							r->config.trailing_bytes));
}

/* --- the state machine --------------------------------------------------------------- */

static int fsm_apply(struct raft_fsm *fsm, const struct raft_buffer *buf, void **ret_result)
{
	struct replica *r = fsm->data;
	struct bytes entry;
	int rc = entry_unpack(bytes_of(buf->base, buf->len), wal_entry_max(r->config.segment_bytes),
			      &r->scratch, &entry);

	*ret_result = NULL;
	if (rc < 0) {
		replica_fatal(r, CONSENSUS_EXIT_CORRUPT, "a committed entry cannot be unpacked");
		return RAFT_CORRUPT;
	}
	r->config.callbacks->apply(r->config.ctx, r->raft.last_applied + 1, entry);
	return 0;
}

static void encode_configuration(struct replica *r)
{
	struct raft_buffer b;

	buf_clear(&r->snapshot.configuration);
	if (raft_configuration_encode(&r->raft.snapshot.pending.configuration, &b) != 0)
		abort();
	buf_put(&r->snapshot.configuration, b.base, b.len);
	raft_free(b.base);
}

static int fsm_snapshot(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n)
{
	struct replica *r = fsm->data;
	bool uncommitted = r->raft.configuration_uncommitted_index != 0;

	/* R13: a snapshot must not hold a configuration that may yet be undone. */
	if ((uncommitted && guard_has(&r->guard, GUARD_ROLLBACK)) || r->closing ||
	    replica_now_ms(r) < r->snapshot.not_before_ms)
		return RAFT_BUSY;
	r->snapshot.handle = r->config.callbacks->snapshot_begin(r->config.ctx);
	if (r->snapshot.handle == NULL) {
		r->snapshot.not_before_ms = replica_now_ms(r) + SNAPSHOT_RETRY_MS;
		return RAFT_BUSY;
	}
	r->snapshot.holds_handle = true;
	encode_configuration(r);
	*bufs = raft_malloc(sizeof(**bufs));
	(*bufs)[0].len = 8;
	(*bufs)[0].base = raft_calloc(1, 8);
	*n = 1;
	return 0;
}

static int write_some(void *ctx, const void *data, size_t n)
{
	return snapshot_writer_put(ctx, data, n);
}

/* Worker thread. */
static int fsm_snapshot_async(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n)
{
	struct replica *r = fsm->data;
	const struct raft_snapshot *pending = &r->raft.snapshot.pending;
	struct snapshot_meta meta = {
		.index = pending->index,
		.term = pending->term,
		.configuration_index = pending->configuration_index,
		.configuration = buf_bytes(&r->snapshot.configuration),
	};
	struct snapshot_writer w;
	int rc;

	(void)bufs;
	(void)n;
	snapshot_writer_open(&w, r->host->fs, SNAPSHOT_PART_NAME, &meta);
	rc = r->config.callbacks->snapshot_write(r->config.ctx, r->snapshot.handle, write_some, &w);
	rc = snapshot_writer_finish(&w, rc, &r->snapshot.size);
	return raft_of_errno(rc);
}

static int fsm_snapshot_finalize(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n)
{
	struct replica *r = fsm->data;

	if (r->snapshot.holds_handle)
		r->config.callbacks->snapshot_end(r->config.ctx, r->snapshot.handle);
	r->snapshot.holds_handle = false;
	r->snapshot.not_before_ms = replica_now_ms(r) + SNAPSHOT_RETRY_MS / 10;
	if (*bufs != NULL) {
		raft_free((*bufs)[0].base);
		raft_free(*bufs);
	}
	*bufs = NULL;
	*n = 0;
	return 0;
}

static int64_t read_some(void *ctx, void *data, size_t n)
{
	return snapshot_reader_get(ctx, data, n);
}

static int fsm_restore(struct raft_fsm *fsm, struct raft_buffer *buf)
{
	struct replica *r = fsm->data;
	struct snapshot_reader reader;
	uint8_t rest[64];
	int rc = snapshot_reader_open(&reader, r->host->fs, WAL_SNAPSHOT_NAME);

	if (rc < 0)
		goto out;
	rc = r->config.callbacks->restore(r->config.ctx, reader.meta.index, read_some, &reader);
	/* Whoever restores may stop early; the checks must have seen the end all the same. */
	while (rc == 0) {
		int64_t n = snapshot_reader_get(&reader, rest, sizeof(rest));

		if (n <= 0) {
			rc = (int)n;
			break;
		}
	}
	snapshot_reader_close(&reader);
out:
	if (rc < 0) {
		replica_fatal(r, CONSENSUS_EXIT_CORRUPT, "a snapshot cannot be restored");
		return RAFT_CORRUPT;
	}
	raft_free(buf->base);
	return 0;
}

void replica_fsm_fill(struct replica *r)
{
	r->fsm = (struct raft_fsm){
		.version = 3,
		.data = r,
		.apply = fsm_apply,
		.snapshot = fsm_snapshot,
		.restore = fsm_restore,
		.snapshot_finalize = fsm_snapshot_finalize,
		.snapshot_async = fsm_snapshot_async,
	};
}
