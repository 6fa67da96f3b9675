/* What is behind a Service, in both descriptions. */
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
#include "proto/k8s/discovery_v1.pb-c.h"
#include "tests/unit/world/world.h"

extern const struct controller controller_endpointslice;

static void setup(struct world *w)
{
	world_init(w);
	world_put(w, "{'kind':'Namespace','metadata':{'name':'default'}}");
	world_put(w, "{'kind':'ServiceAccount','metadata':{'name':'default',"
		     "'namespace':'default'}}");
	world_put(w, "{'kind':'Node','metadata':{'name':'n1','labels':{"
		     "'topology.kubernetes.io/zone':'z1'}}}");
}

static void put_pod(struct world *w, const char *name, const char *ip, const char *more_meta,
		    bool ready)
{
	world_put(w,
		  arena_printf(&w->arena,
			       "{'kind':'Pod','metadata':{'name':'%s','namespace':'default',"
			       "'labels':{'app':'web'}%s},'spec':{'nodeName':'n1','hostname':'%s',"
			       "'subdomain':'web','containers':[{'name':'a','image':'b','ports':[{"
			       "'name':'http','containerPort':8080,'protocol':'TCP'}]}]},'status':{"
			       "'phase':'Running','podIP':'%s','conditions':[{'type':'Ready',"
			       "'status':'%s'}]}}",
			       name, more_meta, name, ip, ready ? "True" : "False"));
}

static const char *endpoints(struct world *w)
{
	return world_print(w, world_get(w, "endpoints", "default", "web"));
}

struct slices {
	struct world *w;
	size_t n, endpoints, largest;
	char *text;
};

static bool on_slice(void *ctx, const struct object *o)
{
	struct slices *s = ctx;
	const DiscoveryV1__EndpointSlice *m = object_message(o, &s->w->arena);

	s->n++;
	s->endpoints += m->n_endpoints;
	s->largest = m->n_endpoints > s->largest ? m->n_endpoints : s->largest;
	s->text = arena_printf(&s->w->arena, "%s%s\n", s->text, world_print(s->w, o));
	return true;
}

static struct slices slices(struct world *w)
{
	struct slices s = { .w = w, .text = arena_strdup(&w->arena, "") };

	store_walk(w->store, kind_of_resource("endpointslices.discovery.k8s.io"), NULL, NULL, NULL,
		   on_slice, &s);
	return s;
}

static void expect(struct world *w, const char *text, const char *part)
{
	if (strstr(text, world_json(w, part)) == NULL)
		fail_msg("no %s in\n%s", part, text);
}

static void follows_the_pods(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	world_create(&w,
		     "{'kind':'Service','metadata':{'name':'web','namespace':'default',"
		     "'labels':{'team':'x'}},'spec':{'selector':{'app':'web'},'ports':[{'name':"
		     "'http','port':80,'targetPort':'http'}]}}",
		     NULL);
	world_settle(&w);
	assert_null(strstr(endpoints(&w), "subsets"));
	assert_int_equal(slices(&w).n, 1);
	assert_int_equal(slices(&w).endpoints, 0);

	put_pod(&w, "b", "10.244.0.2", "", true);
	put_pod(&w, "a", "10.244.0.3", "", false);
	world_settle(&w);
	expect(&w, endpoints(&w),
	       "'subsets':[{'addresses':[{'ip':'10.244.0.2','targetRef':{'kind':'Pod','namespace':"
	       "'default','name':'b','uid':'uid-b'},'nodeName':'n1'}],'notReadyAddresses':[{'ip':"
	       "'10.244.0.3'");
	expect(&w, endpoints(&w), "'ports':[{'name':'http','port':8080,'protocol':'TCP'}]");
	expect(&w, endpoints(&w), "'team':'x'");

	struct slices s = slices(&w);

	assert_int_equal(s.n, 1);
	expect(&w, s.text, "'kubernetes.io/service-name':'web'");
	expect(&w, s.text,
	       "'addresses':['10.244.0.2'],'conditions':{'ready':true,'serving':true,"
	       "'terminating':false}");
	expect(&w, s.text,
	       "'addresses':['10.244.0.3'],'conditions':{'ready':false,'serving':false,"
	       "'terminating':false}");
	expect(&w, s.text, "'zone':'z1'");
	expect(&w, s.text, "'ports':[{'name':'http','protocol':'TCP','port':8080}]");
	expect(&w, s.text, "'addressType':'IPv4'");

	/* Terminating pods leave Endpoints, and stay in slices without being ready. */
	put_pod(&w, "b", "10.244.0.2", ",'deletionTimestamp':'2023-11-14T22:13:20Z'", true);
	world_settle(&w);
	assert_null(strstr(endpoints(&w), "10.244.0.2"));
	expect(&w, slices(&w).text,
	       "'addresses':['10.244.0.2'],'conditions':{'ready':false,"
	       "'serving':true,'terminating':true}");

	size_t writes = w.writes;

	world_settle(&w);
	assert_int_equal(w.writes, writes);

	/* The Service goes, and what was written for it. */
	world_delete(&w, "services", "default", "web", -1, NULL);
	world_settle(&w);
	assert_null(world_get(&w, "endpoints", "default", "web"));
}

static void headless_names_its_pods(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	world_create(&w,
		     "{'kind':'Service','metadata':{'name':'web','namespace':'default'},'spec':{"
		     "'clusterIP':'None','selector':{'app':'web'}}}",
		     NULL);
	put_pod(&w, "web-0", "10.244.0.2", "", true);
	world_settle(&w);
	expect(&w, endpoints(&w), "'hostname':'web-0'");
	expect(&w, endpoints(&w), "'service.kubernetes.io/headless':''");
	expect(&w, slices(&w).text, "'hostname':'web-0'");
}

static void slices_hold_a_hundred(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	world_create(&w,
		     "{'kind':'Service','metadata':{'name':'web','namespace':'default'},'spec':{"
		     "'selector':{'app':'web'},'ports':[{'port':80}]}}",
		     NULL);
	for (int i = 0; i < 250; i++) {
		char name[16], ip[32];

		snprintf(name, sizeof(name), "p%d", i);
		snprintf(ip, sizeof(ip), "10.244.1.%d", i);
		put_pod(&w, name, ip, "", true);
	}
	world_settle(&w);
	assert_int_equal(slices(&w).n, 3);
	assert_int_equal(slices(&w).endpoints, 250);
	assert_int_equal(slices(&w).largest, 100);

	/* One pod changes: one slice is written. */
	put_pod(&w, "p7", "10.244.1.7", "", false);

	uint64_t before = store_revision(w.store);

	world_settle(&w);
	assert_int_equal(store_revision(w.store) - before, 2); /* And the Endpoints. */
}

static void own_endpoints_are_mirrored(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	world_create(&w,
		     "{'kind':'Service','metadata':{'name':'web','namespace':'default'},'spec':{"
		     "'ports':[{'port':80}]}}",
		     NULL);
	world_create(&w,
		     "{'kind':'Endpoints','metadata':{'name':'web','namespace':'default'},"
		     "'subsets':[{'addresses':[{'ip':'192.0.2.1'}],'ports':[{'port':9000}]}]}",
		     NULL);
	world_settle(&w);
	assert_int_equal(slices(&w).n, 1);
	expect(&w, slices(&w).text, "endpointslicemirroring-controller.k8s.io");
	expect(&w, slices(&w).text, "'addresses':['192.0.2.1']");
	expect(&w, endpoints(&w), "192.0.2.1");
	world_delete(&w, "endpoints", "default", "web", -1, NULL);
	world_settle(&w);
	assert_int_equal(slices(&w).n, 0);
}

static void the_kubernetes_service_leads_to_live_masters(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	world_put(&w, "{'kind':'Namespace','metadata':{'name':'kube-system'}}");
	world_create(&w,
		     "{'kind':'Service','metadata':{'name':'kubernetes','namespace':'default'},"
		     "'spec':{'clusterIP':'10.96.0.1','ports':[{'name':'https','port':443,"
		     "'targetPort':6443}]}}",
		     NULL);
	world_put(&w, "{'kind':'ConfigMap','metadata':{'name':'sampan-masters','namespace':"
		      "'kube-system'},'data':{"
		      "'0000000000000001':'name=a api=10.0.0.1:6443 rpc=10.0.0.1:6445 live=true',"
		      "'0000000000000002':'name=b api=10.0.0.2:6443 rpc=10.0.0.2:6445 live=false',"
		      "'0000000000000003':'name=c api=10.0.0.3:6443 rpc=10.0.0.3:6445 live=true',"
		      "'0000000000000004':'name=d api=127.0.0.1:6443 live=true'}}");
	world_settle(&w);

	const char *e = world_print(&w, world_get(&w, "endpoints", "default", "kubernetes"));

	expect(&w, e,
	       "'subsets':[{'addresses':[{'ip':'10.0.0.1'},{'ip':'10.0.0.3'}],'ports':[{"
	       "'name':'https','port':6443,'protocol':'TCP'}]}]");
	assert_int_equal(slices(&w).n, 1);
	assert_int_equal(slices(&w).endpoints, 2);
	assert_non_null(world_get(&w, "endpointslices.discovery.k8s.io", "default", "kubernetes"));
	/* One dies. */
	world_put(&w,
		  "{'kind':'ConfigMap','metadata':{'name':'sampan-masters','namespace':"
		  "'kube-system'},'data':{"
		  "'0000000000000003':'name=c api=10.0.0.3:6443 rpc=10.0.0.3:6445 live=true'}}");
	world_settle(&w);
	assert_int_equal(slices(&w).endpoints, 1);
}

/* What one slice must say, and how many there are. */
static const struct {
	const char *name, *spec, *pod_ips;
	size_t slices;
	const char *parts[3];
} family_cases[] = {
	{ "one family unless asked",
	  "'ports':[{'port':80,'protocol':'TCP'}]",
	  "{'ip':'10.0.0.2'},{'ip':'fd00::2'}",
	  1,
	  { "'addressType':'IPv4'", "'addresses':['10.0.0.2']" } },
	{ "both",
	  "'ipFamilies':['IPv4','IPv6'],'ports':[{'port':80,'protocol':'TCP'}]",
	  "{'ip':'10.0.0.2'},{'ip':'fd00::2'}",
	  2,
	  { "'addresses':['10.0.0.2']", "'addressType':'IPv6'", "'addresses':['fd00::2']" } },
	{ "a pod of one",
	  "'ipFamilies':['IPv4','IPv6'],'ports':[{'port':80,'protocol':'TCP'}]",
	  "{'ip':'10.0.0.2'}",
	  1,
	  { "'addressType':'IPv4'" } },
	{ "only the other",
	  "'ipFamilies':['IPv6'],'ports':[{'port':80,'protocol':'TCP'}]",
	  "{'ip':'10.0.0.2'},{'ip':'fd00::2'}",
	  1,
	  { "'addressType':'IPv6'", "['fd00::2']" } },
	{ "close to the zone",
	  "'trafficDistribution':'PreferClose','ports':[{'port':80,'protocol':'TCP'}]",
	  "{'ip':'10.0.0.2'}",
	  1,
	  { "'hints':{'forZones':[{'name':'z1'}]}", "'zone':'z1'" } },
	{ "in the zone",
	  "'trafficDistribution':'PreferSameZone','ports':[{'port':80,'protocol':'TCP'}]",
	  "{'ip':'10.0.0.2'}",
	  1,
	  { "'hints':{'forZones':[{'name':'z1'}]}" } },
	{ "on the node",
	  "'trafficDistribution':'PreferSameNode','ports':[{'port':80,'protocol':'TCP'}]",
	  "{'ip':'10.0.0.2'}",
	  1,
	  { "'forNodes':[{'name':'n1'}]" } },
	{ "what triggered it",
	  "'ports':[{'port':80,'protocol':'TCP'}]",
	  "{'ip':'10.0.0.2'}",
	  1,
	  { "'endpoints.kubernetes.io/last-change-trigger-time':'2023-01-02T03:04:05Z'" } },
};

static void families_and_hints(void **state)
{
	for (size_t i = 0; i < array_size(family_cases); i++) {
		auto_with(world_fini) struct world w = { 0 };
		struct view v;
		struct intents intents;

		setup(&w);
		world_put(&w, arena_printf(&w.arena,
					   "{'kind':'Service','metadata':{'name':'web','namespace':"
					   "'default','creationTimestamp':'2022-01-01T00:00:00Z'},"
					   "'spec':{'selector':{'app':'web'},%s}}",
					   family_cases[i].spec));
		world_put(&w, arena_printf(&w.arena,
					   "{'kind':'Pod','metadata':{'name':'p','namespace':"
					   "'default','labels':{'app':'web'}},'spec':{'nodeName':"
					   "'n1','containers':[{'name':'a','image':'b'}]},"
					   "'status':{'phase':'Running','podIP':'10.0.0.2',"
					   "'podIPs':[%s],'conditions':[{'type':'Ready','status':"
					   "'True','lastTransitionTime':'2023-01-02T03:04:05Z'}]}}",
					   family_cases[i].pod_ips));
		v = world_view(&w);
		intents_init(&intents, &w.arena);
		controller_endpointslice.reconcile(&v, (struct key){ "default", "web" }, &intents);
		assert_int_equal(world_apply(&w, &intents, NULL), 0);

		struct slices s = slices(&w);

		if (s.n != family_cases[i].slices)
			fail_msg("%s: %zu slices\n%s", family_cases[i].name, s.n, s.text);
		for (size_t k = 0; k < 3 && family_cases[i].parts[k] != NULL; k++)
			expect(&w, s.text, family_cases[i].parts[k]);
		/* A second look changes nothing. */
		assert_string_equal(
			world_reconcile(&w, &controller_endpointslice, "default", "web", false),
			"");
	}
}

static void mirrors_have_both_families_and_annotations(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	world_create(&w,
		     "{'kind':'Service','metadata':{'name':'web','namespace':'default'},'spec':{"
		     "'ports':[{'port':80}]}}",
		     NULL);
	world_put(&w,
		  "{'kind':'Endpoints','metadata':{'name':'web','namespace':'default',"
		  "'annotations':{'mine':'x','kubectl.kubernetes.io/last-applied-configuration':"
		  "'y'}},'subsets':[{'addresses':[{'ip':'192.0.2.1'},{'ip':'2001:db8::1'}],"
		  "'ports':[{'port':8080,'protocol':'TCP'}]}]}");
	world_settle(&w);
	assert_int_equal(slices(&w).n, 2);
	expect(&w, slices(&w).text, "'addressType':'IPv6'");
	expect(&w, slices(&w).text, "['2001:db8::1']");
	expect(&w, slices(&w).text, "'annotations':{'mine':'x'}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(follows_the_pods),
		cmocka_unit_test(headless_names_its_pods),
		cmocka_unit_test(slices_hold_a_hundred),
		cmocka_unit_test(own_endpoints_are_mirrored),
		cmocka_unit_test(families_and_hints),
		cmocka_unit_test(mirrors_have_both_families_and_annotations),
		cmocka_unit_test(the_kubernetes_service_leads_to_live_masters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
