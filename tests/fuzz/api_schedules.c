/* Cron schedules, TZif files and lists of indexes: what is taken can be followed, and lists print
 * as what was read. */
#include <stdlib.h>
#include <string.h>

#include "common/api/cron.h"
#include "common/api/index_list.h"
#include "common/base/cleanup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void follow_zone(struct bytes in)
{
	struct zone *z;
	struct cron c;
	int64_t at_s = 0, until_s, next_s;

	if (zone_parse(in, -1, &z) < 0)
		return;
	for (int i = 0; i < 50 && at_s < INT64_C(253402300800); i++) {
		zone_offset(z, at_s, &until_s);
		if (until_s <= at_s)
			abort();
		at_s = until_s;
	}
	if (cron_parse("30 2 * * *", &c, NULL) == 0)
		for (int i = 0; i < 10 && cron_next(&c, z, at_s = i * 86400, &next_s) == 0; i++)
			if (next_s <= at_s)
				abort();
	zone_destroy(z);
}

static void follow_schedule(const char *text)
{
	struct cron c;
	int64_t next_s;

	if (cron_parse(text, &c, NULL) == 0 && cron_next(&c, NULL, 1800000000, &next_s) == 0 &&
	    next_s <= 1800000000)
		abort();
}

static void print_list(const char *text)
{
	auto_with(arena_fini) struct arena a = { 0 };
	struct index_list list, again;
	char *printed;

	arena_init(&a, 0);
	if (index_list_parse(text, 1000, &a, &list) < 0)
		return;
	printed = index_list_print(&list, &a);
	if (index_list_parse(printed, 1000, &a, &again) < 0 ||
	    index_list_count(&again) != index_list_count(&list))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	memcpy(text, data, size);
	text[size] = '\0';
	follow_zone(bytes_of(data, size));
	follow_schedule(text);
	print_list(text);
	free(text);
	return 0;
}
