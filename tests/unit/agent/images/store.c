/* The store with a stand-in for sampan-pull: a script that the test writes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/images/images.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"

#define HEX_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HEX_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define HEX_1 "1111111111111111111111111111111111111111111111111111111111111111"
#define HEX_2 "2222222222222222222222222222222222222222222222222222222222222222"

/* Puts the image aa.. of the layer 11.. (or bb.. of 11.. and 22.. for names with "two") in
 * place, and counts its runs. */
static const char helper[] =
	"#!/bin/sh\n"
	"dir=$2; work=$4; read word name; read word auth\n"
	"echo \"$name $auth\" >>$dir/../runs\n"
	"[ -d $work ] || exit 9\n"
	"case $name in\n"
	"*missing*) echo 'error ErrImagePull it is missing'; exit 1;;\n"
	"*nobody*) echo 'error RegistryUnavailable nobody is there'; exit 1;;\n"
	"*crash*) kill -9 $$;;\n"
	"*slow*) exec sleep 1000;;\n"
	"*two*) digest=" HEX_B "; layers='" HEX_1 " " HEX_2 "'; sizes=10,20; ids='\"sha256:" HEX_1
	"\",\"sha256:" HEX_2 "\"';;\n"
	"*) digest=" HEX_A "; layers=" HEX_1 "; sizes=10; ids='\"sha256:" HEX_1 "\"';;\n"
	"esac\n"
	"echo 'progress 5 10'\n"
	"for l in $layers; do mkdir -p $dir/layers/$l/f; echo 10 >$dir/layers/$l.size; done\n"
	"[ -e $dir/layers/" HEX_2 " ] && echo 20 >$dir/layers/" HEX_2 ".size\n"
	"echo \"{\\\"digest\\\":\\\"sha256:$digest\\\",\\\"sizes\\\":[$sizes],\\\"rootfs\\\":{\\\"diff_ids\\\":[$ids]}}\" "
	">$dir/images/$digest.json\n"
	"echo image sha256:$digest\n";

struct world {
	char *dir, *store, *helper;
	uv_loop_t loop;
	struct images *images;
	unsigned n_results;
	int rc;
	char reason[64];
	char digest[80];
	size_t n_layers;
};

static void open_store(struct world *w)
{
	auto_with(status_fini) struct status st = { 0 };
	struct images_options options = { .dir = w->store, .pull_path = w->helper };

	if (images_open(&w->loop, &options, &w->images, &st) < 0)
		fail_msg("%s", st.message);
}

static void on_closed(void *arg)
{
	*(struct images **)arg = NULL;
}

static void close_store(struct world *w)
{
	images_close(w->images, on_closed, &w->images);
	while (w->images != NULL)
		uv_run(&w->loop, UV_RUN_ONCE);
}

static int setup(void **state)
{
	struct world *w = xcalloc(1, sizeof(*w));

	w->dir = xstrdup("/var/tmp/sampan-images.XXXXXX");
	if (mkdtemp(w->dir) == NULL)
		return -1;
	w->store = xasprintf("%s/store", w->dir);
	w->helper = xasprintf("%s/helper", w->dir);
	FILE *f = fopen(w->helper, "we");

	fputs(helper, f);
	fclose(f);
	chmod(w->helper, 0755);
	uv_loop_init(&w->loop);
	open_store(w);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	autofree char *command = xasprintf("rm -rf %s", w->dir);

	if (w->images != NULL)
		close_store(w);
	uv_run(&w->loop, UV_RUN_DEFAULT);
	int rc = uv_loop_close(&w->loop);

	rc |= system(command);
	free(w->dir);
	free(w->store);
	free(w->helper);
	free(w);
	return rc;
}

static void on_result(void *arg, struct image *image, const struct status *st)
{
	struct world *w = arg;

	w->n_results++;
	w->rc = st->rc;
	snprintf(w->reason, sizeof(w->reason), "%s", st->reason != NULL ? st->reason : "");
	snprintf(w->digest, sizeof(w->digest), "%s", image != NULL ? image->digest : "");
	w->n_layers = image != NULL ? image->n_layers : 0;
}

static struct image_pull *ask(struct world *w, const char *name, enum image_policy policy)
{
	struct image_request request = { .name = name, .policy = policy };

	return images_resolve(w->images, &request, on_result, w);
}

static void wait_results(struct world *w, unsigned n)
{
	while (w->n_results < n)
		uv_run(&w->loop, UV_RUN_ONCE);
	assert_int_equal(w->n_results, n);
}

static unsigned count_runs(struct world *w)
{
	autofree char *path = xasprintf("%s/runs", w->dir);
	FILE *f = fopen(path, "re");
	unsigned n = 0;

	for (int c; f != NULL && (c = fgetc(f)) != EOF;)
		n += c == '\n';
	if (f != NULL)
		fclose(f);
	return n;
}

static void test_policies(void **state)
{
	struct world *w = *state;

	assert_null(ask(w, "a/one:1", IMAGE_NEVER));
	assert_int_equal(w->n_results, 1);
	assert_string_equal(w->reason, "ErrImageNeverPull");
	assert_non_null(ask(w, "a/one:1", IMAGE_IF_NOT_PRESENT));
	wait_results(w, 2);
	assert_string_equal(w->digest, "sha256:" HEX_A);
	assert_null(ask(w, "a/one:1", IMAGE_IF_NOT_PRESENT));
	assert_null(ask(w, "a/one:1", IMAGE_NEVER));
	assert_int_equal(w->rc, 0);
	assert_int_equal(count_runs(w), 1);
	ask(w, "a/one:1", IMAGE_ALWAYS);
	wait_results(w, 5);
	assert_int_equal(count_runs(w), 2);
	assert_null(ask(w, "a//b", IMAGE_ALWAYS));
	assert_string_equal(w->reason, "InvalidImageName");
	assert_int_equal(image_policy_default("a"), IMAGE_ALWAYS);
	assert_int_equal(image_policy_default("a:latest"), IMAGE_ALWAYS);
	assert_int_equal(image_policy_default("a:1"), IMAGE_IF_NOT_PRESENT);
	assert_int_equal(image_policy_default("a@sha256:" HEX_A), IMAGE_IF_NOT_PRESENT);
}

static void test_failures(void **state)
{
	struct world *w = *state;

	ask(w, "a/missing", IMAGE_ALWAYS);
	wait_results(w, 1);
	assert_string_equal(w->reason, "ErrImagePull");
	ask(w, "a/nobody", IMAGE_ALWAYS);
	wait_results(w, 2);
	assert_string_equal(w->reason, "RegistryUnavailable");
	ask(w, "a/crash", IMAGE_ALWAYS);
	wait_results(w, 3);
	assert_string_equal(w->reason, "ErrImagePull");
	unlink(w->helper);
	assert_non_null(ask(w, "a/one", IMAGE_ALWAYS));
	assert_int_equal(w->n_results, 3);
	wait_results(w, 4);
	assert_string_equal(w->reason, "ErrImagePull");
}

static void test_sharing_and_cancelling(void **state)
{
	struct world *w = *state;
	struct image_pull *slow[6];

	ask(w, "a/one", IMAGE_ALWAYS);
	ask(w, "a/one:latest", IMAGE_ALWAYS);
	wait_results(w, 2);
	assert_int_equal(count_runs(w), 1);
	/* Two more than may run at once; whoever waits leaves without a trace. */
	for (size_t i = 0; i < 5; i++) {
		autofree char *name = xasprintf("a/slow%zu", i);

		slow[i] = ask(w, name, IMAGE_ALWAYS);
	}
	slow[5] = ask(w, "a/slow0", IMAGE_ALWAYS);
	image_pull_cancel(slow[4]);
	image_pull_cancel(slow[3]);
	image_pull_cancel(slow[0]);
	image_pull_cancel(slow[1]);
	ask(w, "a/two", IMAGE_ALWAYS);
	wait_results(w, 3);
	assert_int_equal(w->n_layers, 2);
	/* slow0 (still wanted by slow[5]) and slow2 end with the store. */
	close_store(w);
	assert_int_equal(w->n_results, 5);
	assert_int_equal(w->rc, -ECANCELED);
}

static unsigned n_visited;

static void on_visit(void *arg, const char *const *names, uint64_t size_bytes)
{
	n_visited++;
	assert_int_equal(size_bytes, strstr(names[0], HEX_A) != NULL ? 10 : 30);
}

static void test_restart_and_collect(void **state)
{
	const char *const in_use[] = { "sha256:" HEX_B };
	struct world *w = *state;

	ask(w, "a/one", IMAGE_ALWAYS);
	ask(w, "a/two", IMAGE_ALWAYS);
	wait_results(w, 2);
	close_store(w);
	open_store(w);
	assert_null(ask(w, "a/two", IMAGE_NEVER));
	assert_int_equal(w->rc, 0);
	n_visited = 0;
	images_visit(w->images, on_visit, NULL);
	assert_int_equal(n_visited, 2);
	/* What a runs goes, but its only layer is shared. */
	assert_int_equal(images_collect(w->images, in_use, 1, 1000), 0);
	ask(w, "a/one", IMAGE_NEVER);
	assert_string_equal(w->reason, "ErrImageNeverPull");
	struct image *two = images_get(w->images, "sha256:" HEX_B);

	assert_non_null(two);
	assert_non_null(strstr(two->layers[0], HEX_2)); /* The topmost. */
	image_unref(two);
	assert_int_equal(images_collect(w->images, NULL, 0, 1), 30);
	assert_null(images_get(w->images, "sha256:" HEX_B));
}

static void test_watermarks(void **state)
{
	struct images_watermarks marks = { 85, 80 };

	assert_int_equal(images_bytes_to_free(84000, 100000, marks), 0);
	assert_int_equal(images_bytes_to_free(85000, 100000, marks), 5000);
	assert_int_equal(images_bytes_to_free(100000, 100000, marks), 20000);
	assert_int_equal(images_bytes_to_free(0, 0, marks), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_policies, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failures, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sharing_and_cancelling, setup, teardown),
		cmocka_unit_test_setup_teardown(test_restart_and_collect, setup, teardown),
		cmocka_unit_test(test_watermarks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
