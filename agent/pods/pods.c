#include "agent/pods/pods.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/pods/pod.h"
#include "agent/runtime/dir_remove.h"
#include "common/api/make.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/log.h"

#define NS_PER_S INT64_C(1000000000)

int pods_create(const struct pods_options *options, struct pods **ret, struct status *st)
{
	struct pods *pods = xcalloc(1, sizeof(*pods));
	auto_with(buf_fini) struct buf boot = { 0 };

	pods->options = *options;
	pods->dir = xasprintf("%s/pods", options->dir);
	pods->log_dir = xasprintf("%s/logs", options->dir);
	pods->runtime_root = xasprintf("%s/crun", options->dir);
	list_init(&pods->list);
	int rc = dir_make(pods->dir, 0755, st);

	if (rc == 0)
		rc = dir_make(pods->log_dir, 0755, st);
	if (rc == 0)
		rc = dir_make(pods->runtime_root, 0700, st);
	if (rc == 0)
		rc = file_read("/proc/sys/kernel/random/boot_id", 64, &boot, st);
	if (rc < 0) {
		pods_destroy(pods);
		return rc;
	}
	pods->boot_id = xstrdup(buf_cstr(&boot));
	pods->boot_id[strcspn(pods->boot_id, "\n")] = '\0';
	*ret = pods;
	return 0;
}

static bool any_busy(const struct pods *pods)
{
	list_for_each(pod, &pods->list, struct pod, link) {
		if (pod->busy)
			return true;
	}
	return false;
}

void pods_destroy(struct pods *pods)
{
	if (pods == NULL)
		return;
	pods->stopping = true;
	while (any_busy(pods))
		uv_run(pods->options.loop, UV_RUN_ONCE);
	list_for_each(pod, &pods->list, struct pod, link)
		pod_destroy(pod);
	while (pods->live > 0)
		uv_run(pods->options.loop, UV_RUN_ONCE);
	address_pool_destroy(pods->addresses);
	free(pods->dir);
	free(pods->log_dir);
	free(pods->runtime_root);
	free(pods->boot_id);
	free(pods);
}

int pods_set_range(struct pods *pods, const char *cidr, struct status *st)
{
	autofree char *cursor = xasprintf("%s/next-address", pods->options.dir);
	struct address_pool *pool;
	int rc = address_pool_create(cidr, cursor, &pool, st);

	if (rc < 0)
		return rc;
	address_pool_destroy(pods->addresses);
	pods->addresses = pool;
	list_for_each(pod, &pods->list, struct pod, link) {
		if (pod->has_address)
			address_pool_mark(pool, pod->address);
	}
	list_for_each(pod, &pods->list, struct pod, link)
		pod_tick(pod);
	return 0;
}

static struct pod *find(const struct pods *pods, const char *uid)
{
	list_for_each(pod, &pods->list, struct pod, link) {
		if (strcmp(pod->uid, uid) == 0)
			return pod;
	}
	return NULL;
}

void pods_put(struct pods *pods, struct held_object *object)
{
	struct pod *pod = find(pods, object->uid);
	struct status st = { 0 };

	if (pod != NULL) {
		pod_update(pod, object);
		pod_tick(pod);
		return;
	}
	pod = pod_create(pods, object, &st);
	if (pod == NULL) {
		log_warn("pod not understood", "namespace=%s pod=%s error=%s", object->namespace, object->name,
			log_quote(text_of(st.message)));
		status_fini(&st);
		return;
	}
	pod_adopt(pod);
	if (pod->has_address && pods->addresses != NULL)
		address_pool_mark(pods->addresses, pod->address);
	if (pod->message->status && (text_is(pod->message->status->phase, "Succeeded") ||
					    text_is(pod->message->status->phase, "Failed")) &&
		!pod->sandbox) {
		/* It has ended for good; only its deletion is still to come. */
		if (pod->dirt)
			pod_clear_away(pods, pod->dir, pod->uid, false);
		pod->released = pod->frozen = true;
	}
	pod_tick(pod);
}

void pods_remove(struct pods *pods, const char *uid, int64_t grace_s)
{
	struct pod *pod = find(pods, uid);

	if (pod == NULL)
		return;
	if (grace_s < 0)
		grace_s = pod->message->spec->has_terminationgraceperiodseconds
			? pod->message->spec->terminationgraceperiodseconds
			: 30;
	/* A deletion that was asked for before keeps the grace it was given. */
	if (!pod->unwanted && !pod->removed)
		pod->stop_by_ns = pod_now_ns() + (grace_s < 2 ? 2 : grace_s) * NS_PER_S;
	pod->removed = pod->forgotten = true;
	pod_tick(pod);
}

static bool refers_to(const struct pod *pod, const struct held_object *object)
{
	const CoreV1__PodSpec *spec = pod->message->spec;
	bool map = strcmp(object->resource, "configmaps") == 0;

	if (strcmp(pod->namespace, object->namespace) != 0)
		return false;
	for (size_t i = 0; i < spec->n_volumes; i++) {
		const CoreV1__VolumeSource *s = spec->volumes[i]->volumesource;

		if (s == NULL)
			continue;
		if (map && s->configmap && s->configmap->localobjectreference &&
			text_is(s->configmap->localobjectreference->name, object->name))
			return true;
		if (!map && s->secret && text_is(s->secret->secretname, object->name))
			return true;
		for (size_t k = 0; s->projected && k < s->projected->n_sources; k++) {
			const CoreV1__VolumeProjection *p = s->projected->sources[k];
			const CoreV1__LocalObjectReference *r = map
				? p->configmap ? p->configmap->localobjectreference : NULL
				: p->secret    ? p->secret->localobjectreference
					       : NULL;

			if (r != NULL && text_is(r->name, object->name))
				return true;
		}
	}
	return false;
}

void pods_object_changed(struct pods *pods, const struct held_object *object)
{
	bool storage = strcmp(object->resource, "persistentvolumes") == 0 ||
		strcmp(object->resource, "persistentvolumeclaims") == 0;

	if (!storage && strcmp(object->resource, "configmaps") != 0 && strcmp(object->resource, "secrets") != 0)
		return;
	list_for_each(pod, &pods->list, struct pod, link) {
		/* A pod that waits for it may find it now. */
		if ((storage || strcmp(pod->namespace, object->namespace) == 0) && !pod->sandbox)
			pod->sandbox_not_before_ns = 0;
		for (size_t i = 0; i < pod->n_containers; i++) {
			struct container *c = &pod->containers[i];

			if (c->waiting_reason && strcmp(c->waiting_reason, "CreateContainerConfigError") == 0)
				c->facts.not_before_ns = 0;
		}
		if (!storage && refers_to(pod, object))
			pod->refresh_due = true;
		pod_tick(pod);
	}
}

void pods_adopted(struct pods *pods)
{
	DIR *d = opendir(pods->dir);

	for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
		if (e->d_name[0] == '.' || find(pods, e->d_name) != NULL)
			continue;
		autofree char *dir = xasprintf("%s/%s", pods->dir, e->d_name);

		log_info("clearing away a pod nobody wants", "uid=%s", e->d_name);
		pod_clear_away(pods, dir, e->d_name, false);
		dir_remove(dir);
	}
	if (d != NULL)
		closedir(d);
}

void pods_token(struct pods *pods, const char *uid, const char *audience, int64_t expiration_s,
	const char *token, int64_t expires_ns, const char *message)
{
	struct pod *pod = find(pods, uid);
	int64_t now_ns = pod_now_ns(), life_ns = expires_ns - now_ns;

	for (size_t i = 0; pod && i < pod->n_tokens; i++) {
		struct token_slot *t = &pod->tokens[i];

		if (strcmp(t->audience, audience) != 0 || t->expiration_s != expiration_s)
			continue;
		t->asked = false;
		if (token == NULL) {
			/* Asked for again when the pod looks next. */
			pod->sandbox_not_before_ns = now_ns + 5 * NS_PER_S;
			t->refresh_ns = now_ns + 30 * NS_PER_S;
			if (pod->trouble == NULL || strcmp(pod->trouble, message) != 0)
				pod_event(pod, NULL, "Warning", "FailedMount", "no service account token: %s", message);
			free(pod->trouble);
			pod->trouble = xstrdup(message);
			continue;
		}
		if (t->token != NULL)
			pod->refresh_due = true;
		free(t->token);
		t->token = xstrdup(token);
		t->expires_ns = expires_ns;
		/* At 80 % of its life, a day at most. */
		life_ns = life_ns > 30 * 3600 * NS_PER_S ? 24 * 3600 * NS_PER_S : life_ns / 10 * 8;
		t->refresh_ns = now_ns + (life_ns > 10 * NS_PER_S ? life_ns : 10 * NS_PER_S);
	}
	if (pod != NULL)
		pod_tick(pod);
}

struct pod *pods_find(const struct pods *pods, const char *uid)
{
	return find(pods, uid);
}

struct pod *pods_find_named(const struct pods *pods, const char *namespace, const char *name)
{
	list_for_each(pod, &pods->list, struct pod, link) {
		if (strcmp(pod->namespace, namespace) == 0 && strcmp(pod->name, name) == 0)
			return pod;
	}
	return NULL;
}

struct pod *pods_first(const struct pods *pods)
{
	return list_empty(&pods->list) ? NULL : list_first(&pods->list, struct pod, link);
}

struct pod *pods_next(const struct pod *pod)
{
	return pod->link.next == &pod->pods->list ? NULL : container_of(pod->link.next, struct pod, link);
}

const char **pods_images(const struct pods *pods, size_t *ret_n)
{
	const char **digests = NULL;
	size_t n = 0, cap = 0;

	list_for_each(pod, &pods->list, struct pod, link) {
		for (size_t i = 0; i < pod->n_containers; i++) {
			const struct container *c = &pod->containers[i];
			/* imageID ends in the digest. */
			const char *at = c->current.image_id ? strrchr(c->current.image_id, '@') : NULL;

			if (at != NULL && !pod->released) {
				array_grow(digests, n, cap);
				digests[n++] = at + 1;
			}
			if (c->image != NULL) {
				array_grow(digests, n, cap);
				digests[n++] = c->image->digest;
			}
		}
	}
	*ret_n = n;
	return digests;
}

const char *pod_uid(const struct pod *pod)
{
	return pod->uid;
}

const char *pod_namespace(const struct pod *pod)
{
	return pod->namespace;
}

const char *pod_name(const struct pod *pod)
{
	return pod->name;
}

const char *pod_dir(const struct pod *pod)
{
	return pod->dir;
}

const CoreV1__Pod *pod_object(const struct pod *pod)
{
	return pod->message;
}

struct bytes pod_status(const struct pod *pod)
{
	return buf_bytes(&pod->status);
}

bool pod_is_gone(const struct pod *pod)
{
	return pod->released && (pod->unwanted || pod->removed);
}

bool pod_is_released(const struct pod *pod)
{
	return pod->released;
}

void pod_forget(struct pod *pod)
{
	pod->forgotten = pod->removed = true;
	pod_tick(pod);
}

const char *pod_netns(const struct pod *pod)
{
	return pod->netns;
}

int pod_place(struct pod *pod, const char *name, struct container_place *ret, struct status *st)
{
	const char *standard = meta_annotation(pod->message->metadata, "kubectl.kubernetes.io/default-container");
	struct container *c;

	if (text_empty(name))
		name = standard && pod_container_named(pod, standard) ? standard : pod->message->spec->containers[0]->name;
	c = pod_container_named(pod, name);
	if (c == NULL)
		return status_set(st, -ENOENT, "container %s is not valid for pod %s", name, pod->name);
	*ret = (struct container_place){ .name = c->spec->name,
		.dir = c->dir,
		.id = text_of(c->current.id),
		.running = c->facts.phase == PHASE_RUNNING,
		.tty = c->spec->tty,
		.has_stdin = c->spec->stdin,
		.log_path = c->log_path,
		.previous_log_path = c->previous_log_path };
	return 0;
}
