/* Events go after an hour, and the oldest of too many at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "controlplane/controllers/common.h"
#include "controlplane/controllers/events.h"
#include "controlplane/controllers/keys.h"
#include "tests/unit/world/world.h"

extern const struct controller controller_events;

static void put(struct world *w, unsigned i, const char *created)
{
	world_put(w, arena_printf(&w->arena,
				  "{'apiVersion':'v1','kind':'Event','metadata':{'name':'e-%06u','namespace':'default',"
				  "'creationTimestamp':'%s'}}",
				  i, created));
}

static size_t deletes(struct world *w, const char *first)
{
	char *text = world_reconcile(w, &controller_events, "", "events", false);
	size_t n = 0;

	if (first != NULL)
		assert_non_null(strstr(text, first));
	for (const char *at = text; (at = strstr(at, "delete")) != NULL; at++)
		n++;
	return n;
}

static void an_hour_is_their_life(void **state)
{
	struct world w;

	world_init(&w);
	w.now_ns = 7200ll * 1000000000;
	put(&w, 1, "1970-01-01T00:59:00Z");
	put(&w, 2, "1970-01-01T01:01:00Z");
	assert_int_equal(deletes(&w, "e-000001"), 1);
	world_fini(&w);
}

static void the_oldest_of_too_many_go(void **state)
{
	struct world w;
	struct keys keys = { 0 };

	world_init(&w);
	w.now_ns = 7200ll * 1000000000;
	for (unsigned i = 0; i < EVENTS_MAX + 3; i++)
		put(&w, i, "1970-01-01T02:00:00Z");
	assert_int_equal(deletes(&w, "e-000002"), 3);
	for (unsigned i = EVENTS_MAX + 3; i < EVENTS_MAX + BATCH_MAX + 100; i++)
		put(&w, i, "1970-01-01T02:00:00Z");
	/* So many in one plan; a new one wakes the controller for the rest. */
	assert_int_equal(deletes(&w, "e-000000"), BATCH_MAX);

	struct view v = world_view(&w);

	controller_events.on_change(&v, NULL, world_get(&w, "events", "default", "e-000000"), &keys);
	assert_int_equal(keys_count(&keys), 1);
	keys_fini(&keys);
	world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_hour_is_their_life),
		cmocka_unit_test(the_oldest_of_too_many_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
