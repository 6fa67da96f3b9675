/* Nodes that fall silent, and what becomes of their pods. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "common/base/cleanup.h"
#include "tests/unit/world/world.h"

extern const struct controller controller_nodelifecycle, controller_nodettl;

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

/* --- Zones ------------------------------------------------------------------------------------ */

/* "3+a 2-a 1!a": three ready nodes of zone a, two down, one that was emptied some seconds ago. The
 * node looked at is one more, "me", which is down, in zone a; "done": it is being emptied already.
 */
static const struct {
	const char *name, *nodes;
	int ago_s;
	bool begun;
	const char *result; /* "now", "later SECONDS", "no". */
} zone_cases[] = {
	{ "one of two", "1+a", 0, false, "now" },
	{ "right after another", "9+a 1!a", 0, false, "later 10" },
	{ "10 s after another", "9+a 1!a", 10, false, "now" },
	{ "another zone's turn is another matter", "9+a 9+b 1!b", 0, false, "now" },
	{ "two down are no disruption", "1+a 1-a", 0, false, "now" },
	{ "54 % are none", "6+a 6-a", 0, false, "now" },
	{ "55 % of a small zone: nobody", "9+a 10-a", 0, false, "later 10" },
	{ "but what was begun goes on", "9+a 10-a", 0, true, "now" },
	{ "55 % of a large zone: slowly", "27+a 32-a 1!a", 10, false, "later 90" },
	{ "one per 100 s", "27+a 32-a 1!a", 100, false, "now" },
	{ "a zone that is down as a whole: as usual", "5-a 1+b", 0, false, "now" },
	{ "one node per 10 s there, too", "5-a 1!a 1+b", 4, false, "later 6" },
	{ "all zones down: nobody", "5-a 5-b", 0, false, "no" },
	{ "and what was begun ends", "5-a 5-b", 0, true, "no" },
	{ "no other node at all", "", 0, false, "no" },
};

static void put_zone_node(struct world *w, const char *name, char zone, bool ready,
			  const char *taints)
{
	world_put(w, arena_printf(&w->arena,
				  "{'kind':'Node','metadata':{'name':'%s','creationTimestamp':"
				  "'2020-01-01T00:00:00Z','labels':{"
				  "'topology.kubernetes.io/zone':'%c'}},'spec':{'taints':[%s]},"
				  "'status':{'conditions':[{'type':'Ready','status':'%s'}]}}",
				  name, zone, taints, ready ? "True" : "Unknown"));
}

static const char *emptied(struct world *w, int ago_s)
{
	time_t t = (time_t)(w->now_ns / S - ago_s);
	struct tm tm;
	char text[32];

	gmtime_r(&t, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return arena_printf(&w->arena,
			    "{'key':'node.kubernetes.io/unreachable','effect':'NoSchedule'},{"
			    "'key':'node.kubernetes.io/unreachable','effect':'NoExecute',"
			    "'timeAdded':'%s'}",
			    text);
}

static void put_zones(struct world *w, const char *words, int ago_s)
{
	char *copy = arena_strdup(&w->arena, words), *save;
	int k = 0;

	for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		char *end;
		long n = strtol(word, &end, 10);

		for (long i = 0; i < n; i++)
			put_zone_node(w, arena_printf(&w->arena, "n%d", k++), end[1], end[0] == '+',
				      end[0] == '!' ? emptied(w, ago_s) : "");
	}
}

static void zones_have_their_own_pace(void **state)
{
	for (size_t i = 0; i < array_size(zone_cases); i++) {
		auto_with(world_fini) struct world w = { 0 };
		struct intents intents;
		const char *result = "no";
		struct view v;

		world_init(&w);
		put_zones(&w, zone_cases[i].nodes, zone_cases[i].ago_s);
		put_zone_node(&w, "me", 'a', false,
			      zone_cases[i].begun ? emptied(&w, 60)
						  : "{'key':'node.kubernetes.io/unreachable',"
						    "'effect':'NoSchedule'}");
		w.silent_node = "me";
		w.silence_ms = 10000;
		v = world_view(&w);
		intents_init(&intents, &w.arena);
		controller_nodelifecycle.reconcile(&v, (struct key){ "", "me" }, &intents);
		assert_int_equal(world_apply(&w, &intents, NULL), 0);
		if (has(&w, "nodes", "", "me", "NoExecute"))
			result = "now";
		else if (intents.again_ns != 0)
			result = arena_printf(&w.arena, "later %d",
					      (int)((intents.again_ns - w.now_ns) / S));
		if (strcmp(result, zone_cases[i].result) != 0)
			fail_msg("%s: %s", zone_cases[i].name, result);
	}
}

static void what_is_out_of_service_is_given_up(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	const char *taint =
		"'taints':[{'key':'node.kubernetes.io/out-of-service','effect':'NoExecute'}]";

	setup(&w);
	put_node(&w, "up", "True", "");
	put_node(&w, "bad", "Unknown", "");
	put_pod(&w, "p", "bad", "");
	put_pod(&w, "tolerant", "bad", "{'operator':'Exists'}");
	world_settle(&w);
	/* Deleted, and waiting for a node that does not answer. */
	assert_int_not_equal(world_get(&w, "pods", "default", "p")->facts.deleted_ns, 0);
	put_node(&w, "bad", "Unknown", taint);
	world_settle(&w);
	assert_null(world_get(&w, "pods", "default", "p"));
	assert_non_null(world_get(&w, "pods", "default", "tolerant"));
	/* A node that speaks is not out of service. */
	put_node(&w, "up", "True", taint);
	put_pod(&w, "q", "up", "");
	world_settle(&w);
	assert_int_not_equal(world_get(&w, "pods", "default", "q")->facts.deleted_ns, 0);
}

static void nodes_are_told_how_long_they_may_remember(void **state)
{
	static const struct {
		size_t nodes;
		const char *before, *after;
	} cases_[] = {
		{ 1, NULL, "0" },  { 100, "0", "0" },   { 101, "0", "15" },  { 95, "15", "15" },
		{ 89, "15", "0" }, { 460, "30", "30" }, { 449, "30", "15" },
	};

	for (size_t i = 0; i < array_size(cases_); i++) {
		auto_with(world_fini) struct world w = { 0 };
		const char *annotation;
		struct intents intents;
		struct view v;

		world_init(&w);
		annotation =
			cases_[i].before != NULL
				? arena_printf(
					  &w.arena,
					  ",'annotations':{'node.alpha.kubernetes.io/ttl':'%s'}",
					  cases_[i].before)
				: "";

		for (size_t k = 0; k < cases_[i].nodes; k++)
			world_put(&w, arena_printf(&w.arena,
						   "{'kind':'Node','metadata':{'name':'n%zu'%s}}",
						   k, annotation));
		v = world_view(&w);
		intents_init(&intents, &w.arena);
		controller_nodettl.reconcile(&v, (struct key){ "", "n0" }, &intents);
		assert_int_equal(world_apply(&w, &intents, NULL), 0);
		if (!has(&w, "nodes", "", "n0",
			 arena_printf(&w.arena, "'node.alpha.kubernetes.io/ttl':'%s'",
				      cases_[i].after)))
			fail_msg("%zu nodes, %s before", cases_[i].nodes,
				 cases_[i].before ? cases_[i].before : "nothing");
	}
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
		cmocka_unit_test(zones_have_their_own_pace),
		cmocka_unit_test(what_is_out_of_service_is_given_up),
		cmocka_unit_test(nodes_are_told_how_long_they_may_remember),
		cmocka_unit_test(events_expire),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
