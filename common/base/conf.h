/* Configuration files of our programs: "key = value" lines.
 *
 * Blank lines and lines that begin with # say nothing. A key may stand in
 * several lines; its values keep their order. Files of more than 64 KiB or with
 * a line without "=" are refused with the line's number. Any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/status.h"

struct conf_line {
	char *key, *value;
	int number;
};

struct conf {
	char *path;
	struct conf_line *lines;
	size_t n_lines, cap_lines;
};

int conf_read(struct conf *c, const char *path, struct status *st);
/* The same for text; path is for messages. */
int conf_parse(struct conf *c, const char *path, const char *text, size_t n, struct status *st);
void conf_fini(struct conf *c);

/* The last value of key, or fallback. */
const char *conf_get(const struct conf *c, const char *key, const char *fallback);
/* The i-th value of key, or NULL. */
const char *conf_get_nth(const struct conf *c, const char *key, size_t i);
/* -ENOENT with a sentence when key is missing. */
int conf_need(const struct conf *c, const char *key, const char **ret_value, struct status *st);
/* A whole number from min to max; fallback when missing. */
int conf_number(const struct conf *c, const char *key, long long fallback, long long min,
		long long max, long long *ret_value, struct status *st);
/* -EINVAL naming the first key that is not in known (ended by NULL). */
int conf_check_keys(const struct conf *c, const char *const *known, struct status *st);
