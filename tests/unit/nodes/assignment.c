/* What a node is sent: small clusters in, the differences out, as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/api/kinds.h"
#include "common/api/node_digest.h"
#include "common/base/buf.h"
#include "controlplane/nodes/assignment.h"
#include "tests/unit/support/store_fill.h"

struct world {
	struct store *store;
	struct holding held;
	struct pod_refs_cache refs;
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->store = store_new();
	holding_init(&w->held);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	holding_fini(&w->held);
	pod_refs_cache_fini(&w->refs);
	store_destroy(w->store);
	free(w);
	return 0;
}

static void put(struct world *w, const char *resource, const char *name, const char *uid,
		const char *more)
{
	struct buf json = { 0 };
	bool cluster = strcmp(resource, "nodes") == 0;

	buf_printf(&json, "{\"metadata\":{\"name\":\"%s\",\"uid\":\"%s\"%s}%s%s}", name, uid,
		   cluster ? "" : ",\"namespace\":\"default\"", more[0] ? "," : "", more);
	store_put_json(w->store, resource, buf_cstr(&json));
	buf_fini(&json);
}

static void on_difference(void *ctx, const struct held *old, const struct object *new)
{
	struct buf *out = ctx;

	if (new == NULL)
		buf_printf(out, "forget %s %s\n", old->resource, old->name);
	else
		buf_printf(out, "%s %s %s\n", old ? "replace" : "add", new->kind->resource, new->name);
}

static void expect(struct world *w, size_t max_bytes, bool complete, const char *differences)
{
	struct buf out = { 0 };
	bool all = assignment_update(w->store, "n1", &w->refs, &w->held, max_bytes, on_difference, &out);

	assert_string_equal(buf_cstr(&out), differences);
	assert_int_equal(all, complete);
	buf_fini(&out);
}

#define ALL (1u << 30)

static void a_node_gets_its_pods_and_what_they_name(void **state)
{
	struct world *w = *state;

	put(w, "nodes", "n1", "u1", "");
	put(w, "secrets", "used", "u2", "");
	put(w, "secrets", "other", "u3", "");
	put(w, "secrets", "env", "u4", "");
	put(w, "configmaps", "projected", "u5", "");
	put(w, "pods", "mine", "u6",
	    "\"spec\":{\"nodeName\":\"n1\",\"enableServiceLinks\":false,"
	    "\"volumes\":[{\"name\":\"a\",\"secret\":{\"secretName\":\"used\"}},"
	    "{\"name\":\"b\",\"projected\":{\"sources\":[{\"configMap\":{\"name\":\"projected\"}}]}}],"
	    "\"containers\":[{\"name\":\"c\",\"env\":[{\"name\":\"E\",\"valueFrom\":{\"secretKeyRef\":"
	    "{\"name\":\"env\",\"key\":\"k\"}}}]}]}");
	put(w, "pods", "elsewhere", "u7", "\"spec\":{\"nodeName\":\"n2\"}");
	put(w, "pods", "unassigned", "u8", "");
	expect(w, ALL, true,
	       "add nodes n1\nadd secrets used\nadd configmaps projected\nadd secrets env\nadd pods mine\n");
	expect(w, ALL, true, "");

	put(w, "secrets", "used", "u2", "\"type\":\"changed\"");
	put(w, "secrets", "other", "u3", "\"type\":\"changed\"");
	expect(w, ALL, true, "replace secrets used\n");

	store_delete(w->store, "pods", "default", "mine");
	expect(w, ALL, true,
	       "forget configmaps projected\nforget pods mine\nforget secrets env\nforget secrets used\n");
}

static void services_of_the_namespace_come_with_links(void **state)
{
	struct world *w = *state;

	put(w, "services", "web", "u1", "");
	put(w, "services", "kubernetes", "u2", "");
	put(w, "pods", "plain", "u3", "\"spec\":{\"nodeName\":\"n1\"}");
	expect(w, ALL, true, "add services kubernetes\nadd services web\nadd pods plain\n");
	assert_true(pod_refs_name(&w->refs, store_get(w->store, kind_of_resource("services"),
						      "default", "web")));
}

static void a_recreated_pod_replaces_the_old_one(void **state)
{
	struct world *w = *state;

	put(w, "pods", "p", "u1", "\"spec\":{\"nodeName\":\"n1\",\"enableServiceLinks\":false}");
	expect(w, ALL, true, "add pods p\n");
	store_delete(w->store, "pods", "default", "p");
	put(w, "pods", "p", "u2", "\"spec\":{\"nodeName\":\"n1\",\"enableServiceLinks\":false}");
	expect(w, ALL, true, "replace pods p\n");
}

static void a_small_budget_only_takes_longer(void **state)
{
	struct world *w = *state;

	for (char name[] = "a"; name[0] <= 'c'; name[0]++)
		put(w, "pods", name, name, "\"spec\":{\"nodeName\":\"n1\",\"enableServiceLinks\":false}");
	/* Something the node holds and should not: forgotten only by a complete computation. */
	holding_put(&w->held, "secrets", "default", "stale", "u", 1);
	expect(w, 1, false, "add pods a\n");
	expect(w, 1, false, "add pods b\n");
	expect(w, 1, false, "add pods c\n");
	expect(w, 1, true, "forget secrets stale\n");
}

static void the_digest_follows_what_is_held(void **state)
{
	struct world *w = *state;
	uint64_t one = node_digest("pods", "default", "p", "u1", 5);

	assert_int_equal(holding_put(&w->held, "pods", "default", "p", "u1", 5), 0);
	assert_true(w->held.digest == one);
	holding_put(&w->held, "pods", "default", "q", "u2", 6);
	assert_true(w->held.digest == one + node_digest("pods", "default", "q", "u2", 6));
	holding_put(&w->held, "pods", "default", "p", "u1", 7);
	assert_true(w->held.digest == node_digest("pods", "default", "p", "u1", 7) +
					      node_digest("pods", "default", "q", "u2", 6));
	assert_true(holding_put(&w->held, "deployments.apps", "default", "p", "u1", 7) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_node_gets_its_pods_and_what_they_name, setup, teardown),
		cmocka_unit_test_setup_teardown(services_of_the_namespace_come_with_links, setup, teardown),
		cmocka_unit_test_setup_teardown(a_recreated_pod_replaces_the_old_one, setup, teardown),
		cmocka_unit_test_setup_teardown(a_small_budget_only_takes_longer, setup, teardown),
		cmocka_unit_test_setup_teardown(the_digest_follows_what_is_held, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
