/* What Ingresses tell their users. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/cleanup.h"
#include "tests/unit/world/world.h"

extern const struct controller controller_ingress;

#define INGRESS(annotations, spec)                                                                 \
	"{'apiVersion':'networking.k8s.io/v1','kind':'Ingress','metadata':{'name':'i',"            \
	"'namespace':'default','annotations':{" annotations "}},'spec':{'ingressClassName':"       \
	"'sampan'," spec "}}"
#define TO(service, port) "'defaultBackend':{'service':{'name':'" service "','port':{" port "}}}"
#define UPDATE "status ingresses.networking.k8s.io default/i\n"

static const struct {
	const char *name, *ingress;
	/* Part of the events, NULL: there is none. */
	const char *event;
	const char *address;
} cases[] = {
	{ "an Ingress as it should be", INGRESS("", TO("web", "'number':80")), NULL, "192.0.2.1" },
	{ "a port by name", INGRESS("", TO("web", "'name':'http'")), NULL, "192.0.2.1" },
	{ "no Service", INGRESS("", TO("gone", "'number':80")),
	  "ServiceNotFound: service \"gone\" not found", "192.0.2.1" },
	{ "no such port", INGRESS("", TO("web", "'number':81")),
	  "PortNotFound: service \"web\" has no port 81", "192.0.2.1" },
	{ "no such port by name", INGRESS("", TO("web", "'name':'x'")),
	  "PortNotFound: service \"web\" has no port x", "192.0.2.1" },
	{ "a Service elsewhere", INGRESS("", TO("away", "'number':80")),
	  "ServiceNotSupported: service \"away\" is of type ExternalName", "192.0.2.1" },
	{ "no Secret", INGRESS("", "'tls':[{'secretName':'gone'}]," TO("web", "'number':80")),
	  "SecretNotFound: secret \"gone\" not found", "192.0.2.1" },
	{ "a Secret of another type",
	  INGRESS("", "'tls':[{'secretName':'plain'}]," TO("web", "'number':80")),
	  "SecretNotUsable: secret \"plain\" is not of type kubernetes.io/tls", "192.0.2.1" },
	{ "an annotation there is not",
	  INGRESS("'ingress.sampan.io/x':'1'", TO("web", "'number':80")),
	  "Rejected: there is no annotation ingress.sampan.io/x", NULL },
	{ "a backend that is a resource",
	  INGRESS("", "'defaultBackend':{'resource':{'kind':'K','name':'n'}}"),
	  "Rejected: backends that are resources are not supported", NULL },
	{ "another's class",
	  "{'apiVersion':'networking.k8s.io/v1','kind':'Ingress','metadata':{'name':'i',"
	  "'namespace':'default'},'spec':{'ingressClassName':'other'," TO("gone",
									  "'number':1") "}}",
	  NULL, NULL },
};

static void setup(struct world *w)
{
	world_init(w);
	world_put(w, "{'kind':'Namespace','metadata':{'name':'default'}}");
	world_put(w, "{'apiVersion':'networking.k8s.io/v1','kind':'IngressClass','metadata':{"
		     "'name':'sampan'},'spec':{'controller':'sampan.io/ingress'}}");
	world_put(w, "{'apiVersion':'networking.k8s.io/v1','kind':'IngressClass','metadata':{"
		     "'name':'other'},'spec':{'controller':'example.com/ingress'}}");
	world_put(w, "{'kind':'Service','metadata':{'name':'web','namespace':'default'},'spec':{"
		     "'clusterIP':'10.96.0.9','ports':[{'name':'http','port':80}]}}");
	world_put(w, "{'kind':'Service','metadata':{'name':'away','namespace':'default'},'spec':{"
		     "'type':'ExternalName','externalName':'example.com'}}");
	world_put(w, "{'kind':'Secret','metadata':{'name':'plain','namespace':'default'},'type':"
		     "'Opaque'}");
	world_put(w, "{'kind':'Node','metadata':{'name':'n1'},'status':{'addresses':[{'type':"
		     "'InternalIP','address':'192.0.2.1'}],'conditions':[{'type':'Ready','status':"
		     "'True'}]}}");
	world_put(w, "{'kind':'Node','metadata':{'name':'n2'},'status':{'addresses':[{'type':"
		     "'InternalIP','address':'192.0.2.2'}],'conditions':[{'type':'Ready','status':"
		     "'False'}]}}");
	world_put(w, "{'kind':'Node','metadata':{'name':'n3','labels':{"
		     "'node.kubernetes.io/exclude-from-external-load-balancers':''}},'status':{"
		     "'addresses':[{'type':'InternalIP','address':'192.0.2.3'}],'conditions':[{"
		     "'type':'Ready','status':'True'}]}}");
}

static void tables(void **state)
{
	for (size_t i = 0; i < array_size(cases); i++) {
		auto_with(world_fini) struct world w = { 0 };

		setup(&w);
		world_put(&w, cases[i].ingress);

		const char *did = world_reconcile(&w, &controller_ingress, "default", "i", true);
		bool event = strstr(did, "event") != NULL || strstr(did, "Warning") != NULL;

		if (cases[i].event != NULL ? strstr(did, cases[i].event) == NULL : event)
			fail_msg("%s: %s", cases[i].name, did);
		if ((cases[i].address != NULL) != (strstr(did, UPDATE) != NULL))
			fail_msg("%s: %s", cases[i].name, did);
	}
}

static void addresses_come_and_go(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	world_put(&w, cases[0].ingress);
	world_settle(&w);

	struct object const *o = world_get(&w, "ingresses.networking.k8s.io", "default", "i");

	assert_non_null(strstr(world_print(&w, o), "\"ingress\":[{\"ip\":\"192.0.2.1\"}]"));
	world_update(&w,
		     "{'kind':'Node','metadata':{'name':'n2'},'status':{'addresses':[{'type':"
		     "'InternalIP','address':'192.0.2.2'}],'conditions':[{'type':'Ready','status':"
		     "'True'}]}}",
		     "status", NULL);
	world_settle(&w);
	o = world_get(&w, "ingresses.networking.k8s.io", "default", "i");
	assert_non_null(strstr(world_print(&w, o),
			       "\"ingress\":[{\"ip\":\"192.0.2.1\"},{\"ip\":\"192.0.2.2\"}]"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tables),
		cmocka_unit_test(addresses_come_and_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
