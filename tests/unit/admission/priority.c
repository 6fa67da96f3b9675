/* PriorityClasses at the door, and the priorities of pods. */
#include <errno.h>
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

#define CLASS(name, rest)                                                                          \
	"{'apiVersion':'scheduling.k8s.io/v1','kind':'PriorityClass','metadata':{'name':'" name    \
	"'}," rest "}"
#define POD(spec)                                                                                  \
	"{'kind':'Pod','metadata':{'name':'p','namespace':'default'},'spec':{" spec                \
	"'containers':[{'name':'a','image':'b'}]}}"
#define RESERVED                                                                                   \
	"metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for "   \
	"system use only. error: "

static const struct {
	const char *name, *text, *message; /* NULL: accepted. */
} cases[] = {
	{ "a class", CLASS("high", "'value':1000"), NULL },
	{ "a negative one", CLASS("low", "'value':-5"), NULL },
	{ "the highest", CLASS("top", "'value':1000000000"), NULL },
	{ "too high", CLASS("top", "'value':1000000001"),
	  "PriorityClass.scheduling.k8s.io \"top\" is invalid: value: Forbidden: maximum allowed "
	  "value of a user defined priority is 1000000000" },
	{ "a system class", CLASS("system-node-critical", "'value':2000001000"), NULL },
	{ "a system class of another value", CLASS("system-node-critical", "'value':7"),
	  "PriorityClass.scheduling.k8s.io \"system-node-critical\" is invalid: " RESERVED
	  "value of system-node-critical PriorityClass must be 2000001000" },
	{ "a reserved name", CLASS("system-mine", "'value':7"),
	  "PriorityClass.scheduling.k8s.io \"system-mine\" is invalid: " RESERVED
	  "system-mine is not a known system priority class" },
	{ "a policy that there is not", CLASS("p", "'value':7,'preemptionPolicy':'Sometimes'"),
	  "PriorityClass.scheduling.k8s.io \"p\" is invalid: preemptionPolicy: Unsupported value: "
	  "\"Sometimes\": supported values: \"PreemptLowerPriority\", \"Never\"" },
	{ "a second default", CLASS("other", "'value':7,'globalDefault':true"),
	  "priorityclasses.scheduling.k8s.io \"other\" is forbidden: PriorityClass usual is already "
	  "marked as default. Only one default can exist" },
	{ "a pod of a class that there is not", POD("'priorityClassName':'none',"),
	  "pods \"p\" is forbidden: no PriorityClass with name none was found" },
	{ "a pod of another priority", POD("'priorityClassName':'urgent','priority':3,"),
	  "pods \"p\" is forbidden: the integer value of priority (3) must not be provided in pod "
	  "spec; priority admission controller computed 100 from the given PriorityClass name" },
	{ "a pod of the same priority", POD("'priorityClassName':'urgent','priority':100,"), NULL },
	{ "a pod of another policy",
	  POD("'priorityClassName':'urgent','preemptionPolicy':'PreemptLowerPriority',"),
	  "pods \"p\" is forbidden: the string value of PreemptionPolicy (PreemptLowerPriority) must "
	  "not be provided in pod spec; priority admission controller computed Never from the given "
	  "PriorityClass name" },
};

static void words_of_refusal(void **state)
{
	for (size_t i = 0; i < array_size(cases); i++) {
		auto_with(world_fini) struct world w = { 0 };
		auto_with(status_fini) struct status st = { 0 };

		setup(&w);
		world_put(&w, CLASS("usual", "'value':10,'globalDefault':true"));
		world_put(&w, CLASS("urgent", "'value':100,'preemptionPolicy':'Never'"));
		(void)world_create(&w, cases[i].text, &st);

		const char *message = st.rc != 0 ? st.message : NULL;

		if ((message == NULL) != (cases[i].message == NULL) ||
		    (message != NULL && strcmp(message, cases[i].message) != 0))
			fail_msg("%s: got %s", cases[i].name, message ? message : "(accepted)");
	}
}

static const struct {
	const char *name, *classes, *pod, *shows[3];
} pods[] = {
	{ "no class at all", NULL, POD(""), { "'priority':0", "'PreemptLowerPriority'" } },
	{ "the default class",
	  CLASS("usual", "'value':10,'globalDefault':true"),
	  POD(""),
	  { "'priorityClassName':'usual'", "'priority':10" } },
	{ "a named class",
	  CLASS("late", "'value':-10,'preemptionPolicy':'Never'"),
	  POD("'priorityClassName':'late',"),
	  { "'priority':-10", "'preemptionPolicy':'Never'" } },
	{ "a system class needs no object",
	  NULL,
	  POD("'priorityClassName':'system-node-critical',"),
	  { "'priority':2000001000", "'priorityClassName':'system-node-critical'" } },
};

static void pods_get_what_their_class_says(void **state)
{
	for (size_t i = 0; i < array_size(pods); i++) {
		auto_with(world_fini) struct world w = { 0 };

		setup(&w);
		if (pods[i].classes != NULL)
			world_put(&w, pods[i].classes);
		assert_non_null(world_create(&w, pods[i].pod, NULL));

		char *text = world_print(&w, world_get(&w, "pods", "default", "p"));

		for (size_t k = 0; k < array_size(pods[i].shows) && pods[i].shows[k]; k++)
			if (strstr(text, world_json(&w, pods[i].shows[k])) == NULL)
				fail_msg("%s: no %s in %s", pods[i].name, pods[i].shows[k], text);
	}
}

static void a_class_stays_what_it_is(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	auto_with(status_fini) struct status st = { 0 };

	setup(&w);
	world_create(&w, CLASS("c", "'value':5"), NULL);
	assert_int_equal(world_update(&w, CLASS("c", "'value':6"), "", &st), -EINVAL);
	assert_non_null(strstr(st.message, "value: Forbidden: may not be changed in an update."));
	status_fini(&st);
	st = (struct status){ 0 };
	assert_int_equal(
		world_update(&w, CLASS("c", "'value':5,'preemptionPolicy':'Never'"), "", &st),
		-EINVAL);
	assert_non_null(strstr(st.message, "preemptionPolicy: Invalid value: \"Never\": field is "
					   "immutable"));
	assert_int_equal(world_update(&w, CLASS("c", "'value':5,'description':'five'"), "", NULL),
			 0);
	assert_int_equal(world_delete(&w, "priorityclasses.scheduling.k8s.io", "", "c", -1, NULL),
			 0);
}

extern const struct controller controller_builtin;

static void system_classes_are_always_there(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	world_settle(&w);
	assert_non_null(
		world_get(&w, "priorityclasses.scheduling.k8s.io", "", "system-cluster-critical"));
	assert_non_null(
		world_get(&w, "priorityclasses.scheduling.k8s.io", "", "system-node-critical"));
	assert_int_equal(world_delete(&w, "priorityclasses.scheduling.k8s.io", "",
				      "system-node-critical", -1, NULL),
			 -EPERM);
	assert_string_equal(world_reconcile(&w, &controller_builtin, "",
					    "priorityclasses.scheduling.k8s.io", false),
			    "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_of_refusal),
		cmocka_unit_test(pods_get_what_their_class_says),
		cmocka_unit_test(a_class_stays_what_it_is),
		cmocka_unit_test(system_classes_are_always_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
