/* What the files of the API server share: the server, one request, and the
 * steps a request goes through. Nobody outside includes this. Loop thread only.
 *
 *   on_request -> parse -> authenticate -> authorize -> the verb's handler
 *                                                          |
 *        read: barrier, then list.c     write: writes_submit, then its answer
 *        watch: watch.c until the end   stream: streams.c until the end
 *
 * A request owns its exchange and ends it once, by a respond_*() call or by
 * request_end(); then it is freed. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "common/api/fields.h"
#include "common/api/kinds.h"
#include "common/api/labels.h"
#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/list.h"
#include "common/base/map.h"
#include "common/base/status.h"
#include "common/io/exchange.h"
#include "common/io/loop.h"
#include "controlplane/apiserver/apiserver.h"
#include "controlplane/apiserver/discovery.h"
#include "controlplane/apiserver/metrics.h"
#include "controlplane/apiserver/negotiate.h"
#include "controlplane/apiserver/path.h"
#include "controlplane/apiserver/render.h"
#include "controlplane/apiserver/user.h"
#include "controlplane/store/store.h"
#include "proto/k8s/meta_v1.pb-c.h"

struct openapi;
struct watches;

struct apiserver {
	struct apiserver_config config;
	struct http_server **servers;
	size_t n_servers, cap_servers;
	struct discovery *discovery;
	struct openapi *openapi;
	struct watches *watches;
	struct metrics metrics;
	struct map renewed;   /* node_leases.c: int64_t by node, as the leader told. */
	struct list requests; /* All under way, watches and streams included. */
	size_t n_requests, n_in_flight;
	/* Reads that wait: for an answer to the read index under way, for the next
	 * one, or for a revision. */
	struct list barrier_now, barrier_next, revision_waiters;
	bool barrier_running;
	uv_timer_t timer; /* One a second while something waits. */
	bool timer_on, timer_open, stopping, stopped;
	size_t n_servers_open; /* While stopping. */
	void (*on_stopped)(void *ctx);
	void *on_stopped_ctx;
};

struct request {
	struct apiserver *api;
	struct exchange *x;
	struct list link;
	struct arena arena;
	struct arena body; /* What bodies are decoded into; it has a budget. */
	struct api_path path;
	struct query query;
	struct media media;
	struct user user;
	const struct kind *kind;            /* That the path names, */
	const struct kind *stored;          /* and as the store keeps it. */
	const struct kind_subresource *sub; /* NULL: the object itself. */
	const char *verb;                   /* "get", "list", ... as authorization names it. */
	bool counted;                       /* Among those in flight. */
	/* While a read waits. */
	struct list wait_link;
	void (*ready)(struct request *r, int rc);
	uint64_t wait_revision, wait_until_ms;
	/* The handler's own, in the arena or freed by free_data. */
	void *data;
	void (*free_data)(struct request *r);
	void (*stop)(
		struct request *r); /* Ends what would last for ever; NULL: it ends by itself. */
};

#define BODY_DECODED_MAX ((size_t)64 << 20)
#define REQUESTS_IN_FLIGHT_MAX 4096
#define LINEARIZABLE_WAIT_MS 3000
#define WRITE_TIMEOUT_MS 30000

/* --- request.c ----------------------------------------------------------------------- */
void request_on_exchange(struct exchange *x, void *arg);
/* Free the request; the exchange has been ended. */
void request_end(struct request *r);
/* Wait until this master has everything that was committed when the request came; ready is called
 * in a later turn with 0 or an errno. */
void request_barrier(struct request *r, void (*ready)(struct request *r, int rc));
/* Wait until the store has reached revision; ready may be called at once. */
void request_wait_revision(struct request *r, uint64_t revision,
			   void (*ready)(struct request *r, int rc));
void requests_on_revision(struct apiserver *api);
void requests_tick(struct apiserver *api);
/* End all that wait. */
void requests_cancel(struct apiserver *api);
void apiserver_stop_step(struct apiserver *api);
void apiserver_timer_need(struct apiserver *api);
int64_t apiserver_now_ns(const struct apiserver *api);

/* --- respond.c: each answers and frees the request. ---------------------------------- */
void respond_status(struct request *r, struct status *st); /* Takes st's content. */
void respond_error(struct request *r, int rc, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* A packed meta.v1.Status, as the leader made it. */
void respond_packed_status(struct request *r, int code, struct bytes packed);
void respond_not_found(struct request *r); /* The path names nothing. */
void respond_item(struct request *r, int code, const struct rendering *rendering,
		  const struct item *item);
void respond_success(struct request *r, const char *name, const char *uid);
/* Takes the buffer over. */
void respond_buf(struct request *r, int code, const char *content_type, struct buf *body);
void respond_text(struct request *r, int code, const char *content_type, const char *text);
void respond_document(struct request *r, const char *content_type, struct bytes body,
		      const char *etag);
/* A virtual object that the server made itself. */
void respond_message(struct request *r, int code, const char *api_version, const char *kind,
		     const void *message);
/* Build a packed meta.v1.Status from st. */
struct bytes status_pack(struct arena *arena, const struct status *st);
/* 'pods "x" not found' and its like, with details. */
int status_not_found(struct status *st, const struct kind *kind, const char *name);

/* --- items.c ------------------------------------------------------------------------- */
/* o as the request's kind shows it: unsealed, converted. Bytes live in the arena or in o. */
struct item item_of(struct apiserver *api, const struct kind *kind, const struct object *o,
		    struct arena *arena);
/* What a write answered; that is in the clear already. */
struct item item_of_packed(const struct kind *kind, struct bytes packed, uint64_t revision,
			   struct arena *arena);

/* --- body.c -------------------------------------------------------------------------- */
/* The request's body as a message of this type, from JSON or protobuf. Complaints of
 * fieldValidation Warn become Warning headers. The message lives in r->body. */
int body_read(struct request *r, const ProtobufCMessageDescriptor *descriptor,
	      const char *api_version, const char *kind, void **ret_message, struct status *st);
/* dryRun, fieldManager, fieldValidation. */
int write_options_check(struct request *r, bool *ret_dry_run, struct status *st);
void add_warning(struct request *r, const char *text);
/* DeleteOptions from the body and the query, which may repeat them. */
int delete_options_read(struct request *r, MetaV1__DeleteOptions **ret_options, bool *ret_dry_run,
			struct status *st);

/* --- list_options.c ------------------------------------------------------------------ */
/* What a list, a watch or a deletecollection selects. */
struct selection {
	const struct kind *kind, *stored;
	const char *namespace; /* NULL: everywhere. */
	const char *name;      /* NULL: every name. */
	struct label_selector labels;
	struct field_selector fields;
};

int selection_parse(struct request *r, struct selection *ret_selection, struct status *st);
bool selection_matches(const struct selection *s, struct apiserver *api, const struct object *o);
/* Objects of the store as it is now, in key order, after (after_namespace, after_name). */
void selection_walk(const struct selection *s, struct apiserver *api, const char *after_namespace,
		    const char *after_name, store_walk_cb *cb, void *ctx);

enum revision_mode {
	REVISION_NEWEST, /* Linearizable. */
	REVISION_ANY,    /* Whatever this master has. */
	REVISION_AT_LEAST,
	REVISION_EXACT,
};

/* resourceVersion and resourceVersionMatch of a get (list false) or a list. */
int revision_parse(struct request *r, bool list, enum revision_mode *ret_mode,
		   uint64_t *ret_revision, struct status *st);
/* Wait as the mode wants; ready is called with 0 or an errno. */
void revision_await(struct request *r, enum revision_mode mode, uint64_t revision,
		    void (*ready)(struct request *r, int rc));
/* Answer for a wait that failed. */
void respond_unavailable(struct request *r, int rc);
/* The rendering the request asks for; returns the kind it shows objects as. */
const struct kind *request_rendering(struct request *r, struct rendering *ret_rendering);

/* --- Handlers ------------------------------------------------------------------------ */
void handle_discovery(struct request *r);
void handle_other(struct request *r); /* Paths outside of /api and /apis. */
void handle_get(struct request *r);
void handle_list(struct request *r);
void handle_watch(struct request *r);
void handle_create(struct request *r);
void handle_update(struct request *r);
void handle_patch(struct request *r);
void handle_delete(struct request *r);
void handle_delete_collection(struct request *r);
void handle_virtual(struct request *r);
void handle_stream(struct request *r); /* log, exec, attach, portforward. */
