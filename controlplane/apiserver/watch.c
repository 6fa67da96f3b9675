/* A watcher reads the store's history; it has no queue of its own.
 *
 *   INITIAL ----> BEHIND <----> LIVE          any ----> ended
 *
 * INITIAL sends the objects there are, from references taken when it began, as
 * fast as the client takes them. BEHIND reads the history from the last revision
 * sent, likewise. LIVE has nothing left to read: once per turn all changes are
 * encoded once per encoding and written to every live watcher that selects them.
 * A client that is slow falls BEHIND and costs its position only; when the history
 * no longer reaches back to it, it gets 410 and lists again. */
#include "controlplane/apiserver/watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "controlplane/apiserver/internal.h"

#define WATCHERS_MAX 20000
#define BOOKMARK_MS 60000
#define WATCH_DEFAULT_S 1800 /* And up to twice that. */
#define ENCODINGS_MAX 32

enum watcher_state { WATCHER_INITIAL, WATCHER_BEHIND, WATCHER_LIVE };

struct watcher {
	struct request *request;
	struct list link; /* Among the watchers of the stored kind. */
	enum watcher_state state;
	struct selection selection;
	struct rendering rendering;
	const struct kind *shown;
	uint64_t revision; /* Everything up to here has been sent. */
	bool from_now, initial, initial_bookmark, bookmarks, columns_sent;
	uint64_t deadline_ms, bookmark_ms;
	struct object **objects; /* INITIAL */
	size_t n, cap, at;
};

/* One event in one form; made on demand and kept while one change is handed out. */
struct encoding {
	const struct kind *shown;
	struct rendering rendering;
	const char *type;
	bool with_columns;
	struct buf bytes;
};

struct watches {
	struct apiserver *api;
	struct list *by_kind; /* One list per row of the table of kinds. */
	struct store_listener listener;
	struct io_later flush;
	uint64_t flushed; /* Live watchers know everything up to here. */
	size_t count;
	struct encoding encodings[ENCODINGS_MAX];
	size_t n_encodings;
};

static void watcher_pump(struct watcher *w);

/* --- Events -------------------------------------------------------------------------- */

static bool same_rendering(const struct rendering *a, const struct rendering *b)
{
	return a->media.format == b->media.format && a->media.view == b->media.view &&
	       a->include == b->include && strcmp(a->media.version, b->media.version) == 0;
}

static const struct encoding *encoding_find(const struct watches *ws, const struct watcher *w,
					    const char *type, bool with_columns)
{
	for (size_t i = 0; i < ws->n_encodings; i++) {
		const struct encoding *e = &ws->encodings[i];

		if (e->shown == w->shown && e->type == type && e->with_columns == with_columns &&
		    same_rendering(&e->rendering, &w->rendering))
			return e;
	}
	return NULL;
}

static void encode(struct watches *ws, const struct watcher *w, const char *type, bool with_columns,
		   const struct object *o, uint64_t revision, struct buf *out)
{
	auto_with(arena_fini) struct arena scratch = { 0 };

	arena_init(&scratch, 0);

	struct item item = item_of(ws->api, w->shown, o, &scratch);

	item.revision = revision;
	render_event(out, &w->rendering, type, &item, with_columns);
	ws->api->metrics.watch_events_encoded_total++;
}

static void send_event(struct watcher *w, const char *type, const struct object *o,
		       uint64_t revision)
{
	struct watches *ws = w->request->api->watches;
	bool with_columns = w->rendering.media.view == MEDIA_TABLE && !w->columns_sent;
	const struct encoding *known = encoding_find(ws, w, type, with_columns);

	w->columns_sent = true;
	ws->api->metrics.watch_events_sent_total++;
	if (known != NULL) {
		exchange_write(w->request->x, known->bytes.data, known->bytes.len);
		return;
	}

	struct buf fresh = { 0 };

	encode(ws, w, type, with_columns, o, revision, &fresh);
	exchange_write(w->request->x, fresh.data, fresh.len);
	/* Only changes that are handed out to many are worth keeping. */
	if (w->state == WATCHER_LIVE && ws->n_encodings < ENCODINGS_MAX)
		ws->encodings[ws->n_encodings++] =
			(struct encoding){ w->shown, w->rendering, type, with_columns, fresh };
	else
		buf_fini(&fresh);
}

static void encodings_clear(struct watches *ws)
{
	for (size_t i = 0; i < ws->n_encodings; i++)
		buf_fini(&ws->encodings[i].bytes);
	ws->n_encodings = 0;
}

/* What a change means to a watcher: an object may enter or leave what is selected. */
static void send_change(struct watcher *w, const struct change *c)
{
	struct apiserver *api = w->request->api;
	bool before = c->old != NULL && selection_matches(&w->selection, api, c->old);
	bool after = c->new != NULL &&selection_matches(&w->selection, api, c->new);

	w->revision = c->revision;
	if (after)
		send_event(w, before ? "MODIFIED" : "ADDED", c->new, c->revision);
	else if (before)
		send_event(w, "DELETED", c->old, c->revision);
}

static void send_error(struct watcher *w, struct status *st)
{
	struct request *r = w->request;
	struct buf out = { 0 };

	render_event_status(&out, w->rendering.media.format, status_pack(&r->arena, st));
	exchange_write(r->x, out.data, out.len);
	buf_fini(&out);
	status_fini(st);
}

static void watcher_expire(struct watcher *w)
{
	struct request *r = w->request;
	struct status st = { 0 };

	status_set(&st, -EKEYEXPIRED, "too old resource version: %llu (%llu)",
		   (unsigned long long)w->revision,
		   (unsigned long long)store_history_begin(r->api->config.store));
	send_error(w, &st);
	r->api->metrics.watches_expired_total++;
	request_end(r);
}

static void send_bookmark(struct watcher *w, bool initial)
{
	struct buf out = { 0 };

	render_bookmark(&out, &w->rendering, w->revision, initial);
	exchange_write(w->request->x, out.data, out.len);
	buf_fini(&out);
}

/* --- Catching up --------------------------------------------------------------------- */

static bool is_full(const struct watcher *w)
{
	return exchange_pending(w->request->x) > EXCHANGE_HIGH_BYTES;
}

static void pump_initial(struct watcher *w)
{
	while (w->at < w->n && !is_full(w)) {
		struct object *o = w->objects[w->at];

		send_event(w, "ADDED", o, o->revision);
		object_unref(o);
		w->objects[w->at++] = NULL;
	}
	if (w->at < w->n)
		return;
	w->state = WATCHER_BEHIND;
	if (w->initial_bookmark)
		send_bookmark(w, true);
}

static bool pump_one(void *ctx, const struct change *c)
{
	struct watcher *w = ctx;
	const struct object *o = c->new != NULL ? c->new : c->old;

	if (o->kind == w->selection.stored)
		send_change(w, c);
	w->revision = c->revision;
	return !is_full(w);
}

static void pump_history(struct watcher *w)
{
	const struct store *store = w->request->api->config.store;

	/* What was handed out so far is flushed; the rest goes to live watchers at the next flush.
	 */
	if (store_history(store, w->revision, pump_one, w) < 0) {
		watcher_expire(w);
		return;
	}
	if (w->revision < store_revision(store) && is_full(w))
		return;
	w->revision = store_revision(store);
	w->state = WATCHER_LIVE;
}

/* Send until the client has enough or nothing is left. May end the watcher. */
static void watcher_pump(struct watcher *w)
{
	if (w->state == WATCHER_INITIAL)
		pump_initial(w);
	if (w->state == WATCHER_BEHIND)
		pump_history(w);
}

static void on_drain(struct exchange *x)
{
	struct request *r = x->data;

	watcher_pump(r->data);
}

static void on_gone(struct exchange *x)
{
	request_end(x->data);
}

/* --- Handing out --------------------------------------------------------------------- */

static bool flush_one(void *ctx, const struct change *c)
{
	struct watches *ws = ctx;
	const struct object *o = c->new != NULL ? c->new : c->old;
	struct list *watchers = &ws->by_kind[o->kind - kinds_all];

	list_for_each (w, watchers, struct watcher, link) {
		if (w->state != WATCHER_LIVE || w->revision >= c->revision)
			continue;
		if (is_full(w))
			w->state = WATCHER_BEHIND;
		else
			send_change(w, c);
	}
	encodings_clear(ws);
	return true;
}

static void set_now(struct watches *ws)
{
	int64_t now_ns = apiserver_now_ns(ws->api);

	for (size_t k = 0; k < kinds_count; k++)
		list_for_each (w, &ws->by_kind[k], struct watcher, link)
			w->rendering.now_ns = now_ns;
}

/* A watcher that nothing was sent to still moves on, so that it never expires for nothing. */
static void move_on(struct watches *ws, uint64_t revision)
{
	for (size_t k = 0; k < kinds_count; k++)
		list_for_each (w, &ws->by_kind[k], struct watcher, link)
			if (w->state == WATCHER_LIVE)
				w->revision = revision;
}

static void expire_all(struct watches *ws)
{
	for (size_t k = 0; k < kinds_count; k++)
		list_for_each (w, &ws->by_kind[k], struct watcher, link)
			watcher_expire(w);
}

static void on_flush(struct io_later *later)
{
	struct watches *ws = container_of(later, struct watches, flush);
	const struct store *store = ws->api->config.store;
	uint64_t revision = store_revision(store);

	requests_on_revision(ws->api);
	if (ws->count > 0) {
		set_now(ws);
		if (store_history(store, ws->flushed, flush_one, ws) < 0)
			expire_all(ws);
		move_on(ws, revision);
	}
	ws->flushed = revision;
}

static void on_change(void *ctx, const struct change *change)
{
	struct watches *ws = ctx;

	(void)change;
	io_later_add(ws->api->config.loop, &ws->flush);
}

static void on_restore(void *ctx)
{
	struct watches *ws = ctx;

	expire_all(ws);
	ws->flushed = store_revision(ws->api->config.store);
	io_later_add(ws->api->config.loop, &ws->flush);
}

struct watches *watches_create(struct apiserver *api)
{
	struct watches *ws = xcalloc(1, sizeof(*ws));

	ws->api = api;
	ws->by_kind = xcalloc(kinds_count, sizeof(*ws->by_kind));
	for (size_t k = 0; k < kinds_count; k++)
		list_init(&ws->by_kind[k]);
	io_later_init(&ws->flush, on_flush);
	ws->flushed = store_revision(api->config.store);
	ws->listener = (struct store_listener){ .cb = on_change, .ctx = ws };
	store_listen(api->config.store, &ws->listener);
	store_on_restore(api->config.store, on_restore, ws);
	return ws;
}

void watches_destroy(struct watches *ws)
{
	if (ws == NULL)
		return;
	io_later_cancel(&ws->flush);
	free(ws->by_kind);
	free(ws);
}

void watches_tick(struct watches *ws)
{
	uint64_t now_ms = io_now_ms(ws->api->config.loop);

	for (size_t k = 0; k < kinds_count; k++) {
		list_for_each (w, &ws->by_kind[k], struct watcher, link) {
			bool over = w->deadline_ms <= now_ms;

			if (w->bookmarks && w->state == WATCHER_LIVE &&
			    (over || w->bookmark_ms <= now_ms)) {
				send_bookmark(w, false);
				w->bookmark_ms = now_ms + BOOKMARK_MS;
			}
			if (over)
				request_end(w->request);
		}
	}
	if (ws->count > 0)
		apiserver_timer_need(ws->api);
}

/* --- Beginning ----------------------------------------------------------------------- */

static void watcher_free(struct request *r)
{
	struct watcher *w = r->data;

	if (w->link.next != &w->link) {
		r->api->watches->count--;
		r->api->metrics.watchers = r->api->watches->count;
	}
	list_remove(&w->link);
	for (size_t i = w->at; i < w->n; i++)
		object_unref(w->objects[i]);
	free(w->objects);
}

static bool take(void *ctx, const struct object *o)
{
	struct watcher *w = ctx;

	array_grow(w->objects, w->n, w->cap);
	w->objects[w->n++] = object_ref(o);
	return true;
}

static void watch_ready(struct request *r, int rc)
{
	struct apiserver *api = r->api;
	struct watches *ws = api->watches;
	struct watcher *w = r->data;

	if (rc < 0) {
		respond_unavailable(r, rc);
		return;
	}
	w->shown = request_rendering(r, &w->rendering);
	w->state = WATCHER_BEHIND;
	if (w->initial || w->from_now)
		w->revision = store_revision(api->config.store);
	if (w->initial) {
		w->state = WATCHER_INITIAL;
		selection_walk(&w->selection, api, NULL, NULL, take, w);
	}
	list_push_back(&ws->by_kind[r->stored - kinds_all], &w->link);
	api->metrics.watchers = ++ws->count;
	api->metrics.watches_total++;
	api->metrics.requests_total++;
	apiserver_timer_need(api);
	exchange_begin(r->x, 200, media_content_type(&w->rendering.media, true));
	r->x->on_drain = on_drain;
	r->x->on_gone = on_gone;
	r->stop = request_end;
	if (exchange_is_gone(r->x))
		request_end(r);
	else
		watcher_pump(w);
}

static int invalid_initial(struct status *st, const char *message)
{
	status_set(st, -EINVAL, "ListOptions.meta.k8s.io \"\" is invalid: %s", message);
	status_cause(st, "FieldValueForbidden", "sendInitialEvents", "%s", message);
	status_details(st, "meta.k8s.io", "ListOptions", NULL);
	return -EINVAL;
}

/* Which of the ways to begin: from now, with what there is, or after a revision. */
static int parse_begin(struct request *r, struct watcher *w, enum revision_mode *ret_mode,
		       struct status *st)
{
	const char *match = query_get(&r->query, "resourceVersionMatch");
	bool asked = query_get(&r->query, "sendInitialEvents") != NULL, send;
	int rc = query_bool(&r->query, "sendInitialEvents", false, &send, st);

	if (rc == 0)
		rc = revision_parse(r, false, ret_mode, &w->revision, st);
	if (rc < 0)
		return rc;
	if (asked && (match == NULL || strcmp(match, "NotOlderThan") != 0))
		return invalid_initial(st, "resourceVersionMatch: Forbidden: sendInitialEvents "
					   "requires resourceVersionMatch NotOlderThan");
	if (asked && send && !w->bookmarks)
		return invalid_initial(st, "allowWatchBookmarks: Forbidden: sendInitialEvents "
					   "requires allowWatchBookmarks");
	if (!asked && match != NULL && *match != 0)
		return invalid_initial(
			st, "resourceVersionMatch: Forbidden: resourceVersionMatch "
			    "is forbidden for watch unless sendInitialEvents is provided");
	w->initial = asked ? send : w->revision == 0;
	w->initial_bookmark = asked && send;
	w->from_now = asked && !send && w->revision == 0;
	return 0;
}

static int watch_parse(struct request *r, struct watcher *w, enum revision_mode *ret_mode,
		       struct status *st)
{
	struct source *source = r->api->config.source;
	uint64_t now_ms = io_now_ms(r->api->config.loop);
	int64_t timeout_s;
	int rc = selection_parse(r, &w->selection, st);

	if (rc == 0)
		rc = query_bool(&r->query, "allowWatchBookmarks", false, &w->bookmarks, st);
	if (rc == 0)
		rc = query_int(&r->query, "timeoutSeconds", 0, &timeout_s, st);
	if (rc == 0)
		rc = parse_begin(r, w, ret_mode, st);
	if (rc < 0)
		return rc;
	if (timeout_s <= 0 || timeout_s > 86400)
		timeout_s = WATCH_DEFAULT_S + (int64_t)source_random_below(source, WATCH_DEFAULT_S);
	w->deadline_ms = now_ms + (uint64_t)timeout_s * 1000;
	w->bookmark_ms = now_ms + BOOKMARK_MS;
	return 0;
}

void handle_watch(struct request *r)
{
	struct watcher *w = arena_new(&r->arena, struct watcher);
	size_t max = r->api->config.watchers_max != 0 ? r->api->config.watchers_max : WATCHERS_MAX;
	enum revision_mode mode;
	struct status st = { 0 };

	w->request = r;
	list_init(&w->link);
	r->data = w;
	r->free_data = watcher_free;
	if (r->api->watches->count >= max)
		respond_error(r, -EAGAIN,
			      "this master serves %zu watches already, please try again", max);
	else if (watch_parse(r, w, &mode, &st) < 0)
		respond_status(r, &st);
	else
		revision_await(r, mode, w->revision, watch_ready);
}
