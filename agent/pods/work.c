/* What is done for a pod on worker threads: one piece at a time, everything it needs inside.
 *
 * A piece of work unpacks the pod for itself, because the pod's own message may
 * be replaced while it runs. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/pods/pod.h"
#include "agent/runtime/dir_remove.h"
#include "agent/runtime/rootfs.h"
#include "agent/runtime/sandbox.h"
#include "agent/runtime/shim_client.h"
#include "agent/volumes/etc_files.h"
#include "agent/volumes/fields.h"
#include "agent/volumes/volumes.h"
#include "common/api/fields.h"
#include "common/api/make.h"
#include "common/api/pack.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/source.h"

#define NS_PER_S INT64_C(1000000000)

enum { SANDBOX_RETRY_S = 2, SANDBOX_RETRY_MAX_S = 30, CONFIG_RETRY_S = 5, RUNS_KEPT = 2, PIDS_MAX = 0, SIZES_PERIOD_S = 10 };

enum work_stage { STAGE_CONFIG, STAGE_RUN, STAGE_DONE };

struct work {
	uv_work_t request;
	struct pod *pod;
	struct pods *pods;
	struct container *container; /* START */
	struct arena arena;
	struct object_list objects;
	struct pod_view view;
	struct pod_token tokens[TOKENS_MAX];
	struct status st;
	int rc;
	/* SANDBOX */
	bool dirt;
	int pause_pid;
	const char *over_limit; /* SIZES: the name of a volume, or NULL. */
	/* START */
	const char *id, *dir, *log_path, *container_dir, *container_log_dir;
	struct image *image;
	int attempt;
	enum work_stage stage;
	int64_t started_ns;
	struct packet packet;
};

static void add_named(struct work *w, const char *resource, const char *name)
{
	if (!text_empty(name))
		object_list_add(&w->objects,
			objects_find(w->pods->options.objects, resource, w->pod->namespace, name));
}

static void add_reference(struct work *w, const char *resource, const CoreV1__LocalObjectReference *r)
{
	add_named(w, resource, r ? r->name : NULL);
}

static void add_of_container(struct work *w, const CoreV1__Container *c)
{
	for (size_t i = 0; i < c->n_envfrom; i++) {
		if (c->envfrom[i]->configmapref)
			add_reference(w, "configmaps", c->envfrom[i]->configmapref->localobjectreference);
		if (c->envfrom[i]->secretref)
			add_reference(w, "secrets", c->envfrom[i]->secretref->localobjectreference);
	}
	for (size_t i = 0; i < c->n_env; i++) {
		const CoreV1__EnvVarSource *from = c->env[i]->valuefrom;

		if (from && from->configmapkeyref)
			add_reference(w, "configmaps", from->configmapkeyref->localobjectreference);
		if (from && from->secretkeyref)
			add_reference(w, "secrets", from->secretkeyref->localobjectreference);
	}
}

/* The claim and the volume it is bound to. */
static void add_claim(struct work *w, const char *name)
{
	const struct held_object *claim =
		objects_find(w->pods->options.objects, "persistentvolumeclaims", w->pod->namespace, name);
	const char *volume = "";
	struct held_object *found;

	add_named(w, "persistentvolumeclaims", name);
	if (claim != NULL)
		field_text(&core_v1__persistent_volume_claim__descriptor, claim->packed, "spec.volumeName", &w->arena,
			&volume);
	found = *volume ? objects_find(w->pods->options.objects, "persistentvolumes", "", volume) : NULL;
	if (found != NULL)
		object_list_add(&w->objects, found);
}

static void add_of_volume(struct work *w, const char *name, const CoreV1__VolumeSource *s)
{
	if (s == NULL)
		return;
	if (s->persistentvolumeclaim)
		add_claim(w, text_of(s->persistentvolumeclaim->claimname));
	if (s->ephemeral)
		add_claim(w, arena_printf(&w->arena, "%s-%s", w->pod->name, text_of(name)));
	if (s->configmap)
		add_reference(w, "configmaps", s->configmap->localobjectreference);
	if (s->secret)
		add_named(w, "secrets", s->secret->secretname);
	for (size_t i = 0; s->projected && i < s->projected->n_sources; i++) {
		const CoreV1__VolumeProjection *p = s->projected->sources[i];

		if (p->configmap)
			add_reference(w, "configmaps", p->configmap->localobjectreference);
		if (p->secret)
			add_reference(w, "secrets", p->secret->localobjectreference);
	}
}

/* Every object that the pod refers to, and the Services it may see. */
static void collect_objects(struct work *w)
{
	const CoreV1__PodSpec *spec = w->pod->message->spec;

	for (size_t i = 0; i < w->pod->n_containers; i++)
		add_of_container(w, w->pod->containers[i].spec);
	for (size_t i = 0; i < spec->n_volumes; i++)
		add_of_volume(w, spec->volumes[i]->name, spec->volumes[i]->volumesource);
	for (struct held_object *o = objects_first(w->pods->options.objects); o; o = objects_next(o)) {
		if (strcmp(o->resource, "services") == 0 &&
			(strcmp(o->namespace, w->pod->namespace) == 0 || strcmp(o->namespace, "default") == 0))
			object_list_add(&w->objects, o);
	}
}

/* Claims that other pods hold: those with a sandbox, or about to have one. */
static void collect_contested(struct work *w)
{
	const char **names = NULL;
	size_t n = 0, cap = 0;

	list_for_each(other, &w->pods->list, struct pod, link) {
		const CoreV1__PodSpec *spec = other->message->spec;

		if (other == w->pod || other->released || !(other->sandbox || other->busy) ||
			strcmp(other->namespace, w->pod->namespace) != 0)
			continue;
		for (size_t i = 0; i < spec->n_volumes; i++) {
			const CoreV1__VolumeSource *s = spec->volumes[i]->volumesource;

			if (s == NULL || s->persistentvolumeclaim == NULL)
				continue;
			array_grow(names, n, cap);
			names[n++] = arena_strdup(&w->arena, text_of(s->persistentvolumeclaim->claimname));
		}
	}
	w->view.contested = arena_memdup(&w->arena, names, n * sizeof(*names));
	w->view.n_contested = n;
	free(names);
}

static struct work *work_create(struct pod *pod)
{
	struct work *w = xcalloc(1, sizeof(*w));
	size_t n = 0;
	void *message;

	w->pod = pod;
	w->pods = pod->pods;
	arena_init(&w->arena, 0);
	collect_objects(w);
	for (size_t i = 0; i < pod->n_tokens; i++) {
		const struct token_slot *t = &pod->tokens[i];

		if (t->token != NULL)
			w->tokens[n++] = (struct pod_token){ arena_strdup(&w->arena, t->audience), t->expiration_s,
				arena_strdup(&w->arena, t->token) };
	}
	/* It was unpacked before, so it can be again. */
	if (unpack_message(&core_v1__pod__descriptor, pod->object->packed, &w->arena, &message, NULL) < 0)
		abort();
	w->view = (struct pod_view){ .pod = message,
		.objects = &w->objects,
		.node = pod->pods->options.node,
		.dir = pod->dir,
		.ip = arena_strdup(&w->arena, pod->ip),
		.tokens = w->tokens,
		.n_tokens = n,
		.arena = &w->arena };
	return w;
}

static void work_destroy(struct work *w)
{
	object_list_fini(&w->objects);
	image_unref(w->image);
	arena_fini(&w->arena);
	status_fini(&w->st);
	free(w);
}

static void start(struct work *w, uv_work_cb run, uv_after_work_cb done)
{
	w->pod->busy = true;
	uv_queue_work(w->pods->options.loop, &w->request, run, done);
}

static int make_dirs(const char *path, mode_t mode, struct status *st)
{
	if (mkdir(path, mode) < 0 && errno != EEXIST)
		return status_set(st, -errno, "cannot make %s: %s", path, strerror(errno));
	return 0;
}

/* Sandbox */

static void run_limits(const struct work *w, struct cgroup_limits *limits)
{
	pod_limits(w->view.pod->spec, PIDS_MAX, limits);
}

static int set_up_network(struct work *w, const char *const *sysctls, size_t n)
{
	struct pod_network network = { .uid = w->pod->uid,
		.netns_path = w->pod->netns,
		.address = w->pod->address,
		.sysctls = sysctls,
		.n_sysctls = n };
	int rc = netns_create(w->pod->netns, &w->st);

	return rc < 0 ? rc : network_setup_pod(&network, &w->st);
}

/* The sysctls of the pod as "name=value", those of its IPC namespace first. */
static const char **list_sysctls(struct work *w, size_t *ret_ipc, size_t *ret_net)
{
	const CoreV1__PodSecurityContext *sc = w->view.pod->spec->securitycontext;
	size_t n = sc ? sc->n_sysctls : 0, at = 0;
	/* Open to everybody in a pod, as with other runtimes. */
	static const char *const usual[] = { "net.ipv4.ip_unprivileged_port_start=0",
		"net.ipv4.ping_group_range=0 2147483647" };
	const char **list = arena_array(&w->arena, const char *, n + array_size(usual));

	for (size_t i = 0; i < n; i++) {
		if (sandbox_sysctl_is_ipc(text_of(sc->sysctls[i]->name)))
			list[at++] = arena_printf(&w->arena, "%s=%s", sc->sysctls[i]->name,
				text_of(sc->sysctls[i]->value));
	}
	*ret_ipc = at;
	for (size_t i = 0; i < array_size(usual); i++)
		list[at++] = usual[i];
	for (size_t i = 0; i < n; i++) {
		if (!sandbox_sysctl_is_ipc(text_of(sc->sysctls[i]->name)))
			list[at++] = arena_printf(&w->arena, "%s=%s", text_of(sc->sysctls[i]->name),
				text_of(sc->sysctls[i]->value));
	}
	*ret_net = at - *ret_ipc;
	return list;
}

static int launch_shim(struct work *w)
{
	const struct pods_options *o = &w->pods->options;
	char *join[CGROUP_HIERARCHIES_MAX];
	size_t n = cgroup_shim_files(o->cgroups, join);
	struct shim_options options = { .program = o->shim_path,
		.dir = w->pod->dir,
		.runtime = o->runtime_path,
		.runtime_root = w->pods->runtime_root,
		.join = (const char *const *)join,
		.n_join = n };
	int rc = shim_launch(&options, &w->st);

	for (size_t i = 0; i < n; i++)
		free(join[i]);
	if (rc == 0 && w->view.pod->spec->shareprocessnamespace) {
		packet_begin(&w->packet, "pause");
		rc = shim_call(w->pod->dir, &w->packet, SHIM_ANSWER_MS, &w->packet, &w->st);
		if (rc == 0)
			w->pause_pid = (int)packet_get_number(&w->packet, "pid", 0);
	}
	return rc;
}

static void run_sandbox(uv_work_t *request)
{
	struct work *w = container_of(request, struct work, request);
	struct pod *pod = w->pod;
	const CoreV1__PodSpec *spec = w->view.pod->spec;
	const struct cgroups *cgroups = w->pods->options.cgroups;
	autofree char *cgroup = cgroup_pod_path(cgroups, pod_qos(spec), pod->uid);
	struct cgroup_limits limits;
	size_t n_ipc, n_net;
	const char **sysctls = list_sysctls(w, &n_ipc, &n_net);

	if (w->dirt)
		pod_clear_away(w->pods, pod->dir, pod->uid, true);
	int rc = make_dirs(pod->dir, 0755, &w->st);

	if (rc == 0)
		rc = make_dirs(pod->log_dir, 0755, &w->st);
	run_limits(w, &limits);
	if (rc == 0)
		rc = cgroup_setup_pod(cgroups, cgroup, &limits, &w->st);
	if (rc == 0) {
		struct sandbox_options options = { .dir = pod->dir,
			.hostname = spec->hostnetwork ? NULL : pod_hostname(w->view.pod, &w->arena),
			.host_ipc = spec->hostipc,
			.sysctls = sysctls,
			.n_sysctls = n_ipc,
			.shm_size = "67108864" };

		rc = sandbox_create(&options, &w->st);
	}
	if (rc == 0 && !spec->hostnetwork)
		rc = set_up_network(w, sysctls + n_ipc, n_net);
	if (rc == 0)
		rc = volumes_setup(&w->view, &w->st);
	if (rc == 0)
		rc = etc_write(&w->view, &w->st);
	if (rc == 0)
		rc = launch_shim(w);
	w->rc = rc;
}

static void sandbox_failed(struct pod *pod, const struct status *st)
{
	const char *why = st->message ? st->message : "no reason given";
	bool mount = strstr(why, "MountVolume") != NULL;

	pod->dirt = true;
	pod->sandbox_backoff_s = pod->sandbox_backoff_s == 0 ? SANDBOX_RETRY_S : pod->sandbox_backoff_s * 2;
	if (pod->sandbox_backoff_s > SANDBOX_RETRY_MAX_S)
		pod->sandbox_backoff_s = SANDBOX_RETRY_MAX_S;
	pod->sandbox_not_before_ns = pod_now_ns() + pod->sandbox_backoff_s * NS_PER_S;
	if (pod->trouble == NULL || strcmp(pod->trouble, why) != 0)
		pod_event(pod, NULL, "Warning", mount ? "FailedMount" : "FailedCreatePodSandBox", "%s", why);
	free(pod->trouble);
	pod->trouble = xstrdup(why);
}

static void after_sandbox(uv_work_t *request, int status)
{
	struct work *w = container_of(request, struct work, request);
	struct pod *pod = w->pod;

	pod->busy = false;
	if (w->rc == 0)
		w->rc = pod_watch(pod);
	if (w->rc < 0) {
		sandbox_failed(pod, &w->st);
	} else {
		pod->sandbox = true;
		pod->dirt = true;
		pod->pause_pid = w->pause_pid;
		pod->sandbox_backoff_s = 0;
		free(pod->trouble);
		pod->trouble = NULL;
		pod_write_state(pod);
	}
	work_destroy(w);
	pod_tick(pod);
}

void work_sandbox(struct pod *pod)
{
	struct pods *pods = pod->pods;

	if (!pod->message->spec->hostnetwork && !pod->has_address) {
		if (pods->addresses == NULL)
			return; /* pods_set_range() ticks everybody. */
		int rc = address_pool_take(pods->addresses, &pod->address);

		if (rc < 0) {
			struct status st = { 0 };

			status_set(&st, rc, "no address of the node's pod range is free");
			sandbox_failed(pod, &st);
			status_fini(&st);
			return;
		}
		pod->has_address = true;
		inet_ntop(AF_INET, &pod->address, pod->ip, sizeof(pod->ip));
	}
	struct work *w = work_create(pod);

	w->dirt = pod->dirt;
	collect_contested(w);
	start(w, run_sandbox, after_sandbox);
}

/* Start of a container */

/* Keep this run and the one before it. */
static void prune_runs(const char *dir, const char *log_dir, int attempt)
{
	DIR *d = opendir(dir);

	for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
		if (e->d_name[0] == '.' || atoi(e->d_name) > attempt - RUNS_KEPT)
			continue;
		autofree char *path = xasprintf("%s/%s", dir, e->d_name);

		rootfs_unmount(path);
		dir_remove(path);
	}
	if (d != NULL)
		closedir(d);
	d = opendir(log_dir);
	for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
		if (e->d_name[0] == '.' || atoi(e->d_name) > attempt - RUNS_KEPT)
			continue;
		autofree char *path = xasprintf("%s/%s", log_dir, e->d_name);

		unlink(path);
	}
	if (d != NULL)
		closedir(d);
}

static int prepare_directory(struct work *w)
{
	const char *all = arena_printf(&w->arena, "%s/containers", w->pod->dir);
	int rc = make_dirs(all, 0755, &w->st);

	if (rc == 0)
		rc = make_dirs(w->container_dir, 0755, &w->st);
	if (rc == 0)
		rc = make_dirs(w->container_log_dir, 0755, &w->st);
	if (rc < 0)
		return rc;
	/* What a start that failed half-way has left under the same number. */
	rootfs_unmount(w->dir);
	dir_remove(w->dir);
	prune_runs(w->container_dir, w->container_log_dir, w->attempt);
	return make_dirs(w->dir, 0755, &w->st);
}

static void run_start(uv_work_t *request)
{
	struct work *w = container_of(request, struct work, request);
	struct container_plan plan = { .view = &w->view,
		.container = pod_container(w->view.pod, w->container->spec->name),
		.image = w->image,
		.cgroups = w->pods->options.cgroups,
		.host = w->pods->options.host,
		.id = w->id,
		.dir = w->dir,
		.log_path = w->log_path,
		.pid_one = w->pause_pid };
	struct container_run run = { .id = w->id,
		.attempt = w->attempt,
		.image = w->image->name,
		.image_id = w->image->image_id };

	w->stage = STAGE_CONFIG;
	w->rc = prepare_directory(w);
	if (w->rc == 0)
		w->rc = rootfs_mount(w->dir, w->image->layers, w->image->n_layers, &w->st);
	if (w->rc == 0)
		w->rc = container_prepare(&plan, &w->packet, &w->st);
	if (w->rc == 0)
		w->rc = container_write_record(w->dir, &run, w->image->digest);
	if (w->rc < 0)
		return;
	w->stage = STAGE_RUN;
	w->rc = shim_call(w->pod->dir, &w->packet, SHIM_RUN_MS, &w->packet, &w->st);
	if (w->rc == 0) {
		w->stage = STAGE_DONE;
		w->started_ns = packet_get_number(&w->packet, "started_ns", 0);
	}
}

static void take_run(struct work *w)
{
	struct container *c = w->container;

	if (c->facts.phase == PHASE_STARTING && c->current.finished_ns != 0) {
		container_run_fini(&c->last);
		c->last = c->current;
		c->current = (struct container_run){ 0 };
	}
	container_run_fini(&c->current);
	c->current.id = xstrdup(w->id);
	c->current.attempt = w->attempt;
	c->current.image = xstrdup(w->image->name);
	c->current.image_id = xstrdup(w->image->image_id);
	container_set_run_dir(c, w->attempt);
}

/* The runtime refused: that is an end of the container as any other, with code 128. */
static void run_refused(struct work *w)
{
	struct container *c = w->container;
	struct exit_record record = { .code = 128, .started_ns = pod_now_ns(), .finished_ns = pod_now_ns() };
	autofree char *path = xasprintf("%s/exit", w->dir);
	autofree char *message = xasprintf("failed to start container: %s", text_of(w->st.message));

	exit_record_write(path, &record);
	take_run(w);
	container_ended(c, &record, "StartError", message);
	pod_event(c->pod, c->spec->name, "Warning", "Failed", "Error: %s", message);
}

/* The pod asks for something that is not there; the container itself was not touched. */
static void config_refused(struct work *w)
{
	struct container *c = w->container;
	bool asked = w->rc == -ENOENT || w->rc == -EINVAL || w->rc == -EACCES || w->rc == -EOPNOTSUPP;
	const char *reason = asked ? "CreateContainerConfigError" : "CreateContainerError";
	const char *message = text_of(w->st.message);
	bool same = c->waiting_message && strcmp(c->waiting_message, message) == 0;

	c->facts.phase = c->current.finished_ns != 0 ? PHASE_ENDED : PHASE_NONE;
	c->facts.not_before_ns = pod_now_ns() + CONFIG_RETRY_S * NS_PER_S;
	container_set_waiting(c, reason, message);
	if (!same)
		pod_event(c->pod, c->spec->name, "Warning", "Failed", "Error: %s", message);
}

static void after_start(uv_work_t *request, int status)
{
	struct work *w = container_of(request, struct work, request);
	struct pod *pod = w->pod;

	pod->busy = false;
	if (w->stage == STAGE_CONFIG) {
		config_refused(w);
	} else if (w->stage == STAGE_RUN) {
		run_refused(w);
	} else {
		take_run(w);
		container_started(w->container, w->started_ns);
		/* It may have ended before we looked. */
		autofree char *path = xasprintf("%s/exit", w->dir);

		if (access(path, F_OK) == 0)
			container_read_exit(w->container);
	}
	if (!pod->watching && pod->sandbox)
		pod->again = true;
	work_destroy(w);
	pod_tick(pod);
}

static void random_id(char ret[CONTAINER_ID_LEN + 1])
{
	uint8_t bytes[CONTAINER_ID_LEN / 2];

	system_source.random(&system_source, bytes, sizeof(bytes));
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
}

void work_start(struct container *c)
{
	struct pod *pod = c->pod;
	struct work *w = work_create(pod);
	char id[CONTAINER_ID_LEN + 1];

	random_id(id);
	w->container = c;
	w->id = arena_strdup(&w->arena, id);
	w->attempt = text_empty(c->current.id) ? 0 : c->current.attempt + 1;
	w->container_dir = arena_printf(&w->arena, "%s/containers/%s", pod->dir, c->spec->name);
	w->container_log_dir = arena_printf(&w->arena, "%s/%s", pod->log_dir, c->spec->name);
	w->dir = arena_printf(&w->arena, "%s/%d", w->container_dir, w->attempt);
	w->log_path = arena_printf(&w->arena, "%s/%d.log", w->container_log_dir, w->attempt);
	w->image = image_ref(c->image);
	w->pause_pid = pod->pause_pid;
	c->facts.phase = PHASE_STARTING;
	start(w, run_start, after_start);
}

/* Release */

static void run_release(uv_work_t *request)
{
	struct work *w = container_of(request, struct work, request);

	/* In order first, then by force: nothing may be left. */
	packet_begin(&w->packet, "quit");
	shim_call(w->pod->dir, &w->packet, SHIM_QUIT_MS, &w->packet, NULL);
	pod_clear_away(w->pods, w->pod->dir, w->pod->uid, false);
}

static void after_release(uv_work_t *request, int status)
{
	struct work *w = container_of(request, struct work, request);
	struct pod *pod = w->pod;

	pod->busy = false;
	pod->sandbox = false;
	pod->released = true;
	if (pod->has_address && pod->pods->addresses != NULL)
		address_pool_give_back(pod->pods->addresses, pod->address);
	pod->has_address = false;
	pod_write_state(pod);
	work_destroy(w);
	pod_tick(pod);
}

void work_release(struct pod *pod)
{
	pod_unwatch(pod);
	start(work_create(pod), run_release, after_release);
}

/* Refresh */

static void run_refresh(uv_work_t *request)
{
	struct work *w = container_of(request, struct work, request);

	w->rc = volumes_refresh(&w->view, &w->st);
}

static void after_refresh(uv_work_t *request, int status)
{
	struct work *w = container_of(request, struct work, request);
	struct pod *pod = w->pod;

	pod->busy = false;
	if (w->rc < 0)
		log_warn("volumes not refreshed", "namespace=%s pod=%s error=%s", pod->namespace, pod->name,
			log_quote(text_of(w->st.message)));
	work_destroy(w);
	pod_tick(pod);
}

void work_refresh(struct pod *pod)
{
	pod->refresh_due = false;
	start(work_create(pod), run_refresh, after_refresh);
}

/* Sizes of emptyDir volumes */

static void run_sizes(uv_work_t *request)
{
	struct work *w = container_of(request, struct work, request);

	w->over_limit = volumes_over_limit(&w->view);
}

static const char *limit_of(const struct work *w, const char *volume)
{
	const CoreV1__PodSpec *spec = w->view.pod->spec;

	for (size_t i = 0; i < spec->n_volumes; i++) {
		if (text_is(spec->volumes[i]->name, volume))
			return text_of(spec->volumes[i]->volumesource->emptydir->sizelimit->string);
	}
	return "";
}

static void after_sizes(uv_work_t *request, int status)
{
	struct work *w = container_of(request, struct work, request);
	struct pod *pod = w->pod;

	pod->busy = false;
	pod->limits_at_ns = pod_now_ns() + SIZES_PERIOD_S * NS_PER_S;
	if (w->over_limit != NULL && !pod_stops(pod)) {
		const char *why = arena_printf(&w->arena, "Usage of EmptyDir volume \"%s\" exceeds the limit \"%s\". ",
			w->over_limit, limit_of(w, w->over_limit));

		pod_event(pod, NULL, "Warning", "Evicted", "%s", why);
		pod_fail(pod, "Evicted", why);
		/* It goes on writing: no time to say good-bye. */
		pod->stop_by_ns = pod_now_ns() + NS_PER_S;
	}
	work_destroy(w);
	pod_tick(pod);
}

void work_limits(struct pod *pod)
{
	start(work_create(pod), run_sizes, after_sizes);
}

/* The last of a pod */

static void run_remove(uv_work_t *request)
{
	struct work *w = container_of(request, struct work, request);

	dir_remove(w->pod->dir);
	dir_remove(w->pod->log_dir);
}

static void after_remove(uv_work_t *request, int status)
{
	struct work *w = container_of(request, struct work, request);
	struct pod *pod = w->pod;

	pod->busy = false;
	work_destroy(w);
	pod_destroy(pod);
}

void work_remove(struct pod *pod)
{
	start(work_create(pod), run_remove, after_remove);
}
