/* Which range of the pod network a new Node gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/map.h"
#include "controlplane/admission/pod_range.h"

struct taken {
	struct map claims;
	size_t questions;
};

static bool is_taken(void *ctx, const char *claim)
{
	struct taken *t = ctx;

	t->questions++;
	return map_get(&t->claims, claim) != NULL;
}

/* 10.0.0.0/8 by /24 unless said otherwise. */
static const char *choose(struct taken *t, struct arena *arena, int bits)
{
	struct admission_reader reader = { .ctx = t, .claim_taken = is_taken };
	struct admission a = { .arena = arena, .reader = &reader };

	return pod_range_choose(&a, 10u << 24, bits, 24);
}

static void ranges_are_taken_from_below(void **state)
{
	struct taken t = { 0 };
	struct arena arena = { 0 };

	arena_init(&arena, 0);
	for (unsigned i = 0; i < 3000; i++) {
		const char *claim = choose(&t, &arena, 8);

		assert_string_equal(claim, arena_printf(&arena, "podcidr/10.%u.%u.0/24", i / 256, i % 256));
		map_put(&t.claims, claim, &t);
	}
	/* Not 3,000 each. */
	assert_true(t.questions < 3000 * 30);
	map_fini(&t.claims);
	arena_fini(&arena);
}

static void holes_are_found_when_all_else_is_taken(void **state)
{
	struct taken t = { 0 };
	struct arena arena = { 0 };

	arena_init(&arena, 0);
	for (unsigned i = 0; i < 256; i++)
		map_put(&t.claims, choose(&t, &arena, 16), &t);
	assert_null(choose(&t, &arena, 16));
	map_remove(&t.claims, "podcidr/10.0.77.0/24");
	assert_string_equal(choose(&t, &arena, 16), "podcidr/10.0.77.0/24");
	map_fini(&t.claims);
	arena_fini(&arena);
}

static void what_is_chosen_is_free(void **state)
{
	struct taken t = { 0 };
	struct arena arena = { 0 };

	arena_init(&arena, 0);
	for (unsigned seed = 1; seed < 200; seed++) {
		for (unsigned i = 0; i < 256; i++)
			if ((i * 2654435761u >> 7) % 200 < seed)
				map_put(&t.claims, arena_printf(&arena, "podcidr/10.0.%u.0/24", i), &t);
		const char *claim = choose(&t, &arena, 16);

		assert_true(claim == NULL ? t.claims.count == 256 : map_get(&t.claims, claim) == NULL);
		map_fini(&t.claims);
		t.claims = (struct map){ 0 };
		arena_reset(&arena);
	}
	arena_fini(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ranges_are_taken_from_below),
		cmocka_unit_test(holes_are_found_when_all_else_is_taken),
		cmocka_unit_test(what_is_chosen_is_free),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
