/* Between two changes of the clock, time on the wall is a fixed distance from
 * UTC, and finding the next match is arithmetic on dates. So a schedule is
 * followed from one such stretch to the next. */
#include "common/api/cron.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/times.h"

enum {
	FIELDS = 5,
	TEXT_MAX = 1024, /* Longer than any schedule that means something. */
	NAME_MAX_LEN = 8,
	MINUTE_S = 60,
	HOUR_S = 3600,
	DAY_S = 86400,
	YEARS_MAX = 5,
};

struct bounds {
	const char *what;
	int min, max;
	const char *const *names; /* Of min, min + 1, ...; ended by NULL. */
};

static const char *const month_names[] = { "jan", "feb", "mar", "apr", "may", "jun", "jul",
					   "aug", "sep", "oct", "nov", "dec", NULL };
static const char *const weekday_names[] = {
	"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL
};
static const struct bounds bounds[FIELDS] = {
	{ "minute", 0, 59, NULL },
	{ "hour", 0, 23, NULL },
	{ "day of month", 1, 31, NULL },
	{ "month", 1, 12, month_names },
	{ "day of week", 0, 6, weekday_names },
};

/* --- Parsing ---------------------------------------------------------------------- */

/* Part of the text, as it is given to people. */
struct part {
	const char *at;
	size_t len;
};

static int refuse(struct status *st, const char *why, struct part p)
{
	return status_set(st, -EINVAL, "%s: %.*s", why, (int)p.len, p.at);
}

static struct part part_until(struct part *rest, char separator)
{
	const char *end = memchr(rest->at, separator, rest->len);
	size_t n = end != NULL ? (size_t)(end - rest->at) : rest->len;
	struct part p = { rest->at, n };

	rest->at += end != NULL ? n + 1 : n;
	rest->len -= end != NULL ? n + 1 : n;
	return p;
}

static int parse_value(struct part p, const struct bounds *b, int *ret, struct status *st)
{
	int n = 0;

	for (size_t i = 0; b->names != NULL && b->names[i] != NULL; i++)
		if (strlen(b->names[i]) == p.len && strncasecmp(b->names[i], p.at, p.len) == 0) {
			*ret = b->min + (int)i;
			return 0;
		}
	for (size_t i = 0; i < p.len; i++) {
		if (!isdigit((unsigned char)p.at[i]) || n > 99999)
			return refuse(st, "failed to parse int from", p);
		n = n * 10 + (p.at[i] - '0');
	}
	if (p.len == 0)
		return refuse(st, "failed to parse int from", p);
	*ret = n;
	return 0;
}

static bool is_any(struct part p)
{
	return p.len == 1 && (p.at[0] == '*' || p.at[0] == '?');
}

/* FIRST[-LAST], * or ?, of the part before the slash. */
static int parse_span(struct part span, const struct bounds *b, bool stepped, int *first, int *last,
		      struct status *st)
{
	struct part rest = span, low = part_until(&rest, '-');
	bool ranged = low.len < span.len;
	int rc;

	if (is_any(span)) {
		*first = b->min;
		*last = b->max;
		return 0;
	}
	rc = parse_value(low, b, first, st);
	if (rc < 0)
		return rc;
	if (ranged && memchr(rest.at, '-', rest.len) != NULL)
		return refuse(st, "too many hyphens", span);
	if (ranged)
		return parse_value(rest, b, last, st);
	/* N/STEP goes on to the end. */
	*last = stepped ? b->max : *first;
	return 0;
}

/* One member of a list: SPAN[/STEP]. */
static int parse_range(struct part range, const struct bounds *b, uint64_t *bits, bool *any,
		       struct status *st)
{
	static const struct bounds steps = { "step", 1, 99999, NULL };
	struct part rest = range, span = part_until(&rest, '/');
	bool stepped = span.len < range.len;
	int first = 0, last = 0, step = 1;
	int rc = parse_span(span, b, stepped, &first, &last, st);

	if (rc < 0)
		return rc;
	if (stepped && memchr(rest.at, '/', rest.len) != NULL)
		return refuse(st, "too many slashes", range);
	if (stepped && (rc = parse_value(rest, &steps, &step, st)) < 0)
		return rc;
	if (step == 0)
		return refuse(st, "step of range should be a positive number", range);
	if (first < b->min)
		return status_set(st, -EINVAL, "beginning of range (%d) below minimum (%d): %.*s",
				  first, b->min, (int)range.len, range.at);
	if (last > b->max)
		return status_set(st, -EINVAL, "end of range (%d) above maximum (%d): %.*s", last,
				  b->max, (int)range.len, range.at);
	if (first > last)
		return status_set(st, -EINVAL,
				  "beginning of range (%d) beyond end of range (%d): %.*s", first,
				  last, (int)range.len, range.at);
	*any = *any || (is_any(span) && step == 1);
	for (int v = first; v <= last; v += step)
		*bits |= UINT64_C(1) << v;
	return 0;
}

static int parse_field(struct part field, const struct bounds *b, uint64_t *bits, bool *any,
		       struct status *st)
{
	bool more = true;

	*bits = 0;
	*any = false;
	while (more) {
		const char *comma = memchr(field.at, ',', field.len);
		int rc = parse_range(part_until(&field, ','), b, bits, any, st);

		if (rc < 0)
			return rc;
		more = comma != NULL;
	}
	return 0;
}

static int parse_fields(const char *text, struct cron *c, struct status *st)
{
	struct part fields[FIELDS];
	uint64_t bits[FIELDS];
	bool any[FIELDS];
	size_t n = 0;

	for (const char *at = text; *at != '\0';) {
		size_t space = strspn(at, " \t\n\v\f\r"), len = strcspn(at + space, " \t\n\v\f\r");

		if (len > 0 && n < FIELDS)
			fields[n] = (struct part){ at + space, len };
		n += len > 0;
		at += space + len;
	}
	if (n != FIELDS)
		return status_set(st, -EINVAL, "expected exactly 5 fields, found %zu: [%s]", n,
				  text);
	for (size_t i = 0; i < FIELDS; i++) {
		int rc = parse_field(fields[i], &bounds[i], &bits[i], &any[i], st);

		if (rc < 0)
			return status_prefix(st, "%s", bounds[i].what);
	}
	*c = (struct cron){
		.minutes = bits[0],
		.hours = (uint32_t)bits[1],
		.days = (uint32_t)bits[2],
		.months = (uint32_t)bits[3],
		.weekdays = (uint32_t)bits[4],
		.any_day = any[2],
		.any_weekday = any[4],
	};
	return 0;
}

static int parse_every(const char *text, struct cron *c, struct status *st)
{
	int64_t ns;

	if (duration_parse(bytes_str(text), &ns) < 0)
		return status_set(st, -EINVAL, "failed to parse duration @every %s", text);
	/* Whole seconds, and never more than one run in each. */
	*c = (struct cron){ .every_s = ns >= 1000000000 ? ns / 1000000000 : 1 };
	return 0;
}

static int parse_macro(const char *text, struct cron *c, struct status *st)
{
	static const struct {
		const char *name, *fields;
	} macros[] = {
		{ "@yearly", "0 0 1 1 *" },  { "@annually", "0 0 1 1 *" },
		{ "@monthly", "0 0 1 * *" }, { "@weekly", "0 0 * * 0" },
		{ "@daily", "0 0 * * *" },   { "@midnight", "0 0 * * *" },
		{ "@hourly", "0 * * * *" },
	};

	for (size_t i = 0; i < sizeof(macros) / sizeof(macros[0]); i++)
		if (strcmp(text, macros[i].name) == 0)
			return parse_fields(macros[i].fields, c, st);
	if (strncmp(text, "@every ", 7) == 0)
		return parse_every(text + 7, c, st);
	return status_set(st, -EINVAL, "unrecognized descriptor: %s", text);
}

int cron_parse(const char *text, struct cron *ret, struct status *st)
{
	if (text[0] == '\0')
		return status_set(st, -EINVAL, "empty spec string");
	if (strlen(text) > TEXT_MAX)
		return status_set(st, -EINVAL, "longer than %d characters", TEXT_MAX);
	if (strncmp(text, "TZ=", 3) == 0 || strncmp(text, "CRON_TZ=", 8) == 0)
		return status_set(st, -EINVAL, "a time zone does not belong into the schedule");
	return text[0] == '@' ? parse_macro(text, ret, st) : parse_fields(text, ret, st);
}

/* --- Following it ----------------------------------------------------------------- */

static bool day_matches(const struct cron *c, int64_t days)
{
	int year, month, day;

	date_of_days(days, &year, &month, &day);
	if (!(c->months >> month & 1))
		return false;

	/* 1970-01-01 was a Thursday. */
	bool on_day = c->days >> day & 1;
	bool on_weekday = c->weekdays >> ((days % 7 + 7 + 4) % 7) & 1;

	/* With both restricted, one of them is enough. */
	return c->any_day || c->any_weekday ? on_day && on_weekday : on_day || on_weekday;
}

/* The first matching minute of the day at or after from_s (seconds of the day), or -1. */
static int64_t minute_of_day(const struct cron *c, int64_t from_s)
{
	int64_t from = (from_s + MINUTE_S - 1) / MINUTE_S;

	for (int64_t hour = from / 60; hour < 24; hour++) {
		int64_t minute = hour == from / 60 ? from % 60 : 0;
		uint64_t left = c->minutes >> minute;

		if ((c->hours >> hour & 1) && left != 0)
			return hour * HOUR_S + (minute + __builtin_ctzll(left)) * MINUTE_S;
	}
	return -1;
}

static int64_t floor_days(int64_t s)
{
	return s >= 0 ? s / DAY_S : -((-s + DAY_S - 1) / DAY_S);
}

/* The first match at or after wall_s on a clock that is never changed, before end_s. */
static bool next_on_wall(const struct cron *c, int64_t wall_s, int64_t end_s, int64_t *ret_s)
{
	for (int64_t days = floor_days(wall_s); days * DAY_S < end_s; days++) {
		int64_t from_s = wall_s > days * DAY_S ? wall_s - days * DAY_S : 0;
		int64_t at_s = day_matches(c, days) ? minute_of_day(c, from_s) : -1;

		if (at_s >= 0) {
			*ret_s = days * DAY_S + at_s;
			return *ret_s < end_s;
		}
	}
	return false;
}

int cron_next(const struct cron *c, const struct zone *z, int64_t after_s, int64_t *ret_s)
{
	int64_t limit_s = after_s + (int64_t)YEARS_MAX * 366 * DAY_S;

	if (c->every_s > 0) {
		if (__builtin_add_overflow(after_s, c->every_s, ret_s))
			return -ENOENT;
		return 0;
	}
	for (int64_t from_s = after_s + 1, until_s; from_s < limit_s; from_s = until_s) {
		int64_t offset_s = zone_offset(z, from_s, &until_s), wall_s;
		int64_t end_s = until_s < limit_s ? until_s : limit_s;

		if (next_on_wall(c, from_s + offset_s, end_s + offset_s, &wall_s)) {
			*ret_s = wall_s - offset_s;
			return 0;
		}
	}
	return -ENOENT;
}

/* The last one at or before until_s, when first_s is one of them. */
static int64_t last_between(const struct cron *c, const struct zone *z, int64_t first_s,
			    int64_t until_s)
{
	int64_t low_s = first_s, high_s = until_s, next_s;

	/* low_s is due; the next one after high_s is too late. */
	while (cron_next(c, z, low_s, &next_s) == 0 && next_s <= until_s) {
		int64_t mid_s = low_s + (high_s - low_s) / 2, found_s;

		low_s = next_s;
		if (cron_next(c, z, mid_s, &found_s) == 0 && found_s <= until_s)
			low_s = found_s > low_s ? found_s : low_s;
		else
			high_s = mid_s;
	}
	return low_s;
}

int cron_last(const struct cron *c, const struct zone *z, int64_t after_s, int64_t until_s,
	      int count_max, int64_t *ret_s, int *ret_count)
{
	int64_t at_s = after_s, next_s;
	int count = 0;

	while (count < count_max && cron_next(c, z, at_s, &next_s) == 0 && next_s <= until_s) {
		at_s = next_s;
		count++;
	}
	*ret_count = count;
	if (count == 0)
		return -ENOENT;
	if (count == count_max)
		at_s = c->every_s > 0 ? until_s - (until_s - after_s) % c->every_s
				      : last_between(c, z, at_s, until_s);
	*ret_s = at_s;
	return 0;
}
