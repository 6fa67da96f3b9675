/* libraft's raft_io over the log, the host's connections and its time. */
#include "controlplane/consensus/replica_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/source.h"

static struct replica *replica_of(struct raft_io *io)
{
	return io->impl;
}

/* --- starting ------------------------------------------------------------------------ */

static int read_snapshot_header(struct wal_fs *fs, struct raft_snapshot **ret_snapshot)
{
	struct snapshot_reader reader;
	struct raft_snapshot *s;
	int rc = snapshot_reader_open(&reader, fs, WAL_SNAPSHOT_NAME);

	if (rc < 0)
		return rc;
	s = raft_calloc(1, sizeof(*s));
	s->index = reader.meta.index;
	s->term = reader.meta.term;
	s->configuration_index = reader.meta.configuration_index;
	rc = core_configuration_decode(reader.meta.configuration, &s->configuration);
	snapshot_reader_close(&reader);
	if (rc < 0) {
		raft_free(s);
		return -EUCLEAN;
	}
	/* The core passes content around without looking at it. Ours stays in the file; this stands for it. */
	s->n_bufs = 1;
	s->bufs = raft_malloc(sizeof(s->bufs[0]));
	s->bufs[0].len = 8;
	s->bufs[0].base = raft_calloc(1, 8);
	*ret_snapshot = s;
	return 0;
}

static void free_snapshot(struct raft_snapshot *s)
{
	if (s == NULL)
		return;
	raft_configuration_close(&s->configuration);
	raft_free(s->bufs[0].base);
	raft_free(s->bufs);
	raft_free(s);
}

/* Whether the log goes on from the snapshot. It does not after a crash between the installation of a
 * snapshot and the log's new start. */
static bool continues(const struct wal_loaded *l, const struct raft_snapshot *s)
{
	uint64_t last = l->first_index + l->n_entries - 1;

	if (l->n_entries == 0)
		return l->first_index == s->index + 1;
	if (last < s->index)
		return false;
	if (l->first_index > s->index)
		return true;
	return l->entries[s->index - l->first_index].term == s->term;
}

static int start_log_after(struct replica *r, uint64_t index, struct status *st)
{
	struct wal_op op = { .kind = WAL_OP_RESET, .index = index + 1 };
	int rc = wal_run(r->wal, &op);

	if (rc < 0)
		return status_set(st, rc, "log: cannot be written");
	wal_loaded_fini(&r->loaded);
	r->loaded.first_index = index + 1;
	return 0;
}

static int check_beginning(struct replica *r, const struct raft_snapshot *s, struct status *st)
{
	const struct wal_loaded *l = &r->loaded;

	if (l->fresh && (r->terms.term > 0 || s != NULL))
		return status_set(st, -EUCLEAN, "log: its files are gone; remove this member, "
				  "wipe its directory and join again");
	if (s == NULL && l->first_index != 1)
		return status_set(st, -EUCLEAN, "log: begins at %" PRIu64
				  " but there is no snapshot; remove this member, wipe its "
				  "directory and join again", l->first_index);
	if (s != NULL && l->n_entries > 0 && l->first_index > s->index + 1)
		return status_set(st, -EUCLEAN, "log: begins at %" PRIu64
				  " but the snapshot ends at %" PRIu64 "; remove this member, "
				  "wipe its directory and join again", l->first_index,
				  (uint64_t)s->index);
	return 0;
}

/* Recover log and term, and make them agree with the snapshot. */
int replica_io_open(struct replica *r, struct status *st)
{
	struct wal_fs *fs = r->host->fs;
	struct raft_snapshot *s = NULL;
	int rc = term_file_open(&r->terms, fs, st);

	if (rc == -ENOENT && wal_count_segments(fs) > 0)
		return status_set(st, -EUCLEAN, "log: an initialisation was interrupted; wipe the "
				  "directory and begin again");
	if (rc == -ENOENT)
		rc = term_file_create(&r->terms, fs, r->config.id, 0, st);
	if (rc < 0)
		return rc;
	if (r->terms.id != r->config.id)
		return status_set(st, -EINVAL, "the directory belongs to member %016" PRIx64
				  ", not to %016" PRIx64, r->terms.id, r->config.id);
	rc = wal_open(fs, r->config.segment_bytes, &r->wal, &r->loaded, st);
	if (rc < 0)
		return rc;
	rc = read_snapshot_header(fs, &s);
	if (rc < 0 && rc != -ENOENT)
		return status_set(st, rc, "snapshot: cannot be read; remove this member, wipe its "
				  "directory and join again");
	rc = check_beginning(r, s, st);
	if (rc == 0 && s != NULL && !continues(&r->loaded, s))
		rc = start_log_after(r, s->index, st);
	free_snapshot(s);
	return rc;
}

static void give_entries(struct replica *r, struct raft_entry *to)
{
	struct wal_loaded *l = &r->loaded;
	size_t bytes = 8;
	uint8_t *batch = NULL;

	for (size_t i = 0; i < l->n_entries; i++)
		bytes += l->entries[i].length;
	if (!guard_has(&r->guard, GUARD_ENTRY_MEMORY))
		batch = raft_malloc(bytes);
	bytes = 0;
	for (size_t i = 0; i < l->n_entries; i++) {
		struct wal_loaded_entry *e = &l->entries[i];

		to[i].term = e->term;
		to[i].type = e->type;
		to[i].buf.len = e->length;
		to[i].buf.base = e->data;
		to[i].batch = batch; /* R15: NULL. */
		if (batch != NULL) {
			to[i].buf.base = memcpy(batch + bytes, e->data, e->length);
			bytes += e->length;
			free(e->data);
		}
		e->data = NULL;
		meter_push(&r->meter, l->first_index + i, e->length);
	}
}

static int io_load(struct raft_io *io, raft_term *term, raft_id *vote,
		   struct raft_snapshot **ret_snapshot, raft_index *start,
		   struct raft_entry *entries[], size_t *n)
{
	struct replica *r = replica_of(io);

	*term = r->terms.term;
	*vote = r->terms.vote;
	*ret_snapshot = NULL;

	int rc = read_snapshot_header(r->host->fs, ret_snapshot);

	if (rc < 0 && rc != -ENOENT)
		return RAFT_CORRUPT;
	*start = r->loaded.first_index;
	*n = r->loaded.n_entries;
	*entries = NULL;
	meter_reset(&r->meter, *start);
	if (*n > 0) {
		*entries = raft_malloc(*n * sizeof(**entries));
		give_entries(r, *entries);
	}
	r->next_index = *start + *n;
	wal_loaded_fini(&r->loaded);
	return 0;
}

static int io_init(struct raft_io *io, raft_id id, const char *address)
{
	(void)io;
	(void)id;
	(void)address;
	return 0;
}

static int io_start(struct raft_io *io, unsigned ms, raft_io_tick_cb tick, raft_io_recv_cb recv)
{
	struct replica *r = replica_of(io);

	(void)ms; /* The host ticks. */
	r->tick = tick;
	r->recv = recv;
	return 0;
}

/* The core calls back only once nothing of it is under way: replica_close() sees to that. */
static void io_close(struct raft_io *io, raft_io_close_cb cb)
{
	replica_of(io)->closed = cb;
}

static int io_bootstrap(struct raft_io *io, const struct raft_configuration *c)
{
	(void)io;
	(void)c;
	return RAFT_CANTBOOTSTRAP; /* replica_bootstrap() does it before the core exists. */
}

/* --- storing ------------------------------------------------------------------------- */

static int io_set_term(struct raft_io *io, raft_term term)
{
	struct replica *r = replica_of(io);

	return raft_of_errno(term_file_store(&r->terms, term, 0));
}

static int io_set_vote(struct raft_io *io, raft_id id)
{
	struct replica *r = replica_of(io);

	return raft_of_errno(term_file_store(&r->terms, r->terms.term, id));
}

struct store_op {
	struct wal_op op;
	struct replica *replica;
	struct raft_io_append *append;
	raft_io_append_cb appended;
	struct raft_io_snapshot_put *put;
	raft_io_snapshot_put_cb put_done;
	struct wal_entry entries[];
};

static struct store_op *store_op_new(struct replica *r, enum wal_op_kind kind, uint64_t index,
				     unsigned n);

static void on_stored(struct wal_op *op)
{
	struct store_op *s = container_of(op, struct store_op, op);
	struct replica *r = s->replica;
	int rv = raft_of_errno(op->rc);

	replica_finish_sends(r);
	if (!r->dead && s->appended != NULL)
		s->appended(s->append, rv);
	else if (!r->dead && s->put_done != NULL)
		s->put_done(s->put, rv);
	else if (!r->dead && rv != 0 && guard_has(&r->guard, GUARD_STORAGE))
		replica_fatal(r, CONSENSUS_EXIT_STORAGE, "the log cannot be written");
	free(s);
	replica_work_ended(r);
}

static struct store_op *store_op_new(struct replica *r, enum wal_op_kind kind, uint64_t index,
				     unsigned n)
{
	struct store_op *s = xcalloc(1, sizeof(*s) + n * sizeof(s->entries[0]));

	s->replica = r;
	s->op.kind = kind;
	s->op.index = index;
	s->op.entries = s->entries;
	s->op.n_entries = n;
	s->op.done = on_stored;
	return s;
}

static void store(struct replica *r, struct store_op *s)
{
	r->under_way++;
	r->host->disk(r->host, &s->op);
}

static int io_append(struct raft_io *io, struct raft_io_append *req,
		     const struct raft_entry entries[], unsigned n, raft_io_append_cb cb)
{
	struct replica *r = replica_of(io);
	struct store_op *s = store_op_new(r, WAL_OP_APPEND, r->next_index, n);

	s->append = req;
	s->appended = cb;
	for (unsigned i = 0; i < n; i++) {
		s->entries[i] = (struct wal_entry){ entries[i].term, entries[i].type,
						    entries[i].buf.len, entries[i].buf.base };
		meter_push(&r->meter, r->next_index + i, entries[i].buf.len);
	}
	r->next_index += n;
	store(r, s);
	return 0;
}

static int io_truncate(struct raft_io *io, raft_index index)
{
	struct replica *r = replica_of(io);

	r->next_index = index;
	meter_truncate(&r->meter, index);
	store(r, store_op_new(r, WAL_OP_TRUNCATE, index, 0));
	return 0;
}

static int io_snapshot_put(struct raft_io *io, unsigned trailing, struct raft_io_snapshot_put *req,
			   const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb)
{
	struct replica *r = replica_of(io);
	bool install = trailing == 0;
	struct store_op *s = store_op_new(r, install ? WAL_OP_INSTALL : WAL_OP_SNAPSHOT,
					  snapshot->index + 1, 0);

	s->put = req;
	s->put_done = cb;
	s->op.file = install ? SNAPSHOT_RECEIVED_NAME : SNAPSHOT_PART_NAME;
	s->op.keep = snapshot->index > trailing ? snapshot->index - trailing : 0;
	if (install) {
		r->next_index = snapshot->index + 1;
		meter_reset(&r->meter, r->next_index);
	}
	store(r, s);
	return 0;
}

struct snapshot_get {
	struct replica_work work;
	struct replica *replica;
	struct raft_io_snapshot_get *req;
	raft_io_snapshot_get_cb cb;
	struct raft_snapshot *snapshot;
	int rc;
};

static void run_snapshot_get(struct replica_work *w)
{
	struct snapshot_get *g = container_of(w, struct snapshot_get, work);

	g->rc = read_snapshot_header(g->replica->host->fs, &g->snapshot);
}

static void on_snapshot_got(struct replica_work *w)
{
	struct snapshot_get *g = container_of(w, struct snapshot_get, work);
	struct replica *r = g->replica;

	replica_finish_sends(r);
	if (r->dead)
		free_snapshot(g->snapshot);
	else
		g->cb(g->req, g->snapshot, raft_of_errno(g->rc));
	if (!r->dead)
		guard_settle(&r->guard);
	free(g);
	replica_work_ended(r);
}

static int io_snapshot_get(struct raft_io *io, struct raft_io_snapshot_get *req,
			   raft_io_snapshot_get_cb cb)
{
	struct snapshot_get *g = xcalloc(1, sizeof(*g));

	g->replica = replica_of(io);
	g->req = req;
	g->cb = cb;
	g->work.run = run_snapshot_get;
	g->work.done = on_snapshot_got;
	replica_work_start(g->replica, &g->work);
	return 0;
}

/* --- time, chance, workers ----------------------------------------------------------- */

static raft_time io_time(struct raft_io *io)
{
	return replica_now_ms(replica_of(io));
}

static int io_random(struct raft_io *io, int min, int max)
{
	struct source *source = replica_of(io)->host->source;

	return min + (int)source_random_below(source, (uint64_t)(max - min) + 1);
}

struct async_work {
	struct replica_work work;
	struct replica *replica;
	struct raft_io_async_work *req;
	raft_io_async_work_cb cb;
	int rv;
};

static void run_async(struct replica_work *w)
{
	struct async_work *a = container_of(w, struct async_work, work);

	a->rv = a->req->work(a->req);
}

static void on_async_done(struct replica_work *w)
{
	struct async_work *a = container_of(w, struct async_work, work);
	struct replica *r = a->replica;

	replica_finish_sends(r);
	if (!r->dead) {
		a->cb(a->req, a->rv);
		guard_settle(&r->guard);
	}
	free(a);
	replica_work_ended(r);
}

static int io_async_work(struct raft_io *io, struct raft_io_async_work *req,
			 raft_io_async_work_cb cb)
{
	struct async_work *a = xcalloc(1, sizeof(*a));

	a->replica = replica_of(io);
	a->req = req;
	a->cb = cb;
	a->work.run = run_async;
	a->work.done = on_async_done;
	replica_work_start(a->replica, &a->work);
	return 0;
}

/* --- sending ------------------------------------------------------------------------- */

static int post_entries(struct replica *r, const struct raft_message *m)
{
	const struct raft_append_entries *a = &m->append_entries;
	struct buf *out = r->host->outbox(r->host, m->server_id, m->server_address);
	struct peer_state *peer = replica_peer(r, m->server_id);
	struct frame f = {
		.type = FRAME_APPEND,
		.stamp = r->host->source->monotonic_ns(r->host->source),
		.append = { .term = a->term,
			    .prev_index = a->prev_log_index,
			    .prev_term = a->prev_log_term,
			    .commit = a->leader_commit,
			    .n = a->n_entries },
	};

	if (out == NULL) {
		r->dropped++;
		return -ENOTCONN;
	}

	size_t at = frame_begin_append(out, &f);

	for (unsigned i = 0; i < a->n_entries; i++)
		frame_put_entry(out, &(struct frame_entry){
			a->entries[i].term, (uint8_t)a->entries[i].type,
			bytes_of(a->entries[i].buf.base, a->entries[i].buf.len) });
	frame_end_append(out, at);
	r->sent++;
	r->host->posted(r->host, m->server_id);
	if (peer != NULL && peer->commit_sent < a->leader_commit)
		peer->commit_sent = a->leader_commit;
	return 0;
}

static int post_message(struct replica *r, const struct raft_message *m)
{
	struct peer_state *peer = replica_peer(r, m->server_id);
	struct frame f = { 0 };

	switch (m->type) {
	case RAFT_IO_APPEND_ENTRIES:
		return post_entries(r, m);
	case RAFT_IO_APPEND_ENTRIES_RESULT:
		f.type = FRAME_APPEND_RESULT;
		f.append_result.term = m->append_entries_result.term;
		f.append_result.rejected = m->append_entries_result.rejected;
		f.append_result.last_index = m->append_entries_result.last_log_index;
		if (peer != NULL && peer->seen_term == m->append_entries_result.term)
			f.append_result.echo = peer->seen;
		break;
	case RAFT_IO_REQUEST_VOTE:
		r->elections++;
		f.type = FRAME_VOTE;
		f.vote.term = m->request_vote.term;
		f.vote.candidate = m->request_vote.candidate_id;
		f.vote.last_index = m->request_vote.last_log_index;
		f.vote.last_term = m->request_vote.last_log_term;
		f.vote.disrupt = m->request_vote.disrupt_leader;
		f.vote.pre_vote = m->request_vote.pre_vote;
		break;
	case RAFT_IO_REQUEST_VOTE_RESULT:
		f.type = FRAME_VOTE_RESULT;
		f.vote_result.term = m->request_vote_result.term;
		f.vote_result.granted = m->request_vote_result.vote_granted;
		f.vote_result.pre_vote = (uint8_t)m->request_vote_result.pre_vote;
		break;
	case RAFT_IO_TIMEOUT_NOW:
		f.type = FRAME_TIMEOUT_NOW;
		f.timeout_now.term = m->timeout_now.term;
		f.timeout_now.last_index = m->timeout_now.last_log_index;
		f.timeout_now.last_term = m->timeout_now.last_log_term;
		break;
	default:
		return -EINVAL;
	}
	return replica_post(r, m->server_id, m->server_address, &f);
}

static int io_send(struct raft_io *io, struct raft_io_send *req, const struct raft_message *m,
		   raft_io_send_cb cb)
{
	struct replica *r = replica_of(io);

	if (m->type == RAFT_IO_INSTALL_SNAPSHOT) {
		transfer_start(r, m->server_id, m->server_address, &m->install_snapshot, req, cb);
		return 0;
	}

	int rc = post_message(r, m);

	/* Encoded or not, the references to entries are given back in the next turn. */
	replica_send_finished(r, req, cb, rc < 0 ? RAFT_NOCONNECTION : 0);
	return 0;
}

/* --- receiving ----------------------------------------------------------------------- */

static void fill_entries(const struct frame *f, struct raft_append_entries *a)
{
	struct bytes left = f->append.entries;
	uint8_t *batch;

	a->n_entries = f->append.n;
	a->entries = NULL;
	if (a->n_entries == 0)
		return;
	/* One block for all, which the core copies from and frees by its batch pointer. */
	batch = raft_malloc(left.len);
	memcpy(batch, left.data, left.len);
	left.data = batch;
	a->entries = raft_malloc(a->n_entries * sizeof(a->entries[0]));
	for (unsigned i = 0; i < a->n_entries; i++) {
		struct frame_entry e = frame_next_entry(&left);

		a->entries[i].term = e.term;
		a->entries[i].type = e.type;
		a->entries[i].buf.base = (void *)e.data.data;
		a->entries[i].buf.len = e.data.len;
		a->entries[i].batch = batch;
	}
}

int replica_on_raft_frame(struct replica *r, uint64_t id, const char *address,
			  const struct frame *f)
{
	struct peer_state *peer = replica_peer(r, id);
	struct raft_message m = { .server_id = id, .server_address = address };

	switch (f->type) {
	case FRAME_APPEND:
		m.type = RAFT_IO_APPEND_ENTRIES;
		m.append_entries.term = f->append.term;
		m.append_entries.prev_log_index = f->append.prev_index;
		m.append_entries.prev_log_term = f->append.prev_term;
		m.append_entries.leader_commit = f->append.commit;
		fill_entries(f, &m.append_entries);
		if (peer != NULL && f->append.term >= r->raft.current_term) {
			peer->seen_term = f->append.term;
			peer->seen = f->stamp;
		}
		break;
	case FRAME_APPEND_RESULT:
		m.type = RAFT_IO_APPEND_ENTRIES_RESULT;
		m.append_entries_result.term = f->append_result.term;
		m.append_entries_result.rejected = f->append_result.rejected;
		m.append_entries_result.last_log_index = f->append_result.last_index;
		reads_on_echo(r, id, f->append_result.term, f->append_result.echo);
		break;
	case FRAME_VOTE:
		m.type = RAFT_IO_REQUEST_VOTE;
		m.request_vote.term = f->vote.term;
		m.request_vote.candidate_id = f->vote.candidate;
		m.request_vote.last_log_index = f->vote.last_index;
		m.request_vote.last_log_term = f->vote.last_term;
		m.request_vote.disrupt_leader = f->vote.disrupt;
		m.request_vote.pre_vote = f->vote.pre_vote;
		break;
	case FRAME_VOTE_RESULT:
		m.type = RAFT_IO_REQUEST_VOTE_RESULT;
		m.request_vote_result.term = f->vote_result.term;
		m.request_vote_result.vote_granted = f->vote_result.granted;
		m.request_vote_result.pre_vote = (raft_tribool)f->vote_result.pre_vote;
		break;
	case FRAME_TIMEOUT_NOW:
		m.type = RAFT_IO_TIMEOUT_NOW;
		m.timeout_now.term = f->timeout_now.term;
		m.timeout_now.last_log_index = f->timeout_now.last_index;
		m.timeout_now.last_log_term = f->timeout_now.last_term;
		break;
	default:
		return -EBADMSG;
	}
	r->recv(&r->guard.below, &m);
	return 0;
}

void replica_io_fill(struct replica *r, struct raft_io *ret_io)
{
	*ret_io = (struct raft_io){
		.version = 2,
		.impl = r,
		.init = io_init,
		.close = io_close,
		.load = io_load,
		.start = io_start,
		.bootstrap = io_bootstrap,
		.recover = io_bootstrap,
		.set_term = io_set_term,
		.set_vote = io_set_vote,
		.send = io_send,
		.append = io_append,
		.truncate = io_truncate,
		.snapshot_put = io_snapshot_put,
		.snapshot_get = io_snapshot_get,
		.time = io_time,
		.random = io_random,
		.async_work = io_async_work,
	};
}
