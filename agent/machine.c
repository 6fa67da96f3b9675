#include "agent/machine.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"

enum { RESERVED_BYTES = 100 * 1024 * 1024 };

static char *first_line(const char *path)
{
	auto_with(buf_fini) struct buf text = { 0 };

	if (file_read(path, 4096, &text, NULL) < 0 || text.len == 0)
		return xstrdup("");
	char *line = xstrdup(buf_cstr(&text));

	line[strcspn(line, "\n")] = '\0';
	return line;
}

static char *os_name(void)
{
	auto_with(buf_fini) struct buf text = { 0 };
	const char *at;

	if (file_read("/etc/os-release", 65536, &text, NULL) < 0 ||
		(at = strstr(buf_cstr(&text), "PRETTY_NAME=")) == NULL)
		return xstrdup("Linux");
	at += strlen("PRETTY_NAME=");
	at += *at == '"';
	return xstrndup(at, strcspn(at, "\"\n"));
}

static const char *go_name(const char *machine)
{
	return strcmp(machine, "x86_64") == 0 ? "amd64" : strcmp(machine, "aarch64") == 0 ? "arm64" : machine;
}

void machine_read(struct machine *m, const char *dir)
{
	struct utsname names = { 0 };
	struct statvfs disk = { 0 };

	uname(&names);
	*m = (struct machine){ .cpu_milli = sysconf(_SC_NPROCESSORS_ONLN) * 1000,
		.memory_bytes = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE),
		.machine_id = first_line("/etc/machine-id"),
		.boot_id = first_line("/proc/sys/kernel/random/boot_id"),
		.kernel = xstrdup(names.release),
		.os_image = os_name(),
		.architecture = xstrdup(go_name(names.machine)),
		.hostname = xstrdup(names.nodename) };
	if (statvfs(dir, &disk) == 0)
		m->disk_bytes = (int64_t)disk.f_blocks * (int64_t)disk.f_frsize;
}

void machine_fini(struct machine *m)
{
	free(m->machine_id);
	free(m->boot_id);
	free(m->kernel);
	free(m->os_image);
	free(m->architecture);
	free(m->hostname);
}

int64_t machine_allocatable_memory(const struct machine *m)
{
	return m->memory_bytes > 2 * (int64_t)RESERVED_BYTES ? m->memory_bytes - RESERVED_BYTES : m->memory_bytes / 2;
}

/* The beginning of a file, cut where it does not fit: /proc/stat may be long, and its first line is what counts. */
static void read_beginning(const char *path, char *ret_text, size_t size)
{
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, ret_text, size - 1);

	ret_text[n > 0 ? n : 0] = '\0';
}

static uint64_t kib_of(const char *meminfo, const char *key)
{
	size_t n = strlen(key);

	for (const char *line = meminfo; line != NULL && *line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, key, n) == 0 && line[n] == ':')
			return strtoull(line + n + 1, NULL, 10);
	}
	return 0;
}

void machine_counters_parse(const char *stat, const char *meminfo, int64_t ticks_per_s,
	struct machine_counters *ret)
{
	uint64_t user, nice, system, idle, wait, irq = 0, softirq = 0, steal = 0;
	uint64_t total = kib_of(meminfo, "MemTotal");
	uint64_t spare = kib_of(meminfo, "MemFree") + kib_of(meminfo, "Inactive(file)");

	*ret = (struct machine_counters){ .working_set_bytes = total > spare ? (total - spare) * 1024 : 0 };
	/* Time that another machine was given (steal) was not used here; guest time is part of user. */
	if (sscanf(stat,
		    "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64,
		    &user, &nice, &system, &idle, &wait, &irq, &softirq, &steal) >= 5 &&
		ticks_per_s > 0)
		ret->cpu_ns = (user + nice + system + irq + softirq) * (1000000000 / (uint64_t)ticks_per_s);
}

void machine_count(struct machine_counters *ret)
{
	char stat[256], meminfo[2048];

	read_beginning("/proc/stat", stat, sizeof(stat));
	read_beginning("/proc/meminfo", meminfo, sizeof(meminfo));
	machine_counters_parse(stat, meminfo, sysconf(_SC_CLK_TCK), ret);
}
