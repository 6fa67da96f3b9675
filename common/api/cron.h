/* Schedules as CronJobs write them.
 *
 * Five fields (minute, hour, day of month, month, day of week) with lists,
 * ranges, steps, names and ?, or @hourly and the like, or @every DURATION. A
 * schedule of fields is due in every minute whose time on the wall matches:
 * what a change of the clock skips is not due that day, what it repeats is due
 * twice. Pure; any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/api/zones.h"
#include "common/base/status.h"

struct cron {
	uint64_t minutes;
	uint32_t hours, days, months, weekdays; /* One bit per value. */
	bool any_day, any_weekday;              /* Written as * or ?. */
	int64_t every_s;                        /* @every: 0 for schedules of fields. */
};

/* -EINVAL with the reason in st. */
int cron_parse(const char *text, struct cron *ret, struct status *st);
/* The first time after after_s at which it is due, in seconds since 1970; -ENOENT when there is
 * none within five years. */
int cron_next(const struct cron *c, const struct zone *z, int64_t after_s, int64_t *ret_s);
/* The last time in (after_s, until_s] at which it is due, and how many times it is due there,
 * counted up to count_max. -ENOENT when there is none. */
int cron_last(const struct cron *c, const struct zone *z, int64_t after_s, int64_t until_s,
	      int count_max, int64_t *ret_s, int *ret_count);
