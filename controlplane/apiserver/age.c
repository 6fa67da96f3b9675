#include "controlplane/apiserver/age.h"

#include <stdio.h>

enum { MINUTE = 60, HOUR = 60 * MINUTE, DAY = 24 * HOUR, YEAR = 365 * DAY };

/* Both units, or only the greater one when nothing is left. */
static void print_two(char *text, long long high, char high_unit, long long low, char low_unit)
{
	if (low == 0)
		snprintf(text, AGE_TEXT_SIZE, "%lld%c", high, high_unit);
	else
		snprintf(text, AGE_TEXT_SIZE, "%lld%c%lld%c", high, high_unit, low, low_unit);
}

void age_print_seconds(int64_t seconds, char ret_text[AGE_TEXT_SIZE])
{
	long long s = seconds;

	if (s < -1)
		snprintf(ret_text, AGE_TEXT_SIZE, "<invalid>");
	else if (s < 0)
		snprintf(ret_text, AGE_TEXT_SIZE, "0s");
	else if (s < 2 * MINUTE)
		snprintf(ret_text, AGE_TEXT_SIZE, "%llds", s);
	else if (s < 10 * MINUTE)
		print_two(ret_text, s / MINUTE, 'm', s % MINUTE, 's');
	else if (s < 3 * HOUR)
		snprintf(ret_text, AGE_TEXT_SIZE, "%lldm", s / MINUTE);
	else if (s < 8 * HOUR)
		print_two(ret_text, s / HOUR, 'h', s % HOUR / MINUTE, 'm');
	else if (s < 2 * DAY)
		snprintf(ret_text, AGE_TEXT_SIZE, "%lldh", s / HOUR);
	else if (s < 8 * DAY)
		print_two(ret_text, s / DAY, 'd', s % DAY / HOUR, 'h');
	else if (s < 2 * YEAR)
		snprintf(ret_text, AGE_TEXT_SIZE, "%lldd", s / DAY);
	else if (s < 8 * (int64_t)YEAR)
		print_two(ret_text, s / YEAR, 'y', s % YEAR / DAY, 'd');
	else
		snprintf(ret_text, AGE_TEXT_SIZE, "%lldy", s / YEAR);
}

void age_print(int64_t now_ns, int64_t then_ns, char ret_text[AGE_TEXT_SIZE])
{
	if (then_ns == 0)
		snprintf(ret_text, AGE_TEXT_SIZE, "<unknown>");
	else
		age_print_seconds((now_ns - then_ns) / 1000000000, ret_text);
}
