#include "agent/runtime/user.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/cleanup.h"

enum { FILE_MAX = 1024 * 1024 };

int open_in_root(const char *root, const char *path, int flags, unsigned mode)
{
	struct open_how how = { .flags = (uint64_t)(flags | O_CLOEXEC),
		.mode = flags & O_CREAT ? mode : 0,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
	autoclose int dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return -errno;
	int fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));

	return fd < 0 ? -errno : fd;
}

/* The file's text, or nothing when there is no such file. */
static void read_in_root(const char *root, const char *path, struct buf *out)
{
	autoclose int fd = open_in_root(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);

	while (fd >= 0 && out->len < FILE_MAX) {
		ssize_t n = read(fd, buf_reserve(out, 65536), 65536);

		if (n <= 0)
			break;
		out->len += (size_t)n;
	}
	buf_put_byte(out, '\0');
}

/* The colon-separated fields of the next line; false at the end. Changes the text. */
static bool next_line(char **at, char *fields[8], size_t *n_fields)
{
	char *line = *at;

	if (line == NULL || *line == '\0')
		return false;
	char *end = strchr(line, '\n');

	*at = end ? end + 1 : line + strlen(line);
	if (end != NULL)
		*end = '\0';
	for (*n_fields = 0; *n_fields < 8; (*n_fields)++) {
		fields[*n_fields] = line;
		line = strchr(line, ':');
		if (line == NULL) {
			(*n_fields)++;
			break;
		}
		*line++ = '\0';
	}
	return true;
}

static bool parse_id(const char *text, uint32_t *ret)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	unsigned long long n = strtoull(text, &end, 10);

	if (errno != 0 || *end != '\0' || n > 0x7fffffff)
		return false;
	*ret = (uint32_t)n;
	return true;
}

void user_add_group(struct user *u, uint32_t gid)
{
	for (size_t i = 0; i < u->n_groups; i++) {
		if (u->groups[i] == gid)
			return;
	}
	if (gid != u->gid && u->n_groups < USER_GROUPS_MAX)
		u->groups[u->n_groups++] = gid;
}

/* Find the user by name or number in etc/passwd; *ret_name is what etc/group lists members by. */
static bool find_user(char *passwd, const char *name, bool numeric, struct user *u, char ret_name[256])
{
	char *fields[8];
	size_t n;

	while (next_line(&passwd, fields, &n)) {
		uint32_t uid, gid;

		if (n < 6 || !parse_id(fields[2], &uid) || !parse_id(fields[3], &gid))
			continue;
		if (numeric ? uid != u->uid : strcmp(fields[0], name) != 0)
			continue;
		u->uid = uid;
		u->gid = gid;
		snprintf(ret_name, 256, "%s", fields[0]);
		if (fields[5][0] == '/')
			snprintf(u->home, sizeof(u->home), "%s", fields[5]);
		return true;
	}
	return false;
}

static bool is_member(const char *list, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = list; *p;) {
		size_t len = strcspn(p, ",");

		if (len == n && strncmp(p, name, n) == 0)
			return true;
		p += len + (p[len] == ',');
	}
	return false;
}

/* The groups that name belongs to, and the number of the group called wanted (NULL: none asked for). */
static bool read_groups(char *group, const char *name, const char *wanted, struct user *u)
{
	char *fields[8];
	size_t n;
	bool found = false;

	while (next_line(&group, fields, &n)) {
		uint32_t gid;

		if (n < 3 || !parse_id(fields[2], &gid))
			continue;
		if (wanted != NULL && strcmp(fields[0], wanted) == 0) {
			u->gid = gid;
			found = true;
		} else if (wanted == NULL && n > 3 && *name && is_member(fields[3], name)) {
			user_add_group(u, gid);
		}
	}
	return found;
}

int user_resolve(const char *rootfs, const char *text, struct user *ret, struct status *st)
{
	auto_with(buf_fini) struct buf passwd = { 0 };
	auto_with(buf_fini) struct buf group = { 0 };
	char copy[256], name[256] = "";
	const char *colon = strchr(text, ':'), *wanted = colon && colon[1] ? colon + 1 : NULL;

	*ret = (struct user){ .home = "/" };
	if (strlen(text) >= sizeof(copy))
		return status_set(st, -EINVAL, "the user \"%.40s...\" is too long", text);
	memcpy(copy, text, strlen(text) + 1);
	copy[strcspn(copy, ":")] = '\0';
	read_in_root(rootfs, "etc/passwd", &passwd);
	read_in_root(rootfs, "etc/group", &group);

	bool numeric = *copy == '\0' || parse_id(copy, &ret->uid);

	if (!find_user((char *)passwd.data, copy, numeric, ret, name) && !numeric)
		return status_set(st, -ENOENT, "unable to find user %s: no matching entries in passwd file",
			copy);
	if (wanted == NULL)
		read_groups((char *)group.data, name, NULL, ret);
	else if (!parse_id(wanted, &ret->gid) && !read_groups((char *)group.data, "", wanted, ret))
		return status_set(st, -ENOENT, "unable to find group %s: no matching entries in group file",
			wanted);
	return 0;
}

int user_resolve_uid(const char *rootfs, uint32_t uid, struct user *ret, struct status *st)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", uid);
	return user_resolve(rootfs, text, ret, st);
}
