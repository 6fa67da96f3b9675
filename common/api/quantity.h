/* Kubernetes quantities: "100m", "1.5Gi", "2e3".
 *
 * A quantity is a fixed-point number of 10^-9 and the suffix family it is
 * printed in. Magnitudes are capped at 2^63 - 1, what is finer than 10^-9 is
 * rounded away from zero. Pure; any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"

__extension__ typedef __int128 quantity_int;

enum quantity_format { QUANTITY_DECIMAL, QUANTITY_BINARY, QUANTITY_EXPONENT };

struct quantity {
	quantity_int nano; /* The value in units of 10^-9. */
	enum quantity_format format;
};

#define QUANTITY_TEXT_MAX 48

/* -EINVAL when the text is not a quantity. */
int quantity_parse(struct bytes text, struct quantity *ret);
/* The canonical text, terminated; returns its length. */
size_t quantity_print(const struct quantity *q, char to[static QUANTITY_TEXT_MAX]);
int quantity_compare(const struct quantity *a, const struct quantity *b);
/* Saturating; the result keeps a's format unless a is zero. */
void quantity_add(struct quantity *a, const struct quantity *b);
void quantity_subtract(struct quantity *a, const struct quantity *b);
/* Rounded up to whole units and to thousandths, within int64. */
int64_t quantity_value(const struct quantity *q);
int64_t quantity_milli(const struct quantity *q);
void quantity_set(struct quantity *q, int64_t value, enum quantity_format format);
void quantity_set_milli(struct quantity *q, int64_t milli);
/* The same from text; 0 where it is NULL or not a quantity. */
int64_t quantity_text_value(const char *text);
int64_t quantity_text_milli(const char *text);
