/* A snapshot on its way to a member that is too far behind.
 *
 * Sender:   INSTALL, then chunks read from the file by a worker, at most
 *           TRANSFER_WINDOW of them not yet acknowledged, between other messages.
 * Receiver: writes each chunk into a file of its own by a worker, acknowledges it,
 *           checks the whole file, and only then shows the core an InstallSnapshot.
 * So memory is bounded by the window on both sides, whatever the state's size. The
 * core may ask again for what is already under way; the new request then takes the
 * old one's place. */
#include "controlplane/consensus/replica_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/log.h"
#include "common/base/source.h"

/* --- sending ------------------------------------------------------------------------- */

static void outgoing_free(struct outgoing *o)
{
	struct replica *r = o->replica;

	if (o->file != NULL)
		r->host->fs->close(r->host->fs, o->file);
	free(o->address);
	free(o->chunk);
	*o = (struct outgoing){ 0 };
}

static void outgoing_end(struct outgoing *o, int status)
{
	if (o->req != NULL)
		replica_send_finished(o->replica, o->req, o->cb, status);
	o->req = NULL;
	o->dead = true;
	if (!o->reading)
		outgoing_free(o);
}

static struct outgoing *outgoing_to(struct replica *r, uint64_t id)
{
	for (size_t i = 0; i < PEERS_MAX; i++)
		if (r->outgoing[i].transfer != 0 && r->outgoing[i].id == id && !r->outgoing[i].dead)
			return &r->outgoing[i];
	return NULL;
}

static struct outgoing *outgoing_new(struct replica *r)
{
	for (size_t i = 0; i < PEERS_MAX; i++)
		if (r->outgoing[i].transfer == 0)
			return &r->outgoing[i];
	return NULL;
}

static void run_read_chunk(struct replica_work *w)
{
	struct outgoing *o = container_of(w, struct outgoing, work);
	struct wal_fs *fs = o->replica->host->fs;

	o->chunk_n = fs->read(fs, o->file, o->sent, o->chunk, o->replica->config.snapshot_chunk_bytes);
}

static void pump(struct outgoing *o)
{
	struct replica *r = o->replica;
	uint64_t window = (uint64_t)TRANSFER_WINDOW * r->config.snapshot_chunk_bytes;

	if (o->dead || o->reading || o->sent >= o->size || o->sent - o->acked >= window)
		return;
	o->reading = true;
	replica_work_start(r, &o->work);
}

static void on_chunk_read(struct replica_work *w)
{
	struct outgoing *o = container_of(w, struct outgoing, work);
	struct replica *r = o->replica;
	struct frame f = { .type = FRAME_CHUNK,
			   .chunk = { .transfer = o->transfer, .offset = o->sent } };

	replica_finish_sends(r);
	o->reading = false;
	if (o->dead || r->dead) {
		outgoing_free(o);
	} else if (o->chunk_n <= 0) {
		outgoing_end(o, RAFT_IOERR);
	} else {
		f.chunk.data = bytes_of(o->chunk, (size_t)o->chunk_n);
		if (replica_post(r, o->id, o->address, &f) == 0) {
			o->sent += (uint64_t)o->chunk_n;
			pump(o);
		} /* Else the next tick tries again, or finds it stalled. */
	}
	replica_work_ended(r);
}

static int open_file(struct replica *r, struct outgoing *o,
		     const struct raft_install_snapshot *args)
{
	struct wal_fs *fs = r->host->fs;
	struct snapshot_reader reader;
	int rc = snapshot_reader_open(&reader, fs, WAL_SNAPSHOT_NAME);

	if (rc < 0)
		return rc;
	/* A newer one may have taken its place; the core asks again then. */
	if (reader.meta.index != args->last_index || reader.meta.term != args->last_term)
		rc = -ESTALE;
	else
		o->size = (uint64_t)fs->size(fs, reader.file);
	if (rc == 0) {
		o->file = reader.file;
		reader.file = NULL;
	}
	snapshot_reader_close(&reader);
	return rc;
}

static int announce(struct replica *r, struct outgoing *o,
		    const struct raft_install_snapshot *args)
{
	struct raft_buffer configuration;
	struct frame f = {
		.type = FRAME_INSTALL,
		.install = { .transfer = o->transfer,
			     .term = args->term,
			     .last_index = args->last_index,
			     .last_term = args->last_term,
			     .configuration_index = args->conf_index,
			     .size = o->size },
	};
	int rc;

	if (raft_configuration_encode(&args->conf, &configuration) != 0)
		return -EINVAL;
	f.install.configuration = bytes_of(configuration.base, configuration.len);
	rc = replica_post(r, o->id, o->address, &f);
	raft_free(configuration.base);
	return rc;
}

void transfer_start(struct replica *r, uint64_t id, const char *address,
		    const struct raft_install_snapshot *args, struct raft_io_send *req,
		    raft_io_send_cb cb)
{
	struct outgoing *o = outgoing_to(r, id);
	int rc;

	if (o != NULL && o->index == args->last_index && o->term == args->last_term) {
		if (o->req != NULL)
			replica_send_finished(r, o->req, o->cb, 0);
		o->req = req;
		o->cb = cb;
		return;
	}
	if (o != NULL)
		outgoing_end(o, 0); /* An error would make the core give up this new one. */
	o = outgoing_new(r);
	if (o == NULL) {
		replica_send_finished(r, req, cb, RAFT_BUSY);
		return;
	}
	*o = (struct outgoing){ .replica = r,
				.work = { .run = run_read_chunk, .done = on_chunk_read },
				.id = id,
				.address = xstrdup(address),
				.transfer = ++r->next_transfer,
				.req = req,
				.cb = cb,
				.index = args->last_index,
				.term = args->last_term,
				.progress_ms = replica_now_ms(r) };
	o->chunk = xmalloc(r->config.snapshot_chunk_bytes);
	rc = open_file(r, o, args);
	if (rc == 0)
		rc = announce(r, o, args);
	if (rc < 0)
		outgoing_end(o, RAFT_NOCONNECTION);
	else
		pump(o);
}

void transfer_on_ack(struct replica *r, uint64_t id, const struct frame *f)
{
	struct outgoing *o = outgoing_to(r, id);

	if (o == NULL || o->transfer != f->chunk_ack.transfer)
		return;
	if (f->chunk_ack.failed || f->chunk_ack.offset > o->sent) {
		outgoing_end(o, RAFT_IOERR);
		return;
	}
	if (f->chunk_ack.offset > o->acked) {
		o->acked = f->chunk_ack.offset;
		o->progress_ms = replica_now_ms(r);
	}
	if (o->acked == o->size)
		outgoing_end(o, 0);
	else
		pump(o);
}

/* --- receiving ----------------------------------------------------------------------- */

static void acknowledge(struct replica *r, uint64_t offset, bool failed)
{
	struct incoming *in = &r->incoming;
	struct frame f = { .type = FRAME_CHUNK_ACK,
			   .chunk_ack = { .transfer = in->transfer,
					  .offset = offset,
					  .failed = failed } };

	replica_post(r, in->from, in->address, &f);
}

static void incoming_free(struct replica *r)
{
	struct incoming *in = &r->incoming;

	if (in->file != NULL)
		r->host->fs->close(r->host->fs, in->file);
	if (in->transfer != 0)
		list_for_each(c, &in->chunks, struct incoming_chunk, link)
			free(c);
	free(in->address);
	buf_fini(&in->configuration);
	*in = (struct incoming){ 0 };
}

/* Stop; while a worker is at it, what is left goes when it is done. */
static void incoming_abandon(struct replica *r)
{
	if (r->incoming.busy)
		r->incoming.abandoned = true;
	else
		incoming_free(r);
}

static void incoming_fail(struct replica *r)
{
	acknowledge(r, 0, true);
	incoming_abandon(r);
}

static void run_incoming(struct replica_work *w);
static void on_incoming(struct replica_work *w);

/* Whether the core still holds or installs the file of an earlier transfer. */
static bool install_pending(const struct replica *r)
{
	return r->guard.holds_snapshot || r->raft.snapshot.put.data != NULL;
}

void transfer_on_install(struct replica *r, uint64_t id, const char *address,
			 const struct frame *f)
{
	struct incoming *in = &r->incoming;
	struct frame refusal = { .type = FRAME_CHUNK_ACK,
				 .chunk_ack = { .transfer = f->install.transfer, .failed = true } };
	struct wal_fs *fs = r->host->fs;
	struct wal_file *file = NULL;

	if (in->transfer != 0 && f->install.term >= in->term)
		incoming_abandon(r);
	if (in->transfer != 0 || install_pending(r) || f->install.term < r->raft.current_term ||
	    fs->open(fs, SNAPSHOT_RECEIVED_NAME, true, &file) < 0 ||
	    fs->truncate(fs, file, 0) < 0) {
		if (file != NULL)
			fs->close(fs, file);
		replica_post(r, id, address, &refusal);
		return;
	}
	*in = (struct incoming){ .work = { .run = run_incoming, .done = on_incoming },
				 .from = id,
				 .address = xstrdup(address),
				 .transfer = f->install.transfer,
				 .term = f->install.term,
				 .last_index = f->install.last_index,
				 .last_term = f->install.last_term,
				 .configuration_index = f->install.configuration_index,
				 .size = f->install.size,
				 .file = file };
	buf_put(&in->configuration, f->install.configuration.data, f->install.configuration.len);
	list_init(&in->chunks);
}

void transfer_on_chunk(struct replica *r, uint64_t id, const struct frame *f)
{
	struct incoming *in = &r->incoming;
	size_t n = f->chunk.data.len;
	struct incoming_chunk *c;

	if (in->transfer == 0 || in->abandoned || in->from != id ||
	    in->transfer != f->chunk.transfer)
		return;
	if (f->chunk.offset != in->queued || n == 0 || n > in->size - in->queued ||
	    in->queued + n - in->written >
		    (uint64_t)2 * TRANSFER_WINDOW * r->config.snapshot_chunk_bytes) {
		incoming_fail(r);
		return;
	}
	c = xmalloc(sizeof(*c) + n);
	c->n = n;
	memcpy(c->data, f->chunk.data.data, n);
	list_push_back(&in->chunks, &c->link);
	in->queued += n;
	if (in->busy)
		return;
	in->busy = true;
	replica_work_start(r, &in->work);
}

/* Whether the file as a whole is the snapshot that was announced. */
static int verify(struct replica *r, struct incoming *in)
{
	struct wal_fs *fs = r->host->fs;
	struct snapshot_reader reader;
	uint8_t some[4096];
	int64_t n = fs->sync(fs, in->file, WAL_SYNC_SNAPSHOT_DATA);

	if (n < 0)
		return (int)n;
	n = snapshot_reader_open(&reader, fs, SNAPSHOT_RECEIVED_NAME);
	if (n < 0)
		return (int)n;
	if (reader.meta.index != in->last_index || reader.meta.term != in->last_term)
		n = -EUCLEAN;
	else
		do
			n = snapshot_reader_get(&reader, some, sizeof(some));
		while (n > 0);
	snapshot_reader_close(&reader);
	return (int)n;
}

/* Worker thread: the first chunk of the list is its own until done; the loop only appends behind it. */
static void run_incoming(struct replica_work *w)
{
	struct incoming *in = container_of(w, struct incoming, work);
	struct replica *r = container_of(in, struct replica, incoming);
	struct wal_fs *fs = r->host->fs;

	if (in->verifying) {
		in->rc = verify(r, in);
		return;
	}

	struct incoming_chunk *c = list_first(&in->chunks, struct incoming_chunk, link);

	in->rc = fs->write(fs, in->file, in->written, c->data, c->n);
}

static void deliver(struct replica *r)
{
	struct incoming *in = &r->incoming;
	struct raft_message m = { .type = RAFT_IO_INSTALL_SNAPSHOT,
				  .server_id = in->from,
				  .server_address = in->address };
	struct raft_install_snapshot *args = &m.install_snapshot;

	args->term = in->term;
	args->last_index = in->last_index;
	args->last_term = in->last_term;
	args->conf_index = in->configuration_index;
	if (core_configuration_decode(buf_bytes(&in->configuration), &args->conf) < 0 ||
	    install_pending(r)) {
		incoming_fail(r);
		return;
	}
	args->data.len = 8;
	args->data.base = raft_calloc(1, 8);
	acknowledge(r, in->size, false);
	/* The core copies the address only after it has freed ours' owner: keep it until it returns. */
	r->recv(&r->guard.below, &m);
	incoming_free(r);
}

static void on_incoming(struct replica_work *w)
{
	struct incoming *in = container_of(w, struct incoming, work);
	struct replica *r = container_of(in, struct replica, incoming);
	bool verified = in->verifying;

	replica_finish_sends(r);
	in->busy = false;
	if (in->abandoned || r->dead || r->closing) {
		incoming_free(r);
	} else if (in->rc < 0) {
		log_warn("snapshot not received", "rc=%d", in->rc);
		incoming_fail(r);
	} else if (verified) {
		deliver(r);
	} else {
		struct incoming_chunk *c = list_first(&in->chunks, struct incoming_chunk, link);

		in->written += c->n;
		list_remove(&c->link);
		free(c);
		in->verifying = in->written == in->size;
		/* The last acknowledgement tells that all of it is good. */
		if (!in->verifying)
			acknowledge(r, in->written, false);
		if (in->verifying || !list_empty(&in->chunks)) {
			in->busy = true;
			replica_work_start(r, &in->work);
		}
	}
	replica_work_ended(r);
}

/* --- both ---------------------------------------------------------------------------- */

void transfer_tick(struct replica *r)
{
	uint64_t now_ms = replica_now_ms(r);

	for (size_t i = 0; i < PEERS_MAX; i++) {
		struct outgoing *o = &r->outgoing[i];

		if (o->transfer == 0 || o->dead)
			continue;
		if (now_ms - o->progress_ms >= TRANSFER_STALL_MS)
			outgoing_end(o, RAFT_NOCONNECTION);
		else
			pump(o);
	}
}

void transfer_lost(struct replica *r, uint64_t id)
{
	struct outgoing *o = outgoing_to(r, id);

	if (o != NULL)
		outgoing_end(o, RAFT_NOCONNECTION);
	if (r->incoming.transfer != 0 && r->incoming.from == id)
		incoming_abandon(r);
}

void transfer_close(struct replica *r)
{
	for (size_t i = 0; i < PEERS_MAX; i++)
		if (r->outgoing[i].transfer != 0 && !r->outgoing[i].dead)
			outgoing_end(&r->outgoing[i], RAFT_CANCELED);
	if (r->incoming.transfer != 0)
		incoming_abandon(r);
}
