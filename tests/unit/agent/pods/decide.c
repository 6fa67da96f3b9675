/* Small worlds and the orders expected for each, as text.
 *
 * A world is words, one per container: kind (i init, s sidecar, m main), then its phase:
 * "-" never started, "+" running, "++" running and started, ">" starting, "=N" ended with N;
 * and marks: "k" must be restarted, "t" the stop signal was sent, "h" preStop runs, "K" SIGKILL was sent,
 * "?" no image, "~" in back-off. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/pods/decide.h"
#include "common/base/cleanup.h"

enum { NOW = 1000, SOON = 2000 };

static const struct {
	const char *name;
	enum restart_policy policy;
	const char *flags; /* s: no sandbox, b: busy, x: stop, r: released, d: its kill time has come. */
	const char *world;
	const char *orders;
} cases[] = {
	{ "a new pod wants a sandbox, images are fetched meanwhile", RESTART_ALWAYS, "s", "m-? m-", "sandbox 0\npull 0\n" },
	{ "one step at a time", RESTART_ALWAYS, "sb", "m-", "" },
	{ "starts what has its image", RESTART_ALWAYS, "", "m- m-?", "start 0\npull 1\n" },
	{ "nothing to do", RESTART_ALWAYS, "", "m++ m++", "" },
	{ "waits for a start under way", RESTART_ALWAYS, "b", "m>", "" },
	{ "restarts at once", RESTART_ALWAYS, "", "m=1", "start 0\n" },
	{ "waits for the back-off", RESTART_ALWAYS, "", "m=1~", "wake\n" },
	{ "always restarts a success too", RESTART_ALWAYS, "", "m=0", "start 0\n" },
	{ "on failure: success is the end", RESTART_ON_FAILURE, "", "m=0", "over\nrelease 0\n" },
	{ "on failure: the failed one again", RESTART_ON_FAILURE, "", "m=0 m=2", "start 1\n" },
	{ "never: any end is the end", RESTART_NEVER, "", "m=1 m=0", "over\nrelease 0\n" },
	{ "never: the other one still runs", RESTART_NEVER, "", "m=1 m++", "" },
	{ "finished and released", RESTART_NEVER, "r", "m=1", "over\n" },
	{ "init containers first, in order", RESTART_ALWAYS, "", "i- i- m-", "start 0\n" },
	{ "the second when the first is done", RESTART_ALWAYS, "", "i=0 i- m-", "start 1\n" },
	{ "waits for a running one", RESTART_ALWAYS, "", "i=0 i+ m-", "" },
	{ "a failed one again", RESTART_ON_FAILURE, "", "i=3 m-", "start 0\n" },
	{ "a failed one ends a pod that never restarts", RESTART_NEVER, "", "i=3 m-", "failed\nover\nrelease 0\n" },
	{ "main ones when all are done", RESTART_ALWAYS, "", "i=0 i=0 m- m-", "start 2\nstart 3\n" },
	{ "init is not run again under a running main", RESTART_ALWAYS, "", "i- m++", "" },
	{ "a sidecar goes first and must have started", RESTART_ALWAYS, "", "s+ i- m-", "" },
	{ "then the next", RESTART_ALWAYS, "", "s++ i- m-", "start 1\n" },
	{ "a sidecar restarts always", RESTART_NEVER, "", "s=0 m++", "start 0\n" },
	{ "sidecars do not keep a finished pod", RESTART_NEVER, "", "s++ m=0", "stop 0\n" },
	{ "sidecars stop last one first", RESTART_NEVER, "", "s++ s++ m=0", "stop 1\n" },
	{ "and the first after it", RESTART_NEVER, "", "s++ s=0 m=0", "stop 0\n" },
	{ "all are gone", RESTART_NEVER, "", "s=0 s=0 m=0", "over\nrelease 0\n" },
	{ "unwanted: main ones together", RESTART_ALWAYS, "x", "s++ m++ m++", "stop 1\nstop 2\n" },
	{ "unwanted: waits for their time", RESTART_ALWAYS, "x", "m++t", "wake\n" },
	{ "unwanted: the time has come", RESTART_ALWAYS, "xd", "m++t", "kill 0\n" },
	{ "unwanted: a hook that takes too long", RESTART_ALWAYS, "xd", "m++h", "kill 0\n" },
	{ "unwanted: killed once more after a while", RESTART_ALWAYS, "xd", "m++K", "kill 0\n" },
	{ "unwanted: not more often", RESTART_ALWAYS, "x", "m++K", "wake\n" },
	{ "unwanted: a start under way ends first", RESTART_ALWAYS, "xb", "m>", "" },
	{ "unwanted before it began", RESTART_ALWAYS, "xs", "m-", "over\nrelease 0\n" },
	{ "unwanted: never release twice at once", RESTART_ALWAYS, "xb", "m=0", "over\n" },
	{ "liveness failed: stop it", RESTART_ALWAYS, "", "m++k m++", "stop 0\n" },
	{ "liveness failed: its grace is over", RESTART_ALWAYS, "d", "m++kt", "kill 0\n" },
};

static size_t read_world(const char *text, bool due, struct container_facts *ret)
{
	size_t n = 0;

	for (const char *p = text; *p; n++) {
		struct container_facts *c = &ret[n];

		*c = (struct container_facts){ .kind = *p == 'i' ? CONTAINER_INIT
				: *p == 's'		      ? CONTAINER_SIDECAR
							      : CONTAINER_MAIN,
			.image_ready = true,
			.kill_at_ns = due ? NOW : SOON };
		for (p++; *p && *p != ' '; p++) {
			switch (*p) {
			case '-': c->phase = PHASE_NONE; break;
			case '+': c->started = c->phase == PHASE_RUNNING; c->phase = PHASE_RUNNING; break;
			case '>': c->phase = PHASE_STARTING; break;
			case '=': c->phase = PHASE_ENDED; c->exit_code = p[1] - '0'; p++; break;
			case 'k': c->kill = true; break;
			case 't': c->stop = STOP_TERM; break;
			case 'h': c->stop = STOP_HOOK; break;
			case 'K': c->stop = STOP_KILL; break;
			case '?': c->image_ready = false; break;
			case '~': c->not_before_ns = SOON; break;
			default: fail_msg("bad world: %s", text);
			}
		}
		p += *p == ' ';
	}
	return n;
}

static void print_plan(const struct pod_plan *plan, char *to, size_t size)
{
	static const char *const names[] = { "sandbox", "pull", "start", "stop", "term", "kill", "release" };
	size_t n = 0;

	*to = '\0';
	if (plan->failed)
		n += (size_t)snprintf(to + n, size - n, "failed\n");
	if (plan->over)
		n += (size_t)snprintf(to + n, size - n, "over\n");
	for (size_t i = 0; i < plan->n_orders; i++)
		n += (size_t)snprintf(to + n, size - n, "%s %zu\n", names[plan->orders[i].step],
			plan->orders[i].container);
	if (plan->wake_ns != INT64_MAX)
		snprintf(to + n, size - n, "wake\n");
}

static void test_cases(void **state)
{
	for (size_t i = 0; i < array_size(cases); i++) {
		struct container_facts containers[8];
		bool due = strchr(cases[i].flags, 'd') != NULL;
		struct pod_facts facts = { .now_ns = NOW,
			.policy = cases[i].policy,
			.stop = strchr(cases[i].flags, 'x') != NULL,
			.sandbox = strchr(cases[i].flags, 's') == NULL,
			.released = strchr(cases[i].flags, 'r') != NULL,
			.busy = strchr(cases[i].flags, 'b') != NULL,
			.containers = containers,
			.n_containers = read_world(cases[i].world, due, containers) };
		struct pod_plan plan;
		char orders[512];

		pod_decide(&facts, &plan);
		print_plan(&plan, orders, sizeof(orders));
		if (strcmp(orders, cases[i].orders) != 0)
			fail_msg("%s:\n%swanted:\n%s", cases[i].name, orders, cases[i].orders);
	}
}

static void test_backoff(void **state)
{
	static const int wanted_s[] = { 0, 10, 20, 40, 80, 160, 300, 300 };
	unsigned backoff_s = 0;

	for (size_t i = 0; i < array_size(wanted_s); i++)
		assert_int_equal(restart_backoff_ns(&backoff_s, 0), wanted_s[i] * INT64_C(1000000000));
	/* Ten minutes of good work forgive everything. */
	assert_int_equal(restart_backoff_ns(&backoff_s, 600 * INT64_C(1000000000)), 0);
	assert_int_equal(restart_backoff_ns(&backoff_s, 0), 10 * INT64_C(1000000000));
}

/* Whatever the facts, following the orders ends a pod that is to stop. */
static void test_stopping_ends(void **state)
{
	for (size_t i = 0; i < array_size(cases); i++) {
		struct container_facts c[8];
		struct pod_facts facts = { .now_ns = SOON, .policy = cases[i].policy, .stop = true, .sandbox = true,
			.containers = c };
		struct pod_plan plan;
		int turns = 0;

		facts.n_containers = read_world(cases[i].world, true, c);
		for (; turns < 64 && !facts.released; turns++) {
			pod_decide(&facts, &plan);
			for (size_t k = 0; k < facts.n_containers; k++) {
				if (c[k].phase == PHASE_STARTING)
					c[k].phase = PHASE_RUNNING;
			}
			for (size_t k = 0; k < plan.n_orders; k++) {
				struct container_facts *at = &c[plan.orders[k].container];

				assert_int_not_equal(plan.orders[k].step, STEP_START);
				if (plan.orders[k].step == STEP_STOP)
					at->stop = STOP_TERM;
				else if (plan.orders[k].step == STEP_KILL)
					at->phase = PHASE_ENDED;
				else if (plan.orders[k].step == STEP_RELEASE)
					facts.released = true;
			}
		}
		assert_true(facts.released);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_cases), cmocka_unit_test(test_backoff),
		cmocka_unit_test(test_stopping_ends) };

	return cmocka_run_group_tests_name("agent-decide", tests, NULL, NULL);
}
