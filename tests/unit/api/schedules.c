/* Cron schedules, time zones and lists of indexes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/api/cron.h"
#include "common/api/index_list.h"
#include "common/api/times.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"

#define KEPT_SINCE_S INT64_C(1577836800) /* 2020 */

static struct zones *zones;

static int64_t seconds_of(const char *text)
{
	int64_t s;
	int32_t ns;

	if (time_parse(bytes_str(text), &s, &ns) < 0)
		fail_msg("%s is no time", text);
	return s;
}

static const struct zone *zone_of(const char *name)
{
	const struct zone *z;

	if (!zones_find(zones, name, &z))
		fail_msg("no zone %s (is tzdata installed?)", name);
	return z;
}

static const struct {
	const char *schedule, *zone, *after, *next;
} cases[] = {
	{ "* * * * *", "UTC", "2026-11-24T18:53:00Z", "2026-11-24T18:54:00Z" },
	{ "* * * * *", "UTC", "2026-11-24T18:53:59Z", "2026-11-24T18:54:00Z" },
	{ "*/15 * * * *", "UTC", "2026-11-24T18:53:00Z", "2026-11-24T19:00:00Z" },
	{ "5/20 * * * *", "UTC", "2026-11-24T18:05:00Z", "2026-11-24T18:25:00Z" },
	{ "5/20 * * * *", "UTC", "2026-11-24T18:45:00Z", "2026-11-24T19:05:00Z" },
	{ "0 9-17/4 * * *", "UTC", "2026-11-24T13:00:00Z", "2026-11-24T17:00:00Z" },
	{ "1,7,3-4 0 * * *", "UTC", "2026-11-24T00:03:00Z", "2026-11-24T00:04:00Z" },
	{ "0 0 29 2 *", "UTC", "2026-11-24T00:00:00Z", "2028-02-29T00:00:00Z" },
	{ "0 0 31 * *", "UTC", "2026-11-24T00:00:00Z", "2026-12-31T00:00:00Z" },
	{ "0 0 1 JAN-mar ?", "UTC", "2026-03-01T00:00:00Z", "2027-01-01T00:00:00Z" },
	{ "0 0 ? * mon-FRI", "UTC", "2026-11-27T12:00:00Z", "2026-11-30T00:00:00Z" },
	/* Both days restricted: one of them is enough. */
	{ "0 0 13 * FRI", "UTC", "2026-11-24T00:00:00Z", "2026-11-27T00:00:00Z" },
	{ "0 0 13 * FRI", "UTC", "2026-12-11T12:00:00Z", "2026-12-13T00:00:00Z" },
	/* A step over all of them is a restriction, a plain star in a list is none. */
	{ "0 0 13 * */7", "UTC", "2026-12-11T12:00:00Z", "2026-12-13T00:00:00Z" },
	{ "0 0 *,13 * FRI", "UTC", "2026-11-28T00:00:00Z", "2026-12-04T00:00:00Z" },
	{ "@yearly", "UTC", "2026-11-24T00:00:00Z", "2027-01-01T00:00:00Z" },
	{ "@annually", "UTC", "2026-11-24T00:00:00Z", "2027-01-01T00:00:00Z" },
	{ "@monthly", "UTC", "2026-11-24T00:00:00Z", "2026-12-01T00:00:00Z" },
	{ "@weekly", "UTC", "2026-11-24T00:00:00Z", "2026-11-29T00:00:00Z" },
	{ "@daily", "UTC", "2026-11-24T00:00:00Z", "2026-11-25T00:00:00Z" },
	{ "@midnight", "UTC", "2026-11-24T00:00:00Z", "2026-11-25T00:00:00Z" },
	{ "@hourly", "UTC", "2026-11-24T00:00:00Z", "2026-11-24T01:00:00Z" },
	{ "@every 1h30m", "UTC", "2026-11-24T00:00:10Z", "2026-11-24T01:30:10Z" },
	{ "@every 10ms", "UTC", "2026-11-24T00:00:10Z", "2026-11-24T00:00:11Z" },
	{ "0 9 * * *", "Europe/Berlin", "2026-07-01T00:00:00Z", "2026-07-01T07:00:00Z" },
	{ "0 9 * * *", "Europe/Berlin", "2026-12-01T00:00:00Z", "2026-12-01T08:00:00Z" },
	/* 02:30 is skipped on 29 March 2026 in Berlin, so that day has none. */
	{ "30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-30T00:30:00Z" },
	{ "*/30 * * * *", "Europe/Berlin", "2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z" },
	/* 02:30 comes twice on 25 October 2026. */
	{ "30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z" },
	{ "30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z" },
	{ "30 2 * * *", "Europe/Berlin", "2026-10-25T01:30:00Z", "2026-10-26T01:30:00Z" },
	/* Half an hour of daylight saving, and a zone 5:45 east. */
	{ "45 1 * * *", "Australia/Lord_Howe", "2026-04-03T15:00:00Z", "2026-04-04T14:45:00Z" },
	{ "45 1 * * *", "Australia/Lord_Howe", "2026-04-04T14:45:00Z", "2026-04-04T15:15:00Z" },
	{ "0 0 * * *", "Asia/Kathmandu", "2026-11-24T00:00:00Z", "2026-11-24T18:15:00Z" },
	/* Far beyond what the file lists the rule decides. */
	{ "0 9 * * *", "America/New_York", "2090-07-01T00:00:00Z", "2090-07-01T13:00:00Z" },
	{ "0 9 * * *", "America/New_York", "2090-12-01T00:00:00Z", "2090-12-01T14:00:00Z" },
	{ "0 9 * * *", "Australia/Sydney", "2090-12-01T00:00:00Z", "2090-12-01T22:00:00Z" },
	/* The clock goes back at midnight: the day begins twice. */
	{ "30 23 * * *", "America/Asuncion", "2023-03-25T12:00:00Z", "2023-03-26T02:30:00Z" },
};

static void schedules_are_followed(void **state)
{
	for (size_t i = 0; i < array_size(cases); i++) {
		struct cron c;
		struct status st = { 0 };
		char text[TIME_TEXT_MAX];
		int64_t next_s = 0;

		if (cron_parse(cases[i].schedule, &c, &st) < 0)
			fail_msg("%s: %s", cases[i].schedule, st.message);
		assert_int_equal(
			cron_next(&c, zone_of(cases[i].zone), seconds_of(cases[i].after), &next_s),
			0);
		time_print(next_s, text);
		if (strcmp(text, cases[i].next) != 0)
			fail_msg("%s in %s after %s: got %s, wanted %s", cases[i].schedule,
				 cases[i].zone, cases[i].after, text, cases[i].next);
	}
}

static void schedules_that_are_none(void **state)
{
	static const struct {
		const char *schedule, *why;
	} wrong[] = {
		{ "", "empty" },
		{ "* * * *", "expected exactly 5 fields, found 4" },
		{ "* * * * * *", "expected exactly 5 fields, found 6" },
		{ "60 * * * *", "end of range (60) above maximum (59)" },
		{ "* 24 * * *", "above maximum (23)" },
		{ "* * 0 * *", "beginning of range (0) below minimum (1)" },
		{ "* * * 13 *", "above maximum (12)" },
		{ "* * * * 7", "above maximum (6)" },
		{ "5-1 * * * *", "beginning of range (5) beyond end of range (1)" },
		{ "1-2-3 * * * *", "too many hyphens" },
		{ "1/2/3 * * * *", "too many slashes" },
		{ "*/0 * * * *", "step of range should be a positive number" },
		{ "*/x * * * *", "failed to parse int from: x" },
		{ "jan * * * *", "failed to parse int from: jan" },
		{ "1, * * * *", "failed to parse int" },
		{ "-1 * * * *", "failed to parse int" },
		{ "99999999999 * * * *", "failed to parse int" },
		{ "@reboot", "unrecognized descriptor: @reboot" },
		{ "@every", "unrecognized descriptor" },
		{ "@every soon", "failed to parse duration" },
		{ "TZ=UTC * * * * *", "time zone" },
		{ "CRON_TZ=UTC * * * * *", "time zone" },
	};

	for (size_t i = 0; i < array_size(wrong); i++) {
		struct cron c;
		struct status st = { 0 };

		assert_int_equal(cron_parse(wrong[i].schedule, &c, &st), -EINVAL);
		if (strstr(st.message, wrong[i].why) == NULL)
			fail_msg("\"%s\": got %s, wanted %s", wrong[i].schedule, st.message,
				 wrong[i].why);
		status_fini(&st);
	}
}

static void a_day_that_never_comes(void **state)
{
	struct cron c;
	int64_t next_s;

	assert_int_equal(cron_parse("0 0 31 2 *", &c, NULL), 0);
	assert_int_equal(cron_next(&c, NULL, seconds_of("2026-01-01T00:00:00Z"), &next_s), -ENOENT);
}

static void the_last_of_many(void **state)
{
	static const struct {
		const char *schedule, *after, *until, *last;
		int count; /* Up to 101. */
	} many[] = {
		{ "0 * * * *", "2026-11-24T18:30:00Z", "2026-11-24T18:50:00Z", NULL, 0 },
		{ "0 * * * *", "2026-11-24T18:00:00Z", "2026-11-24T19:00:00Z",
		  "2026-11-24T19:00:00Z", 1 },
		{ "*/5 * * * *", "2026-11-24T18:00:00Z", "2026-11-24T19:02:00Z",
		  "2026-11-24T19:00:00Z", 12 },
		{ "* * * * *", "2026-01-01T00:00:00Z", "2026-11-24T19:02:30Z",
		  "2026-11-24T19:02:00Z", 101 },
		{ "* * * 2 *", "2026-01-01T00:00:00Z", "2026-11-24T19:02:30Z",
		  "2026-02-28T23:59:00Z", 101 },
		{ "@every 7s", "2026-11-24T00:00:00Z", "2026-11-24T23:59:59Z",
		  "2026-11-24T23:59:54Z", 101 },
	};

	for (size_t i = 0; i < array_size(many); i++) {
		struct cron c;
		int64_t last_s = 0;
		int count = -1;
		int rc;

		assert_int_equal(cron_parse(many[i].schedule, &c, NULL), 0);
		rc = cron_last(&c, NULL, seconds_of(many[i].after), seconds_of(many[i].until), 101,
			       &last_s, &count);
		assert_int_equal(count, many[i].count);
		assert_int_equal(rc, many[i].last ? 0 : -ENOENT);
		if (many[i].last != NULL && last_s != seconds_of(many[i].last))
			fail_msg("%s: got %lld, wanted %s", many[i].schedule, (long long)last_s,
				 many[i].last);
	}
}

static void names_of_zones(void **state)
{
	const struct zone *z;

	assert_true(zones_count(zones) > 300);
	assert_true(zones_find(zones, "", &z) && z == NULL);
	assert_true(zones_find(NULL, "UTC", &z) && z == NULL);
	assert_true(zones_find(zones, "America/Argentina/Ushuaia", &z));
	assert_false(zones_find(zones, "Local", &z));
	assert_false(zones_find(zones, "posixrules", &z));
	assert_false(zones_find(zones, "../etc/passwd", &z));
	assert_false(zones_find(zones, "Europe/Atlantis", &z));
}

/* Every cut of a good file, and every byte of it changed, is refused or harmless. */
static void damaged_files(void **state)
{
	auto_with(buf_fini) struct buf file = { 0 };
	struct zone *z;
	int64_t until_s;

	assert_int_equal(file_read("/usr/share/zoneinfo/Europe/Berlin", 65536, &file, NULL), 0);
	for (size_t n = 0; n < file.len; n++)
		if (zone_parse(bytes_of(file.data, n), KEPT_SINCE_S, &z) == 0)
			fail_msg("%zu of %zu bytes are taken for a zone", n, file.len);
	for (size_t i = 0; i < file.len; i++) {
		file.data[i] ^= 0x81;
		if (zone_parse(buf_bytes(&file), KEPT_SINCE_S, &z) == 0) {
			zone_offset(z, seconds_of("2050-06-01T00:00:00Z"), &until_s);
			zone_destroy(z);
		}
		file.data[i] ^= 0x81;
	}
}

static void lists_of_indexes(void **state)
{
	auto_with(arena_fini) struct arena a = { 0 };
	struct index_list list, more, both;
	int32_t indexes[] = { 9, 3, 4, 3, 5, 0 }, gaps[4];

	arena_init(&a, 0);
	list = index_list_of(indexes, array_size(indexes), &a);
	assert_string_equal(index_list_print(&list, &a), "0,3-5,9");
	assert_int_equal(index_list_count(&list), 5);
	assert_true(index_list_has(&list, 4));
	assert_false(index_list_has(&list, 6));
	assert_int_equal(index_list_parse("1,2,4,6-20", 8, &a, &more), 0);
	assert_string_equal(index_list_print(&more, &a), "1,2,4,6,7");
	both = index_list_union(&list, &more, &a);
	assert_string_equal(index_list_print(&both, &a), "0-7,9");
	assert_int_equal(index_list_common(&list, &more), 1);
	assert_int_equal(index_list_gaps(&list, 12, gaps, 4), 4);
	assert_int_equal(gaps[0], 1);
	assert_int_equal(gaps[1], 2);
	assert_int_equal(gaps[2], 6);
	assert_int_equal(gaps[3], 7);
	assert_int_equal(index_list_gaps(&both, 10, gaps, 4), 1);
	assert_int_equal(gaps[0], 8);
	list = (struct index_list){ 0 };
	assert_null(index_list_print(&list, &a));
	assert_int_equal(index_list_gaps(&list, 2, gaps, 4), 2);

	static const char *const wrong[] = { "1,1", "2,1", "3-1",   "1-",          "-1",
					     "a",   "1,",  "1-3,3", "99999999999", "1;2" };

	for (size_t i = 0; i < array_size(wrong); i++)
		assert_int_equal(index_list_parse(wrong[i], INT32_MAX, &a, &list), -EINVAL);
}

static int load(void **state)
{
	zones = zones_load("/usr/share/zoneinfo", KEPT_SINCE_S);
	return 0;
}

static int unload(void **state)
{
	zones_destroy(zones);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(schedules_are_followed), cmocka_unit_test(schedules_that_are_none),
		cmocka_unit_test(a_day_that_never_comes), cmocka_unit_test(the_last_of_many),
		cmocka_unit_test(names_of_zones),         cmocka_unit_test(damaged_files),
		cmocka_unit_test(lists_of_indexes),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
