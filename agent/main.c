/* sampan-agent: the program. It reads its configuration, finds what earlier lives left, and runs
 * one loop. docs/agent.md. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "agent/agent.h"
#include "agent/leftovers.h"
#include "agent/pods/manifests.h"
#include "agent/pods/pods.h"
#include "agent/runtime/caps.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/conf.h"
#include "common/base/file.h"
#include "common/base/log.h"

enum { LOG_MAX_BYTES = 10 * 1024 * 1024, LOG_FILES = 5, REGISTRIES_MAX = 16 };

static const char *const known_keys[] = { "node", "dir", "ca_file", "cert_file", "key_file", "node_address",
	"master", "cluster_domain", "service_cidr", "pod_cidr", "dns_address", "log_level", "cgroup_parent",
	"insecure_registry", "runtime", "registry_ca_file", "manifest_dir", "node_pod_cidr", "interface",
	"resolv_conf", NULL };

struct options {
	const char *config, *manifest_dir;
	bool cleanup;
};

static void usage(FILE *to)
{
	fputs("usage: sampan-agent --config FILE [--manifest-dir DIR | --cleanup]\n"
	      "Runs the pods of one node.\n"
	      "  --config FILE       agent.conf, as \"sampan join\" writes it\n"
	      "  --manifest-dir DIR  also run the static pods whose JSON manifests are in DIR\n"
	      "  --cleanup           end all pods of the node and remove everything of them; the agent is stopped before\n"
	      "  --help, --version\n",
		to);
}

static int parse_arguments(int argc, char **argv, struct options *o)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0) {
			usage(stdout);
			exit(0);
		}
		if (strcmp(argv[i], "--version") == 0) {
			puts("sampan-agent " SAMPAN_VERSION);
			exit(0);
		}
		if (strcmp(argv[i], "--config") == 0 && i + 1 < argc)
			o->config = argv[++i];
		else if (strcmp(argv[i], "--manifest-dir") == 0 && i + 1 < argc)
			o->manifest_dir = argv[++i];
		else if (strcmp(argv[i], "--cleanup") == 0)
			o->cleanup = true;
		else
			return -EINVAL;
	}
	return o->config ? 0 : -EINVAL;
}

/* The program called name: beside our own, where it was built beside ours, or anywhere on the PATH. */
static char *find_program(const char *name, const char *build_path)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	self[n > 0 ? n : 0] = '\0';
	char *slash = strrchr(self, '/');

	if (slash != NULL)
		*slash = '\0';
	autofree char *beside = xasprintf("%s/%s", self, name), *built = xasprintf("%s/%s", self, build_path);

	if (access(beside, X_OK) == 0)
		return steal_ptr(&beside);
	if (access(built, X_OK) == 0)
		return steal_ptr(&built);
	autofree char *path = xstrdup(getenv("PATH") ? getenv("PATH") : "/usr/local/bin:/usr/bin:/bin");
	char *save;

	for (char *dir = strtok_r(path, ":", &save); dir; dir = strtok_r(NULL, ":", &save)) {
		autofree char *candidate = xasprintf("%s/%s", dir, name);

		if (access(candidate, X_OK) == 0)
			return steal_ptr(&candidate);
	}
	return NULL;
}

static int read_own_oom_score(void)
{
	auto_with(buf_fini) struct buf text = { 0 };

	return file_read("/proc/self/oom_score_adj", 32, &text, NULL) == 0 ? atoi(buf_cstr(&text)) : 0;
}

static int read_conf(struct agent *a, const char *path, struct status *st)
{
	int rc = conf_read(&a->conf, path, st);

	if (rc == 0)
		rc = conf_check_keys(&a->conf, known_keys, st);
	if (rc == 0)
		rc = conf_need(&a->conf, "node", &a->node, st);
	if (rc == 0)
		rc = conf_need(&a->conf, "dir", &a->dir, st);
	if (rc == 0)
		rc = conf_need(&a->conf, "node_address", &a->address, st);
	if (rc < 0)
		return rc;
	if (*a->dir != '/')
		return status_set(st, -EINVAL, "%s: dir \"%s\" is not an absolute path", path, a->dir);
	const char *level = conf_get(&a->conf, "log_level", "info");

	log_init("agent", strcmp(level, "debug") == 0 ? LOG_DEBUG
			: strcmp(level, "warn") == 0  ? LOG_WARN
			: strcmp(level, "error") == 0 ? LOG_ERROR
						      : LOG_INFO);
	return 0;
}

static int find_programs(struct agent *a, struct status *st)
{
	a->shim_path = find_program("sampan-shim", "runtime/sampan-shim");
	a->pull_path = find_program("sampan-pull", "images/sampan-pull");
	if (a->shim_path == NULL || a->pull_path == NULL)
		return status_set(st, -ENOENT, "the program %s is not installed beside sampan-agent",
			a->shim_path ? "sampan-pull" : "sampan-shim");
	const char *runtime = conf_get(&a->conf, "runtime", "/usr/bin/crun");

	if (access(runtime, X_OK) < 0)
		return status_set(st, -errno, "the container runtime %s: %s", runtime, strerror(errno));
	return 0;
}

/* One agent per directory: two would fight over the same pods. */
static int lock_dir(struct agent *a, struct status *st)
{
	autofree char *path = xasprintf("%s/agent.lock", a->dir);
	struct flock lock = { .l_type = F_WRLCK };
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return status_set(st, -errno, "cannot make %s: %s", path, strerror(errno));
	if (fcntl(fd, F_SETLK, &lock) < 0)
		return status_set(st, -EBUSY, "another agent works in %s", a->dir);
	return 0; /* Held until the process ends. */
}

static int open_images(struct agent *a, struct status *st)
{
	static const char *registries[REGISTRIES_MAX + 1];
	autofree char *dir = xasprintf("%s/images", a->dir);

	for (size_t i = 0; i < REGISTRIES_MAX; i++)
		registries[i] = conf_get_nth(&a->conf, "insecure_registry", i);
	struct images_options options = { .dir = dir,
		.pull_path = a->pull_path,
		.insecure_registries = registries,
		.ca_path = conf_get(&a->conf, "registry_ca_file", NULL) };

	return images_open(&a->loop, &options, &a->images, st);
}

static int open_pods(struct agent *a, struct status *st)
{
	a->facts = (struct node_facts){ .name = a->node,
		.address = a->address,
		.cpu_milli = a->machine.cpu_milli,
		.memory_bytes = machine_allocatable_memory(&a->machine),
		.local_path_dir = a->local_path_dir,
		.resolv_conf = conf_get(&a->conf, "resolv_conf", "/etc/resolv.conf") };
	a->limits = (struct host_limits){ .caps = caps_of_this_process(),
		.oom_score_adj = read_own_oom_score(),
		.log_max_bytes = LOG_MAX_BYTES,
		.log_files = LOG_FILES };
	agent_read_cluster(a);
	struct pods_options options = { .loop = &a->loop,
		.dir = a->dir,
		.shim_path = a->shim_path,
		.runtime_path = conf_get(&a->conf, "runtime", "/usr/bin/crun"),
		.cgroups = &a->cgroups,
		.node = &a->facts,
		.host = &a->limits,
		.objects = a->objects,
		.images = a->images,
		.callbacks = agent_pods_callbacks(a) };

	return pods_create(&options, &a->pods, st);
}

static int start_manifests(struct agent *a, const struct options *o, struct status *st)
{
	autofree char *status_dir = xasprintf("%s/status", a->dir);
	const char *dir = o->manifest_dir ? o->manifest_dir : conf_get(&a->conf, "manifest_dir", NULL);
	struct manifests_options options = { .loop = &a->loop,
		.dir = dir,
		.node = a->node,
		.pods = a->pods,
		/* What masters assign and what manifests say must not mix. */
		.objects = conf_get(&a->conf, "master", NULL) ? NULL : a->objects,
		.status_dir = status_dir };

	return dir == NULL ? 0 : manifests_start(&options, &a->manifests, st);
}

static void on_images_closed(void *arg)
{
	struct agent *a = arg;

	uv_stop(&a->loop);
}

static void on_session_stopped(void *arg)
{
	struct agent *a = arg;

	a->session = NULL;
	images_close(a->images, on_images_closed, a);
}

void agent_stop(struct agent *a)
{
	if (a->stopping)
		return;
	a->stopping = true;
	if (a->session != NULL)
		session_stop(a->session, on_session_stopped, a);
	else
		on_session_stopped(a);
}

static void on_signal(uv_signal_t *handle, int number)
{
	log_info("stopping, the pods go on", "signal=%d", number);
	agent_stop(handle->data);
}

static void watch_signals(struct agent *a)
{
	signal(SIGPIPE, SIG_IGN);
	a->terminate.data = a->interrupt.data = a;
	uv_signal_init(&a->loop, &a->terminate);
	uv_signal_init(&a->loop, &a->interrupt);
	uv_signal_start(&a->terminate, on_signal, SIGTERM);
	uv_signal_start(&a->interrupt, on_signal, SIGINT);
}

static int start(struct agent *a, const struct options *o, struct status *st)
{
	autofree char *objects_dir = NULL;
	int rc = read_conf(a, o->config, st);

	if (rc == 0)
		rc = find_programs(a, st);
	if (rc == 0)
		rc = dir_make(a->dir, 0755, st);
	if (rc == 0)
		rc = lock_dir(a, st);
	if (rc < 0)
		return rc;
	objects_dir = xasprintf("%s/objects", a->dir);
	a->local_path_dir = xasprintf("%s/local-path", a->dir);
	machine_read(&a->machine, a->dir);
	rc = cgroups_open(&a->cgroups, conf_get(&a->conf, "cgroup_parent", "/kubepods"), st);
	if (rc == 0 && o->cleanup)
		return leftovers_remove(a->dir, &a->cgroups, st);
	if (rc == 0)
		rc = network_setup_node(st);
	if (rc == 0)
		rc = objects_create(&a->loop, objects_dir, &a->objects, st);
	if (rc == 0)
		rc = open_images(a, st);
	if (rc == 0)
		rc = open_pods(a, st);
	if (rc < 0)
		return rc;
	for (struct held_object *held = objects_first(a->objects); held; held = objects_next(held)) {
		if (strcmp(held->resource, "pods") == 0)
			pods_put(a->pods, held);
	}
	if (a->pod_cidr != NULL)
		rc = pods_set_range(a->pods, a->pod_cidr, st);
	if (rc == 0)
		rc = start_manifests(a, o, st);
	if (rc == 0)
		pods_adopted(a->pods);
	a->collector = collector_start(a);
	return rc < 0 ? rc : agent_start_session(a, st);
}

int main(int argc, char **argv)
{
	struct options options = { 0 };
	struct agent *a = xcalloc(1, sizeof(*a));
	struct status st = { 0 };

	if (parse_arguments(argc, argv, &options) < 0) {
		usage(stderr);
		return 2;
	}
	/* Work of pods waits for programs and disks, not for processors. */
	setenv("UV_THREADPOOL_SIZE", "8", 0);
	log_init("agent", LOG_INFO);
	trace_print_on_crash();
	uv_loop_init(&a->loop);
	io_loop_init(&a->io, &a->loop);
	watch_signals(a);
	if (start(a, &options, &st) < 0) {
		log_error("cannot start", "error=%s", log_quote(st.message ? st.message : "unknown"));
		return 1;
	}
	if (options.cleanup)
		return 0;
	log_info("started", "node=%s dir=%s", a->node, log_quote(a->dir));
	uv_run(&a->loop, UV_RUN_DEFAULT);
	if (a->renewed) {
		/* The same program with the new certificate; descriptors of ours are all close-on-exec. */
		execv("/proc/self/exe", argv);
		log_error("cannot execute myself anew", "error=%s", log_quote(strerror(errno)));
		return 1;
	}
	return 0;
}
