#include "common/api/index_list.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/cleanup.h"

static int parse_number(const char **at, int32_t *ret)
{
	int64_t n = 0;
	const char *p = *at;

	for (; *p >= '0' && *p <= '9'; p++) {
		n = n * 10 + (*p - '0');
		if (n > INT32_MAX)
			return -EINVAL;
	}
	if (p == *at)
		return -EINVAL;
	*at = p;
	*ret = (int32_t)n;
	return 0;
}

/* Ranges that touch become one. */
static void append(struct index_list *list, struct index_range r)
{
	if (list->n > 0 && (int64_t)list->ranges[list->n - 1].last + 1 >= r.first) {
		if (r.last > list->ranges[list->n - 1].last)
			list->ranges[list->n - 1].last = r.last;
		return;
	}
	list->ranges[list->n++] = r;
}

int index_list_parse(const char *text, int32_t limit, struct arena *a, struct index_list *ret)
{
	const char *at = text != NULL ? text : "";
	int64_t previous = -1;
	size_t commas = 1;

	for (const char *c = at; *c != '\0'; c++)
		commas += *c == ',';

	struct index_list list = { arena_array(a, struct index_range, commas), 0 };

	while (*at != '\0') {
		struct index_range r;

		if (parse_number(&at, &r.first) < 0)
			return -EINVAL;
		r.last = r.first;
		if (*at == '-' && (at++, parse_number(&at, &r.last)) < 0)
			return -EINVAL;
		if (r.first <= previous || r.last < r.first)
			return -EINVAL;
		previous = r.last;
		if (*at == ',' && at[1] != '\0')
			at++;
		else if (*at != '\0')
			return -EINVAL;
		if (r.first >= limit)
			continue;
		if (r.last >= limit)
			r.last = limit - 1;
		append(&list, r);
	}
	*ret = list;
	return 0;
}

char *index_list_print(const struct index_list *list, struct arena *a)
{
	auto_with(buf_fini) struct buf b = { 0 };

	if (list->n == 0)
		return NULL;
	for (size_t i = 0; i < list->n; i++) {
		const struct index_range *r = &list->ranges[i];

		buf_printf(&b, "%s%d", i > 0 ? "," : "", r->first);
		/* Two neighbours are written one by one. */
		if (r->last == r->first + 1)
			buf_printf(&b, ",%d", r->last);
		else if (r->last > r->first)
			buf_printf(&b, "-%d", r->last);
	}
	return arena_strdup(a, buf_cstr(&b));
}

int64_t index_list_count(const struct index_list *list)
{
	int64_t n = 0;

	for (size_t i = 0; i < list->n; i++)
		n += (int64_t)list->ranges[i].last - list->ranges[i].first + 1;
	return n;
}

bool index_list_has(const struct index_list *list, int32_t index)
{
	size_t low = 0, high = list->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (list->ranges[mid].last < index)
			low = mid + 1;
		else
			high = mid;
	}
	return low < list->n && list->ranges[low].first <= index;
}

static int compare(const void *x, const void *y)
{
	int32_t a = *(const int32_t *)x, b = *(const int32_t *)y;

	return a < b ? -1 : a > b;
}

struct index_list index_list_of(int32_t *indexes, size_t n, struct arena *a)
{
	struct index_list list = { arena_array(a, struct index_range, n + 1), 0 };

	if (n > 1)
		qsort(indexes, n, sizeof(*indexes), compare);
	for (size_t i = 0; i < n; i++)
		append(&list, (struct index_range){ indexes[i], indexes[i] });
	return list;
}

struct index_list index_list_union(const struct index_list *x, const struct index_list *y,
				   struct arena *a)
{
	struct index_list list = { arena_array(a, struct index_range, x->n + y->n + 1), 0 };

	for (size_t i = 0, k = 0; i < x->n || k < y->n;) {
		if (k == y->n || (i < x->n && x->ranges[i].first <= y->ranges[k].first))
			append(&list, x->ranges[i++]);
		else
			append(&list, y->ranges[k++]);
	}
	return list;
}

int64_t index_list_common(const struct index_list *x, const struct index_list *y)
{
	int64_t n = 0;

	for (size_t i = 0, k = 0; i < x->n && k < y->n;) {
		const struct index_range *r = &x->ranges[i], *s = &y->ranges[k];
		int64_t first = r->first > s->first ? r->first : s->first;
		int64_t last = r->last < s->last ? r->last : s->last;

		if (first <= last)
			n += last - first + 1;
		if (r->last < s->last)
			i++;
		else
			k++;
	}
	return n;
}

size_t index_list_gaps(const struct index_list *list, int32_t limit, int32_t *ret, size_t max)
{
	size_t n = 0;
	int64_t next = 0;

	for (size_t i = 0; i <= list->n && n < max; i++) {
		int64_t end = i < list->n ? list->ranges[i].first : limit;

		for (; next < end && next < limit && n < max; next++)
			ret[n++] = (int32_t)next;
		if (i < list->n)
			next = (int64_t)list->ranges[i].last + 1;
	}
	return n;
}
