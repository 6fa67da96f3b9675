/* Policies in, what nft is told out. Traffic is tried in tests/cluster/network/policies.sh. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "proxy/policies/plan.h"
#include "tests/unit/proxy/support.h"

/* In texts ' stands for ". */
static void put(struct world *w, const char *text)
{
	autofree char *json = xstrdup(text);

	for (char *c = json; *c != '\0'; c++)
		if (*c == '\'')
			*c = '"';
	support_put(w, json);
}

#define POD(name, node, ip, label, more)                                                           \
	"{'apiVersion':'v1','kind':'Pod','metadata':{'namespace':'d','name':'" name                \
	"','labels':{'app':'" label "'}},'spec':{" more "'nodeName':'" node                        \
	"','containers':[{'name':'c','image':'i','ports':[{'name':'http','containerPort':8080},{"  \
	"'name':'dns','protocol':'UDP','containerPort':53}]}]},'status':{'phase':'Running',"       \
	"'podIP':'" ip "'}}"
#define POLICY(spec)                                                                               \
	"{'apiVersion':'networking.k8s.io/v1','kind':'NetworkPolicy','metadata':{'namespace':'d'," \
	"'name':'p'},'spec':{" spec "}}"
#define WEB "'podSelector':{'matchLabels':{'app':'web'}}"

static void begin(struct world *w)
{
	world_init(w);
	put(w, "{'apiVersion':'v1','kind':'Namespace','metadata':{'name':'d','labels':{'a':'b'}}}");
	put(w, POD("web", "n1", "10.0.0.1", "web", ""));
	put(w, POD("far", "n2", "10.0.1.1", "client", ""));
	put(w, POD("host", "n1", "192.0.2.1", "web", "'hostNetwork':true,"));
}

/* Rules of the one chain there is. */
static const struct {
	const char *name, *policy;
	const char *rules[4];
} cases[] = {
	{ "closed", POLICY(WEB ",'policyTypes':['Ingress']"), { NULL } },
	{ "all", POLICY(WEB ",'ingress':[{}]"), { "return" } },
	{ "a port", POLICY(WEB ",'ingress':[{'ports':[{'port':80}]}]"), { "tcp dport 80 return" } },
	{ "a range",
	  POLICY(WEB ",'ingress':[{'ports':[{'protocol':'UDP','port':80,'endPort':90}]}]"),
	  { "udp dport 80-90 return" } },
	{ "all ports of a protocol",
	  POLICY(WEB ",'ingress':[{'ports':[{'protocol':'SCTP'}]}]"),
	  { "meta l4proto sctp return" } },
	{ "a port by name",
	  POLICY(WEB ",'ingress':[{'ports':[{'port':'http'}]}]"),
	  { "tcp dport 8080 return" } },
	{ "a name of another protocol",
	  POLICY(WEB ",'ingress':[{'ports':[{'port':'dns'}]}]"),
	  { NULL } },
	{ "a block",
	  POLICY(WEB ",'ingress':[{'from':[{'ipBlock':{'cidr':'10.0.0.0/8','except':['10.9.0.0/16',"
		     "'10.8.0.0/16']}}]}]"),
	  { "ip saddr 10.0.0.0/8 ip saddr != 10.9.0.0/16 ip saddr != 10.8.0.0/16 return" } },
	{ "a block of IPv6, outwards",
	  POLICY(WEB ",'policyTypes':['Egress'],'egress':[{'to':[{'ipBlock':{'cidr':'fd00::/8'}}],"
		     "'ports':[{'port':443}]}]"),
	  { "ip6 daddr fd00::/8 tcp dport 443 return" } },
	{ "a block that is none",
	  POLICY(WEB ",'ingress':[{'from':[{'ipBlock':{'cidr':'x; flush'}}]}]"),
	  { NULL } },
};

static void rules(void **state)
{
	for (size_t i = 0; i < array_size(cases); i++) {
		auto_with(world_fini) struct world w;
		auto_with(policy_plan_fini) struct policy_plan p = { 0 };
		auto_with(buf_fini) struct buf want = { 0 };

		begin(&w);
		put(&w, cases[i].policy);
		policy_plan_build(&p, &w, "n1");
		assert_int_equal(p.n_pods, 1);
		for (size_t k = 0; k < array_size(cases[i].rules) && cases[i].rules[k]; k++)
			buf_printf(&want, "\t\t%s\n", cases[i].rules[k]);
		buf_put_str(&want, "\t\tdrop\n\t}\n");

		const char *got = strchr(buf_cstr(&p.chains), '\n') + 1;

		if (strcmp(got, buf_cstr(&want)) != 0)
			fail_msg("%s: got\n%s", cases[i].name, got);
	}
}

static void pods_are_elements(void **state)
{
	auto_with(world_fini) struct world w;
	auto_with(policy_plan_fini) struct policy_plan a = { 0 };
	auto_with(policy_plan_fini) struct policy_plan b = { 0 };
	auto_with(policy_plan_fini) struct policy_plan c = { 0 };
	auto_with(buf_fini) struct buf script = { 0 };

	begin(&w);
	put(&w,
	    POLICY(WEB ",'ingress':[{'from':[{'podSelector':{'matchLabels':{'app':'client'}}}]}]"));
	policy_plan_build(&a, &w, "n1");
	policy_plan_print(&a, &script);
	assert_non_null(strstr(buf_cstr(&script), "elements = { 10.0.1.1 }"));
	assert_non_null(strstr(buf_cstr(&script),
			       "add element inet sampan_policy ingress4 { 10.0.0.1 "
			       ": jump in_"));

	/* One client comes and another goes. */
	put(&w, POD("new", "n2", "10.0.1.2", "client", ""));
	support_delete(&w, "pods", "d", "far");
	policy_plan_build(&b, &w, "n1");
	buf_clear(&script);
	assert_true(policy_plan_changes(&a, &b, &script));
	assert_non_null(strstr(buf_cstr(&script), "delete element inet sampan_policy peers_"));
	assert_non_null(strstr(buf_cstr(&script), "{ 10.0.1.1 }\nadd element"));
	assert_non_null(strstr(buf_cstr(&script), "{ 10.0.1.2 }\n"));

	/* Another policy is another table. */
	put(&w, POLICY(WEB ",'policyTypes':['Ingress']"));
	policy_plan_build(&c, &w, "n1");
	assert_false(policy_plan_changes(&b, &c, &script));

	/* A node whose pods nobody selects has none. */
	policy_plan_fini(&c);
	policy_plan_build(&c, &w, "n2");
	assert_int_equal(c.n_pods, 0);
	buf_clear(&script);
	policy_plan_print(&c, &script);
	assert_string_equal(buf_cstr(&script),
			    "table inet sampan_policy {\n}\ndelete table inet sampan_policy\n");
}

static void egress_by_name(void **state)
{
	auto_with(world_fini) struct world w;
	auto_with(policy_plan_fini) struct policy_plan p = { 0 };
	auto_with(buf_fini) struct buf script = { 0 };

	begin(&w);
	put(&w,
	    POLICY(WEB
		   ",'policyTypes':['Egress'],'egress':[{'to':[{'namespaceSelector':{}}],'ports'"
		   ":[{'port':'http'}]}]"));
	policy_plan_build(&p, &w, "n1");
	policy_plan_print(&p, &script);
	assert_non_null(
		strstr(buf_cstr(&script), "elements = { 10.0.0.1 . 8080, 10.0.1.1 . 8080 }"));
	assert_non_null(strstr(buf_cstr(&script), "\t\tip daddr . tcp dport @ports_"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rules),
		cmocka_unit_test(pods_are_elements),
		cmocka_unit_test(egress_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
