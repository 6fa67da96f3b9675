/* Field errors in Kubernetes' words: where, what was given, what is wrong.
 *
 * A path is a chain of values on the callers' stacks, spelled out only when
 * there is something to say. Errors become causes of the status; checks_end()
 * makes the summary. At most CHECKS_MAX errors are kept. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "common/base/arena.h"
#include "common/base/status.h"

enum { CHECKS_MAX = 100 };

struct kind;

struct field {
	const struct field *parent;
	const char *name; /* Of a member, or NULL. */
	const char *key;  /* In a map, or NULL. */
	int64_t index;    /* In a list, when name and key are NULL. */
};

#define FIELD(p, n) (&(struct field){ .parent = (p), .name = (n) })
#define AT(p, i) (&(struct field){ .parent = (p), .index = (int64_t)(i) })
#define KEY(p, k) (&(struct field){ .parent = (p), .key = (k) })

/* "spec.containers[0].name" */
char *field_print(struct arena *arena, const struct field *f);

struct checks {
	struct arena *arena;
	struct status *st;
	size_t n;
	char *first; /* "field: message", and the rest of them joined with ", ". */
	char *joined;
};

/* Each returns false, so that a check can say: return check_required(...). */
bool check_required(struct checks *c, const struct field *f, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* value is NULL for an empty string. */
bool check_invalid(struct checks *c, const struct field *f, const char *value, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
bool check_invalid_int(struct checks *c, const struct field *f, int64_t value, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* The value is printed as it is: numbers, booleans, JSON. */
bool check_invalid_text(struct checks *c, const struct field *f, const char *text, const char *fmt,
			...) __attribute__((format(printf, 4, 5)));
/* The value is a message, printed as JSON. */
bool check_invalid_message(struct checks *c, const struct field *f, const ProtobufCMessage *value,
			   const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* supported ends with NULL. */
bool check_unsupported(struct checks *c, const struct field *f, const char *value,
		       const char *const *supported);
bool check_duplicate(struct checks *c, const struct field *f, const char *value);
/* text is printed as it is. */
bool check_duplicate_text(struct checks *c, const struct field *f, const char *text);
bool check_not_found(struct checks *c, const struct field *f, const char *value);
bool check_forbidden(struct checks *c, const struct field *f, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
bool check_too_long(struct checks *c, const struct field *f, size_t bytes_max);
bool check_too_many(struct checks *c, const struct field *f, size_t n, size_t items_max);

/* True when value is one of supported; says so otherwise. */
bool check_one_of(struct checks *c, const struct field *f, const char *value,
		  const char *const *supported);
bool check_not_negative(struct checks *c, const struct field *f, int64_t value);

/* 0, or -EINVAL with the summary: `Deployment.apps "x" is invalid: ...`. */
int checks_end(struct checks *c, const struct kind *kind, const char *name);

/* s in double quotes, with Go's escapes. */
char *quoted(struct arena *arena, const char *s);
