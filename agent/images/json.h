/* A small reader for the JSON of registries and of our image records: the whole
 * text becomes a tree in an arena, because these documents are small and are
 * asked for by path. Depth is bounded to 32, memory by the arena's budget.
 * RFC 8259 and nothing more; text holds no NUL. Any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/buf.h"

enum json_type {
	JSON_NULL,
	JSON_FALSE,
	JSON_TRUE,
	JSON_NUMBER,
	JSON_STRING,
	JSON_ARRAY,
	JSON_OBJECT
};

struct json {
	enum json_type type;
	const char *key;  /* Of a member of an object, else NULL. */
	const char *text; /* Of strings, and numbers as they were written. */
	size_t n;         /* Children. */
	struct json *first, *next;
};

/* EINVAL: not JSON. E2BIG: deeper or larger than allowed. Members that are named twice: the first
 * counts. */
int json_parse(struct arena *arena, struct bytes text, const struct json **ret);
/* The member of an object; NULL for none, and for anything that is no object (NULL included). */
const struct json *json_member(const struct json *object, const char *key);
/* The text of a string member, or NULL. */
const char *json_text(const struct json *object, const char *key);
/* The value of a whole, not negative number member. */
bool json_u64(const struct json *object, const char *key, uint64_t *ret);
/* The text in quotes, escaped. */
void json_put_text(struct buf *to, const char *text);

#define json_for_each(it, parent)                                                                  \
	for (const struct json *it = (parent) != NULL ? (parent)->first : NULL; it != NULL;        \
	     it = it->next)
