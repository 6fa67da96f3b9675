/* What agents tell of usage: bounds, age, and its way to another master. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/cleanup.h"
#include "controlplane/nodes/usage.h"

#define SECOND INT64_C(1000000000)

/* A node with n pods of two containers each. */
static SampanNode__Usage *told(struct arena *a, size_t n)
{
	SampanNode__Usage *u = arena_new(a, SampanNode__Usage);

	sampan_node__usage__init(u);
	u->has_cpu_nanocores = u->has_memory_bytes = u->has_window_ms = u->has_age_ms = true;
	u->cpu_nanocores = 1500000000;
	u->memory_bytes = 1 << 30;
	u->window_ms = 15000;
	u->pods = arena_array(a, SampanNode__PodUsage *, n + 1);
	u->n_pods = n;
	for (size_t i = 0; i < n; i++) {
		SampanNode__PodUsage *p = u->pods[i] = arena_new(a, SampanNode__PodUsage);

		sampan_node__pod_usage__init(p);
		/* Not in order: the receiver sorts. */
		p->uid = arena_printf(a, "uid-%05zu", n - 1 - i);
		p->has_window_ms = true;
		p->window_ms = 14000;
		p->containers = arena_array(a, SampanNode__ContainerUsage *, 2);
		p->n_containers = 2;
		for (size_t k = 0; k < 2; k++) {
			SampanNode__ContainerUsage *c = arena_new(a, SampanNode__ContainerUsage);

			sampan_node__container_usage__init(c);
			c->name = arena_strdup(a, k == 0 ? "app" : "sidecar");
			c->has_cpu_nanocores = c->has_memory_bytes = true;
			c->cpu_nanocores = (n - 1 - i) * 1000 + k;
			c->memory_bytes = 4096 * (k + 1);
			p->containers[k] = c;
		}
	}
	return u;
}

static void test_pods_are_found(void **state)
{
	auto_with(arena_fini) struct arena a = { 0 };
	struct usage u;

	usage_init(&u);
	assert_int_equal(usage_put(&u, "n1", 100 * SECOND, told(&a, 40)), 0);
	for (size_t i = 0; i < 40; i++) {
		const struct pod_usage *p =
			usage_pod(&u, "n1", arena_printf(&a, "uid-%05zu", i), 100 * SECOND);

		assert_non_null(p);
		assert_int_equal(p->n_containers, 2);
		assert_int_equal(p->window_ns, 14 * SECOND);
		assert_string_equal(p->containers[1].name, "sidecar");
		assert_int_equal(p->containers[1].cpu_nanocores, i * 1000 + 1);
	}
	assert_null(usage_pod(&u, "n1", "uid-00040", 100 * SECOND));
	assert_null(usage_pod(&u, "n2", "uid-00001", 100 * SECOND));
	/* The next word replaces the last. */
	assert_int_equal(usage_put(&u, "n1", 115 * SECOND, told(&a, 1)), 0);
	assert_null(usage_pod(&u, "n1", "uid-00005", 115 * SECOND));
	usage_forget(&u, "n1");
	assert_null(usage_node(&u, "n1", 115 * SECOND));
	usage_fini(&u);
}

static void test_what_is_old_is_not_shown(void **state)
{
	auto_with(arena_fini) struct arena a = { 0 };
	SampanNode__Usage *message = told(&a, 1);
	struct usage u;

	usage_init(&u);
	message->age_ms = 10000;
	assert_int_equal(usage_put(&u, "n1", 100 * SECOND, message), 0);
	assert_int_equal(usage_node(&u, "n1", 100 * SECOND)->measured_ns, 90 * SECOND);
	assert_non_null(usage_pod(&u, "n1", "uid-00000", 150 * SECOND));
	assert_null(usage_pod(&u, "n1", "uid-00000", 150 * SECOND + 1));
	assert_null(usage_node(&u, "n1", 150 * SECOND + 1));
	usage_fini(&u);
}

static void test_bounds(void **state)
{
	static const char *const names[] = { "pods",      "no uid",        "no container name",
					     "long name", "cpu",           "memory",
					     "window",    "container cpu", "containers" };

	for (size_t i = 0; i < array_size(names); i++) {
		auto_with(arena_fini) struct arena a = { 0 };
		SampanNode__Usage *m = told(&a, i == 0 ? USAGE_PODS_MAX + 1 : 1);
		struct usage u;
		char name[300];

		memset(name, 'x', sizeof(name) - 1);
		name[sizeof(name) - 1] = '\0';
		switch (i) {
		case 1:
			m->pods[0]->uid = NULL;
			break;
		case 2:
			m->pods[0]->containers[0]->name = NULL;
			break;
		case 3:
			m->pods[0]->containers[0]->name = name;
			break;
		case 4:
			m->cpu_nanocores = UINT64_MAX;
			break;
		case 5:
			m->memory_bytes = UINT64_MAX;
			break;
		case 6:
			m->window_ms = UINT32_MAX;
			break;
		case 7:
			m->pods[0]->containers[1]->cpu_nanocores = UINT64_MAX;
			break;
		case 8:
			m->pods[0]->n_containers = USAGE_CONTAINERS_MAX + 1;
			break;
		}
		usage_init(&u);
		assert_int_equal(usage_put(&u, "n1", SECOND, told(&a, 1)), 0);
		/* Names the case when it fails. */
		if (usage_put(&u, "n1", SECOND, m) != -EBADMSG)
			fail_msg("%s: was taken", names[i]);
		assert_non_null(usage_pod(&u, "n1", "uid-00000", SECOND));
		usage_fini(&u);
	}
}

/* As a master that does not lead asks: page by page. */
static void test_other_masters_ask_in_pages(void **state)
{
	enum { NODES = 40, PODS = 300 };
	auto_with(arena_fini) struct arena a = { 0 };
	struct usage leader, copy;
	size_t pages = 0;
	bool more = true;
	const char *after = NULL;

	usage_init(&leader);
	usage_init(&copy);
	for (size_t i = 0; i < NODES; i++)
		assert_int_equal(usage_put(&leader, arena_printf(&a, "node-%02zu", i), SECOND,
					   told(&a, PODS)),
				 0);
	while (more) {
		SampanMaster__UsageRequest question = SAMPAN_MASTER__USAGE_REQUEST__INIT;
		SampanMaster__UsageReply reply;

		question.after = (char *)after;
		usage_answer(&leader, &question, 2 * SECOND, &a, &reply);
		assert_true(reply.n_nodes > 0);
		assert_int_equal(usage_take_answer(&copy, &reply), 0);
		after = reply.nodes[reply.n_nodes - 1]->node;
		more = reply.more;
		pages++;
	}
	assert_in_range(pages, 2, NODES);
	assert_int_equal(copy.nodes.count, NODES);
	assert_int_equal(
		usage_pod(&copy, "node-39", "uid-00299", 2 * SECOND)->containers[0].cpu_nanocores,
		299000);
	assert_int_equal(usage_node(&copy, "node-00", 2 * SECOND)->measured_ns, SECOND);
	usage_fini(&copy);

	/* One node alone, and one that is not there. */
	SampanMaster__UsageRequest one = SAMPAN_MASTER__USAGE_REQUEST__INIT;
	SampanMaster__UsageReply reply;

	one.node = (char *)"node-07";
	usage_answer(&leader, &one, 2 * SECOND, &a, &reply);
	assert_int_equal(reply.n_nodes, 1);
	assert_string_equal(reply.nodes[0]->node, "node-07");
	one.node = (char *)"node-0";
	usage_answer(&leader, &one, 2 * SECOND, &a, &reply);
	assert_int_equal(reply.n_nodes, 0);

	/* What cannot be read is refused. */
	SampanMaster__NodeUsage bad = SAMPAN_MASTER__NODE_USAGE__INIT, *bads[] = { &bad };

	bad.node = (char *)"node-01";
	bad.usage.data = (uint8_t *)"\xff\xff\xff";
	bad.usage.len = 3;
	bad.has_usage = true;
	reply.nodes = bads;
	reply.n_nodes = 1;
	assert_int_equal(usage_take_answer(&leader, &reply), -EBADMSG);
	usage_fini(&leader);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pods_are_found),
		cmocka_unit_test(test_what_is_old_is_not_shown),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_other_masters_ask_in_pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
