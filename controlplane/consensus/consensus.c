/* The replica in the real world: a directory, a disk thread, libuv's workers, TLS
 * connections and a timer.
 *
 * What a turn of the loop brought is settled once, before the loop sleeps and after
 * it was woken: commits are pushed, reads are answered, and what was put into the
 * connections leaves as few packets as can be. */
#include "controlplane/consensus/consensus.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "controlplane/consensus/disk_thread.h"
#include "controlplane/consensus/peers.h"
#include "controlplane/consensus/replica.h"
#include "controlplane/consensus/wal_fs.h"

struct consensus {
	struct replica_host host;
	struct replica *replica;
	struct peers *peers;
	struct disk_thread *disk;
	uv_loop_t *loop;
	uv_timer_t tick;
	uint64_t tick_at_ms; /* In the loop's time, while it is armed. */
	uv_prepare_t prepare;
	uv_check_t check;
	/* Steps of closing; only a turn moves from one to the next, never a callback of the core. */
	enum { RUNNING, CLOSE_ASKED, HANDING_OVER, HANDED_OVER, CLOSING } phase;
	unsigned closing_handles;
	void (*close_cb)(void *ctx);
	void *close_ctx;
};

static const char name_prefix[] = "sampan:master:";

void consensus_member_name(uint64_t id, char ret_name[CONSENSUS_NAME_SIZE])
{
	snprintf(ret_name, CONSENSUS_NAME_SIZE, "%s%016" PRIx64, name_prefix, id);
}

uint64_t consensus_member_id(const char *name)
{
	size_t n = sizeof(name_prefix) - 1;
	uint64_t id = 0;

	if (strncmp(name, name_prefix, n) != 0 || strlen(name) != n + 16)
		return 0;
	for (const char *p = name + n; *p != '\0'; p++) {
		if (!((*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'f')))
			return 0;
		id = id << 4 | (uint64_t)(*p <= '9' ? *p - '0' : *p - 'a' + 10);
	}
	return id;
}

/* --- the replica's host -------------------------------------------------------------- */

static struct consensus *consensus_of(struct replica_host *h)
{
	return container_of(h, struct consensus, host);
}

static void host_log_open(struct replica_host *h, struct wal *w)
{
	struct consensus *c = consensus_of(h);

	c->disk = disk_thread_start(c->loop, w);
}

static void host_disk(struct replica_host *h, struct wal_op *op)
{
	disk_thread_push(consensus_of(h)->disk, op);
}

struct job {
	uv_work_t req;
	struct replica_work *work;
};

static void run_job(uv_work_t *req)
{
	struct job *j = container_of(req, struct job, req);

	j->work->run(j->work);
}

static void on_job_done(uv_work_t *req, int status)
{
	struct job *j = container_of(req, struct job, req);
	struct replica_work *work = j->work;

	(void)status; /* Nobody cancels it. */
	free(j);
	work->done(work);
}

static void host_work(struct replica_host *h, struct replica_work *w)
{
	struct job *j = xcalloc(1, sizeof(*j));

	j->work = w;
	if (uv_queue_work(consensus_of(h)->loop, &j->req, run_job, on_job_done) < 0)
		abort();
}

static struct buf *host_outbox(struct replica_host *h, uint64_t id, const char *address)
{
	struct consensus *c = consensus_of(h);

	return c->peers == NULL ? NULL : peers_outbox(c->peers, id, address);
}

static void host_posted(struct replica_host *h, uint64_t id)
{
	(void)h;
	(void)id; /* It leaves at the end of the turn. */
}

static bool host_connected(struct replica_host *h, uint64_t id)
{
	struct consensus *c = consensus_of(h);

	return c->peers != NULL && peers_connected(c->peers, id);
}

static void host_members_changed(struct replica_host *h)
{
	struct consensus *c = consensus_of(h);
	struct consensus_member members[CORE_MEMBERS_MAX];
	uint64_t ids[CORE_MEMBERS_MAX];
	const char *addresses[CORE_MEMBERS_MAX];
	size_t n = replica_members(c->replica, members, CORE_MEMBERS_MAX);

	for (size_t i = 0; i < n; i++) {
		ids[i] = members[i].id;
		addresses[i] = members[i].address;
	}
	peers_want(c->peers, ids, addresses, n);
}

static void host_wake(struct replica_host *h)
{
	(void)h; /* The prepare handle runs before the loop sleeps. */
}

static void host_fatal(struct replica_host *h, int exit_code, const char *why)
{
	(void)h;
	log_error("consensus cannot go on", "exit=%d reason=%s", exit_code, log_quote(why));
	_exit(exit_code);
}

/* --- the loop ------------------------------------------------------------------------ */

static void on_handed_over(void *ctx, int rc)
{
	struct consensus *c = ctx;

	(void)rc;
	c->phase = HANDED_OVER;
}

static void close_replica(struct consensus *c);
static void on_tick(uv_timer_t *t);

/* Sleep for as long as nothing is due. The timer is only ever brought forward: put off in
 * every turn, also in the one that it woke, it would never fire. */
static void arm_tick(struct consensus *c)
{
	uint64_t in_ms = replica_next_tick_ms(c->replica), at_ms = uv_now(c->loop) + in_ms;

	if (uv_is_active((uv_handle_t *)&c->tick) && c->tick_at_ms <= at_ms)
		return;
	c->tick_at_ms = at_ms;
	uv_timer_start(&c->tick, on_tick, in_ms, 0);
}

static void turn(struct consensus *c)
{
	if (c->phase == CLOSE_ASKED) {
		c->phase = HANDING_OVER;
		if (replica_transfer(c->replica, 0, on_handed_over, c) < 0)
			c->phase = HANDED_OVER;
	}
	if (c->phase == HANDED_OVER)
		close_replica(c);
	if (c->phase == CLOSING)
		return;
	replica_turn(c->replica);
	peers_flush(c->peers);
	arm_tick(c);
}

static void on_tick(uv_timer_t *t)
{
	struct consensus *c = container_of(t, struct consensus, tick);

	replica_tick(c->replica);
}

static void on_prepare(uv_prepare_t *p)
{
	turn(container_of(p, struct consensus, prepare));
}

static void on_check(uv_check_t *p)
{
	turn(container_of(p, struct consensus, check));
}

static int on_frame(void *ctx, uint64_t id, const char *address, struct bytes frame)
{
	struct consensus *c = ctx;

	return c->replica == NULL ? 0 : replica_receive(c->replica, id, address, frame);
}

static void on_connected(void *ctx, uint64_t id)
{
	struct consensus *c = ctx;

	if (c->replica != NULL)
		replica_connected(c->replica, id);
}

static void on_lost(void *ctx, uint64_t id)
{
	struct consensus *c = ctx;

	if (c->replica != NULL)
		replica_lost(c->replica, id);
}

static const struct peers_callbacks peers_callbacks = {
	.frame = on_frame,
	.connected = on_connected,
	.lost = on_lost,
};

/* --- opening ------------------------------------------------------------------------- */

static int open_peers(struct consensus *c, const struct consensus_config *config,
		      struct status *st)
{
	uint32_t election_ms = config->election_ms != 0 ? config->election_ms : 500;
	struct peers_config peers = {
		.loop = config->loop,
		.id = config->id,
		.address = config->address,
		.listen = config->listen,
		.tls = &config->tls,
		.user_timeout_ms = 2 * election_ms,
		.callbacks = &peers_callbacks,
		.ctx = c,
	};

	return peers_open(&peers, &c->peers, st);
}

static int open_replica(struct consensus *c, const struct consensus_config *config,
			struct status *st)
{
	struct replica_config replica = {
		.id = config->id,
		.address = config->address,
		.callbacks = config->callbacks,
		.ctx = config->ctx,
		.election_ms = config->election_ms,
		.heartbeat_ms = config->heartbeat_ms,
		.tick_ms = config->tick_ms,
		.read_timeout_ms = config->read_timeout_ms,
		.segment_bytes = config->segment_bytes,
		.log_bytes = config->log_bytes,
		.trailing_bytes = config->trailing_bytes,
		.ballast_bytes = config->ballast_bytes,
		.low_water_bytes = config->low_water_bytes,
	};

	return replica_open(&replica, &c->host, &c->replica, st);
}

static void on_nothing(void *ctx)
{
	(void)ctx;
}

static int open_failed(struct consensus *c, int rc)
{
	/* Handles need a turn of the loop to go. */
	if (c->disk != NULL)
		disk_thread_stop(c->disk, on_nothing, NULL);
	if (c->peers != NULL)
		peers_close(c->peers, on_nothing, NULL);
	uv_run(c->loop, UV_RUN_NOWAIT);
	wal_fs_close(c->host.fs);
	free(c);
	return rc;
}

int consensus_open(const struct consensus_config *config, struct consensus **ret_c,
		   struct status *st)
{
	struct consensus *c = xcalloc(1, sizeof(*c));
	int rc;

	c->loop = config->loop;
	c->host = (struct replica_host){
		.source = config->source != NULL ? config->source : &system_source,
		.log_open = host_log_open,
		.disk = host_disk,
		.work = host_work,
		.outbox = host_outbox,
		.posted = host_posted,
		.connected = host_connected,
		.members_changed = host_members_changed,
		.wake = host_wake,
		.fatal = host_fatal,
	};
	rc = wal_fs_open(config->dir, &c->host.fs);
	if (rc < 0) {
		status_set(st, rc, "consensus: cannot use directory %s: %s", config->dir,
			   rc == -EBUSY ? "another process does" : strerror(-rc));
		return open_failed(c, rc);
	}
	rc = open_peers(c, config, st);
	if (rc == 0)
		rc = open_replica(c, config, st);
	if (rc < 0)
		return open_failed(c, rc);
	uv_timer_init(c->loop, &c->tick);
	uv_prepare_init(c->loop, &c->prepare);
	uv_check_init(c->loop, &c->check);
	uv_prepare_start(&c->prepare, on_prepare);
	uv_check_start(&c->check, on_check);
	*ret_c = c;
	return 0;
}

/* --- closing: hand over, stop the core, stop the disk, hang up, free ------------------- */

static void all_closed(struct consensus *c)
{
	void (*cb)(void *ctx) = c->close_cb;
	void *ctx = c->close_ctx;

	wal_fs_close(c->host.fs);
	free(c);
	cb(ctx);
}

static void on_handle_closed(uv_handle_t *h)
{
	struct consensus *c = h->data;

	if (--c->closing_handles == 0)
		all_closed(c);
}

static void on_peers_closed(void *ctx)
{
	struct consensus *c = ctx;
	uv_handle_t *handles[] = { (uv_handle_t *)&c->tick, (uv_handle_t *)&c->prepare,
				   (uv_handle_t *)&c->check };

	c->closing_handles = array_size(handles);
	for (size_t i = 0; i < array_size(handles); i++) {
		handles[i]->data = c;
		uv_close(handles[i], on_handle_closed);
	}
}

static void on_disk_stopped(void *ctx)
{
	struct consensus *c = ctx;

	peers_close(c->peers, on_peers_closed, c);
}

static void on_replica_closed(void *ctx)
{
	struct consensus *c = ctx;

	c->replica = NULL;
	disk_thread_stop(c->disk, on_disk_stopped, c);
}

static void close_replica(struct consensus *c)
{
	c->phase = CLOSING;
	uv_timer_stop(&c->tick);
	uv_prepare_stop(&c->prepare);
	uv_check_stop(&c->check);
	peers_flush(c->peers);
	replica_close(c->replica, on_replica_closed, c);
}

void consensus_close(struct consensus *c, void (*cb)(void *ctx), void *ctx)
{
	assert(c->close_cb == NULL);
	c->close_cb = cb;
	c->close_ctx = ctx;
	c->phase = CLOSE_ASKED;
}

/* --- what is passed on --------------------------------------------------------------- */

int consensus_set_tls(struct consensus *c, const struct consensus_tls *tls, struct status *st)
{
	return peers_set_tls(c->peers, tls, st);
}

int consensus_propose(struct consensus *c, void *data, size_t n, consensus_propose_cb cb, void *ctx)
{
	return replica_propose(c->replica, data, n, cb, ctx);
}

int consensus_read_index(struct consensus *c, consensus_read_cb cb, void *ctx)
{
	return replica_read_index(c->replica, cb, ctx);
}

int consensus_send(struct consensus *c, uint64_t to_id, struct bytes message)
{
	return replica_send(c->replica, to_id, message);
}

bool consensus_leader(const struct consensus *c, uint64_t *ret_id, const char **ret_address)
{
	return replica_leader(c->replica, ret_id, ret_address);
}

bool consensus_leading(const struct consensus *c)
{
	return replica_leading(c->replica);
}

int consensus_member_add(struct consensus *c, uint64_t id, const char *address,
			 consensus_change_cb cb, void *ctx)
{
	return replica_member_add(c->replica, id, address, cb, ctx);
}

int consensus_member_assign(struct consensus *c, uint64_t id, enum consensus_member_role role,
			    consensus_change_cb cb, void *ctx)
{
	return replica_member_assign(c->replica, id, role, cb, ctx);
}

int consensus_member_remove(struct consensus *c, uint64_t id, consensus_change_cb cb, void *ctx)
{
	return replica_member_remove(c->replica, id, cb, ctx);
}

int consensus_transfer(struct consensus *c, uint64_t id, consensus_change_cb cb, void *ctx)
{
	return replica_transfer(c->replica, id, cb, ctx);
}

size_t consensus_members(const struct consensus *c, struct consensus_member *ret_members, size_t cap)
{
	return replica_members(c->replica, ret_members, cap);
}

void consensus_stats(const struct consensus *c, struct consensus_stats *ret_stats)
{
	replica_stats(c->replica, ret_stats);
}

size_t consensus_entry_bytes_max(const struct consensus *c)
{
	return replica_entry_max(c->replica);
}

static int with_dir(const char *dir, struct wal_fs **ret_fs, struct status *st)
{
	int rc = wal_fs_open(dir, ret_fs);

	if (rc < 0)
		return status_set(st, rc, "consensus: cannot use directory %s: %s", dir,
				  rc == -EBUSY ? "another process does" : strerror(-rc));
	return 0;
}

int consensus_bootstrap(const char *dir, uint64_t id, const char *address, uint64_t segment_bytes,
			struct status *st)
{
	struct wal_fs *fs;
	int rc = with_dir(dir, &fs, st);

	if (rc < 0)
		return rc;
	rc = replica_bootstrap(fs, segment_bytes, id, address, st);
	wal_fs_close(fs);
	return rc;
}

int consensus_recover(const char *dir, uint64_t id, const char *address, uint64_t segment_bytes,
		      struct status *st)
{
	struct wal_fs *fs;
	int rc = with_dir(dir, &fs, st);

	if (rc < 0)
		return rc;
	rc = replica_recover(fs, segment_bytes, id, address, st);
	wal_fs_close(fs);
	return rc;
}

bool consensus_exists(const char *dir)
{
	autofree char *path = xasprintf("%s/term", dir);

	return access(path, F_OK) == 0;
}
