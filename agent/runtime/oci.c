#include "agent/runtime/oci.h"

#include <string.h>

#include "agent/runtime/caps.h"
#include "common/api/json_text.h"
#include "common/base/cleanup.h"

static void put_strings(struct buf *out, char *const *strings)
{
	buf_put_str(out, "[");
	for (size_t i = 0; strings[i] != NULL; i++) {
		if (i > 0)
			buf_put_str(out, ",");
		json_put_cstring(out, strings[i]);
	}
	buf_put_str(out, "]");
}

static void put_user(struct buf *out, const struct user *u)
{
	buf_printf(out, "{\"uid\":%u,\"gid\":%u,\"additionalGids\":[", u->uid, u->gid);
	for (size_t i = 0; i < u->n_groups; i++)
		buf_printf(out, "%s%u", i ? "," : "", u->groups[i]);
	buf_put_str(out, "]}");
}

/* A process that is not root keeps what it was granted only as its bounding set, unless the file it
 * executes says otherwise; that is what Kubernetes' runtimes do. */
static void put_caps(struct buf *out, uint64_t set, bool root)
{
	static const char *const names[] = { "bounding", "effective", "permitted" };

	buf_put_str(out, "{");
	for (size_t i = 0; i < array_size(names); i++) {
		buf_printf(out, "%s\"%s\":", i ? "," : "", names[i]);
		caps_put_json(out, i == 0 || root ? set : 0);
	}
	buf_put_str(out, "}");
}

void oci_put_process(struct buf *out, const struct oci_process *p)
{
	buf_printf(out, "{\"terminal\":%s,\"user\":", p->terminal ? "true" : "false");
	put_user(out, p->user);
	buf_put_str(out, ",\"args\":");
	put_strings(out, p->args);
	buf_put_str(out, ",\"env\":");
	put_strings(out, p->env);
	buf_put_str(out, ",\"cwd\":");
	json_put_cstring(out, p->cwd);
	buf_put_str(out, ",\"capabilities\":");
	put_caps(out, p->caps, p->user->uid == 0);
	buf_printf(out, ",\"noNewPrivileges\":%s,\"oomScoreAdj\":%d}", p->no_new_privileges ? "true" : "false",
		p->oom_score_adj);
}

static void put_mount(struct buf *out, const struct oci_mount *m)
{
	buf_put_str(out, ",{\"destination\":");
	json_put_cstring(out, m->destination);
	buf_put_str(out, ",\"type\":");
	json_put_cstring(out, m->type);
	buf_put_str(out, ",\"source\":");
	json_put_cstring(out, m->source);
	buf_put_str(out, ",\"options\":[");
	for (const char *p = m->options; *p;) {
		size_t n = strcspn(p, ",");

		if (p > m->options)
			buf_put_str(out, ",");
		json_put_string(out, p, n);
		p += n + (p[n] == ',');
	}
	buf_put_str(out, "]}");
}

static void put_mounts(struct buf *out, const struct oci_container *c)
{
	const struct oci_mount usual[] = {
		{ "tmpfs", "/dev", "tmpfs", "nosuid,strictatime,mode=755,size=65536k" },
		{ "devpts", "/dev/pts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5" },
		{ "mqueue", "/dev/mqueue", "mqueue", "nosuid,noexec,nodev" },
		{ "sysfs", "/sys", "sysfs", c->privileged ? "nosuid,noexec,nodev,rw" : "nosuid,noexec,nodev,ro" },
		{ "cgroup", "/sys/fs/cgroup", "cgroup",
			c->privileged ? "nosuid,noexec,nodev,relatime,rw" : "nosuid,noexec,nodev,relatime,ro" },
		{ c->shm, "/dev/shm", "bind", "rbind,rw" },
	};
	/* sysfs can only be mounted by who owns the network namespace; the host's is bound instead. */
	const struct oci_mount host_sys = { "/sys", "/sys", "bind", c->privileged ? "rbind,rw" : "rbind,ro" };

	buf_put_str(out, "[{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\","
			 "\"options\":[\"nosuid\",\"noexec\",\"nodev\"]}");
	for (size_t i = 0; i < array_size(usual); i++) {
		if (usual[i].source == NULL)
			continue;
		if (strcmp(usual[i].destination, "/sys") == 0 && c->net == NULL)
			put_mount(out, &host_sys);
		else
			put_mount(out, &usual[i]);
	}
	for (size_t i = 0; i < c->n_mounts; i++)
		put_mount(out, &c->mounts[i]);
	buf_put_str(out, "]");
}

static void put_namespace(struct buf *out, const char *type, const char *path)
{
	if (path == NULL)
		return;
	buf_printf(out, ",{\"type\":\"%s\"", type);
	if (*path) {
		buf_put_str(out, ",\"path\":");
		json_put_cstring(out, path);
	}
	buf_put_str(out, "}");
}

static void put_resources(struct buf *out, const struct oci_container *c)
{
	buf_printf(out, "{\"devices\":[{\"allow\":%s,\"access\":\"rwm\"}]", c->privileged ? "true" : "false");
	if (c->memory_bytes)
		buf_printf(out, ",\"memory\":{\"limit\":%lld}", (long long)c->memory_bytes);
	if (c->cpu_shares || c->cpu_quota_us) {
		const char *separator = "";

		buf_put_str(out, ",\"cpu\":{");
		if (c->cpu_shares) {
			buf_printf(out, "\"shares\":%llu", (unsigned long long)c->cpu_shares);
			separator = ",";
		}
		if (c->cpu_quota_us)
			buf_printf(out, "%s\"quota\":%lld,\"period\":100000", separator,
				(long long)c->cpu_quota_us);
		buf_put_str(out, "}");
	}
	if (c->pids)
		buf_printf(out, ",\"pids\":{\"limit\":%lld}", (long long)c->pids);
	buf_put_str(out, "}");
}

static void put_devices(struct buf *out, const struct oci_container *c)
{
	buf_put_str(out, ",\"devices\":[");
	for (size_t i = 0; i < c->n_devices; i++) {
		const struct oci_device *d = &c->devices[i];

		buf_printf(out, "%s{\"path\":", i ? "," : "");
		json_put_cstring(out, d->path);
		buf_printf(out, ",\"type\":\"%c\",\"major\":%u,\"minor\":%u,\"fileMode\":%u,\"uid\":%u,\"gid\":%u}",
			d->type, d->major, d->minor, d->mode, d->uid, d->gid);
	}
	buf_put_str(out, "]");
}

static void put_linux(struct buf *out, const struct oci_container *c)
{
	buf_put_str(out, "{\"cgroupsPath\":");
	json_put_cstring(out, c->cgroups_path);
	buf_put_str(out, ",\"resources\":");
	put_resources(out, c);
	buf_put_str(out, ",\"namespaces\":[{\"type\":\"mount\"}");
	put_namespace(out, "pid", c->pid);
	put_namespace(out, "network", c->net);
	put_namespace(out, "ipc", c->ipc);
	put_namespace(out, "uts", c->uts);
	put_namespace(out, "cgroup", c->cgroup_v2 && !c->privileged ? "" : NULL);
	buf_put_str(out, "]");
	if (c->privileged && c->n_devices > 0)
		put_devices(out, c);
	if (c->propagation != NULL)
		buf_printf(out, ",\"rootfsPropagation\":\"%s\"", c->propagation);
	if (!c->privileged && !c->unmasked)
		buf_put_str(out,
			",\"maskedPaths\":[\"/proc/asound\",\"/proc/acpi\",\"/proc/interrupts\",\"/proc/kcore\","
			"\"/proc/keys\",\"/proc/latency_stats\",\"/proc/timer_list\",\"/proc/timer_stats\","
			"\"/proc/sched_debug\",\"/proc/scsi\",\"/sys/firmware\",\"/sys/devices/virtual/powercap\"],"
			"\"readonlyPaths\":[\"/proc/bus\",\"/proc/fs\",\"/proc/irq\",\"/proc/sys\","
			"\"/proc/sysrq-trigger\"]");
	buf_put_str(out, "}");
}

void oci_put_config(struct buf *out, const struct oci_container *c)
{
	buf_put_str(out, "{\"ociVersion\":\"1.0.0\",\"process\":");
	oci_put_process(out, &c->process);
	buf_put_str(out, ",\"root\":{\"path\":");
	json_put_cstring(out, c->rootfs);
	buf_printf(out, ",\"readonly\":%s},\"mounts\":", c->readonly_rootfs ? "true" : "false");
	put_mounts(out, c);
	buf_put_str(out, ",\"linux\":");
	put_linux(out, c);
	if (c->seccomp_base64 != NULL)
		buf_printf(out, ",\"annotations\":{\"run.oci.seccomp_bpf_data\":\"%s\"}", c->seccomp_base64);
	buf_put_str(out, "}");
}
