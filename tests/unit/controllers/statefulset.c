/* StatefulSets: worlds and the intents expected of each, and whole lives with
 * the nodes played by the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/api/kinds.h"
#include "common/api/make.h"
#include "common/base/cleanup.h"
#include "proto/k8s/apps_v1.pb-c.h"
#include "proto/k8s/core_v1.pb-c.h"
#include "tests/unit/world/world.h"

extern const struct controller controller_statefulset;

static const char sets[] = "statefulsets.apps";

static void setup(struct world *w)
{
	world_init(w);
	world_put(w, "{'kind':'Namespace','metadata':{'name':'default'}}");
	world_put(w, "{'kind':'ServiceAccount','metadata':{'name':'default',"
		     "'namespace':'default'}}");
	world_put(w, "{'kind':'Node','metadata':{'name':'node'}}");
}

static const char *set_text(struct world *w, int replicas, const char *image, const char *extra)
{
	return arena_printf(
		&w->arena,
		"{'apiVersion':'apps/v1','kind':'StatefulSet','metadata':{'name':'web',"
		"'namespace':'default'},'spec':{'serviceName':'peers','replicas':%d,'selector':{"
		"'matchLabels':{'app':'web'}},'template':{'metadata':{'labels':{'app':'web'}},"
		"'spec':{'containers':[{'name':'a','image':'%s'}]}}%s}}",
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

static const AppsV1__StatefulSet *set_of(struct world *w)
{
	return object_message(world_get(w, sets, "default", "web"), &w->arena);
}

/* --- One look -------------------------------------------------------------------------- */

enum pod_is { NONE, READY, RUNNING, PENDING, FAILED, DONE, LEAVING };

struct pod_case {
	enum pod_is is;
	bool old; /* Of the revision before. */
};

#define OLD(is_)                                                                                   \
	{                                                                                          \
		.is = (is_), .old = true                                                           \
	}
#define NEW(is_)                                                                                   \
	{                                                                                          \
		.is = (is_)                                                                        \
	}
#define PARALLEL ",'podManagementPolicy':'Parallel'"
#define PARTITION(n) ",'updateStrategy':{'rollingUpdate':{'partition':" #n "}}"

static const struct {
	const char *name;
	int replicas;
	const char *extra;
	struct pod_case pods[6]; /* web-0, web-1, ... */
	const char *intents;     /* Without events and status. */
} cases[] = {
	{ "the first comes first", 3, "", { { 0 } }, "create pods default/web-0\n" },
	{ "all at once when order does not matter",
	  3,
	  PARALLEL,
	  { { 0 } },
	  "create pods default/web-0\ncreate pods default/web-1\ncreate pods default/web-2\n" },
	{ "the next waits for the one before to be ready", 2, "", { NEW(RUNNING) }, "" },
	{ "and for one that is pending", 2, "", { NEW(PENDING) }, "" },
	{ "and for one on its way out", 2, "", { NEW(LEAVING) }, "" },
	{ "the next comes when the one before is ready",
	  3,
	  "",
	  { NEW(READY) },
	  "create pods default/web-1\n" },
	{ "a gap is filled first",
	  3,
	  "",
	  { NEW(READY), NEW(NONE), NEW(READY) },
	  "create pods default/web-1\n" },
	{ "what is missing further up waits for who is sick below",
	  3,
	  "",
	  { NEW(RUNNING), NEW(NONE), NEW(READY) },
	  "" },
	{ "a failed pod goes, its successor waits for that",
	  2,
	  "",
	  { NEW(READY), NEW(FAILED) },
	  "delete pods default/web-1\n" },
	{ "a finished pod goes, too", 1, "", { NEW(DONE) }, "delete pods default/web-0\n" },
	{ "in parallel the others are looked after meanwhile",
	  2,
	  PARALLEL,
	  { NEW(FAILED), NEW(NONE) },
	  "delete pods default/web-0\ncreate pods default/web-1\n" },
	{ "the highest goes first, alone",
	  1,
	  "",
	  { NEW(READY), NEW(READY), NEW(READY) },
	  "delete pods default/web-2\n" },
	{ "the next goes when it is gone", 1, "", { NEW(READY), NEW(READY), NEW(LEAVING) }, "" },
	{ "all go at once in parallel",
	  1,
	  PARALLEL,
	  { NEW(READY), NEW(READY), NEW(READY) },
	  "delete pods default/web-2\ndelete pods default/web-1\n" },
	{ "nobody goes while one that stays is sick",
	  1,
	  "",
	  { NEW(RUNNING), NEW(READY), NEW(READY) },
	  "" },
	{ "the sick one that is to go may go",
	  1,
	  "",
	  { NEW(READY), NEW(READY), NEW(RUNNING) },
	  "delete pods default/web-2\n" },
	{ "the highest waits for a sick one below it",
	  1,
	  "",
	  { NEW(READY), NEW(RUNNING), NEW(RUNNING) },
	  "" },
	{ "old ones are replaced from the highest down",
	  3,
	  "",
	  { OLD(READY), OLD(READY), OLD(READY) },
	  "delete pods default/web-2\n" },
	{ "one at a time: the new one has to be ready",
	  3,
	  "",
	  { OLD(READY), OLD(READY), NEW(RUNNING) },
	  "" },
	{ "then the next one down",
	  3,
	  "",
	  { OLD(READY), OLD(READY), NEW(READY) },
	  "delete pods default/web-1\n" },
	{ "down to the partition", 3, PARTITION(2), { OLD(READY), OLD(READY), NEW(READY) }, "" },
	{ "a partition beyond the end keeps all", 2, PARTITION(5), { OLD(READY), OLD(READY) }, "" },
	{ "an old one that is broken is not replaced when order matters",
	  2,
	  "",
	  { OLD(RUNNING), OLD(READY) },
	  "" },
	{ "an old one that is broken is replaced when it does not",
	  2,
	  PARALLEL,
	  { OLD(READY), OLD(RUNNING) },
	  "delete pods default/web-1\n" },
	{ "scaling comes before replacing",
	  2,
	  "",
	  { OLD(READY), OLD(READY), OLD(READY) },
	  "delete pods default/web-2\n" },
	{ "several may be replaced at once",
	  4,
	  ",'updateStrategy':{'rollingUpdate':{'maxUnavailable':2}}",
	  { OLD(READY), OLD(READY), OLD(READY), OLD(READY) },
	  "delete pods default/web-3\ndelete pods default/web-2\n" },
	{ "so many as are not missing already",
	  4,
	  PARALLEL ",'updateStrategy':{'rollingUpdate':{'maxUnavailable':'50%'}}",
	  { OLD(READY), OLD(READY), OLD(READY), NEW(RUNNING) },
	  "delete pods default/web-2\n" },
	{ "on delete nothing is replaced",
	  2,
	  ",'updateStrategy':{'type':'OnDelete'}",
	  { OLD(READY), OLD(READY) },
	  "" },
	{ "ordinals may begin elsewhere",
	  2,
	  ",'ordinals':{'start':2}",
	  { NEW(NONE), NEW(NONE), NEW(READY) },
	  "create pods default/web-3\n" },
	{ "what is before the first ordinal goes",
	  2,
	  ",'ordinals':{'start':1}",
	  { NEW(READY), NEW(READY), NEW(READY) },
	  "delete pods default/web-0\n" },
	{ "ready is not enough when it has to last",
	  2,
	  ",'minReadySeconds':10",
	  { NEW(READY) },
	  "" },
	{ "nothing to do", 2, "", { NEW(READY), NEW(READY) }, "" },
	{ "none is wanted", 0, "", { { 0 } }, "" },
};

static void apply_once(struct world *w)
{
	struct view v = world_view(w);
	struct intents intents;

	intents_init(&intents, &w->arena);
	controller_statefulset.reconcile(&v, (struct key){ "default", "web" }, &intents);
	assert_int_equal(world_apply(w, &intents, NULL), 0);
}

static void remove_pods(struct world *w)
{
	struct list pods = list_of(w, "pods");

	for (size_t i = 0; i < pods.n; i++) {
		const char *name = arena_strdup(&w->arena, pods.items[i]->name);

		world_delete(w, "pods", "default", name, 0, NULL);
	}
}

static void put_pod(struct world *w, size_t ordinal, struct pod_case p,
		    const AppsV1__StatefulSetStatus *s)
{
	static const char *const phases[] = {
		[READY] = "Running", [RUNNING] = "Running", [PENDING] = "Pending",
		[FAILED] = "Failed", [DONE] = "Succeeded",  [LEAVING] = "Running"
	};

	world_put(w,
		  arena_printf(
			  &w->arena,
			  "{'kind':'Pod','metadata':{'name':'web-%zu','namespace':'default',"
			  "'labels':{'app':'web','statefulset.kubernetes.io/pod-name':'web-%zu',"
			  "'apps.kubernetes.io/pod-index':'%zu','controller-revision-hash':"
			  "'%s'},'ownerReferences':[{'apiVersion':'apps/v1','kind':"
			  "'StatefulSet','name':'web','uid':'%s','controller':true}]%s},'spec':{"
			  "'nodeName':'node','containers':[]},'status':{'phase':'%s',"
			  "'conditions':[{'type':'Ready','status':'%s','lastTransitionTime':"
			  "'2023-11-14T22:13:18Z'}]}}",
			  ordinal, ordinal, ordinal, p.old ? s->currentrevision : s->updaterevision,
			  world_get(w, sets, "default", "web")->facts.uid,
			  p.is == LEAVING ? ",'deletionTimestamp':'2023-11-14T22:13:20Z'" : "",
			  phases[p.is], p.is == READY ? "True" : "False"));
}

/* Without the report. */
static char *essence(struct world *w, const char *intents)
{
	char *text = arena_strdup(&w->arena, ""), *copy = arena_strdup(&w->arena, intents);

	for (char *save = NULL, *line = strtok_r(copy, "\n", &save); line != NULL;
	     line = strtok_r(NULL, "\n", &save))
		if (strncmp(line, "status ", 7) != 0)
			text = arena_printf(&w->arena, "%s%s\n", text, line);
	return text;
}

static void worlds_and_intents(void **state)
{
	for (size_t i = 0; i < array_size(cases); i++) {
		auto_with(world_fini) struct world w = { 0 };
		auto_with(status_fini) struct status st = { 0 };

		/* Two revisions: one look at each template. At least one replica, so that an empty
		 * set does not count as updated already. */
		setup(&w);
		if (world_create(&w, set_text(&w, 1, "v1", cases[i].extra), &st) == NULL)
			fail_msg("%s: %s", cases[i].name, st.message);
		apply_once(&w);
		assert_int_equal(world_update(&w,
					      set_text(&w, cases[i].replicas, "v2", cases[i].extra),
					      "", NULL),
				 0);
		remove_pods(&w);
		apply_once(&w);
		remove_pods(&w);

		const AppsV1__StatefulSetStatus *s = set_of(&w)->status;

		for (size_t k = 0; k < array_size(cases[i].pods); k++)
			if (cases[i].pods[k].is != NONE)
				put_pod(&w, k, cases[i].pods[k], s);

		char *got = essence(
			&w, world_reconcile(&w, &controller_statefulset, "default", "web", false));

		if (strcmp(got, cases[i].intents) != 0)
			fail_msg("%s: got\n%swanted\n%s", cases[i].name, got, cases[i].intents);
	}
}

/* --- Lives -------------------------------------------------------------------------------- */

/* Nodes do their part: pods become ready (all but the image "bad"), pods to be deleted end. */
static size_t play_nodes(struct world *w)
{
	struct list pods = list_of(w, "pods");
	size_t done = 0;

	for (size_t i = 0; i < pods.n; i++)
		object_ref(pods.items[i]);
	for (size_t i = 0; i < pods.n; i++) {
		const struct object *o = pods.items[i];
		const CoreV1__Pod *pod = object_message(o, &w->arena);

		if (o->facts.deleted_ns != 0) {
			world_delete(w, "pods", o->namespace, o->name, 0, NULL);
			done++;
		} else if (!o->facts.pod->ready &&
			   !text_is(pod->spec->containers[0]->image, "bad")) {
			world_update(w,
				     arena_printf(&w->arena,
						  "{'kind':'Pod','metadata':{'name':'%s',"
						  "'namespace':'default'},'status':{'phase':"
						  "'Running','conditions':[{'type':'Ready',"
						  "'status':'True'}]}}",
						  o->name),
				     "status", NULL);
			done++;
		}
		object_unref((struct object *)o);
	}
	return done;
}

static void live(struct world *w)
{
	do
		world_settle(w);
	while (play_nodes(w) > 0);
	world_settle(w);
}

static const CoreV1__Pod *pod_of(struct world *w, const char *name)
{
	const struct object *o = world_get(w, "pods", "default", name);

	return o != NULL ? object_message(o, &w->arena) : NULL;
}

static const char *image_of(struct world *w, const char *name)
{
	const CoreV1__Pod *pod = pod_of(w, name);

	return pod != NULL ? pod->spec->containers[0]->image : "";
}

static void create(struct world *w, int replicas, const char *image, const char *extra)
{
	auto_with(status_fini) struct status st = { 0 };

	if (world_create(w, set_text(w, replicas, image, extra), &st) == NULL)
		fail_msg("%s", st.message);
}

static void update(struct world *w, int replicas, const char *image, const char *extra)
{
	auto_with(status_fini) struct status st = { 0 };

	if (world_update(w, set_text(w, replicas, image, extra), "", &st) < 0)
		fail_msg("%s", st.message);
}

static void comes_up(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	create(&w, 3, "v1", "");
	live(&w);

	const CoreV1__Pod *pod = pod_of(&w, "web-2");
	const AppsV1__StatefulSetStatus *s = set_of(&w)->status;

	assert_string_equal(pod->spec->hostname, "web-2");
	assert_string_equal(pod->spec->subdomain, "peers");
	assert_string_equal(meta_label(pod->metadata, "statefulset.kubernetes.io/pod-name"),
			    "web-2");
	assert_string_equal(meta_label(pod->metadata, "apps.kubernetes.io/pod-index"), "2");
	assert_string_equal(meta_label(pod->metadata, "controller-revision-hash"),
			    s->currentrevision);
	assert_int_equal(s->replicas, 3);
	assert_int_equal(s->readyreplicas, 3);
	assert_int_equal(s->availablereplicas, 3);
	assert_int_equal(s->currentreplicas, 3);
	assert_int_equal(s->updatedreplicas, 3);
	assert_int_equal(s->observedgeneration, 1);
	assert_string_equal(s->currentrevision, s->updaterevision);

	/* At rest nothing is written. */
	size_t writes = w.writes;

	world_settle(&w);
	assert_int_equal(w.writes, writes);
	assert_int_equal(world_count(&w, "controllerrevisions.apps"), 1);
}

static void rolls_and_comes_back(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	create(&w, 3, "v1", "");
	live(&w);

	const char *first = set_of(&w)->status->currentrevision;

	update(&w, 3, "v2", PARTITION(1));
	live(&w);
	assert_string_equal(image_of(&w, "web-0"), "v1");
	assert_string_equal(image_of(&w, "web-1"), "v2");
	assert_string_equal(image_of(&w, "web-2"), "v2");

	const AppsV1__StatefulSetStatus *s = set_of(&w)->status;

	assert_string_equal(s->currentrevision, first);
	assert_string_not_equal(s->updaterevision, first);
	assert_int_equal(s->currentreplicas, 1);
	assert_int_equal(s->updatedreplicas, 2);

	/* Below the partition a pod comes back as it was. */
	world_delete(&w, "pods", "default", "web-0", 0, NULL);
	live(&w);
	assert_string_equal(image_of(&w, "web-0"), "v1");
	update(&w, 3, "v2", PARTITION(0));
	live(&w);
	assert_string_equal(image_of(&w, "web-0"), "v2");
	s = set_of(&w)->status;
	assert_string_equal(s->currentrevision, s->updaterevision);
	assert_int_equal(s->currentreplicas, 3);

	/* The template of before is the revision of before, with the next number. */
	update(&w, 3, "v1", PARTITION(0));
	live(&w);
	assert_string_equal(image_of(&w, "web-0"), "v1");
	assert_string_equal(set_of(&w)->status->currentrevision, first);
	assert_int_equal(world_count(&w, "controllerrevisions.apps"), 2);

	const AppsV1__ControllerRevision *r = object_message(
		world_get(&w, "controllerrevisions.apps", "default", first), &w.arena);

	assert_int_equal(r->revision, 3);
	assert_non_null(strstr((const char *)r->data->raw.data,
			       "{\"spec\":{\"template\":{\"$patch\":\"replace\",\"metadata\":{"));
}

static void a_broken_roll_stays(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	create(&w, 2, "v1", "");
	live(&w);
	update(&w, 2, "bad", "");
	live(&w);
	assert_string_equal(image_of(&w, "web-1"), "bad");
	assert_string_equal(image_of(&w, "web-0"), "v1");
	/* The good template alone does not help; the broken pod has to be deleted by hand. */
	update(&w, 2, "v1", "");
	live(&w);
	assert_string_equal(image_of(&w, "web-1"), "bad");
	world_delete(&w, "pods", "default", "web-1", 0, NULL);
	live(&w);
	assert_string_equal(image_of(&w, "web-1"), "v1");
}

static void history_is_trimmed(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	create(&w, 1, "v0", ",'revisionHistoryLimit':2");
	live(&w);
	for (int i = 1; i < 6; i++) {
		w.now_ns += INT64_C(1000000000);
		update(&w, 1, arena_printf(&w.arena, "v%d", i), ",'revisionHistoryLimit':2");
		live(&w);
	}
	assert_string_equal(image_of(&w, "web-0"), "v5");
	assert_int_equal(world_count(&w, "controllerrevisions.apps"), 3);
}

static void waits_until_available(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	int64_t again_ns;

	setup(&w);
	create(&w, 2, "v1", ",'minReadySeconds':10");
	world_settle(&w);
	world_update(&w,
		     "{'kind':'Pod','metadata':{'name':'web-0','namespace':'default'},'status':{"
		     "'phase':'Running','conditions':[{'type':'Ready','status':'True',"
		     "'lastTransitionTime':'2023-11-14T22:13:16Z'}]}}",
		     "status", NULL);
	again_ns = world_settle(&w);
	assert_null(pod_of(&w, "web-1"));
	assert_int_equal(set_of(&w)->status->readyreplicas, 1);
	assert_int_equal(set_of(&w)->status->availablereplicas, 0);
	assert_true(again_ns == w.now_ns + INT64_C(6000000000));
	w.now_ns = again_ns;
	world_settle(&w);
	assert_non_null(pod_of(&w, "web-1"));
	assert_int_equal(set_of(&w)->status->availablereplicas, 1);
}

static void on_delete_waits_for_a_hand(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	const char *strategy = ",'updateStrategy':{'type':'OnDelete'}";

	setup(&w);
	create(&w, 2, "v1", strategy);
	live(&w);
	update(&w, 2, "v2", strategy);
	live(&w);
	assert_string_equal(image_of(&w, "web-0"), "v1");
	world_delete(&w, "pods", "default", "web-0", 0, NULL);
	live(&w);
	assert_string_equal(image_of(&w, "web-0"), "v2");
	assert_string_equal(image_of(&w, "web-1"), "v1");
}

static void orphans_are_adopted(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	create(&w, 2, "v1", "");
	live(&w);
	world_delete(&w, sets, "default", "web", -1, "Orphan");
	world_settle(&w);
	assert_null(world_get(&w, sets, "default", "web"));
	assert_int_equal(world_count(&w, "pods"), 2);
	assert_int_equal(world_count(&w, "controllerrevisions.apps"), 1);

	const char *uid = pod_of(&w, "web-0")->metadata->uid;

	/* A pod that only looks alike is none of the set's. */
	world_put(&w, "{'kind':'Pod','metadata':{'name':'web-x','namespace':'default','labels':{"
		      "'app':'web'}},'spec':{'containers':[{'name':'a','image':'bad'}]},'status':{"
		      "'phase':'Running'}}");
	create(&w, 1, "v1", "");
	live(&w);
	assert_string_equal(pod_of(&w, "web-0")->metadata->uid, uid);
	assert_int_equal(pod_of(&w, "web-0")->metadata->n_ownerreferences, 1);
	assert_null(pod_of(&w, "web-1"));
	assert_int_equal(pod_of(&w, "web-x")->metadata->n_ownerreferences, 0);
	assert_int_equal(world_count(&w, "controllerrevisions.apps"), 1);
}

/* --- Claims --------------------------------------------------------------------------------- */

#define CLAIMS                                                                                     \
	",'volumeClaimTemplates':[{'metadata':{'name':'data'},'spec':{'accessModes':["             \
	"'ReadWriteOnce'],'resources':{'requests':{'storage':'1Gi'}}}}]"
#define RETENTION(deleted, scaled)                                                                 \
	",'persistentVolumeClaimRetentionPolicy':{'whenDeleted':'" deleted "','whenScaled':"       \
	"'" scaled "'}"

static const struct object *claim_of(struct world *w, const char *name)
{
	return world_get(w, "persistentvolumeclaims", "default", name);
}

static void claims_come_and_stay(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	create(&w, 2, "v1", CLAIMS);
	live(&w);

	const struct object *claim = claim_of(&w, "data-web-1");
	const CoreV1__Pod *pod = pod_of(&w, "web-1");

	assert_non_null(claim);
	assert_string_equal(object_label(claim, "app"), "web");
	assert_int_equal(claim->facts.n_owners, 0);
	assert_string_equal(pod->spec->volumes[0]->name, "data");
	assert_string_equal(pod->spec->volumes[0]->volumesource->persistentvolumeclaim->claimname,
			    "data-web-1");

	const char *uid = arena_strdup(&w.arena, claim->facts.uid);

	update(&w, 1, "v1", CLAIMS);
	live(&w);
	assert_null(pod_of(&w, "web-1"));
	assert_non_null(claim_of(&w, "data-web-1"));
	update(&w, 2, "v1", CLAIMS);
	live(&w);
	assert_string_equal(claim_of(&w, "data-web-1")->facts.uid, uid);
	world_delete(&w, sets, "default", "web", -1, "Background");
	live(&w);
	assert_non_null(claim_of(&w, "data-web-0"));
}

static void claims_go_with_the_set(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	create(&w, 2, "v1", CLAIMS RETENTION("Delete", "Retain"));
	live(&w);
	assert_int_equal(claim_of(&w, "data-web-0")->facts.n_owners, 1);
	assert_string_equal(claim_of(&w, "data-web-0")->facts.owners[0].kind, "StatefulSet");
	/* Another policy is another owner. */
	update(&w, 2, "v1", CLAIMS RETENTION("Retain", "Retain"));
	live(&w);
	assert_int_equal(claim_of(&w, "data-web-0")->facts.n_owners, 0);
	update(&w, 2, "v1", CLAIMS RETENTION("Delete", "Retain"));
	live(&w);
	update(&w, 1, "v1", CLAIMS RETENTION("Delete", "Retain"));
	live(&w);
	assert_non_null(claim_of(&w, "data-web-1"));
	world_delete(&w, sets, "default", "web", -1, "Background");
	live(&w);
	assert_null(claim_of(&w, "data-web-0"));
	assert_null(claim_of(&w, "data-web-1"));
}

static void claims_go_with_the_pod(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	const char *extra = CLAIMS RETENTION("Retain", "Delete");

	setup(&w);
	create(&w, 2, "v1", extra);
	live(&w);
	assert_int_equal(claim_of(&w, "data-web-1")->facts.n_owners, 0);

	/* A pod that is only replaced keeps its claim. */
	const char *uid = arena_strdup(&w.arena, claim_of(&w, "data-web-1")->facts.uid);

	world_delete(&w, "pods", "default", "web-1", 0, NULL);
	live(&w);
	assert_string_equal(claim_of(&w, "data-web-1")->facts.uid, uid);
	update(&w, 1, "v1", extra);
	live(&w);
	assert_null(pod_of(&w, "web-1"));
	assert_null(claim_of(&w, "data-web-1"));
	assert_non_null(claim_of(&w, "data-web-0"));
	update(&w, 2, "v1", extra);
	live(&w);
	assert_string_not_equal(claim_of(&w, "data-web-1")->facts.uid, uid);
}

/* A claim that goes with the former pod of that name is not given to the next one. */
static void a_stale_claim_is_waited_for(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	create(&w, 1, "v1", CLAIMS);
	world_put(&w, "{'kind':'PersistentVolumeClaim','metadata':{'name':'data-web-0',"
		      "'namespace':'default','ownerReferences':[{'apiVersion':'v1','kind':'Pod',"
		      "'name':'web-0','uid':'former','controller':true}]},'spec':{}}");
	apply_once(&w);
	assert_string_equal(
		essence(&w, world_reconcile(&w, &controller_statefulset, "default", "web", false)),
		"");
	assert_null(pod_of(&w, "web-0"));
	live(&w);
	assert_non_null(pod_of(&w, "web-0"));
	assert_int_equal(claim_of(&w, "data-web-0")->facts.n_owners, 0);
}

static void a_quota_lets_some_through(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	create(&w, 4, "v1", PARALLEL);
	w.quota_resource = "pods";
	w.quota = 2;
	world_settle(&w);
	assert_int_equal(world_count(&w, "pods"), 2);
	assert_int_equal(set_of(&w)->status->replicas, 2);
	assert_true(w.refusals > 0);
	w.quota_resource = NULL;
	live(&w);
	assert_int_equal(set_of(&w)->status->readyreplicas, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(worlds_and_intents),
		cmocka_unit_test(comes_up),
		cmocka_unit_test(rolls_and_comes_back),
		cmocka_unit_test(a_broken_roll_stays),
		cmocka_unit_test(history_is_trimmed),
		cmocka_unit_test(waits_until_available),
		cmocka_unit_test(on_delete_waits_for_a_hand),
		cmocka_unit_test(orphans_are_adopted),
		cmocka_unit_test(claims_come_and_stay),
		cmocka_unit_test(claims_go_with_the_set),
		cmocka_unit_test(claims_go_with_the_pod),
		cmocka_unit_test(a_stale_claim_is_waited_for),
		cmocka_unit_test(a_quota_lets_some_through),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
