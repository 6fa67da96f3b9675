/* Sets of indexes as the API writes them: "1,3-5,7".
 *
 * A set is an array of ranges in ascending order that neither touch nor overlap;
 * all of it lives in an arena. Pure; any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"

struct index_range {
	int32_t first, last; /* Both belong to it. */
};

struct index_list {
	struct index_range *ranges;
	size_t n;
};

/* -EINVAL when text is not ascending ranges of numbers without overlap. "" and NULL are empty.
 * Indexes from limit on are left out. */
int index_list_parse(const char *text, int32_t limit, struct arena *a, struct index_list *ret);
/* NULL when the list is empty. */
char *index_list_print(const struct index_list *list, struct arena *a);
int64_t index_list_count(const struct index_list *list);
bool index_list_has(const struct index_list *list, int32_t index);
/* A list of these indexes, which are sorted in place; repeated ones count once. */
struct index_list index_list_of(int32_t *indexes, size_t n, struct arena *a);
struct index_list index_list_union(const struct index_list *x, const struct index_list *y,
				   struct arena *a);
/* How many indexes both have. */
int64_t index_list_common(const struct index_list *x, const struct index_list *y);
/* Up to max indexes below limit that are not in the list, lowest first; returns how many. */
size_t index_list_gaps(const struct index_list *list, int32_t limit, int32_t *ret, size_t max);
