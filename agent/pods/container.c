/* One container of a pod: its image, its start, its end, its way out. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/pods/handler.h"
#include "agent/pods/pod.h"
#include "agent/pods/probes.h"
#include "agent/runtime/shim_client.h"
#include "agent/runtime/cri_reader.h"
#include "common/api/make.h"
#include "common/api/pack.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"

#define NS_PER_S INT64_C(1000000000)

enum {
	GRACE_DEFAULT_S = 30,
	KILL_RETRY_S = 5,
	AFTER_HOOK_S = 2, /* What is left for the signal after a long preStop. */
	TERMINATION_BYTES = 4096,
	FALLBACK_BYTES = 2048,
	FALLBACK_LINES = 80,
	PULL_SECRETS_MAX = 16,
};

void container_run_fini(struct container_run *run)
{
	free((char *)run->id);
	free((char *)run->reason);
	free((char *)run->message);
	free((char *)run->image);
	free((char *)run->image_id);
	*run = (struct container_run){ 0 };
}

static char *copy(const char *text)
{
	return text ? xstrdup(text) : NULL;
}

void container_fini(struct container *c)
{
	image_pull_cancel(c->pull);
	probes_stop(c);
	if (c->hook != NULL)
		handler_cancel(c->hook);
	image_unref(c->image);
	container_run_fini(&c->current);
	container_run_fini(&c->last);
	free(c->dir);
	free(c->log_path);
	free(c->previous_log_path);
	free(c->image_spec);
	free(c->waiting_reason);
	free(c->waiting_message);
}

void container_set_waiting(struct container *c, const char *reason, const char *message)
{
	free(c->waiting_reason);
	free(c->waiting_message);
	c->waiting_reason = copy(reason);
	c->waiting_message = copy(message);
}

void container_set_run_dir(struct container *c, int attempt)
{
	free(c->dir);
	free(c->log_path);
	free(c->previous_log_path);
	c->dir = xasprintf("%s/containers/%s/%d", c->pod->dir, c->spec->name, attempt);
	c->log_path = xasprintf("%s/%s/%d.log", c->pod->log_dir, c->spec->name, attempt);
	c->previous_log_path =
		attempt > 0 ? xasprintf("%s/%s/%d.log", c->pod->log_dir, c->spec->name, attempt - 1) : xstrdup("");
}

/* Images */

static enum image_policy pull_policy(const CoreV1__Container *c)
{
	const char *policy = text_of(c->imagepullpolicy);

	return strcmp(policy, "Always") == 0	     ? IMAGE_ALWAYS
		: strcmp(policy, "Never") == 0	     ? IMAGE_NEVER
		: strcmp(policy, "IfNotPresent") == 0 ? IMAGE_IF_NOT_PRESENT
						      : image_policy_default(text_of(c->image));
}

static void on_image(void *arg, struct image *image, const struct status *st)
{
	struct container *c = arg;
	struct pod *pod = c->pod;

	c->pull = NULL;
	c->pulling = false;
	image_unref(c->image);
	c->image = image ? image_ref(image) : NULL;
	c->facts.image_ready = image != NULL;
	if (image != NULL) {
		c->pull_backoff_s = 0;
		c->facts.not_before_ns = 0;
		container_set_waiting(c, NULL, NULL);
		pod_event(pod, c->spec->name, "Normal", "Pulled", "Container image \"%s\" is present on the machine",
			text_of(c->spec->image));
	} else {
		/* The first wait is ten seconds here, not none: a registry is asked again, not a program. */
		if (c->pull_backoff_s == 0)
			c->pull_backoff_s = 10;
		int64_t delay_ns = restart_backoff_ns(&c->pull_backoff_s, 0);

		c->facts.not_before_ns = pod_now_ns() + delay_ns;
		container_set_waiting(c, st->reason ? st->reason : "ErrImagePull", st->message);
		pod_event(pod, c->spec->name, "Warning", "Failed", "Failed to pull image \"%s\": %s",
			text_of(c->spec->image), st->message ? st->message : "no reason given");
	}
	pod_tick(pod);
}

/* The pod's pull secrets; strings are in the arena. */
static size_t pull_secrets(struct pod *pod, struct arena *arena, const char **ret_configs)
{
	const CoreV1__PodSpec *spec = pod->message->spec;
	size_t n = 0;

	for (size_t i = 0; i < spec->n_imagepullsecrets && n < PULL_SECRETS_MAX; i++) {
		struct held_object *o = objects_find(pod->pods->options.objects, "secrets", pod->namespace,
			text_of(spec->imagepullsecrets[i]->name));
		void *message;

		if (o == NULL || unpack_message(&core_v1__secret__descriptor, o->packed, arena, &message, NULL) < 0)
			continue;
		const CoreV1__Secret *s = message;

		for (size_t k = 0; k < s->n_data && n < PULL_SECRETS_MAX; k++) {
			if (strcmp(s->data[k]->key, ".dockerconfigjson") == 0 || strcmp(s->data[k]->key, ".dockercfg") == 0)
				ret_configs[n++] = arena_strndup(arena, (const char *)s->data[k]->value.data,
					s->data[k]->value.len);
		}
	}
	return n;
}

void container_pull(struct container *c)
{
	const char *configs[PULL_SECRETS_MAX];
	auto_with(arena_fini) struct arena arena = { 0 };

	if (c->pulling)
		return;
	arena_init(&arena, 0);
	c->pulling = true;
	/* A failed pull is told as a back-off while the next one has not ended. */
	if (c->waiting_reason != NULL && strcmp(c->waiting_reason, "ErrImagePull") == 0) {
		autofree char *message = xasprintf("Back-off pulling image \"%s\": %s", text_of(c->spec->image),
			text_of(c->waiting_message));

		container_set_waiting(c, "ImagePullBackOff", message);
	}
	struct image_request request = { .name = text_of(c->spec->image),
		.policy = pull_policy(c->spec),
		.docker_configs = configs,
		.n_docker_configs = pull_secrets(c->pod, &arena, configs) };
	struct image_pull *pull = images_resolve(c->pod->pods->options.images, &request, on_image, c);

	if (pull != NULL) {
		c->pull = pull;
		pod_event(c->pod, c->spec->name, "Normal", "Pulling", "Pulling image \"%s\"", request.name);
	}
}

/* Start and end */

static void on_post_start(void *arg, enum handler_result result, const char *output)
{
	struct container *c = arg;

	c->hook = NULL;
	if (result != HANDLER_OK) {
		pod_event(c->pod, c->spec->name, "Warning", "FailedPostStartHook", "PostStartHook failed: %s", output);
		container_want_restart(c, -1, "FailedPostStartHook");
	} else {
		probes_start(c);
	}
	pod_tick(c->pod);
}

void container_started(struct container *c, int64_t started_ns)
{
	const CoreV1__LifecycleHandler *hook = c->spec->lifecycle ? c->spec->lifecycle->poststart : NULL;

	c->current.started_ns = started_ns;
	c->facts.phase = PHASE_RUNNING;
	c->facts.kill = false;
	c->facts.stop = STOP_NOT;
	c->facts.started = false;
	c->ready = false;
	c->kill_grace_s = -1;
	/* The next start looks for the image again, as its policy says. */
	c->facts.image_ready = false;
	container_set_waiting(c, NULL, NULL);
	free(c->image_spec);
	c->image_spec = xstrdup(text_of(c->spec->image));
	pod_event(c->pod, c->spec->name, "Normal", "Started", "Started container %s", c->spec->name);
	if (hook != NULL) {
		struct handler handler = handler_of_hook(hook);

		c->hook = handler_start(c, &handler, UINT64_MAX, on_post_start, c);
	} else {
		probes_start(c);
	}
}

static char *read_file_head(const char *path, size_t max)
{
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	char *text = xmalloc(max + 1);
	ssize_t n = fd < 0 ? 0 : read(fd, text, max);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

/* What the container left as its last words. */
static char *termination_message(const struct container *c, int exit_code)
{
	autofree char *path = xasprintf("%s/termination-log", c->dir);
	char *text = read_file_head(path, TERMINATION_BYTES);

	if (*text == '\0' && exit_code != 0 && text_is(c->spec->terminationmessagepolicy, "FallbackToLogsOnError")) {
		free(text);
		return log_tail_text(c->log_path, FALLBACK_LINES, FALLBACK_BYTES);
	}
	return text;
}

void container_ended(struct container *c, const struct exit_record *record, const char *reason,
	const char *message)
{
	int64_t ran_ns = record->finished_ns - record->started_ns;
	int64_t delay_ns = restart_backoff_ns(&c->backoff_s, ran_ns > 0 ? ran_ns : 0);

	probes_stop(c);
	if (c->hook != NULL) {
		handler_cancel(c->hook);
		c->hook = NULL;
	}
	c->facts.phase = PHASE_ENDED;
	c->facts.exit_code = record->code;
	c->facts.stop = STOP_NOT;
	c->facts.kill = false;
	c->facts.started = false;
	c->ready = false;
	c->current.exit_code = record->code;
	c->current.signal = record->signal;
	c->current.oom = record->oom;
	if (record->started_ns != 0)
		c->current.started_ns = record->started_ns;
	c->current.finished_ns = record->finished_ns;
	free((char *)c->current.reason);
	free((char *)c->current.message);
	c->current.reason = copy(reason);
	c->current.message = message ? copy(message) : termination_message(c, record->code);
	c->backoff_ns = delay_ns;
	c->facts.not_before_ns = delay_ns ? record->finished_ns + delay_ns : 0;
	log_info("container ended", "namespace=%s pod=%s container=%s code=%d oom=%d", c->pod->namespace,
		c->pod->name, c->spec->name, record->code, record->oom);
}

void container_read_exit(struct container *c)
{
	autofree char *path = xasprintf("%s/exit", c->dir);
	struct exit_record record;
	int rc = exit_record_read(path, &record);

	if (rc < 0) {
		log_warn("no exit record", "namespace=%s pod=%s container=%s error=%s", c->pod->namespace,
			c->pod->name, c->spec->name, log_quote(strerror(-rc)));
		record = (struct exit_record){ .code = 137, .started_ns = c->current.started_ns,
			.finished_ns = pod_now_ns() };
		container_ended(c, &record, "ContainerStatusUnknown", "the container's exit was not recorded");
		return;
	}
	container_ended(c, &record, NULL, NULL);
}

/* The way out */

void container_want_restart(struct container *c, int64_t grace_s, const char *why)
{
	if (c->facts.phase != PHASE_RUNNING || c->facts.kill)
		return;
	c->facts.kill = true;
	c->kill_grace_s = grace_s;
	pod_event(c->pod, c->spec->name, "Normal", "Killing", "Container %s failed: %s, will be restarted",
		c->spec->name, why);
}

static void tell(struct container *c, int signal_number, bool all)
{
	static struct packet request;

	packet_begin(&request, "signal");
	packet_put(&request, "id", c->current.id);
	packet_putf(&request, "signal", "%d", signal_number);
	packet_putf(&request, "all", "%d", all);
	int rc = shim_tell(c->pod->dir, &request);

	if (rc < 0)
		log_warn("cannot signal a container", "namespace=%s pod=%s container=%s error=%s",
			c->pod->namespace, c->pod->name, c->spec->name, log_quote(strerror(-rc)));
}

static void send_stop_signal(struct container *c)
{
	struct image *image = c->image ? image_ref(c->image) : NULL;

	c->facts.stop = STOP_TERM;
	tell(c, container_stop_signal(c->spec, image), false);
	image_unref(image);
}

static void on_pre_stop(void *arg, enum handler_result result, const char *output)
{
	struct container *c = arg;
	int64_t least_ns = pod_now_ns() + AFTER_HOOK_S * NS_PER_S;

	c->hook = NULL;
	if (result != HANDLER_OK)
		pod_event(c->pod, c->spec->name, "Warning", "FailedPreStopHook", "PreStopHook failed: %s", output);
	if (c->facts.stop == STOP_HOOK) {
		if (c->facts.kill_at_ns < least_ns)
			c->facts.kill_at_ns = least_ns;
		send_stop_signal(c);
	}
	pod_tick(c->pod);
}

static int64_t stop_deadline(const struct container *c)
{
	const struct pod *pod = c->pod;
	const CoreV1__PodSpec *spec = pod->message->spec;
	int64_t grace_s = spec->has_terminationgraceperiodseconds ? spec->terminationgraceperiodseconds
								  : GRACE_DEFAULT_S;

	if (pod->unwanted || pod->removed || pod->failed_reason != NULL) {
		/* All containers share the pod's grace; the last sidecar gets a little in any case. */
		int64_t least_ns = pod_now_ns() + NS_PER_S;

		return pod->stop_by_ns > least_ns ? pod->stop_by_ns : least_ns;
	}
	if (c->kill_grace_s >= 0)
		grace_s = c->kill_grace_s;
	return pod_now_ns() + (grace_s < 1 ? 1 : grace_s) * NS_PER_S;
}

void container_stop(struct container *c)
{
	const CoreV1__LifecycleHandler *hook = c->spec->lifecycle ? c->spec->lifecycle->prestop : NULL;

	probes_stop(c);
	if (c->hook != NULL) {
		handler_cancel(c->hook);
		c->hook = NULL;
	}
	c->facts.kill_at_ns = stop_deadline(c);
	pod_event(c->pod, c->spec->name, "Normal", "Killing", "Stopping container %s", c->spec->name);
	if (hook != NULL) {
		struct handler handler = handler_of_hook(hook);

		c->facts.stop = STOP_HOOK;
		c->hook = handler_start(c, &handler, UINT64_MAX, on_pre_stop, c);
	} else {
		send_stop_signal(c);
	}
	c->pod->again = true; /* Its deadline is new. */
}

void container_kill(struct container *c)
{
	if (c->hook != NULL) {
		handler_cancel(c->hook);
		c->hook = NULL;
	}
	c->facts.stop = STOP_KILL;
	c->facts.kill_at_ns = pod_now_ns() + KILL_RETRY_S * NS_PER_S;
	tell(c, SIGKILL, true);
	c->pod->again = true;
}
