#include "agent/objects/objects.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/api/node_digest.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/map.h"
#include "proto/sampan/node.pb-c.h"

enum { OBJECT_FILE_MAX = 4 * 1024 * 1024 };

struct objects {
	uv_loop_t *loop;
	char *dir;
	struct tree tree;
	uint64_t digest;
};

/* A file to write or remove, away from the loop. Work on one file must keep its order, so that all of
 * it goes through one queue that is worked off by one request at a time. */
struct file_job {
	uv_work_t work;
	struct file_job *next;
	char *path;
	uint8_t *data; /* NULL: remove. */
	size_t len;
	int rc;
};

static struct file_job *jobs_head, **jobs_tail = &jobs_head;
static bool jobs_busy;

static int compare_key(const void *key, const struct tree_node *node)
{
	return strcmp(key, container_of(node, struct held_object, node)->key);
}

static char *key_of(const char *resource, const char *namespace, const char *name)
{
	return xasprintf("%s/%s/%s", resource, namespace ? namespace : "", name);
}

struct held_object *held_object_ref(struct held_object *o)
{
	o->refs++;
	return o;
}

void held_object_unref(struct held_object *o)
{
	if (o == NULL || --o->refs > 0)
		return;
	free(o->key);
	free(o->resource);
	free(o->namespace);
	free(o->name);
	free(o->uid);
	free((void *)o->packed.data);
	free(o);
}

static void run_file_job(uv_work_t *work)
{
	struct file_job *job = container_of(work, struct file_job, work);
	autofree char *temporary = xasprintf("%s.new", job->path);

	if (job->data == NULL) {
		job->rc = unlink(job->path) < 0 && errno != ENOENT ? -errno : 0;
		return;
	}
	autoclose int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, job->data, job->len) != (ssize_t)job->len || fdatasync(fd) < 0 ||
		rename(temporary, job->path) < 0)
		job->rc = errno ? -errno : -EIO;
}

static void start_file_job(uv_loop_t *loop);

static void on_file_job(uv_work_t *work, int status)
{
	struct file_job *job = container_of(work, struct file_job, work);
	uv_loop_t *loop = work->loop;

	if (job->rc < 0)
		log_warn("cannot store an object", "file=%s error=%s", log_quote(job->path),
			log_quote(strerror(-job->rc)));
	free(job->path);
	free(job->data);
	free(job);
	jobs_busy = false;
	start_file_job(loop);
}

static void start_file_job(uv_loop_t *loop)
{
	struct file_job *job = jobs_head;

	if (job == NULL || jobs_busy)
		return;
	jobs_head = job->next;
	if (jobs_head == NULL)
		jobs_tail = &jobs_head;
	jobs_busy = true;
	uv_queue_work(loop, &job->work, run_file_job, on_file_job);
}

static char *file_of(const struct objects *objects, const struct held_object *o)
{
	return xasprintf("%s/%016llx", objects->dir,
		(unsigned long long)hash_bytes(o->key, strlen(o->key)));
}

static void store_file(struct objects *objects, const struct held_object *o, bool removed)
{
	if (objects->dir == NULL)
		return;
	struct file_job *job = xcalloc(1, sizeof(*job));

	job->path = file_of(objects, o);
	if (!removed) {
		SampanNode__Held held = SAMPAN_NODE__HELD__INIT;
		SampanNode__Change change = SAMPAN_NODE__CHANGE__INIT;

		held.resource = o->resource;
		held.namespace_ = o->namespace;
		held.name = o->name;
		held.uid = o->uid;
		held.has_revision = 1;
		held.revision = o->revision;
		change.key = &held;
		change.has_object = 1;
		change.object.data = (uint8_t *)o->packed.data;
		change.object.len = o->packed.len;
		job->len = sampan_node__change__get_packed_size(&change);
		job->data = xmalloc(job->len + 1);
		sampan_node__change__pack(&change, job->data);
	}
	*jobs_tail = job;
	jobs_tail = &job->next;
	start_file_job(objects->loop);
}

static void drop(struct objects *objects, struct held_object *o)
{
	tree_remove(&objects->tree, &o->node);
	objects->digest -= node_digest(o->resource, o->namespace, o->name, o->uid, o->revision);
	held_object_unref(o);
}

static struct held_object *insert(struct objects *objects, const char *resource, const char *namespace,
	const char *name, const char *uid, uint64_t revision, struct bytes packed)
{
	struct held_object *o = xcalloc(1, sizeof(*o)), *old;

	o->refs = 1;
	o->key = key_of(resource, namespace, name);
	o->resource = xstrdup(resource);
	o->namespace = xstrdup(namespace ? namespace : "");
	o->name = xstrdup(name);
	o->uid = xstrdup(uid ? uid : "");
	o->revision = revision;
	o->packed = bytes_of(xmemdup(packed.data ? packed.data : (const uint8_t *)"", packed.len ? packed.len : 1),
		packed.len);
	old = tree_entry(tree_find(&objects->tree, o->key), struct held_object, node);
	if (old != NULL)
		drop(objects, old);
	tree_insert(&objects->tree, o->key, &o->node);
	objects->digest += node_digest(o->resource, o->namespace, o->name, o->uid, o->revision);
	return o;
}

struct held_object *objects_put(struct objects *objects, const char *resource, const char *namespace,
	const char *name, const char *uid, uint64_t revision, struct bytes packed)
{
	struct held_object *o = insert(objects, resource, namespace, name, uid, revision, packed);

	store_file(objects, o, false);
	return o;
}

void objects_remove(struct objects *objects, const char *resource, const char *namespace, const char *name)
{
	struct held_object *o = objects_find(objects, resource, namespace, name);

	if (o == NULL)
		return;
	store_file(objects, o, true);
	drop(objects, o);
}

struct held_object *objects_find(const struct objects *objects, const char *resource,
	const char *namespace, const char *name)
{
	autofree char *key = key_of(resource, namespace, name);

	return tree_entry(tree_find(&objects->tree, key), struct held_object, node);
}

uint64_t objects_digest(const struct objects *objects)
{
	return objects->digest;
}

size_t objects_count(const struct objects *objects)
{
	return objects->tree.count;
}

struct held_object *objects_first(const struct objects *objects)
{
	return tree_entry(tree_first(&objects->tree), struct held_object, node);
}

struct held_object *objects_next(struct held_object *o)
{
	return tree_entry(tree_next(&o->node), struct held_object, node);
}

/* False: not one of ours, or broken. */
static bool read_object(struct objects *objects, const char *path)
{
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	auto_with(buf_fini) struct buf text = { 0 };
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > OBJECT_FILE_MAX)
		return false;
	ssize_t n = read(fd, buf_reserve(&text, (size_t)st.st_size + 1), (size_t)st.st_size);

	if (n != st.st_size)
		return false;
	SampanNode__Change *change = sampan_node__change__unpack(NULL, (size_t)n, text.data);
	bool whole = change != NULL && change->key != NULL && change->key->resource && change->key->name &&
		change->key->uid && change->has_object;

	if (whole)
		insert(objects, change->key->resource, change->key->namespace_, change->key->name,
			change->key->uid, change->key->revision,
			bytes_of(change->object.data, change->object.len));
	sampan_node__change__free_unpacked(change, NULL);
	return whole;
}

static int read_all(struct objects *objects, struct status *st)
{
	DIR *d = opendir(objects->dir);

	if (d == NULL)
		return status_set(st, -errno, "cannot read %s: %s", objects->dir, strerror(errno));
	for (struct dirent *e; (e = readdir(d)) != NULL;) {
		if (e->d_name[0] == '.')
			continue;
		autofree char *path = xasprintf("%s/%s", objects->dir, e->d_name);

		if (strchr(e->d_name, '.') != NULL || !read_object(objects, path))
			unlink(path);
	}
	closedir(d);
	return 0;
}

int objects_create(uv_loop_t *loop, const char *dir, struct objects **ret, struct status *st)
{
	struct objects *objects = xcalloc(1, sizeof(*objects));
	int rc = 0;

	objects->loop = loop;
	tree_init(&objects->tree, compare_key);
	if (dir != NULL) {
		objects->dir = xstrdup(dir);
		if (mkdir(dir, 0700) < 0 && errno != EEXIST)
			rc = status_set(st, -errno, "cannot make %s: %s", dir, strerror(errno));
		else
			rc = read_all(objects, st);
	}
	if (rc < 0) {
		objects_destroy(objects);
		return rc;
	}
	*ret = objects;
	return 0;
}

void objects_destroy(struct objects *objects)
{
	if (objects == NULL)
		return;
	while (objects->tree.root != NULL)
		drop(objects, objects_first(objects));
	free(objects->dir);
	free(objects);
}

void object_list_add(struct object_list *list, struct held_object *o)
{
	if (o == NULL)
		return;
	for (size_t i = 0; i < list->n; i++) {
		if (list->items[i] == o)
			return;
	}
	array_grow(list->items, list->n, list->cap);
	list->items[list->n++] = held_object_ref(o);
}

void object_list_fini(struct object_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		held_object_unref(list->items[i]);
	free(list->items);
	*list = (struct object_list){ 0 };
}

const struct held_object *object_list_find(const struct object_list *list, const char *resource,
	const char *namespace, const char *name)
{
	for (size_t i = 0; i < list->n; i++) {
		const struct held_object *o = list->items[i];

		if (strcmp(o->resource, resource) == 0 && strcmp(o->name, name) == 0 &&
			strcmp(o->namespace, namespace ? namespace : "") == 0)
			return o;
	}
	return NULL;
}
