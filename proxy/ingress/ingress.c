/*   IDLE --(the world changed)--> RUNNING commands, or LOADING a configuration --> IDLE
 *                                        |  refused or silent: LOADING
 *                                        v
 *   WAITING a while after a failed LOADING, then LOADING again
 *
 * What changes while commands or a load are under way is looked at when they end. */
#include "proxy/ingress/ingress.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/io/pki.h"
#include "proxy/ingress/config.h"
#include "proxy/ingress/haproxy.h"
#include "proxy/ingress/runtime.h"

#define RETRY_MS 5000
#define THREADS_MAX 4
#define CONNECTIONS_MAX 20000
#define CERTIFICATE_YEARS 10

enum state { STATE_IDLE, STATE_RUNNING, STATE_LOADING, STATE_WAITING };

struct ingress_proxy {
	uv_loop_t *loop;
	struct world *world;
	struct config_settings settings;
	char *dir;
	struct haproxy *haproxy;
	struct running running;
	struct runtime_run *run;
	enum state state;
	uv_timer_t retry;
	bool dirty, must_load;
	struct ingress_counters counters;
};

static void act(struct ingress_proxy *p);

/* --- Files ------------------------------------------------------------------------------- */

static int write_file(struct ingress_proxy *p, const char *name, const struct buf *text,
		      struct status *st)
{
	autofree char *path = xasprintf("%s/%s", p->dir, name);

	return file_write(path, 0600, text->data, text->len, st);
}

/* For hosts without a certificate of their own. */
static int write_default_certificate(struct ingress_proxy *p, struct status *st)
{
	autofree char *path = xasprintf("%s/default.pem", p->dir);
	autofree char *key = NULL, *cert = NULL;
	auto_with(buf_fini) struct buf pem = { 0 };
	int64_t now_s = (int64_t)time(NULL);
	int rc;

	if (access(path, R_OK) == 0)
		return 0;
	rc = pki_key_create(&key, st);
	if (rc == 0)
		rc = pki_ca_create(key, "sampan ingress default certificate", now_s - 3600,
				   now_s + CERTIFICATE_YEARS * INT64_C(365 * 24 * 3600), &cert, st);
	if (rc < 0)
		return rc;
	buf_printf(&pem, "%s%s", cert, key);
	return write_file(p, "default.pem", &pem, st);
}

static int write_certificates(struct ingress_proxy *p, struct status *st)
{
	auto_with(buf_fini) struct buf list = { 0 };
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < p->running.n_certificates; i++) {
		const struct running_certificate *c = &p->running.certificates[i];
		autofree char *name = xasprintf("certs/%s.pem", c->name);

		rc = write_file(p, name, &c->pem, st);
	}
	config_print_list(&list, &p->running, p->dir);
	return rc < 0 ? rc : write_file(p, "certs.list", &list, st);
}

static int write_maps(struct ingress_proxy *p, struct status *st)
{
	int rc = 0;

	for (int map = 0; rc == 0 && map < MAPS; map++) {
		auto_with(buf_fini) struct buf text = { 0 };

		config_print_map(&text, &p->running, map);
		rc = write_file(p, running_map_name(map), &text, st);
	}
	return rc;
}

static int write_all(struct ingress_proxy *p, struct status *st)
{
	autofree char *certs = xasprintf("%s/certs", p->dir);
	auto_with(buf_fini) struct buf config = { 0 };
	int rc = dir_make(p->dir, 0700, st);

	if (rc == 0)
		rc = dir_make(certs, 0700, st);
	if (rc == 0)
		rc = write_default_certificate(p, st);
	if (rc == 0)
		rc = write_certificates(p, st);
	if (rc == 0)
		rc = write_maps(p, st);
	config_print(&config, &p->running, &p->settings);
	return rc < 0 ? rc : write_file(p, "haproxy.cfg", &config, st);
}

/* --- Loading -------------------------------------------------------------------------------- */

static void on_retry(uv_timer_t *timer)
{
	struct ingress_proxy *p = timer->data;

	p->state = STATE_IDLE;
	act(p);
}

static void wait_then_load(struct ingress_proxy *p, const struct status *st)
{
	log_error("Ingress is not as wanted", "error=%s", log_quote(st->message));
	p->counters.failures++;
	p->must_load = true;
	p->state = STATE_WAITING;
	uv_timer_start(&p->retry, on_retry, RETRY_MS, 0);
}

static void on_loaded(void *arg, int rc, const struct status *st)
{
	struct ingress_proxy *p = arg;

	if (rc < 0) {
		wait_then_load(p, st);
		return;
	}
	log_info("HAProxy is loaded", "routes=%zu backends=%zu certificates=%zu",
		 p->counters.routes, p->counters.backends, p->counters.certificates);
	p->state = STATE_IDLE;
	act(p);
}

static void load(struct ingress_proxy *p, const struct model *m)
{
	auto_with(status_fini) struct status st = { 0 };
	int rc = 0;

	p->must_load = false;
	running_rebuild(&p->running, m);
	if (p->haproxy == NULL)
		rc = haproxy_create(p->loop, p->dir, &p->haproxy, &st);
	if (rc == 0)
		rc = write_all(p, &st);
	if (rc < 0) {
		wait_then_load(p, &st);
		return;
	}
	p->counters.reloads++;
	p->state = STATE_LOADING;
	haproxy_load(p->haproxy, on_loaded, p);
}

/* --- Commands --------------------------------------------------------------------------------- */

static void on_run(void *arg, int rc, const struct status *st)
{
	struct ingress_proxy *p = arg;

	p->run = NULL;
	p->state = STATE_IDLE;
	if (rc < 0) {
		log_warn("HAProxy is loaded anew", "why=%s", log_quote(st->message));
		p->counters.failures++;
		p->must_load = p->dirty = true;
	}
	act(p);
}

static void follow(struct ingress_proxy *p, const struct model *m)
{
	auto_with(commands_fini) struct commands commands = { 0 };
	autofree char *socket = xasprintf("%s/socket", p->dir);

	if (p->must_load || !running_follow(&p->running, m, p->dir, &commands)) {
		load(p, m);
		return;
	}
	if (commands.n == 0)
		return;
	p->counters.commands += commands.n;
	p->state = STATE_RUNNING;
	p->run = runtime_start(p->loop, socket, &commands, on_run, p);
}

static bool is_needed(const struct ingress_proxy *p, const struct model *m)
{
	return p->haproxy != NULL || m->n_exact + m->n_prefix > 0 || m->otherwise != NULL;
}

static void act(struct ingress_proxy *p)
{
	auto_with(model_fini) struct model m = { 0 };

	if (p->state != STATE_IDLE || !p->world->synced || !(p->dirty || p->world->ingress_dirty))
		return;
	p->dirty = p->world->ingress_dirty = false;
	model_build(&m, p->world);
	p->counters.routes = m.n_exact + m.n_prefix + (m.otherwise != NULL);
	p->counters.backends = m.n_backends;
	p->counters.certificates = m.n_certificates;
	if (is_needed(p, &m))
		follow(p, &m);
}

/* --- Life
 * ----------------------------------------------------------------------------------------- */

static unsigned connections_max(void)
{
	struct rlimit limit = { 0 };

	/* Two descriptors a connection, and some for itself. */
	getrlimit(RLIMIT_NOFILE, &limit);
	rlim_t n = limit.rlim_max / 2 > 300 ? limit.rlim_max / 2 - 200 : 100;

	return n > CONNECTIONS_MAX ? CONNECTIONS_MAX : (unsigned)n;
}

struct ingress_proxy *ingress_proxy_create(uv_loop_t *loop, const struct ingress_settings *settings,
					   struct world *world)
{
	struct ingress_proxy *p = xcalloc(1, sizeof(*p));
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	p->loop = loop;
	p->world = world;
	p->dir = xstrdup(settings->dir);
	p->must_load = true;
	p->settings = (struct config_settings){
		.dir = p->dir,
		.http_port = settings->http_port,
		.https_port = settings->https_port,
		.ipv6 = access("/proc/net/if_inet6", F_OK) == 0,
		.threads = cpus < 1             ? 1
			   : cpus > THREADS_MAX ? THREADS_MAX
						: (unsigned)cpus,
		.connections_max = connections_max(),
		.user = getpwnam("haproxy") != NULL,
	};
	uv_timer_init(loop, &p->retry);
	p->retry.data = p;
	return p;
}

void ingress_proxy_sync(struct ingress_proxy *p)
{
	act(p);
}

void ingress_proxy_check(struct ingress_proxy *p)
{
	if (p->haproxy == NULL || p->state != STATE_IDLE || haproxy_is_alive(p->haproxy))
		return;
	log_warn("HAProxy died", "");
	p->must_load = p->dirty = true;
	act(p);
}

static void on_retry_closed(uv_handle_t *handle)
{
	struct ingress_proxy *p = handle->data;

	running_fini(&p->running);
	free(p->dir);
	free(p);
}

void ingress_proxy_close(struct ingress_proxy *p)
{
	if (p == NULL)
		return;
	if (p->run != NULL)
		runtime_abandon(p->run);
	haproxy_close(p->haproxy);
	uv_close((uv_handle_t *)&p->retry, on_retry_closed);
}

const struct ingress_counters *ingress_proxy_counters(const struct ingress_proxy *p)
{
	return &p->counters;
}
