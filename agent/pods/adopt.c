/* What an earlier life of the agent left on disk, and clearing it away.
 *
 * DIR/pods/UID/state says which boot its sandbox belongs to; DIR/pods/UID/containers/NAME/N/
 * has record (written before a start) and exit (written by the shim at the end). The shim itself
 * says what runs. Nothing else is needed to go on where the last agent stopped. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/pods/pod.h"
#include "agent/pods/probes.h"
#include "agent/runtime/dir_remove.h"
#include "agent/runtime/rootfs.h"
#include "agent/runtime/sandbox.h"
#include "agent/runtime/shim_client.h"
#include "agent/volumes/volumes.h"
#include "common/api/make.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/conf.h"
#include "common/base/file.h"
#include "common/base/log.h"

static void put_line(struct buf *out, const char *key, const char *value)
{
	if (value == NULL)
		return;
	buf_printf(out, "%s = ", key);
	for (const char *p = value; *p; p++)
		buf_put_byte(out, *p == '\n' || *p == '\r' ? ' ' : (uint8_t)*p);
	buf_put_str(out, "\n");
}

/* Without a sync: after a power failure nothing of a sandbox is left anyway. */
static int write_lines(const char *path, const struct buf *text)
{
	autofree char *temporary = xasprintf("%s.new", path);
	FILE *f = fopen(temporary, "we");

	if (f == NULL)
		return -errno;
	size_t n = fwrite(text->data, 1, text->len, f);

	if (fclose(f) != 0 || n != text->len)
		return -EIO;
	return rename(temporary, path) < 0 ? -errno : 0;
}

int pod_write_state(const struct pod *pod)
{
	auto_with(buf_fini) struct buf text = { 0 };
	autofree char *path = xasprintf("%s/state", pod->dir);
	struct stat s;

	if (stat(pod->dir, &s) < 0)
		return -ENOENT; /* It never got as far as a directory. */
	put_line(&text, "boot", pod->pods->boot_id);
	put_line(&text, "ip", pod->has_address ? pod->ip : NULL);
	buf_printf(&text, "started_ns = %lld\nreleased = %d\npause = %d\n", (long long)pod->started_ns,
		pod->released, pod->pause_pid);
	put_line(&text, "failed_reason", pod->failed_reason);
	put_line(&text, "failed_message", pod->failed_message);
	int rc = write_lines(path, &text);

	if (rc < 0)
		log_warn("pod state not written", "file=%s error=%s", log_quote(path), log_quote(strerror(-rc)));
	return rc;
}

int container_write_record(const char *dir, const struct container_run *run, const char *digest)
{
	auto_with(buf_fini) struct buf text = { 0 };
	autofree char *path = xasprintf("%s/record", dir);

	put_line(&text, "id", run->id);
	put_line(&text, "image", run->image);
	put_line(&text, "image_id", run->image_id);
	put_line(&text, "digest", digest);
	return write_lines(path, &text);
}

static bool read_lines(const char *dir, const char *name, struct conf *conf)
{
	autofree char *path = xasprintf("%s/%s", dir, name);

	return conf_read(conf, path, NULL) == 0;
}

static long long number_of(const struct conf *conf, const char *key)
{
	return strtoll(conf_get(conf, key, "0"), NULL, 10);
}

/* The runs of a container that have a directory, newest first; at most max. */
static size_t list_runs(const char *dir, int *ret_attempts, size_t max)
{
	DIR *d = opendir(dir);
	size_t n = 0;

	for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
		if (e->d_name[0] < '0' || e->d_name[0] > '9')
			continue;
		int attempt = atoi(e->d_name);
		size_t at = n < max ? n++ : max;

		while (at > 0 && ret_attempts[at - 1] < attempt) {
			if (at < max)
				ret_attempts[at] = ret_attempts[at - 1];
			at--;
		}
		if (at < max)
			ret_attempts[at] = attempt;
	}
	if (d != NULL)
		closedir(d);
	return n;
}

/* False: the run never got as far as its record. */
static bool read_run(struct container *c, int attempt, struct container_run *run, bool *ret_ended)
{
	autofree char *dir = xasprintf("%s/containers/%s/%d", c->pod->dir, c->spec->name, attempt);
	autofree char *exit_path = xasprintf("%s/exit", dir);
	struct conf conf = { 0 };
	struct exit_record record;

	if (!read_lines(dir, "record", &conf))
		return false;
	*run = (struct container_run){ .id = xstrdup(conf_get(&conf, "id", "")),
		.attempt = attempt,
		.image = xstrdup(conf_get(&conf, "image", "")),
		.image_id = xstrdup(conf_get(&conf, "image_id", "")) };
	conf_fini(&conf);
	*ret_ended = exit_record_read(exit_path, &record) == 0;
	if (*ret_ended) {
		run->exit_code = record.code;
		run->signal = record.signal;
		run->oom = record.oom;
		run->started_ns = record.started_ns;
		run->finished_ns = record.finished_ns;
	}
	return true;
}

/* The shim's word on a container that has no exit record: when it was started, or 0 if it does not run. */
static int64_t running_since(const struct packet *state, const char *id)
{
	bool mine = false, running = false;

	for (const char *f = state ? packet_next(state, NULL) : NULL; f; f = packet_next(state, f)) {
		if (strncmp(f, "container=", 10) == 0)
			mine = strcmp(f + 10, id) == 0;
		else if (strncmp(f, "state=", 6) == 0)
			running = strcmp(f + 6, "running") == 0;
		else if (strncmp(f, "started_ns=", 11) == 0 && mine && running)
			return strtoll(f + 11, NULL, 10);
	}
	return 0;
}

/* Ready as it was, until its probe says otherwise. */
static bool was_ready(const struct container *c)
{
	const CoreV1__PodStatus *s = c->pod->message->status;

	for (size_t i = 0; s && i < s->n_containerstatuses; i++) {
		if (text_is(s->containerstatuses[i]->name, c->spec->name))
			return s->containerstatuses[i]->ready;
	}
	return false;
}

static void adopt_container(struct container *c, const struct packet *state)
{
	autofree char *dir = xasprintf("%s/containers/%s", c->pod->dir, c->spec->name);
	int attempts[2];
	size_t n = list_runs(dir, attempts, 2);
	bool ended = false, last_ended = false;

	if (n == 0 || !read_run(c, attempts[0], &c->current, &ended))
		return;
	container_set_run_dir(c, attempts[0]);
	if (n > 1 && !read_run(c, attempts[1], &c->last, &last_ended))
		c->last = (struct container_run){ 0 };
	int64_t since_ns = running_since(state, c->current.id);

	if (ended) {
		container_read_exit(c);
	} else if (since_ns != 0) {
		c->current.started_ns = since_ns;
		c->facts.phase = PHASE_RUNNING;
		c->image_spec = xstrdup(text_of(c->spec->image));
		c->ready = was_ready(c);
		probes_start(c);
		log_info("container adopted", "namespace=%s pod=%s container=%s id=%s", c->pod->namespace,
			c->pod->name, c->spec->name, c->current.id);
	} else {
		struct exit_record record = { .code = 137, .finished_ns = pod_now_ns() };
		autofree char *path = xasprintf("%s/exit", c->dir);

		exit_record_write(path, &record);
		container_ended(c, &record, "ContainerStatusUnknown",
			"the container was lost while nobody looked after it");
	}
}

void pod_adopt(struct pod *pod)
{
	struct conf conf = { 0 };
	static struct packet state;
	const struct packet *alive = NULL;
	const CoreV1__PodSpec *spec = pod->message->spec;

	pod->adopted = true;
	if (!read_lines(pod->dir, "state", &conf)) {
		struct stat s;

		pod->dirt = stat(pod->dir, &s) == 0; /* It got no further than half a sandbox. */
		return;
	}
	bool same_boot = strcmp(conf_get(&conf, "boot", ""), pod->pods->boot_id) == 0;
	const char *ip = conf_get(&conf, "ip", NULL), *reason = conf_get(&conf, "failed_reason", NULL);

	pod->started_ns = number_of(&conf, "started_ns");
	pod->released = number_of(&conf, "released") != 0;
	if (ip != NULL && !pod->released && inet_pton(AF_INET, ip, &pod->address) == 1) {
		snprintf(pod->ip, sizeof(pod->ip), "%s", ip);
		pod->has_address = true;
	}
	if (reason != NULL) {
		pod->failed_reason = xstrdup(reason);
		pod->failed_message = xstrdup(conf_get(&conf, "failed_message", ""));
	}
	pod->dirt = !pod->released;
	packet_begin(&state, "state");
	if (same_boot && !pod->released && sandbox_exists(pod->dir, spec->hostipc, spec->hostnetwork) &&
		shim_call(pod->dir, &state, SHIM_ANSWER_MS, &state, NULL) == 0 && pod_watch(pod) == 0) {
		pod->sandbox = true;
		pod->pause_pid = (int)number_of(&conf, "pause");
		alive = &state;
	}
	conf_fini(&conf);
	for (size_t i = 0; i < pod->n_containers; i++)
		adopt_container(&pod->containers[i], alive);
}

/* Every run's root is unmounted and what the runtime remembers of it forgotten. */
static void clear_runs(const struct pods *pods, const char *dir)
{
	DIR *d = opendir(dir);

	for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
		if (e->d_name[0] == '.')
			continue;
		autofree char *run = xasprintf("%s/%s", dir, e->d_name);
		struct conf conf = { 0 };

		rootfs_unmount(run);
		if (!read_lines(run, "record", &conf))
			continue;
		const char *id = conf_get(&conf, "id", "");

		if (*id && strchr(id, '/') == NULL && *id != '.') {
			autofree char *kept = xasprintf("%s/%s", pods->runtime_root, id);

			dir_remove(kept);
		}
		conf_fini(&conf);
	}
	if (d != NULL)
		closedir(d);
}

void pod_clear_away(const struct pods *pods, const char *dir, const char *uid, bool keep_volumes)
{
	static const enum qos_class classes[] = { QOS_GUARANTEED, QOS_BURSTABLE, QOS_BEST_EFFORT };
	autofree char *containers = xasprintf("%s/containers", dir);
	autofree struct packet *packet = xmalloc(sizeof(*packet));

	packet_begin(packet, "quit");
	shim_call(dir, packet, SHIM_ANSWER_MS, packet, NULL);
	for (size_t i = 0; i < array_size(classes); i++) {
		autofree char *path = cgroup_pod_path(pods->options.cgroups, classes[i], uid);

		cgroup_remove(pods->options.cgroups, path);
	}
	DIR *d = opendir(containers);

	for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
		if (e->d_name[0] == '.')
			continue;
		autofree char *path = xasprintf("%s/%s", containers, e->d_name);

		clear_runs(pods, path);
	}
	if (d != NULL)
		closedir(d);
	if (keep_volumes)
		volumes_unpin(dir);
	else
		volumes_teardown(dir);
	network_remove_pod(uid);
	sandbox_destroy(dir);
}
