/* Ingresses, their classes and NetworkPolicies at the door. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/cidr.h"
#include "common/base/cleanup.h"
#include "tests/unit/world/world.h"

#define NAMED(kind, name)                                                                          \
	"{'apiVersion':'networking.k8s.io/v1','kind':'" kind "','metadata':{'name':'" name         \
	"','namespace':'default'},"
#define INGRESS(spec) NAMED("Ingress", "i") "'spec':{" spec "}}"
#define BACKEND "'backend':{'service':{'name':'web','port':{'number':80}}}"
#define PATH(type, path) "{'pathType':'" type "','path':'" path "'," BACKEND "}"
#define RULE(host, paths) "'rules':[{'host':'" host "','http':{'paths':[" paths "]}}]"
#define POLICY(spec) NAMED("NetworkPolicy", "p") "'spec':{" spec "}}"
#define CLASS(spec)                                                                                \
	"{'apiVersion':'networking.k8s.io/v1','kind':'IngressClass','metadata':{'name':'c'},"      \
	"'spec':{" spec "}}"
#define PATH_FIELD "Ingress.networking.k8s.io \"i\" is invalid: spec.rules[0].http.paths[0]"
#define PEER(text) "'podSelector':{},'ingress':[{'from':[" text "]}]"
#define PORT(text) "'podSelector':{},'ingress':[{'ports':[" text "]}]"
#define POLICY_IS "NetworkPolicy.networking.k8s.io \"p\" is invalid: spec.ingress[0]."

/* What a create answers: NULL when it is accepted, else how the message begins. */
static const struct {
	const char *name, *text, *message;
} cases[] = {
	{ "hosts and paths",
	  INGRESS(RULE("a.example.com", PATH("Prefix", "/x") "," PATH("Exact", "/"))), NULL },
	{ "a wildcard", INGRESS(RULE("*.example.com", PATH("Prefix", "/"))), NULL },
	{ "a default backend alone",
	  INGRESS("'defaultBackend':{'service':{'name':'web','port':{'name':'http'}}}"), NULL },
	{ "neither rules nor default", INGRESS(""),
	  "Ingress.networking.k8s.io \"i\" is invalid: spec: Invalid value: null: either "
	  "`defaultBackend` or `rules` must be specified" },
	{ "an address as host", INGRESS(RULE("10.0.0.1", PATH("Prefix", "/"))),
	  "Ingress.networking.k8s.io \"i\" is invalid: spec.rules[0].host: Invalid value: "
	  "\"10.0.0.1\": must be a DNS name, not an IP address" },
	{ "a star in the middle", INGRESS(RULE("a.*.com", PATH("Prefix", "/"))),
	  "Ingress.networking.k8s.io \"i\" is invalid: spec.rules[0].host: Invalid value: "
	  "\"a.*.com\": a wildcard" },
	{ "no path type", INGRESS(RULE("", "{'path':'/'," BACKEND "}")),
	  PATH_FIELD ".pathType: Required value: pathType must be specified" },
	{ "an unknown path type", INGRESS(RULE("", PATH("Regex", "/"))),
	  PATH_FIELD
	  ".pathType: Unsupported value: \"Regex\": supported values: \"Exact\", \"Prefix\", \"ImplementationSpecific\"" },
	{ "a relative path", INGRESS(RULE("", PATH("Prefix", "x"))),
	  PATH_FIELD ".path: Invalid value: \"x\": must be an absolute path" },
	{ "a path that climbs", INGRESS(RULE("", PATH("Exact", "/a/../b"))),
	  PATH_FIELD ".path: Invalid value: \"/a/../b\": must not contain '/../'" },
	{ "a path that ends in a climb", INGRESS(RULE("", PATH("Prefix", "/a/.."))),
	  PATH_FIELD ".path: Invalid value: \"/a/..\": cannot end with '/..'" },
	{ "an encoded slash", INGRESS(RULE("", PATH("Prefix", "/a%2fb"))),
	  PATH_FIELD ".path: Invalid value: \"/a%2fb\": must not contain '%2f'" },
	{ "anything goes, by the controller's own rules",
	  INGRESS(RULE("", PATH("ImplementationSpecific", "/a//b"))), NULL },
	{ "no backend", INGRESS(RULE("", "{'pathType':'Exact','path':'/'}")),
	  PATH_FIELD ".backend: Required value: cannot have both resource and service backends "
		     "unset" },
	{ "a port by name and number",
	  INGRESS("'defaultBackend':{'service':{'name':'web','port':{'name':'http','number':1}}}"),
	  "Ingress.networking.k8s.io \"i\" is invalid: spec.defaultBackend.service.port: Invalid "
	  "value: {\"name\":\"http\",\"number\":1}: cannot set both port name & port number" },
	{ "a class", CLASS("'controller':'sampan.io/ingress'"), NULL },
	{ "a class without a domain", CLASS("'controller':'mine'"),
	  "IngressClass.networking.k8s.io \"c\" is invalid: spec.controller: Invalid value: \"mine\": "
	  "must be a domain-prefixed path (such as \"acme.io/foo\")" },
	{ "parameters of a namespace nobody named",
	  CLASS("'controller':'a/b','parameters':{'kind':'K','name':'n','scope':'Namespace'}"),
	  "IngressClass.networking.k8s.io \"c\" is invalid: spec.parameters.namespace: Required "
	  "value: `parameters.scope` is set to 'Namespace'" },

	{ "deny all", POLICY("'podSelector':{},'policyTypes':['Ingress','Egress']"), NULL },
	{ "a block with a hole",
	  POLICY(PEER("{'ipBlock':{'cidr':'10.0.0.0/8','except':['10.1.0.0/16']}}")), NULL },
	{ "a block of IPv6",
	  POLICY(PEER("{'ipBlock':{'cidr':'fd00::/8','except':['fd00:1::/32']}}")), NULL },
	{ "no peer", POLICY(PEER("{}")), POLICY_IS "from[0]: Required value: must specify a peer" },
	{ "a block beside a selector",
	  POLICY(PEER("{'podSelector':{},'ipBlock':{'cidr':'10.0.0.0/8'}}")),
	  POLICY_IS "from[0]: Forbidden: may not specify both ipBlock and another peer" },
	{ "no range", POLICY(PEER("{'ipBlock':{'cidr':'10.0.0.0'}}")),
	  POLICY_IS
	  "from[0].ipBlock.cidr: Invalid value: \"10.0.0.0\": must be a valid CIDR value" },
	{ "a hole as large as the block",
	  POLICY(PEER("{'ipBlock':{'cidr':'10.0.0.0/8','except':['10.0.0.0/8']}}")),
	  POLICY_IS "from[0].ipBlock.except[0]: Invalid value: \"10.0.0.0/8\": must be a strict "
		    "subset of `cidr`" },
	{ "a hole elsewhere",
	  POLICY(PEER("{'ipBlock':{'cidr':'10.0.0.0/8','except':['11.0.0.0/16']}}")),
	  POLICY_IS "from[0].ipBlock.except[0]: Invalid value: \"11.0.0.0/16\"" },
	{ "ports by number, range and name",
	  POLICY(PORT("{'port':1},{'port':1,'endPort':9},{'port':'http'},{'protocol':'UDP'}")),
	  NULL },
	{ "a range that ends before it begins", POLICY(PORT("{'port':9,'endPort':1}")),
	  POLICY_IS "ports[0].endPort: Invalid value: 1: must be greater than or equal to `port`" },
	{ "a range from a name", POLICY(PORT("{'port':'http','endPort':9}")),
	  POLICY_IS "ports[0].endPort: Invalid value: 9: may not be specified when `port` is "
		    "non-numeric" },
	{ "a range from nowhere", POLICY(PORT("{'endPort':9}")),
	  POLICY_IS "ports[0].port: Required value: must be specified when `endPort` is" },
	{ "an unknown policy type", POLICY("'podSelector':{},'policyTypes':['Both']"),
	  "NetworkPolicy.networking.k8s.io \"p\" is invalid: spec.policyTypes[0]: Unsupported value: "
	  "\"Both\"" },
	{ "an unknown protocol", POLICY(PORT("{'protocol':'ICMP'}")),
	  POLICY_IS
	  "ports[0].protocol: Unsupported value: \"ICMP\": supported values: \"TCP\", \"UDP\", \"SCTP\"" },
};

static void the_door(void **state)
{
	for (size_t i = 0; i < array_size(cases); i++) {
		auto_with(world_fini) struct world w = { 0 };
		auto_with(status_fini) struct status st = { 0 };

		world_init(&w);
		world_put(&w, "{'kind':'Namespace','metadata':{'name':'default'}}");

		bool accepted = world_create(&w, cases[i].text, &st) != NULL;
		const char *said = st.message;

		if (cases[i].message == NULL ? accepted
					     : !accepted && strncmp(said, cases[i].message,
								    strlen(cases[i].message)) == 0)
			continue;
		print_error("%s: %s\n", cases[i].name, accepted ? "accepted" : said);
		fail();
	}
}

static void a_default_class_is_filled_in(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	world_init(&w);
	world_put(&w, "{'kind':'Namespace','metadata':{'name':'default'}}");
	world_put(&w,
		  "{'apiVersion':'networking.k8s.io/v1','kind':'IngressClass','metadata':{'name':"
		  "'old','creationTimestamp':'2026-01-01T00:00:00Z','annotations':{"
		  "'ingressclass.kubernetes.io/is-default-class':'true'}},'spec':{}}");
	world_put(&w,
		  "{'apiVersion':'networking.k8s.io/v1','kind':'IngressClass','metadata':{'name':"
		  "'new','creationTimestamp':'2026-02-01T00:00:00Z','annotations':{"
		  "'ingressclass.kubernetes.io/is-default-class':'true'}},'spec':{}}");

	const struct object *o =
		world_create(&w, INGRESS(RULE("a.example.com", PATH("Prefix", "/"))), NULL);

	assert_non_null(o);
	assert_non_null(strstr(world_print(&w, o), "\"ingressClassName\":\"new\""));
}

static void ranges(void **state)
{
	static const char *const wrong[] = {
		"",         "10.0.0.0", "10.0.0.0/",  "10.0.0.0/33", "10.0.0.0/08", "10.0.0.0/-1",
		"10.0.0/8", "::/129",   "1::2::3/64", "10.0.0.0/8 ", " 10.0.0.0/8", "x/8"
	};
	struct cidr a, b;

	for (size_t i = 0; i < array_size(wrong); i++)
		assert_false(cidr_read(wrong[i], &a));
	assert_false(cidr_read(NULL, &a));
	assert_true(cidr_read("10.240.0.0/12", &a));
	assert_true(cidr_read_address("10.255.255.255", &b));
	assert_true(cidr_contains(&a, &b));
	assert_true(cidr_read_address("11.0.0.0", &b));
	assert_false(cidr_contains(&a, &b));
	assert_true(cidr_read("0.0.0.0/0", &a));
	assert_true(cidr_contains(&a, &b));
	assert_true(cidr_read("2001:db8::/33", &a));
	assert_true(cidr_read_address("2001:db8:7fff::1", &b));
	assert_true(cidr_contains(&a, &b));
	assert_true(cidr_read_address("2001:db8:8000::1", &b));
	assert_false(cidr_contains(&a, &b));
	assert_true(cidr_read("0.0.0.0/0", &a));
	assert_false(cidr_contains(&a, &b)); /* Families do not mix. */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_door),
		cmocka_unit_test(a_default_class_is_filled_in),
		cmocka_unit_test(ranges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
