#include "agent/runtime/caps.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>

#include "common/base/cleanup.h"

static const char *const names[CAPS_KNOWN] = { "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER",
	"FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE",
	"NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO",
	"SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE",
	"SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
	"MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON",
	"BPF", "CHECKPOINT_RESTORE" };

uint64_t caps_by_name(const char *name)
{
	if (strcasecmp(name, "ALL") == 0)
		return (UINT64_C(1) << CAPS_KNOWN) - 1;
	if (strncasecmp(name, "CAP_", 4) == 0)
		name += 4;
	for (int i = 0; i < CAPS_KNOWN; i++) {
		if (strcasecmp(name, names[i]) == 0)
			return UINT64_C(1) << i;
	}
	return 0;
}

uint64_t caps_default(void)
{
	static const char *const granted[] = { "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER",
		"FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW", "SETFCAP", "SETGID", "SETPCAP",
		"SETUID", "SYS_CHROOT" };
	uint64_t set = 0;

	for (size_t i = 0; i < array_size(granted); i++)
		set |= caps_by_name(granted[i]);
	return set;
}

uint64_t caps_of_this_process(void)
{
	uint64_t set = 0;

	for (int i = 0; i < CAPS_KNOWN; i++) {
		if (prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1)
			set |= UINT64_C(1) << i;
	}
	return set;
}

void caps_put_json(struct buf *out, uint64_t set)
{
	const char *separator = "";

	buf_put_str(out, "[");
	for (int i = 0; i < CAPS_KNOWN; i++) {
		if ((set >> i & 1) == 0)
			continue;
		buf_printf(out, "%s\"CAP_%s\"", separator, names[i]);
		separator = ",";
	}
	buf_put_str(out, "]");
}
