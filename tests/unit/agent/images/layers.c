/* Real archives through the real unpacking process; needs root, as the agent does. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include <archive.h>
#include <archive_entry.h>

#include "agent/images/pull/digest.h"
#include "agent/images/pull/unpack.h"
#include "common/base/alloc.h"
#include "common/base/buf.h"
#include "common/base/cleanup.h"

struct file {
	const char *path;
	mode_t mode; /* With its type; 0 ends the list. */
	const char *content; /* Or the target of a link. */
	bool hard;
	const char *xattr;
};

static la_ssize_t on_write(struct archive *a, void *arg, const void *data, size_t n)
{
	buf_put(arg, data, n);
	return (la_ssize_t)n;
}

static void make_tar(const struct file *files, bool gzip, struct buf *out)
{
	struct archive *a = archive_write_new();

	archive_write_set_format_pax(a);
	if (gzip)
		archive_write_add_filter_gzip(a);
	archive_write_set_bytes_in_last_block(a, 1);
	assert_int_equal(archive_write_open(a, out, NULL, on_write, NULL), ARCHIVE_OK);
	for (const struct file *f = files; f->mode != 0; f++) {
		struct archive_entry *e = archive_entry_new();
		size_t n = S_ISREG(f->mode) && !f->hard ? strlen(f->content) : 0;

		archive_entry_set_pathname(e, f->path);
		archive_entry_set_mode(e, f->mode);
		archive_entry_set_size(e, (la_int64_t)n);
		archive_entry_set_uid(e, 7);
		if (f->hard)
			archive_entry_set_hardlink(e, f->content);
		else if (S_ISLNK(f->mode))
			archive_entry_set_symlink(e, f->content);
		if (f->xattr != NULL)
			archive_entry_xattr_add_entry(e, f->xattr, "v", 1);
		assert_int_equal(archive_write_header(a, e), ARCHIVE_OK);
		if (n > 0)
			archive_write_data(a, f->content, n);
		archive_entry_free(e);
	}
	archive_write_free(a);
}

struct world {
	char *dir;
};

static int setup(void **state)
{
	static struct world w;

	signal(SIGPIPE, SIG_IGN);
	w.dir = xstrdup("/var/tmp/sampan-layer.XXXXXX");
	*state = &w;
	return mkdtemp(w.dir) != NULL ? 0 : -1;
}

static int teardown(void **state)
{
	struct world *w = *state;
	autofree char *command = xasprintf("rm -rf %s", w->dir);
	int rc = system(command);

	free(w->dir);
	return rc;
}

static int unpack(struct world *w, struct bytes blob, char diff_id[DIGEST_SIZE], struct status *st)
{
	struct unpack u;
	uint64_t bytes;
	int rc = unpack_start(&u, w->dir, st);

	assert_int_equal(rc, 0);
	unpack_write(&u, blob.data, blob.len);
	rc = unpack_finish(&u, diff_id, &bytes, st);
	unpack_abort(&u);
	return rc;
}

static struct stat stat_of(struct world *w, const char *path)
{
	autofree char *full = xasprintf("%s/%s", w->dir, path);
	struct stat st;

	if (lstat(full, &st) < 0)
		fail_msg("%s: %s", path, strerror(errno));
	return st;
}

static void test_layer(void **state)
{
	static const struct file files[] = {
		{ "etc/", S_IFDIR | 0755, "", false, NULL },
		{ "/etc/passwd", S_IFREG | 0640, "root", false, "user.x" },
		{ "bin/su", S_IFREG | 04755, "su", false, NULL },
		{ "bin/su2", S_IFREG | 04755, "bin/su", true, NULL },
		{ "bin/sh", S_IFLNK | 0777, "/bin/su", false, NULL },
		{ "lib/.wh.gone", S_IFREG | 0600, "", false, NULL },
		{ "srv/.wh..wh..opq", S_IFREG | 0600, "", false, NULL },
		{ "bad", S_IFREG | 0600, "x", false, "trusted.overlay.redirect" },
		{ 0 },
	};
	struct world *w = *state;
	auto_with(buf_fini) struct buf tar = { 0 }, gz = { 0 };
	auto_with(status_fini) struct status st = { 0 };
	char want[DIGEST_SIZE], diff_id[DIGEST_SIZE];
	char value[8];

	make_tar(files, false, &tar);
	make_tar(files, true, &gz);
	digest_of(tar.data, tar.len, want);
	if (unpack(w, buf_bytes(&gz), diff_id, &st) < 0)
		fail_msg("%s", st.message);
	assert_string_equal(diff_id, want);
	assert_int_equal(stat_of(w, "etc/passwd").st_mode, S_IFREG | 0640);
	assert_int_equal(stat_of(w, "etc/passwd").st_uid, 7);
	assert_int_equal(stat_of(w, "bin/su").st_mode, S_IFREG | 04755);
	assert_int_equal(stat_of(w, "bin/su").st_ino, stat_of(w, "bin/su2").st_ino);
	assert_true(S_ISLNK(stat_of(w, "bin/sh").st_mode));
	assert_true(S_ISCHR(stat_of(w, "lib/gone").st_mode));
	assert_int_equal(stat_of(w, "lib/gone").st_rdev, makedev(0, 0));
	autofree char *opaque = xasprintf("%s/srv", w->dir);
	autofree char *bad = xasprintf("%s/bad", w->dir);
	autofree char *passwd = xasprintf("%s/etc/passwd", w->dir);

	assert_int_equal(lgetxattr(opaque, "trusted.overlay.opaque", value, sizeof(value)), 1);
	assert_true(lgetxattr(bad, "trusted.overlay.redirect", value, sizeof(value)) < 0);
	assert_int_equal(lgetxattr(passwd, "user.x", value, sizeof(value)), 1);
}

/* Some writers leave the two empty blocks at the end out. */
static void test_no_end_marker(void **state)
{
	static const struct file files[] = { { "a", S_IFREG | 0644, "aa", false, NULL }, { 0 } };
	struct world *w = *state;
	auto_with(buf_fini) struct buf tar = { 0 };
	auto_with(status_fini) struct status st = { 0 };
	char diff_id[DIGEST_SIZE], want[DIGEST_SIZE];

	make_tar(files, false, &tar);
	/* Header, one block of data, no more. */
	assert_true(tar.len > 1024);
	digest_of(tar.data, 1024, want);
	if (unpack(w, bytes_of(tar.data, 1024), diff_id, &st) < 0)
		fail_msg("%s", st.message);
	assert_string_equal(diff_id, want);
	assert_int_equal(stat_of(w, "a").st_size, 2);
}

static void test_nothing(void **state)
{
	char diff_id[DIGEST_SIZE], want[DIGEST_SIZE];
	auto_with(status_fini) struct status st = { 0 };

	digest_of("", 0, want);
	if (unpack(*state, bytes_of("", 0), diff_id, &st) < 0)
		fail_msg("%s", st.message);
	assert_string_equal(diff_id, want);
}

static const struct {
	const char *name;
	struct file files[4];
} hostile[] = {
	{ "dots", { { "../x", S_IFREG | 0644, "x", false, NULL } } },
	{ "dots inside", { { "a/../../x", S_IFREG | 0644, "x", false, NULL } } },
	{ "through a link", { { "l", S_IFLNK | 0777, "/tmp", false, NULL },
		{ "l/x", S_IFREG | 0644, "x", false, NULL } } },
	{ "whiteout of dots", { { "a/.wh...", S_IFREG | 0644, "", false, NULL } } },
	{ "opaque through a link", { { "l", S_IFLNK | 0777, "/", false, NULL },
		{ "l/.wh..wh..opq", S_IFREG | 0644, "", false, NULL } } },
	{ "hard link to nothing", { { "h", S_IFREG | 0644, "/etc/passwd", true, NULL } } },
};

/* Refused, or kept inside; libarchive may replace the link by a directory, which is harmless. */
static void test_hostile(void **state)
{
	struct world *w = *state;

	for (size_t i = 0; i < array_size(hostile); i++) {
		auto_with(buf_fini) struct buf tar = { 0 };
		auto_with(status_fini) struct status st = { 0 };
		char diff_id[DIGEST_SIZE];
		autofree char *outside = xasprintf("%s/../x", w->dir);

		make_tar(hostile[i].files, false, &tar);
		int rc = unpack(w, buf_bytes(&tar), diff_id, &st);

		if (access(outside, F_OK) == 0 || access("/tmp/x", F_OK) == 0)
			fail_msg("%s: left the directory", hostile[i].name);
		if (rc == 0 && strcmp(hostile[i].name, "through a link") != 0)
			fail_msg("%s: accepted", hostile[i].name);
	}
}

static void test_broken(void **state)
{
	static const struct file files[] = { { "a", S_IFREG | 0644, "aaaaaaaaaa", false, NULL }, { 0 } };
	struct world *w = *state;
	auto_with(buf_fini) struct buf gz = { 0 };
	char diff_id[DIGEST_SIZE];

	make_tar(files, true, &gz);
	for (size_t cut = 1; cut < gz.len; cut += 7) {
		auto_with(status_fini) struct status st = { 0 };

		if (unpack(w, bytes_of(gz.data, cut), diff_id, &st) == 0)
			fail_msg("%zu of %zu bytes were accepted", cut, gz.len);
		assert_non_null(st.message);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_layer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_end_marker, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hostile, setup, teardown),
		cmocka_unit_test_setup_teardown(test_broken, setup, teardown),
	};

	if (geteuid() != 0) {
		printf("1..0 # SKIP unpacking needs root\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
