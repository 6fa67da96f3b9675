/* Points in time and durations as the API writes them. Pure; any thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"

#define TIME_TEXT_MAX 40

/* Days since 1970-01-01 of a date of the Gregorian calendar (month and day begin with 1), and back.
 */
int64_t days_of_date(int year, int month, int day);
void date_of_days(int64_t days, int *year, int *month, int *day);

/* RFC 3339 with a zone; -EINVAL when it is not, or outside of the years 0 to 9999. */
int time_parse(struct bytes text, int64_t *ret_seconds, int32_t *ret_nanos);
/* "2025-01-02T03:04:05Z", terminated; returns the length. Seconds since 1970. */
size_t time_print(int64_t seconds, char to[static TIME_TEXT_MAX]);
/* "2025-01-02T03:04:05.123456Z" */
size_t microtime_print(int64_t seconds, int32_t nanos, char to[static TIME_TEXT_MAX]);
/* "1h0m0s", "1.5s", "300ms"; -EINVAL when it is not, -ERANGE beyond 292 years. */
int duration_parse(struct bytes text, int64_t *ret_ns);
size_t duration_print(int64_t ns, char to[static TIME_TEXT_MAX]);
