/* A TZif file has two halves: the first has times of 32 bits and is skipped when
 * there is a second one with 64 bits. Behind that stands a rule such as
 * "CET-1CEST,M3.5.0,M10.5.0/3", which is true after the last transition. */
#include <errno.h>
#include <string.h>

#include "common/api/times.h"
#include "common/api/zones.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"

enum {
	HEADER_BYTES = 44,
	TYPE_BYTES = 6,
	/* Far more than any zone has; the count comes from outside. */
	TRANSITIONS_MAX = 4096,
	TYPES_MAX = 256,
	OFFSET_MAX_S = 26 * 3600,
	DAY_S = 86400,
};

/* A day of the year, as the rule writes it. */
struct rule_day {
	enum { DAY_JULIAN, DAY_ZERO_BASED, DAY_OF_WEEK } form;
	int month, week, day; /* DAY_OF_WEEK: week 5 is the last; day 0 is Sunday. */
	int32_t time_s;       /* On the wall; may lie outside of the day. */
};

struct rule {
	bool present, has_dst;
	int32_t standard_s, dst_s; /* East of UTC. */
	struct rule_day start, end;
};

struct transition {
	int64_t at_s;
	int32_t offset_s;
};

struct zone {
	int32_t before_s; /* Before the first transition. */
	struct rule rule;
	size_t n;
	struct transition transitions[];
};

/* --- Asking ----------------------------------------------------------------------- */

static bool is_leap(int year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* The day of that year, in days since 1970. */
static int64_t rule_days(const struct rule_day *d, int year)
{
	int64_t first = days_of_date(year, 1, 1);

	if (d->form == DAY_ZERO_BASED)
		return first + d->day;
	if (d->form == DAY_JULIAN)
		return first + d->day - 1 + (is_leap(year) && d->day >= 60);

	int64_t month = days_of_date(year, d->month, 1);
	int64_t next =
		d->month == 12 ? days_of_date(year + 1, 1, 1) : days_of_date(year, d->month + 1, 1);
	/* 1970-01-01 was a Thursday. */
	int weekday = (int)(((month + 4) % 7 + 7) % 7);
	int64_t day = month + (d->day - weekday + 7) % 7 + (d->week - 1) * 7;

	return day >= next ? day - 7 : day;
}

/* What the rule says at time_s, and until when: the changes of three years decide. */
static int32_t rule_offset(const struct rule *r, int64_t time_s, int64_t *ret_until_s)
{
	int64_t days = (time_s - (time_s % DAY_S + DAY_S) % DAY_S) / DAY_S;
	int64_t latest_s = INT64_MIN;
	int32_t offset_s = r->standard_s;
	int year, month, day;

	*ret_until_s = INT64_MAX;
	if (!r->has_dst)
		return offset_s;
	date_of_days(days, &year, &month, &day);
	for (int y = year - 1; y <= year + 1; y++) {
		int64_t start_s = rule_days(&r->start, y) * DAY_S + r->start.time_s - r->standard_s;
		int64_t end_s = rule_days(&r->end, y) * DAY_S + r->end.time_s - r->dst_s;

		/* Where both are at once it is summer all year round. */
		if (end_s <= time_s && end_s > latest_s) {
			latest_s = end_s;
			offset_s = r->standard_s;
		}
		if (start_s <= time_s && start_s >= latest_s) {
			latest_s = start_s;
			offset_s = r->dst_s;
		}
		if (end_s > time_s && end_s < *ret_until_s)
			*ret_until_s = end_s;
		if (start_s > time_s && start_s < *ret_until_s)
			*ret_until_s = start_s;
	}
	return offset_s;
}

int32_t zone_offset(const struct zone *z, int64_t time_s, int64_t *ret_until_s)
{
	size_t low = 0, high = z != NULL ? z->n : 0;

	*ret_until_s = INT64_MAX;
	if (z == NULL)
		return 0;
	/* The first transition after time_s. */
	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (z->transitions[mid].at_s <= time_s)
			low = mid + 1;
		else
			high = mid;
	}
	if (low < z->n) {
		*ret_until_s = z->transitions[low].at_s;
		return low > 0 ? z->transitions[low - 1].offset_s : z->before_s;
	}
	if (z->rule.present)
		return rule_offset(&z->rule, time_s, ret_until_s);
	return z->n > 0 ? z->transitions[z->n - 1].offset_s : z->before_s;
}

/* Files foresee decades of changes that follow from the rule as well. */
static void drop_foreseen(struct zone *z)
{
	int64_t until_s;

	for (; z->rule.present && z->n > 1; z->n--) {
		const struct transition *last = &z->transitions[z->n - 1], *before = last - 1;

		if (rule_offset(&z->rule, before->at_s, &until_s) != before->offset_s ||
		    until_s != last->at_s ||
		    rule_offset(&z->rule, last->at_s, &until_s) != last->offset_s)
			return;
	}
}

/* --- The file --------------------------------------------------------------------- */

struct header {
	uint32_t n_ut, n_standard, n_leap, n_times, n_types, n_chars;
};

static uint64_t big_endian(const uint8_t *at, size_t n)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++)
		v = v << 8 | at[i];
	return v;
}

static int read_header(struct bytes in, struct header *ret, char *ret_version)
{
	if (in.len < HEADER_BYTES || memcmp(in.data, "TZif", 4) != 0)
		return -EINVAL;
	*ret_version = (char)in.data[4];
	*ret = (struct header){
		.n_ut = (uint32_t)big_endian(in.data + 20, 4),
		.n_standard = (uint32_t)big_endian(in.data + 24, 4),
		.n_leap = (uint32_t)big_endian(in.data + 28, 4),
		.n_times = (uint32_t)big_endian(in.data + 32, 4),
		.n_types = (uint32_t)big_endian(in.data + 36, 4),
		.n_chars = (uint32_t)big_endian(in.data + 40, 4),
	};
	/* Leap seconds are not counted here: such files tell another time. */
	if (ret->n_times > TRANSITIONS_MAX || ret->n_types == 0 || ret->n_types > TYPES_MAX ||
	    ret->n_chars > UINT16_MAX || ret->n_leap > 0 || ret->n_ut > ret->n_types ||
	    ret->n_standard > ret->n_types)
		return -EINVAL;
	return 0;
}

static size_t body_bytes(const struct header *h, size_t time_bytes)
{
	return h->n_times * (time_bytes + 1) + h->n_types * TYPE_BYTES + h->n_chars +
	       h->n_standard + h->n_ut;
}

static int read_offset(const uint8_t *types, size_t type, int32_t *ret)
{
	*ret = (int32_t)(uint32_t)big_endian(types + type * TYPE_BYTES, 4);
	return *ret <= -OFFSET_MAX_S || *ret >= OFFSET_MAX_S ? -EINVAL : 0;
}

/* The transitions of one half; body is known to be long enough. */
static int read_transitions(const struct header *h, const uint8_t *body, size_t time_bytes,
			    int64_t since_s, struct zone **ret)
{
	const uint8_t *indexes = body + h->n_times * time_bytes, *types = indexes + h->n_times;
	autofree struct zone *z = xcalloc(1, sizeof(*z) + h->n_times * sizeof(struct transition));
	int64_t previous_s = INT64_MIN;

	if (read_offset(types, 0, &z->before_s) < 0)
		return -EINVAL;
	for (size_t i = 0; i < h->n_times; i++) {
		uint64_t bits = big_endian(body + i * time_bytes, time_bytes);
		int64_t at_s = time_bytes == 4 ? (int32_t)(uint32_t)bits : (int64_t)bits;
		int32_t offset_s;

		if (indexes[i] >= h->n_types || (i > 0 && at_s <= previous_s) ||
		    read_offset(types, indexes[i], &offset_s) < 0)
			return -EINVAL;
		previous_s = at_s;
		if (at_s <= since_s)
			z->before_s = offset_s;
		else
			z->transitions[z->n++] = (struct transition){ at_s, offset_s };
	}
	*ret = steal_ptr(&z);
	return 0;
}

/* --- The rule behind it ----------------------------------------------------------- */

static bool take(const char **at, char c)
{
	if (**at != c)
		return false;
	(*at)++;
	return true;
}

/* A number of at most three digits in [min, max]; -1 when there is none. */
static int take_number(const char **at, int min, int max)
{
	int n = 0, digits = 0;

	for (; **at >= '0' && **at <= '9' && digits < 3; (*at)++, digits++)
		n = n * 10 + (**at - '0');
	return digits == 0 || n < min || n > max ? -1 : n;
}

static bool take_name(const char **at)
{
	const char *start = *at;

	if (take(at, '<')) {
		while (**at != '\0' && **at != '>')
			(*at)++;
		return take(at, '>') && *at - start > 2;
	}
	while ((**at >= 'a' && **at <= 'z') || (**at >= 'A' && **at <= 'Z'))
		(*at)++;
	return *at - start >= 3;
}

/* [+-]hh[:mm[:ss]] */
static bool take_time(const char **at, int hours_max, int32_t *ret_s)
{
	int sign = take(at, '-') ? -1 : 1, part;

	if (sign > 0)
		take(at, '+');
	part = take_number(at, 0, hours_max);
	if (part < 0)
		return false;
	*ret_s = part * 3600;
	for (int unit = 60; unit > 0 && take(at, ':'); unit /= 60) {
		part = take_number(at, 0, 59);
		if (part < 0)
			return false;
		*ret_s += part * unit;
	}
	*ret_s *= sign;
	return true;
}

static bool take_day(const char **at, struct rule_day *d)
{
	*d = (struct rule_day){ .time_s = 2 * 3600 };
	if (take(at, 'M')) {
		d->form = DAY_OF_WEEK;
		d->month = take_number(at, 1, 12);
		if (d->month < 0 || !take(at, '.'))
			return false;
		d->week = take_number(at, 1, 5);
		if (d->week < 0 || !take(at, '.'))
			return false;
		d->day = take_number(at, 0, 6);
	} else if (take(at, 'J')) {
		d->form = DAY_JULIAN;
		d->day = take_number(at, 1, 365);
	} else {
		d->form = DAY_ZERO_BASED;
		d->day = take_number(at, 0, 365);
	}
	return d->day >= 0 && (!take(at, '/') || take_time(at, 167, &d->time_s));
}

static int read_rule(const char *text, struct rule *r)
{
	const char *at = text;
	int32_t west_s;

	if (*at == '\0')
		return 0; /* The last offset stays. */
	if (!take_name(&at) || !take_time(&at, 24, &west_s))
		return -EINVAL;
	*r = (struct rule){ .present = true, .standard_s = -west_s, .dst_s = -west_s + 3600 };
	if (*at == '\0')
		return 0;
	r->has_dst = true;
	if (!take_name(&at))
		return -EINVAL;
	if (*at != ',' && *at != '\0') {
		if (!take_time(&at, 24, &west_s))
			return -EINVAL;
		r->dst_s = -west_s;
	}
	if (!take(&at, ',') || !take_day(&at, &r->start) || !take(&at, ',') ||
	    !take_day(&at, &r->end) || *at != '\0')
		return -EINVAL;
	return 0;
}

/* "\n" RULE "\n" at the end of the file. */
static int read_footer(struct bytes in, struct rule *ret)
{
	enum { RULE_MAX = 128 };
	const uint8_t *end;
	char text[RULE_MAX];

	if (in.len < 2 || in.data[0] != '\n')
		return -EINVAL;
	end = memchr(in.data + 1, '\n', in.len - 1);
	if (end == NULL || (size_t)(end - in.data) > sizeof(text))
		return -EINVAL;

	size_t n = (size_t)(end - in.data) - 1;

	memcpy(text, in.data + 1, n);
	text[n] = '\0';
	return strlen(text) == n ? read_rule(text, ret) : -EINVAL;
}

int zone_parse(struct bytes in, int64_t since_s, struct zone **ret)
{
	struct header h;
	size_t time_bytes = 4;
	char version;

	if (read_header(in, &h, &version) < 0)
		return -EINVAL;
	in = bytes_of(in.data + HEADER_BYTES, in.len - HEADER_BYTES);
	if (in.len < body_bytes(&h, time_bytes))
		return -EINVAL;
	if (version >= '2') {
		size_t skipped = body_bytes(&h, time_bytes);

		time_bytes = 8;
		in = bytes_of(in.data + skipped, in.len - skipped);
		if (read_header(in, &h, &version) < 0)
			return -EINVAL;
		in = bytes_of(in.data + HEADER_BYTES, in.len - HEADER_BYTES);
		if (in.len < body_bytes(&h, time_bytes))
			return -EINVAL;
	}

	autofree struct zone *z = NULL;
	size_t body = body_bytes(&h, time_bytes);
	int rc = read_transitions(&h, in.data, time_bytes, since_s, &z);

	if (rc == 0 && time_bytes == 8)
		rc = read_footer(bytes_of(in.data + body, in.len - body), &z->rule);
	if (rc < 0)
		return rc;
	drop_foreseen(z);

	size_t bytes = sizeof(*z) + z->n * sizeof(struct transition);

	*ret = xrealloc(steal_ptr(&z), bytes);
	return 0;
}

void zone_destroy(struct zone *z)
{
	free(z);
}
