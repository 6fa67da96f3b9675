#include "agent/pods/container_spec.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent/pods/env.h"
#include "agent/runtime/caps.h"
#include "agent/runtime/oci.h"
#include "agent/runtime/seccomp_default.h"
#include "agent/runtime/user.h"
#include "agent/volumes/volumes.h"
#include "common/api/json_text.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"

enum { DEVICES_MAX = 256 };

struct building {
	const struct container_plan *plan;
	struct arena *arena;
	struct environment env;
	struct user user;
	struct oci_container oci;
	struct oci_mount *mounts;
	size_t n_mounts;
};

static bool is_privileged(const CoreV1__Container *c)
{
	return c->securitycontext && c->securitycontext->privileged;
}

static int write_file(const char *path, const struct buf *text, mode_t mode, struct status *st)
{
	autoclose int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

	if (fd < 0 || write(fd, text->data, text->len) != (ssize_t)text->len)
		return status_set(st, errno ? -errno : -EIO, "cannot write %s: %s", path, strerror(errno));
	return 0;
}

/* command replaces the image's entrypoint and its arguments; args replaces only the arguments. */
static int build_args(struct building *b, struct status *st)
{
	const CoreV1__Container *c = b->plan->container;
	const struct image *image = b->plan->image;
	size_t n = 0, n_image = 0;

	for (char *const *p = image->entrypoint; *p; p++)
		n_image++;
	for (char *const *p = image->cmd; *p; p++)
		n_image++;
	char **args = arena_array(b->arena, char *, c->n_command + c->n_args + n_image + 1);

	for (size_t i = 0; i < c->n_command; i++)
		args[n++] = environment_expand(&b->env, c->command[i]);
	for (char *const *p = image->entrypoint; c->n_command == 0 && *p; p++)
		args[n++] = *p;
	for (size_t i = 0; i < c->n_args; i++)
		args[n++] = environment_expand(&b->env, c->args[i]);
	for (char *const *p = image->cmd; c->n_command == 0 && c->n_args == 0 && *p; p++)
		args[n++] = *p;
	if (n == 0)
		return status_set(st, -EINVAL, "no command specified");
	b->oci.process.args = args;
	return 0;
}

static int build_user(struct building *b, struct status *st)
{
	const CoreV1__PodSecurityContext *pod = b->plan->view->pod->spec->securitycontext;
	const CoreV1__SecurityContext *own = b->plan->container->securitycontext;
	int64_t uid = own && own->has_runasuser ? own->runasuser : pod && pod->has_runasuser ? pod->runasuser : -1;
	int64_t gid = own && own->has_runasgroup ? own->runasgroup : pod && pod->has_runasgroup ? pod->runasgroup : -1;
	bool nonroot = own && own->has_runasnonroot ? own->runasnonroot : pod && pod->runasnonroot;
	int rc = uid >= 0 ? user_resolve_uid(b->oci.rootfs, (uint32_t)uid, &b->user, st)
			  : user_resolve(b->oci.rootfs, b->plan->image->user, &b->user, st);

	if (rc < 0)
		return rc;
	if (gid >= 0)
		b->user.gid = (uint32_t)gid;
	if (nonroot && b->user.uid == 0)
		return status_set(st, -EACCES, "container has runAsNonRoot and image will run as root (container: %s)",
			b->plan->container->name);
	bool strict = pod && pod->supplementalgroupspolicy && strcmp(pod->supplementalgroupspolicy, "Strict") == 0;

	if (strict)
		b->user.n_groups = 0;
	for (size_t i = 0; pod && i < pod->n_supplementalgroups; i++)
		user_add_group(&b->user, (uint32_t)pod->supplementalgroups[i]);
	if (pod && pod->has_fsgroup)
		user_add_group(&b->user, (uint32_t)pod->fsgroup);
	b->oci.process.user = &b->user;
	if (environment_get(&b->env, "HOME") == NULL)
		environment_set(&b->env, "HOME", b->user.home);
	return 0;
}

static int build_caps(struct building *b, struct status *st)
{
	const CoreV1__Container *c = b->plan->container;
	const CoreV1__Capabilities *wanted = c->securitycontext ? c->securitycontext->capabilities : NULL;
	uint64_t set = caps_default();

	/* ALL first in both lists, so that single names can make exceptions from it. */
	for (size_t i = 0; wanted && i < wanted->n_drop; i++)
		set = strcasecmp(wanted->drop[i], "ALL") == 0 ? 0 : set;
	for (size_t i = 0; wanted && i < wanted->n_add; i++) {
		uint64_t one = caps_by_name(wanted->add[i]);

		if (one == 0)
			return status_set(st, -EINVAL, "unknown capability \"%s\" to add", wanted->add[i]);
		set |= one;
	}
	for (size_t i = 0; wanted && i < wanted->n_drop; i++)
		set &= strcasecmp(wanted->drop[i], "ALL") == 0 ? ~UINT64_C(0) : ~caps_by_name(wanted->drop[i]);
	if (is_privileged(c))
		set = caps_by_name("ALL");
	/* Asking for what we do not have ourselves would make the whole start fail. */
	b->oci.process.caps = set & b->plan->host->caps;
	b->oci.process.no_new_privileges = c->securitycontext && c->securitycontext->has_allowprivilegeescalation &&
		!c->securitycontext->allowprivilegeescalation && !is_privileged(c);
	return 0;
}

static int build_cwd(struct building *b, struct status *st)
{
	const CoreV1__Container *c = b->plan->container;
	const char *cwd = c->workingdir && *c->workingdir ? c->workingdir : b->plan->image->workdir;

	if (*cwd == '\0')
		cwd = "/";
	if (*cwd != '/')
		return status_set(st, -EINVAL, "workingDir \"%s\" is not absolute", cwd);
	b->oci.process.cwd = cwd;
	return 0;
}

static int build_seccomp(struct building *b, struct status *st)
{
	const CoreV1__PodSecurityContext *pod = b->plan->view->pod->spec->securitycontext;
	const CoreV1__SecurityContext *own = b->plan->container->securitycontext;
	const CoreV1__SeccompProfile *profile = own && own->seccompprofile ? own->seccompprofile
		: pod						   ? pod->seccompprofile
								   : NULL;

	if (profile == NULL || is_privileged(b->plan->container) || profile->type == NULL ||
		strcmp(profile->type, "Unconfined") == 0)
		return 0;
	if (strcmp(profile->type, "RuntimeDefault") != 0)
		return status_set(st, -EOPNOTSUPP,
			"seccompProfile.type %s is not available here: use RuntimeDefault or Unconfined", profile->type);
	return seccomp_default_filter(&b->oci.seccomp_base64, st);
}

static void add_mount(struct building *b, const char *source, const char *destination, const char *options)
{
	b->mounts[b->n_mounts++] = (struct oci_mount){ source, destination, "bind", options };
}

static bool is_mounted_by_pod(const CoreV1__Container *c, const char *path)
{
	for (size_t i = 0; i < c->n_volumemounts; i++) {
		if (c->volumemounts[i]->mountpath && strcmp(c->volumemounts[i]->mountpath, path) == 0)
			return true;
	}
	return false;
}

static int make_termination_log(struct building *b, const char **ret_path, struct status *st)
{
	const char *path = arena_printf(b->arena, "%s/termination-log", b->plan->dir);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

	if (fd < 0 || fchmod(fd, 0666) < 0)
		return status_set(st, -errno, "cannot make %s: %s", path, strerror(errno));
	close(fd);
	*ret_path = path;
	return 0;
}

static int compare_mounts(const void *a, const void *b)
{
	return strcmp(((const struct oci_mount *)a)->destination, ((const struct oci_mount *)b)->destination);
}

static int build_mounts(struct building *b, struct status *st)
{
	const CoreV1__Container *c = b->plan->container;
	const struct pod_view *view = b->plan->view;
	const char **subpaths = arena_array(b->arena, const char *, c->n_volumemounts + 1);
	const char *own = b->oci.readonly_rootfs ? "rbind,rprivate,ro" : "rbind,rprivate,rw";
	const char *log_path = c->terminationmessagepath && *c->terminationmessagepath ? c->terminationmessagepath
										       : "/dev/termination-log";
	const char *termination = NULL;
	struct oci_mount *volumes;

	for (size_t i = 0; i < c->n_volumemounts; i++) {
		const CoreV1__VolumeMount *m = c->volumemounts[i];

		if (m->mountpath == NULL || *m->mountpath == '\0')
			return status_set(st, -EINVAL, "volumeMounts[%zu].mountPath is empty", i);
		subpaths[i] = m->subpathexpr && *m->subpathexpr ? environment_expand(&b->env, m->subpathexpr) : m->subpath;
		if (subpaths[i] && strchr(subpaths[i], '$') && m->subpathexpr && *m->subpathexpr)
			return status_set(st, -EINVAL, "subPathExpr \"%s\" names an unknown variable", m->subpathexpr);
	}
	int rc = volumes_mounts(view, c, subpaths, &volumes, &b->oci.propagation, st);

	if (rc == 0)
		rc = make_termination_log(b, &termination, st);
	if (rc < 0)
		return rc;
	b->mounts = arena_array(b->arena, struct oci_mount, c->n_volumemounts + 4);
	memcpy(b->mounts, volumes, sizeof(*volumes) * c->n_volumemounts);
	b->n_mounts = c->n_volumemounts;
	/* A mount below another one's place must come after it. */
	qsort(b->mounts, b->n_mounts, sizeof(*b->mounts), compare_mounts);
	if (!is_mounted_by_pod(c, "/etc/hosts"))
		add_mount(b, arena_printf(b->arena, "%s/etc/hosts", view->dir), "/etc/hosts", own);
	if (!is_mounted_by_pod(c, "/etc/resolv.conf"))
		add_mount(b, arena_printf(b->arena, "%s/etc/resolv.conf", view->dir), "/etc/resolv.conf", own);
	if (!is_mounted_by_pod(c, "/etc/hostname"))
		add_mount(b, arena_printf(b->arena, "%s/etc/hostname", view->dir), "/etc/hostname", own);
	add_mount(b, termination, log_path, "rbind,rprivate,rw");
	b->oci.mounts = b->mounts;
	b->oci.n_mounts = b->n_mounts;
	return 0;
}

/* Everything in the host's /dev that is a device, for privileged containers. */
static void build_devices(struct building *b)
{
	struct oci_device *devices = arena_array(b->arena, struct oci_device, DEVICES_MAX);
	DIR *d = opendir("/dev");
	size_t n = 0;

	for (struct dirent *e; d && n < DEVICES_MAX && (e = readdir(d)) != NULL;) {
		const char *path = arena_printf(b->arena, "/dev/%s", e->d_name);
		struct stat s;

		if ((e->d_type != DT_CHR && e->d_type != DT_BLK) || stat(path, &s) < 0 ||
			strcmp(e->d_name, "console") == 0 || strcmp(e->d_name, "ptmx") == 0)
			continue;
		devices[n++] = (struct oci_device){ path, S_ISCHR(s.st_mode) ? 'c' : 'b', major(s.st_rdev),
			minor(s.st_rdev), s.st_mode & 0777, s.st_uid, s.st_gid };
	}
	if (d != NULL)
		closedir(d);
	b->oci.devices = devices;
	b->oci.n_devices = n;
}

static void build_namespaces(struct building *b)
{
	const struct pod_view *view = b->plan->view;
	const CoreV1__PodSpec *spec = view->pod->spec;

	b->oci.net = spec->hostnetwork ? NULL : arena_printf(b->arena, "%s/ns/net", view->dir);
	b->oci.uts = spec->hostnetwork ? NULL : arena_printf(b->arena, "%s/ns/uts", view->dir);
	b->oci.ipc = spec->hostipc ? NULL : arena_printf(b->arena, "%s/ns/ipc", view->dir);
	b->oci.shm = spec->hostipc ? "/dev/shm" : arena_printf(b->arena, "%s/shm", view->dir);
	b->oci.pid = spec->hostpid	      ? NULL
		: b->plan->pid_one > 0 ? arena_printf(b->arena, "/proc/%d/ns/pid", b->plan->pid_one)
				       : "";
}

static void build_resources(struct building *b)
{
	const CoreV1__PodSpec *spec = b->plan->view->pod->spec;
	const CoreV1__Container *c = b->plan->container;
	enum qos_class qos = pod_qos(spec);
	autofree char *pod_path = cgroup_pod_path(b->plan->cgroups, qos, b->plan->view->pod->metadata->uid);
	struct cgroup_limits limits;
	int adj = container_oom_score_adj(spec, c, qos, b->plan->view->node->memory_bytes);

	container_limits(c, &limits);
	b->oci.cgroups_path = arena_printf(b->arena, "%s/%s", pod_path, b->plan->id);
	b->oci.cgroup_v2 = b->plan->cgroups->v2;
	b->oci.memory_bytes = limits.memory_bytes;
	b->oci.cpu_shares = limits.cpu_shares;
	b->oci.cpu_quota_us = limits.cpu_quota_us;
	b->oci.process.oom_score_adj = adj < b->plan->host->oom_score_adj ? b->plan->host->oom_score_adj : adj;
}

static void put_request(struct building *b, struct packet *request)
{
	const struct container_plan *plan = b->plan;
	const CoreV1__PodSpec *spec = plan->view->pod->spec;
	autofree char *oom = cgroup_file(plan->cgroups, "memory", b->oci.cgroups_path,
		plan->cgroups->v2 ? "memory.events" : "memory.oom_control");
	autofree char *procs = cgroup_file(plan->cgroups, "pids", b->oci.cgroups_path, "cgroup.procs");

	packet_begin(request, "run");
	packet_put(request, "id", plan->id);
	packet_put(request, "bundle", plan->dir);
	packet_putf(request, "record", "%s/exit", plan->dir);
	packet_put(request, "log", plan->log_path);
	packet_putf(request, "log_max", "%lld", (long long)plan->host->log_max_bytes);
	packet_putf(request, "log_files", "%d", plan->host->log_files);
	packet_putf(request, "tty", "%d", plan->container->tty);
	packet_putf(request, "stdin", "%d", plan->container->stdin);
	packet_putf(request, "stdin_once", "%d", plan->container->stdinonce);
	if (oom != NULL)
		packet_put(request, "oom", oom);
	if (procs != NULL)
		packet_put(request, "procs", procs);
	/* Without a process namespace of its own its children survive its init. */
	packet_putf(request, "kill_all", "%d", spec->hostpid || plan->pid_one > 0);
}

static int write_descriptions(struct building *b, struct status *st)
{
	auto_with(buf_fini) struct buf text = { 0 };

	oci_put_config(&text, &b->oci);
	int rc = write_file(arena_printf(b->arena, "%s/config.json", b->plan->dir), &text, 0600, st);

	if (rc < 0)
		return rc;
	/* The process without its command: exec puts its own there. */
	char *nothing[] = { NULL };

	buf_clear(&text);
	b->oci.process.args = nothing;
	b->oci.process.terminal = false;
	oci_put_process(&text, &b->oci.process);
	return write_file(arena_printf(b->arena, "%s/exec.json", b->plan->dir), &text, 0600, st);
}

static int build(struct building *b, struct status *st)
{
	const struct container_plan *plan = b->plan;
	const CoreV1__SecurityContext *own = plan->container->securitycontext;
	int rc = environment_build(&b->env, plan->view, plan->container, plan->image->env, st);

	b->oci.rootfs = arena_printf(b->arena, "%s/rootfs", plan->dir);
	b->oci.readonly_rootfs = own && own->readonlyrootfilesystem;
	b->oci.privileged = is_privileged(plan->container);
	b->oci.unmasked = own && own->procmount && strcmp(own->procmount, "Unmasked") == 0;
	b->oci.process.terminal = plan->container->tty;
	if (rc == 0)
		rc = build_args(b, st);
	if (rc == 0)
		rc = build_user(b, st);
	if (rc == 0)
		rc = build_caps(b, st);
	if (rc == 0)
		rc = build_cwd(b, st);
	if (rc == 0)
		rc = build_seccomp(b, st);
	if (rc == 0)
		rc = build_mounts(b, st);
	if (rc < 0)
		return rc;
	build_namespaces(b);
	build_resources(b);
	if (b->oci.privileged)
		build_devices(b);
	b->oci.process.env = b->env.entries;
	return 0;
}

int container_prepare(const struct container_plan *plan, struct packet *ret_request, struct status *st)
{
	struct building b = { .plan = plan, .arena = plan->view->arena };

	environment_init(&b.env, b.arena);
	int rc = build(&b, st);

	if (rc == 0) {
		put_request(&b, ret_request);
		rc = write_descriptions(&b, st);
	}
	environment_fini(&b.env);
	return rc;
}

/* exec.json was written by us: its empty argument list and its terminal flag stand at known words. */
int container_write_exec(const char *dir, char *const *command, size_t n_command, bool tty, const char *path,
	struct status *st)
{
	static const char no_terminal[] = "{\"terminal\":false,", no_args[] = "\"args\":[]";
	auto_with(buf_fini) struct buf text = { 0 };
	auto_with(buf_fini) struct buf out = { 0 };
	autofree char *from = xasprintf("%s/exec.json", dir);
	autoclose int fd = open(from, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return status_set(st, -errno, "cannot read %s: %s", from, strerror(errno));
	while ((n = read(fd, buf_reserve(&text, 16384), 16384)) > 0)
		text.len += (size_t)n;
	const char *all = buf_cstr(&text), *args = strstr(all, no_args);

	if (strncmp(all, no_terminal, sizeof(no_terminal) - 1) != 0 || args == NULL)
		return status_set(st, -EBADMSG, "%s is broken", from);
	buf_printf(&out, "{\"terminal\":%s,", tty ? "true" : "false");
	buf_put(&out, all + sizeof(no_terminal) - 1, (size_t)(args - all) - (sizeof(no_terminal) - 1));
	buf_put_str(&out, "\"args\":[");
	for (size_t i = 0; i < n_command; i++) {
		if (i > 0)
			buf_put_str(&out, ",");
		json_put_cstring(&out, command[i]);
	}
	buf_put_str(&out, "]");
	buf_put_str(&out, args + sizeof(no_args) - 1);
	return write_file(path, &out, 0600, st);
}

static int signal_by_name(const char *text)
{
	static const struct {
		const char *name;
		int number;
	} names[] = { { "HUP", SIGHUP }, { "INT", SIGINT }, { "QUIT", SIGQUIT }, { "ABRT", SIGABRT },
		{ "KILL", SIGKILL }, { "USR1", SIGUSR1 }, { "USR2", SIGUSR2 }, { "PIPE", SIGPIPE },
		{ "ALRM", SIGALRM }, { "TERM", SIGTERM }, { "CONT", SIGCONT }, { "STOP", SIGSTOP },
		{ "TSTP", SIGTSTP }, { "WINCH", SIGWINCH }, { "PWR", SIGPWR }, { "URG", SIGURG },
		{ "IO", SIGIO }, { "XCPU", SIGXCPU }, { "XFSZ", SIGXFSZ }, { "TRAP", SIGTRAP },
		{ "SYS", SIGSYS }, { "BUS", SIGBUS }, { "FPE", SIGFPE }, { "ILL", SIGILL }, { "SEGV", SIGSEGV } };

	if (isdigit((unsigned char)*text)) {
		long n = strtol(text, NULL, 10);

		return n > 0 && n <= 64 ? (int)n : 0;
	}
	if (strncasecmp(text, "SIG", 3) == 0)
		text += 3;
	for (size_t i = 0; i < array_size(names); i++) {
		if (strcasecmp(text, names[i].name) == 0)
			return names[i].number;
	}
	if (strncasecmp(text, "RTMIN+", 6) == 0)
		return SIGRTMIN + (int)(strtol(text + 6, NULL, 10) & 15);
	if (strcasecmp(text, "RTMIN") == 0)
		return SIGRTMIN;
	if (strncasecmp(text, "RTMAX-", 6) == 0)
		return SIGRTMAX - (int)(strtol(text + 6, NULL, 10) & 15);
	return strcasecmp(text, "RTMAX") == 0 ? SIGRTMAX : 0;
}

int container_stop_signal(const CoreV1__Container *c, const struct image *image)
{
	const char *own = c->lifecycle ? c->lifecycle->stopsignal : NULL;
	int number = own && *own ? signal_by_name(own) : 0;

	if (number == 0 && image != NULL && *image->stop_signal)
		number = signal_by_name(image->stop_signal);
	return number ? number : SIGTERM;
}
