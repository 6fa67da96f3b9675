/* Who goes when an owner goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/cleanup.h"
#include "tests/unit/world/world.h"

static void setup(struct world *w)
{
	world_init(w);
	world_put(w, "{'kind':'Namespace','metadata':{'name':'default'}}");
	world_put(w, "{'kind':'ServiceAccount','metadata':{'name':'default',"
		     "'namespace':'default'}}");
}

/* A map with owners ("a b"); block says whether they wait for it. */
static void put(struct world *w, const char *name, const char *owners, bool block)
{
	char *refs = arena_strdup(&w->arena, ""), *copy = arena_strdup(&w->arena, owners);

	for (char *save = NULL, *o = strtok_r(copy, " ", &save); o != NULL;
	     o = strtok_r(NULL, " ", &save))
		refs = arena_printf(&w->arena,
				    "%s%s{'apiVersion':'v1','kind':'ConfigMap','name':'%s','uid':"
				    "'uid-%s'%s}",
				    refs, refs[0] ? "," : "", o, o,
				    block ? ",'blockOwnerDeletion':true" : "");
	world_put(w,
		  arena_printf(&w->arena,
			       "{'kind':'ConfigMap','metadata':{'name':'%s','namespace':'default',"
			       "'ownerReferences':[%s]}}",
			       name, refs));
}

/* Names of the maps that are there. */
static char *left(struct world *w)
{
	static const char *const names[] = { "a", "b", "c", "d", "e" };
	char *text = arena_strdup(&w->arena, "");

	for (size_t i = 0; i < array_size(names); i++)
		if (world_get(w, "configmaps", "default", names[i]) != NULL)
			text = arena_printf(&w->arena, "%s%s", text, names[i]);
	return text;
}

static const struct {
	const char *name;
	struct {
		const char *name, *owners;
		bool block;
	} objects[5];
	const char *delete, *propagation, *left;
} cases[] = {
	{ "a chain goes", { { "a", "", 0 }, { "b", "a", 0 }, { "c", "b", 0 } }, "a", NULL, "" },
	{ "a second owner keeps it",
	  { { "a", "", 0 }, { "d", "", 0 }, { "b", "a d", 0 } },
	  "a",
	  NULL,
	  "bd" },
	{ "an owner that never was", { { "b", "a", 0 }, { "c", "b", 0 } }, NULL, NULL, "" },
	{ "orphans stay", { { "a", "", 0 }, { "b", "a", 0 } }, "a", "Orphan", "b" },
	{ "foreground takes all",
	  { { "a", "", 0 }, { "b", "a", 1 }, { "c", "b", 1 } },
	  "a",
	  "Foreground",
	  "" },
	{ "foreground does not wait for those that need not be waited for",
	  { { "a", "", 0 }, { "b", "a", 0 } },
	  "a",
	  "Foreground",
	  "" },
	{ "foreground spares what others own",
	  { { "a", "", 0 }, { "d", "", 0 }, { "b", "a d", 1 } },
	  "a",
	  "Foreground",
	  "bd" },
	{ "foreground takes a tree",
	  { { "a", "", 0 }, { "b", "a", 1 }, { "c", "a", 1 }, { "d", "b c", 1 } },
	  "a",
	  "Foreground",
	  "" },
	{ "one that lives keeps what two own",
	  { { "a", "", 0 }, { "b", "a", 1 }, { "d", "", 0 }, { "c", "b d", 1 } },
	  "a",
	  NULL,
	  "cd" },
	{ "orphans of a chain keep theirs",
	  { { "a", "", 0 }, { "b", "a", 1 }, { "c", "b", 1 } },
	  "a",
	  "Orphan",
	  "bc" },
	{ "a circle of three",
	  { { "a", "c", 1 }, { "b", "a", 1 }, { "c", "b", 1 } },
	  "a",
	  "Foreground",
	  "" },
	{ "a circle in the background", { { "a", "b", 0 }, { "b", "a", 0 } }, "a", NULL, "" },
	{ "it owns itself", { { "a", "a", 1 } }, "a", "Foreground", "" },
	{ "a circle is cut", { { "a", "b", 1 }, { "b", "a", 1 } }, "a", "Foreground", "" },
};

static void owners_and_dependents(void **state)
{
	for (size_t i = 0; i < array_size(cases); i++) {
		auto_with(world_fini) struct world w = { 0 };

		setup(&w);
		for (size_t k = 0; k < array_size(cases[i].objects) && cases[i].objects[k].name;
		     k++)
			put(&w, cases[i].objects[k].name, cases[i].objects[k].owners,
			    cases[i].objects[k].block);
		if (cases[i].delete != NULL)
			world_delete(&w, "configmaps", "default", cases[i].delete, -1,
				     cases[i].propagation);
		world_settle(&w);
		if (strcmp(left(&w), cases[i].left) != 0)
			fail_msg("%s: left \"%s\", wanted \"%s\"", cases[i].name, left(&w),
				 cases[i].left);
	}
}

/* One dependent, its only owner, and what becomes of it. */
static const struct {
	const char *name, *owner, *dependent;
	bool stays, told;
} strangers[] = {
	{ "an owner in another namespace is none",
	  "{'kind':'ConfigMap','metadata':{'name':'o','namespace':'other'}}",
	  "{'kind':'ConfigMap','metadata':{'name':'d','namespace':'default','ownerReferences':[{"
	  "'apiVersion':'v1','kind':'ConfigMap','name':'o','uid':'uid-o'}]}}",
	  false, true },
	{ "an owner of the cluster is one everywhere", "{'kind':'Node','metadata':{'name':'o'}}",
	  "{'kind':'ConfigMap','metadata':{'name':'d','namespace':'default','ownerReferences':[{"
	  "'apiVersion':'v1','kind':'Node','name':'o','uid':'uid-o'}]}}",
	  true, false },
	{ "the uid of another name",
	  "{'kind':'ConfigMap','metadata':{'name':'o','namespace':"
	  "'default'}}",
	  "{'kind':'ConfigMap','metadata':{'name':'d','namespace':'default','ownerReferences':[{"
	  "'apiVersion':'v1','kind':'ConfigMap','name':'x','uid':'uid-o'}]}}",
	  false, false },
	{ "the uid of another kind",
	  "{'kind':'ConfigMap','metadata':{'name':'o','namespace':"
	  "'default'}}",
	  "{'kind':'ConfigMap','metadata':{'name':'d','namespace':'default','ownerReferences':[{"
	  "'apiVersion':'v1','kind':'Secret','name':'o','uid':'uid-o'}]}}",
	  false, false },
	{ "another uid of the same name",
	  "{'kind':'ConfigMap','metadata':{'name':'o','namespace':"
	  "'default'}}",
	  "{'kind':'ConfigMap','metadata':{'name':'d','namespace':'default','ownerReferences':[{"
	  "'apiVersion':'v1','kind':'ConfigMap','name':'o','uid':'uid-before'}]}}",
	  false, false },
	{ "a kind that nobody knows", "{'kind':'Node','metadata':{'name':'unused'}}",
	  "{'kind':'ConfigMap','metadata':{'name':'d','namespace':'default','ownerReferences':[{"
	  "'apiVersion':'example.com/v1','kind':'Widget','name':'o','uid':'uid-o'}]}}",
	  true, false },
	{ "what is in no namespace looks into none",
	  "{'kind':'ConfigMap','metadata':{'name':'o','namespace':'default'}}",
	  "{'kind':'Node','metadata':{'name':'d','ownerReferences':[{'apiVersion':'v1','kind':"
	  "'ConfigMap','name':'gone','uid':'uid-gone'}]}}",
	  true, true },
};

extern const struct controller controller_garbage;

static void owners_that_are_none(void **state)
{
	for (size_t i = 0; i < array_size(strangers); i++) {
		auto_with(world_fini) struct world w = { 0 };
		bool node = strstr(strangers[i].dependent, "'kind':'Node'") ==
			    strangers[i].dependent + 1;
		const char *told;

		setup(&w);
		world_put(&w, "{'kind':'Namespace','metadata':{'name':'other'}}");
		world_put(&w, strangers[i].owner);
		world_put(&w, strangers[i].dependent);
		told = world_reconcile(&w, &controller_garbage, "", "uid-d", true);
		if ((strstr(told, "OwnerRefInvalidNamespace") != NULL) != strangers[i].told)
			fail_msg("%s: %s", strangers[i].name, told);
		if ((strstr(told, "delete ") == NULL) != strangers[i].stays)
			fail_msg("%s: %s", strangers[i].name, told);
		assert_non_null(
			world_get(&w, node ? "nodes" : "configmaps", node ? "" : "default", "d"));
	}
}

static void foreground_waits(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	put(&w, "a", "", false);
	world_put(&w,
		  "{'kind':'ConfigMap','metadata':{'name':'b','namespace':'default','finalizers':"
		  "['example.com/x'],'ownerReferences':[{'apiVersion':'v1','kind':'ConfigMap',"
		  "'name':'a','uid':'uid-a','blockOwnerDeletion':true}]}}");
	world_delete(&w, "configmaps", "default", "a", -1, "Foreground");
	world_settle(&w);
	assert_string_equal(left(&w), "ab");
	world_update(&w,
		     "{'kind':'ConfigMap','metadata':{'name':'b','namespace':'default',"
		     "'ownerReferences':[{'apiVersion':'v1','kind':'ConfigMap','name':'a','uid':"
		     "'uid-a','blockOwnerDeletion':true}]}}",
		     "", NULL);
	world_settle(&w);
	assert_string_equal(left(&w), "");
}

static void a_deployment_takes_its_pods_along(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	world_create(&w,
		     "{'apiVersion':'apps/v1','kind':'Deployment','metadata':{'name':'web',"
		     "'namespace':'default'},'spec':{'replicas':3,'selector':{'matchLabels':{"
		     "'app':'web'}},'template':{'metadata':{'labels':{'app':'web'}},'spec':{"
		     "'containers':[{'name':'a','image':'b'}]}}}}",
		     NULL);
	world_settle(&w);
	assert_int_equal(world_count(&w, "pods"), 3);
	world_delete(&w, "deployments.apps", "default", "web", -1, "Background");
	world_settle(&w);
	assert_int_equal(world_count(&w, "replicasets.apps"), 0);
	assert_int_equal(world_count(&w, "pods"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(owners_and_dependents),
		cmocka_unit_test(owners_that_are_none),
		cmocka_unit_test(foreground_waits),
		cmocka_unit_test(a_deployment_takes_its_pods_along),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
