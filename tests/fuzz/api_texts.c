/* The small texts of the API: quantities, times, durations, selectors. What is
 * read and printed must read as the same again. */
#include <stdlib.h>
#include <string.h>

#include "common/api/fields.h"
#include "common/api/kinds.h"
#include "common/api/labels.h"
#include "common/api/quantity.h"
#include "common/api/times.h"
#include "common/base/arena.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_quantity(struct bytes in)
{
	char text[QUANTITY_TEXT_MAX];
	struct quantity q, r;

	if (quantity_parse(in, &q) < 0)
		return;
	size_t n = quantity_print(&q, text);
	if (n != strlen(text) || quantity_parse(bytes_of(text, n), &r) < 0 ||
	    quantity_compare(&q, &r) != 0)
		abort();
	quantity_add(&r, &q);
	quantity_subtract(&r, &q);
	quantity_value(&r);
	quantity_milli(&r);
}

static void check_times(struct bytes in)
{
	char text[TIME_TEXT_MAX];
	int64_t seconds, again, ns;
	int32_t nanos;

	if (time_parse(in, &seconds, &nanos) == 0) {
		size_t n = time_print(seconds, text);

		/* A zone may lead out of the years that can be printed. */
		if (time_parse(bytes_of(text, n), &again, &nanos) < 0)
			abort();
		microtime_print(seconds, nanos, text);
	}
	if (duration_parse(in, &ns) == 0) {
		size_t n = duration_print(ns, text);

		if (duration_parse(bytes_of(text, n), &again) < 0 || again != ns)
			abort();
	}
}

static const char *no_label(const void *labels, const char *key)
{
	(void)labels;
	return *key == 'a' ? key : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct label_selector labels;
	struct field_selector fields;
	struct arena a;

	check_quantity(bytes_of(data, size));
	check_times(bytes_of(data, size));
	arena_init(&a, 0);
	char *text = arena_strndup(&a, (const char *)data, size);
	if (label_selector_parse(text, &a, &labels, NULL) == 0) {
		struct label_selector again;

		label_selector_matches(&labels, no_label, NULL);
		if (label_selector_parse(label_selector_print(&labels, &a), &a, &again, NULL) < 0)
			abort();
	}
	if (field_selector_parse(text, kind_named("", "Pod"), &a, &fields, NULL) == 0)
		field_selector_matches(&fields, kind_named("", "Pod"), bytes_of(data, size));
	arena_fini(&a);
	return 0;
}
