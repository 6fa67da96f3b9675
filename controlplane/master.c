#include "controlplane/master_internal.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/io/address.h"
#include "controlplane/trust/bootstrap.h"
#include "controlplane/trust/sealing.h"

/* One turn of the loop, in a prepare handle, after the callbacks of the poll and
 * before the loop sleeps:
 *
 *   answers of other masters -> reconcile dirty keys -> decide requests and propose
 *   one entry -> wake agents and watchers that something changed for
 *
 * Sends that these cause are put off by common/io to its own prepare handle, which
 * libuv runs after ours because ours was started later. */

#define STOP_MS 10000

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
		master_bootstrap(m);
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
	deciding_mark(((struct master *)ctx)->deciding, "node-controller", "", node);
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
	if (m->leading && m->link.members(m, members, 2) > 1 &&
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
	return (struct consensus_tls){ .ca = bytes_str(m->ca),
				       .cert = bytes_str(cert),
				       .key = bytes_str(m->key) };
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

static const struct pod_usage *pod_usage(void *ctx, const struct pod_facts *pod)
{
	struct master *m = ctx;

	return m->nodes != NULL ? nodes_pod_usage(m->nodes, pod) : NULL;
}

static struct bytes open_secret(void *ctx, const struct object *o, struct arena *a)
{
	return sealing_open(((struct master *)ctx)->trust, o, a);
}

static void make_parts(struct master *m)
{
	m->link = master_log_link(m);
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
		.pod_usage = pod_usage,
		.pod_usage_ctx = m,
		.open_secret = open_secret,
		.open_secret_ctx = m,
		.zones = m->config->cluster.zones,
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
			.callbacks = &master_consensus_callbacks,
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
	master_tell_nodes(m);
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
