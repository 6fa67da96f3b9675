/* Roles that aggregate, roles that every cluster has, and what roles must be. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/cleanup.h"
#include "proto/k8s/rbac_v1.pb-c.h"
#include "tests/unit/world/world.h"

extern const struct controller controller_builtin, controller_clusterrole;

#define ROLES "clusterroles.rbac.authorization.k8s.io"
#define BINDINGS "clusterrolebindings.rbac.authorization.k8s.io"
#define META(name) "'metadata':{'name':'" name "'}"
#define OF(kind) "{'apiVersion':'rbac.authorization.k8s.io/v1','kind':'" kind "',"
#define RULE(resource) "{'apiGroups':[''],'resources':['" resource "'],'verbs':['get']}"
#define PART(name, label, rules)                                                                   \
	OF("ClusterRole")                                                                          \
	"'metadata':{'name':'" name "','labels':{'" label "':'true'}},'rules':[" rules "]}"
#define WHOLE(name, selectors)                                                                     \
	OF("ClusterRole") META(name) ",'aggregationRule':{'clusterRoleSelectors':[" selectors "]}}"
#define SELECTS(label) "{'matchLabels':{'" label "':'true'}}"

/* --- Aggregation ---------------------------------------------------------------------------- */

static const struct {
	const char *name, *roles[4], *resources; /* Of the role whole, in order. */
} cases[] = {
	{ "nobody selected", { WHOLE("whole", SELECTS("x")), PART("a", "y", RULE("pods")) }, "" },
	{ "one", { WHOLE("whole", SELECTS("x")), PART("a", "x", RULE("pods")) }, "pods " },
	{ "in the order of names",
	  { WHOLE("whole", SELECTS("x")), PART("b", "x", RULE("secrets")),
	    PART("a", "x", RULE("pods")) },
	  "pods secrets " },
	{ "what is the same only once",
	  { WHOLE("whole", SELECTS("x")), PART("a", "x", RULE("pods")),
	    PART("b", "x", RULE("pods") "," RULE("nodes")) },
	  "pods nodes " },
	{ "any of the selectors",
	  { WHOLE("whole", SELECTS("x") "," SELECTS("y")), PART("a", "x", RULE("pods")),
	    PART("b", "y", RULE("nodes")) },
	  "pods nodes " },
	{ "never itself",
	  { OF("ClusterRole") "'metadata':{'name':'whole','labels':{'x':'true'}},'rules':[" RULE(
		    "junk") "],'aggregationRule':{'clusterRoleSelectors':[" SELECTS("x") "]}}",
	    PART("a", "x", RULE("pods")) },
	  "pods " },
	{ "a part that aggregates itself",
	  { WHOLE("whole", SELECTS("x")),
	    OF("ClusterRole") "'metadata':{'name':'b','labels':{'x':'true'}},'aggregationRule':{"
			      "'clusterRoleSelectors':[" SELECTS("y") "]}}",
	    PART("c", "y", RULE("nodes")) },
	  "nodes " },
	{ "without a rule it stays",
	  { OF("ClusterRole") META("whole") ",'rules':[" RULE("own") "]}",
	    PART("a", "x", RULE("pods")) },
	  "own " },
};

static char *resources_of(struct world *w, const char *name)
{
	const RbacV1__ClusterRole *r = object_message(world_get(w, ROLES, "", name), &w->arena);
	char *text = arena_strdup(&w->arena, "");

	for (size_t i = 0; i < r->n_rules; i++)
		text = arena_printf(&w->arena, "%s%s ", text, r->rules[i]->resources[0]);
	return text;
}

static void roles_that_aggregate(void **state)
{
	for (size_t i = 0; i < array_size(cases); i++) {
		auto_with(world_fini) struct world w = { 0 };

		world_init(&w);
		for (size_t k = 0; k < array_size(cases[i].roles) && cases[i].roles[k]; k++)
			world_put(&w, cases[i].roles[k]);
		world_settle(&w);
		if (strcmp(resources_of(&w, "whole"), cases[i].resources) != 0)
			fail_msg("%s: got %s", cases[i].name, resources_of(&w, "whole"));
	}
}

static void parts_come_and_go(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	world_init(&w);
	world_put(&w, WHOLE("whole", SELECTS("x")));
	world_put(&w, PART("a", "x", RULE("pods")));
	world_settle(&w);
	assert_string_equal(resources_of(&w, "whole"), "pods ");
	world_put(&w, PART("b", "x", RULE("nodes")));
	world_settle(&w);
	assert_string_equal(resources_of(&w, "whole"), "pods nodes ");
	world_delete(&w, ROLES, "", "a", -1, NULL);
	world_settle(&w);
	assert_string_equal(resources_of(&w, "whole"), "nodes ");
}

/* --- What every cluster has --------------------------------------------------------------------
 */

static void default_roles(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	const char *text;
	size_t roles, writes;

	world_init(&w);
	world_settle(&w);
	roles = world_count(&w, ROLES);
	assert_true(roles >= 25);
	text = world_print(&w, world_get(&w, ROLES, "", "cluster-admin"));
	assert_non_null(strstr(text, "\"rules\":[{\"verbs\":[\"*\"],\"apiGroups\":[\"*\"],"
				     "\"resources\":[\"*\"]},{\"verbs\":[\"*\"],"
				     "\"nonResourceURLs\":[\"*\"]}]"));
	text = world_print(&w, world_get(&w, BINDINGS, "", "cluster-admin"));
	assert_non_null(strstr(text,
			       "\"subjects\":[{\"kind\":\"Group\",\"apiGroup\":"
			       "\"rbac.authorization.k8s.io\",\"name\":\"system:masters\"}]"));
	/* admin has what edit has, edit what view has. */
	text = world_print(&w, world_get(&w, ROLES, "", "admin"));
	assert_non_null(strstr(text, "\"localsubjectaccessreviews\""));
	assert_non_null(strstr(text, "\"pods/eviction\""));
	assert_non_null(strstr(text, "\"pods/log\""));
	text = world_print(&w, world_get(&w, ROLES, "", "view"));
	assert_null(strstr(text, "\"pods/eviction\""));
	assert_null(strstr(text, "\"secrets\""));

	/* What is removed comes back, what is taken away is added; not where it is forbidden. */
	world_delete(&w, ROLES, "", "system:discovery", -1, NULL);
	world_update(&w,
		     OF("ClusterRole") "'metadata':{'name':'cluster-admin','annotations':{"
				       "'rbac.authorization.kubernetes.io/autoupdate':'true'}},"
				       "'rules':[]}",
		     "", NULL);
	world_update(&w,
		     OF("ClusterRole") "'metadata':{'name':'system:kube-dns','annotations':{"
				       "'rbac.authorization.kubernetes.io/autoupdate':'false'}},"
				       "'rules':[]}",
		     "", NULL);
	world_settle(&w);
	assert_int_equal(world_count(&w, ROLES), roles);
	assert_string_equal(resources_of(&w, "system:kube-dns"), "");
	text = world_print(&w, world_get(&w, ROLES, "", "cluster-admin"));
	assert_non_null(strstr(text, "\"resources\":[\"*\"]"));
	writes = w.writes;
	world_settle(&w);
	assert_int_equal(w.writes, writes);
}

/* --- The door -----------------------------------------------------------------------------------
 */

#define IN_DEFAULT(name) "'metadata':{'name':'" name "','namespace':'default'}"
#define REF(kind) "'roleRef':{'apiGroup':'rbac.authorization.k8s.io','kind':'" kind "','name':'r'}"
#define NO_ROLE "Role.rbac.authorization.k8s.io \"r\" is invalid: "

static const struct {
	const char *name, *text, *message; /* NULL: accepted. */
} door[] = {
	{ "a role", OF("Role") IN_DEFAULT("r") ",'rules':[" RULE("pods") "]}", NULL },
	{ "a name as paths have them", OF("ClusterRole") META("system:my:Role") "}", NULL },
	{ "a name with a slash", OF("ClusterRole") META("a/b") "}",
	  "ClusterRole.rbac.authorization.k8s.io \"a/b\" is invalid: metadata.name: Invalid value: "
	  "\"a/b\": may not contain '/'" },
	{ "no verbs",
	  OF("Role") IN_DEFAULT("r") ",'rules':[{'apiGroups':[''],'resources':['pods']}]}",
	  NO_ROLE "rules[0].verbs: Required value: verbs must contain at least one value" },
	{ "no group",
	  OF("Role") IN_DEFAULT("r") ",'rules':[{'resources':['pods'],'verbs':['get']}]}",
	  NO_ROLE "rules[0].apiGroups: Required value: resource rules must supply at least one api "
		  "group" },
	{ "no resource",
	  OF("Role") IN_DEFAULT("r") ",'rules':[{'apiGroups':[''],'verbs':['get']}]}",
	  NO_ROLE "rules[0].resources: Required value: resource rules must supply at least one "
		  "resource" },
	{ "paths are not in a namespace",
	  OF("Role") IN_DEFAULT("r") ",'rules':[{'nonResourceURLs':['/x'],'verbs':['get']}]}",
	  "namespaced rules cannot apply to non-resource URLs" },
	{ "paths of a cluster",
	  OF("ClusterRole") META("r") ",'rules':[{'nonResourceURLs':['/x'],'verbs':['get']}]}",
	  NULL },
	{ "paths and resources",
	  OF("ClusterRole") META("r") ",'rules':[{'nonResourceURLs':['/x'],'resources':['pods'],"
				      "'verbs':['get']}]}",
	  "rules cannot apply to both regular resources and non-resource URLs" },
	{ "nothing to aggregate", WHOLE("r", ""),
	  "aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector "
	  "required if aggregationRule is non-nil" },
	{ "a binding",
	  OF("RoleBinding") IN_DEFAULT("b") "," REF("Role") ",'subjects':[{'kind':'User','name':"
							    "'ann'}]}",
	  NULL },
	{ "a binding of a cluster's role",
	  OF("RoleBinding") IN_DEFAULT("b") "," REF("ClusterRole") "}", NULL },
	{ "a cluster's binding of a role", OF("ClusterRoleBinding") META("b") "," REF("Role") "}",
	  "roleRef.kind: Unsupported value: \"Role\": supported values: \"ClusterRole\"" },
	{ "a subject of no kind",
	  OF("RoleBinding") IN_DEFAULT("b") "," REF("Role") ",'subjects':[{'kind':'Robot','name':"
							    "'x','apiGroup':'x'}]}",
	  "subjects[0].kind: Unsupported value: \"Robot\": supported values: \"ServiceAccount\", "
	  "\"User\", \"Group\"" },
	{ "an account of nowhere",
	  OF("ClusterRoleBinding")
		  META("b") "," REF("ClusterRole") ",'subjects':[{'kind':"
						   "'ServiceAccount','name':'x'}]}",
	  "subjects[0].namespace: Required value" },
};

static void words_of_refusal(void **state)
{
	for (size_t i = 0; i < array_size(door); i++) {
		auto_with(world_fini) struct world w = { 0 };
		auto_with(status_fini) struct status st = { 0 };

		world_init(&w);
		world_put(&w, "{'kind':'Namespace','metadata':{'name':'default'}}");
		(void)world_create(&w, door[i].text, &st);
		if ((door[i].message == NULL) != (st.rc == 0) ||
		    (st.rc != 0 && strstr(st.message, door[i].message) == NULL))
			fail_msg("%s: got %s", door[i].name, st.rc ? st.message : "nothing");
	}
}

static void a_binding_stays_with_its_role(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	auto_with(status_fini) struct status st = { 0 };

	world_init(&w);
	world_create(&w, OF("ClusterRoleBinding") META("b") "," REF("ClusterRole") "}", NULL);
	assert_int_equal(world_update(&w,
				      OF("ClusterRoleBinding")
					      META("b") ",'roleRef':{'kind':'ClusterRole',"
							"'name':'other'}}",
				      "", &st),
			 -EINVAL);
	assert_non_null(strstr(st.message, "cannot change roleRef"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(roles_that_aggregate),
		cmocka_unit_test(parts_come_and_go),
		cmocka_unit_test(default_roles),
		cmocka_unit_test(words_of_refusal),
		cmocka_unit_test(a_binding_stays_with_its_role),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
