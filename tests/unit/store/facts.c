#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/api/kinds.h"
#include "common/base/source.h"
#include "tests/unit/store/entry.h"

static struct object *object_of(struct entry *e, const char *resource, const char *json)
{
	return object_create(&(struct object_values){
		.kind = kind_of_resource(resource),
		.namespace = "default",
		.name = "x",
		.created_revision = 3,
		.revision = 5,
		.packed = packed_json(e, resource, json),
	});
}

static void test_metadata(void **state)
{
	struct entry e;

	entry_init(&e);

	struct object *o = object_of(
		&e, "configmaps",
		"{'metadata':{'name':'x','generateName':'x-','uid':'u1','generation':4,"
		"'creationTimestamp':'1970-01-01T00:01:00Z','deletionTimestamp':'1970-01-01T00:02:00Z',"
		"'labels':{'b':'2','a':'1','c':''},'finalizers':['f1','f2'],"
		"'ownerReferences':[{'apiVersion':'v1','kind':'A','name':'n','uid':'o1'},"
		"{'apiVersion':'apps/v1','kind':'B','name':'m','uid':'o2','controller':true,"
		"'blockOwnerDeletion':true}]}}");
	const struct facts *f = &o->facts;

	assert_string_equal(f->uid, "u1");
	assert_string_equal(f->generate_name, "x-");
	assert_int_equal(f->generation, 4);
	assert_int_equal(f->created_ns, 60ll * 1000000000);
	assert_int_equal(f->deleted_ns, 120ll * 1000000000);
	assert_int_equal(f->n_labels, 3);
	assert_string_equal(f->labels[0].key, "a");
	assert_string_equal(object_label(o, "b"), "2");
	assert_string_equal(object_label(o, "c"), "");
	assert_null(object_label(o, "d"));
	assert_int_equal(f->n_finalizers, 2);
	assert_true(object_has_finalizer(o, "f2"));
	assert_false(object_has_finalizer(o, "f3"));
	assert_string_equal(object_controller(o)->uid, "o2");
	assert_string_equal(object_controller(o)->api_version, "apps/v1");
	assert_true(object_controller(o)->block_owner_deletion);
	object_unref(o);
	entry_fini(&e);
}

static const struct {
	const char *name, *spec;
	int64_t cpu_milli, memory_bytes;
} requests[] = {
	{ "none", "'containers':[{'name':'a'}]", 0, 0 },
	{ "sum",
	  "'containers':[{'name':'a','resources':{'requests':{'cpu':'100m','memory':'1Mi'}}},"
	  "{'name':'b','resources':{'requests':{'cpu':'1','memory':'1k'}}}]",
	  1100, 1048576 + 1000 },
	{ "rounded up", "'containers':[{'name':'a','resources':{'requests':{'cpu':'100u'}}}]", 1,
	  0 },
	{ "init peak",
	  "'containers':[{'name':'a','resources':{'requests':{'cpu':'100m'}}}],"
	  "'initContainers':[{'name':'i','resources':{'requests':{'cpu':'2'}}},"
	  "{'name':'j','resources':{'requests':{'cpu':'1'}}}]",
	  2000, 0 },
	{ "sidecar before init",
	  "'containers':[{'name':'a','resources':{'requests':{'cpu':'100m'}}}],"
	  "'initContainers':[{'name':'s','restartPolicy':'Always','resources':{'requests':{'cpu':'1'}}},"
	  "{'name':'j','resources':{'requests':{'cpu':'1'}}}]",
	  2000, 0 },
	{ "overhead",
	  "'containers':[{'name':'a','resources':{'requests':{'cpu':'100m'}}}],"
	  "'overhead':{'cpu':'50m','memory':'10'}",
	  150, 10 },
};

static void test_pod_requests(void **state)
{
	struct entry e;

	entry_init(&e);
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		char json[1024];

		snprintf(json, sizeof(json), "{'metadata':{'name':'x'},'spec':{%s}}",
			 requests[i].spec);

		struct object *o = object_of(&e, "pods", json);

		if (o->facts.pod->cpu_milli != requests[i].cpu_milli ||
		    o->facts.pod->memory_bytes != requests[i].memory_bytes)
			fail_msg("%s: cpu %lld memory %lld", requests[i].name,
				 (long long)o->facts.pod->cpu_milli,
				 (long long)o->facts.pod->memory_bytes);
		object_unref(o);
	}
	entry_fini(&e);
}

static void test_pod(void **state)
{
	struct entry e;

	entry_init(&e);

	struct object *o = object_of(
		&e, "pods",
		"{'metadata':{'name':'x','annotations':{'controller.kubernetes.io/pod-deletion-cost':"
		"'-7'}},'spec':{'nodeName':'n1','hostNetwork':true,'schedulerName':'s','priority':9,"
		"'containers':[{'name':'a','ports':[{'containerPort':80,'hostPort':8080},"
		"{'containerPort':53,'hostPort':53,'protocol':'UDP','hostIP':'1.2.3.4'},"
		"{'containerPort':9}]}]},'status':{'phase':'Running','podIP':'10.0.0.9',"
		"'startTime':'1970-01-01T00:00:05Z','conditions':[{'type':'Initialized','status':'False'},"
		"{'type':'Ready','status':'True','lastTransitionTime':'1970-01-01T00:00:07Z'}],"
		"'containerStatuses':[{'name':'a','restartCount':2,'ready':true,'image':'','imageID':''},"
		"{'name':'b','restartCount':3,'ready':true,'image':'','imageID':''}]}}");
	const struct pod_facts *p = o->facts.pod;

	assert_ptr_equal(p->object, o);
	assert_string_equal(p->node_name, "n1");
	assert_true(p->scheduled);
	assert_string_equal(p->ip, "10.0.0.9");
	assert_string_equal(p->scheduler_name, "s");
	assert_int_equal(p->phase, PHASE_RUNNING);
	assert_true(p->ready);
	assert_true(p->host_network);
	assert_int_equal(p->ready_since_ns, 7ll * 1000000000);
	assert_int_equal(p->start_ns, 5ll * 1000000000);
	assert_int_equal(p->restarts, 5);
	assert_int_equal(p->priority, 9);
	assert_int_equal(p->deletion_cost, -7);
	assert_int_equal(p->n_host_ports, 2);
	assert_int_equal(p->host_ports[0].port, 8080);
	assert_string_equal(p->host_ports[0].protocol, "TCP");
	assert_string_equal(p->host_ports[1].protocol, "UDP");
	assert_string_equal(p->host_ports[1].ip, "1.2.3.4");
	object_unref(o);
	entry_fini(&e);
}

static void test_node(void **state)
{
	struct entry e;

	entry_init(&e);

	struct object *o = object_of(
		&e, "nodes",
		"{'metadata':{'name':'x'},'spec':{'podCIDR':'10.1.0.0/24','unschedulable':true,"
		"'taints':[{'key':'k','value':'v','effect':'NoExecute','timeAdded':"
		"'1970-01-01T00:00:03Z'}]},'status':{'allocatable':{'cpu':'4','memory':'8Gi',"
		"'pods':'110','ephemeral-storage':'1G'},'conditions':[{'type':'Ready','status':'False'}],"
		"'addresses':[{'type':'Hostname','address':'h'},{'type':'InternalIP','address':'9.9.9.9'}"
		"]}}");
	const struct node_facts *n = o->facts.node;

	assert_string_equal(n->pod_cidr, "10.1.0.0/24");
	assert_string_equal(n->internal_ip, "9.9.9.9");
	assert_true(n->unschedulable);
	assert_int_equal(n->ready, 0);
	assert_int_equal(n->n_taints, 1);
	assert_string_equal(n->taints[0].effect, "NoExecute");
	assert_int_equal(n->taints[0].added_ns, 3ll * 1000000000);
	assert_int_equal(n->cpu_milli, 4000);
	assert_int_equal(n->memory_bytes, 8ll << 30);
	assert_int_equal(n->ephemeral_bytes, 1000000000);
	assert_int_equal(n->pods, 110);
	object_unref(o);
	entry_fini(&e);
}

/* Whatever the bytes are, facts come out and memory is what was measured (object_create asserts).
 */
static void test_any_bytes(void **state)
{
	struct seeded_source source;
	struct entry e;

	seeded_source_init(&source, 7);
	entry_init(&e);

	struct bytes good = packed_json(
		&e, "pods",
		"{'metadata':{'name':'x','uid':'u','labels':{'a':'b'},'finalizers':['f'],"
		"'ownerReferences':[{'apiVersion':'v1','kind':'A','name':'n','uid':'o1'}]},"
		"'spec':{'nodeName':'n','containers':[{'name':'a','ports':[{'containerPort':1,"
		"'hostPort':2,'protocol':'UDP'}],'resources':{'requests':{'cpu':'1'}}}]},"
		"'status':{'phase':'Failed','conditions':[{'type':'Ready','status':'True'}]}}");

	for (int i = 0; i < 20000; i++) {
		uint8_t *bad = arena_memdup(&e.arena, good.data, good.len);
		size_t n = good.len;

		for (int j = 0; j < 3; j++)
			bad[source_random_below(&source.base, n)] =
				(uint8_t)source_random_u64(&source.base);
		if (i % 3 == 0)
			n = source_random_below(&source.base, n);

		struct object *o = object_create(&(struct object_values){
			.kind = kind_of_resource(i % 2 != 0 ? "pods" : "nodes"),
			.namespace = "a",
			.name = "b",
			.packed = bytes_of(bad, n),
		});

		assert_true(strlen(o->facts.uid) <= n);
		object_unref(o);
	}
	entry_fini(&e);
}

static void test_claims(void **state)
{
	struct entry e;

	entry_init(&e);

	struct object *o = object_of(
		&e, "pods",
		"{'metadata':{'name':'x'},'spec':{'volumes':[{'name':'a','persistentVolumeClaim':{"
		"'claimName':'data-0'}},{'name':'b','emptyDir':{}},{'name':'scratch','ephemeral':{"
		"'volumeClaimTemplate':{'spec':{'accessModes':['ReadWriteOnce']}}}}]}}");

	assert_string_equal(o->facts.pod->claims[0], "data-0");
	assert_string_equal(o->facts.pod->claims[1], "x-scratch");
	assert_null(o->facts.pod->claims[2]);
	object_unref(o);

	o = object_of(&e, "pods",
		      "{'metadata':{'name':'x'},'spec':{'volumes':[{'name':'b','emptyDir':{}}]}}");
	assert_null(o->facts.pod->claims);
	object_unref(o);
	entry_fini(&e);
}

/* Where an unassigned pod may go only, and when a pod's last container ended. */
static void test_pins_and_ends(void **state)
{
	static const struct {
		const char *pod, *pinned_to;
		int64_t finished_s;
	} cases[] = {
		{ "'spec':{'containers':[]}", "", 0 },
		{ "'spec':{'affinity':{'nodeAffinity':{"
		  "'requiredDuringSchedulingIgnoredDuringExecution':{'nodeSelectorTerms':[{"
		  "'matchFields':[{'key':'metadata.name','operator':'In','values':['n1']}]}]}}}}",
		  "n1", 0 },
		{ "'spec':{'nodeName':'n1','affinity':{'nodeAffinity':{"
		  "'requiredDuringSchedulingIgnoredDuringExecution':{'nodeSelectorTerms':[{"
		  "'matchFields':[{'key':'metadata.name','operator':'In','values':['n1']}]}]}}}}",
		  "", 0 },
		{ "'spec':{'affinity':{'nodeAffinity':{"
		  "'requiredDuringSchedulingIgnoredDuringExecution':{'nodeSelectorTerms':[{"
		  "'matchFields':[{'key':'metadata.name','operator':'In','values':['n1','n2']}]}]}}"
		  "}}",
		  "", 0 },
		{ "'spec':{'affinity':{'nodeAffinity':{"
		  "'requiredDuringSchedulingIgnoredDuringExecution':{'nodeSelectorTerms':[{"
		  "'matchFields':[{'key':'metadata.name','operator':'NotIn','values':['n1']}]}]}}}}",
		  "", 0 },
		{ "'status':{'initContainerStatuses':[{'name':'i','state':{'terminated':{'exitCode'"
		  ":0,'startedAt':'1970-01-01T00:00:01Z','finishedAt':'1970-01-01T00:00:02Z'}}}],"
		  "'containerStatuses':[{'name':'a','state':{'terminated':{'exitCode':1,"
		  "'startedAt':'1970-01-01T00:00:08Z','finishedAt':'1970-01-01T00:00:09Z'}}},{"
		  "'name':'b','state':{'terminated':{'exitCode':1,'finishedAt':"
		  "'1970-01-01T00:00:05Z'}}}]}",
		  "", 9 },
		{ "'status':{'containerStatuses':[{'name':'a','state':{'running':{}},'lastState':{"
		  "'terminated':{'exitCode':1,'finishedAt':'1970-01-01T00:00:09Z'}}}]}",
		  "", 0 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct entry e;
		char json[600];

		entry_init(&e);
		snprintf(json, sizeof(json), "{'metadata':{'name':'x'},%s}", cases[i].pod);

		struct object *o = object_of(&e, "pods", json);

		assert_string_equal(o->facts.pod->pinned_to, cases[i].pinned_to);
		assert_int_equal(o->facts.pod->finished_ns, cases[i].finished_s * 1000000000);
		object_unref(o);
		entry_fini(&e);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pins_and_ends), cmocka_unit_test(test_metadata),
		cmocka_unit_test(test_claims),        cmocka_unit_test(test_pod_requests),
		cmocka_unit_test(test_pod),           cmocka_unit_test(test_node),
		cmocka_unit_test(test_any_bytes),
	};

	return cmocka_run_group_tests_name("store facts", tests, NULL, NULL);
}
