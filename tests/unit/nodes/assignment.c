/* What a node is sent: small clusters in, the differences out, as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
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
	struct needs needs;
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->store = store_new();
	holding_init(&w->held);
	needs_init(&w->needs);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	holding_fini(&w->held);
	needs_fini(&w->needs);
	store_destroy(w->store);
	free(w);
	return 0;
}

static void put(struct world *w, const char *resource, const char *name, const char *uid,
		const char *more)
{
	struct buf json = { 0 };
	bool cluster = strcmp(resource, "nodes") == 0 || strcmp(resource, "persistentvolumes") == 0;

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

static struct assignment assignment_of(struct world *w, size_t max_bytes, struct buf *out)
{
	return (struct assignment){ .store = w->store,
				    .node = "n1",
				    .needs = &w->needs,
				    .held = &w->held,
				    .max_bytes = max_bytes,
				    .cb = on_difference,
				    .ctx = out };
}

/* Of one object that changed. */
static void expect_look(struct world *w, const char *resource, const char *name, const char *differences)
{
	struct buf out = { 0 };
	struct assignment a = assignment_of(w, 1u << 30, &out);

	assert_true(assignment_look(&a, kind_of_resource(resource), strcmp(resource, "nodes") == 0 ? "" : "default", name));
	assert_string_equal(buf_cstr(&out), differences);
	buf_fini(&out);
}

static void expect(struct world *w, size_t max_bytes, bool complete, const char *differences)
{
	struct buf out = { 0 };
	struct assignment a = assignment_of(w, max_bytes, &out);
	bool all = assignment_update(&a);

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
	assert_true(needs_name(&w->needs, store_get(w->store, kind_of_resource("services"),
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

#define USES(secret) "\"spec\":{\"nodeName\":\"n1\",\"enableServiceLinks\":false,\"volumes\":[{\"name\":\"a\"," \
	"\"secret\":{\"secretName\":\"" secret "\"}}]}"

static void one_change_is_looked_at_alone(void **state)
{
	struct world *w = *state;

	expect(w, ALL, true, "");
	put(w, "secrets", "s", "u1", "");
	put(w, "secrets", "t", "u2", "");
	expect_look(w, "secrets", "s", "");
	put(w, "pods", "a", "u3", USES("s"));
	expect_look(w, "pods", "a", "add secrets s\nadd pods a\n");
	put(w, "pods", "b", "u4", USES("s"));
	expect_look(w, "pods", "b", "add pods b\n");
	put(w, "secrets", "s", "u1", "\"type\":\"changed\"");
	expect_look(w, "secrets", "s", "replace secrets s\n");
	expect_look(w, "secrets", "s", "");
	store_delete(w->store, "pods", "default", "a");
	expect_look(w, "pods", "a", "forget pods a\n");
	/* Another pod of the same name, with other needs. */
	store_delete(w->store, "pods", "default", "b");
	put(w, "pods", "b", "u5", USES("t"));
	expect_look(w, "pods", "b", "forget secrets s\nadd secrets t\nreplace pods b\n");
	store_delete(w->store, "secrets", "default", "t");
	expect_look(w, "secrets", "t", "forget secrets t\n");
	put(w, "secrets", "t", "u6", "");
	expect_look(w, "secrets", "t", "add secrets t\n");
	put(w, "nodes", "n1", "u7", "");
	expect_look(w, "nodes", "n1", "add nodes n1\n");
	put(w, "services", "kubernetes", "u8", "");
	expect_look(w, "services", "kubernetes", "add services kubernetes\n");
	expect(w, ALL, true, "");
}

#define CLAIMS(claim) "\"spec\":{\"nodeName\":\"n1\",\"enableServiceLinks\":false,\"volumes\":[{\"name\":\"a\"," \
	"\"persistentVolumeClaim\":{\"claimName\":\"" claim "\"}}]}"
#define BOUND_TO(volume) "\"spec\":{\"volumeName\":\"" volume "\"}"
#define CLAIMED(claim, uid) "\"spec\":{\"claimRef\":{\"namespace\":\"default\",\"name\":\"" claim \
	"\",\"uid\":\"" uid "\"}}"

static void expect_look_at_volume(struct world *w, const char *name, const char *differences)
{
	struct buf out = { 0 };
	struct assignment a = assignment_of(w, ALL, &out);

	assert_true(assignment_look(&a, kind_of_resource("persistentvolumes"), "", name));
	assert_string_equal(buf_cstr(&out), differences);
	buf_fini(&out);
}

static void claims_bring_their_volumes(void **state)
{
	struct world *w = *state;

	put(w, "persistentvolumeclaims", "c", "u1", BOUND_TO("v"));
	put(w, "persistentvolumes", "v", "u2", CLAIMED("c", "u1"));
	put(w, "persistentvolumeclaims", "d", "u3", BOUND_TO("w"));
	/* It names an earlier claim of that name. */
	put(w, "persistentvolumes", "w", "u4", CLAIMED("d", "other"));
	put(w, "persistentvolumes", "x", "u5", "");
	put(w, "pods", "p", "u6", CLAIMS("c"));
	put(w, "pods", "q", "u7", CLAIMS("d"));
	expect(w, ALL, true,
	       "add persistentvolumes v\nadd persistentvolumeclaims c\nadd pods p\n"
	       "add persistentvolumeclaims d\nadd pods q\n");
	put(w, "persistentvolumes", "w", "u4", CLAIMED("d", "u3"));
	expect_look_at_volume(w, "w", "add persistentvolumes w\n");
	put(w, "persistentvolumes", "v", "u2", CLAIMED("c", "u1") ",\"status\":{\"phase\":\"Bound\"}");
	expect_look_at_volume(w, "v", "replace persistentvolumes v\n");
	expect_look_at_volume(w, "x", "");

	/* They go with the pod, and when the claim leads to them no more. */
	store_delete(w->store, "pods", "default", "p");
	expect_look(w, "pods", "p",
		    "forget pods p\nforget persistentvolumes v\nforget persistentvolumeclaims c\n");
	store_delete(w->store, "persistentvolumeclaims", "default", "d");
	expect_look(w, "persistentvolumeclaims", "d",
		    "forget persistentvolumeclaims d\nforget persistentvolumes w\n");
	expect(w, ALL, true, "");
}

static void folders_to_remove_are_told(void **state)
{
	struct world *w = *state;
#define LEFT(more) ",\"labels\":{\"sampan.io/local-path-node\":\"n1\"},\"finalizers\":[\"sampan.io/local-path\"" more "]"
#define DYING ",\"deletionTimestamp\":\"2025-01-01T00:00:00Z\""

	store_put_json(w->store, "persistentvolumes", "{\"metadata\":{\"name\":\"a\",\"uid\":\"u1\"" LEFT("") "}}");
	store_put_json(w->store, "persistentvolumes",
		       "{\"metadata\":{\"name\":\"b\",\"uid\":\"u2\"" LEFT("") DYING "}}");
	store_put_json(w->store, "persistentvolumes",
		       "{\"metadata\":{\"name\":\"c\",\"uid\":\"u3\"" LEFT(
			       ",\"kubernetes.io/pv-protection\"") DYING "}}");
	expect(w, ALL, true, "add persistentvolumes b\n");
	store_put_json(w->store, "persistentvolumes",
		       "{\"metadata\":{\"name\":\"c\",\"uid\":\"u3\"" LEFT("") DYING "}}");
	expect_look_at_volume(w, "c", "add persistentvolumes c\n");
	store_delete(w->store, "persistentvolumes", "", "b");
	expect_look_at_volume(w, "b", "forget persistentvolumes b\n");
	expect(w, ALL, true, "");
}

/* Whatever happens, looking at what changed leaves nothing for a whole update to find. */
static void looks_and_updates_agree(void **state)
{
	static const char *const resources[] = { "pods",       "secrets",		  "services",
						 "configmaps", "persistentvolumeclaims", "persistentvolumes",
						 "pods",       "persistentvolumes" };
	static const char *const sources[][2] = { { "secret", "secretName" },
						  { "configMap", "name" },
						  { "persistentVolumeClaim", "claimName" },
						  { "persistentVolumeClaim", "claimName" } };
	struct world *w = *state;
	unsigned seed = 7;

	expect(w, ALL, true, "");
	for (unsigned step = 0; step < 4000; step++) {
		const char *resource = resources[(seed = seed * 1103515245 + 12345) >> 16 & 7];
		unsigned r = (seed = seed * 1103515245 + 12345) >> 16;
		char name[] = { (char)('a' + r % 5), '\0' }, uid[16], more[256] = "";
		struct buf out = { 0 };
		struct assignment a = assignment_of(w, ALL, &out);
		const char *namespace = strcmp(resource, "persistentvolumes") == 0 ? "" : "default";
		const struct object *old = store_get(w->store, kind_of_resource(resource), namespace, name);
		const struct object *claim;

		snprintf(uid, sizeof(uid), "u%u", step);
		if (strcmp(resource, "pods") == 0)
			snprintf(more, sizeof(more),
				 "\"spec\":{\"nodeName\":\"n%u\",\"enableServiceLinks\":%s,\"volumes\":[{\"name\":\"v\","
				 "\"%s\":{\"%s\":\"%c\"}}]}",
				 r >> 5 & 1, r >> 6 & 1 ? "true" : "false", sources[r >> 7 & 3][0],
				 sources[r >> 7 & 3][1], 'a' + (int)(r >> 9) % 5);
		if (strcmp(resource, "persistentvolumeclaims") == 0)
			snprintf(more, sizeof(more), "\"spec\":{\"volumeName\":\"%c\"}",
				 'a' + (int)(r >> 8) % 5);
		if (namespace[0] == '\0') {
			char named[] = { (char)('a' + (r >> 8) % 5), '\0' };

			claim = store_get(w->store, kind_of_resource("persistentvolumeclaims"), "default",
					  named);
			snprintf(more, sizeof(more),
				 "\"spec\":{\"claimRef\":{\"namespace\":\"default\",\"name\":\"%s\",\"uid\":"
				 "\"%s\"}}",
				 named, claim ? claim->facts.uid : "none");
		}
		if (old != NULL)
			store_delete(w->store, resource, namespace, name);
		if (old == NULL || r & 0x2000)
			put(w, resource, name, uid, more);
		assert_true(assignment_look(&a, kind_of_resource(resource), namespace, name));
		buf_clear(&out);
		a = assignment_of(w, ALL, &out);
		assert_true(assignment_update(&a));
		assert_string_equal(buf_cstr(&out), "");
		buf_fini(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_node_gets_its_pods_and_what_they_name, setup, teardown),
		cmocka_unit_test_setup_teardown(services_of_the_namespace_come_with_links, setup, teardown),
		cmocka_unit_test_setup_teardown(a_recreated_pod_replaces_the_old_one, setup, teardown),
		cmocka_unit_test_setup_teardown(a_small_budget_only_takes_longer, setup, teardown),
		cmocka_unit_test_setup_teardown(the_digest_follows_what_is_held, setup, teardown),
		cmocka_unit_test_setup_teardown(one_change_is_looked_at_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(claims_bring_their_volumes, setup, teardown),
		cmocka_unit_test_setup_teardown(folders_to_remove_are_told, setup, teardown),
		cmocka_unit_test_setup_teardown(looks_and_updates_agree, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
