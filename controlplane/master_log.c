#include "controlplane/master_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "controlplane/trust/bootstrap.h"

#define BOOTSTRAP_RETRY_NS (1000ull * 1000000)

/* --- The log as the layers above see it ------------------------------------------------- */

static int link_propose(void *ctx, void *data, size_t n, log_propose_cb *cb, void *cb_ctx)
{
	struct master *m = ctx;

	if (m->consensus == NULL) {
		free(data);
		return -ESHUTDOWN;
	}
	return consensus_propose(m->consensus, data, n, cb, cb_ctx);
}

struct confirmation {
	log_propose_cb *cb;
	void *ctx;
};

static void on_confirmed(void *ctx, int rc, uint64_t term)
{
	autofree struct confirmation *c = ctx;

	c->cb(c->ctx, rc);
}

static int link_confirm(void *ctx, log_propose_cb *cb, void *cb_ctx)
{
	struct master *m = ctx;
	struct confirmation *c;
	int rc;

	if (m->consensus == NULL || !m->leading)
		return -ESHUTDOWN;
	c = xcalloc(1, sizeof(*c));
	*c = (struct confirmation){ cb, cb_ctx };
	rc = consensus_read_index(m->consensus, on_confirmed, c);
	if (rc < 0)
		free(c);
	return rc;
}

static size_t link_entry_bytes_max(void *ctx)
{
	struct master *m = ctx;

	return m->consensus != NULL ? consensus_entry_bytes_max(m->consensus) : 0;
}

static int link_send(void *ctx, uint64_t to, struct bytes message)
{
	struct master *m = ctx;

	return m->consensus != NULL ? consensus_send(m->consensus, to, message) : -ENOTCONN;
}

static bool link_leading(void *ctx)
{
	return ((struct master *)ctx)->leading;
}

static uint64_t link_leader(void *ctx)
{
	return ((struct master *)ctx)->leader_id;
}

static size_t link_members(void *ctx, uint64_t *ret_ids, size_t cap)
{
	struct master *m = ctx;
	struct consensus_member members[16];
	size_t n = 0;

	if (m->consensus != NULL)
		n = consensus_members(m->consensus, members, 16);
	for (size_t i = 0; i < n && i < cap && i < 16; i++)
		ret_ids[i] = members[i].id;
	return n;
}

struct log_link master_log_link(struct master *m)
{
	return (struct log_link){
		.ctx = m,
		.propose = link_propose,
		.confirm = link_confirm,
		.entry_bytes_max = link_entry_bytes_max,
		.send = link_send,
		.leading = link_leading,
		.leader = link_leader,
		.members = link_members,
	};
}

/* --- From consensus ---------------------------------------------------------------------- */

static void on_apply(void *ctx, uint64_t index, struct bytes entry)
{
	struct master *m = ctx;
	struct status st = { 0 };

	if (writes_apply(m->writes, entry, &st) == 0)
		return;
	log_error("an entry cannot be applied", "index=%llu error=%s", (unsigned long long)index,
		  log_quote(st.message));
	_exit(CONSENSUS_EXIT_BROKEN_PROMISE);
}

void master_tell_nodes(struct master *m)
{
	if (m->nodes != NULL)
		nodes_leader_changed(m->nodes, m->leading, m->term, m->leader_id);
}

static void on_leader_changed(void *ctx, enum consensus_role role, uint64_t term,
			      uint64_t leader_id)
{
	struct master *m = ctx;

	if (leader_id != m->leader_id)
		log_info("leader changed", "term=%llu leader=%016llx", (unsigned long long)term,
			 (unsigned long long)leader_id);
	m->term = term;
	m->leader_id = leader_id;
	rpc_leader_changed(m->rpc, leader_id);
	writes_leader_changed(m->writes);
	master_tell_nodes(m);
}

static void on_bootstrapped(void *ctx, const struct status *st)
{
	struct master *m = ctx;

	m->bootstrapping = false;
	if (st == NULL) {
		log_info("the cluster's first state is written", "");
		return;
	}
	log_warn("the cluster's first state could not be written yet", "error=%s",
		 log_quote(st->message));
	m->bootstrap_retry_ns = system_source.monotonic_ns(&system_source) + BOOTSTRAP_RETRY_NS;
}

void master_bootstrap(struct master *m)
{
	const struct master_config *c = m->config;
	struct status st = { 0 };

	m->bootstrap_retry_ns = 0;
	if (m->bootstrapping || c->bootstrap_dir == NULL || !bootstrap_pending(c->bootstrap_dir))
		return;

	const struct bootstrap_config bootstrap = {
		.dir = c->bootstrap_dir,
		.kek = m->kek,
		.source = &system_source,
		.cluster = &c->cluster,
		.member_id = c->id,
		.name = c->name,
		.raft_address = c->raft_address,
		.rpc_address = c->rpc_address,
		.api_address = c->api_address,
	};

	m->bootstrapping = true;
	if (bootstrap_start(&bootstrap, m->writes, on_bootstrapped, m, &st) < 0)
		on_bootstrapped(m, &st);
	status_fini(&st);
}

static void on_leading(void *ctx, uint64_t term)
{
	struct master *m = ctx;

	log_info("this master leads", "term=%llu revision=%llu", (unsigned long long)term,
		 (unsigned long long)store_revision(m->store));
	m->leading = true;
	m->term = term;
	m->leader_id = m->config->id;
	writes_leading(m->writes);
	master_tell_nodes(m);
	deciding_lead(m->deciding);
	master_bootstrap(m);
}

static void on_lost_leadership(void *ctx)
{
	struct master *m = ctx;

	if (!m->leading)
		return;
	log_info("this master leads no longer", "term=%llu", (unsigned long long)m->term);
	m->leading = false;
	deciding_stop(m->deciding);
	writes_lost_leadership(m->writes);
	master_tell_nodes(m);
}

static void *on_snapshot_begin(void *ctx)
{
	return store_snapshot_take(((struct master *)ctx)->store);
}

static int on_snapshot_write(void *ctx, void *handle, consensus_write_fn write, void *write_ctx)
{
	return store_snapshot_write(handle, write, write_ctx);
}

static void on_snapshot_end(void *ctx, void *handle)
{
	store_snapshot_release(handle);
}

struct snapshot_reader {
	consensus_read_fn read;
	void *ctx;
};

static ssize_t read_snapshot(void *ctx, void *to, size_t n)
{
	struct snapshot_reader *reader = ctx;

	return reader->read(reader->ctx, to, n);
}

static int on_restore(void *ctx, uint64_t index, consensus_read_fn read, void *read_ctx)
{
	struct master *m = ctx;
	struct snapshot_reader reader = { read, read_ctx };
	struct status st = { 0 };
	int rc = store_restore(m->store, read_snapshot, &reader, &st);

	if (rc < 0)
		log_error("a snapshot cannot be restored", "index=%llu error=%s",
			  (unsigned long long)index, log_quote(st.message));
	else
		log_info("snapshot restored", "index=%llu revision=%llu", (unsigned long long)index,
			 (unsigned long long)store_revision(m->store));
	status_fini(&st);
	writes_restored(m->writes);
	return rc;
}

static void on_storage_low(void *ctx, bool low)
{
	struct master *m = ctx;

	if (low)
		log_warn("the disk is almost full: writes are refused", "dir=%s",
			 log_quote(m->config->data_dir));
	else
		log_info("the disk has room again", "dir=%s", log_quote(m->config->data_dir));
	writes_storage_low(m->writes, low);
}

static void on_app_message(void *ctx, uint64_t from_id, struct bytes message)
{
	rpc_received(((struct master *)ctx)->rpc, from_id, message);
}

static void on_members_changed(void *ctx)
{
	struct master *m = ctx;

	if (m->nodes != NULL)
		nodes_members_changed(m->nodes);
}

const struct consensus_callbacks master_consensus_callbacks = {
	.apply = on_apply,
	.leader_changed = on_leader_changed,
	.leading = on_leading,
	.lost_leadership = on_lost_leadership,
	.snapshot_begin = on_snapshot_begin,
	.snapshot_write = on_snapshot_write,
	.snapshot_end = on_snapshot_end,
	.restore = on_restore,
	.storage_low = on_storage_low,
	.app_message = on_app_message,
	.members_changed = on_members_changed,
};
