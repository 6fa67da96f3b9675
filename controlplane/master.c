#include "controlplane/master.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <uv.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/io/address.h"
#include "common/io/loop.h"
#include "common/io/tls.h"
#include "controlplane/apiserver/apiserver.h"
#include "controlplane/consensus/consensus.h"
#include "controlplane/deciding/deciding.h"
#include "controlplane/nodes/nodes.h"
#include "controlplane/renewal.h"
#include "controlplane/trust/bootstrap.h"
#include "controlplane/trust/trust.h"
#include "controlplane/writes/writes.h"

/* One turn of the loop, in a prepare handle, after the callbacks of the poll and
 * before the loop sleeps:
 *
 *   answers of other masters -> reconcile dirty keys -> decide requests and propose
 *   one entry -> wake agents and watchers that something changed for
 *
 * Sends that these cause are put off by common/io to its own prepare handle, which
 * libuv runs after ours because ours was started later. */

#define STOP_MS 10000
#define BOOTSTRAP_RETRY_NS (1000ull * 1000000)

struct master {
	const struct master_config *config;
	uv_loop_t uv;
	struct io_loop loop;
	uv_prepare_t prepare;
	uv_timer_t timer, stop_timer;
	uv_signal_t sigterm, sigint;
	uint64_t timer_ns; /* When timer fires; UINT64_MAX: never. */

	uint8_t kek[TRUST_KEK_BYTES];
	char *ca, *cert, *key;
	struct tls_context *api_tls, *rpc_tls;

	struct log_link link;
	struct store *store;
	struct trust *trust;
	struct rpc *rpc;
	struct writes *writes;
	struct deciding *deciding;
	struct consensus *consensus;
	struct nodes *nodes;
	struct apiserver *api;
	struct renewal renewal;

	uint64_t term, leader_id;
	bool leading, stopping, stopped;
	uint64_t bootstrap_retry_ns; /* 0: not waiting. */
	bool bootstrapping;
};

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

static void tell_nodes(struct master *m)
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
	tell_nodes(m);
}

static void bootstrap_try(struct master *m);

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

static void bootstrap_try(struct master *m)
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
	tell_nodes(m);
	deciding_lead(m->deciding);
	bootstrap_try(m);
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
	tell_nodes(m);
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

static const struct consensus_callbacks consensus_callbacks = {
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

/* --- The turn ------------------------------------------------------------------------------ */

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void on_timer(uv_timer_t *timer)
{
	/* The turn that follows does what is due. */
	((struct master *)timer->data)->timer_ns = UINT64_MAX;
}

static void set_timer(struct master *m, uint64_t deadline_ns, uint64_t now_ns)
{
	uint64_t in_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;

	if (deadline_ns == m->timer_ns && deadline_ns != 0)
		return;
	m->timer_ns = deadline_ns;
	if (deadline_ns == UINT64_MAX)
		uv_timer_stop(&m->timer);
	else
		uv_timer_start(&m->timer, on_timer, (in_ns + 999999) / 1000000, 0);
}

static void on_prepare(uv_prepare_t *prepare)
{
	struct master *m = prepare->data;
	uint64_t deadline_ns, now_ns = system_source.monotonic_ns(&system_source);

	if (m->leading && m->bootstrap_retry_ns != 0 && m->bootstrap_retry_ns <= now_ns)
		bootstrap_try(m);
	rpc_turn(m->rpc);
	deciding_turn(m->deciding);
	writes_turn(m->writes);
	if (m->nodes != NULL)
		nodes_flush(m->nodes);

	deadline_ns = earlier(rpc_deadline_ns(m->rpc), writes_deadline_ns(m->writes));
	deadline_ns = earlier(deadline_ns, deciding_deadline_ns(m->deciding));
	if (m->leading && m->bootstrap_retry_ns != 0)
		deadline_ns = earlier(deadline_ns, m->bootstrap_retry_ns);
	set_timer(m, deadline_ns, now_ns);
}

static void on_silence(void *ctx, const char *node)
{
	deciding_mark(((struct master *)ctx)->deciding, "node-lifecycle-controller", "", node);
}

/* --- Stopping -------------------------------------------------------------------------------- */

static void on_consensus_closed(void *ctx)
{
	struct master *m = ctx;

	m->consensus = NULL;
	apiserver_destroy(m->api);
	m->api = NULL;
	m->stopped = true;
	uv_stop(&m->uv);
}

static void on_nodes_stopped(void *ctx)
{
	struct master *m = ctx;

	m->nodes = NULL;
	consensus_close(m->consensus, on_consensus_closed, m);
}

static void on_api_stopped(void *ctx)
{
	struct master *m = ctx;

	nodes_stop(m->nodes, on_nodes_stopped, m);
}

static void on_handed_over(void *ctx, int rc)
{
	struct master *m = ctx;

	apiserver_stop(m->api, on_api_stopped, m);
}

static void on_stop_timer(uv_timer_t *timer)
{
	log_warn("stopping took too long: exits as it is", "");
	exit(0);
}

static void on_signal(uv_signal_t *handle, int number)
{
	struct master *m = handle->data;
	uint64_t members[2];

	if (m->stopping)
		return;
	renewal_stop(&m->renewal);
	log_info("stopping", "signal=%d leading=%s", number, m->leading ? "true" : "false");
	m->stopping = true;
	uv_timer_start(&m->stop_timer, on_stop_timer, STOP_MS, 0);
	if (m->leading && link_members(m, members, 2) > 1 &&
	    consensus_transfer(m->consensus, 0, on_handed_over, m) == 0)
		return;
	on_handed_over(m, 0);
}

/* --- Starting --------------------------------------------------------------------------------- */

static int read_text(const char *path, char **ret_text, struct status *st)
{
	struct buf b = { 0 };
	int rc = file_read(path, 1 << 20, &b, st);

	if (rc == 0) {
		buf_put_byte(&b, '\0');
		*ret_text = (char *)buf_steal(&b, NULL);
	}
	buf_fini(&b);
	return rc;
}

static int read_files(struct master *m, struct status *st)
{
	const struct master_config *c = m->config;
	int rc = trust_kek_read(c->kek_file, m->kek, st);

	if (rc == 0)
		rc = read_text(c->ca_file, &m->ca, st);
	if (rc == 0)
		rc = read_text(c->cert_file, &m->cert, st);
	if (rc == 0)
		rc = read_text(c->key_file, &m->key, st);
	if (rc == 0)
		rc = dir_make(c->data_dir, 0700, st);
	return rc;
}

/* The API shows the CA too: who joins knows it by its hash. */
static char *chain_of(const struct master *m, const char *cert)
{
	return xasprintf("%s\n%s", cert, m->ca);
}

static int make_tls(struct master *m, struct status *st)
{
	char *chain = chain_of(m, m->cert);
	struct tls_server_config tls = {
		.cert_pem = chain,
		.key_pem = m->key,
		.ca_pem = m->ca,
		.peer = TLS_PEER_OPTIONAL,
		.http2 = true,
	};
	int rc = tls_server_context_create(&tls, &m->api_tls, st);

	if (rc == 0) {
		tls.cert_pem = m->cert;
		tls.peer = TLS_PEER_REQUIRED;
		tls.http2 = false;
		rc = tls_server_context_create(&tls, &m->rpc_tls, st);
	}
	free(chain);
	return rc;
}

static struct consensus_tls tls_of(const struct master *m, const char *cert)
{
	return (struct consensus_tls){
		.ca = bytes_str(m->ca), .cert = bytes_str(cert), .key = bytes_str(m->key)
	};
}

/* New connections show it; those between masters are announced as ending and made anew. */
static void on_renewed(void *ctx, const char *cert)
{
	struct master *m = ctx;
	char *chain = chain_of(m, cert);
	struct consensus_tls tls = tls_of(m, cert);
	struct status st = { 0 };

	if (tls_context_replace(m->api_tls, chain, m->key, &st) < 0 ||
	    tls_context_replace(m->rpc_tls, cert, m->key, &st) < 0 ||
	    consensus_set_tls(m->consensus, &tls, &st) < 0)
		log_error("the new certificate is not taken", "error=%s", log_quote(st.message));
	status_fini(&st);
	free(chain);
}

static int64_t silence_ms(void *ctx, const char *node)
{
	struct master *m = ctx;

	/* Leadership may begin before the node sessions do: nobody has been silent yet. */
	return m->nodes != NULL ? nodes_silence_ms(m->nodes, node) : 0;
}

static void make_parts(struct master *m)
{
	m->link = (struct log_link){
		.ctx = m,
		.propose = link_propose,
		.entry_bytes_max = link_entry_bytes_max,
		.send = link_send,
		.leading = link_leading,
		.leader = link_leader,
		.members = link_members,
	};
	m->store = store_create(&store_limits_default);
	m->trust = trust_create(m->store, m->kek);
	m->rpc = rpc_create(&m->link, &system_source, m->config->id);
	m->writes = writes_create(&(struct writes_config){
		.store = m->store,
		.link = &m->link,
		.rpc = m->rpc,
		.source = &system_source,
		.cluster = &m->config->cluster,
		.trust = m->trust,
		.self = m->config->id,
	});
	m->deciding = deciding_create(&(struct deciding_config){
		.store = m->store,
		.writes = m->writes,
		.source = &system_source,
		.controllers = controllers,
		.scheduler = true,
		.node_silence_ms = silence_ms,
		.node_silence_ctx = m,
	});
}

static int open_consensus(struct master *m, struct status *st)
{
	const struct master_config *c = m->config;
	int rc = 0;

	if (c->bootstrap_dir != NULL && bootstrap_pending(c->bootstrap_dir) &&
	    !consensus_exists(c->data_dir))
		rc = consensus_bootstrap(c->data_dir, c->id, c->raft_address, 0, st);
	if (rc < 0)
		return rc;
	return consensus_open(
		&(struct consensus_config){
			.id = c->id,
			.dir = c->data_dir,
			.address = c->raft_address,
			.listen = c->raft_listen,
			.tls = tls_of(m, m->cert),
			.loop = &m->uv,
			.callbacks = &consensus_callbacks,
			.ctx = m,
		},
		&m->consensus, st);
}

static int start_nodes(struct master *m, struct status *st)
{
	const struct master_config *c = m->config;
	int rc = nodes_start(
		&(struct nodes_config){
			.loop = &m->uv,
			.source = &system_source,
			.store = m->store,
			.writes = m->writes,
			.rpc = m->rpc,
			.consensus = m->consensus,
			.trust = m->trust,
			.cluster = &c->cluster,
			.tls = m->rpc_tls,
			.listen = c->rpc_listen,
			.member_id = c->id,
			.name = c->name,
			.raft_address = c->raft_address,
			.rpc_address = c->rpc_address,
			.api_address = c->api_address,
		},
		&m->nodes, st);

	if (rc < 0)
		return rc;
	nodes_on_silence(m->nodes, on_silence, m);
	nodes_members_changed(m->nodes);
	tell_nodes(m);
	return 0;
}

/* Sockets handed over by who started us (LISTEN_FDS): further addresses of the API. */
static int listen_inherited(struct master *m, struct status *st)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
	int rc = 0;

	if (pid == NULL || fds == NULL || strtol(pid, NULL, 10) != (long)getpid())
		return 0;
	for (int i = 0; i < (int)strtol(fds, NULL, 10) && rc == 0; i++)
		rc = apiserver_listen_fd(m->api, 3 + i, st);
	return rc;
}

static int start_api(struct master *m, struct status *st)
{
	const struct master_config *c = m->config;
	char host[256];
	int port;
	int rc = apiserver_start(
		&(struct apiserver_config){
			.loop = &m->loop,
			.source = &system_source,
			.store = m->store,
			.writes = m->writes,
			.consensus = m->consensus,
			.nodes = m->nodes,
			.rpc = m->rpc,
			.trust = m->trust,
			.cluster = &c->cluster,
			.tls = m->api_tls,
			.address = c->api_address,
		},
		&m->api, st);

	if (rc == 0) {
		rc = address_split(c->api_listen, host, sizeof(host), &port);
		if (rc < 0)
			status_set(st, rc, "api_listen is not ip:port: \"%s\"", c->api_listen);
	}
	if (rc == 0)
		rc = apiserver_listen(m->api, host, port, NULL, st);
	return rc == 0 ? listen_inherited(m, st) : rc;
}

static int start_renewal(struct master *m, struct status *st)
{
	m->renewal = (struct renewal){
		.config = m->config,
		.trust = m->trust,
		.writes = m->writes,
		.key_pem = m->key,
		.renewed = on_renewed,
		.ctx = m,
	};
	return renewal_start(&m->renewal, &m->uv, m->cert, st);
}

static void start_handles(struct master *m)
{
	m->timer_ns = UINT64_MAX;
	uv_timer_init(&m->uv, &m->timer);
	uv_timer_init(&m->uv, &m->stop_timer);
	uv_signal_init(&m->uv, &m->sigterm);
	uv_signal_init(&m->uv, &m->sigint);
	uv_prepare_init(&m->uv, &m->prepare);
	m->timer.data = m->stop_timer.data = m->sigterm.data = m->sigint.data = m;
	m->prepare.data = m;
	uv_signal_start(&m->sigterm, on_signal, SIGTERM);
	uv_signal_start(&m->sigint, on_signal, SIGINT);
	uv_prepare_start(&m->prepare, on_prepare);
}

int master_run(const struct master_config *config, struct status *st)
{
	struct master *m = xcalloc(1, sizeof(*m));
	int rc;

	m->config = config;
	uv_loop_init(&m->uv);
	io_loop_init(&m->loop, &m->uv);
	rc = read_files(m, st);
	if (rc == 0)
		rc = make_tls(m, st);
	if (rc < 0)
		return rc;
	make_parts(m);
	rc = open_consensus(m, st);
	if (rc == 0)
		rc = start_nodes(m, st);
	if (rc == 0)
		rc = start_api(m, st);
	if (rc == 0)
		rc = start_renewal(m, st);
	if (rc < 0)
		return rc; /* The process ends: the kernel cleans up. */
	start_handles(m);
	log_info("started", "id=%016llx name=%s api=%s rpc=%s raft=%s revision=%llu version=%s",
		 (unsigned long long)config->id, config->name, config->api_listen,
		 config->rpc_listen, config->raft_listen,
		 (unsigned long long)store_revision(m->store), SAMPAN_VERSION);
	while (!m->stopped)
		uv_run(&m->uv, UV_RUN_DEFAULT);
	log_info("stopped", "revision=%llu", (unsigned long long)store_revision(m->store));
	return 0;
}
