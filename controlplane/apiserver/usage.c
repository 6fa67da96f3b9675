#include "controlplane/apiserver/usage.h"

#include <errno.h>
#include <string.h>

#include "common/api/pack.h"
#include "common/base/cleanup.h"
#include "controlplane/apiserver/internal.h"
#include "controlplane/consensus/consensus.h"
#include "controlplane/nodes/nodes.h"
#include "controlplane/writes/rpc.h"
#include "controlplane/writes/writes.h"

#define ASK_MS 2000
/* Lists are built whole. */
#define LIST_BYTES_MAX ((size_t)64 << 20)

struct measured {
	struct request *request;
	struct selection selection; /* Of nodes or pods. */
	bool pods;
	const char *node;          /* The only one that matters; NULL: all. */
	struct usage copy;         /* What the leader answered. */
	const char *after;         /* Of the page asked for. */
	const struct usage *usage; /* Ours or the copy. */
	/* Of a list. */
	struct rendering rendering;
	struct buf out;
	size_t n;
	bool too_long;
};

static void measured_free(struct request *r)
{
	struct measured *m = r->data;

	usage_fini(&m->copy);
	buf_fini(&m->out);
}

/* --- Answers ----------------------------------------------------------------------------- */

static int64_t cluster_now_ns(const struct measured *m)
{
	return writes_now_ns(m->request->api->config.writes);
}

/* What the leader answered was fresh there; this master's idea of the cluster's time may lag. */
static int64_t fresh_at_ns(const struct measured *m)
{
	return m->usage == &m->copy ? 0 : cluster_now_ns(m);
}

/* NULL: nobody knows (yet, or any more). */
static const void *message_of(struct measured *m, const struct object *o, struct arena *arena)
{
	int64_t now_ns = cluster_now_ns(m), at_ns = fresh_at_ns(m);

	if (m->pods) {
		const struct pod_usage *p =
			usage_pod(m->usage, o->facts.pod->node_name, o->facts.uid, at_ns);

		return p != NULL ? pod_metrics(arena, o, p, now_ns) : NULL;
	}

	const struct node_usage *n = usage_node(m->usage, o->name, at_ns);

	/* A window of nothing: it has looked once only. */
	return n != NULL && n->window_ns > 0 ? node_metrics(arena, o, n, now_ns) : NULL;
}

static bool put_one(void *ctx, const struct object *o)
{
	struct measured *m = ctx;
	auto_with(arena_fini) struct arena arena = { 0 };
	const void *message = message_of(m, o, &arena);

	if (message == NULL)
		return true;

	struct item item = { pack_message_in(&arena, message), 0 };

	render_list_item(&m->out, &m->rendering, &item, m->n++ == 0);
	m->too_long = m->out.len > LIST_BYTES_MAX;
	return !m->too_long;
}

static void respond_list(struct measured *m)
{
	struct request *r = m->request;
	struct list_head head = { 0 };

	rendering_of_kind(&m->rendering, r->kind, &r->media, apiserver_now_ns(r->api));
	render_list_begin(&m->out, &m->rendering, &head);
	selection_walk(&m->selection, r->api, NULL, NULL, put_one, m);
	render_list_end(&m->out, &m->rendering);
	if (m->too_long) {
		respond_error(r, -EFBIG, "the list is larger than %zu bytes: ask for one namespace",
			      LIST_BYTES_MAX);
		return;
	}
	if (m->rendering.media.format == MEDIA_PROTOBUF) {
		struct buf wrapped = { 0 };

		render_list_wrap(&wrapped, &m->rendering, buf_bytes(&m->out));
		buf_fini(&m->out);
		m->out = wrapped;
	}

	struct buf out = m->out;

	m->out = (struct buf){ 0 };
	respond_buf(r, 200, media_content_type(&r->media, false), &out);
}

static const struct object *named_object(struct measured *m)
{
	struct request *r = m->request;

	return store_get(r->api->config.store, m->selection.stored,
			 m->pods ? r->path.namespace : "", r->path.name);
}

static void respond_one(struct measured *m)
{
	struct request *r = m->request;
	const struct object *o = named_object(m);
	const void *message = o != NULL ? message_of(m, o, &r->arena) : NULL;

	if (message == NULL) {
		struct status st = { 0 };

		status_not_found(&st, r->kind, r->path.name);
		respond_status(r, &st);
		return;
	}

	struct item item = { pack_message_in(&r->arena, message), 0 };
	struct rendering rendering;

	rendering_of_kind(&rendering, r->kind, &r->media, apiserver_now_ns(r->api));
	respond_item(r, 200, &rendering, &item);
}

static void respond(struct measured *m)
{
	if (m->request->path.name != NULL)
		respond_one(m);
	else
		respond_list(m);
}

/* --- Asking the leader ---------------------------------------------------------------------- */

static void ask(struct measured *m);

static void respond_unknown(struct measured *m)
{
	respond_error(m->request, -ESHUTDOWN,
		      "usage is in the memory of the leading master, which does not answer at "
		      "present: try again in a few seconds");
}

static void on_answer(void *ctx, int rc, const SampanMaster__Message *message)
{
	struct measured *m = ctx;
	const SampanMaster__UsageReply *reply = rc == 0 ? message->usage_reply : NULL;

	if (reply == NULL || usage_take_answer(&m->copy, reply) < 0) {
		respond_unknown(m);
		return;
	}
	if (!reply->more || reply->n_nodes == 0) {
		respond(m);
		return;
	}
	m->after = arena_strdup(&m->request->arena, reply->nodes[reply->n_nodes - 1]->node);
	ask(m);
}

static void ask(struct measured *m)
{
	SampanMaster__Message message = SAMPAN_MASTER__MESSAGE__INIT;
	SampanMaster__UsageRequest question = SAMPAN_MASTER__USAGE_REQUEST__INIT;

	question.node = (char *)m->node;
	question.after = (char *)m->after;
	message.usage = &question;
	rpc_call(m->request->api->config.rpc, 0, &message, ASK_MS, on_answer, m);
}

/* A single node or pod needs what one node said. */
static const char *node_of(struct measured *m)
{
	const struct object *o = m->request->path.name != NULL ? named_object(m) : NULL;

	if (m->request->path.name == NULL)
		return NULL;
	if (o == NULL)
		return "";
	return m->pods ? o->facts.pod->node_name : o->name;
}

void handle_usage(struct request *r)
{
	const struct apiserver_config *c = &r->api->config;
	struct measured *m = arena_new(&r->arena, struct measured);
	struct status st = { 0 };

	r->api->metrics.reads_total++;
	if (selection_parse(r, &m->selection, &st) < 0) {
		respond_status(r, &st);
		return;
	}
	m->request = r;
	m->pods = r->kind->descriptor == &metrics_v1beta1__pod_metrics__descriptor;
	m->selection.kind = m->selection.stored = kind_of_resource(m->pods ? "pods" : "nodes");
	m->node = node_of(m);
	if (m->node != NULL)
		m->node = arena_strdup(&r->arena, m->node);
	usage_init(&m->copy);
	m->usage = &m->copy;
	r->data = m;
	r->free_data = measured_free;
	if (c->nodes != NULL && nodes_usage(c->nodes) != NULL)
		m->usage = nodes_usage(c->nodes);
	if (m->usage != &m->copy || (m->node != NULL && m->node[0] == '\0'))
		respond(m); /* We know, or there is nothing to know. */
	else if (c->rpc != NULL)
		ask(m);
	else
		respond_unknown(m);
}
