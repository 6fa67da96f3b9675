/* Namespaces: what each one has, and how one ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/cleanup.h"
#include "tests/unit/world/world.h"

extern const struct controller controller_namespace;

static void setup(struct world *w)
{
	world_init(w);
	world_put(w, "{'kind':'Namespace','metadata':{'name':'kube-system'}}");
	world_put(w, "{'kind':'Node','metadata':{'name':'node'}}");
	world_put(w, "{'kind':'Secret','metadata':{'name':'sampan-ca','namespace':'kube-system'},"
		     "'data':{'tls.crt':'UEVN'}}");
}

static void a_new_one_is_furnished(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	world_create(&w, "{'kind':'Namespace','metadata':{'name':'n'}}", NULL);
	assert_string_equal(world_reconcile(&w, &controller_namespace, "", "n", true),
			    "create serviceaccounts n/default\n"
			    "create configmaps n/kube-root-ca.crt\n");
	world_settle(&w);
	assert_string_equal(world_reconcile(&w, &controller_namespace, "", "n", true), "");
	assert_non_null(
		strstr(world_print(&w, world_get(&w, "configmaps", "n", "kube-root-ca.crt")),
		       "\"ca.crt\":\"PEM\""));
	/* What somebody added goes. */
	world_update(&w,
		     "{'kind':'ConfigMap','metadata':{'name':'kube-root-ca.crt','namespace':'n'},"
		     "'data':{'ca.crt':'PEM','mine':'too'}}",
		     "", NULL);
	world_settle(&w);
	assert_null(strstr(world_print(&w, world_get(&w, "configmaps", "n", "kube-root-ca.crt")),
			   "mine"));
	/* What somebody took away or changed comes back. */
	world_update(&w,
		     "{'kind':'ConfigMap','metadata':{'name':'kube-root-ca.crt','namespace':'n'},"
		     "'data':{'ca.crt':'other'}}",
		     "", NULL);
	world_delete(&w, "serviceaccounts", "n", "default", -1, NULL);
	assert_string_equal(world_reconcile(&w, &controller_namespace, "", "n", true),
			    "create serviceaccounts n/default\n"
			    "update configmaps n/kube-root-ca.crt\n");
}

static void says(struct world *w, const char *part)
{
	char *text = world_print(w, world_get(w, "namespaces", "", "n"));

	if (strstr(text, world_json(w, part)) == NULL)
		fail_msg("no %s in %s", part, text);
}

static void the_end_empties_it(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	world_create(&w, "{'kind':'Namespace','metadata':{'name':'n'}}", NULL);
	world_settle(&w);
	world_create(&w,
		     "{'kind':'ConfigMap','metadata':{'name':'c','namespace':'n',"
		     "'finalizers':['example.com/x']}}",
		     NULL);
	world_create(&w,
		     "{'kind':'Pod','metadata':{'name':'p','namespace':'n'},'spec':{'nodeName':"
		     "'node','containers':[{'name':'a','image':'b'}]}}",
		     NULL);
	assert_int_equal(world_delete(&w, "namespaces", "", "n", -1, NULL), 0);
	assert_non_null(strstr(world_print(&w, world_get(&w, "namespaces", "", "n")),
			       "\"phase\":\"Terminating\""));

	auto_with(status_fini) struct status st = { 0 };

	assert_null(world_create(&w, "{'kind':'ConfigMap','metadata':{'name':'d','namespace':'n'}}",
				 &st));
	assert_string_equal(st.message,
			    "configmaps \"d\" is forbidden: unable to create new content in "
			    "namespace n because it is being terminated");
	world_settle(&w);
	/* The pod is given its time, the finalizer is respected. */
	assert_non_null(world_get(&w, "pods", "n", "p"));
	assert_null(world_get(&w, "serviceaccounts", "n", "default"));
	says(&w, "{'type':'NamespaceDeletionDiscoveryFailure','status':'False',");
	says(&w, "{'type':'NamespaceDeletionGroupVersionParsingFailure','status':'False',");
	says(&w, "{'type':'NamespaceDeletionContentFailure','status':'False',");
	says(&w, "{'type':'NamespaceContentRemaining','status':'True',");
	says(&w,
	     "'reason':'SomeResourcesRemain','message':'Some resources are remaining: pods. has "
	     "1 resource instances, configmaps. has 1 resource instances'");
	says(&w, "{'type':'NamespaceFinalizersRemaining','status':'True',");
	says(&w, "'reason':'SomeFinalizersRemain','message':'Some content in the namespace has "
		 "finalizers remaining: example.com/x in 1 resource instances'");
	world_delete(&w, "pods", "n", "p", 0, NULL);
	world_update(&w, "{'kind':'ConfigMap','metadata':{'name':'c','namespace':'n'}}", "", NULL);
	world_settle(&w);
	assert_null(world_get(&w, "namespaces", "", "n"));
	assert_int_equal(world_count(&w, "configmaps"), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_one_is_furnished),
		cmocka_unit_test(the_end_empties_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
