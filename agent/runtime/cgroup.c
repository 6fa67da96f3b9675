#include "agent/runtime/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"

#define ROOT "/sys/fs/cgroup"
#define CGROUP2_MAGIC 0x63677270

static int write_file(const char *path, const char *text)
{
	autoclose int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

static int read_file(const char *path, char *ret_text, size_t size)
{
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, ret_text, size - 1);

	if (n < 0)
		return -errno;
	ret_text[n] = '\0';
	return (int)n;
}

static void add_hierarchy(struct cgroups *c, const char *mount_point, const char *controllers)
{
	if (c->n == CGROUP_HIERARCHIES_MAX)
		return;
	c->mounts[c->n] = xstrdup(mount_point);
	c->controllers[c->n] = xasprintf(",%s,", controllers);
	c->n++;
}

/* One line of mountinfo: "... mount-point options - type source super-options". */
static void parse_mount(struct cgroups *c, char *line)
{
	char *dash = strstr(line, " - "), *save, *mount_point = line;

	if (dash == NULL)
		return;
	*dash = '\0';
	for (int i = 0; i < 4 && mount_point != NULL; i++) {
		mount_point = strchr(mount_point, ' ');
		mount_point += mount_point != NULL;
	}
	char *type = strtok_r(dash + 3, " ", &save), *source = strtok_r(NULL, " ", &save);
	char *options = strtok_r(NULL, " \n", &save);

	if (mount_point == NULL || type == NULL || source == NULL || options == NULL)
		return;
	mount_point[strcspn(mount_point, " ")] = '\0';
	if (strncmp(mount_point, ROOT "/", sizeof(ROOT)) != 0)
		return;
	if (strcmp(type, "cgroup2") == 0)
		add_hierarchy(c, mount_point, "unified");
	else if (strcmp(type, "cgroup") == 0)
		add_hierarchy(c, mount_point, options);
}

static int find_hierarchies(struct cgroups *c, struct status *st)
{
	char line[PATH_MAX];
	FILE *f = fopen("/proc/self/mountinfo", "re");

	if (f == NULL)
		return status_set(st, -errno, "cannot read /proc/self/mountinfo: %s", strerror(errno));
	while (fgets(line, sizeof(line), f))
		parse_mount(c, line);
	fclose(f);
	if (c->n == 0)
		return status_set(st, -ENOENT, "no control groups are mounted below " ROOT);
	return 0;
}

static bool has_controller(const struct cgroups *c, size_t i, const char *controller)
{
	autofree char *word = xasprintf(",%s,", controller);

	return strstr(c->controllers[i], word) != NULL;
}

static ssize_t hierarchy_of(const struct cgroups *c, const char *controller)
{
	for (size_t i = 0; i < c->n; i++) {
		if (c->v2 || has_controller(c, i, controller))
			return (ssize_t)i;
	}
	return -1;
}

/* In hybrid mode the runtime refuses to work while the unified hierarchy holds controllers: take
 * them over into hierarchies of version 1, where all the others are. */
static int settle_hybrid(struct cgroups *c, size_t unified, struct status *st)
{
	char text[512], *save;
	autofree char *path = xasprintf("%s/cgroup.controllers", c->mounts[unified]);

	if (read_file(path, text, sizeof(text)) < 0)
		return 0;
	for (char *name = strtok_r(text, " \n", &save); name; name = strtok_r(NULL, " \n", &save)) {
		autofree char *dir = xasprintf(ROOT "/%s", name);

		if (mkdir(dir, 0755) < 0 && errno != EEXIST)
			return status_set(st, -errno, "cannot make %s: %s", dir, strerror(errno));
		if (mount("cgroup", dir, "cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RELATIME, name) < 0)
			return status_set(st, -errno, "cannot mount the %s controller on %s: %s", name, dir, strerror(errno));
		add_hierarchy(c, dir, name);
	}
	return 0;
}

/* cpuset of version 1: a child must be given processors before anything may enter it. */
static void inherit_cpuset(const char *dir)
{
	static const char *const files[] = { "cpuset.cpus", "cpuset.mems" };
	char text[1024];

	for (size_t i = 0; i < array_size(files); i++) {
		autofree char *mine = xasprintf("%s/%s", dir, files[i]);
		autofree char *above = xasprintf("%s/../%s", dir, files[i]);

		if (read_file(mine, text, sizeof(text)) > 1 || read_file(above, text, sizeof(text)) < 1)
			continue;
		write_file(mine, text);
	}
}

/* Make path in hierarchy i, one level after the other. */
static int make_path(const struct cgroups *c, size_t i, const char *path)
{
	autofree char *full = xasprintf("%s%s", c->mounts[i], path);

	for (char *p = full + strlen(c->mounts[i]) + 1;; p++) {
		if (*p != '/' && *p != '\0')
			continue;
		char saved = *p;

		*p = '\0';
		if (mkdir(full, 0755) < 0 && errno != EEXIST)
			return -errno;
		if (!c->v2 && has_controller(c, i, "cpuset"))
			inherit_cpuset(full);
		*p = saved;
		if (saved == '\0')
			return 0;
		if (c->v2) {
			autofree char *parent = xstrndup(full, (size_t)(p - full));
			autofree char *control = xasprintf("%s/cgroup.subtree_control", parent);

			write_file(control, "+cpu +memory +pids");
		}
	}
}

static int make_own_groups(struct cgroups *c, struct status *st)
{
	autofree char *shims = xasprintf("%s/shims", c->parent);

	if (c->v2) {
		/* Controllers must be handed down from the root before our first level is made. */
		autofree char *control = xasprintf("%s/cgroup.subtree_control", c->mounts[0]);

		write_file(control, "+cpu +cpuset +memory +pids +io");
	}
	for (size_t i = 0; i < c->n; i++) {
		int rc = make_path(c, i, shims);

		if (rc < 0)
			return status_set(st, rc, "cannot make the control group %s%s: %s", c->mounts[i],
				shims, strerror(-rc));
	}
	return 0;
}

int cgroups_open(struct cgroups *c, const char *parent, struct status *st)
{
	struct statfs fs;

	*c = (struct cgroups){ .parent = xasprintf("/%s", parent + (*parent == '/')) };
	if (strlen(c->parent) < 2 || strstr(c->parent, "..") != NULL)
		return status_set(st, -EINVAL, "cgroup_parent: \"%s\" is not a name", parent);
	if (statfs(ROOT, &fs) < 0)
		return status_set(st, -errno, ROOT ": %s", strerror(errno));
	if (fs.f_type == CGROUP2_MAGIC) {
		c->v2 = true;
		add_hierarchy(c, ROOT, "unified");
		mount(NULL, ROOT, NULL, MS_REMOUNT, "favordynmods"); /* Older kernels do not know it. */
		return make_own_groups(c, st);
	}

	int rc = find_hierarchies(c, st);
	ssize_t unified = rc < 0 ? -1 : hierarchy_of(c, "unified");

	if (unified >= 0) {
		rc = settle_hybrid(c, (size_t)unified, st);
		/* Moving a process costs 0.1 ms with this and 12 ms without, in every hierarchy. */
		mount(NULL, c->mounts[unified], NULL, MS_REMOUNT, "favordynmods");
	}
	return rc < 0 ? rc : make_own_groups(c, st);
}

void cgroups_fini(struct cgroups *c)
{
	for (size_t i = 0; i < c->n; i++) {
		free(c->mounts[i]);
		free(c->controllers[i]);
	}
	free(c->parent);
	*c = (struct cgroups){ 0 };
}

char *cgroup_pod_path(const struct cgroups *c, enum qos_class qos, const char *uid)
{
	static const char *const levels[] = { "", "/burstable", "/besteffort" };

	return xasprintf("%s%s/pod%s", c->parent, levels[qos], uid);
}

char *cgroup_file(const struct cgroups *c, const char *controller, const char *path, const char *file)
{
	ssize_t i = hierarchy_of(c, controller);

	return i < 0 ? NULL : xasprintf("%s%s/%s", c->mounts[i], path, file);
}

size_t cgroup_shim_files(const struct cgroups *c, char *ret_files[CGROUP_HIERARCHIES_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < c->n; i++) {
		/* Where the shim is charged, and where init systems look for what to kill. */
		if (c->v2 || has_controller(c, i, "memory") || has_controller(c, i, "pids") ||
			has_controller(c, i, "name=systemd") || has_controller(c, i, "unified"))
			ret_files[n++] = xasprintf("%s%s/shims/cgroup.procs", c->mounts[i], c->parent);
	}
	return n;
}

static int set_number(const struct cgroups *c, const char *controller, const char *path,
	const char *file, long long value)
{
	autofree char *full = cgroup_file(c, controller, path, file);
	autofree char *text = xasprintf("%lld", value);

	return full ? write_file(full, text) : 0;
}

static int set_limits_v2(const struct cgroups *c, const char *path, const struct cgroup_limits *l)
{
	int rc = 0;

	if (l->cpu_shares)
		/* The mapping of shares (2..262144) to weights (1..10000) that runtimes use. */
		rc = set_number(c, "cpu", path, "cpu.weight",
			(long long)(1 + (l->cpu_shares - 2) * 9999 / 262142));
	if (rc == 0 && l->cpu_quota_us) {
		autofree char *file = cgroup_file(c, "cpu", path, "cpu.max");
		autofree char *text = xasprintf("%lld 100000", (long long)l->cpu_quota_us);

		rc = write_file(file, text);
	}
	if (rc == 0 && l->memory_bytes)
		rc = set_number(c, "memory", path, "memory.max", l->memory_bytes);
	if (rc == 0 && l->pids)
		rc = set_number(c, "pids", path, "pids.max", l->pids);
	return rc;
}

static int set_limits_v1(const struct cgroups *c, const char *path, const struct cgroup_limits *l)
{
	int rc = 0;

	if (l->cpu_shares)
		rc = set_number(c, "cpu", path, "cpu.shares", (long long)l->cpu_shares);
	if (rc == 0 && l->cpu_quota_us) {
		rc = set_number(c, "cpu", path, "cpu.cfs_period_us", 100000);
		if (rc == 0)
			rc = set_number(c, "cpu", path, "cpu.cfs_quota_us", l->cpu_quota_us);
	}
	if (rc == 0 && l->memory_bytes)
		rc = set_number(c, "memory", path, "memory.limit_in_bytes", l->memory_bytes);
	if (rc == 0 && l->pids)
		rc = set_number(c, "pids", path, "pids.max", l->pids);
	return rc;
}

int cgroup_setup_pod(const struct cgroups *c, const char *pod_path, const struct cgroup_limits *limits,
	struct status *st)
{
	static const char *const needed[] = { "cpu", "memory", "pids" };
	int rc = 0;

	for (size_t i = 0; i < array_size(needed) && rc == 0; i++) {
		ssize_t h = hierarchy_of(c, needed[i]);

		if (h >= 0)
			rc = make_path(c, (size_t)h, pod_path);
		if (c->v2)
			break;
	}
	if (rc == 0)
		rc = c->v2 ? set_limits_v2(c, pod_path, limits) : set_limits_v1(c, pod_path, limits);
	if (rc < 0)
		return status_set(st, rc, "cannot set up the control group %s: %s", pod_path, strerror(-rc));
	return 0;
}

static void kill_processes(const char *dir)
{
	autofree char *path = xasprintf("%s/cgroup.procs", dir);
	FILE *f = fopen(path, "re");
	int pid;

	if (f == NULL)
		return;
	while (fscanf(f, "%d", &pid) == 1) {
		if (pid > 1 && pid != getpid())
			kill(pid, SIGKILL);
	}
	fclose(f);
}

static int remove_tree(const char *dir)
{
	DIR *d = opendir(dir);

	if (d == NULL)
		return errno == ENOENT ? 0 : -errno;
	for (struct dirent *e; (e = readdir(d)) != NULL;) {
		if (e->d_type != DT_DIR || e->d_name[0] == '.')
			continue;
		autofree char *child = xasprintf("%s/%s", dir, e->d_name);

		remove_tree(child);
	}
	closedir(d);
	/* A killed process leaves its group a little later than kill() returns. */
	for (int i = 0; rmdir(dir) < 0; i++) {
		if (errno == ENOENT)
			break;
		if (errno != EBUSY || i == 200)
			return -errno;
		kill_processes(dir);
		nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
	}
	return 0;
}

int cgroup_remove(const struct cgroups *c, const char *path)
{
	int rc = 0;

	for (size_t i = 0; i < c->n; i++) {
		autofree char *dir = xasprintf("%s%s", c->mounts[i], path);
		int one = remove_tree(dir);

		rc = rc < 0 ? rc : one;
	}
	return rc;
}

static uint64_t read_number(const struct cgroups *c, const char *controller, const char *path,
	const char *file)
{
	autofree char *full = cgroup_file(c, controller, path, file);
	char text[64];

	return full && read_file(full, text, sizeof(text)) > 0 ? strtoull(text, NULL, 10) : 0;
}

/* The number after key in a file of "key number" lines. */
static uint64_t read_keyed(const struct cgroups *c, const char *controller, const char *path,
	const char *file, const char *key)
{
	autofree char *full = cgroup_file(c, controller, path, file);
	char text[8192];
	size_t n = strlen(key);

	if (full == NULL || read_file(full, text, sizeof(text)) < 0)
		return 0;
	for (char *line = text; line != NULL && *line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, key, n) == 0 && line[n] == ' ')
			return strtoull(line + n, NULL, 10);
	}
	return 0;
}

int cgroup_read_stats(const struct cgroups *c, const char *path, struct cgroup_stats *ret)
{
	autofree char *probe = cgroup_file(c, "memory", path, c->v2 ? "memory.current" : "memory.usage_in_bytes");
	uint64_t inactive;

	*ret = (struct cgroup_stats){ 0 };
	if (probe == NULL || access(probe, R_OK) < 0)
		return -ENOENT;
	if (c->v2) {
		ret->memory_bytes = read_number(c, "memory", path, "memory.current");
		inactive = read_keyed(c, "memory", path, "memory.stat", "inactive_file");
		ret->cpu_ns = read_keyed(c, "cpu", path, "cpu.stat", "usage_usec") * 1000;
	} else {
		ret->memory_bytes = read_number(c, "memory", path, "memory.usage_in_bytes");
		inactive = read_keyed(c, "memory", path, "memory.stat", "total_inactive_file");
		ret->cpu_ns = read_number(c, "cpuacct", path, "cpuacct.usage");
	}
	ret->working_set_bytes = ret->memory_bytes > inactive ? ret->memory_bytes - inactive : 0;
	return 0;
}
