/* One pod: facts in, orders out, orders carried out.
 *
 * Only pod_tick() moves a pod. Whatever ends (a step, a container, a pull, a
 * hook) stores its result in the pod and calls pod_tick(); so does a change of
 * mind from the masters. */
#include "agent/pods/pod.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "agent/pods/handler.h"
#include "agent/pods/probes.h"
#include "agent/runtime/shim_client.h"
#include "common/api/make.h"
#include "common/api/pack.h"
#include "common/base/alloc.h"
#include "common/base/log.h"
#include "common/base/source.h"

#define NS_PER_S INT64_C(1000000000)

enum { GRACE_DEFAULT_S = 30, GRACE_MIN_S = 1, POD_BYTES_MAX = 16 * 1024 * 1024, TURNS_MAX = 8 };

int64_t pod_now_ns(void)
{
	return system_source.wall_ns(&system_source);
}

static void on_timer(uv_timer_t *timer)
{
	pod_tick(container_of(timer, struct pod, timer));
}

static bool name_is_safe(const char *text)
{
	if (text == NULL || *text == '\0' || strlen(text) > 253)
		return false;
	for (const char *p = text; *p; p++) {
		if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
			    *p == '-' || (*p == '.' && p > text)))
			return false;
	}
	return true;
}

/* Names become parts of paths, so nothing else is taken on. */
static int check_object(const CoreV1__Pod *pod, struct status *st)
{
	const CoreV1__PodSpec *spec = pod->spec;

	if (pod->metadata == NULL || !name_is_safe(pod->metadata->name) ||
		!name_is_safe(pod->metadata->namespace_) || !name_is_safe(pod->metadata->uid))
		return status_set(st, -EINVAL, "a pod needs a name, a namespace and a uid");
	if (spec == NULL || spec->n_containers == 0)
		return status_set(st, -EINVAL, "a pod needs containers");
	if (spec->n_containers + spec->n_initcontainers > POD_CONTAINERS_MAX)
		return status_set(st, -EINVAL, "more than %d containers in a pod", POD_CONTAINERS_MAX);
	for (size_t i = 0; i < spec->n_containers; i++) {
		if (!name_is_safe(spec->containers[i]->name))
			return status_set(st, -EINVAL, "containers[%zu].name is not a name", i);
	}
	for (size_t i = 0; i < spec->n_initcontainers; i++) {
		if (!name_is_safe(spec->initcontainers[i]->name))
			return status_set(st, -EINVAL, "initContainers[%zu].name is not a name", i);
	}
	return 0;
}

static int unpack_object(const struct held_object *object, struct arena *arena, const CoreV1__Pod **ret,
	struct status *st)
{
	void *message;

	arena_init(arena, POD_BYTES_MAX);
	int rc = unpack_message(&core_v1__pod__descriptor, object->packed, arena, &message, st);

	if (rc == 0)
		rc = check_object(message, st);
	if (rc < 0)
		arena_fini(arena);
	else
		*ret = message;
	return rc;
}

static enum container_kind kind_of_init(const CoreV1__Container *c)
{
	return text_is(c->restartpolicy, "Always") ? CONTAINER_SIDECAR : CONTAINER_INIT;
}

static void set_up_containers(struct pod *pod)
{
	const CoreV1__PodSpec *spec = pod->message->spec;

	pod->n_containers = spec->n_initcontainers + spec->n_containers;
	pod->containers = xcalloc(pod->n_containers, sizeof(*pod->containers));
	for (size_t i = 0; i < pod->n_containers; i++) {
		struct container *c = &pod->containers[i];
		bool init = i < spec->n_initcontainers;

		c->pod = pod;
		c->spec = init ? spec->initcontainers[i] : spec->containers[i - spec->n_initcontainers];
		c->facts.kind = init ? kind_of_init(c->spec) : CONTAINER_MAIN;
		c->kill_grace_s = -1;
		c->current.attempt = 0;
		c->dir = xstrdup("");
		c->log_path = xstrdup("");
		c->previous_log_path = xstrdup("");
	}
}

static void set_up_tokens(struct pod *pod)
{
	const CoreV1__PodSpec *spec = pod->message->spec;

	for (size_t i = 0; i < spec->n_volumes; i++) {
		const CoreV1__VolumeSource *source = spec->volumes[i]->volumesource;
		const CoreV1__ProjectedVolumeSource *p = source ? source->projected : NULL;

		for (size_t k = 0; p && k < p->n_sources && pod->n_tokens < TOKENS_MAX; k++) {
			const CoreV1__ServiceAccountTokenProjection *t = p->sources[k]->serviceaccounttoken;

			if (t == NULL)
				continue;
			pod->tokens[pod->n_tokens++] = (struct token_slot){ .audience = xstrdup(text_of(t->audience)),
				.expiration_s = t->has_expirationseconds ? t->expirationseconds : 3600 };
		}
	}
}

static bool has_size_limits(const CoreV1__PodSpec *spec)
{
	for (size_t i = 0; i < spec->n_volumes; i++) {
		const CoreV1__VolumeSource *s = spec->volumes[i]->volumesource;

		if (s != NULL && s->emptydir != NULL && s->emptydir->sizelimit != NULL &&
			text_empty(s->emptydir->medium))
			return true;
	}
	return false;
}

static void note_deletion(struct pod *pod)
{
	const MetaV1__ObjectMeta *meta = pod->message->metadata;
	const CoreV1__PodSpec *spec = pod->message->spec;

	if (meta->deletiontimestamp == NULL)
		return;
	int64_t grace_s = meta->has_deletiongraceperiodseconds ? meta->deletiongraceperiodseconds
		: spec->has_terminationgraceperiodseconds      ? spec->terminationgraceperiodseconds
							       : GRACE_DEFAULT_S;
	int64_t by_ns = pod_now_ns() + (grace_s < GRACE_MIN_S ? GRACE_MIN_S : grace_s) * NS_PER_S;

	/* Grace can be shortened by a second request, never prolonged. */
	if (!pod->unwanted || by_ns < pod->stop_by_ns)
		pod->stop_by_ns = by_ns;
	pod->unwanted = true;
	for (size_t i = 0; i < pod->n_containers; i++) {
		struct container_facts *f = &pod->containers[i].facts;

		if (f->stop != STOP_NOT && f->kill_at_ns > pod->stop_by_ns)
			f->kill_at_ns = pod->stop_by_ns;
	}
}

struct pod *pod_create(struct pods *pods, struct held_object *object, struct status *st)
{
	struct pod *pod = xcalloc(1, sizeof(*pod));

	if (unpack_object(object, &pod->arena, &pod->message, st) < 0) {
		free(pod);
		return NULL;
	}
	const MetaV1__ObjectMeta *meta = pod->message->metadata;

	pod->pods = pods;
	pod->object = held_object_ref(object);
	pod->uid = xstrdup(meta->uid);
	pod->namespace = xstrdup(meta->namespace_);
	pod->name = xstrdup(meta->name);
	pod->dir = xasprintf("%s/%s", pods->dir, pod->uid);
	pod->log_dir = xasprintf("%s/%s_%s_%s", pods->log_dir, pod->namespace, pod->name, pod->uid);
	pod->netns = pod->message->spec->hostnetwork ? xstrdup("") : xasprintf("%s/ns/net", pod->dir);
	pod->watch_fd = -1;
	pod->started_ns = pod_now_ns();
	if (pod->message->spec->hostnetwork)
		snprintf(pod->ip, sizeof(pod->ip), "%s", pods->options.node->address);
	set_up_containers(pod);
	set_up_tokens(pod);
	pod->has_limits = has_size_limits(pod->message->spec);
	uv_timer_init(pods->options.loop, &pod->timer);
	pod->handles = 1;
	pods->live++;
	list_push_back(&pods->list, &pod->link);
	note_deletion(pod);
	return pod;
}

/* The spec of a pod can hardly change; what can is taken over here. */
void pod_update(struct pod *pod, struct held_object *object)
{
	struct status st = { 0 };
	struct arena arena;
	const CoreV1__Pod *message;
	const CoreV1__PodSpec *spec;

	if (unpack_object(object, &arena, &message, &st) < 0 ||
		message->spec->n_initcontainers + message->spec->n_containers != pod->n_containers) {
		log_warn("pod update not understood", "namespace=%s pod=%s error=%s", pod->namespace, pod->name,
			log_quote(st.message ? st.message : "its containers changed"));
		if (st.message == NULL)
			arena_fini(&arena);
		status_fini(&st);
		return;
	}
	held_object_ref(object);
	held_object_unref(pod->object);
	pod->object = object;
	arena_fini(&pod->arena);
	pod->arena = arena;
	pod->message = message;
	spec = message->spec;
	for (size_t i = 0; i < pod->n_containers; i++) {
		struct container *c = &pod->containers[i];

		c->spec = i < spec->n_initcontainers ? spec->initcontainers[i]
						     : spec->containers[i - spec->n_initcontainers];
		if (c->image_spec == NULL || strcmp(c->image_spec, text_of(c->spec->image)) == 0)
			continue;
		image_unref(c->image);
		c->image = NULL;
		c->facts.image_ready = false;
		if (c->facts.phase == PHASE_RUNNING)
			container_want_restart(c, -1, "its image was changed");
	}
	pod->refresh_due = true; /* Labels and annotations may be in downwardAPI volumes. */
	note_deletion(pod);
}

static void maybe_free(struct pod *pod)
{
	struct pods *pods = pod->pods;

	if (pod->handles > 0)
		return;
	arena_fini(&pod->arena);
	buf_fini(&pod->status);
	free(pod->containers);
	for (size_t i = 0; i < pod->n_tokens; i++) {
		free(pod->tokens[i].audience);
		free(pod->tokens[i].token);
	}
	free(pod->uid);
	free(pod->namespace);
	free(pod->name);
	free(pod->dir);
	free(pod->log_dir);
	free(pod->netns);
	free(pod->trouble);
	free(pod->failed_reason);
	free(pod->failed_message);
	held_object_unref(pod->object);
	free(pod);
	pods->live--;
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct pod *pod = container_of((uv_timer_t *)handle, struct pod, timer);

	pod->handles--;
	maybe_free(pod);
}

static void on_watch_closed(uv_handle_t *handle)
{
	struct pod *pod = container_of((uv_poll_t *)handle, struct pod, watch);

	close(pod->watch_fd);
	pod->watch_fd = -1;
	pod->handles--;
	if (pod->dying)
		maybe_free(pod);
	else
		pod_tick(pod);
}

void pod_unwatch(struct pod *pod)
{
	if (!pod->watching)
		return;
	pod->watching = false;
	uv_poll_stop(&pod->watch);
	uv_close((uv_handle_t *)&pod->watch, on_watch_closed);
}

/* The agent does not look after it any more; no work of its own may be under way. */
void pod_destroy(struct pod *pod)
{
	assert(!pod->busy);
	pod->dying = true;
	list_remove(&pod->link);
	pod_unwatch(pod);
	for (size_t i = 0; i < pod->n_containers; i++)
		container_fini(&pod->containers[i]);
	uv_close((uv_handle_t *)&pod->timer, on_timer_closed);
}

struct container *pod_container_named(struct pod *pod, const char *name)
{
	for (size_t i = 0; i < pod->n_containers; i++) {
		if (strcmp(pod->containers[i].spec->name, name) == 0)
			return &pod->containers[i];
	}
	return NULL;
}

void pod_fail(struct pod *pod, const char *reason, const char *message)
{
	if (pod->failed_reason != NULL)
		return;
	pod->failed_reason = xstrdup(reason);
	pod->failed_message = xstrdup(message);
	pod->stop_by_ns = pod_now_ns() + (pod->message->spec->has_terminationgraceperiodseconds
			? pod->message->spec->terminationgraceperiodseconds
			: GRACE_DEFAULT_S) * NS_PER_S;
	pod_write_state(pod);
}

bool pod_stops(const struct pod *pod)
{
	return pod->unwanted || pod->removed || pod->failed_reason != NULL;
}

/* What a shim's death leaves behind is killed with its next sandbox. */
static void shim_lost(struct pod *pod)
{
	log_warn("shim lost", "namespace=%s pod=%s", pod->namespace, pod->name);
	pod->sandbox = false;
	pod->dirt = true;
	for (size_t i = 0; i < pod->n_containers; i++) {
		struct container *c = &pod->containers[i];
		struct exit_record record = { .code = 137, .started_ns = c->current.started_ns,
			.finished_ns = pod_now_ns() };

		if (c->facts.phase == PHASE_RUNNING)
			container_ended(c, &record, "ContainerStatusUnknown",
				"the process that kept the container ended unexpectedly");
	}
}

static void on_watch(uv_poll_t *handle, int status, int events)
{
	struct pod *pod = container_of(handle, struct pod, watch);
	static struct packet packet;
	int rc;

	if (!pod->watching)
		return;
	while ((rc = packet_receive(pod->watch_fd, &packet)) == 0) {
		const char *id = packet_get(&packet, "container"), *state = packet_get(&packet, "state");

		for (size_t i = 0; id && state && i < pod->n_containers; i++) {
			struct container *c = &pod->containers[i];

			if (c->current.id && strcmp(c->current.id, id) == 0 && strcmp(state, "exited") == 0 &&
				c->facts.phase == PHASE_RUNNING)
				container_read_exit(c);
		}
	}
	if (rc != -EAGAIN) {
		pod_unwatch(pod);
		if (!pod->released && !pod->busy)
			shim_lost(pod);
	}
	pod_tick(pod);
}

int pod_watch(struct pod *pod)
{
	static struct packet request;

	if (pod->watch_fd >= 0)
		return -EBUSY; /* The old one is being closed; its end ticks. */
	int rc = shim_connect(pod->dir, &pod->watch_fd);

	if (rc < 0)
		return rc;
	packet_begin(&request, "watch");
	rc = packet_send(pod->watch_fd, &request, NULL, 0);
	if (rc < 0) {
		close(pod->watch_fd);
		pod->watch_fd = -1;
		return rc;
	}
	uv_poll_init(pod->pods->options.loop, &pod->watch, pod->watch_fd);
	uv_poll_start(&pod->watch, UV_READABLE, on_watch);
	pod->watching = true;
	pod->handles++;
	return 0;
}

/* True when every token the volumes need is here; the missing ones are asked for. */
static bool have_tokens(struct pod *pod, int64_t now_ns)
{
	const struct pods_callbacks *cb = &pod->pods->options.callbacks;
	bool all = true;

	for (size_t i = 0; i < pod->n_tokens; i++) {
		struct token_slot *t = &pod->tokens[i];

		if ((t->token == NULL || now_ns >= t->refresh_ns) && !t->asked && cb->need_token != NULL) {
			t->asked = true;
			cb->need_token(cb->ctx, pod, t->audience, t->expiration_s);
		}
		all = all && (t->token != NULL || cb->need_token == NULL);
	}
	return all;
}


static void check_deadline(struct pod *pod, int64_t now_ns, int64_t *wake_ns)
{
	const CoreV1__PodSpec *spec = pod->message->spec;

	if (!spec->has_activedeadlineseconds || pod->failed_reason != NULL || pod->released)
		return;
	int64_t deadline_ns = pod->started_ns + spec->activedeadlineseconds * NS_PER_S;

	if (now_ns >= deadline_ns)
		pod_fail(pod, "DeadlineExceeded", "Pod was active on the node longer than the specified deadline");
	else if (deadline_ns < *wake_ns)
		*wake_ns = deadline_ns;
}

static enum restart_policy policy_of(const CoreV1__PodSpec *spec)
{
	return text_is(spec->restartpolicy, "Never") ? RESTART_NEVER
		: text_is(spec->restartpolicy, "OnFailure") ? RESTART_ON_FAILURE
							    : RESTART_ALWAYS;
}

static void gather(const struct pod *pod, struct container_facts *containers, struct pod_facts *facts)
{
	for (size_t i = 0; i < pod->n_containers; i++)
		containers[i] = pod->containers[i].facts;
	*facts = (struct pod_facts){ .now_ns = pod_now_ns(),
		.policy = policy_of(pod->message->spec),
		.stop = pod_stops(pod),
		.sandbox = pod->sandbox,
		.released = pod->released,
		.busy = pod->busy,
		.sandbox_not_before_ns = pod->sandbox_not_before_ns,
		.containers = containers,
		.n_containers = pod->n_containers };
}

static void act(struct pod *pod, const struct pod_order *o, int64_t now_ns)
{
	struct container *c = &pod->containers[o->container];

	switch (o->step) {
	case STEP_SANDBOX:
		if (have_tokens(pod, now_ns))
			work_sandbox(pod);
		break;
	case STEP_PULL:
		container_pull(c);
		break;
	case STEP_START:
		work_start(c);
		break;
	case STEP_STOP:
		container_stop(c);
		break;
	case STEP_TERM:
	case STEP_KILL:
		container_kill(c);
		break;
	case STEP_RELEASE:
		work_release(pod);
		break;
	}
}

/* Work on the pod as a whole that is due while it runs. */
static void maintain(struct pod *pod, int64_t now_ns, int64_t *wake_ns)
{
	if (!pod->sandbox || pod->busy || pod->released || pod_stops(pod))
		return;
	for (size_t i = 0; i < pod->n_tokens; i++) {
		if (pod->tokens[i].token != NULL && pod->tokens[i].refresh_ns < *wake_ns)
			*wake_ns = pod->tokens[i].refresh_ns;
	}
	have_tokens(pod, now_ns);
	if (pod->refresh_due && now_ns >= pod->refresh_at_ns)
		work_refresh(pod);
	else if (pod->refresh_due && pod->refresh_at_ns < *wake_ns)
		*wake_ns = pod->refresh_at_ns;
	if (pod->has_limits && !pod->busy && now_ns >= pod->limits_at_ns)
		work_limits(pod);
	else if (pod->has_limits && pod->limits_at_ns < *wake_ns)
		*wake_ns = pod->limits_at_ns;
}

static void arm(struct pod *pod, int64_t now_ns, int64_t wake_ns)
{
	if (wake_ns == INT64_MAX) {
		uv_timer_stop(&pod->timer);
		return;
	}
	int64_t ms = wake_ns > now_ns ? (wake_ns - now_ns) / 1000000 + 1 : 1;

	uv_timer_start(&pod->timer, on_timer, (uint64_t)(ms > 3600000 ? 3600000 : ms), 0);
}

static void turn(struct pod *pod)
{
	struct container_facts containers[POD_CONTAINERS_MAX];
	struct pod_facts facts;
	struct pod_plan plan;
	int64_t wake_ns = INT64_MAX;

	check_deadline(pod, pod_now_ns(), &wake_ns);
	gather(pod, containers, &facts);
	pod_decide(&facts, &plan);
	for (size_t i = 0; i < plan.n_orders; i++)
		act(pod, &plan.orders[i], facts.now_ns);
	maintain(pod, facts.now_ns, &wake_ns);
	/* What was just done is in the status already. */
	gather(pod, containers, &facts);
	pod_publish(pod, &facts, &plan);
	arm(pod, facts.now_ns, plan.wake_ns < wake_ns ? plan.wake_ns : wake_ns);
}

void pod_tick(struct pod *pod)
{
	if (pod->dying || pod->pods->stopping)
		return;
	if (pod->ticking) {
		pod->again = true;
		return;
	}
	pod->ticking = true;
	for (int i = 0; i < TURNS_MAX; i++) {
		pod->again = false;
		turn(pod);
		if (!pod->again)
			break;
	}
	pod->ticking = false;
	if (pod->again)
		uv_timer_start(&pod->timer, on_timer, 1, 0);
	/* Nothing left to do and nobody left to tell. */
	if (pod->released && pod->forgotten && pod->removed && !pod->busy)
		work_remove(pod);
}
