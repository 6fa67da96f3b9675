#include "common/api/times.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define SECOND_NS 1000000000ll

/* Years begin in March, so that leap days come last, and 400 years are 146,097 days. */
int64_t days_of_date(int year, int month, int day)
{
	int64_t y = year - (month <= 2);
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t of_era = y - era * 400;
	int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

void date_of_days(int64_t days, int *year, int *month, int *day)
{
	days += 719468;
	int64_t era = (days >= 0 ? days : days - 146096) / 146097;
	int64_t of_era = days - era * 146097;
	int64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int64_t of_year = of_era - (365 * y + y / 4 - y / 100);
	int64_t m = (5 * of_year + 2) / 153;

	*day = (int)(of_year - (153 * m + 2) / 5 + 1);
	*month = (int)(m < 10 ? m + 3 : m - 9);
	*year = (int)(y + era * 400 + (*month <= 2));
}

static int days_in(int year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return days[month - 1] + (month == 2 && leap);
}

/* n digits at *s; -1 when they are not all there. */
static int digits(const char **s, const char *end, int n)
{
	int v = 0;

	for (; n > 0; n--, (*s)++) {
		if (*s >= end || **s < '0' || **s > '9')
			return -1;
		v = v * 10 + (**s - '0');
	}
	return v;
}

static bool skip(const char **s, const char *end, char c)
{
	if (*s >= end || **s != c)
		return false;
	(*s)++;
	return true;
}

static bool parse_fraction(const char **s, const char *end, int32_t *ret_nanos)
{
	int32_t v = 0, unit = 100000000;
	const char *start = *s;

	for (; *s < end && **s >= '0' && **s <= '9'; (*s)++) {
		v += unit * (**s - '0');
		unit /= 10;
	}
	*ret_nanos = v;
	return *s > start;
}

/* "Z" or "+hh:mm": seconds east of Greenwich. */
static bool parse_zone(const char **s, const char *end, int *ret)
{
	*ret = 0;
	if (skip(s, end, 'Z'))
		return true;
	if (*s >= end || (**s != '+' && **s != '-'))
		return false;
	int sign = *(*s)++ == '-' ? -1 : 1;
	int hours = digits(s, end, 2);
	if (!skip(s, end, ':'))
		return false;
	int minutes = digits(s, end, 2);
	if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59)
		return false;
	*ret = sign * (hours * 3600 + minutes * 60);
	return true;
}

int time_parse(struct bytes text, int64_t *ret_seconds, int32_t *ret_nanos)
{
	const char *s = (const char *)text.data, *end = s + text.len;
	int32_t nanos = 0;
	int zone;

	int year = digits(&s, end, 4);
	bool ok = skip(&s, end, '-');
	int month = digits(&s, end, 2);
	ok = ok && skip(&s, end, '-');
	int day = digits(&s, end, 2);
	ok = ok && skip(&s, end, 'T');
	int hour = digits(&s, end, 2);
	ok = ok && skip(&s, end, ':');
	int minute = digits(&s, end, 2);
	ok = ok && skip(&s, end, ':');
	int second = digits(&s, end, 2);
	if (ok && skip(&s, end, '.'))
		ok = parse_fraction(&s, end, &nanos);
	if (!ok || !parse_zone(&s, end, &zone) || s != end)
		return -EINVAL;
	if (year < 0 || month < 1 || month > 12 || day < 1 || day > days_in(year, month) ||
	    hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59)
		return -EINVAL;
	*ret_seconds =
		days_of_date(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - zone;
	*ret_nanos = nanos;
	return 0;
}

static void put_digits(char *to, int v, int n)
{
	while (n-- > 0) {
		to[n] = (char)('0' + v % 10);
		v /= 10;
	}
}

/* Without the zone: 19 characters. What lies outside of four-digit years is clamped. */
static void print_seconds(int64_t seconds, char *to)
{
	const int64_t first = days_of_date(0, 1, 1) * 86400, last = days_of_date(10000, 1, 1) * 86400 - 1;
	int year, month, day;

	if (seconds < first)
		seconds = first;
	if (seconds > last)
		seconds = last;
	int64_t days = seconds / 86400, rest = seconds % 86400;
	if (rest < 0) {
		rest += 86400;
		days--;
	}
	date_of_days(days, &year, &month, &day);
	memcpy(to, "0000-00-00T00:00:00", 19);
	put_digits(to, year, 4);
	put_digits(to + 5, month, 2);
	put_digits(to + 8, day, 2);
	put_digits(to + 11, (int)(rest / 3600), 2);
	put_digits(to + 14, (int)(rest / 60 % 60), 2);
	put_digits(to + 17, (int)(rest % 60), 2);
}

size_t time_print(int64_t seconds, char to[static TIME_TEXT_MAX])
{
	print_seconds(seconds, to);
	memcpy(to + 19, "Z", 2);
	return 20;
}

size_t microtime_print(int64_t seconds, int32_t nanos, char to[static TIME_TEXT_MAX])
{
	print_seconds(seconds, to);
	to[19] = '.';
	put_digits(to + 20, nanos < 0 ? 0 : nanos / 1000, 6);
	memcpy(to + 26, "Z", 2);
	return 27;
}

static int64_t unit_ns(const char **s, const char *end)
{
	static const struct {
		const char *name;
		int64_t ns;
	} units[] = { { "ns", 1 },
		      { "us", 1000 },
		      { "\xC2\xB5s", 1000 },
		      { "ms", 1000000 },
		      { "s", SECOND_NS },
		      { "m", 60 * SECOND_NS },
		      { "h", 3600 * SECOND_NS } };

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		size_t n = strlen(units[i].name);

		if ((size_t)(end - *s) >= n && memcmp(*s, units[i].name, n) == 0) {
			*s += n;
			return units[i].ns;
		}
	}
	return 0;
}

/* One number and its unit, "1.5h", added to *ns. */
static int add_part(const char **s, const char *end, int64_t *ns)
{
	int64_t whole = 0, fraction = 0, fraction_unit = 1;
	const char *start = *s;

	for (; *s < end && **s >= '0' && **s <= '9'; (*s)++)
		if (__builtin_mul_overflow(whole, 10, &whole) ||
		    __builtin_add_overflow(whole, **s - '0', &whole))
			return -ERANGE;
	bool any = *s > start;
	if (skip(s, end, '.'))
		for (; *s < end && **s >= '0' && **s <= '9'; (*s)++, any = true)
			if (fraction_unit < 100000000000000ll) {
				fraction = fraction * 10 + (**s - '0');
				fraction_unit *= 10;
			}
	int64_t unit = any ? unit_ns(s, end) : 0;
	if (unit == 0)
		return -EINVAL;
	int64_t part = (int64_t)((double)fraction * ((double)unit / (double)fraction_unit));
	if (__builtin_mul_overflow(whole, unit, &whole) ||
	    __builtin_add_overflow(whole, part, &whole) || __builtin_add_overflow(*ns, whole, ns))
		return -ERANGE;
	return 0;
}

int duration_parse(struct bytes text, int64_t *ret_ns)
{
	const char *s = (const char *)text.data, *end = s + text.len;
	bool negative = text.len > 0 && *s == '-';
	int64_t ns = 0;

	if (text.len > 0 && (*s == '-' || *s == '+'))
		s++;
	if (end - s == 1 && *s == '0') {
		*ret_ns = 0;
		return 0;
	}
	if (s == end)
		return -EINVAL;
	while (s < end) {
		int rc = add_part(&s, end, &ns);

		if (rc < 0)
			return rc;
	}
	*ret_ns = negative ? -ns : ns;
	return 0;
}

/* v / unit as a decimal without trailing zeros. */
static size_t print_decimal(uint64_t v, uint64_t unit, char *to)
{
	char text[24];
	size_t n = 0, at = sizeof(text);
	uint64_t whole = v / unit, rest = v % unit;

	do {
		text[--at] = (char)('0' + whole % 10);
		whole /= 10;
	} while (whole != 0);
	memcpy(to, text + at, sizeof(text) - at);
	n = sizeof(text) - at;
	if (rest != 0)
		to[n++] = '.';
	while (rest != 0) {
		rest *= 10;
		to[n++] = (char)('0' + rest / unit);
		rest %= unit;
	}
	return n;
}

size_t duration_print(int64_t ns, char to[static TIME_TEXT_MAX])
{
	uint64_t v = ns < 0 ? -(uint64_t)ns : (uint64_t)ns;
	size_t n = 0;

	if (ns < 0)
		to[n++] = '-';
	if (v == 0) {
		to[n++] = '0';
		to[n++] = 's';
	} else if (v < (uint64_t)SECOND_NS) {
		const char *unit = v < 1000 ? "ns" : v < 1000000 ? "\xC2\xB5s" : "ms";

		n += print_decimal(v, v < 1000 ? 1 : v < 1000000 ? 1000 : 1000000, to + n);
		memcpy(to + n, unit, strlen(unit));
		n += strlen(unit);
	} else {
		uint64_t minutes = v / (60ull * SECOND_NS);

		if (minutes >= 60) {
			n += print_decimal(minutes / 60, 1, to + n);
			to[n++] = 'h';
		}
		if (minutes > 0) {
			n += print_decimal(minutes % 60, 1, to + n);
			to[n++] = 'm';
		}
		n += print_decimal(v % (60ull * SECOND_NS), (uint64_t)SECOND_NS, to + n);
		to[n++] = 's';
	}
	to[n] = '\0';
	return n;
}
