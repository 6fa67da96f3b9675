#include "agent/machine.h"

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
