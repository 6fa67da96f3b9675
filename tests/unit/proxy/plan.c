/* Services and endpoints in, map elements out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/cleanup.h"
#include "proxy/services/plan.h"
#include "proxy/services/rules.h"
#include "tests/unit/proxy/support.h"

#define SERVICE(spec)                                                                              \
	"{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"namespace\":\"d\",\"name\":\"s\"},\"spec\":{" spec "}}"
#define SLICE(name, ports, endpoints)                                                              \
	"{\"apiVersion\":\"discovery.k8s.io/v1\",\"kind\":\"EndpointSlice\",\"metadata\":{\"namespace\":\"d\",\"name\":\"" name \
	"\",\"labels\":{\"kubernetes.io/service-name\":\"s\"}},\"addressType\":\"IPv4\",\"ports\":[" ports "],\"endpoints\":[" endpoints "]}"
#define EP(ip, node) "{\"addresses\":[\"" ip "\"],\"nodeName\":\"" node "\",\"conditions\":{\"ready\":true}}"
#define UNREADY(ip, node) "{\"addresses\":[\"" ip "\"],\"nodeName\":\"" node "\",\"conditions\":{\"ready\":false}}"
#define ENDING(ip, node)                                                                           \
	"{\"addresses\":[\"" ip "\"],\"nodeName\":\"" node                                          \
	"\",\"conditions\":{\"ready\":false,\"serving\":true,\"terminating\":true}}"
#define HINTED(ip, hints) "{\"addresses\":[\"" ip "\"],\"nodeName\":\"n2\",\"hints\":{" hints "},\"conditions\":{\"ready\":true}}"
#define PORT80 "{\"name\":\"\",\"port\":8080,\"protocol\":\"TCP\"}"
#define HTTP "\"clusterIP\":\"10.96.0.1\",\"ports\":[{\"port\":80}]"

static const struct {
	const char *name, *service, *slices[3], *want;
} cases[] = {
	{ "no endpoints", SERVICE(HTTP), { NULL }, "svc 10.96.0.1 tcp 80 -> reject\n" },
	{ "two endpoints, one of them here", SERVICE(HTTP), { SLICE("a", PORT80, EP("10.1.0.2", "n1") "," EP("10.1.1.2", "n2")) },
		"svc 10.96.0.1 tcp 80 -> n2\n"
		"eps 10.96.0.1 tcp 80 [0] -> 10.1.0.2:8080\n"
		"eps 10.96.0.1 tcp 80 [1] -> 10.1.1.2:8080\n"
		"hairpin 10.1.0.2\n" },
	{ "several slices, the same endpoint twice", SERVICE(HTTP),
		{ SLICE("a", PORT80, EP("10.1.1.2", "n2")), SLICE("b", PORT80, EP("10.1.1.2", "n2") "," EP("10.1.1.3", "n2")) },
		"svc 10.96.0.1 tcp 80 -> n2\n"
		"eps 10.96.0.1 tcp 80 [0] -> 10.1.1.2:8080\n"
		"eps 10.96.0.1 tcp 80 [1] -> 10.1.1.3:8080\n" },
	{ "only ready ones", SERVICE(HTTP), { SLICE("a", PORT80, EP("10.1.1.2", "n2") "," UNREADY("10.1.1.3", "n2") "," ENDING("10.1.1.4", "n2")) },
		"svc 10.96.0.1 tcp 80 -> n1\n"
		"eps 10.96.0.1 tcp 80 [0] -> 10.1.1.2:8080\n" },
	{ "ending ones when none is ready", SERVICE(HTTP), { SLICE("a", PORT80, UNREADY("10.1.1.3", "n2") "," ENDING("10.1.1.4", "n2")) },
		"svc 10.96.0.1 tcp 80 -> n1\n"
		"eps 10.96.0.1 tcp 80 [0] -> 10.1.1.4:8080\n" },
	{ "only those meant for our zone", SERVICE(HTTP), { SLICE("a", PORT80, HINTED("10.1.1.2", "\"forZones\":[{\"name\":\"zz\"}]") "," HINTED("10.1.1.3", "\"forZones\":[{\"name\":\"y\"},{\"name\":\"z\"}]")) },
		"svc 10.96.0.1 tcp 80 -> n1\n"
		"eps 10.96.0.1 tcp 80 [0] -> 10.1.1.3:8080\n" },
	{ "all of them when one says nothing", SERVICE(HTTP), { SLICE("a", PORT80, EP("10.1.1.2", "n2") "," HINTED("10.1.1.3", "\"forZones\":[{\"name\":\"z\"}]")) },
		"svc 10.96.0.1 tcp 80 -> n2\n"
		"eps 10.96.0.1 tcp 80 [0] -> 10.1.1.2:8080\n"
		"eps 10.96.0.1 tcp 80 [1] -> 10.1.1.3:8080\n" },
	{ "all of them when none is meant for our zone", SERVICE(HTTP), { SLICE("a", PORT80, HINTED("10.1.1.3", "\"forZones\":[{\"name\":\"y\"}]")) },
		"svc 10.96.0.1 tcp 80 -> n1\n"
		"eps 10.96.0.1 tcp 80 [0] -> 10.1.1.3:8080\n" },
	{ "our node before our zone", SERVICE(HTTP), { SLICE("a", PORT80, HINTED("10.1.1.2", "\"forZones\":[{\"name\":\"z\"}]") "," HINTED("10.1.1.3", "\"forNodes\":[{\"name\":\"n1\"}]")) },
		"svc 10.96.0.1 tcp 80 -> n1\n"
		"eps 10.96.0.1 tcp 80 [0] -> 10.1.1.3:8080\n" },
	{ "ports by name", SERVICE("\"clusterIP\":\"10.96.0.1\",\"ports\":[{\"name\":\"a\",\"port\":80},{\"name\":\"b\",\"port\":53,\"protocol\":\"UDP\"}]"),
		{ SLICE("a", "{\"name\":\"b\",\"port\":5353,\"protocol\":\"UDP\"}", EP("10.1.1.2", "n2")) },
		"svc 10.96.0.1 tcp 80 -> reject\n"
		"svc 10.96.0.1 udp 53 -> n1\n"
		"eps 10.96.0.1 udp 53 [0] -> 10.1.1.2:5353\n" },
	{ "node port", SERVICE("\"type\":\"NodePort\",\"clusterIP\":\"10.96.0.1\",\"ports\":[{\"port\":80,\"nodePort\":30080}]"),
		{ SLICE("a", PORT80, EP("10.1.1.2", "n2")) },
		"svc 10.96.0.1 tcp 80 -> n1\n"
		"eps 10.96.0.1 tcp 80 [0] -> 10.1.1.2:8080\n"
		"np tcp 30080 -> q1\n"
		"neps tcp 30080 [0] -> 10.1.1.2:8080\n" },
	{ "external traffic stays on the node", SERVICE("\"type\":\"NodePort\",\"externalTrafficPolicy\":\"Local\",\"clusterIP\":\"10.96.0.1\",\"ports\":[{\"port\":80,\"nodePort\":30080}]"),
		{ SLICE("a", PORT80, EP("10.1.0.2", "n1") "," EP("10.1.1.2", "n2")) },
		"svc 10.96.0.1 tcp 80 -> n2\n"
		"eps 10.96.0.1 tcp 80 [0] -> 10.1.0.2:8080\n"
		"eps 10.96.0.1 tcp 80 [1] -> 10.1.1.2:8080\n"
		"np tcp 30080 -> p1\n"
		"neps tcp 30080 [0] -> 10.1.0.2:8080\n"
		"hairpin 10.1.0.2\n" },
	{ "external traffic stays and nobody is here", SERVICE("\"type\":\"NodePort\",\"externalTrafficPolicy\":\"Local\",\"clusterIP\":\"10.96.0.1\",\"ports\":[{\"port\":80,\"nodePort\":30080}]"),
		{ SLICE("a", PORT80, EP("10.1.1.2", "n2")) },
		"svc 10.96.0.1 tcp 80 -> n1\n"
		"eps 10.96.0.1 tcp 80 [0] -> 10.1.1.2:8080\n"
		"np tcp 30080 -> drop\n" },
	{ "internal traffic stays on the node", SERVICE(HTTP ",\"internalTrafficPolicy\":\"Local\""),
		{ SLICE("a", PORT80, EP("10.1.0.2", "n1") "," EP("10.1.1.2", "n2")) },
		"svc 10.96.0.1 tcp 80 -> n1\n"
		"eps 10.96.0.1 tcp 80 [0] -> 10.1.0.2:8080\n"
		"hairpin 10.1.0.2\n" },
	{ "internal traffic stays and nobody is here", SERVICE(HTTP ",\"internalTrafficPolicy\":\"Local\""),
		{ SLICE("a", PORT80, EP("10.1.1.2", "n2")) }, "svc 10.96.0.1 tcp 80 -> drop\n" },
	{ "external addresses", SERVICE(HTTP ",\"externalIPs\":[\"192.0.2.7\",\"fd00::7\"]"), { SLICE("a", PORT80, EP("10.1.1.2", "n2")) },
		"svc 10.96.0.1 tcp 80 -> n1\n"
		"svc 192.0.2.7 tcp 80 -> m1\n"
		"eps 10.96.0.1 tcp 80 [0] -> 10.1.1.2:8080\n"
		"eps 192.0.2.7 tcp 80 [0] -> 10.1.1.2:8080\n" },
	{ "the same client, the same endpoint", SERVICE(HTTP ",\"sessionAffinity\":\"ClientIP\""), { SLICE("a", PORT80, EP("10.1.1.2", "n2")) },
		"svc 10.96.0.1 tcp 80 -> s1.10800\n"
		"eps 10.96.0.1 tcp 80 [0] -> 10.1.1.2:8080\n" },
	{ "headless", SERVICE("\"clusterIP\":\"None\",\"ports\":[{\"port\":80}]"), { SLICE("a", PORT80, EP("10.1.0.2", "n1")) }, "" },
	{ "another name", SERVICE("\"type\":\"ExternalName\",\"externalName\":\"x.example\""), { NULL }, "" },
	{ "no Service", NULL, { SLICE("a", PORT80, EP("10.1.0.2", "n1")) }, "" },
	{ "an address that is none", SERVICE(HTTP), { SLICE("a", PORT80, EP("10.1.0.300", "n1") "," EP("fd00::1", "n2") "," EP("10.1.1.9", "n2")) },
		"svc 10.96.0.1 tcp 80 -> n1\n"
		"eps 10.96.0.1 tcp 80 [0] -> 10.1.1.9:8080\n" },
};

static bool lookup_rules(void *arg, const struct element *key, uint64_t *ret)
{
	return rules_lookup(arg, key, ret);
}

static void print_elements(const struct elements *list, struct buf *to)
{
	for (size_t i = 0; i < list->n; i++) {
		element_print(to, &list->items[i]);
		buf_put_byte(to, '\n');
	}
}

static void test_plans(void **state)
{
	for (size_t i = 0; i < array_size(cases); i++) {
		struct rules *rules = rules_create();
		struct plan_context ctx = { .node = "n1", .zone = "z", .lookup = lookup_rules, .arg = rules };
		auto_with(elements_fini) struct elements got = { 0 };
		auto_with(buf_fini) struct buf text = { 0 };
		struct world w;

		world_init(&w);
		if (cases[i].service != NULL)
			support_put(&w, cases[i].service);
		for (size_t j = 0; cases[i].slices[j] != NULL; j++)
			support_put(&w, cases[i].slices[j]);
		struct service *s = world_service(&w, "d", "s");

		assert_non_null(s);
		plan_service(s, &ctx, &got);
		print_elements(&got, &text);
		if (strcmp(buf_cstr(&text), cases[i].want) != 0)
			fail_msg("%s:\n%s", cases[i].name, buf_cstr(&text));
		world_fini(&w);
		rules_destroy(rules);
	}
}

/* --- Changes ---------------------------------------------------------------- */

struct table {
	struct world world;
	struct rules *rules;
	struct rules_part part;
};

static void table_init(struct table *t)
{
	*t = (struct table){ .rules = rules_create() };
	world_init(&t->world);
}

static void table_fini(struct table *t)
{
	elements_fini(&t->part.have);
	rules_destroy(t->rules);
	world_fini(&t->world);
}

static void assert_changes(struct rules *rules, const char *want)
{
	autofree struct rules_change *changes = NULL;
	auto_with(buf_fini) struct buf text = { 0 };
	size_t n = rules_changes(rules, &changes);

	for (size_t i = 0; i < n; i++) {
		buf_put_str(&text, changes[i].remove ? changes[i].add ? "replace " : "remove " : "add ");
		element_print(&text, &changes[i].element);
		buf_put_byte(&text, '\n');
	}
	assert_string_equal(buf_cstr(&text), want);
	rules_committed(rules);
}

static void assert_step(struct table *t, const char *slice, const char *want)
{
	struct plan_context ctx = { .node = "n1", .zone = "z", .lookup = lookup_rules, .arg = t->rules };
	struct elements list = { 0 };

	support_put(&t->world, slice);
	plan_service(world_service(&t->world, "d", "s"), &ctx, &list);
	rules_set(t->rules, &t->part, &list);
	assert_changes(t->rules, want);
}

static void test_small_changes(void **state)
{
	auto_with(table_fini) struct table t = { 0 };

	table_init(&t);
	support_put(&t.world, SERVICE(HTTP));
	assert_step(&t, SLICE("a", PORT80, EP("10.1.1.5", "n2") "," EP("10.1.1.6", "n2") "," EP("10.1.1.7", "n2")),
		"add svc 10.96.0.1 tcp 80 -> n3\n"
		"add eps 10.96.0.1 tcp 80 [0] -> 10.1.1.5:8080\n"
		"add eps 10.96.0.1 tcp 80 [1] -> 10.1.1.6:8080\n"
		"add eps 10.96.0.1 tcp 80 [2] -> 10.1.1.7:8080\n");
	assert_step(&t, SLICE("a", PORT80, EP("10.1.1.7", "n2") "," EP("10.1.1.6", "n2") "," EP("10.1.1.5", "n2")), "");
	/* A new one in place of another, wherever it sorts: the count stays, one element changes. */
	assert_step(&t, SLICE("a", PORT80, EP("10.1.1.5", "n2") "," EP("10.1.1.1", "n2") "," EP("10.1.1.7", "n2")),
		"replace eps 10.96.0.1 tcp 80 [1] -> 10.1.1.1:8080\n");
	/* A hole in the middle is filled by the last. */
	assert_step(&t, SLICE("a", PORT80, EP("10.1.1.1", "n2") "," EP("10.1.1.7", "n2")),
		"replace svc 10.96.0.1 tcp 80 -> n2\n"
		"replace eps 10.96.0.1 tcp 80 [0] -> 10.1.1.7:8080\n"
		"remove eps 10.96.0.1 tcp 80 [2] -> 10.1.1.7:8080\n");
	assert_step(&t, SLICE("a", PORT80, ""),
		"replace svc 10.96.0.1 tcp 80 -> reject\n"
		"remove eps 10.96.0.1 tcp 80 [0] -> 10.1.1.7:8080\n"
		"remove eps 10.96.0.1 tcp 80 [1] -> 10.1.1.1:8080\n");
}

static struct element frontend(uint64_t value)
{
	static const uint8_t address[4] = { 10, 96, 0, 1 };
	struct element e = element_svc(address, 6, 80, -1);

	e.value = value;
	return e;
}

static void set_one(struct rules *rules, struct rules_part *part, enum chain_kind kind)
{
	struct elements list = { 0 };
	struct element e = frontend(value_of_chain((struct chain){ .kind = kind, .n = 1 }));

	if (kind != 0)
		elements_add(&list, &e);
	rules_set(rules, part, &list);
}

static void test_conflicts(void **state)
{
	struct rules *rules = rules_create();
	struct rules_part a = { 0 }, b = { 0 }, c = { 0 };

	set_one(rules, &a, CHAIN_EPS);
	set_one(rules, &b, CHAIN_NEPS);
	set_one(rules, &c, CHAIN_EPS);
	assert_int_equal(a.n_conflicts, 0);
	assert_int_equal(b.n_conflicts, 1);
	assert_int_equal(c.n_conflicts, 0);
	assert_changes(rules, "add svc 10.96.0.1 tcp 80 -> n1\n");
	set_one(rules, &a, 0);
	assert_false(rules_freed(rules));
	assert_changes(rules, "");
	set_one(rules, &c, 0);
	assert_true(rules_freed(rules));
	set_one(rules, &b, CHAIN_NEPS);
	assert_int_equal(b.n_conflicts, 0);
	assert_changes(rules, "replace svc 10.96.0.1 tcp 80 -> p1\n");
	/* A value of one's own may change in one step. */
	set_one(rules, &b, CHAIN_EPS);
	assert_changes(rules, "replace svc 10.96.0.1 tcp 80 -> n1\n");
	rules_forget_kernel(rules);
	assert_changes(rules, "add svc 10.96.0.1 tcp 80 -> n1\n");
	set_one(rules, &b, 0);
	assert_changes(rules, "remove svc 10.96.0.1 tcp 80 -> n1\n");
	elements_fini(&a.have);
	elements_fini(&b.have);
	elements_fini(&c.have);
	rules_destroy(rules);
}

static void test_adoption(void **state)
{
	struct rules *rules = rules_create();
	struct rules_part a = { 0 };
	struct element found = frontend(value_of_chain((struct chain){ .kind = CHAIN_EPS, .n = 1 }));
	struct element other = element_np(6, 30000, -1);

	other.value = value_of_chain((struct chain){ .kind = CHAIN_DROP });
	rules_adopt(rules, &found);
	rules_adopt(rules, &other);
	set_one(rules, &a, CHAIN_EPS);
	assert_changes(rules, "remove np tcp 30000 -> drop\n");
	elements_fini(&a.have);
	rules_destroy(rules);
}

static void test_chain_names(void **state)
{
	static const char *const names[] = { "n1", "m8192", "s3.10800", "p2", "q17", "reject", "drop" };
	static const char *const not_ours[] = { "", "n", "n01", "n1x", "x1", "s3", "s3.", "n8193", "rejects",
		"n-1", "services", "prerouting" };
	struct chain chain;
	char text[32];

	for (size_t i = 0; i < array_size(names); i++) {
		assert_true(chain_parse(names[i], &chain));
		chain_print(chain_of_value(value_of_chain(chain)), text);
		assert_string_equal(text, names[i]);
	}
	for (size_t i = 0; i < array_size(not_ours); i++) {
		if (chain_parse(not_ours[i], &chain))
			fail_msg("%s", not_ours[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plans),    cmocka_unit_test(test_small_changes),
		cmocka_unit_test(test_conflicts), cmocka_unit_test(test_adoption),
		cmocka_unit_test(test_chain_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
