/* Reports: one under way at a time, and what changes meanwhile is the next one. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/session/internal.h"
#include "common/api/pack.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"

enum { REFUSED_PAUSE_MS = 1000 };

void report_init(struct session *s)
{
	list_init(&s->pods);
	list_init(&s->sent_pods);
	list_init(&s->events);
	list_init(&s->sent_events);
	list_init(&s->volumes);
	list_init(&s->sent_volumes);
}

static void free_pods(struct list *pods)
{
	list_for_each(p, pods, struct pending_pod, link) {
		list_remove(&p->link);
		free(p->uid);
		free(p);
	}
}

static void free_events(struct session *s, struct list *events)
{
	list_for_each(e, events, struct pending_event, link) {
		list_remove(&e->link);
		free((void *)e->packed.data);
		free(e);
		s->n_events--;
	}
}

static void free_volumes(struct list *volumes)
{
	list_for_each(v, volumes, struct pending_volume, link) {
		list_remove(&v->link);
		free(v->name);
		free(v->uid);
		free(v);
	}
}

void report_fini(struct session *s)
{
	free_volumes(&s->volumes);
	free_volumes(&s->sent_volumes);
	free_pods(&s->pods);
	free_pods(&s->sent_pods);
	free_events(s, &s->events);
	free_events(s, &s->sent_events);
	map_fini(&s->pending);
}

static void on_batch(uv_timer_t *timer)
{
	session_turn(container_of(timer, struct session, batch));
}

static void soon(struct session *s)
{
	if (!s->stopping && !uv_is_active((uv_handle_t *)&s->batch))
		uv_timer_start(&s->batch, on_batch, BATCH_MS, 0);
}

void session_report_pod(struct session *s, const char *uid)
{
	if (map_get(&s->pending, uid) != NULL)
		return;
	struct pending_pod *p = xcalloc(1, sizeof(*p));

	p->uid = xstrdup(uid);
	map_put(&s->pending, uid, p);
	list_push_back(&s->pods, &p->link);
	soon(s);
}

void session_report_node(struct session *s)
{
	s->node_due = true;
	soon(s);
}

void session_report_event(struct session *s, const CoreV1__Event *event)
{
	struct pending_event *e = xcalloc(1, sizeof(*e));
	auto_with(buf_fini) struct buf packed = { 0 };
	size_t len;

	pack_message(&packed, event);
	e->packed.data = buf_steal(&packed, &len);
	e->packed.len = len;
	list_push_back(&s->events, &e->link);
	s->n_events++;
	if (s->n_events > EVENTS_MAX && !list_empty(&s->events)) {
		struct pending_event *oldest = list_first(&s->events, struct pending_event, link);

		list_remove(&oldest->link);
		free((void *)oldest->packed.data);
		free(oldest);
		s->n_events--;
	}
	soon(s);
}

void session_report_removed_volume(struct session *s, const char *name, const char *uid)
{
	struct pending_volume *v;

	list_for_each(old, &s->volumes, struct pending_volume, link) {
		if (strcmp(old->uid, uid) == 0)
			return;
	}
	v = xcalloc(1, sizeof(*v));
	v->name = xstrdup(name);
	v->uid = xstrdup(uid);
	list_push_back(&s->volumes, &v->link);
	soon(s);
}

void report_again(struct session *s)
{
	list_for_each(v, &s->sent_volumes, struct pending_volume, link) {
		list_remove(&v->link);
		list_push_front(&s->volumes, &v->link);
	}
	list_for_each(p, &s->sent_pods, struct pending_pod, link) {
		list_remove(&p->link);
		if (map_get(&s->pending, p->uid) == NULL) {
			map_put(&s->pending, p->uid, p);
			list_push_front(&s->pods, &p->link);
		} else {
			free(p->uid);
			free(p);
		}
	}
	list_for_each(e, &s->sent_events, struct pending_event, link) {
		list_remove(&e->link);
		list_push_front(&s->events, &e->link);
	}
	s->node_due = s->node_due || s->node_sent;
	s->node_sent = false;
}

static void on_reported(struct node_call *call, int rc, const SampanNode__Reply *reply)
{
	struct session *s = call->session;

	if (s->stopping)
		return;
	if (rc == 0 && reply->report == NULL)
		rc = -EBADMSG;
	if (rc < 0) {
		report_again(s);
		if (rc == -ENOENT)
			s->registered = false; /* The Node was deleted: it comes back as a new one. */
		if (rc != -ESTALE)
			log_warn("report refused", "error=%s",
				log_quote(reply && reply->message ? reply->message : strerror(-rc)));
		uv_timer_start(&s->batch, on_batch, REFUSED_PAUSE_MS, 0);
		return;
	}
	free_pods(&s->sent_pods);
	free_events(s, &s->sent_events);
	free_volumes(&s->sent_volumes);
	s->node_sent = false;
	for (size_t i = 0; i < reply->report->n_unknown_uids; i++)
		s->options.callbacks.unknown_pod(s->options.callbacks.ctx, reply->report->unknown_uids[i]);
	session_turn(s);
}

static void add_pods(struct session *s, struct arena *arena, SampanNode__ReportRequest *report)
{
	report->pods = arena_array(arena, SampanNode__PodReport *, REPORT_PODS_MAX);
	list_for_each(p, &s->pods, struct pending_pod, link) {
		SampanNode__PodReport *item = arena_new(arena, SampanNode__PodReport);

		if (report->n_pods == REPORT_PODS_MAX)
			break;
		list_remove(&p->link);
		map_remove(&s->pending, p->uid);
		sampan_node__pod_report__init(item);
		if (!s->options.callbacks.pod(s->options.callbacks.ctx, p->uid, item)) {
			free(p->uid);
			free(p);
			continue;
		}
		list_push_back(&s->sent_pods, &p->link);
		report->pods[report->n_pods++] = item;
	}
}

static void add_events(struct session *s, struct arena *arena, SampanNode__ReportRequest *report)
{
	report->events = arena_array(arena, ProtobufCBinaryData, REPORT_EVENTS_MAX);
	list_for_each(e, &s->events, struct pending_event, link) {
		if (report->n_events == REPORT_EVENTS_MAX)
			break;
		list_remove(&e->link);
		list_push_back(&s->sent_events, &e->link);
		report->events[report->n_events++] =
			(ProtobufCBinaryData){ e->packed.len, (uint8_t *)e->packed.data };
	}
}

static void add_volumes(struct session *s, struct arena *arena, SampanNode__ReportRequest *report)
{
	report->removed_volumes = arena_array(arena, SampanNode__VolumeReport *, REPORT_VOLUMES_MAX);
	list_for_each(v, &s->volumes, struct pending_volume, link) {
		SampanNode__VolumeReport *item = arena_new(arena, SampanNode__VolumeReport);

		if (report->n_removed_volumes == REPORT_VOLUMES_MAX)
			break;
		list_remove(&v->link);
		list_push_back(&s->sent_volumes, &v->link);
		sampan_node__volume_report__init(item);
		item->name = v->name;
		item->uid = v->uid;
		report->removed_volumes[report->n_removed_volumes++] = item;
	}
}

static void add_node(struct session *s, struct arena *arena, SampanNode__ReportRequest *report)
{
	if (!s->node_due)
		return;
	const CoreV1__Node *node = s->options.callbacks.node(s->options.callbacks.ctx, arena);
	struct bytes packed = pack_message_in(arena, node->status);

	s->node_due = false;
	s->node_sent = true;
	report->has_node_status = 1;
	report->node_status = (ProtobufCBinaryData){ packed.len, (uint8_t *)packed.data };
}

void report_flush(struct session *s)
{
	auto_with(arena_fini) struct arena arena = { 0 };
	SampanNode__Request request = SAMPAN_NODE__REQUEST__INIT;
	SampanNode__ReportRequest report = SAMPAN_NODE__REPORT_REQUEST__INIT;

	if (s->reporting != NULL || uv_is_active((uv_handle_t *)&s->batch) ||
		(list_empty(&s->pods) && list_empty(&s->events) && list_empty(&s->volumes) && !s->node_due))
		return;
	arena_init(&arena, 0);
	report.node = (char *)s->options.node;
	add_pods(s, &arena, &report);
	add_events(s, &arena, &report);
	add_volumes(s, &arena, &report);
	add_node(s, &arena, &report);
	if (report.n_pods == 0 && report.n_events == 0 && report.n_removed_volumes == 0 && !report.has_node_status)
		return;
	request.report = &report;
	if (link_call(s, s->leader, &request, CALL_TIMEOUT_MS, on_reported, NULL, &s->reporting) < 0) {
		report_again(s);
		uv_timer_start(&s->batch, on_batch, REFUSED_PAUSE_MS, 0);
	}
}

/* Tokens */

struct token_call {
	char *uid, *audience;
	int64_t expiration_s;
};

static void on_token(struct node_call *call, int rc, const SampanNode__Reply *reply)
{
	struct session *s = call->session;
	struct token_call *t = call->arg;

	if (rc == 0 && (reply->token == NULL || reply->token->token == NULL))
		rc = -EBADMSG;
	if (!s->stopping)
		s->options.callbacks.token(s->options.callbacks.ctx, t->uid, t->audience, t->expiration_s,
			rc == 0 ? reply->token->token : NULL, rc == 0 ? reply->token->expires_ns : 0,
			reply && reply->message ? reply->message : strerror(-rc));
	free(t->uid);
	free(t->audience);
	free(t);
}

void session_ask_token(struct session *s, const char *namespace, const char *account, const char *pod,
	const char *uid, const char *audience, int64_t expiration_s)
{
	SampanNode__Request request = SAMPAN_NODE__REQUEST__INIT;
	SampanNode__TokenRequest body = SAMPAN_NODE__TOKEN_REQUEST__INIT;
	struct token_call *t = xcalloc(1, sizeof(*t));
	char *audiences[1] = { (char *)audience };

	t->uid = xstrdup(uid);
	t->audience = xstrdup(audience);
	t->expiration_s = expiration_s;
	body.namespace_ = (char *)namespace;
	body.service_account = (char *)account;
	body.pod = (char *)pod;
	body.pod_uid = (char *)uid;
	if (*audience) {
		body.audiences = audiences;
		body.n_audiences = 1;
	}
	body.has_expiration_s = 1;
	body.expiration_s = expiration_s;
	request.token = &body;
	int rc = s->leader < 0 ? -ENOTCONN
			       : link_call(s, s->leader, &request, CALL_TIMEOUT_MS, on_token, t, NULL);

	if (rc < 0) {
		s->options.callbacks.token(s->options.callbacks.ctx, uid, audience, expiration_s, NULL, 0,
			"no master can be reached");
		free(t->uid);
		free(t->audience);
		free(t);
	}
}
