/* Get and list.
 *
 * A list takes references to its objects first, all at one revision, and prints
 * them afterwards: a short one at once, a long one in slices as the client takes
 * them. Objects are immutable, so a slow client costs references, not copies, and
 * the list stays one snapshot however long it takes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/pack.h"
#include "common/api/scale.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "controlplane/apiserver/continue_token.h"
#include "controlplane/apiserver/internal.h"
#include "controlplane/apiserver/node_leases.h"

/* Lists whose objects are larger than this are sent in slices. */
#define LIST_AT_ONCE_BYTES ((size_t)256 << 10)
/* A protobuf list is one message with its length in front, so it is built whole. */
#define LIST_PROTOBUF_BYTES_MAX ((size_t)32 << 20)

/* --- get ----------------------------------------------------------------------------- */

static void respond_scale(struct request *r, const struct object *o)
{
	struct rendering rendering = {
		.media = r->media,
		.api_version = "autoscaling/v1",
		.kind = "Scale",
		.descriptor = r->sub->descriptor,
		.now_ns = apiserver_now_ns(r->api),
	};
	struct item item = {
		pack_message_in(&r->arena, scale_from(o->kind, o->packed, o->revision, &r->arena)),
		o->revision,
	};

	respond_item(r, 200, &rendering, &item);
}

static void get_known(struct request *r, int rc)
{
	(void)rc;

	const char *namespace = r->path.namespace != NULL ? r->path.namespace : "";
	const struct object *o =
		store_get(r->api->config.store, r->stored, namespace, r->path.name);

	if (o == NULL) {
		struct status st = { 0 };

		status_not_found(&st, r->kind, r->path.name);
		respond_status(r, &st);
		return;
	}
	if (r->sub != NULL && strcmp(r->sub->name, "scale") == 0) {
		respond_scale(r, o);
		return;
	}

	struct rendering rendering;
	const struct kind *shown = request_rendering(r, &rendering);
	struct item item = item_of(r->api, shown, o, &r->arena);

	node_lease_refresh(r->api, o, &item, &r->arena);
	respond_item(r, 200, &rendering, &item);
}

static void get_ready(struct request *r, int rc)
{
	if (rc < 0)
		respond_unavailable(r, rc);
	else
		node_leases_await(r, get_known);
}

void handle_get(struct request *r)
{
	struct status st = { 0 };
	enum revision_mode mode;
	uint64_t revision;

	r->api->metrics.reads_total++;
	if (revision_parse(r, false, &mode, &revision, &st) < 0) {
		respond_status(r, &st);
		return;
	}
	revision_await(r, mode, revision, get_ready);
}

/* --- list ---------------------------------------------------------------------------- */

struct listing {
	struct request *request;
	struct selection selection;
	enum revision_mode mode;
	uint64_t revision;           /* Asked for, then that of the list. */
	struct continue_token after; /* name NULL: from the beginning. */
	size_t limit;                /* 0: all. */
	struct object **objects;
	size_t n, cap, at;
	size_t bytes;
	bool more; /* The limit has cut it. */
	struct rendering rendering;
	const struct kind *shown; /* Of the rendering. */
	struct buf out;
};

static void listing_free(struct request *r)
{
	struct listing *l = r->data;

	for (size_t i = 0; i < l->n; i++)
		object_unref(l->objects[i]);
	free(l->objects);
	buf_fini(&l->out);
}

static bool listing_take(void *ctx, const struct object *o)
{
	struct listing *l = ctx;

	if (l->limit != 0 && l->n == l->limit) {
		l->more = true;
		return false;
	}
	array_grow(l->objects, l->n, l->cap);
	l->objects[l->n++] = object_ref(o);
	l->bytes += o->packed.len;
	return true;
}

static bool listing_take_matching(void *ctx, const struct object *o)
{
	struct listing *l = ctx;

	return !selection_matches(&l->selection, l->request->api, o) || listing_take(ctx, o);
}

static int listing_collect(struct listing *l, struct status *st)
{
	struct request *r = l->request;
	const struct store *store = r->api->config.store;

	if (l->mode != REVISION_EXACT || l->revision == store_revision(store)) {
		l->revision = store_revision(store);
		selection_walk(&l->selection, r->api, l->after.namespace, l->after.name,
			       listing_take, l);
		return 0;
	}

	int rc = store_walk_at(store, l->revision, l->selection.stored, l->selection.namespace,
			       l->after.namespace, l->after.name, listing_take_matching, l);

	if (rc == 0)
		return 0;
	if (l->after.name != NULL)
		return status_set(st, -EKEYEXPIRED,
				  "The provided continue parameter is too old to display a "
				  "consistent list result. You must start a new list without the "
				  "continue parameter.");
	return status_set(st, -EKEYEXPIRED, "too old resource version: %llu (%llu)",
			  (unsigned long long)l->revision,
			  (unsigned long long)store_history_begin(store));
}

static void listing_put_next(struct listing *l)
{
	struct request *r = l->request;
	const struct object *o = l->objects[l->at];
	auto_with(arena_fini) struct arena scratch = { 0 };

	arena_init(&scratch, 0);

	struct item item = item_of(r->api, l->shown, o, &scratch);

	node_lease_refresh(r->api, o, &item, &scratch);
	render_list_item(&l->out, &l->rendering, &item, l->at == 0);
	object_unref(l->objects[l->at]);
	l->objects[l->at++] = NULL;
	r->api->metrics.objects_listed_total++;
}

static void listing_begin(struct listing *l)
{
	struct list_head head = { .revision = l->revision };

	if (l->more) {
		const struct object *last = l->objects[l->n - 1];
		struct continue_token token = { l->revision, last->namespace, last->name };

		head.continue_token = continue_token_encode(&l->request->arena, &token);
	}
	render_list_begin(&l->out, &l->rendering, &head);
}

/* Write slices until the client has enough to swallow; go on when it has. */
static void listing_send(struct exchange *x)
{
	struct request *r = x->data;
	struct listing *l = r->data;

	while (l->at < l->n) {
		while (l->at < l->n && l->out.len < EXCHANGE_HIGH_BYTES)
			listing_put_next(l);
		if (l->at == l->n)
			render_list_end(&l->out, &l->rendering);
		exchange_write(x, l->out.data, l->out.len);
		buf_clear(&l->out);
		if (l->at < l->n && exchange_pending(x) > EXCHANGE_HIGH_BYTES)
			return;
	}
	request_end(r);
}

/* What was sent is not all: the client must notice. */
static void list_stop(struct request *r)
{
	exchange_abort(r->x);
	r->x = NULL;
	request_end(r);
}

static void list_gone(struct exchange *x)
{
	list_stop(x->data);
}

static void listing_respond(struct listing *l)
{
	struct request *r = l->request;
	bool protobuf = l->rendering.media.format == MEDIA_PROTOBUF;
	const char *content_type = media_content_type(&l->rendering.media, false);

	if (protobuf && l->bytes > LIST_PROTOBUF_BYTES_MAX) {
		respond_error(r, -EFBIG,
			      "the list is larger than %zu bytes: ask for it in pieces, with limit",
			      LIST_PROTOBUF_BYTES_MAX);
		return;
	}
	listing_begin(l);
	if (!protobuf && l->bytes > LIST_AT_ONCE_BYTES) {
		r->api->metrics.requests_total++;
		exchange_begin(r->x, 200, content_type);
		r->x->on_drain = listing_send;
		r->x->on_gone = list_gone;
		r->stop = list_stop;
		listing_send(r->x);
		return;
	}
	while (l->at < l->n)
		listing_put_next(l);
	render_list_end(&l->out, &l->rendering);
	if (protobuf) {
		struct buf wrapped = { 0 };

		render_list_wrap(&wrapped, &l->rendering, buf_bytes(&l->out));
		buf_fini(&l->out);
		l->out = wrapped;
	}
	respond_buf(r, 200, content_type, &l->out);
}

static void list_known(struct request *r, int rc)
{
	struct listing *l = r->data;
	struct status st = { 0 };

	(void)rc;
	if (listing_collect(l, &st) < 0) {
		respond_status(r, &st);
		return;
	}
	l->shown = request_rendering(r, &l->rendering);
	listing_respond(l);
}

static void list_ready(struct request *r, int rc)
{
	if (rc < 0)
		respond_unavailable(r, rc);
	else
		node_leases_await(r, list_known);
}

static int listing_parse(struct request *r, struct listing *l, struct status *st)
{
	const char *token = query_get(&r->query, "continue");
	int64_t limit;
	int rc = selection_parse(r, &l->selection, st);

	if (rc == 0)
		rc = query_int(&r->query, "limit", 0, &limit, st);
	if (rc == 0)
		rc = revision_parse(r, true, &l->mode, &l->revision, st);
	if (rc < 0)
		return rc;
	if (limit < 0)
		return status_set(st, -EBADMSG, "the query parameter limit must not be negative");
	l->limit = (size_t)limit;
	if (token == NULL || *token == 0)
		return 0;
	rc = continue_token_decode(&r->arena, token, &l->after, st);
	l->mode = REVISION_EXACT;
	l->revision = l->after.revision;
	return rc;
}

void handle_list(struct request *r)
{
	struct listing *l = arena_new(&r->arena, struct listing);
	struct status st = { 0 };

	r->api->metrics.reads_total++;
	l->request = r;
	if (listing_parse(r, l, &st) < 0) {
		respond_status(r, &st);
		return;
	}
	r->data = l;
	r->free_data = listing_free;
	revision_await(r, l->mode, l->revision, list_ready);
}
