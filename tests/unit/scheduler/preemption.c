/* Less important pods make room for more important ones. */
#include "tests/unit/scheduler/bed.h"

#define PRIORITY(n) "'priority':" n
#define SLOW "'terminationGracePeriodSeconds':30,"

/* A pod on a node that stays for its grace once it is deleted. */
static void put_running(struct bed *b, const char *name, const char *node, const char *priority,
			const char *cpu)
{
	bed_put_pod(b, name, node, "'app':'web'",
		    arena_printf(&b->w.arena, SLOW PRIORITY("%s"), priority), cpu);
}

static void put_important(struct bed *b, const char *name, const char *more, const char *cpu)
{
	bed_put_pod(b, name, "", "'app':'top'",
		    arena_printf(&b->w.arena, PRIORITY("1000") "%s%s", more[0] ? "," : "", more),
		    cpu);
}

static const char *nominated(struct bed *b, const char *pod)
{
	const char *text = world_print(&b->w, world_get(&b->w, "pods", "default", pod));
	char *at = strstr(text, "\"nominatedNodeName\":\"");

	if (at == NULL)
		return "";
	at = arena_strdup(&b->w.arena, at + strlen("\"nominatedNodeName\":\""));
	*strchr(at, '"') = '\0';
	return at;
}

static bool is_dying(struct bed *b, const char *pod)
{
	const struct object *o = world_get(&b->w, "pods", "default", pod);

	return o == NULL || o->facts.deleted_ns != 0;
}

static void gone(struct bed *b, const char *pod)
{
	world_delete(&b->w, "pods", "default", pod, 0, NULL);
}

static void room_is_made_and_kept(void **state)
{
	auto_with(bed_fini) struct bed b;

	bed_init(&b);
	bed_put_node(&b, "n1", "2", "", "");
	put_running(&b, "low", "n1", "0", "2");
	put_important(&b, "top", "", "1");
	assert_string_equal(
		bed_run(&b),
		"status pods default/low\n"
		"delete pods default/low\n"
		"event pods default/low Normal Preempted: Preempted by pod uid-top on node n1\n"
		"status pods default/top\n"
		"event pods default/top Warning FailedScheduling: 0/1 nodes are available: 1 "
		"Insufficient cpu.\n");
	assert_string_equal(nominated(&b, "top"), "n1");
	assert_non_null(strstr(world_print(&b.w, world_get(&b.w, "pods", "default", "low")),
			       "\"reason\":\"PreemptionByScheduler\""));
	assert_true(is_dying(&b, "low"));

	/* Once the victim is gone, whoever comes by does not get the room that was made. */
	bed_put_pod(&b, "thief", "", "", "", "2");
	bed_run(&b);
	gone(&b, "low");
	assert_non_null(strstr(bed_run(&b), "bind pods default/top n1"));
	assert_string_equal(bed_node_of(&b, "thief"), "");
}

static void nobody_is_preempted_twice(void **state)
{
	auto_with(bed_fini) struct bed b;

	bed_init(&b);
	bed_put_node(&b, "n1", "2", "", "");
	put_running(&b, "low", "n1", "0", "2");
	put_important(&b, "top", "", "2");
	bed_run(&b);
	/* It is tried again while its victim is still there. */
	b.w.now_ns += 301 * S;
	assert_non_null(strstr(bed_run(&b), "preemption: not eligible due to a terminating pod on "
					    "the nominated node."));
	assert_string_equal(nominated(&b, "top"), "n1");
}

static void equals_and_the_unwilling_do_not_preempt(void **state)
{
	auto_with(bed_fini) struct bed b;

	bed_init(&b);
	bed_put_node(&b, "n1", "2", "", "");
	bed_put_node(&b, "n2", "1", "", "");
	put_running(&b, "one", "n1", "1000", "2");
	put_important(&b, "top", "", "2");
	assert_non_null(
		strstr(bed_run(&b),
		       "0/2 nodes are available: 2 Insufficient cpu. preemption: 0/2 nodes are "
		       "available: 1 No preemption victims found for incoming pod, 1 Preemption is "
		       "not helpful for scheduling.\n"));
	bed_put_pod(&b, "never", "", "", "'preemptionPolicy':'Never'," PRIORITY("2000"), "2");
	assert_non_null(
		strstr(bed_run(&b), "preemption: not eligible due to preemptionPolicy=Never.\n"));
	assert_false(is_dying(&b, "one"));
}

static void only_as_many_as_needed_go(void **state)
{
	auto_with(bed_fini) struct bed b;

	bed_init(&b);
	bed_put_node(&b, "n1", "3", "", "");
	put_running(&b, "a", "n1", "1", "1");
	put_running(&b, "b", "n1", "3", "1");
	put_running(&b, "c", "n1", "2", "1");
	put_important(&b, "top", "", "1");
	bed_run(&b);
	assert_true(is_dying(&b, "a"));
	assert_false(is_dying(&b, "b"));
	assert_false(is_dying(&b, "c"));
}

/* Which of two nodes is chosen: on each run the pods told of, "" for none. */
static const struct {
	const char *name;
	const struct on {
		const char *node, *priority, *cpu, *start;
	} pods[4];
	bool budget; /* The pod p0 must not go. */
	const char *chosen;
} choices[] = {
	{ "the least important victim",
	  { { "n1", "5", "2", "" }, { "n2", "4", "2", "" } },
	  false,
	  "n2" },
	{ "the least sum of priorities",
	  { { "n1", "5", "1", "" },
	    { "n1", "4", "1", "" },
	    { "n2", "5", "1", "" },
	    { "n2", "3", "1", "" } },
	  false,
	  "n2" },
	{ "the fewest victims",
	  { { "n1", "5", "1", "" }, { "n1", "-2147483648", "1", "" }, { "n2", "5", "2", "" } },
	  false,
	  "n2" },
	{ "the youngest victim",
	  { { "n1", "5", "2", "2023-01-01T00:00:00Z" },
	    { "n2", "5", "2", "2023-02-01T00:00:00Z" } },
	  false,
	  "n2" },
	{ "no broken budget, even if that costs more important pods",
	  { { "n1", "1", "2", "" }, { "n2", "5", "2", "" } },
	  true,
	  "n2" },
};

static void the_node_that_costs_least_is_chosen(void **state)
{
	for (size_t i = 0; i < array_size(choices); i++) {
		auto_with(bed_fini) struct bed b;

		bed_init(&b);
		bed_put_node(&b, "n1", "2", "", "");
		bed_put_node(&b, "n2", "2", "", "");
		for (size_t k = 0; k < 4 && choices[i].pods[k].node; k++) {
			const struct on *p = &choices[i].pods[k];

			world_put(&b.w,
				  arena_printf(
					  &b.w.arena,
					  "{'kind':'Pod','metadata':{'name':'p%zu','namespace':"
					  "'default','labels':{'p':'%zu'}},'spec':{'nodeName':'%s',"
					  "'priority':%s,'containers':[{'name':'a','image':'b',"
					  "'resources':{'requests':{'cpu':'%s'}}}]},'status':{"
					  "'phase':'Running'%s%s%s}}",
					  k, k, p->node, p->priority, p->cpu,
					  p->start[0] ? ",'startTime':'" : "", p->start,
					  p->start[0] ? "'" : ""));
		}
		if (choices[i].budget)
			world_put(
				&b.w,
				"{'kind':'PodDisruptionBudget','apiVersion':'policy/v1','metadata':"
				"{'name':'b','namespace':'default'},'spec':{'minAvailable':1,"
				"'selector':{'matchLabels':{'p':'0'}}},'status':{"
				"'disruptionsAllowed':0,'currentHealthy':1,'desiredHealthy':1,"
				"'expectedPods':1}}");
		put_important(&b, "top", "", "2");
		bed_run(&b);
		if (strcmp(nominated(&b, "top"), choices[i].chosen) != 0)
			fail_msg("%s: %s", choices[i].name, nominated(&b, "top"));
	}
}

static void those_a_budget_protects_are_spared_first(void **state)
{
	auto_with(bed_fini) struct bed b;

	bed_init(&b);
	bed_put_node(&b, "n1", "2", "", "");
	bed_put_pod(&b, "kept", "n1", "'app':'kept'", SLOW PRIORITY("1"), "1");
	put_running(&b, "other", "n1", "5", "1");
	world_put(&b.w, "{'kind':'PodDisruptionBudget','apiVersion':'policy/v1','metadata':{'name':"
			"'b','namespace':'default'},'spec':{'selector':{'matchLabels':{'app':"
			"'kept'}}},'status':{'disruptionsAllowed':0}}");
	put_important(&b, "top", "", "1");
	bed_run(&b);
	assert_true(is_dying(&b, "other"));
	assert_false(is_dying(&b, "kept"));
	/* When nothing else helps, it goes all the same. */
	bed_put_pod(&b, "more", "", "", PRIORITY("1001"), "2");
	bed_run(&b);
	assert_true(is_dying(&b, "kept"));
}

static void one_that_is_shunned_drives_away(void **state)
{
	auto_with(bed_fini) struct bed b;

	bed_init(&b);
	bed_put_node(&b, "n1", "4", "'host':'n1'", "");
	bed_put_pod(&b, "web", "n1", "'app':'web'", SLOW PRIORITY("0"), "1");
	put_important(&b, "top",
		      "'affinity':{'podAntiAffinity':{'requiredDuringSchedulingIgnoredDuring"
		      "Execution':[{'labelSelector':{'matchLabels':{'app':'web'}},'topologyKey':"
		      "'host'}]}}",
		      "1");
	bed_run(&b);
	assert_true(is_dying(&b, "web"));
	gone(&b, "web");
	assert_non_null(strstr(bed_run(&b), "bind pods default/top n1"));
}

static void a_less_important_nominee_gives_way(void **state)
{
	auto_with(bed_fini) struct bed b;

	bed_init(&b);
	bed_put_node(&b, "n1", "2", "", "");
	put_running(&b, "low", "n1", "0", "2");
	put_important(&b, "top", "", "2");
	bed_run(&b);
	bed_put_pod(&b, "king", "", "", PRIORITY("2000"), "2");
	bed_run(&b);
	assert_string_equal(nominated(&b, "king"), "n1");
	assert_string_equal(nominated(&b, "top"), "");
	gone(&b, "low");
	assert_non_null(strstr(bed_run(&b), "bind pods default/king n1"));
	assert_string_equal(bed_node_of(&b, "top"), "");
}

static void a_new_leader_keeps_nominations(void **state)
{
	auto_with(bed_fini) struct bed b;

	bed_init(&b);
	bed_put_node(&b, "n1", "2", "", "");
	put_running(&b, "low", "n1", "0", "2");
	put_important(&b, "top", "", "2");
	bed_run(&b);
	scheduler_seed(b.scheduler, b.w.store, b.w.now_ns);
	gone(&b, "low");
	bed_put_pod(&b, "thief", "", "", "", "2");
	bed_run(&b);
	assert_string_equal(bed_node_of(&b, "top"), "n1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(room_is_made_and_kept),
		cmocka_unit_test(nobody_is_preempted_twice),
		cmocka_unit_test(equals_and_the_unwilling_do_not_preempt),
		cmocka_unit_test(only_as_many_as_needed_go),
		cmocka_unit_test(the_node_that_costs_least_is_chosen),
		cmocka_unit_test(those_a_budget_protects_are_spared_first),
		cmocka_unit_test(one_that_is_shunned_drives_away),
		cmocka_unit_test(a_less_important_nominee_gives_way),
		cmocka_unit_test(a_new_leader_keeps_nominations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
