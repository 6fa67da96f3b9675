/* Of several nodes that fit, which one is chosen; and what a pod asks for. */
#include "tests/unit/scheduler/bed.h"

#define HOSTNAME "kubernetes.io/hostname"
#define ZONE "topology.kubernetes.io/zone"

/* n1 to n3 with their names and zones a, b, b as labels; what is there; then pod p. */
static const struct {
	const char *name;
	const char *objects[4]; /* Nodes again with more in them, pods, Services. */
	const char *labels, *spec;
	const char *chosen; /* "": none. */
} cases[] = {
	{ "the emptiest",
	  { "{'kind':'Pod','metadata':{'name':'x','namespace':'default'},'spec':{'nodeName':'n1',"
	    "'containers':[{'name':'a','image':'b','resources':{'requests':{'cpu':'1','memory':"
	    "'1Gi'}}}]}}",
	    "{'kind':'Pod','metadata':{'name':'y','namespace':'default'},'spec':{'nodeName':'n2',"
	    "'containers':[{'name':'a','image':'b','resources':{'requests':{'cpu':'1','memory':"
	    "'1Gi'}}}]}}" },
	  "",
	  "",
	  "n3" },
	{ "a label that is preferred",
	  { 0 },
	  "",
	  "'affinity':{'nodeAffinity':{'preferredDuringSchedulingIgnoredDuringExecution':[{"
	  "'weight':1,'preference':{'matchExpressions':[{'key':'" ZONE
	  "','operator':'In','values':['a']}]}}]}},",
	  "n1" },
	{ "beside a pod that is liked",
	  { "{'kind':'Pod','metadata':{'name':'x','namespace':'default','labels':{'app':'db'}},"
	    "'spec':{'nodeName':'n2','containers':[{'name':'a','image':'b'}]}}" },
	  "",
	  "'affinity':{'podAffinity':{'preferredDuringSchedulingIgnoredDuringExecution':[{'weight':"
	  "10,'podAffinityTerm':{'labelSelector':{'matchLabels':{'app':'db'}},'topologyKey':"
	  "'" HOSTNAME "'}}]}},",
	  "n2" },
	{ "away from a zone that is disliked",
	  { "{'kind':'Pod','metadata':{'name':'x','namespace':'default','labels':{'app':'db'}},"
	    "'spec':{'nodeName':'n2','containers':[{'name':'a','image':'b'}]}}" },
	  "",
	  "'affinity':{'podAntiAffinity':{'preferredDuringSchedulingIgnoredDuringExecution':[{"
	  "'weight':10,'podAffinityTerm':{'labelSelector':{'matchLabels':{'app':'db'}},"
	  "'topologyKey':'" ZONE "'}}]}},",
	  "n1" },
	{ "beside a pod that likes it",
	  { "{'kind':'Pod','metadata':{'name':'x','namespace':'default'},'spec':{'nodeName':'n3',"
	    "'affinity':{'podAffinity':{'preferredDuringSchedulingIgnoredDuringExecution':[{"
	    "'weight':10,'podAffinityTerm':{'labelSelector':{'matchLabels':{'app':'web'}},"
	    "'topologyKey':'" HOSTNAME "'}}]}},'containers':[{'name':'a','image':'b'}]}}" },
	  "'app':'web'",
	  "",
	  "n3" },
	{ "away from one that does not like it",
	  { "{'kind':'Pod','metadata':{'name':'x','namespace':'default'},'spec':{'nodeName':'n3',"
	    "'affinity':{'podAntiAffinity':{'preferredDuringSchedulingIgnoredDuringExecution':[{"
	    "'weight':10,'podAffinityTerm':{'labelSelector':{'matchLabels':{'app':'web'}},"
	    "'topologyKey':'" ZONE "'}}]}},'containers':[{'name':'a','image':'b'}]}}" },
	  "'app':'web'",
	  "",
	  "n1" },
	{ "beside one that required such company",
	  { "{'kind':'Pod','metadata':{'name':'x','namespace':'default','labels':{'app':'web'}},"
	    "'spec':{'nodeName':'n2','affinity':{'podAffinity':{'requiredDuringScheduling"
	    "IgnoredDuringExecution':[{'labelSelector':{'matchLabels':{'app':'web'}},"
	    "'topologyKey':'" HOSTNAME "'}]}},'containers':[{'name':'a','image':'b'}]}}" },
	  "'app':'web'",
	  "",
	  "n2" },
	{ "a zone with fewer of them, when spreading is wished for",
	  { "{'kind':'Pod','metadata':{'name':'x','namespace':'default','labels':{'app':'web'}},"
	    "'spec':{'nodeName':'n2','containers':[{'name':'a','image':'b'}]}}" },
	  "'app':'web'",
	  "'topologySpreadConstraints':[{'maxSkew':1,'topologyKey':'" ZONE "','whenUnsatisfiable':"
	  "'ScheduleAnyway','labelSelector':{'matchLabels':{'app':'web'}}}],",
	  "n1" },
	{ "pods of a Service part without being told",
	  { "{'kind':'Service','metadata':{'name':'s','namespace':'default'},'spec':{'selector':{"
	    "'app':'web'}}}",
	    "{'kind':'Pod','metadata':{'name':'x','namespace':'default','labels':{'app':'web'}},"
	    "'spec':{'nodeName':'n2','containers':[{'name':'a','image':'b'}]}}" },
	  "'app':'web'",
	  "",
	  "n1" },
	{ "where the image is",
	  { "{'kind':'Node','metadata':{'name':'n3','labels':{'" HOSTNAME "':'n3'}},'status':{"
	    "'allocatable':{'cpu':'4','memory':'8Gi','pods':'110'},'images':[{'names':["
	    "'b:latest'],'sizeBytes':2000000000}]}}" },
	  "",
	  "",
	  "n3" },
	{ "a resource that one node offers",
	  { "{'kind':'Node','metadata':{'name':'n2'},'status':{'allocatable':{'cpu':'4','memory':"
	    "'8Gi','pods':'110','example.com/lamp':'2'}}}",
	    "{'kind':'Pod','metadata':{'name':'x','namespace':'default'},'spec':{'nodeName':'n2',"
	    "'containers':[{'name':'a','image':'b','resources':{'requests':{'example.com/lamp':"
	    "'1'}}}]}}" },
	  "",
	  "'overhead':{'example.com/lamp':'1'},",
	  "n2" },
	{ "and that is used up",
	  { "{'kind':'Node','metadata':{'name':'n2'},'status':{'allocatable':{'cpu':'4','memory':"
	    "'8Gi','pods':'110','example.com/lamp':'2'}}}",
	    "{'kind':'Pod','metadata':{'name':'x','namespace':'default'},'spec':{'nodeName':'n2',"
	    "'containers':[{'name':'a','image':'b','resources':{'requests':{'example.com/lamp':"
	    "'2'}}}]}}" },
	  "",
	  "'overhead':{'example.com/lamp':'1'},",
	  "" },
	{ "the dearest moment of initialisation counts",
	  { 0 },
	  "",
	  "'initContainers':[{'name':'i','image':'b','resources':{'requests':{'cpu':'5'}}}],",
	  "" },
	{ "sidecars run beside what follows them",
	  { 0 },
	  "",
	  "'initContainers':[{'name':'s','image':'b','restartPolicy':'Always','resources':{"
	  "'requests':{'cpu':'3'}}},{'name':'i','image':'b','resources':{'requests':{'cpu':'2'}}}],",
	  "" },
	{ "amounts of the whole pod count instead of those of its containers",
	  { 0 },
	  "",
	  "'resources':{'requests':{'cpu':'5'}},",
	  "" },
};

static void one_of_three_nodes(void **state)
{
	for (size_t i = 0; i < array_size(cases); i++) {
		auto_with(bed_fini) struct bed b;

		bed_init(&b);
		bed_put_node(&b, "n1", "4", "'" HOSTNAME "':'n1','" ZONE "':'a'", "");
		bed_put_node(&b, "n2", "4", "'" HOSTNAME "':'n2','" ZONE "':'b'", "");
		bed_put_node(&b, "n3", "4", "'" HOSTNAME "':'n3','" ZONE "':'b'", "");
		for (size_t k = 0; k < 4 && cases[i].objects[k]; k++)
			world_put(&b.w, cases[i].objects[k]);

		size_t spec = strlen(cases[i].spec);

		bed_put_pod(&b, "p", "", cases[i].labels,
			    arena_printf(&b.w.arena, "%.*s", spec > 0 ? (int)spec - 1 : 0,
					 cases[i].spec),
			    "100m");

		char *said = bed_run(&b);

		if (strcmp(bed_node_of(&b, "p"), cases[i].chosen) != 0)
			fail_msg("%s: \"%s\"\n%s", cases[i].name, bed_node_of(&b, "p"), said);
	}
}

/* Many pods that wait for the same: one change, one attempt; and as many as there is room for. */
static void equal_pods_are_woken_one_by_one(void **state)
{
	auto_with(bed_fini) struct bed b;
	size_t lines = 0;

	bed_init(&b);
	for (int i = 0; i < 50; i++)
		bed_put_pod(&b, arena_printf(&b.w.arena, "p%d", i), "", "", "", "1");
	bed_run(&b);
	assert_int_equal(scheduler_count(b.scheduler).unschedulable, 50);
	assert_int_equal(scheduler_count(b.scheduler).wishes, 1);
	b.w.now_ns += 20 * S;
	bed_put_node(&b, "n1", "3", "", "");
	for (char *at = bed_run(&b); (at = strstr(at, "bind pods")) != NULL; at++)
		lines++;
	assert_int_equal(lines, 3);
	assert_int_equal(scheduler_count(b.scheduler).placed, 3);
	assert_int_equal(scheduler_count(b.scheduler).unschedulable, 47);
	/* A pod that does not suit the node wakes nobody when it goes there. */
	assert_string_equal(bed_run(&b), "");
}

/* Nothing is left of what is gone. */
static void what_is_gone_is_forgotten(void **state)
{
	auto_with(bed_fini) struct bed b;

	bed_init(&b);
	bed_put_node(&b, "n1", "4", "'z':'a'", "");
	bed_put_pod(&b, "p", "", "'app':'x'",
		    "'affinity':{'podAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':[{"
		    "'labelSelector':{'matchLabels':{'app':'x'}},'topologyKey':'z'}]}}",
		    "1");
	bed_run(&b);
	assert_int_equal(scheduler_count(b.scheduler).terms, 1);
	world_delete(&b.w, "pods", "default", "p", 0, NULL);
	world_delete(&b.w, "nodes", "", "n1", 0, NULL);
	assert_int_equal(scheduler_count(b.scheduler).placed, 0);
	assert_int_equal(scheduler_count(b.scheduler).nodes, 0);
	scheduler_seed(b.scheduler, b.w.store, b.w.now_ns);
	assert_int_equal(scheduler_count(b.scheduler).classes, 0);
	assert_int_equal(scheduler_count(b.scheduler).terms, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_of_three_nodes),
		cmocka_unit_test(equal_pods_are_woken_one_by_one),
		cmocka_unit_test(what_is_gone_is_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
