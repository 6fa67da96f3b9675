/* Deployments in a cluster whose nodes are played by the test: how many pods of
 * which template there are at every step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/api/kinds.h"
#include "common/api/make.h"
#include "common/base/cleanup.h"
#include "proto/k8s/apps_v1.pb-c.h"
#include "proto/k8s/core_v1.pb-c.h"
#include "tests/unit/world/world.h"

extern const struct controller controller_deployment;

static void setup(struct world *w)
{
	world_init(w);
	world_put(w, "{'kind':'Namespace','metadata':{'name':'default'}}");
	world_put(w, "{'kind':'ServiceAccount','metadata':{'name':'default',"
		     "'namespace':'default'}}");
	world_put(w, "{'kind':'Node','metadata':{'name':'node'}}");
}

static const char *deployment(struct world *w, int replicas, const char *image, const char *extra)
{
	return arena_printf(
		&w->arena,
		"{'apiVersion':'apps/v1','kind':'Deployment','metadata':{'name':'web',"
		"'namespace':'default'},'spec':{'replicas':%d,'selector':{'matchLabels':{"
		"'app':'web'}},'template':{'metadata':{'labels':{'app':'web'}},'spec':{"
		"'containers':[{'name':'a','image':'%s'}]}}%s}}",
		replicas, image, extra);
}

struct list {
	const struct object *items[64];
	size_t n;
};

static bool on_object(void *ctx, const struct object *o)
{
	struct list *l = ctx;

	assert_true(l->n < array_size(l->items));
	l->items[l->n++] = o;
	return true;
}

static struct list list_of(struct world *w, const char *resource)
{
	struct list l = { .n = 0 };

	store_walk(w->store, kind_of_resource(resource), NULL, NULL, NULL, on_object, &l);
	return l;
}

static bool is_ready(const struct object *pod)
{
	return pod->facts.pod->ready;
}

/* The nodes do their part: up to n pods become ready, and pods to be deleted end. */
static size_t play_nodes(struct world *w, size_t n)
{
	struct list pods = list_of(w, "pods");
	size_t done = 0, ready = 0;

	for (size_t i = 0; i < pods.n; i++)
		object_ref(pods.items[i]);
	for (size_t i = 0; i < pods.n; i++) {
		const struct object *pod = pods.items[i];

		if (pod->facts.deleted_ns != 0) {
			world_delete(w, "pods", pod->namespace, pod->name, 0, NULL);
			done++;
		} else if (ready < n && !is_ready(pod)) {
			world_update(
				w,
				arena_printf(&w->arena,
					     "{'kind':'Pod','metadata':{'name':'%s','namespace':"
					     "'default'},'status':{'phase':'Running','conditions':"
					     "[{'type':'Ready','status':'True'}]}}",
					     pod->name),
				"status", NULL);
			ready++;
			done++;
		}
		object_unref((struct object *)pod);
	}
	return done;
}

static const char *image_of(struct world *w, const struct object *o)
{
	if (o->facts.pod != NULL)
		return ((CoreV1__Pod *)object_message(o, &w->arena))->spec->containers[0]->image;
	return ((AppsV1__ReplicaSet *)object_message(o, &w->arena))
		->spec->template_->spec->containers[0]
		->image;
}

static size_t count_pods(struct world *w, const char *image, bool only_ready)
{
	struct list pods = list_of(w, "pods");
	size_t n = 0;

	for (size_t i = 0; i < pods.n; i++)
		n += pods.items[i]->facts.deleted_ns == 0 &&
		     (!only_ready || is_ready(pods.items[i])) &&
		     (image == NULL || strcmp(image_of(w, pods.items[i]), image) == 0);
	return n;
}

static bool status_has(struct world *w, const char *part)
{
	const char *json = world_print(w, world_get(w, "deployments.apps", "default", "web"));

	return strstr(json, world_json(w, part)) != NULL;
}

static void settle_ready(struct world *w)
{
	do
		world_settle(w);
	while (play_nodes(w, SIZE_MAX) > 0);
	world_settle(w);
}

static void comes_up(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	auto_with(status_fini) struct status st = { 0 };

	setup(&w);
	assert_non_null(world_create(&w, deployment(&w, 3, "v1", ""), &st));
	settle_ready(&w);
	assert_int_equal(count_pods(&w, "v1", true), 3);
	assert_true(status_has(&w, "'deployment.kubernetes.io/revision':'1'"));
	assert_true(status_has(&w, "'observedGeneration':1,'replicas':3,'updatedReplicas':3,"
				   "'availableReplicas':3"));
	assert_true(status_has(&w, "'reason':'NewReplicaSetAvailable'"));
	assert_true(status_has(&w, "'reason':'MinimumReplicasAvailable'"));

	/* At rest nothing is written. */
	size_t writes = w.writes;

	world_settle(&w);
	assert_int_equal(w.writes, writes);
}

static void rolls_within_its_limits(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	world_create(&w, deployment(&w, 4, "v1", ""), NULL);
	settle_ready(&w);
	world_update(&w, deployment(&w, 4, "v2", ""), "", NULL);

	/* 25 %: one more, one less. One pod becomes ready at a time. */
	for (int step = 0; step < 50; step++) {
		world_settle(&w);
		assert_true(count_pods(&w, NULL, false) <= 5);
		assert_true(count_pods(&w, NULL, true) >= 3);
		if (play_nodes(&w, 1) == 0 && count_pods(&w, "v2", true) == 4)
			break;
	}
	settle_ready(&w);
	assert_int_equal(count_pods(&w, "v2", true), 4);
	assert_int_equal(count_pods(&w, "v1", false), 0);
	assert_int_equal(world_count(&w, "replicasets.apps"), 2);
	assert_true(status_has(&w, "'deployment.kubernetes.io/revision':'2'"));

	/* Back again: the first set is used anew and its number moves on. */
	world_update(&w, deployment(&w, 4, "v1", ""), "", NULL);
	settle_ready(&w);
	assert_int_equal(count_pods(&w, "v1", true), 4);
	assert_int_equal(world_count(&w, "replicasets.apps"), 2);
	assert_true(status_has(&w, "'deployment.kubernetes.io/revision':'3'"));

	struct list sets = list_of(&w, "replicasets.apps");
	bool remembered = false;

	for (size_t i = 0; i < sets.n; i++)
		remembered = remembered ||
			     strstr(world_print(&w, sets.items[i]),
				    "\"deployment.kubernetes.io/revision-history\":\"1\"") != NULL;
	assert_true(remembered);
}

static void a_bad_image_stops_the_roll(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	world_create(&w, deployment(&w, 4, "v1", ""), NULL);
	settle_ready(&w);
	world_update(&w, deployment(&w, 4, "bad", ""), "", NULL);
	for (int i = 0; i < 5; i++) {
		world_settle(&w);
		play_nodes(&w, 0);
	}
	assert_int_equal(count_pods(&w, "v1", true), 3);
	assert_int_equal(count_pods(&w, "bad", false), 2);

	/* Rolled over to another image: the bad ones go first. */
	world_update(&w, deployment(&w, 4, "v3", ""), "", NULL);
	world_settle(&w);
	assert_int_equal(count_pods(&w, "v1", true), 3);
	settle_ready(&w);
	assert_int_equal(count_pods(&w, "v3", true), 4);
	assert_int_equal(count_pods(&w, NULL, false), 4);
}

static void the_deadline_is_noticed(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	world_create(&w, deployment(&w, 2, "bad", ",'progressDeadlineSeconds':60"), NULL);

	int64_t again_ns = world_settle(&w);

	assert_true(again_ns > w.now_ns && again_ns <= w.now_ns + INT64_C(60000000000));
	w.now_ns = again_ns;
	world_settle(&w);
	assert_true(status_has(&w, "'reason':'ProgressDeadlineExceeded'"));
}

static void recreate_waits_for_the_old(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	const char *recreate = ",'strategy':{'type':'Recreate'}";

	setup(&w);
	world_create(&w, deployment(&w, 2, "v1", recreate), NULL);
	settle_ready(&w);

	/* Assigned, so that deleting takes time. */
	struct list pods = list_of(&w, "pods");

	assert_int_equal(pods.n, 2);
	for (size_t i = 0; i < pods.n; i++) {
		struct intents intents;

		intents_init(&intents, &w.arena);
		intend_bind(&intents, pods.items[i], "node");
		assert_int_equal(world_apply(&w, &intents, NULL), 0);
	}
	world_update(&w, deployment(&w, 2, "v2", recreate), "", NULL);
	world_settle(&w);
	assert_int_equal(count_pods(&w, "v1", false), 0);
	assert_int_equal(world_count(&w, "pods"), 2);
	assert_int_equal(count_pods(&w, "v2", false), 0);
	settle_ready(&w);
	assert_int_equal(count_pods(&w, "v2", true), 2);
}

static void paused_it_scales_only(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	world_create(&w, deployment(&w, 2, "v1", ""), NULL);
	settle_ready(&w);
	world_update(&w, deployment(&w, 2, "v2", ",'paused':true"), "", NULL);
	settle_ready(&w);
	assert_int_equal(count_pods(&w, "v2", false), 0);
	assert_true(status_has(&w, "'reason':'DeploymentPaused'"));
	world_update(&w, deployment(&w, 5, "v2", ",'paused':true"), "", NULL);
	settle_ready(&w);
	assert_int_equal(count_pods(&w, "v1", true), 5);
	world_update(&w, deployment(&w, 5, "v2", ""), "", NULL);
	settle_ready(&w);
	assert_int_equal(count_pods(&w, "v2", true), 5);
}

static void scales_in_proportion(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	const char *limits = ",'strategy':{'rollingUpdate':{'maxSurge':3,'maxUnavailable':2}}";

	setup(&w);
	world_create(&w, deployment(&w, 10, "v1", limits), NULL);
	settle_ready(&w);
	world_update(&w, deployment(&w, 10, "bad", limits), "", NULL);
	for (int i = 0; i < 5; i++) {
		world_settle(&w);
		play_nodes(&w, 0);
	}
	assert_int_equal(count_pods(&w, "v1", false), 8);
	assert_int_equal(count_pods(&w, "bad", false), 5);
	/* 15 replicas are 18 pods at most: 8 and 5 of 13 become 11 and 7. */
	world_update(&w, deployment(&w, 15, "bad", limits), "", NULL);
	world_settle(&w);
	assert_int_equal(count_pods(&w, "v1", false), 11);
	assert_int_equal(count_pods(&w, "bad", false), 7);
}

static void goes_over_to_recreate_and_scales(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	const char *rolling = ",'strategy':{'rollingUpdate':{'maxSurge':2,'maxUnavailable':1}}";
	const char *recreate = ",'strategy':{'type':'Recreate'}";

	setup(&w);
	world_create(&w, deployment(&w, 7, "v1", rolling), NULL);
	settle_ready(&w);
	world_update(&w, deployment(&w, 7, "v2", rolling), "", NULL);
	world_settle(&w);
	assert_int_equal(count_pods(&w, "v1", false), 6);
	assert_int_equal(count_pods(&w, "v2", false), 3);
	world_update(&w, deployment(&w, 2, "v2", recreate), "", NULL);
	settle_ready(&w);
	assert_int_equal(count_pods(&w, "v1", false), 0);
	assert_int_equal(count_pods(&w, "v2", true), 2);
}

/* A set that was told to shrink counts its pods a little later; they are not there to be taken away
 * twice. */
static void a_late_status_frees_nothing(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	const char *limits = ",'strategy':{'rollingUpdate':{'maxSurge':1,'maxUnavailable':0}}";
	struct list sets;
	const char *plan;

	setup(&w);
	world_create(&w, deployment(&w, 4, "v1", limits), NULL);
	settle_ready(&w);
	world_update(&w, deployment(&w, 4, "v2", limits), "", NULL);
	world_settle(&w);
	play_nodes(&w, 1);
	world_settle(&w);
	play_nodes(&w, 0);
	world_settle(&w);
	assert_int_equal(count_pods(&w, "v1", false), 3);
	assert_int_equal(count_pods(&w, "v2", false), 2);
	sets = list_of(&w, "replicasets.apps");
	for (size_t i = 0; i < sets.n; i++) {
		int late = strcmp(image_of(&w, sets.items[i]), "v1") == 0 ? 5 : 2;

		world_update(&w,
			     arena_printf(&w.arena,
					  "{'apiVersion':'apps/v1','kind':'ReplicaSet','metadata':"
					  "{'name':'%s','namespace':'default'},'status':{'replicas':%d,"
					  "'readyReplicas':%d,'availableReplicas':%d}}",
					  sets.items[i]->name, late, late, late),
			     "status", NULL);
	}
	plan = world_reconcile(&w, &controller_deployment, "default", "web", true);
	assert_non_null(strstr(plan, "from 3 to 2"));
}

static void keeps_so_many_old_sets(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	world_create(&w, deployment(&w, 1, "v0", ",'revisionHistoryLimit':2"), NULL);
	settle_ready(&w);
	for (int i = 1; i < 6; i++) {
		char image[8];

		snprintf(image, sizeof(image), "v%d", i);
		w.now_ns += INT64_C(1000000000);
		world_update(&w, deployment(&w, 1, image, ",'revisionHistoryLimit':2"), "", NULL);
		settle_ready(&w);
	}
	assert_int_equal(world_count(&w, "replicasets.apps"), 3);
	assert_int_equal(count_pods(&w, "v5", true), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comes_up),
		cmocka_unit_test(rolls_within_its_limits),
		cmocka_unit_test(a_bad_image_stops_the_roll),
		cmocka_unit_test(the_deadline_is_noticed),
		cmocka_unit_test(recreate_waits_for_the_old),
		cmocka_unit_test(paused_it_scales_only),
		cmocka_unit_test(scales_in_proportion),
		cmocka_unit_test(goes_over_to_recreate_and_scales),
		cmocka_unit_test(a_late_status_frees_nothing),
		cmocka_unit_test(keeps_so_many_old_sets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
