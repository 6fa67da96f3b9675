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

		world_update(
			&w,
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

static const struct object *set_with(struct world *w, const char *image)
{
	struct list sets = list_of(w, "replicasets.apps");

	for (size_t i = 0; i < sets.n; i++)
		if (strcmp(image_of(w, sets.items[i]), image) == 0)
			return sets.items[i];
	return NULL;
}

static void shrinks_in_proportion(void **state)
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
	/* 13 pods become 8: 8 and 5 of 13 become 5 and 3, then the broken ones make room for
	 * nothing. */
	world_update(&w, deployment(&w, 5, "bad", limits), "", NULL);
	world_settle(&w);
	assert_int_equal(count_pods(&w, "v1", false) + count_pods(&w, "bad", false), 8);
	assert_true(count_pods(&w, "v1", true) >= 3);
	world_update(&w, deployment(&w, 0, "bad", limits), "", NULL);
	world_settle(&w);
	assert_int_equal(count_pods(&w, NULL, false), 0);
}

static void failures_are_told(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	w.quota_resource = "pods";
	w.quota = 1;
	world_create(&w, deployment(&w, 2, "v1", ""), NULL);
	world_settle(&w);
	assert_int_equal(world_count(&w, "pods"), 1);
	assert_true(status_has(&w, "'type':'ReplicaFailure','status':'True'"));
	assert_true(status_has(&w, "'reason':'FailedCreate'"));
	w.quota_resource = NULL;
	settle_ready(&w);
	assert_false(status_has(&w, "ReplicaFailure"));
	assert_true(status_has(&w, "'reason':'NewReplicaSetAvailable'"));
}

static void a_set_that_cannot_be_made(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	w.quota_resource = "replicasets.apps";
	w.quota = 0;
	world_create(&w, deployment(&w, 2, "v1", ""), NULL);
	world_settle(&w);
	assert_true(status_has(&w, "'status':'False'"));
	assert_true(status_has(&w, "'reason':'ReplicaSetCreateError','message':'Failed to create "
				   "new replica set "));
	w.quota_resource = NULL;
	settle_ready(&w);
	assert_true(status_has(&w, "'reason':'NewReplicaSetAvailable'"));
}

static void a_name_that_is_taken(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	const char *name;

	/* What the set will be called, from a world of its own. */
	setup(&w);
	world_create(&w, deployment(&w, 1, "v1", ""), NULL);
	world_settle(&w);
	name = arena_strdup(&w.arena, set_with(&w, "v1")->name);

	auto_with(world_fini) struct world taken = { 0 };

	setup(&taken);
	world_put(&taken, arena_printf(&taken.arena,
				       "{'apiVersion':'apps/v1','kind':'ReplicaSet','metadata':{"
				       "'name':'%s','namespace':'default'},'spec':{'replicas':0,"
				       "'selector':{'matchLabels':{'app':'other'}},'template':{"
				       "'metadata':{'labels':{'app':'other'}},'spec':{'containers':"
				       "[{'name':'a','image':'other'}]}}}}",
				       name));
	world_create(&taken, deployment(&taken, 1, "v1", ""), NULL);
	settle_ready(&taken);
	assert_true(status_has(&taken, "'collisionCount':1"));
	assert_int_equal(count_pods(&taken, "v1", true), 1);
	assert_string_not_equal(set_with(&taken, "v1")->name, name);
}

static void annotations_go_to_the_set(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	world_create(&w,
		     "{'apiVersion':'apps/v1','kind':'Deployment','metadata':{'name':'web',"
		     "'namespace':'default','annotations':{'kubernetes.io/change-cause':'because',"
		     "'kubectl.kubernetes.io/last-applied-configuration':'{}'}},'spec':{'replicas':"
		     "4,'selector':{'matchLabels':{'app':'web'}},'template':{'metadata':{'labels':{"
		     "'app':'web'}},'spec':{'containers':[{'name':'a','image':'v1'}]}}}}",
		     NULL);
	settle_ready(&w);

	const char *json = world_print(&w, set_with(&w, "v1"));

	assert_non_null(strstr(json, "\"kubernetes.io/change-cause\":\"because\""));
	assert_null(strstr(json, "last-applied"));
	assert_non_null(strstr(json, "\"deployment.kubernetes.io/desired-replicas\":\"4\""));
	assert_non_null(strstr(json, "\"deployment.kubernetes.io/max-replicas\":\"5\""));
}

static void sets_are_adopted_and_released(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	world_create(&w, deployment(&w, 2, "v1", ""), NULL);
	settle_ready(&w);

	const char *uid = arena_strdup(&w.arena, set_with(&w, "v1")->facts.uid);

	world_delete(&w, "deployments.apps", "default", "web", -1, "Orphan");
	settle_ready(&w);
	assert_null(world_get(&w, "deployments.apps", "default", "web"));
	assert_int_equal(set_with(&w, "v1")->facts.n_owners, 0);
	world_create(&w, deployment(&w, 2, "v1", ""), NULL);
	settle_ready(&w);
	assert_int_equal(world_count(&w, "replicasets.apps"), 1);
	assert_string_equal(set_with(&w, "v1")->facts.uid, uid);
	assert_int_equal(set_with(&w, "v1")->facts.n_owners, 1);

	/* With other labels it goes its own way, and another one is made. */
	AppsV1__ReplicaSet *rs = object_message(set_with(&w, "v1"), &w.arena);
	struct intents intents;

	meta_set_label(&w.arena, rs->metadata, "app", "mine");
	intents_init(&intents, &w.arena);
	intend_update(&intents, set_with(&w, "v1"), &rs->base);
	assert_int_equal(world_apply(&w, &intents, NULL), 0);
	settle_ready(&w);
	assert_int_equal(world_count(&w, "replicasets.apps"), 2);
	assert_int_equal(
		world_get(&w, "replicasets.apps", "default", rs->metadata->name)->facts.n_owners,
		0);
}

static void resumed_its_deadline_begins_anew(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	const char *paused = ",'progressDeadlineSeconds':60,'paused':true";

	setup(&w);
	world_create(&w, deployment(&w, 2, "bad", paused), NULL);
	world_settle(&w);
	assert_int_equal(world_count(&w, "replicasets.apps"), 0);
	w.now_ns += INT64_C(1000000000000);
	world_settle(&w);
	assert_true(status_has(&w, "'reason':'DeploymentPaused'"));
	world_update(&w, deployment(&w, 2, "bad", ",'progressDeadlineSeconds':60"), "", NULL);

	int64_t again_ns = world_settle(&w);

	assert_false(status_has(&w, "'reason':'DeploymentPaused'"));
	assert_false(status_has(&w, "'reason':'ProgressDeadlineExceeded'"));
	assert_true(again_ns > w.now_ns && again_ns <= w.now_ns + INT64_C(60000000000));
	w.now_ns = again_ns;
	world_settle(&w);
	assert_true(status_has(&w, "'reason':'ProgressDeadlineExceeded'"));
	assert_true(status_has(&w, "has timed out progressing."));
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
		cmocka_unit_test(shrinks_in_proportion),
		cmocka_unit_test(failures_are_told),
		cmocka_unit_test(a_set_that_cannot_be_made),
		cmocka_unit_test(a_name_that_is_taken),
		cmocka_unit_test(annotations_go_to_the_set),
		cmocka_unit_test(sets_are_adopted_and_released),
		cmocka_unit_test(resumed_its_deadline_begins_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
