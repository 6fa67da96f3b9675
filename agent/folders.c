#include "agent/folders.h"

#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/volumes/local_path.h"
#include "common/api/make.h"
#include "common/api/pack.h"
#include "common/api/storage_names.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/list.h"
#include "common/base/log.h"

enum { RETRY_MS = 2000, VOLUME_BYTES_MAX = 1024 * 1024 };

/* A volume whose folder is to go. */
struct folder {
	struct list link;
	struct folders *folders;
	char *name, *uid;
	char *claim_namespace, *claim_name; /* Of the claim it was; "" for none. */
	bool busy, gone;
	bool dropped; /* The masters do not know it any more. */
	uv_work_t work;
	struct status st;
	int rc;
};

struct folders {
	struct agent *agent;
	struct list list;
	uv_timer_t retry;
};

static void folder_free(struct folder *f)
{
	list_remove(&f->link);
	free(f->name);
	free(f->uid);
	free(f->claim_namespace);
	free(f->claim_name);
	status_fini(&f->st);
	free(f);
}

static struct folder *find(struct folders *folders, const char *uid)
{
	list_for_each(f, &folders->list, struct folder, link) {
		if (strcmp(f->uid, uid) == 0)
			return f;
	}
	return NULL;
}

/* Whatever the masters say: no folder goes from under a pod. */
static bool is_in_use(const struct agent *a, const struct folder *f)
{
	for (struct pod *pod = pods_first(a->pods); pod; pod = pods_next(pod)) {
		const CoreV1__PodSpec *spec = pod_object(pod)->spec;

		if (pod_is_released(pod) || strcmp(pod_namespace(pod), f->claim_namespace) != 0)
			continue;
		for (size_t i = 0; i < spec->n_volumes; i++) {
			const CoreV1__VolumeSource *s = spec->volumes[i]->volumesource;
			autofree char *ephemeral = xasprintf("%s-%s", pod_name(pod), text_of(spec->volumes[i]->name));

			if (s == NULL)
				continue;
			if (s->persistentvolumeclaim && text_is(s->persistentvolumeclaim->claimname, f->claim_name))
				return true;
			if (s->ephemeral && strcmp(ephemeral, f->claim_name) == 0)
				return true;
		}
	}
	return false;
}

static void on_retry(uv_timer_t *timer);

static void retry(struct folders *folders)
{
	if (!uv_is_active((uv_handle_t *)&folders->retry))
		uv_timer_start(&folders->retry, on_retry, RETRY_MS, 0);
}

static void run_remove(uv_work_t *work)
{
	struct folder *f = container_of(work, struct folder, work);

	f->rc = local_path_remove(f->folders->agent->local_path_dir, f->name, &f->st);
}

static void tell(struct folder *f)
{
	if (f->folders->agent->session != NULL)
		session_report_removed_volume(f->folders->agent->session, f->name, f->uid);
}

static void after_remove(uv_work_t *work, int status)
{
	struct folder *f = container_of(work, struct folder, work);

	f->busy = false;
	if (f->rc < 0) {
		log_error("the folder of a volume cannot be removed", "volume=%s error=%s", f->name,
			log_quote(text_of(f->st.message)));
		status_fini(&f->st);
		f->st = (struct status){ 0 };
		retry(f->folders);
	} else if (!f->gone) {
		f->gone = true;
		log_info("the folder of a volume is removed", "volume=%s", f->name);
	}
	if (f->dropped)
		folder_free(f);
	else if (f->gone)
		tell(f);
}

static void begin(struct folder *f)
{
	if (f->busy || f->gone)
		return;
	if (is_in_use(f->folders->agent, f)) {
		retry(f->folders);
		return;
	}
	f->busy = true;
	uv_queue_work(&f->folders->agent->loop, &f->work, run_remove, after_remove);
}

static void on_retry(uv_timer_t *timer)
{
	struct folders *folders = container_of(timer, struct folders, retry);

	list_for_each(f, &folders->list, struct folder, link)
		begin(f);
}

/* Deleted, no claim's any more, made here by our provisioner, and not to be kept. */
static bool is_to_go(const struct agent *a, const CoreV1__PersistentVolume *pv)
{
	const MetaV1__ObjectMeta *meta = pv->metadata;

	return meta != NULL && pv->spec != NULL && meta->deletiontimestamp != NULL &&
		meta_has_finalizer(meta, LOCAL_PATH_FINALIZER) && !meta_has_finalizer(meta, PV_PROTECTION) &&
		text_is(meta_annotation(meta, PROVISIONED_BY), LOCAL_PATH_PROVISIONER) &&
		text_is(meta_label(meta, LOCAL_PATH_NODE), a->node) &&
		text_is(pv->spec->persistentvolumereclaimpolicy, "Delete");
}

void folders_put(struct folders *folders, const struct held_object *volume)
{
	auto_with(arena_fini) struct arena arena = { 0 };
	struct folder *f = find(folders, volume->uid);
	const CoreV1__PersistentVolume *pv;
	void *message;

	if (f != NULL && f->gone) {
		tell(f); /* It changed while it was told. */
		return;
	}
	arena_init(&arena, VOLUME_BYTES_MAX);
	if (unpack_message(&core_v1__persistent_volume__descriptor, volume->packed, &arena, &message, NULL) < 0)
		return;
	pv = message;
	if (f == NULL && is_to_go(folders->agent, pv)) {
		const CoreV1__ObjectReference *claim = pv->spec->claimref;

		f = xcalloc(1, sizeof(*f));
		f->folders = folders;
		f->name = xstrdup(volume->name);
		f->uid = xstrdup(volume->uid);
		f->claim_namespace = xstrdup(text_of(claim ? claim->namespace_ : NULL));
		f->claim_name = xstrdup(text_of(claim ? claim->name : NULL));
		list_push_back(&folders->list, &f->link);
	}
	if (f != NULL)
		begin(f);
}

void folders_removed(struct folders *folders, const struct held_object *volume)
{
	struct folder *f = find(folders, volume->uid);

	if (f == NULL)
		return;
	f->dropped = true;
	if (!f->busy)
		folder_free(f);
}

struct folders *folders_create(struct agent *a)
{
	struct folders *folders = xcalloc(1, sizeof(*folders));

	folders->agent = a;
	list_init(&folders->list);
	uv_timer_init(&a->loop, &folders->retry);
	for (struct held_object *o = objects_first(a->objects); o; o = objects_next(o)) {
		if (strcmp(o->resource, "persistentvolumes") == 0)
			folders_put(folders, o);
	}
	return folders;
}
