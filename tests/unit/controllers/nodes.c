/* Nodes that fall silent, and what becomes of their pods. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/cleanup.h"
#include "tests/unit/world/world.h"

extern const struct controller controller_nodelifecycle;

#define S INT64_C(1000000000)

static void put_node(struct world *w, const char *name, const char *ready, const char *spec)
{
	world_put(w, arena_printf(&w->arena,
				  "{'kind':'Node','metadata':{'name':'%s'},'spec':{%s},'status':{"
				  "'conditions':[{'type':'Ready','status':'%s'}]}}",
				  name, spec, ready));
}

static void put_pod(struct world *w, const char *name, const char *node, const char *tolerations)
{
	world_put(w, arena_printf(&w->arena,
				  "{'kind':'Pod','metadata':{'name':'%s','namespace':'default'},"
				  "'spec':{'nodeName':'%s','containers':[{'name':'a','image':'b'}],"
				  "'tolerations':[%s]},'status':{'phase':'Running','conditions':[{"
				  "'type':'Ready','status':'True'}]}}",
				  name, node, tolerations));
}

static void setup(struct world *w)
{
	world_init(w);
	world_put(w, "{'kind':'Namespace','metadata':{'name':'default'}}");
	world_put(w, "{'kind':'ServiceAccount','metadata':{'name':'default',"
		     "'namespace':'default'}}");
}

static bool has(struct world *w, const char *resource, const char *namespace, const char *name,
		const char *part)
{
	return strstr(world_print(w, world_get(w, resource, namespace, name)),
		      world_json(w, part)) != NULL;
}

static void silence_leads_to_eviction(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	const char *five = "{'operator':'Exists','effect':'NoExecute','tolerationSeconds':5}";

	setup(&w);
	put_node(&w, "good", "True", "");
	put_node(&w, "bad", "True", "");
	put_pod(&w, "five", "bad", five);
	put_pod(&w, "ever", "bad", "{'operator':'Exists'}");
	put_pod(&w, "safe", "good", five);
	w.now_ns += 3600 * S;

	w.silent_node = "bad";
	w.silence_ms = 6900;

	int64_t again_ns = world_settle(&w);

	assert_true(has(&w, "nodes", "", "bad", "'type':'Ready','status':'True'"));
	assert_int_equal(again_ns, w.now_ns + S / 10);

	w.silence_ms = 7000;
	again_ns = world_settle(&w);
	assert_true(has(&w, "nodes", "", "bad", "'type':'Ready','status':'Unknown'"));
	assert_true(has(&w, "nodes", "", "bad",
			"'key':'node.kubernetes.io/unreachable','effect':'NoExecute'"));
	assert_true(has(&w, "nodes", "", "bad",
			"'key':'node.kubernetes.io/unreachable','effect':'NoSchedule'"));
	assert_true(has(&w, "pods", "default", "five", "'type':'Ready','status':'False'"));
	assert_true(has(&w, "pods", "default", "safe", "'type':'Ready','status':'True'"));

	w.now_ns += 4 * S;
	world_settle(&w);
	assert_int_equal(world_get(&w, "pods", "default", "five")->facts.deleted_ns, 0);
	w.now_ns += 1 * S;
	world_settle(&w);
	/* 7 + 5 seconds after the last sign of life. */
	assert_int_not_equal(world_get(&w, "pods", "default", "five")->facts.deleted_ns, 0);
	assert_true(has(&w, "pods", "default", "five", "'type':'DisruptionTarget'"));
	assert_int_equal(world_get(&w, "pods", "default", "ever")->facts.deleted_ns, 0);
	assert_int_equal(world_get(&w, "pods", "default", "safe")->facts.deleted_ns, 0);

	/* It is back and says so: the taints go. */
	w.silent_node = NULL;
	world_update(&w,
		     "{'kind':'Node','metadata':{'name':'bad'},'status':{'conditions':[{'type':"
		     "'Ready','status':'True'}]}}",
		     "status", NULL);
	world_settle(&w);
	assert_false(has(&w, "nodes", "", "bad", "taints"));

	size_t writes = w.writes;

	world_settle(&w);
	assert_int_equal(w.writes, writes);
}

static void nothing_is_evicted_when_all_are_down(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	put_node(&w, "a", "Unknown", "");
	put_node(&w, "b", "False", "");
	put_pod(&w, "p", "a", "");
	world_settle(&w);
	assert_true(has(&w, "nodes", "", "a",
			"'key':'node.kubernetes.io/unreachable','effect':'NoSchedule'"));
	assert_false(has(&w, "nodes", "", "a", "NoExecute"));
	assert_int_equal(world_get(&w, "pods", "default", "p")->facts.deleted_ns, 0);
}

static void nodes_are_emptied_one_after_the_other(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	put_node(&w, "a", "Unknown", "");
	put_node(&w, "b", "Unknown", "");
	put_node(&w, "c", "True", "");
	put_node(&w, "d", "True", "");

	int64_t again_ns = world_settle(&w);

	assert_true(has(&w, "nodes", "", "a", "NoExecute") !=
		    has(&w, "nodes", "", "b", "NoExecute"));
	w.now_ns += 10 * S;
	assert_true(again_ns <= w.now_ns);
	world_settle(&w);
	assert_true(has(&w, "nodes", "", "a", "NoExecute"));
	assert_true(has(&w, "nodes", "", "b", "NoExecute"));
}

static void a_new_node_is_freed_by_its_first_word(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	world_create(&w, "{'kind':'Node','metadata':{'name':'n'}}", NULL);
	world_settle(&w);
	assert_true(has(&w, "nodes", "", "n", "node.kubernetes.io/not-ready"));
	world_update(&w,
		     "{'kind':'Node','metadata':{'name':'n'},'status':{'conditions':[{'type':"
		     "'Ready','status':'True'},{'type':'DiskPressure','status':'True'}]}}",
		     "status", NULL);
	world_settle(&w);
	assert_false(has(&w, "nodes", "", "n", "node.kubernetes.io/not-ready"));
	assert_true(has(&w, "nodes", "", "n", "node.kubernetes.io/disk-pressure"));
}

static void a_young_node_was_never_silent_for_long(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	put_node(&w, "n", "True", "");
	w.silent_node = "n";
	w.silence_ms = 60000; /* Since the election: nobody has heard of it. */
	assert_int_equal(world_settle(&w), w.now_ns + 7 * S);
	assert_true(has(&w, "nodes", "", "n", "'type':'Ready','status':'True'"));
}

static void cordon_is_a_taint(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	put_node(&w, "n", "True", "'unschedulable':true");
	world_settle(&w);
	assert_true(has(&w, "nodes", "", "n",
			"'key':'node.kubernetes.io/unschedulable','effect':'NoSchedule'"));
}

static void pods_of_a_node_that_is_gone_go(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	put_node(&w, "n", "True", "");
	put_pod(&w, "p", "n", "");
	world_delete(&w, "nodes", "", "n", -1, NULL);
	world_settle(&w);
	assert_null(world_get(&w, "pods", "default", "p"));
}

static void events_expire(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	world_put(&w, "{'kind':'Event','metadata':{'name':'e','namespace':'default'},"
		      "'involvedObject':{'namespace':'default'}}");
	w.now_ns += 3599 * S;
	world_settle(&w);
	assert_int_equal(world_count(&w, "events"), 1);
	w.now_ns += 1 * S;
	world_settle(&w);
	assert_int_equal(world_count(&w, "events"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(silence_leads_to_eviction),
		cmocka_unit_test(nothing_is_evicted_when_all_are_down),
		cmocka_unit_test(nodes_are_emptied_one_after_the_other),
		cmocka_unit_test(a_new_node_is_freed_by_its_first_word),
		cmocka_unit_test(a_young_node_was_never_silent_for_long),
		cmocka_unit_test(cordon_is_a_taint),
		cmocka_unit_test(pods_of_a_node_that_is_gone_go),
		cmocka_unit_test(events_expire),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
