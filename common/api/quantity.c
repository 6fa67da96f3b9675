#include "common/api/quantity.h"

#include <errno.h>
#include <string.h>

/* A number is read as digits * 10^exponent (and * 2^shift for binary suffixes),
 * where digits never exceeds DIGITS_MAX: further digits only move the exponent
 * and are remembered as "some more", which rounds up. So any length of input
 * costs one pass and no big integers. */

typedef quantity_int wide;
__extension__ typedef unsigned __int128 uwide;

#define NANO 1000000000
#define DIGITS_MAX ((uwide)1000000000000000000ull * 1000000000) /* 10^27 */
#define CAP_NANO ((uwide)INT64_MAX * NANO)

struct suffix {
	int ten, two; /* Exponents. */
	enum quantity_format format;
};

static bool parse_exponent(const char *s, const char *end, int *ret)
{
	bool negative = s < end && *s == '-';
	int v = 0;

	if (s < end && (*s == '-' || *s == '+'))
		s++;
	if (s == end)
		return false;
	for (; s < end; s++) {
		if (*s < '0' || *s > '9')
			return false;
		v = v < 1000 ? v * 10 + (*s - '0')
			     : v; /* Anything beyond is capped or rounded all the same. */
	}
	*ret = negative ? -v : v;
	return true;
}

static bool parse_suffix(const char *s, const char *end, struct suffix *ret)
{
	static const char letters[] = "num\0kMGTPE"; /* 10^-9, 10^-6, ... */
	size_t n = (size_t)(end - s);

	*ret = (struct suffix){ .format = QUANTITY_DECIMAL };
	if (n == 0)
		return true;
	if (n == 2 && s[1] == 'i') {
		static const char binary[] = "KMGTPE";
		const char *at = memchr(binary, s[0], 6);

		ret->format = QUANTITY_BINARY;
		ret->two = at ? (int)(at - binary + 1) * 10 : 0;
		return at != NULL;
	}
	if (n == 1) {
		const char *at = s[0] ? memchr(letters, s[0], sizeof(letters) - 1) : NULL;

		if (at != NULL) {
			ret->ten = (int)(at - letters) * 3 - 9;
			return true;
		}
	}
	ret->format = QUANTITY_EXPONENT;
	return (s[0] == 'e' || s[0] == 'E') && parse_exponent(s + 1, end, &ret->ten);
}

/* digits * 10^ten * 2^two in units of 10^-9, rounded up, capped. */
static uwide scale(uwide digits, int ten, int two, bool more)
{
	ten += 9;
	for (; two > 0; two -= 10) {
		while (digits > DIGITS_MAX) {
			more = more || digits % 10 != 0;
			digits /= 10;
			ten++;
		}
		digits *= 1024;
	}
	for (; ten < 0 && digits != 0; ten++) {
		more = more || digits % 10 != 0;
		digits /= 10;
	}
	for (; ten > 0 && digits != 0; ten--) {
		if (digits > CAP_NANO / 10)
			return CAP_NANO;
		digits *= 10;
	}
	digits += more;
	return digits > CAP_NANO ? CAP_NANO : digits;
}

int quantity_parse(struct bytes text, struct quantity *ret)
{
	const char *s = (const char *)text.data, *end = s + text.len;
	bool negative = text.len > 0 && *s == '-', point = false, any = false, more = false;
	uwide digits = 0;
	int ten = 0;

	if (text.len > 0 && (*s == '-' || *s == '+'))
		s++;
	for (; s < end && ((*s >= '0' && *s <= '9') || (*s == '.' && !point)); s++) {
		if (*s == '.') {
			point = true;
			continue;
		}
		any = true;
		if (digits < DIGITS_MAX) {
			digits = digits * 10 + (unsigned)(*s - '0');
			ten -= point;
		} else {
			more = more || *s != '0';
			ten += !point && ten < 1000;
		}
	}
	struct suffix suffix;
	if (!any || !parse_suffix(s, end, &suffix))
		return -EINVAL;
	uwide nano = scale(digits, ten + suffix.ten, suffix.two, more);
	*ret = (struct quantity){ negative ? -(wide)nano : (wide)nano, suffix.format };
	return 0;
}

static size_t print_number(uwide v, bool negative, const char *suffix, char *to)
{
	char digits[40], *d = digits + sizeof(digits);
	size_t n = 0, len = strlen(suffix);

	do {
		*--d = (char)('0' + (int)(v % 10));
		v /= 10;
	} while (v != 0);
	if (negative)
		to[n++] = '-';
	memcpy(to + n, d, (size_t)(digits + sizeof(digits) - d));
	n += (size_t)(digits + sizeof(digits) - d);
	memcpy(to + n, suffix, len + 1);
	return n + len;
}

size_t quantity_print(const struct quantity *q, char to[static QUANTITY_TEXT_MAX])
{
	static const char *const decimal[] = { "n", "u", "m", "", "k", "M", "G", "T", "P", "E" };
	static const char *const exponent[] = { "e-9", "e-6", "e-3", "",    "e3",
						"e6",  "e9",  "e12", "e15", "e18" };
	static const char *const binary[] = { "", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei" };
	bool negative = q->nano < 0;
	uwide v = negative ? -(uwide)q->nano : (uwide)q->nano;
	size_t i = 0;

	if (v == 0)
		return print_number(0, false, "", to);
	if (q->format == QUANTITY_BINARY && v % NANO == 0 && v / NANO >= 1024) {
		v /= NANO;
		while (v % 1024 == 0 && i + 1 < sizeof(binary) / sizeof(binary[0])) {
			v /= 1024;
			i++;
		}
		return print_number(v, negative, binary[i], to);
	}
	while (v % 1000 == 0 && i + 1 < sizeof(decimal) / sizeof(decimal[0])) {
		v /= 1000;
		i++;
	}
	return print_number(v, negative, q->format == QUANTITY_EXPONENT ? exponent[i] : decimal[i],
			    to);
}

int quantity_compare(const struct quantity *a, const struct quantity *b)
{
	return (a->nano > b->nano) - (a->nano < b->nano);
}

static wide clamp(wide v)
{
	if (v > (wide)CAP_NANO)
		return (wide)CAP_NANO;
	if (v < -(wide)CAP_NANO)
		return -(wide)CAP_NANO;
	return v;
}

void quantity_add(struct quantity *a, const struct quantity *b)
{
	if (a->nano == 0)
		a->format = b->format;
	a->nano = clamp(a->nano + b->nano);
}

void quantity_subtract(struct quantity *a, const struct quantity *b)
{
	if (a->nano == 0)
		a->format = b->format;
	a->nano = clamp(a->nano - b->nano);
}

/* Division that rounds away from zero, as Kubernetes does. */
static int64_t divide_up(wide v, int64_t by)
{
	wide r = v / by;

	if (r * by != v)
		r += v < 0 ? -1 : 1;
	if (r > INT64_MAX)
		return INT64_MAX;
	if (r < INT64_MIN)
		return INT64_MIN;
	return (int64_t)r;
}

int64_t quantity_value(const struct quantity *q)
{
	return divide_up(q->nano, NANO);
}

int64_t quantity_milli(const struct quantity *q)
{
	return divide_up(q->nano, NANO / 1000);
}

void quantity_set(struct quantity *q, int64_t value, enum quantity_format format)
{
	*q = (struct quantity){ clamp((wide)value * NANO), format };
}

void quantity_set_milli(struct quantity *q, int64_t milli)
{
	*q = (struct quantity){ (wide)milli * (NANO / 1000), QUANTITY_DECIMAL };
}

int64_t quantity_text_value(const char *text)
{
	struct quantity q;

	return text != NULL && quantity_parse(bytes_str(text), &q) == 0 ? quantity_value(&q) : 0;
}

int64_t quantity_text_milli(const char *text)
{
	struct quantity q;

	return text != NULL && quantity_parse(bytes_str(text), &q) == 0 ? quantity_milli(&q) : 0;
}
