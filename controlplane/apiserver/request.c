/* A request from its arrival to its handler, and the two ways in which reads wait.
 *
 * Linearizable reads share questions to the leader: while one is under way,
 * further reads gather for the next, so there is never more than one, and no
 * read is answered by a question older than itself. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "controlplane/apiserver/internal.h"
#include "controlplane/apiserver/usage.h"
#include "controlplane/consensus/consensus.h"
#include "controlplane/nodes/nodes.h"

int64_t apiserver_now_ns(const struct apiserver *api)
{
	return api->config.source->wall_ns(api->config.source);
}

/* --- Beginning and end --------------------------------------------------------------- */

static struct request *request_create(struct apiserver *api, struct exchange *x)
{
	struct request *r = xcalloc(1, sizeof(*r));

	r->api = api;
	r->x = x;
	r->media.version = "v1";
	arena_init(&r->arena, 0);
	arena_init(&r->body, BODY_DECODED_MAX);
	list_init(&r->wait_link);
	list_push_back(&api->requests, &r->link);
	api->n_requests++;
	x->data = r;
	return r;
}

static void request_count_in(struct request *r)
{
	r->counted = true;
	r->api->n_in_flight++;
	r->api->metrics.requests_in_flight = r->api->n_in_flight;
}

static void request_count_out(struct request *r)
{
	if (!r->counted)
		return;
	r->counted = false;
	r->api->n_in_flight--;
	r->api->metrics.requests_in_flight = r->api->n_in_flight;
}

void request_end(struct request *r)
{
	if (r->x != NULL) {
		r->x->on_drain = NULL;
		r->x->on_gone = NULL;
		exchange_end(r->x);
	}
	request_count_out(r);
	if (r->free_data != NULL)
		r->free_data(r);
	list_remove(&r->wait_link);
	list_remove(&r->link);
	r->api->n_requests--;
	arena_fini(&r->arena);
	arena_fini(&r->body);

	struct apiserver *api = r->api;

	free(r);
	apiserver_stop_step(api);
}

/* --- Waiting ------------------------------------------------------------------------- */

static void barrier_start(struct apiserver *api);

static void barrier_finish(struct list *waiters, int rc)
{
	while (!list_empty(waiters)) {
		struct request *r = list_first(waiters, struct request, wait_link);

		list_remove(&r->wait_link);
		r->ready(r, rc);
	}
}

static void on_read_index(void *ctx, int rc, uint64_t term)
{
	struct apiserver *api = ctx;
	struct list answered;

	(void)term;
	list_init(&answered);
	while (!list_empty(&api->barrier_now)) {
		struct list *first = api->barrier_now.next;

		list_remove(first);
		list_push_back(&answered, first);
	}
	api->barrier_running = false;
	if (!list_empty(&api->barrier_next) && !api->stopping)
		barrier_start(api);
	barrier_finish(&answered, rc);
	apiserver_stop_step(api);
}

static void barrier_start(struct apiserver *api)
{
	while (!list_empty(&api->barrier_next)) {
		struct list *first = api->barrier_next.next;

		list_remove(first);
		list_push_back(&api->barrier_now, first);
	}

	int rc = consensus_read_index(api->config.consensus, on_read_index, api);

	api->metrics.read_index_total++;
	api->barrier_running = rc == 0;
	if (rc < 0)
		barrier_finish(&api->barrier_now, rc);
}

void request_barrier(struct request *r, void (*ready)(struct request *r, int rc))
{
	r->ready = ready;
	list_push_back(&r->api->barrier_next, &r->wait_link);
	if (!r->api->barrier_running)
		barrier_start(r->api);
}

void request_wait_revision(struct request *r, uint64_t revision,
			   void (*ready)(struct request *r, int rc))
{
	struct apiserver *api = r->api;

	r->wait_revision = revision;
	if (revision <= store_revision(api->config.store)) {
		ready(r, 0);
		return;
	}
	r->ready = ready;
	r->wait_until_ms = io_now_ms(api->config.loop) + LINEARIZABLE_WAIT_MS;
	list_push_back(&api->revision_waiters, &r->wait_link);
	apiserver_timer_need(api);
}

void requests_on_revision(struct apiserver *api)
{
	uint64_t revision = store_revision(api->config.store);

	list_for_each (r, &api->revision_waiters, struct request, wait_link) {
		if (r->wait_revision > revision)
			continue;
		list_remove(&r->wait_link);
		r->ready(r, 0);
	}
}

void requests_cancel(struct apiserver *api)
{
	barrier_finish(&api->barrier_now, -ECANCELED);
	barrier_finish(&api->barrier_next, -ECANCELED);
	barrier_finish(&api->revision_waiters, -ECANCELED);
}

void requests_tick(struct apiserver *api)
{
	uint64_t now_ms = io_now_ms(api->config.loop);

	list_for_each (r, &api->revision_waiters, struct request, wait_link) {
		if (r->wait_until_ms > now_ms)
			continue;
		list_remove(&r->wait_link);
		r->ready(r, -ERANGE);
	}
}

/* --- Finding the handler ------------------------------------------------------------- */

struct verb {
	const char *name;
	unsigned bit;
	void (*handle)(struct request *r);
};

/* clang-format off */
static const struct verb verb_get        = { "get", KIND_GET, handle_get };
static const struct verb verb_list       = { "list", KIND_LIST, handle_list };
static const struct verb verb_watch      = { "watch", KIND_WATCH, handle_watch };
static const struct verb verb_create     = { "create", KIND_CREATE, handle_create };
static const struct verb verb_update     = { "update", KIND_UPDATE, handle_update };
static const struct verb verb_patch      = { "patch", KIND_PATCH, handle_patch };
static const struct verb verb_delete     = { "delete", KIND_DELETE, handle_delete };
static const struct verb verb_delete_all = { "deletecollection", KIND_DELETE_COLLECTION,
					     handle_delete_collection };
/* clang-format on */

static bool is_read(const struct request *r)
{
	return strcmp(r->x->method, "GET") == 0 || strcmp(r->x->method, "HEAD") == 0;
}

/* NULL for methods that mean nothing here. */
static const struct verb *verb_of(const struct request *r, bool watch)
{
	const char *method = r->x->method;
	bool collection = r->path.name == NULL;

	if (is_read(r))
		return !collection ? &verb_get : watch ? &verb_watch : &verb_list;
	if (strcmp(method, "POST") == 0)
		return &verb_create;
	if (strcmp(method, "PUT") == 0)
		return collection ? NULL : &verb_update;
	if (strcmp(method, "PATCH") == 0)
		return collection ? NULL : &verb_patch;
	if (strcmp(method, "DELETE") == 0)
		return collection ? &verb_delete_all : &verb_delete;
	return NULL;
}

static bool is_stream(const struct request *r)
{
	static const char *const names[] = { "log", "exec", "attach", "portforward" };

	for (size_t i = 0; r->sub != NULL && i < array_size(names); i++)
		if (strcmp(r->sub->name, names[i]) == 0)
			return true;
	return false;
}

static void respond_method(struct request *r)
{
	struct status st = { 0 };

	status_set(&st, -ENOTSUP, "%s is not supported on resources of kind \"%s%s%s\"",
		   r->verb != NULL ? r->verb : r->x->method, r->kind->resource,
		   r->sub != NULL ? "/" : "", r->sub != NULL ? r->sub->name : "");
	status_details(&st, *r->kind->group ? r->kind->group : NULL, r->kind->plural, r->path.name);
	respond_status(r, &st);
}

/* The kind and subresource of the path; false (404) for what is not served. */
static bool find_kind(struct request *r)
{
	const struct api_path *p = &r->path;
	const struct kind *kind = kind_lookup(p->group, p->version, p->resource);

	if (kind == NULL || !(kind->flags & KIND_SERVED))
		return false;
	if (!(kind->flags & KIND_NAMESPACED) && p->namespace != NULL)
		return false;
	if ((kind->flags & KIND_NAMESPACED) && p->namespace == NULL && p->name != NULL)
		return false;
	r->kind = kind;
	r->stored = kind_stored(kind);
	if (*p->subresource == 0)
		return true;
	r->sub = kind_subresource(kind, p->subresource);
	return r->sub != NULL && r->sub->served;
}

static int authorize(struct request *r, struct status *st)
{
	const struct api_path *p = &r->path;
	struct user_action action = {
		.verb = r->verb,
		.group = p->group,
		.resource = p->resource,
		.subresource = p->subresource,
		.namespace = p->namespace,
		.name = p->name,
	};

	if (p->type != PATH_RESOURCE)
		action.path = p->text;
	else if (p->namespace == NULL && strcmp(p->resource, "namespaces") == 0)
		action.namespace = p->name;
	return user_authorize(&r->user, &action, st);
}

static int negotiate(struct request *r, bool watch, struct status *st)
{
	unsigned offer = OFFER_PLAIN;

	if (r->path.type == PATH_RESOURCE)
		offer = is_read(r) || r->sub == NULL ? OFFER_VIEWS : OFFER_PLAIN;
	else if (r->path.type == PATH_API_VERSIONS || r->path.type == PATH_API_GROUPS)
		offer = OFFER_DISCOVERY;
	else
		return 0; /* These have one form. */
	(void)watch;
	return media_negotiate(&r->arena, exchange_header(r->x, "accept"), offer, &r->media, st);
}

static void route_resource(struct request *r, bool watch)
{
	const struct verb *verb = verb_of(r, watch);
	struct status st = { 0 };

	r->verb = verb != NULL ? verb->name : NULL;
	if (verb != NULL && authorize(r, &st) < 0) {
		respond_status(r, &st);
		return;
	}
	if (!find_kind(r)) {
		respond_not_found(r);
		return;
	}
	if (verb == NULL || !((r->sub != NULL ? r->sub->verbs : r->kind->verbs) & verb->bit) ||
	    (verb == &verb_create && r->sub == NULL && r->path.name != NULL) ||
	    (verb == &verb_create && (r->kind->flags & KIND_NAMESPACED) &&
	     r->path.namespace == NULL)) {
		respond_method(r);
		return;
	}
	if (is_stream(r)) {
		handle_stream(r);
		return;
	}
	if (negotiate(r, watch, &st) < 0) {
		respond_status(r, &st);
		return;
	}
	if (verb != &verb_watch)
		request_count_in(r);
	if (r->kind->flags & KIND_VIRTUAL || (r->sub != NULL && strcmp(r->sub->name, "token") == 0))
		handle_virtual(r);
	else if (r->kind->flags & KIND_MEASURED)
		handle_usage(r);
	else
		verb->handle(r);
}

static void route_document(struct request *r)
{
	struct status st = { 0 };

	r->verb = is_read(r) ? "get" : strcmp(r->x->method, "POST") == 0 ? "create" : "update";
	if (authorize(r, &st) < 0 || negotiate(r, false, &st) < 0) {
		respond_status(r, &st);
		return;
	}
	if (!is_read(r)) {
		respond_error(r, -ENOTSUP, "%s is not supported on %s", r->x->method, r->path.text);
		return;
	}
	if (r->path.type == PATH_OTHER)
		handle_other(r);
	else
		handle_discovery(r);
}

static int parse(struct request *r, bool *ret_watch, struct status *st)
{
	int rc = path_parse(&r->arena, r->x->path, &r->path, st);

	if (rc == 0)
		rc = query_parse(&r->arena, r->x->query, &r->query, st);
	if (rc == 0)
		rc = query_bool(&r->query, "watch", false, ret_watch, st);
	if (rc < 0)
		return rc;

	int64_t now_s = apiserver_now_ns(r->api) / 1000000000;

	return user_authenticate(r->x, r->api->config.trust, now_s, &r->arena, &r->user, st);
}

void request_on_exchange(struct exchange *x, void *arg)
{
	struct apiserver *api = arg;
	struct status st = { 0 };
	bool watch = false;

	/* Agents, joining machines and operators: they bring their own credentials. */
	if (strncmp(x->path, "/sampan/", 8) == 0 && api->config.nodes != NULL) {
		nodes_http(api->config.nodes, x);
		return;
	}

	struct request *r = request_create(api, x);

	if (parse(r, &watch, &st) < 0) {
		respond_status(r, &st);
		return;
	}
	if (api->stopping) {
		respond_error(r, -ESHUTDOWN, "this master is shutting down");
		return;
	}
	if (api->n_in_flight >= REQUESTS_IN_FLIGHT_MAX) {
		api->metrics.requests_refused_total++;
		respond_error(r, -EAGAIN, "too many requests are in flight (%d), please try again",
			      REQUESTS_IN_FLIGHT_MAX);
		return;
	}
	if (r->path.type == PATH_RESOURCE)
		route_resource(r, watch);
	else
		route_document(r);
}
