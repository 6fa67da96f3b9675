/* Objects at the door: what is filled in, what is refused and in which words. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/api/kinds.h"
#include "common/api/message.h"
#include "common/base/cleanup.h"
#include "tests/unit/world/world.h"

static void setup(struct world *w)
{
	world_init(w);
	world_put(w, "{'kind':'Namespace','metadata':{'name':'default'},"
		     "'status':{'phase':'Active'}}");
	world_put(w, "{'kind':'ServiceAccount','metadata':{'name':'default',"
		     "'namespace':'default'}}");
}

#define POD(name, spec)                                                                            \
	"{'kind':'Pod','metadata':{'name':'" name "','namespace':'default'},'spec':" spec "}"
#define ONE_CONTAINER "{'containers':[{'name':'a','image':'busybox'}]}"
#define META(name) "'metadata':{'name':'" name "','namespace':'default'}"
#define TEMPLATE "'template':{'metadata':{'labels':{'app':'web'}},'spec':" ONE_CONTAINER "}"
#define DEPLOYMENT(spec)                                                                           \
	"{'apiVersion':'apps/v1','kind':'Deployment'," META("web") ",'spec':{" spec "}}"
#define SELECTOR "'selector':{'matchLabels':{'app':'web'}}"
#define SERVICE(spec) "{'kind':'Service'," META("web") ",'spec':{" spec "}}"

/* What a create answers: NULL when it is accepted, else the message. */
static const struct {
	const char *name, *text, *message;
} refusals[] = {
	{ "a plain pod", POD("p", ONE_CONTAINER), NULL },
	{ "no containers", POD("p", "{}"),
	  "Pod \"p\" is invalid: spec.containers: Required value" },
	{ "two faults are a list", POD("p", "{'containers':[{'name':'A','image':''}]}"),
	  "Pod \"p\" is invalid: [spec.containers[0].name: Invalid value: \"A\": a lowercase RFC "
	  "1123 label must consist of lower case alphanumeric characters or '-', and must start and "
	  "end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for "
	  "validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?'), spec.containers[0].image: Required value]" },
	{ "an unknown restart policy",
	  POD("p", "{'restartPolicy':'Sometimes','containers':[{'name':'a','image':'b'}]}"),
	  "Pod \"p\" is invalid: spec.restartPolicy: Unsupported value: \"Sometimes\": supported "
	  "values: \"Always\", \"OnFailure\", \"Never\"" },
	{ "a mount without a volume",
	  POD("p", "{'containers':[{'name':'a','image':'b','volumeMounts':[{'name':'v',"
		   "'mountPath':'/v'}]}]}"),
	  "Pod \"p\" is invalid: spec.containers[0].volumeMounts[0].name: Not found: \"v\"" },
	{ "two volume sources",
	  POD("p", "{'volumes':[{'name':'v','emptyDir':{},'hostPath':{'path':'/x'}}],"
		   "'containers':[{'name':'a','image':'b'}]}"),
	  "Pod \"p\" is invalid: spec.volumes[0].emptyDir: Forbidden: may not specify more than 1 "
	  "volume type" },
	{ "a request above its limit",
	  POD("p", "{'containers':[{'name':'a','image':'b','resources':{'limits':{'cpu':'100m'},"
		   "'requests':{'cpu':'1'}}}]}"),
	  "Pod \"p\" is invalid: spec.containers[0].resources.requests: Invalid value: \"1\": must "
	  "be less than or equal to cpu limit of 100m" },
	{ "a missing namespace",
	  "{'kind':'ConfigMap','metadata':{'name':'c','namespace':'nowhere'}}",
	  "namespaces \"nowhere\" not found" },
	{ "a missing service account",
	  POD("p", "{'serviceAccountName':'bob','containers':[{'name':'a','image':'b'}]}"),
	  "pods \"p\" is forbidden: error looking up service account default/bob: serviceaccount "
	  "\"bob\" not found" },
	{ "a bad name", "{'kind':'ConfigMap'," META("A_b") "}",
	  "ConfigMap \"A_b\" is invalid: metadata.name: Invalid value: \"A_b\": a lowercase RFC 1123 "
	  "subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
	  "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
	  "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')" },
	{ "no name at all", "{'kind':'ConfigMap','metadata':{'namespace':'default'}}",
	  "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is "
	  "required" },
	{ "a key that is no file name", "{'kind':'ConfigMap'," META("c") ",'data':{'a b':'x'}}",
	  "ConfigMap \"c\" is invalid: data[a b]: Invalid value: \"a b\": a valid config key must "
	  "consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or "
	  "'key-name', regex used for validation is '[-._a-zA-Z0-9]+')" },
	{ "a deployment", DEPLOYMENT(SELECTOR "," TEMPLATE), NULL },
	{ "a selector that misses its own template",
	  DEPLOYMENT("'selector':{'matchLabels':{'app':'db'}}," TEMPLATE),
	  "Deployment.apps \"web\" is invalid: spec.template.metadata.labels: Invalid value: "
	  "{\"app\":\"web\"}: `selector` does not match template `labels`" },
	{ "a negative count", DEPLOYMENT("'replicas':-1," SELECTOR "," TEMPLATE),
	  "Deployment.apps \"web\" is invalid: spec.replicas: Invalid value: -1: must be greater "
	  "than or equal to 0" },
	{ "a rollout that cannot move",
	  DEPLOYMENT("'strategy':{'rollingUpdate':{'maxSurge':0,'maxUnavailable':0}}," SELECTOR
		     "," TEMPLATE),
	  "Deployment.apps \"web\" is invalid: spec.strategy.rollingUpdate.maxUnavailable: Invalid "
	  "value: 0: may not be 0 when `maxSurge` is 0" },
	{ "a service", SERVICE("'ports':[{'port':80}]"), NULL },
	{ "a service without ports", SERVICE("'selector':{'a':'b'}"),
	  "Service \"web\" is invalid: spec.ports: Required value" },
	{ "an address out of range", SERVICE("'clusterIP':'10.1.2.3','ports':[{'port':80}]"),
	  "Service \"web\" is invalid: spec.clusterIPs: Invalid value: [\"10.1.2.3\"]: failed to "
	  "allocate IP 10.1.2.3: the provided IP (10.1.2.3) is not in the valid range. The range of "
	  "valid IPs is 10.96.0.0/16" },
	{ "a node port out of range",
	  SERVICE("'type':'NodePort','ports':[{'port':80,'nodePort':80}]"),
	  "Service \"web\" is invalid: spec.ports[0].nodePort: Invalid value: 80: provided port is "
	  "not in the valid range. The range of valid ports is 30000-32767" },
	{ "a node port without the type", SERVICE("'ports':[{'port':80,'nodePort':30000}]"),
	  "Service \"web\" is invalid: spec.ports[0].nodePort: Forbidden: may not be used when "
	  "`type` is 'ClusterIP'" },
	{ "a headless service", SERVICE("'clusterIP':'None','ports':[{'port':80}]"), NULL },
	{ "a certificate request without a signer",
	  "{'apiVersion':'certificates.k8s.io/v1','kind':'CertificateSigningRequest','metadata':{"
	  "'name':'c'},'spec':{'request':'LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0=',"
	  "'usages':['client auth']}}",
	  "CertificateSigningRequest.certificates.k8s.io \"c\" is invalid: spec.signerName: Required "
	  "value" },
	{ "a TLS secret without its key",
	  "{'kind':'Secret'," META("s") ",'type':'kubernetes.io/tls','stringData':{'tls.crt':'x'}}",
	  "Secret \"s\" is invalid: data[tls.key]: Required value" },
};

static void answers_in_kubernetes_words(void **state)
{
	for (size_t i = 0; i < array_size(refusals); i++) {
		auto_with(world_fini) struct world w = { 0 };
		auto_with(status_fini) struct status st = { 0 };

		setup(&w);

		const struct object *o = world_create(&w, refusals[i].text, &st);
		const char *said = st.message ? st.message : "";
		const char *wanted = refusals[i].message ? refusals[i].message : "";

		if ((o == NULL) != (refusals[i].message != NULL) || strcmp(said, wanted) != 0)
			fail_msg("%s: %s\nwanted: %s", refusals[i].name, said, wanted);
	}
}

/* Parts that the stored object must show. */
static const struct {
	const char *name, *text, *parts[8];
} completions[] = {
	{ "a pod",
	  POD("p", ONE_CONTAINER),
	  { "'restartPolicy':'Always'", "'imagePullPolicy':'Always'",
	    "'terminationGracePeriodSeconds':30", "'serviceAccountName':'default'",
	    "'mountPath':'/var/run/secrets/kubernetes.io/serviceaccount'",
	    "'key':'node.kubernetes.io/not-ready','operator':'Exists','effect':'NoExecute',"
	    "'tolerationSeconds':300",
	    "'phase':'Pending'", "'qosClass':'BestEffort'" } },
	{ "a pod with limits",
	  POD("p", "{'containers':[{'name':'a','image':'b:1','resources':{'limits':{'cpu':'1',"
		   "'memory':'1Gi'}}}]}"),
	  { "'requests':{'cpu':'1','memory':'1Gi'}", "'qosClass':'Guaranteed'",
	    "'imagePullPolicy':'IfNotPresent'", "'enableServiceLinks':true", "'priority':0",
	    "'generation':1" } },
	{ "a pod that wants no token",
	  POD("p",
	      "{'automountServiceAccountToken':false,'containers':[{'name':'a','image':'b@sha256:"
	      "0123'}]}"),
	  { "'imagePullPolicy':'IfNotPresent'", "'schedulerName':'default-scheduler'" } },
	{ "a deployment",
	  DEPLOYMENT(SELECTOR "," TEMPLATE),
	  { "'replicas':1", "'maxUnavailable':'25%'", "'maxSurge':'25%'",
	    "'revisionHistoryLimit':10", "'progressDeadlineSeconds':600", "'generation':1",
	    "'dnsPolicy':'ClusterFirst'" } },
	{ "a service",
	  SERVICE("'type':'NodePort','ports':[{'port':80}]"),
	  { "'targetPort':80", "'protocol':'TCP'", "'nodePort':3", "'clusterIP':'10.96.",
	    "'sessionAffinity':'None'", "'externalTrafficPolicy':'Cluster'",
	    "'ipFamilyPolicy':'SingleStack'", "'ipFamilies':['IPv4']" } },
	{ "a secret",
	  "{'kind':'Secret'," META("s") ",'stringData':{'a':'hello'}}",
	  { "'type':'Opaque'", "'data':{'a':'aGVsbG8='}" } },
	{ "a namespace",
	  "{'kind':'Namespace','metadata':{'name':'n'}}",
	  { "'kubernetes.io/metadata.name':'n'", "'finalizers':['kubernetes']",
	    "'phase':'Active'" } },
	{ "a node",
	  "{'kind':'Node','metadata':{'name':'n'}}",
	  { "'podCIDR':'10.244.0.0/24'", "'podCIDRs':['10.244.0.0/24']",
	    "'key':'node.kubernetes.io/not-ready','effect':'NoSchedule'" } },
	{ "who asks for a certificate",
	  "{'apiVersion':'certificates.k8s.io/v1','kind':'CertificateSigningRequest','metadata':{"
	  "'name':'c'},'spec':{'username':'system:admin','signerName':'example.com/s','request':"
	  "'LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0=','usages':['client auth']}}",
	  { "'username':'admin'" } },
	{ "a generated name",
	  "{'kind':'ConfigMap','metadata':{'generateName':'c-','namespace':'default'}}",
	  { "'generateName':'c-'", "'name':'c-" } },
};

static void completes_what_is_unset(void **state)
{
	for (size_t i = 0; i < array_size(completions); i++) {
		auto_with(world_fini) struct world w = { 0 };
		auto_with(status_fini) struct status st = { 0 };

		setup(&w);

		const struct object *o = world_create(&w, completions[i].text, &st);

		if (o == NULL)
			fail_msg("%s: %s", completions[i].name, st.message);

		const char *json = world_print(&w, o);

		for (size_t k = 0; k < array_size(completions[i].parts); k++)
			if (completions[i].parts[k] != NULL &&
			    strstr(json, world_json(&w, completions[i].parts[k])) == NULL)
				fail_msg("%s: no %s in\n%s", completions[i].name,
					 completions[i].parts[k], json);
	}
}

/* Completing twice changes nothing: what decodes a stored object must not alter it. */
static void defaults_are_idempotent(void **state)
{
	for (size_t i = 0; i < array_size(completions); i++) {
		auto_with(world_fini) struct world w = { 0 };

		setup(&w);

		const struct object *o = world_create(&w, completions[i].text, NULL);
		ProtobufCMessage *message = object_message(o, &w.arena);
		ProtobufCMessage *again = object_message(o, &w.arena);

		admission_defaults(&w.arena, o->kind, again);
		if (!message_equal(message, again))
			fail_msg("%s changes when it is completed again", completions[i].name);
	}
}

/* Updates: what was created, what comes then, the answer. */
static const struct {
	const char *name, *first, *second, *message, *part;
} updates[] = {
	{ "a pod without what the server filled in", POD("p", ONE_CONTAINER),
	  POD("p", "{'containers':[{'name':'a','image':'other'}]}"),
	  "Pod \"p\" is invalid: [spec.tolerations: Forbidden: existing toleration can not be "
	  "modified except its tolerationSeconds, spec: Forbidden: pod updates may not change fields other than "
	  "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
	  "`spec.tolerations` (only additions to existing tolerations),"
	  "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously "
	  "negative)]",
	  NULL },
	{ "another selector", DEPLOYMENT(SELECTOR "," TEMPLATE),
	  DEPLOYMENT("'selector':{'matchLabels':{'app':'db'}},'template':{'metadata':{'labels':"
		     "{'app':'db'}},'spec':" ONE_CONTAINER "}"),
	  "Deployment.apps \"web\" is invalid: spec.selector: Invalid value: "
	  "{\"matchLabels\":{\"app\":\"db\"}}: field is immutable",
	  NULL },
	{ "more replicas count as a generation", DEPLOYMENT(SELECTOR "," TEMPLATE),
	  DEPLOYMENT("'replicas':3," SELECTOR "," TEMPLATE), NULL, "'generation':2" },
	{ "the same spec does not", DEPLOYMENT(SELECTOR "," TEMPLATE),
	  DEPLOYMENT("'replicas':1," SELECTOR "," TEMPLATE), NULL, "'generation':1" },
	{ "a service keeps its address", SERVICE("'clusterIP':'10.96.7.7','ports':[{'port':80}]"),
	  SERVICE("'ports':[{'port':81}]"), NULL, "'clusterIP':'10.96.7.7'" },
	{ "and its node port", SERVICE("'type':'NodePort','ports':[{'port':80,'nodePort':30123}]"),
	  SERVICE("'type':'NodePort','ports':[{'port':80}]"), NULL, "'nodePort':30123" },
	{ "an address never changes", SERVICE("'clusterIP':'10.96.7.7','ports':[{'port':80}]"),
	  SERVICE("'clusterIP':'10.96.7.8','ports':[{'port':80}]"),
	  "Service \"web\" is invalid: spec.clusterIPs[0]: Invalid value: [\"10.96.7.8\"]: may not "
	  "change once set",
	  NULL },
	{ "an immutable map",
	  "{'kind':'ConfigMap'," META("c") ",'immutable':true,'data':{'a':'1'}}",
	  "{'kind':'ConfigMap'," META("c") ",'immutable':true,'data':{'a':'2'}}",
	  "ConfigMap \"c\" is invalid: data: Forbidden: field is immutable when `immutable` is set",
	  NULL },
};

static void updates_are_judged_by_what_was(void **state)
{
	for (size_t i = 0; i < array_size(updates); i++) {
		auto_with(world_fini) struct world w = { 0 };
		auto_with(status_fini) struct status st = { 0 };

		setup(&w);

		const struct object *o = world_create(&w, updates[i].first, &st);

		if (o == NULL)
			fail_msg("%s: %s", updates[i].name, st.message);

		const char *resource = o->kind->resource, *name = arena_strdup(&w.arena, o->name);
		int rc = world_update(&w, updates[i].second, "", &st);

		if ((rc < 0) != (updates[i].message != NULL) ||
		    (rc < 0 && strcmp(st.message, updates[i].message) != 0))
			fail_msg("%s: %s", updates[i].name, st.message ? st.message : "accepted");

		const char *json = world_print(&w, world_get(&w, resource, "default", name));

		if (updates[i].part != NULL &&
		    strstr(json, world_json(&w, updates[i].part)) == NULL)
			fail_msg("%s: no %s in\n%s", updates[i].name, updates[i].part, json);
	}
}

/* The object as it is stored, with one text replaced. */
static int put_with(struct world *w, const struct object *o, const char *from, const char *to,
		    struct status *st)
{
	char *json = world_print(w, o), *at = strstr(json, from);

	assert_non_null(at);

	char *text = arena_printf(&w->arena, "{'kind':'%s',%.*s%s%s", o->kind->kind,
				  (int)(at - json - 1), json + 1, to, at + strlen(from));

	return world_update(w, text, "", st);
}

static void a_pod_changes_in_few_places(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	auto_with(status_fini) struct status st = { 0 };

	setup(&w);

	const struct object *p = world_create(&w, POD("p", ONE_CONTAINER), NULL);

	assert_int_equal(put_with(&w, p, "busybox", "busybox:2", &st), 0);
	p = world_get(&w, "pods", "default", "p");
	assert_int_equal(p->facts.generation, 2);
	assert_int_equal(put_with(&w, p, "ClusterFirst", "Default", &st), -EINVAL);
	assert_non_null(strstr(st.message, "spec: Forbidden: pod updates may not change fields"));
}

static void addresses_and_ports_are_unique(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	auto_with(status_fini) struct status st = { 0 };

	setup(&w);
	assert_non_null(
		world_create(&w,
			     "{'kind':'Service'," META(
				     "a") ",'spec':{'type':'NodePort','clusterIP':'10.96.0.77',"
					  "'ports':[{'port':80,'nodePort':30080}]}}",
			     &st));
	assert_null(world_create(&w,
				 "{'kind':'Service'," META("b") ",'spec':{'clusterIP':'10.96.0.77',"
								"'ports':[{'port':80}]}}",
				 &st));
	assert_string_equal(st.message,
			    "Service \"b\" is invalid: spec.clusterIPs: Invalid value: "
			    "[\"10.96.0.77\"]: failed to allocate IP 10.96.0.77: provided IP is "
			    "already allocated");
	status_fini(&st);
	assert_null(world_create(
		&w,
		"{'kind':'Service'," META("b") ",'spec':{'type':'NodePort',"
					       "'ports':[{'port':80,'nodePort':30080}]}}",
		&st));
	assert_string_equal(
		st.message,
		"Service \"b\" is invalid: spec.ports[0].nodePort: Invalid value: 30080: "
		"provided port is already allocated");
	/* The same number for another protocol is another port. */
	status_fini(&st);
	assert_non_null(world_create(
		&w,
		"{'kind':'Service'," META(
			"c") ",'spec':{'type':'NodePort',"
			     "'ports':[{'port':80,'nodePort':30080,'protocol':'UDP'}]}}",
		&st));
	for (int i = 0; i < 50; i++) {
		char text[256];

		snprintf(text, sizeof(text), "{'kind':'Node','metadata':{'name':'n%d'}}", i);
		assert_non_null(world_create(&w, text, &st));
	}
	assert_non_null(strstr(world_print(&w, world_get(&w, "nodes", "", "n49")),
			       "\"podCIDR\":\"10.244.49.0/24\""));
	/* A range that became free is used again. */
	assert_int_equal(world_delete(&w, "nodes", "", "n7", -1, NULL), 0);
	world_create(&w, "{'kind':'Node','metadata':{'name':'new'}}", &st);
	assert_non_null(strstr(world_print(&w, world_get(&w, "nodes", "", "new")),
			       "\"podCIDR\":\"10.244.7.0/24\""));
}

static void deleting_takes_its_time(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	/* Nothing runs yet: gone at once. */
	world_create(&w, POD("p", ONE_CONTAINER), NULL);
	assert_int_equal(world_delete(&w, "pods", "default", "p", -1, NULL), 0);
	assert_null(world_get(&w, "pods", "default", "p"));
	/* Assigned: marked, and a shorter grace is taken. */
	world_create(&w, POD("q", "{'nodeName':'n','containers':[{'name':'a','image':'b'}]}"),
		     NULL);
	assert_int_equal(world_delete(&w, "pods", "default", "q", -1, NULL), 0);
	assert_non_null(strstr(world_print(&w, world_get(&w, "pods", "default", "q")),
			       "\"deletionGracePeriodSeconds\":30"));
	assert_int_equal(world_delete(&w, "pods", "default", "q", 5, NULL), 0);
	assert_non_null(strstr(world_print(&w, world_get(&w, "pods", "default", "q")),
			       "\"deletionGracePeriodSeconds\":5"));
	assert_int_equal(world_delete(&w, "pods", "default", "q", 60, NULL), 0);
	assert_non_null(strstr(world_print(&w, world_get(&w, "pods", "default", "q")),
			       "\"deletionGracePeriodSeconds\":5"));
	assert_int_equal(world_delete(&w, "pods", "default", "q", 0, NULL), 0);
	assert_null(world_get(&w, "pods", "default", "q"));
	/* Finalizers hold, and their end is the end. */
	world_create(&w,
		     "{'kind':'ConfigMap','metadata':{'name':'c','namespace':'default',"
		     "'finalizers':['example.com/x']}}",
		     NULL);
	assert_int_equal(world_delete(&w, "configmaps", "default", "c", -1, NULL), 0);
	assert_non_null(world_get(&w, "configmaps", "default", "c"));
	assert_int_equal(world_update(&w, "{'kind':'ConfigMap'," META("c") "}", "", NULL), 0);
	assert_null(world_get(&w, "configmaps", "default", "c"));
	assert_int_equal(world_delete(&w, "namespaces", "", "default", -1, NULL), -EPERM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_in_kubernetes_words),
		cmocka_unit_test(completes_what_is_unset),
		cmocka_unit_test(defaults_are_idempotent),
		cmocka_unit_test(updates_are_judged_by_what_was),
		cmocka_unit_test(a_pod_changes_in_few_places),
		cmocka_unit_test(addresses_and_ports_are_unique),
		cmocka_unit_test(deleting_takes_its_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
