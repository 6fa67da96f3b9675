/* Every system call that is known is allowed, but for those below: they reach beyond a container or
 * have a history of doing so. They answer EPERM; calls that are not known answer ENOSYS, so that
 * programs fall back to older ones. */
#include "agent/runtime/seccomp_default.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/buf.h"
#include "common/base/cleanup.h"

enum { CALLS_MAX = 600, PROGRAM_MAX = 256 * 1024 };

static const char *const denied[] = { "_sysctl", "acct", "add_key", "afs_syscall", "bpf", "clock_adjtime",
	"clock_settime", "create_module", "delete_module", "fanotify_init", "finit_module", "fsconfig", "fsmount",
	"fsopen", "fspick", "get_kernel_syms", "init_module", "io_uring_enter", "io_uring_register",
	"io_uring_setup", "ioperm", "iopl", "kcmp", "kexec_file_load", "kexec_load", "keyctl", "lookup_dcookie",
	"migrate_pages", "mount", "mount_setattr", "move_mount", "move_pages", "nfsservctl", "open_by_handle_at",
	"open_tree", "perf_event_open", "personality", "pivot_root", "query_module", "quotactl", "quotactl_fd",
	"reboot", "request_key", "setdomainname", "sethostname", "setns", "settimeofday", "stime", "swapoff",
	"swapon", "sysfs", "syslog", "umount", "umount2", "unshare", "uselib", "userfaultfd", "ustat", "vhangup",
	"vm86", "vm86old", "vserver" };

static bool is_denied(const char *name)
{
	for (size_t i = 0; i < array_size(denied); i++) {
		if (strcmp(denied[i], name) == 0)
			return true;
	}
	return false;
}

static int add_one(scmp_filter_ctx filter, int number, const char *name)
{
	static const unsigned namespaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |
		CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;

	if (strcmp(name, "clone") == 0)
		return seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 1, SCMP_A0(SCMP_CMP_MASKED_EQ, namespaces, 0));
	if (strcmp(name, "clone3") == 0)
		return 0; /* Its flags cannot be seen: ENOSYS makes C libraries use clone. */
	return seccomp_rule_add(filter, is_denied(name) ? SCMP_ACT_ERRNO(EPERM) : SCMP_ACT_ALLOW, number, 0);
}

static int add_personalities(scmp_filter_ctx filter)
{
	static const unsigned harmless[] = { 0x0, 0x8, 0x20000, 0x20008, 0xffffffff };
	int rc = 0;

	for (size_t i = 0; i < array_size(harmless) && rc == 0; i++)
		rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(personality), 1,
			SCMP_A0(SCMP_CMP_EQ, harmless[i], 0));
	return rc;
}

static int add_calls(scmp_filter_ctx filter)
{
	int rc = add_personalities(filter);

	for (int number = 0; number < CALLS_MAX && rc == 0; number++) {
		autofree char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number);

		/* With other arguments than the harmless ones it meets the default. */
		if (name != NULL && strcmp(name, "personality") != 0)
			rc = add_one(filter, number, name);
	}
	return rc;
}

static void put_base64(struct buf *out, const uint8_t *data, size_t n)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < n; i += 3) {
		size_t left = n - i;
		unsigned v = (unsigned)data[i] << 16 | (left > 1 ? (unsigned)data[i + 1] << 8 : 0) |
			(left > 2 ? data[i + 2] : 0);

		buf_put_byte(out, (uint8_t)digits[v >> 18]);
		buf_put_byte(out, (uint8_t)digits[v >> 12 & 63]);
		buf_put_byte(out, left > 1 ? (uint8_t)digits[v >> 6 & 63] : '=');
		buf_put_byte(out, left > 2 ? (uint8_t)digits[v & 63] : '=');
	}
}

static int compile(char **ret_base64)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	auto_with(buf_fini) struct buf out = { 0 };
	autofree uint8_t *program = xmalloc(PROGRAM_MAX);
	autoclose int fd = memfd_create("seccomp", MFD_CLOEXEC);

	if (filter == NULL || fd < 0)
		return -ENOMEM;
	seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
#ifdef __x86_64__
	seccomp_arch_add(filter, SCMP_ARCH_X86);
	seccomp_arch_add(filter, SCMP_ARCH_X32);
#endif
	int rc = add_calls(filter);

	if (rc == 0)
		rc = seccomp_export_bpf(filter, fd);
	seccomp_release(filter);
	ssize_t n = rc < 0 ? -1 : pread(fd, program, PROGRAM_MAX, 0);

	if (n <= 0 || n == PROGRAM_MAX)
		return rc < 0 ? rc : -EIO;
	put_base64(&out, program, (size_t)n);
	*ret_base64 = xstrdup(buf_cstr(&out));
	return 0;
}

int seccomp_default_filter(const char **ret_base64, struct status *st)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static char *kept;
	int rc = 0;

	pthread_mutex_lock(&lock);
	if (kept == NULL)
		rc = compile(&kept);
	pthread_mutex_unlock(&lock);
	if (rc < 0)
		return status_set(st, rc, "the RuntimeDefault seccomp filter cannot be made: %s", strerror(-rc));
	*ret_base64 = kept;
	return 0;
}
