/* A member's life, its proposals and members, and what its owner asks. */
#include "controlplane/consensus/replica_internal.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/log.h"
#include "common/base/source.h"
#include "controlplane/consensus/entry.h"
#include "controlplane/consensus/wal_record.h"

#define STORAGE_CHECK_MS 1000
#define TICK_MAX_MS 100
/* The core gives a snapshot up after this; a transfer that still goes on is then taken up again. */
#define INSTALL_TIMEOUT_MS 5000

uint64_t replica_now_ms(const struct replica *r)
{
	struct source *s = r->host->source;

	return s->monotonic_ns(s) / 1000000;
}

struct wal *replica_wal(struct replica *r)
{
	return r->wal;
}

struct raft *replica_core(struct replica *r)
{
	return &r->raft;
}

struct guard *replica_guard(struct replica *r)
{
	return &r->guard;
}

void replica_fatal(struct replica *r, int exit_code, const char *why)
{
	if (r->dead)
		return;
	r->dead = true;
	r->guard.dead = true;
	r->host->fatal(r->host, exit_code, why);
}

/* --- peers and frames ---------------------------------------------------------------- */

struct peer_state *replica_peer(struct replica *r, uint64_t id)
{
	for (size_t i = 0; i < r->n_peers; i++)
		if (r->peers[i].id == id)
			return &r->peers[i];
	if (r->n_peers == PEERS_MAX) {
		/* The table is as large as a configuration can be: somebody in it is no member any more. */
		for (size_t i = 0; i < r->n_peers; i++)
			if (core_server(&r->raft, r->peers[i].id) == NULL) {
				r->peers[i] = (struct peer_state){ .id = id };
				return &r->peers[i];
			}
		return NULL;
	}
	r->peers[r->n_peers] = (struct peer_state){ .id = id };
	return &r->peers[r->n_peers++];
}

int replica_post(struct replica *r, uint64_t id, const char *address, struct frame *f)
{
	struct buf *out = r->host->outbox(r->host, id, address);

	if (out == NULL) {
		r->dropped++;
		return -ENOTCONN;
	}
	f->stamp = r->host->source->monotonic_ns(r->host->source);
	frame_put(out, f);
	r->sent++;
	r->host->posted(r->host, id);
	return 0;
}

int replica_send(struct replica *r, uint64_t to_id, struct bytes message)
{
	struct frame f = { .type = FRAME_APP, .app = message };
	const struct raft_server *server;
	const char *address = NULL;

	if (message.len > CONSENSUS_MESSAGE_MAX)
		return -EFBIG;
	if (to_id == 0 && !replica_leader(r, &to_id, &address))
		return -EHOSTUNREACH;
	if (to_id == r->config.id)
		return -EINVAL;
	server = core_server(&r->raft, to_id);
	if (server != NULL)
		address = server->address;
	return replica_post(r, to_id, address, &f);
}

int replica_receive(struct replica *r, uint64_t id, const char *address, struct bytes bytes)
{
	struct frame f;
	struct peer_state *peer = replica_peer(r, id);

	if (r->closing || r->dead)
		return 0;
	if (frame_decode(bytes.data, bytes.len, &f) < 0)
		return -EBADMSG;
	replica_finish_sends(r);
	r->received++;
	if (peer != NULL)
		peer->contact_ms = replica_now_ms(r);
	switch (f.type) {
	case FRAME_INSTALL:
		transfer_on_install(r, id, address, &f);
		return 0;
	case FRAME_CHUNK:
		transfer_on_chunk(r, id, &f);
		return 0;
	case FRAME_CHUNK_ACK:
		transfer_on_ack(r, id, &f);
		return 0;
	case FRAME_PROBE:
		reads_on_probe(r, id, address, &f);
		return 0;
	case FRAME_ECHO:
		reads_on_echo(r, id, f.probe.term, f.probe.echo);
		return 0;
	case FRAME_READ:
		reads_on_read(r, id, &f);
		return 0;
	case FRAME_READ_ANSWER:
		reads_on_answer(r, id, &f);
		return 0;
	case FRAME_APP:
		r->config.callbacks->app_message(r->config.ctx, id, f.app);
		return 0;
	default:
		return replica_on_raft_frame(r, id, address, &f);
	}
}

void replica_connected(struct replica *r, uint64_t id)
{
	struct raft *raft = &r->raft;
	int at = core_position(raft, id);

	/* It waited for us: do not let it wait for the next heartbeat. */
	if (!r->dead && !r->closing && raft->state == RAFT_LEADER && r->guard.term_ok && at >= 0)
		raft->leader_state.progress[at].last_send = 0;
}

void replica_lost(struct replica *r, uint64_t id)
{
	unsigned wait_ms = 5 + (unsigned)source_random_below(r->host->source, 41);

	if (r->dead || r->closing)
		return;
	transfer_lost(r, id);
	if (wait_ms > r->config.election_ms)
		wait_ms = r->config.election_ms;
	guard_leader_gone(&r->guard, id, wait_ms);
}

/* --- operations that come back ------------------------------------------------------- */

void replica_send_finished(struct replica *r, struct raft_io_send *req, raft_io_send_cb cb,
			   int status)
{
	if (cb == NULL)
		return;
	array_grow(r->finished, r->n_finished, r->cap_finished);
	r->finished[r->n_finished++] = (struct finished_send){ req, cb, status };
	if (!r->in_turn)
		r->host->wake(r->host);
}

void replica_finish_sends(struct replica *r)
{
	while (r->n_finished > 0) {
		struct finished_send *list = r->finished;
		size_t n = r->n_finished;

		r->finished = NULL;
		r->n_finished = r->cap_finished = 0;
		for (size_t i = 0; i < n; i++)
			list[i].cb(list[i].req, list[i].status);
		if (r->finished == NULL) {
			/* Nothing new: keep the memory. */
			r->finished = list;
			r->cap_finished = n;
			return;
		}
		free(list);
	}
}

void replica_work_start(struct replica *r, struct replica_work *w)
{
	r->under_way++;
	r->host->work(r->host, w);
}

static void destroy(struct replica *r)
{
	if (r->core_ready)
		guard_fini(&r->guard);
	wal_close(r->wal);
	wal_loaded_fini(&r->loaded);
	term_file_close(&r->terms);
	meter_fini(&r->meter);
	buf_fini(&r->scratch);
	buf_fini(&r->snapshot.configuration);
	free(r->finished);
	free(r->address);
	free(r);
}

static void on_core_closed(struct raft *raft)
{
	struct replica *r = container_of(raft, struct replica, raft);
	void (*cb)(void *ctx) = r->close_cb;
	void *ctx = r->close_ctx;

	destroy(r);
	cb(ctx);
}

static void maybe_closed(struct replica *r)
{
	if (!r->closing || r->under_way > 0 || r->closed == NULL)
		return;
	replica_finish_sends(r);
	r->closed(&r->guard.below);
}

void replica_work_ended(struct replica *r)
{
	r->under_way--;
	maybe_closed(r);
}

/* --- what the guard tells ------------------------------------------------------------ */

static void on_guard_fatal(void *ctx, int exit_code, const char *why)
{
	replica_fatal(ctx, exit_code, why);
}

static void on_guard_send(void *ctx, struct raft_io_send *req, raft_io_send_cb cb, int status)
{
	replica_send_finished(ctx, req, cb, status);
}

static enum consensus_role role_of(const struct replica *r)
{
	switch (r->raft.state) {
	case RAFT_LEADER:
		return CONSENSUS_LEADER;
	case RAFT_CANDIDATE:
		return CONSENSUS_CANDIDATE;
	default:
		return CONSENSUS_FOLLOWER;
	}
}

static void tell_lost_leadership(struct replica *r)
{
	if (!r->told_leading)
		return;
	r->told_leading = false;
	r->config.callbacks->lost_leadership(r->config.ctx);
}

static void on_guard_changed(void *ctx)
{
	struct replica *r = ctx;
	const char *address;
	uint64_t leader = 0;

	reads_leader_changed(r);
	for (size_t i = 0; i < r->n_peers; i++)
		r->peers[i].commit_sent = 0;
	if (!r->guard.term_ok)
		tell_lost_leadership(r);
	replica_leader(r, &leader, &address);
	r->config.callbacks->leader_changed(r->config.ctx, role_of(r), r->raft.current_term,
					    leader);
}

static void on_guard_leading(void *ctx, raft_term term)
{
	struct replica *r = ctx;

	r->told_leading = true;
	r->config.callbacks->leading(r->config.ctx, term);
	r->host->wake(r->host);
}

static const struct guard_callbacks guard_callbacks = {
	.fatal = on_guard_fatal,
	.complete_send = on_guard_send,
	.changed = on_guard_changed,
	.leading = on_guard_leading,
};

/* --- time ---------------------------------------------------------------------------- */

static void set_storage_low(struct replica *r, bool low)
{
	if (r->storage_low == low)
		return;
	r->storage_low = low;
	r->config.callbacks->storage_low(r->config.ctx, low);
	if (low)
		replica_transfer(r, 0, NULL, NULL);
}

static void make_ballast(struct replica *r)
{
	struct wal_fs *fs = r->host->fs;
	struct wal_file *file;

	if (fs->open(fs, WAL_BALLAST_NAME, true, &file) < 0)
		return;
	if (fs->reserve(fs, file, r->config.ballast_bytes) < 0)
		fs->unlink(fs, WAL_BALLAST_NAME);
	fs->close(fs, file);
}

static void check_storage(struct replica *r)
{
	struct wal_fs *fs = r->host->fs;
	uint64_t now_ms = replica_now_ms(r);
	struct wal_stats wal;

	if (now_ms - r->storage_checked_ms < STORAGE_CHECK_MS)
		return;
	r->storage_checked_ms = now_ms;

	int64_t left = fs->free_bytes(fs);
	uint64_t enough = r->config.low_water_bytes;

	if (left < 0)
		return;
	wal_stats(r->wal, &wal);
	if (wal.ballast_used && (uint64_t)left > enough + 2 * r->config.ballast_bytes) {
		make_ballast(r);
		wal_ballast_restored(r->wal);
		wal.ballast_used = false;
	}
	/* Come back only with some room to spare, or it would flap. */
	if (r->storage_low)
		enough += enough / 4;
	set_storage_low(r, wal.ballast_used || (uint64_t)left < enough);
}

static void run_prepare_spare(struct replica_work *w)
{
	struct replica *r = container_of(w, struct replica, spare_work);

	r->spare_rc = wal_prepare_spare(r->wal);
}

static void on_spare_prepared(struct replica_work *w)
{
	struct replica *r = container_of(w, struct replica, spare_work);

	r->spare_busy = false;
	if (r->spare_rc < 0)
		r->spare_not_before_ms = replica_now_ms(r) + STORAGE_CHECK_MS;
	replica_work_ended(r);
}

/* The next segment is made ready while there is still room in this one. */
static void prepare_spare(struct replica *r)
{
	if (r->spare_busy || !wal_wants_spare(r->wal) ||
	    replica_now_ms(r) < r->spare_not_before_ms)
		return;
	r->spare_busy = true;
	r->spare_work = (struct replica_work){ .run = run_prepare_spare,
					       .done = on_spare_prepared };
	replica_work_start(r, &r->spare_work);
}

void replica_tick(struct replica *r)
{
	if (r->dead || r->closing)
		return;
	replica_finish_sends(r);
	r->ticked_ms = replica_now_ms(r);
	r->tick(&r->guard.below);
	if (r->dead)
		return;
	replica_snapshot_policy(r);
	transfer_tick(r);
	reads_tick(r);
	check_storage(r);
	prepare_spare(r);
}

static bool is_busy(const struct replica *r)
{
	for (size_t i = 0; i < PEERS_MAX; i++)
		if (r->outgoing[i].transfer != 0)
			return true;
	return r->under_way > 0 || r->reads.n > 0 || r->incoming.transfer != 0 ||
	       r->raft.transfer != NULL || r->meter.bytes > r->config.log_bytes / 4 * 3 ||
	       (wal_wants_spare(r->wal) && !r->spare_busy);
}

/* When the core would do something because of the time: send a heartbeat, or stand for election. */
static uint64_t core_due_ms(const struct replica *r)
{
	const struct raft *raft = &r->raft;
	uint64_t due = UINT64_MAX;

	if (raft->state != RAFT_LEADER)
		return raft->election_timer_start +
		       raft->follower_state.randomized_election_timeout;
	for (unsigned i = 0; i < raft->configuration.n; i++) {
		const struct raft_server *s = &raft->configuration.servers[i];
		uint64_t next = raft->leader_state.progress[i].last_send + raft->heartbeat_timeout;

		if (s->id != r->config.id && s->role != RAFT_SPARE && next < due)
			due = next;
	}
	return due;
}

/* Counted from the last tick: whoever asks again and again must not put it off for ever. */
uint32_t replica_next_tick_ms(const struct replica *r)
{
	uint64_t now_ms = replica_now_ms(r);
	uint64_t due_ms = r->ticked_ms + (is_busy(r) ? r->config.tick_ms : TICK_MAX_MS);
	uint64_t core_ms = core_due_ms(r);

	/* What the core did not do at the last tick though it was due, it will not do at once either. */
	if (core_ms <= r->ticked_ms)
		core_ms = r->ticked_ms + r->config.tick_ms;
	if (core_ms < due_ms)
		due_ms = core_ms;
	return due_ms > now_ms ? (uint32_t)(due_ms - now_ms) : 1;
}

/* Followers learn of a commit with the next message. Do not let them wait for it. */
static void push_commit(struct replica *r)
{
	struct raft *raft = &r->raft;
	bool push = false;

	if (raft->state != RAFT_LEADER || !r->guard.term_ok)
		return;
	for (unsigned i = 0; i < raft->configuration.n; i++) {
		const struct raft_server *s = &raft->configuration.servers[i];
		struct peer_state *peer;

		if (s->id == r->config.id || s->role == RAFT_SPARE)
			continue;
		peer = replica_peer(r, s->id);
		if (peer == NULL || peer->commit_sent >= raft->commit_index ||
		    raft->leader_state.progress[i].state != CORE_PIPELINE)
			continue;
		raft->leader_state.progress[i].last_send = 0;
		peer->commit_sent = raft->commit_index; /* Once, whether it arrives or not. */
		push = true;
	}
	if (push)
		r->tick(&r->guard.below);
}

static void notice_members(struct replica *r)
{
	const struct raft *raft = &r->raft;
	uint64_t seen[3] = { raft->configuration_index, raft->configuration_uncommitted_index,
			     raft->configuration.n };

	if (memcmp(seen, r->members_seen, sizeof(seen)) == 0)
		return;
	memcpy(r->members_seen, seen, sizeof(seen));
	r->host->members_changed(r->host);
	if (r->config.callbacks->members_changed != NULL)
		r->config.callbacks->members_changed(r->config.ctx);
}

void replica_turn(struct replica *r)
{
	if (r->dead || r->closing)
		return;
	r->in_turn = true;
	replica_finish_sends(r);
	push_commit(r);
	reads_turn(r);
	notice_members(r);
	replica_finish_sends(r);
	r->in_turn = false;
}

/* --- opening and closing ------------------------------------------------------------- */

static void fill_defaults(struct replica_config *c)
{
#define DEFAULT(field, value) c->field = c->field != 0 ? c->field : (value)
	DEFAULT(election_ms, 500);
	DEFAULT(heartbeat_ms, 50);
	DEFAULT(tick_ms, 10);
	DEFAULT(read_timeout_ms, 3000);
	DEFAULT(segment_bytes, 16 << 20);
	DEFAULT(log_bytes, 16 << 20);
	DEFAULT(trailing_bytes, c->log_bytes / 2);
	DEFAULT(ballast_bytes, 2 * c->segment_bytes);
	DEFAULT(low_water_bytes, 64 << 20);
	DEFAULT(append_bytes_max, 4 << 20);
	DEFAULT(snapshot_chunk_bytes, 256 << 10);
#undef DEFAULT
}

static int start_core(struct replica *r, struct status *st)
{
	struct raft_io below;
	struct raft *raft = &r->raft;
	int rv;

	replica_io_fill(r, &below);
	replica_fsm_fill(r);
	guard_init(&r->guard, raft, &below, &guard_callbacks, r);
	r->guard.off = r->config.guard_off;
	r->guard.append_bytes_max = r->config.append_bytes_max;
	r->guard.tick_ms = r->config.tick_ms;
	rv = raft_init(raft, &r->guard.io, &r->fsm, r->config.id, r->address);
	if (rv != 0)
		return status_set(st, errno_of_raft(rv), "consensus: %s", raft_strerror(rv));
	r->core_ready = true;
	raft_set_election_timeout(raft, r->config.election_ms);
	raft_set_heartbeat_timeout(raft, r->config.heartbeat_ms);
	raft_set_install_snapshot_timeout(raft, INSTALL_TIMEOUT_MS);
	raft_set_snapshot_threshold(raft, UINT_MAX);
	raft_set_pre_vote(raft, true);
	rv = raft_start(raft);
	if (rv != 0)
		return status_set(st, errno_of_raft(rv), "consensus: %s", raft_errmsg(raft));
	guard_started(&r->guard);
	return 0;
}

int replica_open(const struct replica_config *config, struct replica_host *host,
		 struct replica **ret_r, struct status *st)
{
	struct replica *r = xcalloc(1, sizeof(*r));
	int rc;

	r->config = *config;
	fill_defaults(&r->config);
	r->host = host;
	r->address = xstrdup(config->address);
	r->config.address = r->address;
	r->next_transfer = source_random_u64(host->source) >> 1;
	reads_init(r);
	rc = replica_io_open(r, st);
	if (rc == 0) {
		host->log_open(host, r->wal);
		rc = start_core(r, st);
	}
	if (rc < 0) {
		replica_abandon(r);
		return rc;
	}
	make_ballast(r);
	*ret_r = r;
	return 0;
}

static void never_called(struct raft *raft)
{
	(void)raft;
}

void replica_abandon(struct replica *r)
{
	r->dead = true;
	r->guard.dead = true;
	if (r->core_ready) {
		raft_close(&r->raft, never_called);
		if (r->closed != NULL)
			r->closed(&r->guard.below);
	}
	reads_close(r, -ECANCELED);
	destroy(r);
}

void replica_close(struct replica *r, void (*cb)(void *ctx), void *ctx)
{
	assert(!r->closing);
	r->closing = true;
	r->close_cb = cb;
	r->close_ctx = ctx;
	guard_closing(&r->guard);
	tell_lost_leadership(r);
	reads_close(r, -ECANCELED);
	transfer_close(r);
	raft_close(&r->raft, on_core_closed);
	maybe_closed(r);
}

bool replica_exists(struct wal_fs *fs)
{
	struct term_file t;
	bool exists = term_file_open(&t, fs, NULL) != -ENOENT;

	term_file_close(&t);
	return exists;
}

/* Append a configuration with id as the only voter. */
static int write_configuration(struct wal *w, uint64_t index, uint64_t term, uint64_t id,
			       const char *address, struct status *st)
{
	struct raft_configuration c;
	struct raft_buffer encoded;
	struct wal_entry entry = { .term = term, .type = WAL_CHANGE };
	struct wal_op op = { .kind = WAL_OP_APPEND, .index = index, .entries = &entry,
			     .n_entries = 1 };
	int rv;

	raft_configuration_init(&c);
	rv = raft_configuration_add(&c, id, address, RAFT_VOTER);
	if (rv == 0)
		rv = raft_configuration_encode(&c, &encoded);
	raft_configuration_close(&c);
	if (rv != 0)
		return status_set(st, errno_of_raft(rv), "member: %s", raft_strerror(rv));
	entry.data = encoded.base;
	entry.length = encoded.len;
	rv = wal_run(w, &op);
	raft_free(encoded.base);
	return rv < 0 ? status_set(st, rv, "log: cannot be written") : 0;
}

int replica_bootstrap(struct wal_fs *fs, uint64_t segment_bytes, uint64_t id, const char *address,
		      struct status *st)
{
	struct wal_loaded loaded = { 0 };
	struct term_file t;
	struct wal *w;
	int rc;

	if (replica_exists(fs))
		return status_set(st, -EEXIST, "the directory holds a member already");
	if (segment_bytes == 0)
		segment_bytes = 16 << 20;
	/* The term file comes last: without it, what lies there is the rest of an interrupted attempt. */
	wal_wipe(fs);
	rc = wal_open(fs, segment_bytes, &w, &loaded, st);
	if (rc < 0)
		return rc;
	rc = write_configuration(w, 1, 1, id, address, st);
	wal_loaded_fini(&loaded);
	wal_close(w);
	if (rc == 0)
		rc = term_file_create(&t, fs, id, 1, st);
	if (rc == 0)
		term_file_close(&t);
	return rc;
}

int replica_recover(struct wal_fs *fs, uint64_t segment_bytes, uint64_t id, const char *address,
		    struct status *st)
{
	struct source *source = &system_source;
	struct replica_host host = { .source = source, .fs = fs };
	struct replica *r = xcalloc(1, sizeof(*r));
	int rc;

	r->config = (struct replica_config){ .id = id, .segment_bytes = segment_bytes };
	fill_defaults(&r->config);
	r->host = &host;
	reads_init(r);
	rc = replica_io_open(r, st);
	if (rc == 0)
		rc = write_configuration(r->wal, r->loaded.first_index + r->loaded.n_entries,
					 r->terms.term + 1, id, address, st);
	if (rc == 0 && term_file_store(&r->terms, r->terms.term + 1, id) < 0)
		rc = status_set(st, -EIO, "file %s: cannot be written", TERM_FILE_NAME);
	destroy(r);
	return rc;
}

/* --- proposals ----------------------------------------------------------------------- */

struct proposal {
	struct raft_apply req;
	struct replica *replica;
	consensus_propose_cb cb;
	void *ctx;
	size_t n;
};

static void on_proposal(struct raft_apply *req, int status, void *result)
{
	struct proposal *p = container_of(req, struct proposal, req);

	(void)result;
	p->replica->proposed_bytes -= p->n;
	if (p->cb != NULL)
		p->cb(p->ctx, errno_of_raft(status));
	free(p);
}

static int may_propose(const struct replica *r, size_t n)
{
	if (r->dead || r->closing || r->raft.state != RAFT_LEADER || !r->guard.term_ok ||
	    r->raft.transfer != NULL)
		return -ESHUTDOWN;
	if (r->storage_low)
		return -ENOSPC;
	if (n > replica_entry_max(r))
		return -EFBIG;
	return r->proposed_bytes + n > PROPOSED_BYTES_MAX ? -ENOBUFS : 0;
}

int replica_propose(struct replica *r, void *data, size_t n, consensus_propose_cb cb, void *ctx)
{
	int rc = may_propose(r, n);
	struct raft_buffer buf;
	struct proposal *p;

	if (rc < 0) {
		free(data);
		return rc;
	}
	p = xcalloc(1, sizeof(*p));
	buf.base = entry_pack(data, n, &buf.len);
	*p = (struct proposal){ .replica = r, .cb = cb, .ctx = ctx, .n = buf.len };
	rc = errno_of_raft(raft_apply(&r->raft, &p->req, &buf, 1, on_proposal));
	if (rc < 0) {
		free(buf.base);
		free(p);
		return rc;
	}
	r->proposed_bytes += buf.len;
	r->proposals++;
	guard_settle(&r->guard);
	return 0;
}

/* --- members ------------------------------------------------------------------------- */

struct change {
	struct raft_change req;
	struct raft_transfer transfer;
	struct replica *replica;
	consensus_change_cb cb;
	void *ctx;
};

static struct change *change_new(struct replica *r, consensus_change_cb cb, void *ctx)
{
	struct change *c = xcalloc(1, sizeof(*c));

	c->replica = r;
	c->cb = cb;
	c->ctx = ctx;
	return c;
}

static void on_change(struct raft_change *req, int status)
{
	struct change *c = container_of(req, struct change, req);

	if (c->cb != NULL)
		c->cb(c->ctx, errno_of_raft(status));
	free(c);
}

static int change_started(struct replica *r, struct change *c, int rv)
{
	if (rv != 0)
		free(c);
	else
		guard_settle(&r->guard);
	return errno_of_raft(rv);
}

static bool may_change(const struct replica *r)
{
	return !r->dead && !r->closing && r->raft.state == RAFT_LEADER && r->guard.term_ok;
}

int replica_member_add(struct replica *r, uint64_t id, const char *address, consensus_change_cb cb,
		       void *ctx)
{
	struct change *c;

	if (!may_change(r))
		return -ESHUTDOWN;
	if (r->raft.configuration.n >= CORE_MEMBERS_MAX)
		return -ENOBUFS;
	if (strlen(address) > FRAME_ADDRESS_MAX)
		return -ENAMETOOLONG;
	c = change_new(r, cb, ctx);
	return change_started(r, c, raft_add(&r->raft, &c->req, id, address, on_change));
}

int replica_member_assign(struct replica *r, uint64_t id, enum consensus_member_role role,
			  consensus_change_cb cb, void *ctx)
{
	static const int roles[] = { RAFT_SPARE, RAFT_STANDBY, RAFT_VOTER };
	struct change *c;

	if (!may_change(r))
		return -ESHUTDOWN;
	c = change_new(r, cb, ctx);
	return change_started(r, c, raft_assign(&r->raft, &c->req, id, roles[role], on_change));
}

int replica_member_remove(struct replica *r, uint64_t id, consensus_change_cb cb, void *ctx)
{
	struct change *c;

	if (!may_change(r))
		return -ESHUTDOWN;
	if (core_server(&r->raft, id) != NULL && core_server(&r->raft, id)->role == RAFT_VOTER &&
	    core_voters(&r->raft) == 1)
		return -EINVAL; /* Nobody would be left to decide anything. */
	c = change_new(r, cb, ctx);
	return change_started(r, c, raft_remove(&r->raft, &c->req, id, on_change));
}

static void on_transfer(struct raft_transfer *req)
{
	struct change *c = container_of(req, struct change, transfer);
	struct replica *r = c->replica;
	bool done = r->raft.state == RAFT_FOLLOWER &&
		    r->raft.follower_state.current_leader.id == req->id;

	if (c->cb != NULL)
		c->cb(c->ctx, done ? 0 : -ETIMEDOUT);
	free(c);
}

int replica_transfer(struct replica *r, uint64_t id, consensus_change_cb cb, void *ctx)
{
	struct change *c;
	int rv;

	if (r->dead || r->closing || r->raft.state != RAFT_LEADER)
		return -ESHUTDOWN;
	if (r->raft.transfer != NULL)
		return -EBUSY;
	c = change_new(r, cb, ctx);
	rv = raft_transfer(&r->raft, &c->transfer, id, on_transfer);
	return change_started(r, c, rv);
}

/* --- what the owner asks ------------------------------------------------------------- */

bool replica_leader(const struct replica *r, uint64_t *ret_id, const char **ret_address)
{
	const struct raft *raft = &r->raft;
	const struct raft_server *server;

	*ret_address = r->address;
	*ret_id = r->config.id;
	if (raft->state == RAFT_LEADER)
		return true;
	*ret_id = raft->state == RAFT_FOLLOWER ? raft->follower_state.current_leader.id : 0;
	if (*ret_id == 0)
		return false;
	server = core_server(raft, *ret_id);
	*ret_address = server != NULL ? server->address :
					raft->follower_state.current_leader.address;
	return true;
}

bool replica_leading(const struct replica *r)
{
	return r->told_leading && r->raft.state == RAFT_LEADER && r->guard.term_ok;
}

size_t replica_entry_max(const struct replica *r)
{
	return wal_entry_max(r->config.segment_bytes) - 8;
}

static enum consensus_member_role member_role(int role)
{
	return role == RAFT_VOTER ? CONSENSUS_VOTER :
	       role == RAFT_STANDBY ? CONSENSUS_STANDBY : CONSENSUS_SPARE;
}

static int compare_members(const void *a, const void *b)
{
	uint64_t x = ((const struct consensus_member *)a)->id,
		 y = ((const struct consensus_member *)b)->id;

	return x < y ? -1 : x > y;
}

size_t replica_members(const struct replica *r, struct consensus_member *ret_members, size_t cap)
{
	const struct raft *raft = &r->raft;
	uint64_t now_ms = replica_now_ms(r);
	size_t n = 0;

	for (; n < raft->configuration.n && n < cap; n++) {
		const struct raft_server *s = &raft->configuration.servers[n];
		struct consensus_member *m = &ret_members[n];

		*m = (struct consensus_member){ .id = s->id,
						.address = s->address,
						.role = member_role(s->role),
						.self = s->id == r->config.id,
						.last_contact_ms = UINT64_MAX };
		m->connected = m->self || r->host->connected(r->host, s->id);
		if (raft->state == RAFT_LEADER)
			m->match_index = raft->leader_state.progress[n].match_index;
		if (m->self)
			m->last_contact_ms = 0;
		for (size_t i = 0; i < r->n_peers; i++)
			if (r->peers[i].id == s->id && r->peers[i].contact_ms != 0)
				m->last_contact_ms = now_ms - r->peers[i].contact_ms;
	}
	qsort(ret_members, n, sizeof(ret_members[0]), compare_members);
	return raft->configuration.n;
}

void replica_stats(const struct replica *r, struct consensus_stats *ret_stats)
{
	const struct raft *raft = &r->raft;
	struct consensus_stats s = {
		.id = r->config.id,
		.term = raft->current_term,
		.role = role_of(r),
		.leading = replica_leading(r),
		.storage_low = r->storage_low,
		.last_index = raft->log.offset + core_log_count(raft),
		.stored_index = raft->last_stored,
		.commit_index = raft->commit_index,
		.applied_index = raft->last_applied,
		.snapshot_index = raft->log.snapshot.last_index,
		.log_bytes = r->meter.bytes,
		.snapshot_bytes = r->snapshot.size,
		.elections = r->elections,
		.proposals = r->proposals,
		.reads = r->n_reads,
		.messages_sent = r->sent,
		.messages_received = r->received,
		.messages_dropped = r->dropped,
	};
	const char *address;
	struct wal_stats wal;

	wal_stats(r->wal, &wal);
	s.disk_bytes_written = wal.bytes_written;
	s.disk_syncs = wal.syncs;
	replica_leader(r, &s.leader_id, &address);
	for (size_t i = 0; i < GUARD_RULES; i++)
		s.guard_repairs[i] = r->guard.repairs[i];
	*ret_stats = s;
}
