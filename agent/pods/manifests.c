#include "agent/pods/manifests.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/api/json.h"
#include "common/api/kinds.h"
#include "common/api/make.h"
#include "common/api/pack.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/list.h"
#include "common/base/log.h"
#include "common/base/map.h"

enum { MANIFEST_MAX = 1024 * 1024, SETTLE_MS = 50 };

/* One file, as last read. */
struct manifest {
	struct list link;
	char *file;
	uint64_t hash; /* Of its content. */
	bool seen;
	char *resource, *namespace, *name, *uid; /* resource NULL: it could not be read. */
};

struct manifests {
	struct manifests_options options;
	char *dir, *node, *status_dir;
	uv_fs_event_t event;
	uv_timer_t timer;
	struct list list;
	struct objects *pods; /* The static pods, apart from what the masters know. */
	int handles;
	void (*stopped)(void *arg);
	void *stopped_arg;
};

static void forget(struct manifests *m, struct manifest *f)
{
	if (f->resource == NULL)
		return;
	if (strcmp(f->resource, "pods") == 0) {
		pods_remove(m->options.pods, f->uid, -1);
		objects_remove(m->pods, f->resource, f->namespace, f->name);
	} else if (m->options.objects != NULL) {
		objects_remove(m->options.objects, f->resource, f->namespace, f->name);
	}
	free(f->resource);
	free(f->namespace);
	free(f->name);
	free(f->uid);
	f->resource = f->namespace = f->name = f->uid = NULL;
}

/* In the form of a UUID; equal for equal content on one node. */
static char *uid_of(const struct manifests *m, const char *file, struct bytes text)
{
	uint64_t a = hash_bytes(text.data, text.len), b = hash_bytes(file, strlen(file));

	b ^= hash_bytes(m->node, strlen(m->node)) * 31;
	b ^= a * 0x9e3779b97f4a7c15;
	return xasprintf("%08x-%04x-%04x-%04x-%012llx", (unsigned)(a >> 32), (unsigned)(a >> 16 & 0xffff),
		(unsigned)(a & 0xffff), (unsigned)(b >> 48), (unsigned long long)(b & 0xffffffffffff));
}

static void take_object(struct manifests *m, struct manifest *f, const struct kind *kind, void *message,
	MetaV1__ObjectMeta *meta, struct arena *a)
{
	bool pod = strcmp(kind->resource, "pods") == 0;

	if (pod)
		meta->name = arena_printf(a, "%s-%s", text_of(meta->name), m->node);
	if (text_empty(meta->namespace_))
		meta->namespace_ = arena_strdup(a, "default");
	f->resource = xstrdup(kind->resource);
	f->namespace = xstrdup(meta->namespace_);
	f->name = xstrdup(text_of(meta->name));
	meta->uid = f->uid;

	struct bytes packed = pack_message_in(a, message);
	struct held_object *o = objects_put(pod ? m->pods : m->options.objects, f->resource, f->namespace, f->name,
		f->uid, f->hash, packed);

	if (pod)
		pods_put(m->options.pods, o);
	else
		pods_object_changed(m->options.pods, o);
}

static int read_manifest(struct manifests *m, struct manifest *f, struct bytes text, struct status *st)
{
	auto_with(arena_fini) struct arena a = { 0 };
	const char *api_version, *name;
	struct json_read read = { .validation = FIELDS_STRICT };
	void *message;

	arena_init(&a, 16 * MANIFEST_MAX);
	int rc = json_read_type(text, &a, &api_version, &name, st);

	if (rc < 0)
		return rc;
	const struct kind *kind = api_version && name ? kind_of_type(api_version, name) : NULL;

	if (kind == NULL)
		return status_set(st, -EINVAL, "apiVersion and kind do not name a known kind");
	if (strcmp(kind->resource, "pods") != 0 &&
		(m->options.objects == NULL || (strcmp(kind->resource, "configmaps") != 0 &&
						       strcmp(kind->resource, "secrets") != 0 &&
						       strcmp(kind->resource, "services") != 0)))
		return status_set(st, -EINVAL, "a %s cannot be run from a manifest", name);
	rc = json_read_message(kind->descriptor, text, &a, &read, &message, st);
	if (rc < 0)
		return rc;
	MetaV1__ObjectMeta *meta = message_metadata(message);

	if (meta == NULL || text_empty(meta->name))
		return status_set(st, -EINVAL, "metadata.name is missing");
	f->uid = uid_of(m, f->file, text);
	take_object(m, f, kind, message, meta, &a);
	return 0;
}

static struct manifest *find_file(struct manifests *m, const char *file)
{
	list_for_each(f, &m->list, struct manifest, link) {
		if (strcmp(f->file, file) == 0)
			return f;
	}
	struct manifest *f = xcalloc(1, sizeof(*f));

	f->file = xstrdup(file);
	list_push_back(&m->list, &f->link);
	return f;
}

static void look_at(struct manifests *m, const char *file)
{
	auto_with(buf_fini) struct buf text = { 0 };
	autofree char *path = xasprintf("%s/%s", m->dir, file);
	struct status st = { 0 };

	if (file_read(path, MANIFEST_MAX, &text, &st) < 0) {
		log_warn("manifest not read", "file=%s error=%s", log_quote(path), log_quote(text_of(st.message)));
		status_fini(&st);
		return;
	}
	struct manifest *f = find_file(m, file);
	uint64_t hash = hash_bytes(text.data, text.len);

	f->seen = true;
	if (hash == f->hash)
		return;
	forget(m, f);
	f->hash = hash;
	if (read_manifest(m, f, buf_bytes(&text), &st) < 0) {
		log_warn("manifest refused", "file=%s error=%s", log_quote(path), log_quote(text_of(st.message)));
		free(f->uid);
		f->uid = NULL;
	}
	status_fini(&st);
}

static bool is_manifest(const char *name)
{
	size_t n = strlen(name);

	return n > 5 && name[0] != '.' && strcmp(name + n - 5, ".json") == 0;
}

/* In the order of their names, so that what a pod uses can be named to come before it. */
static void scan(struct manifests *m)
{
	struct dirent **entries;
	int n = scandir(m->dir, &entries, NULL, alphasort);

	list_for_each(f, &m->list, struct manifest, link)
		f->seen = false;
	for (int i = 0; i < n; i++) {
		if (is_manifest(entries[i]->d_name))
			look_at(m, entries[i]->d_name);
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
	list_for_each(f, &m->list, struct manifest, link) {
		if (f->seen)
			continue;
		forget(m, f);
		list_remove(&f->link);
		free(f->file);
		free(f);
	}
}

static void on_timer(uv_timer_t *timer)
{
	scan(container_of(timer, struct manifests, timer));
}

static void on_event(uv_fs_event_t *event, const char *file, int events, int status)
{
	struct manifests *m = container_of(event, struct manifests, event);

	/* Whoever writes a file may write it in pieces. */
	uv_timer_start(&m->timer, on_timer, SETTLE_MS, 0);
}

int manifests_start(const struct manifests_options *options, struct manifests **ret, struct status *st)
{
	struct manifests *m = xcalloc(1, sizeof(*m));

	m->options = *options;
	m->dir = xstrdup(options->dir);
	m->node = xstrdup(options->node);
	m->status_dir = options->status_dir ? xstrdup(options->status_dir) : NULL;
	list_init(&m->list);
	uv_fs_event_init(options->loop, &m->event);
	uv_timer_init(options->loop, &m->timer);
	m->handles = 2;
	*ret = m;
	int rc = objects_create(options->loop, NULL, &m->pods, st);

	if (rc == 0 && m->status_dir != NULL)
		rc = dir_make(m->status_dir, 0755, st);
	if (rc == 0) {
		rc = uv_fs_event_start(&m->event, on_event, m->dir, 0);
		if (rc < 0)
			status_set(st, rc, "cannot watch the manifests in %s: %s", m->dir, uv_strerror(rc));
	}
	if (rc == 0)
		scan(m);
	return rc;
}

static void on_closed(uv_handle_t *handle)
{
	struct manifests *m = handle->type == UV_TIMER ? container_of((uv_timer_t *)handle, struct manifests, timer)
						       : container_of((uv_fs_event_t *)handle, struct manifests, event);

	if (--m->handles > 0)
		return;
	list_for_each(f, &m->list, struct manifest, link) {
		free(f->file);
		free(f->resource);
		free(f->namespace);
		free(f->name);
		free(f->uid);
		free(f);
	}
	objects_destroy(m->pods);
	free(m->dir);
	free(m->node);
	free(m->status_dir);
	if (m->stopped != NULL)
		m->stopped(m->stopped_arg);
	free(m);
}

void manifests_stop(struct manifests *m, void (*cb)(void *arg), void *arg)
{
	m->stopped = cb;
	m->stopped_arg = arg;
	uv_close((uv_handle_t *)&m->event, on_closed);
	uv_close((uv_handle_t *)&m->timer, on_closed);
}

bool manifests_has(const struct manifests *m, const char *uid)
{
	for (struct held_object *o = objects_first(m->pods); o; o = objects_next(o)) {
		if (strcmp(o->uid, uid) == 0)
			return true;
	}
	return false;
}

void manifests_pod_changed(struct manifests *m, struct pod *pod)
{
	auto_with(buf_fini) struct buf text = { 0 };
	struct bytes packed = pod_status(pod);

	if (m->status_dir == NULL)
		return;
	autofree char *path = xasprintf("%s/%s_%s.json", m->status_dir, pod_namespace(pod), pod_name(pod));

	if (pod_is_gone(pod)) {
		unlink(path);
		return;
	}
	if (json_put_packed(&text, &core_v1__pod_status__descriptor, packed, NULL) < 0)
		return;
	autofree char *temporary = xasprintf("%s.new", path);
	FILE *file = fopen(temporary, "we");

	if (file == NULL)
		return;
	fwrite(text.data, 1, text.len, file);
	if (fclose(file) == 0)
		rename(temporary, path);
}
