/* Pods and nodes in, assignments out; and what is said when there is none. */
#include "tests/unit/scheduler/bed.h"

/* --- One pod among nodes ------------------------------------------------------------------- */

#define NOT_HELPFUL(n)                                                                             \
	"preemption: 0/" n " nodes are available: " n " Preemption is not helpful for scheduling."

struct node_case {
	const char *name, *cpu, *labels, *spec;
};

static const struct node_case plain = { "n1", "4", "", "" };
static const struct node_case small = { "n2", "100m", "", "" };
static const struct node_case tainted = {
	"n3", "4", "", "'taints':[{'key':'k','value':'v','effect':'NoSchedule'}]"
};
static const struct node_case soft = { "n4", "4", "",
				       "'taints':[{'key':'k','effect':'PreferNoSchedule'}]" };
static const struct node_case cordoned = { "n5", "4", "", "'unschedulable':true" };
static const struct node_case ssd = { "n6", "4", "'disk':'ssd','size':'7'", "" };

#define AFFINITY(kind, terms)                                                                      \
	"'affinity':{'nodeAffinity':{'" kind "DuringSchedulingIgnoredDuringExecution':" terms "}}"

static const struct {
	const char *name;
	const struct node_case *nodes[4];
	const char *cpu, *spec, *outcome;
} cases[] = {
	{ "no nodes at all",
	  { NULL },
	  "1",
	  "",
	  "status pods default/p\nevent pods default/p Warning FailedScheduling: no nodes available "
	  "to schedule pods\n" },
	{ "the one that has room",
	  { &small, &plain },
	  "1",
	  "",
	  "bind pods default/p n1\nevent pods default/p Normal Scheduled: Successfully assigned "
	  "default/p to n1\n" },
	{ "reasons are counted",
	  { &small, &tainted, &cordoned },
	  "1",
	  "",
	  "status pods default/p\nevent pods default/p Warning FailedScheduling: 0/3 nodes are "
	  "available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s), 1 node(s) were "
	  "unschedulable. " NOT_HELPFUL("3") "\n" },
	{ "a taint is tolerated",
	  { &tainted },
	  "1",
	  "'tolerations':[{'key':'k','operator':'Equal','value':'v','effect':'NoSchedule'}]",
	  "bind pods default/p n3\nevent pods default/p Normal Scheduled: Successfully assigned "
	  "default/p to n3\n" },
	{ "another value is not",
	  { &tainted },
	  "1",
	  "'tolerations':[{'key':'k','operator':'Equal','value':'w','effect':'NoSchedule'}]",
	  "status pods default/p\nevent pods default/p Warning FailedScheduling: 0/1 nodes are "
	  "available: 1 node(s) had untolerated taint(s). " NOT_HELPFUL("1") "\n" },
	{ "a soft taint only repels",
	  { &soft, &plain },
	  "1",
	  "",
	  "bind pods default/p n1\nevent pods default/p Normal Scheduled: Successfully assigned "
	  "default/p to n1\n" },
	{ "a node selector",
	  { &plain, &ssd },
	  "1",
	  "'nodeSelector':{'disk':'ssd'}",
	  "bind pods default/p n6\nevent pods default/p Normal Scheduled: Successfully assigned "
	  "default/p to n6\n" },
	{ "nobody has the label",
	  { &plain },
	  "1",
	  "'nodeSelector':{'disk':'ssd'}",
	  "status pods default/p\nevent pods default/p Warning FailedScheduling: 0/1 nodes are "
	  "available: 1 node(s) didn't match Pod's node affinity/selector. " NOT_HELPFUL(
		  "1") "\n" },
	{ "required affinity",
	  { &plain, &ssd },
	  "1",
	  AFFINITY("required",
		   "{'nodeSelectorTerms':[{'matchExpressions':[{'key':'size','operator':"
		   "'Gt','values':['5']}]}]}"),
	  "bind pods default/p n6\nevent pods default/p Normal Scheduled: Successfully assigned "
	  "default/p to n6\n" },
	{ "affinity by name",
	  { &plain, &ssd },
	  "1",
	  AFFINITY("required", "{'nodeSelectorTerms':[{'matchFields':[{'key':'metadata.name',"
			       "'operator':'In','values':['n1']}]}]}"),
	  "bind pods default/p n1\nevent pods default/p Normal Scheduled: Successfully assigned "
	  "default/p to n1\n" },
	{ "preferred affinity",
	  { &plain, &ssd },
	  "1",
	  AFFINITY("preferred", "[{'weight':50,'preference':{'matchExpressions':[{'key':'disk',"
				"'operator':'In','values':['ssd']}]}}]"),
	  "bind pods default/p n6\nevent pods default/p Normal Scheduled: Successfully assigned "
	  "default/p to n6\n" },
	{ "another scheduler's pod", { &plain }, "1", "'schedulerName':'mine'", "" },
	{ "a gated pod waits",
	  { &plain },
	  "1",
	  "'schedulingGates':[{'name':'example.com/g'}]",
	  "" },
};

static void one_pod_among_nodes(void **state)
{
	for (size_t i = 0; i < array_size(cases); i++) {
		auto_with(bed_fini) struct bed b;

		bed_init(&b);
		for (size_t k = 0; k < array_size(cases[i].nodes) && cases[i].nodes[k]; k++)
			bed_put_node(&b, cases[i].nodes[k]->name, cases[i].nodes[k]->cpu,
				     cases[i].nodes[k]->labels, cases[i].nodes[k]->spec);
		bed_create_pod(&b, "p", cases[i].cpu, cases[i].spec);

		char *got = bed_run(&b);

		if (strcmp(got, cases[i].outcome) != 0)
			fail_msg("%s: got\n%swanted\n%s", cases[i].name, got, cases[i].outcome);
	}
}

/* --- Many ------------------------------------------------------------------------------------ */

static void room_is_promised_once(void **state)
{
	auto_with(bed_fini) struct bed b;

	bed_init(&b);
	bed_put_node(&b, "n1", "2", "", "");
	for (int i = 0; i < 3; i++)
		bed_create_pod(&b, arena_printf(&b.w.arena, "p%d", i), "1", "");

	/* None of the plans is applied: the third finds no room all the same. */
	size_t binds = 0;

	for (;;) {
		struct view v = world_view(&b.w);
		struct intents intents;
		const struct object *pod;

		intents_init(&intents, &b.w.arena);
		if (!scheduler_next(b.scheduler, &v, &intents, &pod))
			break;
		binds += intents.first->type == INTENT_BIND;
	}
	assert_int_equal(binds, 2);
	assert_int_equal(scheduler_count(b.scheduler).assumed, 2);
	assert_int_equal(scheduler_count(b.scheduler).unschedulable, 1);

	/* One is refused: who waits for room has it, and it has its turn again after a second. */
	scheduler_refused(b.scheduler, world_get(&b.w, "pods", "default", "p0")->facts.uid,
			  b.w.now_ns);
	assert_int_equal(scheduler_count(b.scheduler).assumed, 1);
	assert_int_equal(scheduler_again_ns(b.scheduler), b.w.now_ns + S);
	assert_non_null(strstr(bed_run(&b), "bind pods default/p2 n1"));
	world_delete(&b.w, "pods", "default", "p2", 0, NULL);
	b.w.now_ns += S;
	assert_non_null(strstr(bed_run(&b), "bind pods default/p0 n1"));
}

static void pods_of_one_owner_are_spread(void **state)
{
	auto_with(bed_fini) struct bed b;
	size_t on[3] = { 0 };

	bed_init(&b);
	for (int i = 0; i < 3; i++)
		bed_put_node(&b, arena_printf(&b.w.arena, "n%d", i), "4", "", "");
	for (int i = 0; i < 9; i++)
		world_put(&b.w,
			  arena_printf(
				  &b.w.arena,
				  "{'kind':'Pod','metadata':{'name':'p%d','namespace':'default',"
				  "'ownerReferences':[{'apiVersion':'apps/v1','kind':'ReplicaSet',"
				  "'name':'r','uid':'r','controller':true}]},'spec':{"
				  "'schedulerName':'default-scheduler','containers':[{'name':'a',"
				  "'image':'b'}]},'status':{'phase':'Pending'}}",
				  i));
	bed_run(&b);
	for (int i = 0; i < 9; i++)
		on[bed_node_of(&b, arena_printf(&b.w.arena, "p%d", i))[1] - '0']++;
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(on[i], 3);
}

static void ports_of_the_host_are_taken_once(void **state)
{
	auto_with(bed_fini) struct bed b;

	bed_init(&b);
	bed_put_node(&b, "n1", "4", "", "");
	for (int i = 0; i < 2; i++)
		world_put(&b.w,
			  arena_printf(&b.w.arena,
				       "{'kind':'Pod','metadata':{'name':'p%d','namespace':"
				       "'default'},'spec':{'schedulerName':'default-scheduler',"
				       "'containers':[{'name':'a','image':'b','ports':[{"
				       "'containerPort':80,'hostPort':80,'protocol':'TCP'}]}]},"
				       "'status':{'phase':'Pending'}}",
				       i));
	assert_non_null(strstr(bed_run(&b),
			       "0/1 nodes are available: 1 node(s) didn't have free ports "
			       "for the requested pod ports."));
}

/* --- Neighbours ---------------------------------------------------------------------------- */

static void put_labelled(struct bed *b, const char *name, const char *spec)
{
	world_put(&b->w,
		  arena_printf(&b->w.arena,
			       "{'kind':'Pod','metadata':{'name':'%s','namespace':'default',"
			       "'labels':{'app':'web'}},'spec':{'schedulerName':"
			       "'default-scheduler',%s'containers':[{'name':'a','image':'b'}]},"
			       "'status':{'phase':'Pending'}}",
			       name, spec));
}

#define TERM(key) "[{'labelSelector':{'matchLabels':{'app':'web'}},'topologyKey':'" key "'}]"
#define SHUN(key)                                                                                  \
	"'affinity':{'podAntiAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':" TERM(   \
		key) "}},"
#define WANT(key)                                                                                  \
	"'affinity':{'podAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':" TERM(       \
		key) "}},"
#define SPREAD(key, skew)                                                                          \
	"'topologySpreadConstraints':[{'maxSkew':" skew ",'topologyKey':'" key                     \
	"','whenUnsatisfiable':'DoNotSchedule','labelSelector':{'matchLabels':{'app':'web'}}}],"

static void put_three_nodes(struct bed *b)
{
	bed_put_node(b, "n1", "4", "'host':'n1','zone':'a'", "");
	bed_put_node(b, "n2", "4", "'host':'n2','zone':'a'", "");
	bed_put_node(b, "n3", "4", "'host':'n3','zone':'b'", "");
}

static void those_who_shun_each_other_part(void **state)
{
	auto_with(bed_fini) struct bed b;

	bed_init(&b);
	put_three_nodes(&b);
	put_labelled(&b, "p1", SHUN("zone"));
	put_labelled(&b, "p2", SHUN("zone"));
	put_labelled(&b, "p3", SHUN("zone"));
	assert_non_null(strstr(bed_run(&b), "0/3 nodes are available: 3 node(s) didn't match pod "
					    "anti-affinity rules."));
	assert_string_not_equal(bed_node_of(&b, "p1"), "");
	assert_string_not_equal(bed_node_of(&b, "p2"), "");
	/* One that has nothing against them is shunned all the same. */
	put_labelled(&b, "p4", "");
	assert_non_null(strstr(bed_run(&b), "3 node(s) didn't satisfy existing pods anti-affinity "
					    "rules."));
	/* One of them goes: its zone is free for the one that waits longest. */
	world_delete(&b.w, "pods", "default", "p1", 0, NULL);
	b.w.now_ns += S;
	assert_non_null(strstr(bed_run(&b), "bind pods default/p3"));
}

static void those_who_want_each_other_meet(void **state)
{
	auto_with(bed_fini) struct bed b;

	bed_init(&b);
	put_three_nodes(&b);
	put_labelled(&b, "p1", WANT("host"));
	bed_run(&b);
	assert_string_not_equal(bed_node_of(&b, "p1"), "");
	for (int i = 2; i < 6; i++)
		put_labelled(&b, arena_printf(&b.w.arena, "p%d", i), WANT("host"));
	bed_run(&b);
	for (int i = 2; i < 6; i++)
		assert_string_equal(bed_node_of(&b, arena_printf(&b.w.arena, "p%d", i)),
				    bed_node_of(&b, "p1"));
	/* Others are wanted who are nowhere. */
	bed_create_pod(&b, "q", "1",
		       "'affinity':{'podAffinity':{"
		       "'requiredDuringSchedulingIgnoredDuringExecution':[{'labelSelector':{"
		       "'matchLabels':{'app':'db'}},'topologyKey':'host'}]}}");
	assert_non_null(strstr(bed_run(&b), "3 node(s) didn't match pod affinity rules."));
	world_put(&b.w, "{'kind':'Pod','metadata':{'name':'db','namespace':'default','labels':{"
			"'app':'db'}},'spec':{'nodeName':'n2','containers':[{'name':'a','image':"
			"'b'}]},'status':{'phase':'Running'}}");
	b.w.now_ns += S;
	assert_non_null(strstr(bed_run(&b), "bind pods default/q n2"));
}

static void places_are_filled_evenly(void **state)
{
	auto_with(bed_fini) struct bed b;
	size_t in_b = 0;

	bed_init(&b);
	put_three_nodes(&b);
	for (int i = 0; i < 8; i++)
		put_labelled(&b, arena_printf(&b.w.arena, "p%d", i), SPREAD("zone", "1"));
	bed_run(&b);
	for (int i = 0; i < 8; i++)
		in_b += strcmp(bed_node_of(&b, arena_printf(&b.w.arena, "p%d", i)), "n3") == 0;
	assert_int_equal(in_b, 4);
	/* A zone is full: the other one must not run ahead. */
	bed_put_node(&b, "n3", "4", "'host':'n3','zone':'b'", "'unschedulable':true");
	put_labelled(&b, "more", SPREAD("zone", "1"));
	put_labelled(&b, "too-many", SPREAD("zone", "1"));
	assert_non_null(strstr(bed_run(&b),
			       "0/3 nodes are available: 1 node(s) were unschedulable, 2 "
			       "node(s) didn't match pod topology spread constraints."));
}

static void changes_wake_those_who_wait(void **state)
{
	auto_with(bed_fini) struct bed b;

	bed_init(&b);
	bed_put_node(&b, "n1", "1", "", "");
	bed_create_pod(&b, "p", "1", "");
	bed_create_pod(&b, "q", "1", "");
	bed_run(&b);
	assert_int_equal(scheduler_count(b.scheduler).unschedulable, 1);
	assert_string_equal(bed_run(&b), "");
	/* Room on the node: the first pod ends. */
	world_delete(&b.w, "pods", "default", "p", 0, NULL);
	b.w.now_ns += S;
	assert_non_null(strstr(bed_run(&b), "bind pods default/q n1"));
	/* Another node. */
	bed_create_pod(&b, "r", "1", "");
	bed_run(&b);
	bed_put_node(&b, "n2", "1", "", "");
	b.w.now_ns += S;
	assert_non_null(strstr(bed_run(&b), "bind pods default/r n2"));
	/* A gate that is lifted. */
	bed_create_pod(&b, "g", "0", "'schedulingGates':[{'name':'example.com/g'}]");
	assert_string_equal(bed_run(&b), "");
	assert_int_equal(scheduler_count(b.scheduler).placed, 2);
}

static void the_important_come_first(void **state)
{
	auto_with(bed_fini) struct bed b;

	bed_init(&b);
	bed_put_node(&b, "n1", "1", "", "");
	bed_create_pod(&b, "low", "1", "");
	bed_create_pod(&b, "high", "1", "'priorityClassName':'system-cluster-critical'");
	bed_run(&b);
	assert_string_equal(bed_node_of(&b, "high"), "n1");
	assert_string_equal(bed_node_of(&b, "low"), "");
}

/* What a new leader builds from the store is what the old one had. */
static void a_new_leader_knows_the_same(void **state)
{
	auto_with(bed_fini) struct bed b;

	bed_init(&b);
	for (int i = 0; i < 5; i++)
		bed_put_node(&b, arena_printf(&b.w.arena, "n%d", i), "2", "", "");
	for (int i = 0; i < 12; i++)
		bed_create_pod(&b, arena_printf(&b.w.arena, "p%d", i), "1", "");
	bed_run(&b);
	world_delete(&b.w, "pods", "default", "p3", 0, NULL);

	struct scheduler_counts before = scheduler_count(b.scheduler);

	assert_int_equal(before.placed, 9);
	scheduler_seed(b.scheduler, b.w.store, b.w.now_ns);

	struct scheduler_counts after = scheduler_count(b.scheduler);

	assert_int_equal(after.placed, before.placed);
	assert_int_equal(after.nodes, 5);
	assert_int_equal(after.queued, 2);
	assert_non_null(strstr(bed_run(&b), "bind "));
	assert_int_equal(scheduler_count(b.scheduler).placed, 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_pod_among_nodes),
		cmocka_unit_test(room_is_promised_once),
		cmocka_unit_test(pods_of_one_owner_are_spread),
		cmocka_unit_test(ports_of_the_host_are_taken_once),
		cmocka_unit_test(those_who_shun_each_other_part),
		cmocka_unit_test(those_who_want_each_other_meet),
		cmocka_unit_test(places_are_filled_evenly),
		cmocka_unit_test(changes_wake_those_who_wait),
		cmocka_unit_test(the_important_come_first),
		cmocka_unit_test(a_new_leader_knows_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
