/* What agents say: that their node exists, and how it and its pods are.
 *
 * Each item becomes an ordinary write with the node as its user, so admission
 * and the door treat it like anybody's. An agent speaks for its own node and for
 * the pods bound to it; anything else in a report is dropped. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/kinds.h"
#include "common/api/make.h"
#include "common/api/pack.h"
#include "common/api/storage_names.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "controlplane/nodes/internal.h"
#include "controlplane/writes/writes.h"
#include "proto/k8s/core_v1.pb-c.h"
#include "proto/sampan/master.pb-c.h"

#define WRITE_TIMEOUT_MS 10000
#define ITEMS_MAX 2000
/* Messages of a report, unpacked. */
#define ITEM_BUDGET_BYTES (1u << 20)

/* A report is answered when all its writes are. The call may be lost meanwhile. */
struct report {
	struct nodes *nodes;
	struct call *call; /* NULL once its connection is gone. */
	struct call_watch watch;
	size_t open;
	char **unknown;
	size_t n_unknown, cap_unknown;
	int rc;
	char *message;
};

struct item {
	struct report *report;
	char *uid; /* Of a pod, or NULL. */
};

static void report_call_lost(struct call_watch *watch)
{
	container_of(watch, struct report, watch)->call = NULL;
}

static struct report *report_begin(struct call *c)
{
	struct report *r = xcalloc(1, sizeof(*r));

	r->nodes = c->nodes;
	r->call = c;
	r->open = 1;
	r->watch.lost = report_call_lost;
	call_watch(c, &r->watch);
	return r;
}

static void report_answer(struct report *r)
{
	SampanNode__Reply reply = SAMPAN_NODE__REPLY__INIT;
	SampanNode__ReportReply report = SAMPAN_NODE__REPORT_REPLY__INIT;

	report.unknown_uids = r->unknown;
	report.n_unknown_uids = r->n_unknown;
	reply.report = &report;
	if (r->rc < 0) {
		reply.has_rc = true;
		reply.rc = r->rc;
		reply.message = r->message;
	}
	call_reply(r->call, &reply);
}

static void report_end_one(struct report *r)
{
	if (--r->open > 0)
		return;
	if (r->call != NULL)
		report_answer(r);
	for (size_t i = 0; i < r->n_unknown; i++)
		free(r->unknown[i]);
	free(r->unknown);
	free(r->message);
	free(r);
}

static void report_unknown(struct report *r, const char *uid)
{
	array_grow(r->unknown, r->n_unknown, r->cap_unknown);
	r->unknown[r->n_unknown++] = xstrdup(uid);
}

static void on_written(void *ctx, const void *response)
{
	struct item *item = ctx;
	const SampanMaster__WriteResponse *w = response;
	struct report *r = item->report;

	/* Gone, or another pod of this name by now: the agent forgets it. Failures of the cluster
	 * (5xx, 429) make the agent report again. */
	if (item->uid != NULL && (w->code == 404 || w->code == 409))
		report_unknown(r, item->uid);
	else if (w->code >= 429 && r->rc == 0)
		r->rc = -EAGAIN;
	free(item->uid);
	free(item);
	report_end_one(r);
}

static void submit(struct report *r, SampanMaster__WriteRequest *w, const char *uid)
{
	struct item *item = xcalloc(1, sizeof(*item));
	SampanMaster__User user = SAMPAN_MASTER__USER__INIT;
	static char *groups[] = { (char *)"system:nodes", (char *)"system:authenticated" };
	autofree char *name = xasprintf("system:node:%s", r->call ? r->call->node : "");

	item->report = r;
	item->uid = uid ? xstrdup(uid) : NULL;
	user.name = name;
	user.groups = groups;
	user.n_groups = array_size(groups);
	w->user = &user;
	r->open++;
	writes_submit(r->nodes->config.writes, w, WRITE_TIMEOUT_MS, on_written, item);
}

static void request_init(SampanMaster__WriteRequest *w, SampanMaster__WriteRequest__Verb verb,
			 const char *resource, const char *namespace, const char *name,
			 const char *subresource)
{
	sampan_master__write_request__init(w);
	w->has_verb = true;
	w->verb = verb;
	w->resource = (char *)resource;
	w->namespace_ = (char *)namespace;
	w->name = (char *)name;
	w->subresource = (char *)subresource;
}

static void body_set(SampanMaster__WriteRequest *w, struct arena *arena, const void *message)
{
	struct bytes packed = pack_message_in(arena, message);

	w->has_body = true;
	w->body = (ProtobufCBinaryData){ .len = packed.len, .data = (uint8_t *)packed.data };
}

/* --- Pods -------------------------------------------------------------------------- */

/* The pod a report speaks of, if the node may speak of it. */
static const struct object *pod_of(struct nodes *nodes, const char *node,
				   const SampanNode__PodReport *p)
{
	if (p->namespace_ == NULL || p->name == NULL || p->uid == NULL)
		return NULL;
	const struct object *o = store_get(nodes->config.store, kind_of_resource("pods"),
					   p->namespace_, p->name);

	if (o == NULL || strcmp(o->facts.uid, p->uid) != 0 ||
	    strcmp(o->facts.pod->node_name, node) != 0)
		return NULL;
	return o;
}

static bool has_condition(const CoreV1__PodStatus *status, const char *type)
{
	for (size_t i = 0; i < status->n_conditions; i++)
		if (status->conditions[i]->type != NULL &&
		    strcmp(status->conditions[i]->type, type) == 0)
			return true;
	return false;
}

/* Conditions that others set (PodScheduled, DisruptionTarget, readiness gates) and what the
 * masters alone know outlive a status that does not name them. */
static void keep_stored(struct arena *arena, CoreV1__PodStatus *new, const CoreV1__PodStatus *old)
{
	if (old == NULL)
		return;
	CoreV1__PodCondition **all =
		arena_array(arena, CoreV1__PodCondition *, new->n_conditions + old->n_conditions);
	size_t n = 0;

	for (size_t i = 0; i < old->n_conditions; i++)
		if (old->conditions[i]->type != NULL && !has_condition(new, old->conditions[i]->type))
			all[n++] = old->conditions[i];
	for (size_t i = 0; i < new->n_conditions; i++)
		all[n++] = new->conditions[i];
	new->conditions = all;
	new->n_conditions = n;
	if (new->qosclass == NULL)
		new->qosclass = old->qosclass;
	if (new->nominatednodename == NULL)
		new->nominatednodename = old->nominatednodename;
}

static void take_status(struct report *r, struct arena *arena, const struct object *o,
			const SampanNode__PodReport *p)
{
	CoreV1__Pod *pod = unpack_stored(o->kind->descriptor, o->packed, arena);
	CoreV1__PodStatus *status;
	SampanMaster__WriteRequest w;

	if (unpack_message(&core_v1__pod_status__descriptor,
			   bytes_of(p->status.data, p->status.len), arena, &status, NULL) < 0)
		return; /* Not a status: dropped, the agent will send another. */
	keep_stored(arena, status, pod->status);
	pod->status = status;
	request_init(&w, SAMPAN_MASTER__WRITE_REQUEST__VERB__UPDATE, "pods", o->namespace, o->name,
		     "status");
	body_set(&w, arena, pod);
	submit(r, &w, p->uid);
}

static void take_gone(struct report *r, struct arena *arena, const struct object *o,
		      const SampanNode__PodReport *p)
{
	MetaV1__DeleteOptions options = META_V1__DELETE_OPTIONS__INIT;
	MetaV1__Preconditions uid = META_V1__PRECONDITIONS__INIT;
	SampanMaster__WriteRequest w;

	options.has_graceperiodseconds = true;
	options.graceperiodseconds = 0;
	uid.uid = p->uid;
	options.preconditions = &uid;
	struct bytes packed = pack_message_in(arena, &options);
	request_init(&w, SAMPAN_MASTER__WRITE_REQUEST__VERB__DELETE, "pods", o->namespace, o->name,
		     "");
	w.has_delete_options = true;
	w.delete_options = (ProtobufCBinaryData){ packed.len, (uint8_t *)packed.data };
	submit(r, &w, p->uid);
}

static void take_pod(struct report *r, const SampanNode__PodReport *p)
{
	struct arena arena;
	const struct object *o = pod_of(r->nodes, r->call->node, p);

	if (o == NULL) {
		if (p->uid != NULL)
			report_unknown(r, p->uid);
		return;
	}
	arena_init(&arena, 2 * ITEM_BUDGET_BYTES);
	if (p->has_status)
		take_status(r, &arena, o, p);
	if (p->gone && o->facts.deleted_ns != 0)
		take_gone(r, &arena, o, p);
	arena_fini(&arena);
}

/* --- Volumes ---------------------------------------------------------------------- */

/* The folder is gone, so nothing of the node holds the volume any more. The write is made for the
 * volume as it was seen: if it changed meanwhile the agent is sent it again and says so again. */
static void take_removed(struct report *r, const SampanNode__VolumeReport *v)
{
	const struct object *o = v->name == NULL || v->uid == NULL
					 ? NULL
					 : store_get(r->nodes->config.store,
						     kind_of_resource("persistentvolumes"), "", v->name);
	const char *node = o ? object_label(o, LOCAL_PATH_NODE) : NULL;
	auto_with(arena_fini) struct arena arena = { 0 };
	SampanMaster__WriteRequest w;

	if (node == NULL || strcmp(node, r->call->node) != 0 || strcmp(o->facts.uid, v->uid) != 0 ||
	    o->facts.deleted_ns == 0 || !object_has_finalizer(o, LOCAL_PATH_FINALIZER))
		return;
	arena_init(&arena, 2 * ITEM_BUDGET_BYTES);
	CoreV1__PersistentVolume *pv = unpack_stored(o->kind->descriptor, o->packed, &arena);
	meta_remove_finalizer(pv->metadata, LOCAL_PATH_FINALIZER);
	pv->metadata->resourceversion = arena_printf(&arena, "%" PRIu64, o->revision);
	request_init(&w, SAMPAN_MASTER__WRITE_REQUEST__VERB__UPDATE, "persistentvolumes", "", o->name,
		     "");
	body_set(&w, &arena, pv);
	submit(r, &w, NULL);
}

/* --- The node and events --------------------------------------------------------------- */

static void take_node_status(struct report *r, ProtobufCBinaryData bytes)
{
	const struct object *o =
		store_get(r->nodes->config.store, kind_of_resource("nodes"), "", r->call->node);
	struct arena arena;
	CoreV1__NodeStatus *status;
	SampanMaster__WriteRequest w;

	if (o == NULL) {
		r->rc = -ENOENT; /* Register first. */
		return;
	}
	arena_init(&arena, 2 * ITEM_BUDGET_BYTES);
	CoreV1__Node *node = unpack_stored(o->kind->descriptor, o->packed, &arena);
	if (unpack_message(&core_v1__node_status__descriptor, bytes_of(bytes.data, bytes.len), &arena,
			   &status, NULL) == 0) {
		node->status = status;
		request_init(&w, SAMPAN_MASTER__WRITE_REQUEST__VERB__UPDATE, "nodes", "", o->name,
			     "status");
		body_set(&w, &arena, node);
		submit(r, &w, NULL);
	}
	arena_fini(&arena);
}

/* Only about the node itself or a pod it runs. */
static bool may_tell(struct nodes *nodes, const char *node, const CoreV1__Event *event)
{
	const CoreV1__ObjectReference *about = event->involvedobject;

	if (about == NULL || about->kind == NULL || about->name == NULL)
		return false;
	if (strcmp(about->kind, "Node") == 0)
		return strcmp(about->name, node) == 0;
	if (strcmp(about->kind, "Pod") != 0 || about->namespace_ == NULL)
		return false;
	const struct object *pod = store_get(nodes->config.store, kind_of_resource("pods"),
					     about->namespace_, about->name);
	return pod != NULL && strcmp(pod->facts.pod->node_name, node) == 0;
}

static void take_event(struct report *r, ProtobufCBinaryData bytes)
{
	struct arena arena;
	CoreV1__Event *event;
	SampanMaster__WriteRequest w;

	arena_init(&arena, ITEM_BUDGET_BYTES);
	if (unpack_message(&core_v1__event__descriptor, bytes_of(bytes.data, bytes.len), &arena,
			   &event, NULL) == 0 &&
	    event->metadata != NULL && may_tell(r->nodes, r->call->node, event)) {
		request_init(&w, SAMPAN_MASTER__WRITE_REQUEST__VERB__CREATE, "events",
			     event->metadata->namespace_ ? event->metadata->namespace_ : "default",
			     event->metadata->name ? event->metadata->name : "", "");
		body_set(&w, &arena, event);
		submit(r, &w, NULL);
	}
	arena_fini(&arena);
}

void reports_take(struct call *c)
{
	const SampanNode__ReportRequest *report = c->request->report;

	if (!c->nodes->leading) {
		call_not_leader(c);
		return;
	}
	if (report->n_pods + report->n_events + report->n_removed_volumes > ITEMS_MAX) {
		call_fail(c, -EFBIG, "a report holds %d items at most", ITEMS_MAX);
		return;
	}
	struct report *r = report_begin(c);
	if (report->has_node_status && report->node_status.len > 0)
		take_node_status(r, report->node_status);
	for (size_t i = 0; i < report->n_pods; i++)
		take_pod(r, report->pods[i]);
	for (size_t i = 0; i < report->n_removed_volumes; i++)
		take_removed(r, report->removed_volumes[i]);
	for (size_t i = 0; i < report->n_events; i++)
		take_event(r, report->events[i]);
	report_end_one(r);
}

/* --- Registration -------------------------------------------------------------------------- */

struct registration {
	struct nodes *nodes;
	struct call *call;
	struct call_watch watch;
	char *node;
};

static void registration_call_lost(struct call_watch *watch)
{
	container_of(watch, struct registration, watch)->call = NULL;
}

static void registration_answer(struct registration *g, const SampanMaster__WriteResponse *w)
{
	struct nodes *nodes = g->nodes;
	const struct cluster_config *cluster = nodes->config.cluster;
	SampanNode__Reply reply = SAMPAN_NODE__REPLY__INIT;
	SampanNode__RegisterReply reg = SAMPAN_NODE__REGISTER_REPLY__INIT;

	if (w->code >= 300 && w->code != 409) {
		call_fail(g->call, w->code == 422 ? -EINVAL : -EAGAIN,
			  "the Node was refused with code %d", w->code);
		return;
	}
	const struct object *o = store_get(nodes->config.store, kind_of_resource("nodes"), "", g->node);
	if (o == NULL) {
		call_fail(g->call, -EAGAIN, "the Node is gone again");
		return;
	}
	leases_make(nodes, o);
	reg.has_node = true;
	reg.node = (ProtobufCBinaryData){ o->packed.len, (uint8_t *)o->packed.data };
	reg.has_revision = true;
	reg.revision = o->revision;
	reg.cluster_domain = (char *)cluster->domain;
	reg.dns_address = (char *)cluster->dns_address;
	reg.service_cidr = (char *)cluster->service_cidr;
	reg.pod_cidr = (char *)o->facts.node->pod_cidr;
	reg.masters = members_list(nodes, &g->call->arena, &reg.n_masters);
	reply.register_ = &reg;
	call_reply(g->call, &reply);
}

static void on_registered(void *ctx, const void *response)
{
	struct registration *g = ctx;

	if (g->call != NULL)
		registration_answer(g, response);
	free(g->node);
	free(g);
}

void reports_register(struct call *c)
{
	const SampanNode__RegisterRequest *request = c->request->register_;
	SampanMaster__WriteRequest w;
	SampanMaster__User user = SAMPAN_MASTER__USER__INIT;
	static char *groups[] = { (char *)"system:nodes", (char *)"system:authenticated" };
	CoreV1__Node *node;

	if (!c->nodes->leading) {
		call_not_leader(c);
		return;
	}
	if (!request->has_node || unpack_message(&core_v1__node__descriptor,
						 bytes_of(request->node.data, request->node.len),
						 &c->arena, &node, NULL) < 0) {
		call_fail(c, -EBADMSG, "not a Node");
		return;
	}
	if (node->metadata == NULL || node->metadata->name == NULL ||
	    strcmp(node->metadata->name, c->node) != 0) {
		call_fail(c, -EPERM, "a node registers itself only");
		return;
	}

	struct registration *g = xcalloc(1, sizeof(*g));
	g->nodes = c->nodes;
	g->call = c;
	g->node = xstrdup(c->node);
	g->watch.lost = registration_call_lost;
	call_watch(c, &g->watch);
	request_init(&w, SAMPAN_MASTER__WRITE_REQUEST__VERB__CREATE, "nodes", "", c->node, "");
	body_set(&w, &c->arena, node);
	user.name = arena_printf(&c->arena, "system:node:%s", c->node);
	user.groups = groups;
	user.n_groups = array_size(groups);
	w.user = &user;
	writes_submit(c->nodes->config.writes, &w, WRITE_TIMEOUT_MS, on_registered, g);
}
