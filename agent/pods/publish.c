/* What a pod tells: its status when it changed, and events. */
#include <stdio.h>
#include <string.h>

#include "agent/pods/pod.h"
#include "common/api/make.h"
#include "common/api/pack.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"

static void fill(const struct pod *pod, struct container_report *reports, const struct pod_facts *facts)
{
	for (size_t i = 0; i < pod->n_containers; i++) {
		const struct container *c = &pod->containers[i];
		bool waits = c->facts.phase == PHASE_ENDED && !facts->stop && !facts->released &&
			c->backoff_ns > 0 && facts->now_ns < c->facts.not_before_ns &&
			container_restarts(facts->policy, c->facts.kind, c->facts.exit_code);

		reports[i] = (struct container_report){ .spec = c->spec,
			.facts = &facts->containers[i],
			.current = c->current,
			.last = c->last,
			.ready = c->ready,
			.in_backoff = waits,
			.backoff_ns = c->backoff_ns,
			.waiting_reason = facts->stop ? NULL : c->waiting_reason,
			.waiting_message = c->waiting_message };
	}
}

void pod_publish(struct pod *pod, const struct pod_facts *facts, const struct pod_plan *plan)
{
	struct container_report reports[POD_CONTAINERS_MAX];
	auto_with(arena_fini) struct arena arena = { 0 };
	const CoreV1__PodStatus *before = pod->message->status;
	void *message;

	arena_init(&arena, 0);
	if (pod->frozen) {
		if (pod_is_gone(pod) && pod->pods->options.callbacks.changed != NULL)
			pod->pods->options.callbacks.changed(pod->pods->options.callbacks.ctx, pod);
		return;
	}
	if (pod->status.len > 0 && unpack_message(&core_v1__pod_status__descriptor, buf_bytes(&pod->status), &arena,
					   &message, NULL) == 0)
		before = message;
	fill(pod, reports, facts);
	struct pod_report report = { .pod = pod->message,
		.plan = plan,
		.facts = facts,
		.containers = reports,
		.started_ns = pod->started_ns,
		.host_ip = pod->pods->options.node->address,
		.pod_ip = pod->sandbox || pod->message->spec->hostnetwork ? pod->ip : "",
		.failed_reason = pod->failed_reason,
		.failed_message = pod->failed_message,
		.before = before };
	struct bytes packed = pack_message_in(&arena, pod_status_build(&report, &arena));
	bool same = packed.len == pod->status.len && memcmp(packed.data, pod->status.data, packed.len) == 0;

	if (!same) {
		buf_clear(&pod->status);
		buf_put(&pod->status, packed.data, packed.len);
	}
	if ((!same || pod_is_gone(pod)) && pod->pods->options.callbacks.changed != NULL)
		pod->pods->options.callbacks.changed(pod->pods->options.callbacks.ctx, pod);
}

void pod_event(struct pod *pod, const char *container, const char *type, const char *reason, const char *fmt,
	...)
{
	struct pods *pods = pod->pods;
	auto_with(arena_fini) struct arena arena = { 0 };
	va_list args;

	arena_init(&arena, 0);
	va_start(args, fmt);
	const char *text = arena_vprintf(&arena, fmt, args);
	va_end(args);
	log_info("event", "namespace=%s pod=%s type=%s reason=%s message=%s", pod->namespace, pod->name, type,
		reason, log_quote(text));
	if (pods->options.callbacks.event == NULL)
		return;

	CoreV1__Event *e = make(&arena, CoreV1__Event, core_v1__event);
	int64_t now_ns = pod_now_ns();
	bool init = false;

	for (size_t i = 0; container && i < pod->n_containers; i++)
		init = init || (strcmp(pod->containers[i].spec->name, container) == 0 &&
				       pod->containers[i].facts.kind != CONTAINER_MAIN);
	e->metadata = make(&arena, MetaV1__ObjectMeta, meta_v1__object_meta);
	e->metadata->namespace_ = pod->namespace;
	e->metadata->name = arena_printf(&arena, "%.200s.%016llx", pod->name,
		(unsigned long long)(now_ns + (int64_t)pods->event_sequence++ % 1000));
	e->involvedobject = make(&arena, CoreV1__ObjectReference, core_v1__object_reference);
	e->involvedobject->kind = arena_strdup(&arena, "Pod");
	e->involvedobject->apiversion = arena_strdup(&arena, "v1");
	e->involvedobject->namespace_ = pod->namespace;
	e->involvedobject->name = pod->name;
	e->involvedobject->uid = pod->uid;
	if (container != NULL)
		e->involvedobject->fieldpath =
			arena_printf(&arena, "spec.%s{%s}", init ? "initContainers" : "containers", container);
	e->reason = arena_strdup(&arena, reason);
	e->message = arena_printf(&arena, "%.*s", MESSAGE_MAX, text);
	e->source = make(&arena, CoreV1__EventSource, core_v1__event_source);
	e->source->component = arena_strdup(&arena, "sampan-agent");
	e->source->host = arena_strdup(&arena, pods->options.node->name);
	e->firsttimestamp = e->lasttimestamp = make_time(&arena, now_ns);
	make_set(e, count, 1);
	e->type = arena_strdup(&arena, type);
	e->reportingcomponent = e->source->component;
	e->reportinginstance = e->source->host;
	pods->options.callbacks.event(pods->options.callbacks.ctx, e);
}
