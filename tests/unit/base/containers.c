/* Trees and maps against a plain array as oracle, over seeded random operations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/map.h"
#include "common/base/source.h"
#include "common/base/tree.h"

#define KEYS 200

struct item {
	int key;
	struct tree_node node;
};

static int item_compare(const void *key, const struct tree_node *node)
{
	return *(const int *)key - container_of(node, struct item, node)->key;
}

static int check_height(const struct tree_node *n)
{
	if (n == NULL)
		return 0;
	int l = check_height(n->left), r = check_height(n->right);

	assert_true(abs(l - r) <= 1);
	assert_int_equal(n->height, (l > r ? l : r) + 1);
	return n->height;
}

static void check_tree(const struct tree *t, const bool *present)
{
	struct tree_node *n = tree_first(t);
	size_t count = 0;

	for (int k = 0; k < KEYS; k++) {
		struct tree_node *found = tree_find(t, &k);

		assert_int_equal(found != NULL, present[k]);
		if (!present[k])
			continue;
		assert_ptr_equal(found, n);
		assert_ptr_equal(tree_lower_bound(t, &k), n);
		n = tree_next(n);
		count++;
	}
	assert_null(n);
	assert_int_equal(t->count, count);
	check_height(t->root);
}

static void tree_agrees_with_an_array(void **state)
{
	static struct item items[KEYS];
	bool present[KEYS] = { false };
	struct seeded_source chance;
	struct tree t;

	(void)state;
	seeded_source_init(&chance, 1);
	tree_init(&t, item_compare);
	for (int step = 0; step < 5000; step++) {
		int k = (int)source_random_below(&chance.base, KEYS);

		if (present[k]) {
			tree_remove(&t, &items[k].node);
		} else {
			items[k].key = k;
			assert_null(tree_insert(&t, &k, &items[k].node));
			assert_ptr_equal(tree_insert(&t, &k, &items[k].node), &items[k].node);
		}
		present[k] = !present[k];
		if (step % 50 == 0)
			check_tree(&t, present);
	}
	check_tree(&t, present);
}

static void map_agrees_with_an_array(void **state)
{
	void *values[KEYS] = { NULL };
	struct seeded_source chance;
	struct map m = { 0 };
	size_t count = 0;
	char key[16];

	(void)state;
	seeded_source_init(&chance, 2);
	for (int step = 0; step < 20000; step++) {
		int k = (int)source_random_below(&chance.base, KEYS);

		snprintf(key, sizeof(key), "key-%d", k);
		if (source_random_below(&chance.base, 2) == 0) {
			void *value = &values[source_random_below(&chance.base, KEYS)];

			assert_ptr_equal(map_put(&m, key, value), values[k]);
			count += values[k] == NULL;
			values[k] = value;
		} else {
			assert_ptr_equal(map_remove(&m, key), values[k]);
			count -= values[k] != NULL;
			values[k] = NULL;
		}
		assert_int_equal(m.count, count);
	}
	for (int k = 0; k < KEYS; k++) {
		snprintf(key, sizeof(key), "key-%d", k);
		assert_ptr_equal(map_get(&m, key), values[k]);
	}
	map_fini(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tree_agrees_with_an_array),
		cmocka_unit_test(map_agrees_with_an_array),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
