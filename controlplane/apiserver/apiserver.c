#include "controlplane/apiserver/apiserver.h"

#include <assert.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/log.h"
#include "common/io/http_server.h"
#include "controlplane/apiserver/internal.h"
#include "controlplane/apiserver/openapi.h"
#include "controlplane/apiserver/watch.h"

static void on_timer(uv_timer_t *timer)
{
	struct apiserver *api = container_of(timer, struct apiserver, timer);

	api->timer_on = false;
	requests_tick(api);
	watches_tick(api->watches);
	if (!list_empty(&api->revision_waiters))
		apiserver_timer_need(api);
}

void apiserver_timer_need(struct apiserver *api)
{
	if (api->timer_on || api->stopping)
		return;
	api->timer_on = true;
	uv_timer_start(&api->timer, on_timer, 1000, 0);
}

int apiserver_start(const struct apiserver_config *config, struct apiserver **ret_api,
		    struct status *st)
{
	struct apiserver *api = xcalloc(1, sizeof(*api));

	(void)st;
	api->config = *config;
	list_init(&api->requests);
	list_init(&api->barrier_now);
	list_init(&api->barrier_next);
	list_init(&api->revision_waiters);
	uv_timer_init(config->loop->uv, &api->timer);
	api->timer_open = true;
	api->discovery = discovery_create();
	api->openapi = openapi_create();
	api->watches = watches_create(api);
	*ret_api = api;
	return 0;
}

static int listen_on(struct apiserver *api, const struct http_server_config *config, int *ret_port,
		     struct status *st)
{
	struct http_server *server;
	int rc = http_server_create(api->config.loop, config, &server, st);

	if (rc < 0)
		return rc;
	array_grow(api->servers, api->n_servers, api->cap_servers);
	api->servers[api->n_servers++] = server;
	if (ret_port != NULL)
		*ret_port = http_server_port(server);
	log_info("serving the API", "port=%d", http_server_port(server));
	return 0;
}

int apiserver_listen(struct apiserver *api, const char *host, int port, int *ret_port,
		     struct status *st)
{
	struct http_server_config config = {
		.host = host,
		.port = port,
		.tls = api->config.tls,
		.on_request = request_on_exchange,
		.arg = api,
	};

	return listen_on(api, &config, ret_port, st);
}

int apiserver_listen_fd(struct apiserver *api, int fd, struct status *st)
{
	struct http_server_config config = {
		.fd = fd,
		.tls = api->config.tls,
		.on_request = request_on_exchange,
		.arg = api,
	};

	return listen_on(api, &config, NULL, st);
}

/* --- Stopping ------------------------------------------------------------------------ */

/* Called whenever something that stopping waits for has gone. */
void apiserver_stop_step(struct apiserver *api)
{
	if (!api->stopping || api->stopped || api->n_servers_open > 0 || api->n_requests > 0 ||
	    api->barrier_running || api->timer_open)
		return;
	api->stopped = true;
	api->on_stopped(api->on_stopped_ctx);
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct apiserver *api = container_of((uv_timer_t *)handle, struct apiserver, timer);

	api->timer_open = false;
	apiserver_stop_step(api);
}

static void on_server_closed(void *arg)
{
	struct apiserver *api = arg;

	api->n_servers_open--;
	apiserver_stop_step(api);
}

void apiserver_stop(struct apiserver *api, void (*cb)(void *ctx), void *ctx)
{
	assert(!api->stopping);
	api->stopping = true;
	api->on_stopped = cb;
	api->on_stopped_ctx = ctx;
	api->n_servers_open = api->n_servers;
	list_for_each (r, &api->requests, struct request, link)
		if (r->stop != NULL)
			r->stop(r);
	requests_cancel(api);
	for (size_t i = 0; i < api->n_servers; i++)
		http_server_close(api->servers[i], on_server_closed, api);
	uv_close((uv_handle_t *)&api->timer, on_timer_closed);
}

void apiserver_destroy(struct apiserver *api)
{
	if (api == NULL)
		return;
	assert(api->stopped);
	watches_destroy(api->watches);
	openapi_destroy(api->openapi);
	discovery_destroy(api->discovery);
	map_for_each (slot, &api->renewed)
		free(slot->value);
	map_fini(&api->renewed);
	free(api->servers);
	free(api);
}
