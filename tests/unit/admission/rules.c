/* Rules that need more than one write: claims that come and go with a Service's
 * type, what each subresource may touch, binding; and the long list of what a
 * container must not be. */
#include <errno.h>
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
#include "controlplane/admission/names.h"
#include "proto/k8s/core_v1.pb-c.h"
#include "tests/unit/world/world.h"

static void setup(struct world *w)
{
	world_init(w);
	world_put(w, "{'kind':'Namespace','metadata':{'name':'default'}}");
	world_put(w, "{'kind':'ServiceAccount','metadata':{'name':'default',"
		     "'namespace':'default'}}");
}

static const char *service(struct world *w, const char *name, const char *spec)
{
	return arena_printf(&w->arena,
			    "{'kind':'Service','metadata':{'name':'%s','namespace':'default'},"
			    "'spec':{%s}}",
			    name, spec);
}

static bool shows(struct world *w, const char *resource, const char *name, const char *part)
{
	return strstr(world_print(w, world_get(w, resource, "default", name)),
		      world_json(w, part)) != NULL;
}

/* --- Claims ------------------------------------------------------------------------------ */

static void a_type_holds_what_it_needs(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	auto_with(status_fini) struct status st = { 0 };

	setup(&w);
	world_create(&w,
		     service(&w, "a",
			     "'type':'NodePort','clusterIP':'10.96.5.5','ports':[{"
			     "'port':80,'nodePort':30000}]"),
		     NULL);
	assert_non_null(store_claim(w.store, "ip/10.96.5.5"));
	assert_non_null(store_claim(w.store, "nodeport/tcp/30000"));

	/* ClusterIP needs no node port; the client still sends the one it read. */
	assert_int_equal(world_update(&w,
				      service(&w, "a",
					      "'type':'ClusterIP','clusterIP':"
					      "'10.96.5.5','ports':[{'port':80,"
					      "'nodePort':30000}]"),
				      "", &st),
			 0);
	assert_null(store_claim(w.store, "nodeport/tcp/30000"));
	assert_non_null(store_claim(w.store, "ip/10.96.5.5"));

	/* ExternalName needs nothing. */
	assert_int_equal(world_update(&w,
				      service(&w, "a",
					      "'type':'ExternalName','externalName':"
					      "'example.com'"),
				      "", &st),
			 0);
	assert_null(store_claim(w.store, "ip/10.96.5.5"));
	assert_false(shows(&w, "services", "a", "clusterIP"));

	/* And back: a new address. */
	assert_int_equal(world_update(&w, service(&w, "a", "'ports':[{'port':80}]"), "", &st), 0);
	assert_true(shows(&w, "services", "a", "'clusterIP':'10.96."));
	world_delete(&w, "services", "default", "a", -1, NULL);
	assert_null(store_claim(w.store, "nodeport/tcp/30000"));
}

static void protocols_share_a_node_port(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	world_create(&w,
		     service(&w, "dns",
			     "'type':'NodePort','ports':[{'name':'t','port':53},{"
			     "'name':'u','port':53,'protocol':'UDP'}]"),
		     NULL);

	const CoreV1__Service *s =
		object_message(world_get(&w, "services", "default", "dns"), &w.arena);

	assert_int_not_equal(s->spec->ports[0]->nodeport, 0);
	assert_int_equal(s->spec->ports[0]->nodeport, s->spec->ports[1]->nodeport);
}

static void a_full_range_is_said(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	auto_with(status_fini) struct status st = { 0 };

	setup(&w);
	w.config.service_cidr = "10.96.0.0/29";
	w.config.dns_address = "10.96.0.6";
	/* Six addresses, less the first and the one for DNS. */
	for (int i = 0; i < 4; i++)
		assert_non_null(world_create(
			&w, service(&w, arena_printf(&w.arena, "s%d", i), "'ports':[{'port':80}]"),
			&st));
	assert_null(world_create(&w, service(&w, "more", "'ports':[{'port':80}]"), &st));
	assert_string_equal(st.message,
			    "Service \"more\" is invalid: spec.clusterIPs: Invalid value: "
			    "[]: failed to allocate an IP: range is full");
	/* Those for whom they are kept get them. */
	assert_non_null(world_create(&w,
				     "{'kind':'Service','metadata':{'name':'kubernetes',"
				     "'namespace':'default'},'spec':{'clusterIP':'10.96.0.1',"
				     "'ports':[{'port':443}]}}",
				     NULL));
}

/* --- Subresources and binding --------------------------------------------------------------- */

static void each_door_changes_its_own(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	world_create(&w,
		     "{'kind':'Pod','metadata':{'name':'p','namespace':'default'},'spec':{"
		     "'containers':[{'name':'a','image':'b'}]},'status':{'phase':'Running'}}",
		     NULL);
	assert_true(shows(&w, "pods", "p", "'phase':'Pending'"));
	/* /status: the status, and nothing else. */
	assert_int_equal(world_update(&w,
				      "{'kind':'Pod','metadata':{'name':'p','namespace':"
				      "'default','labels':{'x':'y'}},'spec':{'containers':[]},"
				      "'status':{'phase':'Running'}}",
				      "status", NULL),
			 0);
	assert_true(shows(&w, "pods", "p", "'phase':'Running'"));
	assert_true(shows(&w, "pods", "p", "'image':'b'"));
	assert_false(shows(&w, "pods", "p", "'x':'y'"));
	assert_int_equal(world_get(&w, "pods", "default", "p")->facts.generation, 1);
	/* Another object of that name is not meant. */
	assert_int_equal(world_update(&w,
				      "{'kind':'Pod','metadata':{'name':'p','namespace':"
				      "'default','uid':'other'},'spec':{'containers':[{'name':"
				      "'a','image':'b'}]}}",
				      "", NULL),
			 -ESTALE);
}

static int bind(struct world *w, const char *node)
{
	struct intents intents;

	intents_init(&intents, &w->arena);
	intend_bind(&intents, world_get(w, "pods", "default", "p"), node);
	return world_apply(w, &intents, NULL);
}

static void a_pod_is_assigned_once(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	world_create(&w,
		     "{'kind':'Pod','metadata':{'name':'p','namespace':'default'},'spec':{"
		     "'containers':[{'name':'a','image':'b'}]}}",
		     NULL);
	assert_int_equal(bind(&w, "n1"), 0);
	assert_true(shows(&w, "pods", "p", "'nodeName':'n1'"));
	assert_true(shows(&w, "pods", "p", "'type':'PodScheduled','status':'True'"));
	assert_int_equal(bind(&w, "n2"), -ESTALE);
	assert_true(shows(&w, "pods", "p", "'nodeName':'n1'"));
}

static void the_token_is_mounted_where_wanted(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	world_put(&w, "{'kind':'ServiceAccount','metadata':{'name':'quiet','namespace':'default'},"
		      "'automountServiceAccountToken':false,'imagePullSecrets':[{'name':'pull'}]}");
	world_create(&w,
		     "{'kind':'Pod','metadata':{'name':'p','namespace':'default'},'spec':{"
		     "'serviceAccountName':'quiet','containers':[{'name':'a','image':'b'}]}}",
		     NULL);
	assert_false(shows(&w, "pods", "p", "kube-api-access"));
	assert_true(shows(&w, "pods", "p", "'imagePullSecrets':[{'name':'pull'}]"));
	/* The pod's own word counts more. */
	world_create(&w,
		     "{'kind':'Pod','metadata':{'name':'q','namespace':'default'},'spec':{"
		     "'serviceAccountName':'quiet','automountServiceAccountToken':true,"
		     "'initContainers':[{'name':'i','image':'b'}],'containers':[{'name':'a',"
		     "'image':'b'}]}}",
		     NULL);
	assert_true(shows(&w, "pods", "q", "'expirationSeconds':3607"));
}

/* --- Containers ----------------------------------------------------------------------------------
 */

static const struct {
	const char *container, *message; /* What follows spec.containers[0]. */
} containers[] = {
	{ "'ports':[{'containerPort':0}]", "ports[0].containerPort: Required value" },
	{ "'ports':[{'name':'UP','containerPort':80}]",
	  "ports[0].name: Invalid value: \"UP\": must contain only alpha-numeric characters (a-z, "
	  "0-9), and hyphens (-)" },
	{ "'ports':[{'name':'x','containerPort':80},{'name':'x','containerPort':81}]",
	  "ports[1].name: Duplicate value: \"x\"" },
	{ "'ports':[{'containerPort':80,'hostPort':80},{'containerPort':81,'hostPort':80}]",
	  "ports[1].hostPort: Duplicate value: \"/TCP/80\"" },
	{ "'env':[{'name':'A=B'}]",
	  "env[0].name: Invalid value: \"A=B\": a valid environment variable name must consist only "
	  "of printable ASCII characters other than '='" },
	{ "'env':[{'name':'A','value':'x','valueFrom':{'fieldRef':{'fieldPath':'metadata.name'}}}]",
	  "env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty" },
	{ "'env':[{'name':'A','valueFrom':{'fieldRef':{'fieldPath':'spec.zone'}}}]",
	  "env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.zone\": error converting "
	  "fieldPath: field label not supported: spec.zone" },
	{ "'livenessProbe':{}", "livenessProbe: Required value: must specify a handler type" },
	{ "'livenessProbe':{'exec':{'command':['x']},'tcpSocket':{'port':1}}",
	  "livenessProbe: Forbidden: may not specify more than 1 handler type" },
	{ "'livenessProbe':{'tcpSocket':{'port':1},'successThreshold':2}",
	  "livenessProbe.successThreshold: Invalid value: 2: must be 1" },
	{ "'readinessProbe':{'tcpSocket':{'port':1},'periodSeconds':-1}",
	  "readinessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0" },
	{ "'resources':{'limits':{'cpu':'-1'}}",
	  "resources.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0" },
	{ "'resources':{'limits':{'gpu':'1'}}",
	  "resources.limits[gpu]: Invalid value: \"gpu\": must be a standard resource for containers" },
	{ "'restartPolicy':'Always'",
	  "restartPolicy: Forbidden: may not be set for non-init containers" },
	{ "'imagePullPolicy':'Maybe'",
	  "imagePullPolicy: Unsupported value: \"Maybe\": supported values: \"Always\", \"Never\", "
	  "\"IfNotPresent\"" },
};

static void containers_are_looked_at_closely(void **state)
{
	for (size_t i = 0; i < array_size(containers); i++) {
		auto_with(world_fini) struct world w = { 0 };
		auto_with(status_fini) struct status st = { 0 };

		setup(&w);

		const char *text = arena_printf(
			&w.arena,
			"{'kind':'Pod','metadata':{'name':'p','namespace':'default'},'spec':{"
			"'containers':[{'name':'a','image':'b',%s}]}}",
			containers[i].container);
		const char *wanted =
			arena_printf(&w.arena, "spec.containers[0].%s", containers[i].message);

		assert_null(world_create(&w, text, &st));
		if (strstr(st.message, wanted) == NULL)
			fail_msg("%s: %s\nwanted: %s", containers[i].container, st.message, wanted);
		/* The causes are the same, one by one. */
		assert_true(st.n_causes >= 1);
		assert_int_equal(st.http_code, 422);
		assert_string_equal(st.reason, "Invalid");
	}
}

/* --- Names
 * ------------------------------------------------------------------------------------------ */

static const struct {
	name_rule *rule;
	const char *good[6], *bad[8];
} names[] = {
	{ name_is_label, { "a", "a-b", "0a" }, { "", "-a", "a-", "a.b", "A", "a_b" } },
	{ name_is_subdomain, { "a", "a.b", "a-b.c1" }, { "", ".", "a..b", "a.", "A", "a/b" } },
	{ name_is_label_1035, { "a", "a1", "a-b" }, { "", "1a", "a-", "a.b" } },
	{ name_is_qualified,
	  { "a", "A.b_c", "example.com/a" },
	  { "", "/a", "a/", "a/b/c", "Example.com/a", "-a", "a-" } },
	{ name_is_label_value, { "", "a", "A.b_c" }, { "-a", "a-", "a b" } },
	{ name_is_port, { "http", "a-1" }, { "", "80", "a--b", "-a", "a-", "waytoolongforaport" } },
	{ name_is_config_key, { "a", ".a", "A_b-c.d" }, { "", ".", "..", "..a", "a/b", "a b" } },
	{ name_is_path_segment, { "a", "A:b" }, { ".", "..", "a/b", "a%b" } },
};

static void names_have_shapes(void **state)
{
	for (size_t i = 0; i < array_size(names); i++) {
		for (size_t k = 0; k < array_size(names[i].good) && names[i].good[k]; k++)
			if (names[i].rule(names[i].good[k]) != NULL)
				fail_msg("rule %zu refuses \"%s\": %s", i, names[i].good[k],
					 names[i].rule(names[i].good[k]));
		for (size_t k = 0; k < array_size(names[i].bad) && names[i].bad[k]; k++)
			if (names[i].rule(names[i].bad[k]) == NULL)
				fail_msg("rule %zu takes \"%s\"", i, names[i].bad[k]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_type_holds_what_it_needs),
		cmocka_unit_test(protocols_share_a_node_port),
		cmocka_unit_test(a_full_range_is_said),
		cmocka_unit_test(each_door_changes_its_own),
		cmocka_unit_test(a_pod_is_assigned_once),
		cmocka_unit_test(the_token_is_mounted_where_wanted),
		cmocka_unit_test(containers_are_looked_at_closely),
		cmocka_unit_test(names_have_shapes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
