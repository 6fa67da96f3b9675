#include "proxy/proxy.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/io/loop.h"
#include "proxy/beliefs.h"
#include "proxy/dns/server.h"
#include "proxy/feed/feed.h"
#include "proxy/ingress/ingress.h"
#include "proxy/policies/policies.h"
#include "proxy/routes/routes.h"
#include "proxy/services/plan.h"
#include "proxy/services/services.h"
#include "proxy/snapshot.h"

#define RETRY_MS 2000
#define CHECK_MS 30000
#define CHECK_INGRESS_MS 1000
#define PEM_BYTES_MAX (256u << 10)
#define DNS_PORT 53

struct proxy {
	const struct proxy_options *options;
	const struct proxy_config *config;
	uv_loop_t uv;
	struct io_loop loop;
	struct world world;
	struct services *services;
	struct dns_server *dns;
	struct ingress_proxy *ingress; /* NULL: not here. */
	struct policies_proxy *policies;
	struct feed *feed;
	uv_timer_t retry, check, check_ingress;
	uv_signal_t signals[4];
	struct timespec cert_mtime;
	bool was_synced, execute_anew;
};

/* --- Doing ------------------------------------------------------------------ */

static void on_retry(uv_timer_t *timer);

static void act(struct proxy *p)
{
	auto_with(status_fini) struct status st = { 0 };
	bool failed = false;

	if (services_sync(p->services, &st) < 0) {
		log_error("cannot write Services", "error=%s", log_quote(st.message));
		failed = true;
	}
	if (p->world.synced && p->world.nodes_dirty) {
		p->world.nodes_dirty = routes_sync(&p->world, p->config->node) < 0;
		failed |= p->world.nodes_dirty;
	}
	policies_proxy_sync(p->policies);
	if (p->ingress != NULL)
		ingress_proxy_sync(p->ingress);
	if (p->world.synced && !p->was_synced)
		log_info("knows everything", "services=%zu nodes=%zu", p->world.services.count,
			 p->world.nodes.count);
	p->was_synced = p->world.synced;
	if (failed)
		uv_timer_start(&p->retry, on_retry, RETRY_MS, 0);
}

static void on_retry(uv_timer_t *timer)
{
	act(container_of(timer, struct proxy, retry));
}

static void on_change(void *arg)
{
	act(arg);
}

static void read_snapshot(struct proxy *p)
{
	auto_with(status_fini) struct status st = { 0 };

	if (snapshot_read(&p->world, p->options->snapshot, &st) < 0)
		log_error("cannot use the snapshot", "error=%s", log_quote(st.message));
	else
		act(p);
}

/* --- Certificates and masters ------------------------------------------------ */

static int read_pem(const char *path, struct buf *to, struct status *st)
{
	int rc = file_read(path, PEM_BYTES_MAX, to, st);

	if (rc == 0)
		buf_cstr(to);
	return rc;
}

static struct timespec mtime_of(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? st.st_mtim : (struct timespec){ 0 };
}

/* There is no replacing a certificate under open connections: begin anew with it. */
static void check_certificate(struct proxy *p)
{
	struct timespec now = mtime_of(p->config->cert_file);

	if (now.tv_sec == 0 ||
	    (now.tv_sec == p->cert_mtime.tv_sec && now.tv_nsec == p->cert_mtime.tv_nsec))
		return;
	log_info("the certificate was renewed, starting anew", "");
	p->execute_anew = true;
	uv_stop(&p->uv);
}

static char *masters_path(const struct proxy *p)
{
	return p->config->dir != NULL ? xasprintf("%s/masters", p->config->dir) : NULL;
}

static void on_masters(void *arg, const char *const *masters)
{
	struct proxy *p = arg;
	autofree char *path = masters_path(p);
	auto_with(buf_fini) struct buf text = { 0 };
	auto_with(status_fini) struct status st = { 0 };

	for (size_t i = 0; masters[i] != NULL; i++)
		buf_printf(&text, "%s\n", masters[i]);
	log_info("the masters changed", "masters=%s", log_quote(buf_cstr(&text)));
	if (path != NULL && file_write(path, 0600, text.data, text.len, &st) < 0)
		log_warn("cannot remember the masters", "error=%s", log_quote(st.message));
}

/* Those of the configuration and those learned since: the former may all have moved. */
static size_t collect_masters(const struct proxy *p, struct buf *file, const char **list,
			      size_t max)
{
	autofree char *path = masters_path(p);
	size_t n = 0;

	while (p->config->masters[n] != NULL && n < max - 1) {
		list[n] = p->config->masters[n];
		n++;
	}
	if (path != NULL && file_read(path, PEM_BYTES_MAX, file, NULL) == 0) {
		buf_cstr(file);
		for (char *save, *line = strtok_r((char *)file->data, "\n", &save);
		     line != NULL && n < max - 1; line = strtok_r(NULL, "\n", &save))
			list[n++] = line;
	}
	list[n] = NULL;
	return n;
}

static int start_feed(struct proxy *p, struct status *st)
{
	auto_with(buf_fini) struct buf ca = { 0 }, cert = { 0 }, key = { 0 }, file = { 0 };
	const char *masters[FEED_MASTERS_MAX + 1];
	int rc = read_pem(p->config->ca_file, &ca, st);

	if (rc == 0)
		rc = read_pem(p->config->cert_file, &cert, st);
	if (rc == 0)
		rc = read_pem(p->config->key_file, &key, st);
	if (rc < 0)
		return rc;
	p->cert_mtime = mtime_of(p->config->cert_file);
	collect_masters(p, &file, masters, sizeof(masters) / sizeof(masters[0]));
	struct feed_config config = {
		.ca_pem = buf_cstr(&ca),
		.cert_pem = buf_cstr(&cert),
		.key_pem = buf_cstr(&key),
		.masters = masters,
		.on_change = on_change,
		.on_masters = on_masters,
		.arg = p,
	};

	return feed_create(&p->loop, &config, &p->world, &p->feed, st);
}

/* --- Starting ---------------------------------------------------------------- */

static int start_services(struct proxy *p, struct status *st)
{
	const struct proxy_config *c = p->config;
	auto_with(status_fini) struct status route = { 0 };
	struct services_config config = {
		.node = c->node,
		.pod_cidr = c->pod_cidr,
		.service_cidr = c->service_cidr,
		.dns_address = c->dns_address,
		.dns_listen = c->dns_listen,
	};

	/* Only nodes without a default route need it. */
	if (c->service_cidr != NULL && c->node_address != NULL &&
	    routes_set_service_range(c->service_cidr, c->node_address, &route) < 0)
		log_warn("no route to Services of our own", "error=%s", log_quote(route.message));
	return services_create(&config, &p->world, &p->services, st);
}

static int start_dns(struct proxy *p, struct status *st)
{
	const struct proxy_config *c = p->config;
	struct dns_config config = {
		.listen = c->dns_listen,
		.port = DNS_PORT,
		.names = { .world = &p->world, .zone = c->cluster_domain },
		.upstreams = c->dns_upstreams[0] != NULL ? c->dns_upstreams : NULL,
		.resolv_conf = c->resolv_conf,
	};
	int rc;

	ip_parse(c->dns_address, &config.names.address);
	cidr_parse(c->service_cidr, &config.names.service_base, &config.names.service_mask);
	cidr_parse(c->pod_cidr, &config.names.pod_base, &config.names.pod_mask);
	rc = routes_add_loopback_address(c->dns_listen, st);
	return rc < 0 ? rc : dns_server_create(&p->uv, &config, &p->dns, st);
}

static void print_beliefs(struct proxy *p, struct buf *to)
{
	const struct dns_counters *dns = dns_server_counters(p->dns);

	if (p->feed != NULL)
		buf_printf(to, "master=%s revision=%llu\n", feed_master(p->feed),
			   (unsigned long long)feed_revision(p->feed));
	buf_printf(to, "dns queries=%llu answered=%llu forwarded=%llu failed=%llu dropped=%llu\n",
		   (unsigned long long)dns->queries, (unsigned long long)dns->answered,
		   (unsigned long long)dns->forwarded, (unsigned long long)dns->failed,
		   (unsigned long long)dns->dropped);
	beliefs_print(to, &p->world, p->config->node);
	services_dump(p->services, to);
}

static void write_beliefs(struct proxy *p)
{
	auto_with(buf_fini) struct buf text = { 0 };
	auto_with(status_fini) struct status st = { 0 };

	if (p->config->dir == NULL)
		return;
	autofree char *path = xasprintf("%s/beliefs", p->config->dir);

	print_beliefs(p, &text);
	if (file_write(path, 0600, text.data, text.len, &st) < 0)
		log_warn("cannot write what we believe", "error=%s", log_quote(st.message));
}

static void on_signal(uv_signal_t *handle, int number)
{
	struct proxy *p = handle->data;

	if (number == SIGHUP && p->options->snapshot != NULL)
		read_snapshot(p);
	else if (number == SIGUSR1)
		write_beliefs(p);
	else if (number == SIGTERM || number == SIGINT)
		uv_stop(&p->uv);
}

static void on_check(uv_timer_t *timer)
{
	struct proxy *p = container_of(timer, struct proxy, check);

	services_check(p->services);
	if (p->feed != NULL)
		check_certificate(p);
}

static void on_check_ingress(uv_timer_t *timer)
{
	ingress_proxy_check(container_of(timer, struct proxy, check_ingress)->ingress);
}

static void start_ingress(struct proxy *p)
{
	autofree char *dir = NULL;

	if (!p->config->ingress)
		return;
	dir = xasprintf("%s/ingress", p->config->dir);

	struct ingress_settings settings = {
		.dir = dir,
		.http_port = p->config->ingress_http,
		.https_port = p->config->ingress_https,
	};

	p->world.with_ingress = true;
	p->ingress = ingress_proxy_create(&p->uv, &settings, &p->world);
	uv_timer_start(&p->check_ingress, on_check_ingress, CHECK_INGRESS_MS, CHECK_INGRESS_MS);
}

static void start_handles(struct proxy *p)
{
	static const int numbers[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1 };

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		uv_signal_init(&p->uv, &p->signals[i]);
		p->signals[i].data = p;
		uv_signal_start(&p->signals[i], on_signal, numbers[i]);
	}
	uv_timer_init(&p->uv, &p->retry);
	uv_timer_init(&p->uv, &p->check);
	uv_timer_init(&p->uv, &p->check_ingress);
	uv_timer_start(&p->check, on_check, CHECK_MS, CHECK_MS);
}

static int start(struct proxy *p, struct status *st)
{
	int rc = start_services(p, st);

	if (rc == 0)
		rc = start_dns(p, st);
	if (rc == 0)
		start_ingress(p);
	if (rc == 0 && p->options->snapshot == NULL)
		rc = start_feed(p, st);
	if (rc == 0 && p->options->snapshot != NULL)
		read_snapshot(p);
	return rc;
}

static void close_handles(struct proxy *p)
{
	for (size_t i = 0; i < sizeof(p->signals) / sizeof(p->signals[0]); i++)
		uv_close((uv_handle_t *)&p->signals[i], NULL);
	uv_close((uv_handle_t *)&p->retry, NULL);
	uv_close((uv_handle_t *)&p->check, NULL);
	uv_close((uv_handle_t *)&p->check_ingress, NULL);
	ingress_proxy_close(p->ingress);
	policies_proxy_close(p->policies);
	if (p->dns != NULL)
		dns_server_close(p->dns, NULL, NULL);
	if (p->feed != NULL)
		feed_close(p->feed, NULL, NULL);
	io_loop_fini(&p->loop);
	uv_run(&p->uv, UV_RUN_DEFAULT);
	uv_loop_close(&p->uv);
	services_destroy(p->services);
	world_fini(&p->world);
}

int proxy_run(const struct proxy_options *options, struct status *st)
{
	struct proxy *p = xcalloc(1, sizeof(*p));
	int rc;

	p->options = options;
	p->config = options->config;
	uv_loop_init(&p->uv);
	io_loop_init(&p->loop, &p->uv);
	world_init(&p->world);
	/* A snapshot holds everything there is. */
	p->world.with_pods = options->snapshot != NULL;
	p->policies = policies_proxy_create(&p->uv, p->config->node, &p->world);
	start_handles(p);
	rc = start(p, st);
	if (rc == 0) {
		log_info("running", "node=%s dns=%s", log_quote(p->config->node),
			 p->config->dns_listen);
		uv_run(&p->uv, UV_RUN_DEFAULT);
		log_info("ending", "");
	}
	bool anew = p->execute_anew;

	close_handles(p);
	free(p);
	if (anew) {
		execv("/proc/self/exe", options->argv);
		rc = status_set(st, -errno, "cannot execute ourselves anew: %s", strerror(errno));
	}
	return rc;
}

/* --- Only looking ------------------------------------------------------------ */

static bool nothing_there(void *arg, const struct element *key, uint64_t *ret_value)
{
	return false;
}

int proxy_dump_snapshot(const struct proxy_config *config, const char *snapshot, struct buf *to,
			struct status *st)
{
	struct plan_context ctx = { .node = config->node, .lookup = nothing_there };
	auto_with(elements_fini) struct elements all = { 0 };
	struct world w;
	int rc;

	world_init(&w);
	rc = snapshot_read(&w, snapshot, st);
	tree_for_each (s, &w.services, struct service, node)
		plan_service(s, &ctx, &all);
	if (rc == 0) {
		beliefs_print(to, &w, config->node);
		for (size_t i = 0; i < all.n; i++) {
			element_print(to, &all.items[i]);
			buf_put_byte(to, '\n');
		}
	}
	world_fini(&w);
	return rc;
}
